/** Startup: when the rate is multiplied, and when it is only tried. */
import { describe, expect, it } from "vitest";
import { createSlowStart, type SlowStart } from "../../../src/scan/congestion/slow-start.ts";

const MS = 1000;
const RATE = 4000;

/** 20 ms of SYNs at `sentRate`, of which this share was answered. */
function hear(
  slowStart: SlowStart,
  nowUs: number,
  fromUs: number,
  sentRate: number,
  share: number,
): number | undefined {
  const total = Math.round(sentRate / 50);
  return slowStart.handleAnswers("firstSyns", Math.round(share * total), total, { nowUs, fromUs, sentRate });
}

describe("where most answer", () => {
  it("the rate is multiplied after each group that was answered as well as before, and kept until then", () => {
    const slowStart = createSlowStart(RATE, 0);
    expect(hear(slowStart, 60 * MS, 0, RATE, 1)).toBe(3.5 * RATE);
    expect(slowStart.limit(10_000 * MS)).toBe(Number.POSITIVE_INFINITY);
    // These SYNs left at the rate before.
    expect(hear(slowStart, 80 * MS, 40 * MS, RATE, 1)).toBeUndefined();
    expect(slowStart.sinceUs()).toBe(60 * MS);
    expect(hear(slowStart, 120 * MS, 60 * MS, 3.5 * RATE, 0.9)).toBe(3.5 ** 2 * RATE);
  });

  it("a group that was answered worse does not raise it", () => {
    const slowStart = createSlowStart(RATE, 0);
    hear(slowStart, 60 * MS, 0, RATE, 1);
    expect(hear(slowStart, 120 * MS, 60 * MS, 2000, 0.5)).toBeUndefined();
  });

  it("fewer than twelve answers do not raise it", () => {
    const slowStart = createSlowStart(RATE, 0);
    const syns = { nowUs: 60 * MS, fromUs: 0, sentRate: RATE };
    expect(slowStart.handleAnswers("firstSyns", 11, 11, syns)).toBeUndefined();
    expect(slowStart.handleAnswers("pilots", 11, 11, syns)).toBeUndefined();
    expect(slowStart.handleAnswers("firstSyns", 1, 1, syns)).toBe(3.5 * RATE);
  });
});

describe("where few answer", () => {
  it("a faster rate is tried for 25 ms, or for 32 answers if that takes longer; then the proven rate applies", () => {
    for (const [answered, trialUs] of [
      [540, 25 * MS],
      [12, (1e6 * 32) / (0.01 * 3.5 * RATE)],
    ]) {
      const slowStart = createSlowStart(RATE, 0);
      const syns = { nowUs: 60 * MS, fromUs: 0, sentRate: RATE };
      expect(slowStart.handleAnswers("firstSyns", answered, 1200, syns)).toBe(3.5 * RATE);
      expect(slowStart.limit(60 * MS + trialUs - 1)).toBe(Number.POSITIVE_INFINITY);
      expect(slowStart.limit(60 * MS + trialUs)).toBe(RATE);
    }
  });

  it("SYNs that leave after a trial are not judged; a trial with too few answers is repeated", () => {
    const slowStart = createSlowStart(RATE, 0);
    hear(slowStart, 60 * MS, 0, RATE, 0.2);
    expect(slowStart.isAfterTrial({ nowUs: 200 * MS, fromUs: 60 * MS, sentRate: 14_000 })).toBe(false);
    const after = { nowUs: 200 * MS, fromUs: 90 * MS, sentRate: RATE };
    expect(slowStart.isAfterTrial(after)).toBe(true);
    // Nothing is known of the trial itself, 60 to 85 ms.
    expect(slowStart.handleAnswers("firstSyns", 0, 80, after)).toBe(3.5 * RATE);
    expect(slowStart.limit(200 * MS)).toBe(Number.POSITIVE_INFINITY);
    expect(slowStart.limit(230 * MS)).toBe(RATE);
  });

  it("a trial that is answered equally well proves its rate", () => {
    const slowStart = createSlowStart(RATE, 0);
    hear(slowStart, 60 * MS, 0, RATE, 0.2);
    expect(hear(slowStart, 120 * MS, 60 * MS, 3.5 * RATE, 0.2)).toBe(3.5 ** 2 * RATE);
    expect(slowStart.limit(1000 * MS)).toBe(3.5 * RATE);
  });
});
