/** `synprobe lab` as far as it needs no network: descriptions read and judged, the truth told, mistakes explained. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, run, synprobe } from "../process.ts";

const DESCRIPTION = {
  hosts: [
    {
      range: "198.18.0.0/16",
      ports: [
        { ports: "22,80", is: "open" },
        { ports: "23", is: "silent" },
      ],
    },
    { range: "198.18.0.9", rest: "admin-prohibited" },
    { range: "198.18.0.10", tarpit: true },
  ],
};

let folder = "";
let file = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-lab-"));
  file = join(folder, "lab.json");
  writeFileSync(file, JSON.stringify(DESCRIPTION));
});
afterAll(() => rmSync(folder, { recursive: true }));

const lab = (...args: string[]) => run(synprobe("lab", ...args));

describe("--check", () => {
  it("says what is in a description", async () => {
    const { status, stdout, stderr } = await lab(file, "--check");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(linesOf(stdout)).toEqual([
      "198.18.0.0/16  22,80 open, 23 silent, the rest closed",
      "198.18.0.9     the rest admin-prohibited",
      "198.18.0.10    a tarpit: every port answers, and then nothing",
    ]);
  });

  it("without a file is about the lab that there is without one", async () => {
    const { status, stdout } = await lab("--check");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^198\.18\.0\.0\/15 .*\b3 other kinds$/m);
  });
});

describe("--truth", () => {
  it("has a line for each pair, in the names of -oJ", async () => {
    const { status, stdout, stderr } = await lab(
      file,
      ...["--truth", "198.18.0.1:22-24", "--truth", "198.18.0.9:80", "--truth", "198.19.0.1:80"],
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(linesOf(stdout)).toEqual([
      '{"type":"result","ip":"198.18.0.1","port":22,"state":"open"}',
      '{"type":"result","ip":"198.18.0.1","port":23,"state":"filtered"}',
      '{"type":"result","ip":"198.18.0.1","port":24,"state":"closed"}',
      '{"type":"result","ip":"198.18.0.9","port":80,"state":"filtered"}',
      '{"type":"result","ip":"198.19.0.1","port":80,"state":"filtered"}',
    ]);
  });
});

it("--truth says of the first minute when bursts and outages lose all packets of a pair", async () => {
  const away = join(folder, "away.json");
  const outages = [
    { fromMs: 2000, toMs: 4000.5, range: "198.18.0.1" },
    { fromMs: 50_000, toMs: 70_000 },
  ];
  writeFileSync(
    away,
    JSON.stringify({ path: { outages }, hosts: [{ range: "198.18.0.0/24", path: { bursts: [] } }] }),
  );
  const { stdout } = await lab(away, "--truth", "198.18.0.1-2:22", "--truth", "198.19.0.1:22");
  expect(linesOf(stdout)).toEqual([
    '{"type":"result","ip":"198.18.0.1","port":22,"state":"closed","away_ms":[[2000,4000.5],[50000,60000]]}',
    '{"type":"result","ip":"198.18.0.2","port":22,"state":"closed","away_ms":[[50000,60000]]}',
    '{"type":"result","ip":"198.19.0.1","port":22,"state":"filtered"}',
  ]);
});

it("--truth takes ranges as the main command does", async () => {
  const { stdout } = await lab(file, "--truth", "198.18.0.254-198.18.1.1:22,23");
  const pairs = linesOf(stdout).map((line) => JSON.parse(line));
  expect(pairs.map(({ ip, port, state }) => `${ip}:${port} ${state}`)).toEqual(
    ["198.18.0.254", "198.18.0.255", "198.18.1.0", "198.18.1.1"].flatMap((ip) => [
      `${ip}:22 open`,
      `${ip}:23 filtered`,
    ]),
  );
});

it("--truth waits for a reader that is slow", async () => {
  const truth = synprobe("lab", file, "--truth", "198.18.0.0/22:1-10").map((word) => `'${word}'`);
  const { stdout, stderr } = await run(["sh", "-c", `${truth.join(" ")} | (sleep 0.5; wc -l)`]);
  expect({ stdout: stdout.trim(), stderr }).toEqual({ stdout: "10240", stderr: "" });
});

it("a report that cannot be written is told before anything runs", async () => {
  const { status, stdout, stderr } = await lab("--report", join(folder, "none", "r"), "--", "echo", "ran");
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  expect(linesOf(stderr)).toEqual([expect.stringMatching(/cannot write output file .*does not exist$/)]);
});

describe("a mistake is told in one line, and ends with 2", () => {
  const broken = (): string => join(folder, "broken.json");
  it.each([
    ["a file that is not there", () => [join(folder, "none")], /none: there is no such file$/],
    ["a command without dashes", () => ["ls"], /no such file; to run it as a command: synprobe lab -- ls$/],
    ["a directory", () => [folder], /it is a directory$/],
    ["what is not JSON", () => [write("{")], /broken\.json:1: not JSON: /],
    [
      "a description that says what cannot be",
      () => [write('{"hosts":[{"range":"198.18.0.0/99"}]}')],
      /broken\.json: hosts\[0\]\.range: /,
    ],
    ["a command without --", () => [file, "nmap"], /synprobe lab -- .* nmap$/],
    ["a command with --check", () => ["--check", file, "--", "true"], /run no command$/],
    ["the truth about a name", () => [file, "--truth", "localhost:22"], /--truth takes addresses and ports/],
    ["the truth about no port", () => [file, "--truth", "198.18.0.1"], /--truth takes addresses and ports/],
    ["a report of no run", () => ["--check", file, "--report", join(folder, "r")], /run no command$/],
    ["an option that there is not", () => [file, "--frobnicate"], /--frobnicate/],
  ])("%s", async (_what, args, message) => {
    const { status, stdout, stderr } = await lab(...args());
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(linesOf(stderr)).toEqual([expect.stringMatching(message)]);
  });

  function write(text: string): string {
    writeFileSync(broken(), text);
    return broken();
  }
});

it.each(["lab", "demo"])("%s without unshare(1): 3", async (command) => {
  const [node, ...argv] = synprobe(command);
  const { status, stdout, stderr } = await run(["env", "PATH=/nonexistent", node, ...argv]);
  expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
  expect(linesOf(stderr)).toEqual([expect.stringMatching(/unshare command is missing; install util-linux$/)]);
});

it("the inner command is not for people", async () => {
  const { status, stderr } = await run(synprobe("lab-inside"));
  expect(status).toBe(2);
  expect(stderr).toMatch(/use synprobe lab$/m);
  expect((await run(synprobe("--help"))).stdout).not.toContain("lab-inside");
});
