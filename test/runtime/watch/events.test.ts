/** What is told of a policy's ports, round by round, and what is counted of them; over real networks: test/lab/watch-policy.test.ts. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { judge } from "../../../src/policy/judge.ts";
import { openStore, type Store } from "../../../src/runtime/store/database.ts";
import { createChangeDetector } from "../../../src/runtime/watch/change-detector.ts";
import { commitRound, openOutbox, restore } from "../../../src/runtime/watch/events.ts";
import { PORT_STATES, type PortResult, type ScanSummary } from "../../../src/scan/probe/result.ts";
import { madeRound } from "./event.ts";

const MINUTE = 60_000;
const PORT = { ip: "192.0.2.1", port: 443, rttMs: null, ttl: null, tries: 1, timeMs: 0 };
const OPEN: PortResult = { ...PORT, state: "open", reason: "syn-ack" };
const CLOSED: PortResult = { ...PORT, state: "closed", reason: "reset" };
/** Of a host that answers nothing at all: no loss could be measured. */
const DEAD: PortResult = { ...PORT, state: "filtered", reason: "no-response", doubt: 1 };

let folder = "";
let store: Store;
let nowMs = 0;
/** The policy asks for the port. */
let isWatched = true;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-events-"));
  store = openStore(join(folder, "h.db"), true);
  nowMs = 0;
  isWatched = true;
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

/** A watch of one port that has to be so; a round finds a result however often it looks, or undefined: its name does not resolve. */
function startWatch(expected: PortResult["state"]) {
  const detector = createChangeDetector({ confirmMs: 0, halfLifeMs: MINUTE });
  restore(store, detector, nowMs);
  const states = PORT_STATES.filter((state) => state === expected);
  return async (found: PortResult | undefined) => {
    nowMs += 60 * MINUTE;
    const startedMs = nowMs;
    const finished = await madeRound(detector, {
      scan: async (onResult) => {
        if (found !== undefined && isWatched) onResult({ ...found, timeMs: startedMs });
        return { startedMs, elapsedMs: 0, interrupted: false, unfinished: 0 } as ScanSummary;
      },
      sleep: async () => true,
      now: () => startedMs,
      source: "synprobe",
    });
    const { events, outcomes } = commitRound(store, detector, finished, [], {
      watches: () => isWatched,
      unprobed: () => (found === undefined && isWatched ? 1 : 0),
      judge: (result, isSettled) => ({
        outcome: judge({ states, tolerate: [] }, result, isSettled),
        expected,
        rule: "policy.yaml:1:1",
      }),
    });
    const counted = Object.entries(outcomes ?? {}).flatMap(([outcome, n]) => Array<string>(n).fill(outcome));
    return [...events.map(({ type, doubt, why }) => `${type} ${why ?? doubt}`), ...counted];
  };
}

it("a host that is silent for good violates the policy, and is counted so until it is back, over a restart too", async () => {
  const round = startWatch("open");
  expect(await round(OPEN)).toEqual(["as-written"]);
  expect(await round(DEAD)).toEqual(["violation 1", "differs"]);
  expect(await round(DEAD)).toEqual(["differs"]);
  const again = startWatch("open");
  expect(await again(DEAD)).toEqual(["differs"]);
  expect(await again(OPEN)).toEqual(["restored 0", "as-written"]);
});

it("an open port that ought not to be is over when its host is silent for good", async () => {
  const round = startWatch("filtered");
  expect(await round(OPEN)).toEqual(["violation 0", "differs"]);
  expect(await round(DEAD)).toEqual(["restored 1", "as-written"]);
});

it("silence that was never anything else, and may be loss, tells nothing", async () => {
  const round = startWatch("open");
  expect(await round(DEAD)).toEqual(["untold"]);
  expect(await round(CLOSED)).toEqual(["violation 0", "differs"]);
});

it("a port that cannot be probed is untold, but a violation that was told stays one", async () => {
  const round = startWatch("open");
  expect(await round(OPEN)).toEqual(["as-written"]);
  expect(await round(undefined)).toEqual(["untold"]);
  expect(await round(CLOSED)).toEqual(["violation 0", "differs"]);
  expect(await round(undefined)).toEqual(["differs"]);
  const unsent: PortResult = { ...DEAD, reason: "send-eperm" };
  await expect(round(unsent)).rejects.toThrow("no port could be probed");
  expect(await round(OPEN)).toEqual(["restored 0", "as-written"]);
});

