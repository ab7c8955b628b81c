/** README is always true: what it says of options and exit statuses is what the code has. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { EXIT } from "../src/cli/exit.ts";
import { PROBE_OPTIONS } from "../src/cli/options/table.ts";

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");

/** The option table as README must have it. */
function optionTable(): string {
  const rows = PROBE_OPTIONS.map(({ flags, nmap = [], description, defaultValue }) => {
    const spellings = [flags, ...nmap].map((text) => `\`${text}\``).join(" ");
    const fallback = defaultValue === undefined ? "" : `\`${defaultValue}\``;
    return `| ${spellings} | ${description} | ${fallback} |`;
  });
  return ["| option, and nmap's spelling | what it does | default |", "|---|---|---|", ...rows].join("\n");
}

describe("README", () => {
  it("lists every option with its nmap spellings and default", () => {
    expect(README).toContain(optionTable());
  });

  it("lists every exit status", () => {
    const listed = [...README.matchAll(/^\| (\d+) \|/gm)].map(([, status]) => Number(status));
    expect(listed).toEqual(Object.values(EXIT));
  });

  it("has no placeholder left", () => {
    expect(README).not.toMatch(/@@|TODO|FIXME/);
  });
});
