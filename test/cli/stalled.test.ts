/** A reader of standard output that stalls must not make synprobe deaf to signals, nor lose what it has found. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { skipping } from "../lab/netns.ts";
import { until } from "../lab/until.ts";
import { ENVIRONMENT, synprobe } from "./process.ts";

const why = process.getuid?.() === 0 ? undefined : "raw sockets need root";
/** More than a pipe holds. */
const MANY = ["-p-", "--max-rate", "1000000", "127.0.0.1", "--show", "all"];

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
    const found = (): string => {
      try {
        return readFileSync(file, "utf8");
      } catch {
        return "";
      }
    };
    // The scan goes on to its end, into the file, while standard output waits.
    until(() => found().includes('"type":"summary"'), "the scan to end in the file");
    return { child, ended, found };
  }

  it("does not hold up the other outputs, and two signals end the run", async () => {
    const { child, ended, found } = stall();
    expect(
      found()
        .split("\n")
        .filter((line) => line.includes('"state"')),
    ).toHaveLength(65_535);
    expect(child.exitCode).toBeNull();
    child.kill("SIGINT");
    child.kill("SIGTERM");
    expect(await ended).toEqual([130, null]);
  });
});
