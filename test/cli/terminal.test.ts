/**
 * What files say does not drive terminals: every reader is fed every control and every mark that turns writing round, and every
 * way to the terminal is looked at.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ProbeOptions } from "../../src/cli/options/probe-options.ts";
import { journalOptions } from "../../src/cli/run/journal.ts";
import { escapeOutput } from "../../src/report/escape.ts";
import { createJournal } from "../../src/runtime/journal/writer.ts";
import { HEADER } from "../runtime/journal/journal-samples.ts";
import { run, synprobe } from "./process.ts";

const UNSEEN = Array.from({ length: 0x11_0000 }, (_, code) => code)
  .filter((code) => code < 0xd800 || code > 0xdfff)
  .map((code) => String.fromCodePoint(code))
  .filter((char) => /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(char));
/** Without what ends lines, and the words of which some formats are made. */
const ALL = UNSEEN.filter((char) => !"\n\r\t\0".includes(char)).join("");
const NO_C0 = UNSEEN.filter((char) => char >= "\x7f").join("");
const OBEYED = /[^\P{C}\n]|[\p{Zl}\p{Zp}]/u;

it("there are enough of them", () => {
  for (const char of ["\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\ufeff", "\u{e0001}"])
    expect(ALL).toContain(char);
  expect(UNSEEN.length).toBeGreaterThan(200);
});

describe("the last look at what is printed", () => {
  it("spells all of them as JSON does, so that JSON says the same", () => {
    for (const char of UNSEEN.filter((each) => each !== "\n" && each !== "\t")) {
      const shown = escapeOutput(`a${char}b`);
      expect(shown).toMatch(/^a(\\u[0-9a-f]{4}){1,2}b$/);
      expect(JSON.parse(`"${shown}"`)).toBe(`a${char}b`);
    }
  });

  it("lets lines, tabs and colours be, and no other sequence", () => {
    const usual = "\x1b[1mbold\x1b[22m\t\x1b[32mgreen\x1b[39m é 漢 🙂\n";
    expect(escapeOutput(usual)).toBe(usual);
    for (const sequence of ["\x1b[2J", "\x1b[8m", "\x1b]0;title\x07", "\x1b[31", "\x9b31m", "\x1b[38;5;1m"])
      expect(escapeOutput(sequence)).not.toMatch(OBEYED);
  });
});

describe("nothing that a terminal obeys comes out of", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-terminal-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** A file, whose name is as bad as what is in it. */
  function file(kind: string, text: string): string {
    const path = join(folder, `\x1b[2J\u202e${kind}`);
    writeFileSync(path, text);
    return path;
  }

  /** @param says what must be there, so that the text has been through */
  async function look(argv: readonly string[], says: RegExp): Promise<void> {
    const { stdout, stderr } = await run(synprobe(...argv), { limitMs: 60_000 });
    expect(stdout + stderr).not.toMatch(OBEYED);
    expect(stdout + stderr).toMatch(says);
  }

  const port = (change: object): string =>
    `${JSON.stringify({ ip: "192.0.2.1", port: 1, state: "open", reason: "syn-ack", ...change })}\n`;
  const ndjson = (): string => port({ host: ALL, service: ALL, reason: ALL, banner: ALL, was: ALL });
  /** XML cannot have C0 controls. */
  const xml = (change: { readonly addr?: string } = {}): string => {
    const quoted = Array.from(NO_C0, (char) => `&#${char.codePointAt(0)};`).join("");
    return `<nmaprun args="${quoted}"><host><address addr="${change.addr ?? "192.0.2.1"}" addrtype="ipv4"/>
      <hostnames><hostname name="${quoted}"/></hostnames><ports><port protocol="tcp" portid="1">
      <state state="open" reason="${quoted}" reason_ip="${quoted}"/><service name="${quoted}"/></port></ports></host></nmaprun>`;
  };
  const MARK = /x1b|u202e/;

  it.each<[string, () => readonly string[], RegExp]>([
    ["diff, of NDJSON", () => ["diff", file("a", port({ port: 2 })), file("b", ndjson())], MARK],
    [
      "diff --json, of NDJSON",
      () => ["diff", "--json", file("a", port({})), file("b", ndjson() + ndjson().replace(":1,", ":3,"))],
      MARK,
    ],
    ["diff, of XML", () => ["diff", file("a", port({ port: 2 })), file("x", xml())], MARK],
    ["diff --json, of XML", () => ["diff", "--json", file("a", port({ port: 2 })), file("x", xml())], MARK],
    [
      "diff, of an address in XML",
      () => ["diff", file("a", port({})), file("y", xml({ addr: "1&#x9b;2J&#x202e;" }))],
      MARK,
    ],
    ["diff, of a broken line", () => ["diff", file("a", port({})), file("c", `{${ALL}`)], MARK],
    [
      "diff, of a value that is none",
      () => ["diff", file("a", port({})), file("d", port({ ip: ALL }))],
      MARK,
    ],
    ["report", () => ["report", file("b", ndjson()), "-o", join(folder, "\x1b[2Jpage")], MARK],
    [
      "--print-config",
      () => [
        "--config",
        file("e", JSON.stringify({ "exclude-file": ALL, interface: ALL })),
        "--print-config",
      ],
      MARK,
    ],
    [
      "a key of a configuration",
      () => ["--config", file("f", JSON.stringify({ [ALL]: 1 })), "--print-config"],
      MARK,
    ],
    [
      "a value of a configuration",
      () => ["--config", file("g", JSON.stringify({ ttl: ALL })), "--print-config"],
      MARK,
    ],
    ["a list of targets", () => ["--dry-run", "-iL", file("h", `${ALL}:1\n127.0.0.1:1\n`)], MARK],
    [
      "a list of what is excluded",
      () => ["--dry-run", "--exclude-file", file("i", ALL), "127.0.0.1:1"],
      MARK,
    ],
    [
      "a lab's description",
      () => [
        "lab",
        "--check",
        file("j", JSON.stringify({ hosts: { "198.18.0.1": { banner: ALL, [ALL]: ALL } } })),
      ],
      MARK,
    ],
    ["a lab's text that is no JSON", () => ["lab", "--check", file("k", `{"${ALL}`)], MARK],
    ["a target", () => ["--dry-run", `${ALL}:1`], MARK],
    ["an option", () => [`--${ALL}`], MARK],
    ["a command's help", () => ["help", ALL], MARK],
    ["a topic of doctor", () => ["doctor", ALL], MARK],
  ])("%s", (_what, argv, says) => look(argv(), says));

  it("a journal", async () => {
    const path = join(folder, "\x1b[2J\u202ejournal");
    const options = { retries: 2, ttl: 64, confidence: 0.99 } as unknown as ProbeOptions;
    const settings = { ...journalOptions(options, 1n, 1), [ALL]: ALL };
    const made = await createJournal(path, {
      ...HEADER,
      version: ALL,
      command: ALL,
      targets: ALL,
      options: settings,
    });
    await made.close();
    await look(["--resume", path, "127.0.0.1:1"], MARK);
  });
});
