/** A reader of standard output that stalls must not make synprobe deaf to signals, nor lose what it has found, nor take its memory. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  createReadStream,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ALL, everyday } from "../everyday.ts";
import { inNamespace, type Lab, labProblem, skipping } from "../lab/netns.ts";
import { until } from "../lab/until.ts";
import { createWideLab, readScan } from "../lab/wide.ts";
import { ENVIRONMENT, synprobe } from "./process.ts";

const why = process.getuid?.() === 0 ? undefined : "raw sockets need root";
/** More than a pipe holds. */
const MANY = ["-p-", "--max-rate", "1000000", "127.0.0.1", "--show", "all"];

/** Whether the last line of a file in NDJSON is a summary; without reading the megabytes before it. */
function hasEnded(file: string): boolean {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  const tail = Buffer.alloc(1 << 14);
  if (size < tail.length) return false;
  const opened = openSync(file, "r");
  readSync(opened, tail, 0, tail.length, size - tail.length);
  closeSync(opened);
  return /"type":"summary".*\n$/.test(tail.toString());
}

/** More than what may wait, in the outputs and on the way to them. */
const PORTS = everyday(3, 4);
const PAIRS = PORTS * 65_536;

describe.skipIf(skipping("stalled readers", why))("a reader that stalls", () => {
  let folder = "";
  let fifo = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-stalled-"));
    fifo = join(folder, "pipe");
    expect(spawnSync("mkfifo", [fifo]).status).toBe(0);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** Starts a scan whose output goes into a pipe, blocking as a shell's is, that nobody reads. */
  function stall() {
    const pipe = openSync(fifo, "r+");
    const file = join(folder, "found.json");
    const [command = "", ...args] = synprobe(...MANY, "-oJ", file, "-oN", "-");
    const child = spawn(command, args, { stdio: ["ignore", pipe, "pipe"], env: ENVIRONMENT });
    const ended = once(child, "exit");
    // The scan goes on to its end, into the file, while standard output waits.
    try {
      until(() => hasEnded(file), "the scan to end in the file");
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    }
    return { child, ended, found: readFileSync(file, "utf8") };
  }

  it("does not hold up the other outputs, and two signals end the run", async () => {
    const { child, ended, found } = stall();
    expect(found.split("\n").filter((line) => line.includes('"state"'))).toHaveLength(65_535);
    expect(child.exitCode).toBeNull();
    child.kill("SIGINT");
    child.kill("SIGTERM");
    // Which of the two is handled last is the kernel's choice, when both are pending.
    const [status, signal] = await ended;
    expect([130, 143]).toContain(status);
    expect(signal).toBe(null);
  });
});

describe.skipIf(skipping("stalled readers of a watch", why))("a watch whose events nobody reads", () => {
  it("scans on, says so once, and ends when it is told to, with the first event that was not read", async () => {
    const folder = mkdtempSync(join(tmpdir(), "synprobe-stalled-watch-"));
    const [fifo, policy] = [join(folder, "pipe"), join(folder, "policy.yaml")];
    expect(spawnSync("mkfifo", [fifo]).status).toBe(0);
    const pipe = openSync(fifo, "r+");
    // Of each an event of more than 200 characters, at the first scan: four times what may wait.
    const ports = "20000-24999";
    writeFileSync(policy, `groups: [{ targets: 127.0.0.1, ports: { ${ports}: open } }]\n`);
    const [command = "", ...args] = synprobe(
      "watch",
      policy,
      "--every",
      "1h",
      "--store",
      join(folder, "h.db"),
      "-v",
    );
    const child = spawn(command, args, { stdio: ["ignore", pipe, "pipe"], env: ENVIRONMENT });
    const ended = once(child, "exit");
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text) => (said += text));
    try {
      await vi.waitUntil(() => /scan of .*: 5,000 ports, 5,000 events/.test(said), { timeout: 20_000 });
      for (let i = 1; i <= 2; i++) {
        child.kill("SIGHUP");
        await vi.waitUntil(() => said.match(/scan of /g)?.length === 1 + i, { timeout: 20_000 });
      }
      expect(said.match(/nobody reads standard output: events from \d+ on wait in the store/g)).toHaveLength(
        1,
      );
      child.kill("SIGTERM");
      expect(await ended).toEqual([143, null]);
      const [, first = ""] = /standard output was not read to its end: events from (\d+) on/.exec(said) ?? [];
      // All before it are in the pipe, in whole lines.
      const held = Buffer.alloc(1 << 17);
      const lines = held.toString("utf8", 0, readSync(pipe, held)).split("\n").slice(0, -1);
      const ids = lines.map((line): number => JSON.parse(line).id);
      expect(ids).toEqual(Array.from(ids, (_, i) => i + 1));
      expect(Number(first)).toBeGreaterThan(0);
      expect(Number(first)).toBeLessThanOrEqual(ids.length + 1);
    } finally {
      child.kill("SIGKILL");
      closeSync(pipe);
      rmSync(folder, { recursive: true });
    }
  });
});

describe.skipIf(skipping("back-pressure", labProblem()))("results that nobody takes", () => {
  let lab: Lab;
  let folder = "";
  beforeAll(async () => {
    lab = await createWideLab();
    folder = mkdtempSync(join(tmpdir(), "synprobe-backlog-"));
  });
  afterAll(() => {
    lab?.remove();
    rmSync(folder, { recursive: true });
  });

  const links: [string, string[]][] = [
    ["packet", ["--link", "packet", "--workers", "1"]],
    ["raw", ["--link", "raw"]],
  ];
  it.runIf(ALL).each(links)(
    "hold up the run, and nothing is lost (%s)",
    async (what, means) => {
      const fifo = join(folder, what);
      expect(spawnSync("mkfifo", [fifo]).status).toBe(0);
      const pipe = openSync(fifo, "r+");
      const journal = join(folder, `${what}.journal`);
      const [command = "", ...args] = inNamespace(
        lab.near,
        synprobe(
          ...means,
          "--journal",
          journal,
          "-oJ",
          "-",
          "--max-rate",
          "50000",
          `198.19.0.0/16:7000-${6999 + PORTS}`,
        ),
      );
      const child = spawn(command, args, { stdio: ["ignore", pipe, "inherit"], env: ENVIRONMENT });
      const ended = once(child, "exit");
      try {
        const size = (): number => statSync(journal, { throwIfNoEntry: false })?.size ?? 0;
        // It is written every second; two of them without results, only checkpoints, and the run stands.
        let last = 0;
        let since = performance.now();
        until(
          () => {
            if (size() - last > 1 << 14) {
              last = size();
              since = performance.now();
            }
            return last > 1 << 20 && performance.now() - since > 2000;
          },
          "the run to stand still",
          30_000,
        );
        expect(last).toBeLessThan(64 * PAIRS * 0.8);
        expect(child.exitCode).toBeNull();
        const reader = createReadStream(fifo, "utf8");
        let text = "";
        for await (const chunk of reader) {
          text += chunk;
          if (/"type":"summary".*\n$/.test(text.slice(-4000))) break;
        }
        expect(readScan(text).results.size).toBe(PAIRS);
        expect(await ended).toEqual([0, null]);
      } finally {
        child.kill("SIGKILL");
        await ended;
      }
    },
    180_000,
  );
});
