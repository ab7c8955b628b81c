/** The sockets of a watch's scans, and their times, in this process; what the scans find: test/lab/watch.test.ts. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { afterEach, expect, it, vi } from "vitest";
import { createRescan } from "../../../src/cli/commands/rescan.ts";
import type { TimedOptions } from "../../../src/cli/options/table.ts";
import type { Interruption } from "../../../src/cli/run/interruption.ts";
import type { Messages } from "../../../src/cli/run/terminal.ts";

const OPTIONS = {
  link: "raw",
  drop: false,
  ttl: 64,
  retries: 0,
  waitMs: { initial: 1000, least: 100, most: 1000 },
  rate: { minimum: 10, maximum: 1000 },
} as Partial<TimedOptions> as TimedOptions;

/** Raw sockets that this process has open. */
function rawSockets(): number {
  const raw = new Set(
    ["raw", "raw6"].flatMap((table) =>
      readFileSync(`/proc/net/${table}`, "utf8")
        .split("\n")
        .map((line) => `socket:[${line.trim().split(/\s+/)[9]}]`),
    ),
  );
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return raw.has(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false;
    }
  }).length;
}

const INTERRUPTION = { signalled: false, onSignal: () => {} } as Partial<Interruption> as Interruption;
afterEach(() => void vi.useRealTimers());

it.skipIf(process.getuid?.() !== 0)("of a first scan that is not made are closed", async () => {
  const rescan = createRescan(["127.0.0.1:1"], OPTIONS, {} as Messages, [], INTERRUPTION);
  const before = rawSockets();
  await rescan.ready();
  expect(rawSockets()).toBeGreaterThan(before);
  await rescan.close();
  // Nor left to be closed when they are found to be garbage.
  expect(rawSockets()).toBe(before);
});

it.skipIf(process.getuid?.() !== 0)(
  "have the times of a clock that is set while the watch waits",
  async () => {
    const rescan = createRescan(["127.0.0.1:1"], OPTIONS, {} as Messages, [], INTERRUPTION);
    const times = async (): Promise<number[]> => {
      const found: number[] = [];
      const summary = await rescan.scan(({ timeMs }) => found.push(timeMs));
      return [summary?.startedMs ?? 0, ...found];
    };
    // No more than other tests of this process may be off by.
    for (const aheadMs of [0, 10_000]) {
      const nowMs = Date.now() + aheadMs;
      vi.useFakeTimers({ toFake: ["Date"], now: nowMs });
      const all = await times();
      expect(all).toHaveLength(2);
      for (const ms of all) expect(Math.abs(ms - nowMs)).toBeLessThan(5000);
      vi.useRealTimers();
    }
  },
);
