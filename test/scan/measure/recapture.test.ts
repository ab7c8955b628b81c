/** Bounds from a sample: known values, what they claim of random populations, and when a sample contradicts what was stated. */
import { describe, expect, it } from "vitest";
import { contradicts, lowerShare, recaptured, upperShare } from "../../../src/scan/measure/recapture.ts";
import { createSeededRandom } from "../../sim/random.ts";

describe("a share's exact bounds", () => {
  // Clopper and Pearson's intervals as R's binom.test(k, n)$conf.int has them.
  it.each([
    [0, 1, 0, 0.975],
    [0, 200, 0, 0.018275],
    [5, 100, 0.016432, 0.112835],
    [50, 100, 0.398321, 0.601679],
    [100, 100, 0.963783, 1],
    [3, 5000, 0.000124, 0.001752],
    [900, 100_000, 0.008424, 0.009604],
  ])("%d of %d: %d to %d", (k, n, low, high) => {
    expect(lowerShare(k, n)).toBeCloseTo(low, 5);
    expect(upperShare(k, n)).toBeCloseTo(high, 5);
  });
});

describe("a contradiction", () => {
  it.each([
    [0, 0, false],
    [0, 5, false],
    [1, 0, true],
    [1, 0.004, true],
    [1, 0.04, true],
    [1, 0.06, false],
    [1, 0.2, false],
    [4, 1, true],
    [4, 3, false],
    [40, 20, true],
  ])("%d answered where %d were expected: %s", (answered, expected, is) => {
    expect(contradicts(answered, expected)).toBe(is);
  });
});

const EVIDENCE = {
  asked: 200,
  open: 0,
  closed: 0,
  silent: 5000,
  last: 0,
  before: 0,
  openFound: 250,
  closedFound: 4750,
  loss: 0.01,
  unseen: 0,
};

describe("what is still missed", () => {
  it("is next to nothing when all were asked and none answered", () => {
    const none = { expected: 0, low: 0, high: 0 };
    expect(recaptured({ ...EVIDENCE, asked: 5000 })).toEqual({ answering: none, open: none });
  });

  it("is bounded by the sample's size when none of it answered", () => {
    const { expected, low, high } = recaptured(EVIDENCE).open;
    expect([expected, low]).toEqual([0, 0]);
    // 4,800 ports of which at most 1.83 % answer, at most 5.64 % of which are open.
    expect(high).toBe(Math.ceil((4800 * 0.018275 * 0.0564) / 0.99));
  });

  it("grows with what later rounds still find", () => {
    const missedAfter = (last: number, before: number): number =>
      recaptured({ ...EVIDENCE, asked: 5000, closed: 150, silent: 4850, last, before }).open.expected;
    expect(missedAfter(0, 100)).toBe(0);
    expect(missedAfter(20, 100)).toBeGreaterThan(0);
    expect(missedAfter(40, 100)).toBeGreaterThan(2 * missedAfter(20, 100));
  });

  it("may be as much as the last rounds may have left, at the worst share that is lost once more", () => {
    // Of 200 that answered half did so in the last round: up to 57 % are lost once more (Clopper and Pearson).
    const rounds = { asked: 5000, closed: 200, silent: 4800, last: 100, before: 100 };
    const { low, high } = recaptured({ ...EVIDENCE, ...rounds, openFound: 2500, closedFound: 2500 }).open;
    expect(low).toBe(0);
    expect(high).toBeGreaterThan(75);
    expect(high).toBeLessThan(110);
  });

  it("is at least what a sample's share says, and none when further rounds have asked all that could be", () => {
    const found = { ...EVIDENCE, asked: 1000, closed: 100, silent: 4900 };
    expect(recaptured({ ...found, last: 100 }).answering.low).toBeGreaterThan(300);
    expect(recaptured({ ...found, last: 0, before: 20 }).answering.low).toBe(0);
    expect(recaptured({ ...found, last: 0, before: 20 }).answering.high).toBeGreaterThan(400);
  });

  it("is no more than were not asked, and who was lost again, however much the path loses", () => {
    const bad = { ...EVIDENCE, asked: 100, closed: 50, silent: 1000, last: 0, loss: 0.6 };
    // None of the last round: at most so many are lost again that finding none has a chance of 2.5 %, 0.6 ** 7 being 2.8 %.
    expect(recaptured(bad).answering.high).toBe(950 + 7);
  });

  it("holds the truth of random populations", () => {
    const random = createSeededRandom(5);
    const chance = (): number => random(1 << 30) / (1 << 30);
    const RUNS = 500;
    let held = 0;
    let heldAll = 0;
    for (let run = 0; run < RUNS; run++) {
      const pairs = 500 + random(2000);
      const asked = 200 + random(300);
      const missed = chance() ** 2 * 0.1;
      const loss = 0.1 * chance();
      const [openFound, closedFound] = [100, 900];
      const found = { open: 0, closed: 0 };
      let truth = 0;
      let all = 0;
      for (let pair = 0; pair < pairs; pair++) {
        if (chance() >= missed) continue;
        const state = chance() < 0.1 ? "open" : "closed";
        if (pair < asked && chance() >= loss) found[state]++;
        else {
          all++;
          if (state === "open") truth++;
        }
      }
      const { open, answering } = recaptured({
        asked,
        ...found,
        silent: pairs - found.open - found.closed,
        last: found.open + found.closed,
        before: 0,
        openFound: openFound + found.open,
        closedFound: closedFound + found.closed,
        loss,
        unseen: 0,
      });
      if (open.low <= truth && truth <= open.high) held++;
      if (answering.low <= all && all <= answering.high) heldAll++;
    }
    expect(held / RUNS).toBeGreaterThanOrEqual(0.95);
    expect(heldAll / RUNS).toBeGreaterThanOrEqual(0.95);
  });
});
