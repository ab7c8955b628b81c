/** One round: what of its scans the detector is told, and that it ends. */
import { describe, expect, it } from "vitest";
import { createChangeDetector } from "../../../src/runtime/watch/change-detector.ts";
import { type Rescan, runRound } from "../../../src/runtime/watch/rounds.ts";
import type { PortResult, ScanSummary } from "../../../src/scan/probe/result.ts";
import { madeRound } from "./event.ts";

const PORT = { ip: "192.0.2.1", port: 22, rttMs: null, ttl: null, tries: 1, timeMs: 0 };
const OPEN: PortResult = { ...PORT, state: "open", reason: "syn-ack" };
const SILENT: PortResult = { ...PORT, state: "filtered", reason: "no-response", doubt: 0.1 };
const UNSENT: PortResult = { ...PORT, state: "filtered", reason: "send-enobufs" };
/** Nothing answered the whole scan: the path may have been dead. */
const DEAD: PortResult = { ...SILENT, doubt: 1 };
const TIMED_OUT: PortResult = { ...PORT, state: "filtered", reason: "host-timeout" };

/** Of the last round's results. */
let doubts: (number | undefined)[] = [];

/** Rounds whose scans find this, one result or none each, nothing when there is no more; an error is thrown. */
function createRounds() {
  const detector = createChangeDetector({ confirmMs: 30_000, halfLifeMs: 60_000 });
  let scans = 0;
  return async (...found: (PortResult | Error | undefined)[]) => {
    const left = [...found];
    scans = 0;
    const scan: Rescan = async (onResult) => {
      scans++;
      const next = left.shift();
      if (next instanceof Error) throw next;
      if (next !== undefined) onResult(next);
      return { startedMs: 0, elapsedMs: 0, interrupted: false, unfinished: 0 } as ScanSummary;
    };
    const means = { scan, sleep: async () => true, now: () => 0, source: "synprobe" };
    const { round, results } = await madeRound(detector, means);
    doubts = [...results.values()].map(({ doubt }) => doubt);
    return { told: round.events.map(({ old, verdict }) => `${old} ${verdict.state}`), scans };
  };
}

describe("a round", () => {
  it.each([UNSENT, TIMED_OUT])("takes no probe that failed for an answer: $reason", async (failed) => {
    const round = createRounds();
    await round(OPEN);
    await expect(round(failed)).rejects.toThrow(`no port could be probed: ${failed.reason}`);
    // Nor is it counted beside silence.
    expect(await round(SILENT, failed, failed, SILENT, SILENT, OPEN)).toEqual({ told: [], scans: 6 });
  });

  it("ends when a suspect gets no result", async () => {
    const round = createRounds();
    await round(OPEN);
    expect(await round(SILENT)).toEqual({ told: [], scans: 7 });
  });

  it("gives results the doubt of all looks, not of the last", async () => {
    const round = createRounds();
    await round(OPEN);
    expect((await round(SILENT, SILENT, DEAD, DEAD, DEAD)).told).toEqual(["open filtered"]);
    expect(doubts).toEqual([expect.closeTo(0.01, 9)]);
  });

  it.each<[string, Partial<ScanSummary>, Partial<ScanSummary>, number]>([
    ["its scan came to an end before its pairs did", { unfinished: 1 }, {}, 1],
    ["its scan is interrupted", { interrupted: true }, {}, 1],
    ["probing again is interrupted", {}, { interrupted: true }, 2],
  ])("is interrupted, and scans no more, when %s", async (_, first, then, most) => {
    const detector = createChangeDetector({ confirmMs: 30_000, halfLifeMs: 60_000 });
    let scans = 0;
    const scan: Rescan = async (onResult) => {
      onResult(SILENT);
      const how = scans++ === 0 ? first : then;
      return { startedMs: 0, elapsedMs: 0, interrupted: false, unfinished: 0, ...how } as ScanSummary;
    };
    const means = { scan, sleep: async () => true, now: () => 0, source: "synprobe" };
    const { run } = await madeRound(detector, means);
    expect([run.ending, scans]).toEqual(["interrupted", most]);
  });

  it("is none when the watch ends before its scan begins", async () => {
    const detector = createChangeDetector({ confirmMs: 30_000, halfLifeMs: 60_000 });
    const means = { scan: async () => undefined, sleep: async () => true, now: () => 0, source: "synprobe" };
    expect(await runRound(detector, means)).toBeUndefined();
  });

  it("knows nothing of one that failed", async () => {
    const round = createRounds();
    await round(OPEN);
    await expect(round(SILENT, SILENT, SILENT, SILENT, new Error("away"))).rejects.toThrow("away");
    expect(await round(undefined, SILENT)).toEqual({ told: [], scans: 1 });
  });
});
