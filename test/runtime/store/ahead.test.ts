/** Stores with results of a time that is yet to come, and a clock that is set back. As processes: test/cli/commands/history.test.ts. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createSetBack, refuseAhead, SKEW_MS } from "../../../src/runtime/store/ahead.ts";
import { openStore, type Store } from "../../../src/runtime/store/database.ts";
import { createRecorder } from "../../../src/runtime/store/record.ts";

const NOW = Date.UTC(2026, 10, 28, 12);
const DAY_MS = 86_400_000;
let folder = "";
let store: Store;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-ahead-"));
  store = openStore(join(folder, "h.db"), true);
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

/** A run that ended when its only result was seen, unless it says otherwise. */
function put(timeMs: number, endedMs = timeMs): void {
  const recorder = createRecorder(store);
  recorder.add({ ip: "192.0.2.1", proto: "tcp", port: 22, state: "open", reason: "syn-ack", timeMs });
  recorder.commit({ startedMs: endedMs, endedMs, source: "synprobe", ending: "complete" });
}

describe("a store", () => {
  it("that is new, or is ahead by no more than clocks differ, is taken", () => {
    refuseAhead(store, NOW);
    put(NOW - DAY_MS);
    put(NOW + SKEW_MS);
    refuseAhead(store, NOW);
  });

  it("that is ahead is refused, by its name, its time and the clock's, until that time has come", () => {
    put(NOW - DAY_MS);
    // The same verdict makes the interval longer, which begins in the past.
    put(NOW + 2 * DAY_MS);
    expect(() => refuseAhead(store, NOW)).toThrow(
      expect.objectContaining({
        code: "ERR_STORE",
        message: expect.stringMatching(
          /^store .*h\.db has results of 2026-11-30 12:00:00 UTC, .*it says 2026-11-28 12:00:00 UTC/,
        ),
      }),
    );
    refuseAhead(store, NOW + 2 * DAY_MS);
  });

  it("counts by its results: a resumed run ends when the clock is right again, and has those of before", () => {
    put(NOW + DAY_MS, NOW);
    expect(() => refuseAhead(store, NOW)).toThrow(/2026-11-29 12:00:00 UTC, which is yet to come/);
  });
});

it("a clock that is set back is told once each time, by how much and to when", () => {
  const told: string[] = [];
  const look = createSetBack((message) => told.push(message));
  look(NOW, NOW);
  look(NOW, NOW - SKEW_MS);
  expect(told).toEqual([]);
  look(NOW, NOW - 2 * DAY_MS);
  look(NOW + 1000, NOW + 1000 - 2 * DAY_MS);
  expect(told).toEqual([
    expect.stringMatching(/^the clock has been set back by 48 h 0 min 0 s, to 2026-11-26 12:00:00 UTC: /),
  ]);
  look(NOW + DAY_MS, NOW + DAY_MS);
  look(NOW + DAY_MS, NOW);
  expect(told).toHaveLength(2);
});
