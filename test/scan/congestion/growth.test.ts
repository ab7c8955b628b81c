/** Additive growth by the clock: its first step, its doubling, what is banked, and what does not count. */
import { expect, it } from "vitest";
import { createGrowth, type Growth } from "../../../src/scan/congestion/growth.ts";

const ROUND_US = 100_000;
/** 100 ms and one round trip. */
const UNIT_US = 200_000;

/** Advances by whole units, in halves. @returns the rate */
function advance(growth: Growth, fromUs: number, units: number, answers = 100, sinceUs = 0): number {
  let rate = Number.NaN;
  for (let half = 1; half <= 2 * units; half++) {
    const nowUs = fromUs + (half * UNIT_US) / 2;
    const syns = { nowUs, fromUs, toUs: nowUs, sentRate: 1000, allowedRate: 1000, baseRttUs: ROUND_US };
    rate = growth.advance(
      { ...syns, answers, firstSyns: 0, firstSynsAnswered: 0, delays: 0, delayUs: 0 },
      sinceUs,
    );
  }
  return rate;
}

it("adds 30 SYNs/s after the first unit, and twice as much after each further one", () => {
  const growth = createGrowth(1000, 0);
  expect(advance(growth, 0, 1)).toBeCloseTo(1030, 9);
  expect(advance(growth, UNIT_US, 1)).toBeCloseTo(1090, 9);
  expect(advance(growth, 2 * UNIT_US, 1)).toBeCloseTo(1210, 9);
  expect(growth.units()).toBeCloseTo(3, 9);
});

it("adds a quarter of a small base", () => {
  expect(advance(createGrowth(40, 0), 0, 1)).toBeCloseTo(50, 9);
});

it("gives back 30 % of what was banked, from a new base", () => {
  const growth = createGrowth(1000, 0);
  advance(growth, 0, 3);
  growth.bank(200);
  growth.restart(700);
  expect([growth.base(), growth.units()]).toEqual([700, 0]);
  expect(advance(growth, 3 * UNIT_US, 1)).toBeCloseTo(700 + 60 + 30, 9);
});

it("does not count skipped time, time before the queue was gone, or time without answers", () => {
  const skipped = createGrowth(1000, 0);
  skipped.skip(10 * UNIT_US);
  advance(skipped, 10 * UNIT_US, 1);
  expect(skipped.units()).toBeCloseTo(1, 9);
  const queued = createGrowth(1000, 0);
  advance(queued, 5 * UNIT_US, 1, 100, 5.25 * UNIT_US);
  expect(queued.units()).toBeCloseTo(0.75, 9);
  const unanswered = createGrowth(1000, 0);
  advance(unanswered, 0, 1, 2);
  expect(unanswered.units()).toBeCloseTo((2 * 2) / 8, 9);
});

it("takes one observation for at most half a unit, however long ago the last one was", () => {
  const growth = createGrowth(1000, 0);
  advance(growth, 100 * UNIT_US, 0.5);
  expect(growth.units()).toBe(0.5);
});
