/** How a run begins: when it goes faster, and where it only tries. */
import { describe, expect, it } from "vitest";
import { createSlowStart, type Start } from "../../../src/scan/congestion/slow-start.ts";

const MS = 1000;
const RATE = 4000;

/** A stretch of 20 ms at the rate, of which this share was answered. */
function hear(start: Start, nowUs: number, fromUs: number, sent: number, share: number): number | undefined {
  const total = Math.round(sent / 50);
  return start.handleAnswers("fresh", Math.round(share * total), total, { nowUs, fromUs, sent });
}

describe("where most answer", () => {
  it("the rate is multiplied with each stretch that was answered as well as those before, and kept until then", () => {
    const start = createSlowStart(RATE, 0);
    expect(hear(start, 60 * MS, 0, RATE, 1)).toBe(3.5 * RATE);
    expect(start.most(10_000 * MS)).toBe(Number.POSITIVE_INFINITY);
    // What left before the rate was taken up says nothing of it.
    expect(hear(start, 80 * MS, 40 * MS, RATE, 1)).toBeUndefined();
    expect(start.sinceUs()).toBe(60 * MS);
    expect(hear(start, 120 * MS, 60 * MS, 3.5 * RATE, 0.9)).toBe(3.5 ** 2 * RATE);
  });

  it("and not with one that was answered worse", () => {
    const start = createSlowStart(RATE, 0);
    hear(start, 60 * MS, 0, RATE, 1);
    expect(hear(start, 120 * MS, 60 * MS, 2000, 0.5)).toBeUndefined();
  });

  it("nor with fewer than twelve answers", () => {
    const start = createSlowStart(RATE, 0);
    const stretch = { nowUs: 60 * MS, fromUs: 0, sent: RATE };
    expect(start.handleAnswers("fresh", 11, 11, stretch)).toBeUndefined();
    expect(start.handleAnswers("controlProbes", 11, 11, stretch)).toBeUndefined();
    expect(start.handleAnswers("fresh", 1, 1, stretch)).toBe(3.5 * RATE);
  });
});

describe("where few answer", () => {
  it("a faster rate is tried for 25 ms, or for 32 answers if that takes longer, and then the one before goes on", () => {
    for (const [answered, trialUs] of [
      [540, 25 * MS],
      [12, (1e6 * 32) / (0.01 * 3.5 * RATE)],
    ]) {
      const start = createSlowStart(RATE, 0);
      const stretch = { nowUs: 60 * MS, fromUs: 0, sent: RATE };
      expect(start.handleAnswers("fresh", answered, 1200, stretch)).toBe(3.5 * RATE);
      expect(start.most(60 * MS + trialUs - 1)).toBe(Number.POSITIVE_INFINITY);
      expect(start.most(60 * MS + trialUs)).toBe(RATE);
    }
  });

  it("what leaves after a trial is not judged; when the trial itself has told too little, there is another", () => {
    const start = createSlowStart(RATE, 0);
    hear(start, 60 * MS, 0, RATE, 0.2);
    expect(start.isAfterTrial({ nowUs: 200 * MS, fromUs: 60 * MS, sent: 14_000 })).toBe(false);
    const after = { nowUs: 200 * MS, fromUs: 90 * MS, sent: RATE };
    expect(start.isAfterTrial(after)).toBe(true);
    // Nothing was told of what left from 60 to 85 ms.
    expect(start.handleAnswers("fresh", 0, 80, after)).toBe(3.5 * RATE);
    expect(start.most(200 * MS)).toBe(Number.POSITIVE_INFINITY);
    expect(start.most(230 * MS)).toBe(RATE);
  });

  it("a trial that is answered as well proves its rate", () => {
    const start = createSlowStart(RATE, 0);
    hear(start, 60 * MS, 0, RATE, 0.2);
    expect(hear(start, 120 * MS, 60 * MS, 3.5 * RATE, 0.2)).toBe(3.5 ** 2 * RATE);
    expect(start.most(1000 * MS)).toBe(3.5 * RATE);
  });
});
