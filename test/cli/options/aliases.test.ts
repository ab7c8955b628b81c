/** How an argument vector is rewritten before commander sees it. */
import { describe, expect, it } from "vitest";
import { expandAliases, longName } from "../../../src/cli/options/aliases.ts";
import { duration, timesWithoutUnit } from "../../../src/cli/options/arguments.ts";
import { PROBE_OPTIONS } from "../../../src/cli/options/table.ts";
import type { Bounds } from "../../../src/runtime/api/option-bounds.ts";

describe("the alias table", () => {
  it.each<[string[], string[]]>([
    [["-Pn", "-n", "--reason", "host:1"], ["host:1"]],
    [
      ["-sS", "host:1"],
      ["--link", "syn", "host:1"],
    ],
    [
      ["-sT", "host:1"],
      ["--link", "connect", "host:1"],
    ],
    [["-p-"], ["--ports", "-"]],
    [
      ["-p80,443", "host"],
      ["--ports", "80,443", "host"],
    ],
    [
      ["-p", "-"],
      ["-p", "-"],
    ],
    [
      ["-oJ", "-"],
      ["--output-json", "-"],
    ],
    [
      ["-oX", "a.xml", "-oG", "-"],
      ["--output-xml", "a.xml", "--output-grepable", "-"],
    ],
    [
      ["-iL", "list", "--max-retries=3"],
      ["--input-list", "list", "--retries=3"],
    ],
    // The argument of an option is no option, and what follows "--" is left alone.
    [
      ["-oJ", "-Pn"],
      ["--output-json", "-Pn"],
    ],
    [
      ["--", "-sS", "-p-"],
      ["--", "-sS", "-p-"],
    ],
    // nmap and naabu take long options with one dash, too.
    [
      ["-exclude", "a", "-top-ports=3", "-open", "-max-retries", "2", "-e", "x"],
      ["--exclude", "a", "--top-ports=3", "--show", "open", "--retries", "2", "-e", "x"],
    ],
    [["-d", "-d2", "-dd", "host:1"], ["host:1"]],
    // Names that every object has are targets like any other.
    [
      ["constructor", "toString", "__proto__"],
      ["constructor", "toString", "__proto__"],
    ],
    // masscan's and zmap's.
    [
      ["--rate", "5", "--banners", "3", "--adapter=lo", "--adapter-ip", "::1", "--adapter-port", "7"],
      ["--max-rate", "5", "--banner=2s", "3", "--interface=lo", "--source-ip", "::1", "--source-port", "7"],
    ],
    [
      ["--target-port=80", "--whitelist-file", "a", "--blacklist-file", "b", "--randomize-hosts"],
      ["--ports=80", "--input-list", "a", "--exclude-file", "b"],
    ],
    // The time of --banner is optional; a target is none.
    [
      ["--banner", "host:22"],
      ["--banner=2000ms", "host:22"],
    ],
    [
      ["--banner", "500ms", "host:22"],
      ["--banner=500ms", "host:22"],
    ],
    [
      ["--banner", "1h", "host:22"],
      ["--banner=1h", "host:22"],
    ],
    [
      ["--banner", "3", "host:22"],
      ["--banner=3", "host:22"],
    ],
    [
      ["host:22", "--banner"],
      ["host:22", "--banner=2000ms"],
    ],
    [["--banner=1s"], ["--banner=1s"]],
    [
      ["-F", "--open", "host"],
      ["--top-ports", "100", "--show", "open", "host"],
    ],
  ])("%j", (argv, expected) => {
    expect(expandAliases(argv)).toEqual(expected);
  });
});

describe("times", () => {
  const spec = (name: string) => PROBE_OPTIONS.find(({ flags }) => longName(flags) === name);

  it.each([
    // nmap's own: "host-timeout: 30000", says nmap -d of 30.
    ["--host-timeout", "30", 30_000],
    ["--host-timeout", "0.5", 500],
    ["--host-timeout", "250ms", 250],
    ["--host-timeout", "2m", 120_000],
    ["--host-timeout", "24h", 86_400_000],
    ["--stats-every", "1d", 86_400_000],
    ["--stats-every", "5", 5000],
    ["--timeout", "500", 500],
    ["--timeout", "2s", 2000],
    ["--banner", "500", 500],
  ])("%s %s is %d ms", (name, text, ms) => {
    expect(spec(name)?.parse?.(text)).toBe(ms);
  });

  it.each([
    ["--host-timeout", "25h"],
    ["--host-timeout", "86401"],
    ["--stats-every", "0.05"],
    ["--stats-every", "2d"],
    ["--timeout", ""],
    ["--timeout", "1 s"],
    ["--timeout", ".5s"],
    ["--timeout", "1e2"],
  ])("%s %j is refused", (name, text) => {
    expect(() => spec(name)?.parse?.(text)).toThrow(/ takes a time from /);
  });

  it.each<[string, Bounds, "s" | "ms", string]>([
    ["--every", [1000, 31 * 86_400_000], "s", "from 1s to 31d, such as 30 (seconds), 2m or 6h, not"],
    ["--timeout", [1, 600_000], "ms", "from 1ms to 10m, such as 500 (milliseconds), 800ms or 2m, not"],
    ["--banner", [1, 60_000], "ms", "from 1ms to 1m, such as 500 (milliseconds), 800ms or 5s, not"],
    ["--fleet-lease", [2000, 600_000], "s", "from 2s to 10m, such as 30 (seconds), 2m or 5s, not"],
  ])("what is said of %s is within its bounds", (name, bounds, unit, says) => {
    expect(duration(name, bounds, unit).refusal("x")).toContain(says);
  });

  it("a number alone is a configuration's, in the same unit", () => {
    expect(spec("--host-timeout")?.range).toMatchObject({ least: 0.001, most: 86_400 });
    expect(spec("--timeout")?.range).toMatchObject({ least: 1, most: 600_000 });
  });

  it("without a unit are told", () => {
    const given: Record<string, string> = {
      "--host-timeout": "30",
      "--timeout": "500",
      "--stats-every": "5s",
    };
    expect(timesWithoutUnit(PROBE_OPTIONS, ({ flags }) => given[longName(flags)])).toEqual([
      "--timeout 500 is 500ms",
      "--host-timeout 30 is 30s",
    ]);
  });
});
