/** `synprobe diff` as a process: exit statuses for cron, messages with file and line, standard input. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, run, synprobe } from "../process.ts";

const line = (port: number, state: string) =>
  `{"ip":"192.0.2.1","port":${port},"proto":"tcp","state":"${state}","reason":"x"}\n`;
const END = '{"type":"summary","interrupted":false}\n';
const FILES = {
  "old.json": line(22, "open") + line(80, "closed") + END,
  "same.json": line(80, "closed") + line(22, "filtered") + line(22, "open") + END,
  "new.json": line(22, "closed") + line(80, "filtered") + END,
  "shut.json": line(22, "open") + line(80, "filtered") + END,
  "cut.json": `${line(22, "open")}${line(80, "closed")}{"ip":"192.0.2`,
  "bad.json": `${line(22, "open")}{"ip":"192.0.2\n${END}`,
  "empty.json": "",
};

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-diff-"));
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(folder, name), text);
});
afterAll(() => rmSync(folder, { recursive: true }));

const path = (name: string): string => (name.includes(".") ? join(folder, name) : name);
const diff = (...args: string[]) => run(synprobe("diff", ...args.map(path)));

describe("exit status", () => {
  it.each([
    ["nothing differs", 0, ["old.json", "same.json"]],
    ["something differs", 1, ["old.json", "new.json"]],
    ["something differs, but was never open", 0, ["old.json", "shut.json", "--only", "open"]],
    ["something open differs", 1, ["old.json", "new.json", "--only", "open", "--json"]],
  ])("%s: %d", async (_, status, args) => {
    const { stdout, ...rest } = await diff(...args);
    expect(rest).toEqual({ status, signal: null, stderr: "" });
    expect(stdout).toMatch(/\n$/);
  });

  it.each([
    [["old.json"], /^synprobe: missing required argument 'new'/],
    [["old.json", "none.json"], /^synprobe: cannot read the results .*none\.json: there is no such file$/],
    [["old.json", "/"], /^synprobe: cannot read the results \/: it is a directory$/],
    [["old.json", "bad.json"], /^synprobe: .*bad\.json:2: no JSON object; -oJ writes one a line$/],
    [["old.json", "empty.json"], /^synprobe: .*empty\.json is empty: no results were written to it$/],
    [["old.json", "new.json", "--only", "shut"], /^synprobe: --only takes open, not "shut"$/],
    [["-", "-"], /^synprobe: only one of the two files can be standard input \(-\)$/],
  ])("%j is a mistake: 2, in one line", async (args, message) => {
    const { status, stdout, stderr } = await diff(...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(linesOf(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

it("what breaks off is noted, and the rest compared", async () => {
  const { status, stderr, stdout } = await diff("old.json", "cut.json");
  expect(status).toBe(0);
  expect(linesOf(stderr)).toEqual([
    `synprobe: ${path("cut.json")}:3: breaks off here; what comes before it counts`,
  ]);
  expect(stdout).toContain("cut off before its end");
});

it("reads standard input, and takes colour or leaves it", async () => {
  const options = { input: FILES["new.json"], env: { FORCE_COLOR: "1" } };
  const coloured = await run(synprobe("diff", path("old.json"), "-"), options);
  expect(coloured.status).toBe(1);
  expect(coloured.stdout).toContain("\x1b[33m~ 22/tcp");
  const env = { FORCE_COLOR: "1", NO_COLOR: "1" };
  const plain = await run(synprobe("diff", path("old.json"), "-"), { ...options, env });
  expect(plain.stdout).toMatch(/^~ 22\/tcp +open +closed +- +x$/m);
  expect(plain.stdout).toContain("NEW  <stdin>, 2 ports\n");
});

it("reads a pipe that is given as a file, as <(…) is, from its first byte", async () => {
  const command = [
    "sh",
    "-c",
    'cat "$0" | "$@" /dev/stdin',
    path("new.json"),
    ...synprobe("diff", path("old.json")),
  ];
  const { status, stdout } = await run(command);
  expect(status).toBe(1);
  expect(stdout).toContain("NEW  /dev/stdin, 2 ports\n");
});
