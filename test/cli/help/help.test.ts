/**
 * What synprobe says of itself: the short help, topics, commands and the man page, each as the real command prints it and
 * the tools for man pages read it.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hasChapter, TOPIC_NAMES } from "../../../src/cli/help/topics.ts";
import { COMMANDS, GROUPS, PROBE_OPTIONS } from "../../../src/cli/options/table.ts";
import { linesOf, ROOT, run, synprobe } from "../process.ts";

const PAGE = join(ROOT, "dist", "synprobe.1");

async function help(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(synprobe(...args));
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
}

/** Text as it is whatever the width. */
const flat = (text: string): string => text.replace(/\s+/g, " ");

describe("--help", () => {
  test("fits a terminal of 24 lines and 80 columns", async () => {
    const lines = linesOf(await help("--help"));
    expect(lines.length).toBeLessThanOrEqual(24);
    for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(80);
  });

  test("has the options that the table calls most used, by group, and names every command and topic", async () => {
    const text = await help("--help");
    const used = PROBE_OPTIONS.filter(({ brief }) => brief !== undefined);
    expect(used.length).toBeGreaterThan(10);
    for (const { brief = "" } of used) expect(text).toContain(brief);
    const groups = GROUPS.filter((group) => used.some((option) => option.group === group));
    for (const group of groups) expect(text).toMatch(new RegExp(`^${group} +-`, "m"));
    expect(flat(text)).toContain(` Commands ${COMMANDS.join(" ")} `);
    expect(flat(text)).toContain(` Topics ${TOPIC_NAMES.join(" ")} `);
  });

  test("is what help says, wherever it stands among other words", async () => {
    const text = await help("--help");
    expect(await help("help")).toBe(text);
    expect(await help("192.0.2.1:1", "--max-rate=5", "-h")).toBe(text);
  });

  test("has colour only where it is wanted", async () => {
    expect(await help("--help")).not.toContain("\x1b");
    const { stdout } = await run(synprobe("--help"), { env: { FORCE_COLOR: "1" } });
    expect(stdout).toContain("\x1b[1mTargets");
    expect(stdout.replace(/\x1b\[\d+m/g, "")).toBe(await help("--help"));
  });
});

describe("help TOPIC", () => {
  test.each(TOPIC_NAMES.map((name) => [name]))("%s: at most 80 columns", async (name) => {
    const lines = linesOf(await help("help", name));
    expect(lines.length).toBeGreaterThan(5);
    for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(80);
  });

  test("options: all of them, each once, with nmap's spellings and defaults", async () => {
    const text = await help("help", "options");
    for (const { flags, description, aliases = [], defaultValue } of PROBE_OPTIONS) {
      const [, names, argument = ""] = /^(.*?)( <.*)?$/.exec(flags) ?? [];
      expect(text).toContain(`\n  ${[names, ...aliases].join(", ")}${argument}`);
      const fallback = defaultValue === undefined ? "" : ` [${defaultValue}]`;
      expect(flat(text)).toContain(`${description}${fallback} `);
    }
  });

  test.each(COMMANDS.filter(hasChapter))(
    "help %s is what %s --help says, and the chapter",
    async (command) => {
      const text = await help("help", command);
      expect(text).toMatch(new RegExp(`^Usage: synprobe ${command} `));
      const more = `\nMore: synprobe help ${command}\n`;
      const brief = await help(command, "--help");
      expect(brief.endsWith(more)).toBe(true);
      // The longest default of a time in seconds is half a minute: more would be milliseconds.
      for (const [, seconds] of flat(brief).matchAll(/in seconds \[([^\]]*)\]/g))
        expect(Number(seconds)).toBeLessThanOrEqual(30);
      expect(text.startsWith(brief.slice(0, -more.length))).toBe(true);
      const lines = linesOf(text);
      expect(lines.length).toBeGreaterThan(linesOf(brief).length + 10);
      for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(80);
    },
  );

  test.each(["demo", "completion"])("help %s is what %s --help says", async (command) => {
    const text = await help("help", command);
    expect(text).toMatch(new RegExp(`^Usage: synprobe ${command} `));
    expect(await help(command, "--help")).toBe(text);
  });

  test("with a slip in it: 2, and what was meant", async () => {
    expect(await run(synprobe("help", "tagets"))).toMatchObject({
      status: 2,
      stdout: "",
      stderr: 'synprobe: there is no help on "tagets"; did you mean targets?\n',
    });
  });
});

/** A tool's complaints; undefined where there is no such tool. */
function complaints(tool: string, ...args: string[]): string | undefined {
  const { error, status, stdout, stderr } = spawnSync(tool, args, {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C.UTF-8", MANWIDTH: "80" },
  });
  if (error !== undefined) return undefined;
  return tool === "man" ? stderr : `${stdout}${stderr}${status === 0 ? "" : `status ${status}`}`;
}

describe("the man page", () => {
  test("has every option, command and section", () => {
    const page = readFileSync(PAGE, "utf8").replaceAll("\\-", "-").replaceAll("\\(aq", "'");
    for (const { flags } of PROBE_OPTIONS) expect(page).toContain(/--[\w-]+/.exec(flags)?.[0]);
    for (const command of COMMANDS) expect(page).toContain(`.SS ${command}\n`);
    const sections = [...page.matchAll(/^\.SH (.*)$/gm)].map(([, name]) => name);
    expect(sections).toEqual([
      ...[
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "COMMANDS",
        "TARGETS",
        "ENVIRONMENT AND CONFIGURATION",
      ],
      ...["RESULTS", "CONFIDENCE", "OUTPUTS", "TIMING", "LARGE SCANS", "JOURNAL", "HANDSHAKES", "LINKS"],
      ...["PRIVILEGES", "EXIT STATUS", "LIBRARY", "FILES", "EXAMPLES", "SEE ALSO"],
    ]);
  });

  test("mandoc finds nothing to complain of", (context) => {
    const said = complaints("mandoc", "-Tlint", PAGE);
    context.skip(said === undefined, "mandoc is not installed");
    expect(said).toBe("");
  });

  test("man renders it without a warning", (context) => {
    const said = complaints("man", "--warnings", "-l", PAGE);
    context.skip(said === undefined, "man is not installed");
    expect(said).toBe("");
  });
});
