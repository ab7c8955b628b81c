/** What is said of an option that synprobe does not have. */
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { improve } from "../../../src/cli/options/unknown-option.ts";

const said = (option: string): string => improve(`unknown option '${option}'`, new Command());

describe("an unknown option", () => {
  it.each([
    // zmap's, of which some are letters of nmap's.
    ["-o", /^no option -o: -oC writes CSV, -oJ NDJSON/],
    ["--output-module=json", /^no option --output-module: -oC writes CSV/],
    ["-O", /operating systems; for zmap's output, -oC writes CSV/],
    ["-f", /no decoys.*; for zmap's fields, -oC writes CSV/],
    ["-ff", /no decoys, spoofed addresses or fragments$/],
    ["-b", /zmap's list of what is left out is --exclude-file FILE$/],
    ["-w", /-iL FILE reads targets from a file$/],
    ["-N", /--shard 1\/100 --seed 1 probes a random hundredth$/],
    ["-B", /for its pace use --max-rate/],
    ["-G", /the kernel's routes and neighbours are used: leave it out$/],
    ["-i", /-e NAME is the interface$/],
    ["-C", /--config FILE reads it/],
    ["--probe-module=icmp_echoscan", /SYN segments alone$/],
    // masscan's.
    ["-oD", /-oJ NDJSON/],
    ["--http-user-agent", /--banner hears what a server says first/],
    ["--infinite", /synprobe watch repeats a scan/],
    // nmap takes long ones with one dash.
    ["-script", /^no option -script: synprobe runs no scripts$/],
    ["-scan-delay", /for its pace use --max-rate/],
  ])("%s is answered with what to use instead", (option, says) => {
    expect(said(option)).toMatch(says);
  });
});
