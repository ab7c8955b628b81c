/** Missed open ports, from the losses of the intervals in which those found were probed. */
import { describe, expect, it } from "vitest";
import { createMissedPorts, type Settled } from "../../../src/scan/measure/missed-ports.ts";
import { createSendIntervals, FATES } from "../../../src/scan/measure/send-intervals.ts";

const MS = 1000;
const known = (count: number, more: Partial<Settled> = {}): Settled => ({
  smoothed: count,
  settled: count,
  timeoutUs: 10 * MS,
  isLast: false,
  resetsLimited: false,
  ...more,
});

/** Intervals of 10 ms, each with its loss, open ports, and first SYNs of which so many were answered. */
function intervalsOf(
  all: readonly {
    readonly loss: number;
    readonly open?: number;
    readonly first?: readonly [number, number];
  }[],
) {
  const intervals = createSendIntervals();
  for (const [i, { loss, open = 0, first = [0, 0] }] of all.entries()) {
    intervals.begin(i * 10 * MS, 1000);
    intervals.setLoss(i, loss);
    intervals.add(i, FATES.open, open);
    intervals.add(i, FATES.firstSyn, first[0]);
    intervals.add(i, FATES.firstSynAnswered, first[1]);
  }
  return intervals;
}

describe("where pairs may get many SYNs", () => {
  it("each open port stands for doubt / (1 - doubt), with the loss of its first try and that of the next one's interval", () => {
    const intervals = intervalsOf([
      { loss: 0.1, open: 3 },
      { loss: 0.2, open: 1 },
      { loss: 0.3, open: 2 },
      { loss: 0.5 },
    ]);
    const missed = createMissedPorts(intervals, 0.05, 10);
    missed.update(known(3));
    // The first: 0.1, then 0.2. The second: 0.2, 0.3, and 0.06 is more than is accepted: 0.3 once more. The third waits for its next.
    const sum = (3 * 0.02) / 0.98 + 0.018 / 0.982;
    expect(missed.sum()).toBeCloseTo(sum, 12);
    // What is final is not counted again.
    missed.update(known(3));
    expect(missed.sum()).toBeCloseTo(sum, 12);
    missed.update(known(4));
    expect(missed.sum()).toBeCloseTo(sum + (2 * 0.3 * 0.5 ** 3) / (1 - 0.3 * 0.5 ** 3), 12);
  });

  it("the last interval's next try is lost as often as its first, at the end", () => {
    const missed = createMissedPorts(intervalsOf([{ loss: 0.2, open: 5 }, { loss: 0 }]), 0.05, 10);
    missed.update(known(1));
    expect(missed.sum()).toBe(0);
    missed.update(known(1, { isLast: true }));
    expect(missed.sum()).toBeCloseTo((5 * 0.04) / 0.96, 12);
  });
});

describe("where pairs get one SYN or two", () => {
  /** Sixty intervals of 100 first SYNs and little other evidence: 50 are answered and 10 ports open, but in the last ten `part` of that. */
  const few = (
    most: number,
    part = 1,
    more: Partial<Settled> = {},
    evidence: (typeof FATES)[keyof typeof FATES] = FATES.pilotAnswered,
  ): number => {
    const all = Array.from({ length: 60 }, (_, i) => ({
      loss: 0.02,
      open: i < 50 ? 10 : 10 * part,
      first: [100, i < 50 ? 50 : 50 * part] as const,
    }));
    const intervals = intervalsOf(all);
    for (let i = 0; i < 60; i++) intervals.add(i, evidence, 1);
    const missed = createMissedPorts(intervals, 1e-5, most);
    missed.update(known(60, { isLast: true, ...more }));
    return missed.sum();
  };

  it("as many are missed as the intervals' loss says, where the same share of first SYNs is always answered", () => {
    expect(few(1)).toBeCloseTo((60 * 10 * 0.02) / 0.98, 9);
    expect(few(2)).toBeCloseTo((60 * 10 * 0.02 ** 2) / 0.98, 9);
    // Each found stands for those like it, whatever was answered, where there may be more tries or RSTs are limited.
    expect(few(2, 1, { resetsLimited: true })).toBeCloseTo((60 * 10 * 0.02 ** 2) / (1 - 0.02 ** 2), 9);
  });

  it("the share of first SYNs that is answered tells what else was lost, and of how many open ports", () => {
    // 50 of the last 100, most of which so little evidence lets be seen.
    expect(few(1, 0.5) - few(1)).toBeGreaterThan(20);
    expect(few(1, 0.5) - few(1)).toBeLessThan(50);
    expect(few(1, 0)).toBeGreaterThan(few(1, 0.5) + 15);
  });

  it("SYNs that are known to be lost are evidence as those that were answered are", () => {
    const answered = few(1, 0.5);
    for (const fate of [FATES.pathAnswered, FATES.pathLost, FATES.pilotLost])
      expect(few(1, 0.5, {}, fate)).toBe(answered);
  });

  it("they are looked at once in 32 intervals, unless RSTs are limited, which hides what the share would tell", () => {
    const intervals = intervalsOf(
      Array.from({ length: 31 }, () => ({ loss: 0.1, open: 1, first: [10, 5] as const })),
    );
    const missed = createMissedPorts(intervals, 1e-5, 2);
    missed.update(known(31));
    expect(missed.sum()).toBe(0);
    missed.update(known(31, { resetsLimited: true }));
    expect(missed.sum()).toBeCloseTo((31 * 0.01) / 0.99, 12);
    intervals.begin(310 * MS, 1000);
    for (let i = 0; i < 31; i++) intervals.add(i, FATES.pilotAnswered, 1);
    const other = createMissedPorts(intervals, 1e-5, 2);
    other.update(known(31));
    expect(other.sum()).toBeGreaterThan(0);
  });
});