it("a violation of a port that is watched no longer is over, and is told anew when it comes back", async () => {
  const round = startWatch("open");
  expect(await round(CLOSED)).toEqual(["violation 0", "differs"]);
  isWatched = false;
  expect(await round(undefined)).toEqual(["restored no longer watched"]);
  expect(await round(undefined)).toEqual([]);
  isWatched = true;
  expect(await round(CLOSED)).toEqual(["violation 0", "differs"]);
});

it("an outbox has the events of one round at once, as many as are asked for, and of the next when these are taken", async () => {
  const detector = createChangeDetector({ confirmMs: 0, halfLifeMs: MINUTE });
  const ports = [22, 80, 443];
  const round = async (result: PortResult): Promise<void> => {
    nowMs += 60 * MINUTE;
    const startedMs = nowMs;
    const finished = await madeRound(detector, {
      scan: async (onResult) => {
        for (const port of ports) onResult({ ...result, port, timeMs: startedMs });
        return { startedMs, elapsedMs: 0, interrupted: false, unfinished: 0 } as ScanSummary;
      },
      sleep: async () => true,
      now: () => startedMs,
      source: "synprobe",
    });
    commitRound(store, detector, finished, ["webhook", "exec"]);
  };
  await round(OPEN);
  await round(CLOSED);
  await round(OPEN);
  const outbox = openOutbox(store, "webhook");
  const next = (most?: number) => {
    const { events = [], tries, atMs } = outbox.next(most) ?? {};
    return [events.map(({ port, new: { state } }) => `${port} ${state}`), tries, atMs];
  };
  const closed = ports.map((port) => `${port} closed`);
  const open = ports.map((port) => `${port} open`);
  expect(next()).toEqual([closed.slice(0, 1), 0, 0]);
  expect(next(2)).toEqual([closed.slice(0, 2), 0, 0]);
  expect(next(100)).toEqual([closed, 0, 0]);
  outbox.failed(outbox.next(100)?.events ?? [], 5000, "HTTP status 500");
  expect(next(100)).toEqual([closed, 1, 5000]);
  outbox.done(outbox.next(2)?.events ?? [], nowMs);
  expect([next(100), outbox.pending()]).toEqual([[closed.slice(2), 1, 5000], 4]);
  outbox.done(outbox.next(100)?.events ?? [], nowMs);
  expect([next(100), outbox.pending()]).toEqual([[open, 0, 0], 3]);
  outbox.done(outbox.next(100)?.events ?? [], nowMs);
  expect([outbox.next(100), outbox.pending(), openOutbox(store, "exec").pending()]).toEqual([
    undefined,
    0,
    6,
  ]);
});

it("a name's ports are known after a restart by the address that it had last, and a move is told", async () => {
  const round = async (ip: string, result: PortResult): Promise<string[]> => {
    nowMs += 60 * MINUTE;
    const startedMs = nowMs;
    const detector = createChangeDetector({ confirmMs: 0, halfLifeMs: MINUTE });
    restore(store, detector, nowMs);
    const finished = await madeRound(detector, {
      scan: async (onResult, only) => {
        const host = only === undefined ? { host: "web.example" } : {};
        onResult({ ...result, ip, ...host, timeMs: startedMs });
        return { startedMs, elapsedMs: 0, interrupted: false, unfinished: 0 } as ScanSummary;
      },
      sleep: async () => true,
      now: () => startedMs,
      source: "synprobe",
    });
    const { events } = commitRound(store, detector, finished, []);
    return events.map(({ host, ip: at, old, new: { state } }) => `${host} ${at} ${old.state} ${state}`);
  };
  expect(await round("192.0.2.9", CLOSED)).toEqual([]);
  expect(await round("192.0.2.1", CLOSED)).toEqual([]);
  expect(await round("192.0.2.1", OPEN)).toEqual(["web.example 192.0.2.1 closed open"]);
  expect(await round("192.0.2.200", CLOSED)).toEqual(["web.example 192.0.2.200 open closed"]);
});
