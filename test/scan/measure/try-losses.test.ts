/** What the path lost when each try of a pair left: by its interval's loss, its pilots, or the run. */
import { expect, it } from "vitest";
import { lossOf, MAX_LOSS } from "../../../src/scan/measure/loss.ts";
import { createSendIntervals, FATES } from "../../../src/scan/measure/send-intervals.ts";
import { createTryLosses } from "../../../src/scan/measure/try-losses.ts";

const MS = 1000;
const FACTOR = Float64Array.of(2);

/** Twenty intervals of 10 ms. */
function createLosses() {
  const intervals = createSendIntervals();
  for (let i = 0; i < 20; i++) intervals.begin(i * 10 * MS, 1000);
  return { intervals, ...createTryLosses(intervals) };
}
/** When tries leave that are two apart in their column. */
const column = (...ms: number[]): Float64Array =>
  Float64Array.from([0, ...ms.flatMap((at) => [at * MS, -1])]);

it("an interval that has its loss tells it, times the host's factor; one without tells by its pilots, or the run", () => {
  const { intervals, lookUp, losses, tries, setLoss } = createLosses();
  intervals.setLoss(3, 0.3);
  intervals.setLoss(4, 0.6);
  intervals.add(5, FATES.pilotLost, 6);
  intervals.add(5, FATES.pilotAnswered, 4);
  const times = column(35, 45, 55, 65, -5);
  lookUp(times, 1, 2, 5, FACTOR, 5);
  expect([tries.times, tries.i, tries.step, tries.count]).toEqual([times, 1, 2, 5]);
  const run = lossOf(0, 0);
  expect([...losses.subarray(0, 5)]).toEqual(
    [0.6, MAX_LOSS, (2 * (6 + 20 * run)) / 30, 2 * run, 2 * run].map((loss) => expect.closeTo(loss, 12)),
  );
  setLoss(0.1);
  lookUp(times, 3, 2, 2, FACTOR, 4);
  // The fifth interval has none yet.
  expect([...losses.subarray(0, 2)]).toEqual(
    [0.2, (2 * (6 + 2)) / 30].map((loss) => expect.closeTo(loss, 12)),
  );
});

it("evidence of bursts is held against pilots of the nine intervals up to the SYN's that have no answer, and never against less than the run's loss", () => {
  const { intervals, lookUpEvidence, losses, setLoss } = createLosses();
  setLoss(0.1);
  for (let i = 0; i < 20; i++) intervals.setLoss(i, 0.05);
  const evidence = (ms: number, smoothed = 20): number => {
    expect(lookUpEvidence(column(ms), 1, 2, 1, smoothed)).toBe(true);
    return losses[0];
  };
  // Of the first interval of the nine and the last; those about them do not count.
  for (const [i, sent, answered] of [
    [1, 50, 0],
    [2, 4, 2],
    [10, 4, 2],
    [11, 50, 0],
  ] as const) {
    intervals.add(i, FATES.pilotSent, sent);
    intervals.add(i, FATES.pilotAnswered, answered);
  }
  expect(evidence(105)).toBeCloseTo((4 + 1.5 * 2 + 1) / 10, 12);
  // Seven are too few, as long as the interval has its loss.
  intervals.add(10, FATES.pilotSent, -1);
  expect(evidence(105)).toBeCloseTo(0.1, 12);
  expect(evidence(105, 10)).toBeCloseTo((3 + 1.5 * Math.sqrt(3) + 1) / 9, 12);
  intervals.add(10, FATES.pilotSent, 1000);
  expect(evidence(105)).toBe(MAX_LOSS);
  // More answers than are counted as sent: late ones.
  intervals.add(9, FATES.pilotAnswered, 2000);
  expect(evidence(105)).toBeCloseTo(0.1, 12);
  expect(lookUpEvidence(column(105, -5), 1, 2, 2, 20)).toBe(false);
});
