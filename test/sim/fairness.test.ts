/**
 * Two runs that know nothing of each other, through one bottleneck: what each gets of it while both are under way, from two
 * seconds after the later one's start.
 *
 * The aim is 40 to 60 % for each. Not all of them reach it (src/scan/congestion/controller.ts says which), so that what is held here is that
 * most do, how far the others are off, and that no place is the better one. `npx tsx test/sim/fairness.ts` has more of them.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { ALL, everyday, someOf } from "../everyday.ts";
import { EQUAL, offBy, pairs, type Shares, sharesOf } from "./fairness.ts";
import { scanTruth } from "./truth.ts";

const SLOW = 300_000;
/** Every day the slow bottleneck: the fast one takes ten times the time. */
const PAIRS = everyday(
  someOf(
    2,
    pairs(1).filter(({ ratePps }) => ratePps === 2000),
  ),
  pairs(2),
);
const WORKERS = everyday(PAIRS, pairs(1))
  .filter(({ secondS }) => secondS === 0)
  .slice(0, everyday(1, 1000));

describe("two runs through one bottleneck", () => {
  const all = PAIRS;
  let found: Shares[] = [];
  const sharesOfAll = (): number[] => found.map(({ first }) => first);
  const outside = (shares: readonly number[]): number =>
    shares.filter((share) => Math.abs(share - 0.5) > EQUAL).length;
  beforeAll(() => {
    found = all.map((pair) => sharesOf(pair));
  }, SLOW);

  it("have 40 to 60 % each in eleven of twelve pairs, and in the median 45 to 55 %", () => {
    expect(outside(sharesOfAll())).toBeLessThanOrEqual(all.length / 12);
    expect(offBy(sharesOfAll(), 0.5)).toBeLessThan(0.05);
  });

  it("have them where both begin together and most hosts answer, in all pairs but one, and all once they are settled", () => {
    const together = found.filter((_, i) => all[i].secondS === 0 && all[i].silent === 0);
    expect(together.length).toBeGreaterThan(everyday(1, 9));
    expect(outside(together.map(({ first }) => first))).toBeLessThanOrEqual(1);
    expect(outside(together.map(({ late }) => late))).toBe(0);
  });

  it("both get on, and neither place is the better one", () => {
    for (const [i, { first }] of found.entries()) {
      expect(Math.abs(first - 0.5), JSON.stringify(all[i])).toBeLessThan(0.25);
    }
    const mean = sharesOfAll().reduce((sum, share) => sum + share, 0) / found.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.06);
  });

  it("together use what there is, and not much more", () => {
    for (const [i, { use }] of found.entries()) {
      expect(use, JSON.stringify(all[i])).toBeGreaterThan(0.75);
      expect(use, JSON.stringify(all[i])).toBeLessThan(1.2);
    }
  });
});

it("two workers of one run have half each, and together what one run has", { timeout: SLOW }, () => {
  for (const pair of WORKERS) {
    const { first, late, use } = sharesOf(pair, { workers: true });
    expect(Math.abs(first - 0.5), JSON.stringify(pair)).toBeLessThan(0.02);
    expect(Math.abs(late - 0.5)).toBeLessThan(0.02);
    expect(use).toBeGreaterThan(0.75);
    expect(use).toBeLessThan(1.1);
  }
});

it.runIf(ALL).each([40, 150])(
  "%d ms away, two runs that go on to their ends are both right",
  (roundMs) => {
    const description = {
      seed: 1,
      path: { latencyMs: roundMs / 2, in: { ratePps: 20_000, queuePackets: 2000 } },
      hosts: [{ range: "198.18.0.0/15", ports: [{ share: 0.03, is: "open" as const }] }],
    };
    const size = { hosts: 8192, ports: 10, seed: 1 };
    for (const { pairs: all, openFound, open, closedRight, closed } of scanTruth(description, size, {}, 2, {
      startsUs: [0, 700_000],
    })) {
      expect([openFound, closedRight]).toEqual([open, closed]);
      expect(open + closed).toBe(all);
    }
  },
  SLOW,
);
