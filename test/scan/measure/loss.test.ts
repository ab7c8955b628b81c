/** Doubt and missed ports: the tries that a doubt needs, and whether the interval of missed ports holds in simulated runs. */
import { describe, expect, it } from "vitest";
import {
  chanceToLose,
  lossOf,
  lossOfPart,
  missChance,
  missedAnswering,
  missedOpen,
} from "../../../src/scan/measure/loss.ts";
import { createSeededRandom } from "../../sim/random.ts";

describe("the probability that a port which answers is missed", () => {
  it("is that of the fewest tries that leave an acceptable doubt, at least two", () => {
    for (const loss of [0.001, 0.02, 0.0591, 0.19, 0.5, 0.9]) {
      for (const accepted of [0.5, 1e-2, 1e-4, 1e-6]) {
        const chance = missChance(loss, loss, accepted, 1000);
        expect(chance).toBeLessThanOrEqual(accepted * (1 + 1e-9));
        // One try less would have left too much.
        expect(chance / loss > accepted || Math.abs(chance - loss ** 2) < 1e-12).toBe(true);
      }
    }
  });

  it("is that of all allowed tries, where they are too few", () => {
    expect(missChance(0.5, 0.5, 1e-9, 4)).toBeCloseTo(0.5 ** 4, 12);
    expect(missChance(1, 1, 1e-9, 11)).toBe(1);
    expect(missChance(0.3, 0.9, 1e-9, 1)).toBe(0.3);
    // The first SYN met a queue, the others did not.
    expect(missChance(0.9, 0.01, 1e-3, 11)).toBeCloseTo(0.9 * 0.01 * 0.01, 12);
  });
});

describe("loss", () => {
  it("is never 0 or 1, and comes close to what was observed", () => {
    expect(lossOf(0, 0)).toBeGreaterThan(0);
    expect(lossOf(0, 0)).toBeLessThan(0.1);
    expect(lossOf(0, 1e6)).toBeGreaterThan(0);
    expect(lossOf(1e6, 0)).toBeLessThan(1);
    expect(lossOf(30_000, 970_000)).toBeCloseTo(0.03, 4);
  });

  it("of many is at most so likely as is said, and not much less", () => {
    const binomial = (n: number, k: number): number => (k === 0 ? 1 : (binomial(n, k - 1) * (n - k + 1)) / k);
    for (const loss of [0.02, 0.15, 0.5]) {
      for (const asked of [1, 7, 20]) {
        for (let lost = 0; lost <= asked; lost++) {
          let tail = 0;
          for (let k = lost; k <= asked; k++)
            tail += binomial(asked, k) * loss ** k * (1 - loss) ** (asked - k);
          const said = chanceToLose(lost, asked, loss);
          expect(said).toBeGreaterThan(tail - 1e-12);
          // Chernoff's bound is off by a factor that does not grow with the exponent.
          if (lost > asked * loss) expect(said).toBeLessThan(tail * 12);
        }
      }
    }
    expect(chanceToLose(3, 10, 0)).toBe(0);
    expect(chanceToLose(0, 10, 0)).toBe(1);
  });

  it("of a part is the whole's until its own evidence outweighs that", () => {
    expect(lossOfPart(0, 0, 0.07)).toBeCloseTo(0.07, 12);
    expect(lossOfPart(1, 2, 0.07)).toBeLessThan(0.12);
    expect(lossOfPart(500, 500, 0.07)).toBeCloseTo(0.5, 1);
  });
});

/** A run against open ports behind random loss, with its own estimate of that loss: what it missed, and what it states. */
function simulate(seed: number) {
  const random = createSeededRandom(seed);
  const chance = (): number => random(2 ** 30) / 2 ** 30;
  const loss = 0.005 + 0.3 * chance();
  const open = Math.floor(3 * 1000 ** chance());
  const withoutAnswer = Math.floor(10_000 * chance());
  const happens = (times: number, often: number): number => {
    let sum = 0;
    for (let i = 0; i < times; i++) if (chance() < often) sum++;
    return sum;
  };
  const trips = 30 + open + random(2000);
  const lost = happens(trips, loss);
  const estimated = lossOf(lost, trips - lost);
  const most = 1 + random(6);
  let tries = 1;
  while (tries < most && estimated ** tries > 1e-5) tries++;
  const missed = happens(open, loss ** tries);
  const found = open - missed;
  const silent = withoutAnswer + missed;
  const doubt = estimated ** tries;
  const said = missedOpen({
    found,
    missedPorts: (found * doubt) / (1 - doubt),
    silent,
    doubts: silent * doubt,
    burstDoubts: 0,
    lost,
    tries,
    unseen: 0,
  });
  return { missed, said, silent };
}

describe("what is stated", () => {
  const many = { withheld: 0, lost: 1e9, tries: 3, unseen: 0 };

  it("of all that answer is as many as were found, with the mean doubt of the silent", () => {
    const evidence = { ...many, found: 900, silent: 1000, doubts: 100 };
    const half = (0.5 * 0.1) / 0.9;
    expect(missedAnswering({ ...evidence, burstDoubts: 0 }).expected).toBeCloseTo(100 + half, 9);
    // Half of the doubt is of bursts, which they met as the silent ones did.
    const inHalf = (900 * 0.05) / 0.95;
    expect(missedAnswering({ ...evidence, burstDoubts: 50 }).expected).toBeCloseTo(2 * inHalf + half, 9);
    expect(missedAnswering({ ...evidence, burstDoubts: 100 }).low).toBe(0);
  });

  it("is surer the more were found, at the same expectation", () => {
    const stated = (found: number, doubt: number) =>
      missedOpen({ ...many, found, missedPorts: 150, silent: 1e6, doubts: 1e6 * doubt, burstDoubts: 0 });
    // 150 / exp(1.96 x 0.4), less 1.96 times the root of that and of the dispersion, which is 1 + 150 / 50.5, and 1.
    expect(stated(50, 0.75).low).toBe(36);
    expect(stated(5e6, 3e-5).low).toBe(52);
    expect(stated(50, 0.75).high).toBeGreaterThan(stated(5e6, 3e-5).high + 20);
  });

  it("of millions has bounds, too", () => {
    const { expected, low, high } = missedAnswering({
      ...many,
      found: 4e6,
      silent: 4e6,
      doubts: 1e6,
      burstDoubts: 0,
    });
    expect(expected).toBeCloseTo(4e6 / 3, 0);
    expect(low).toBeGreaterThan(5e5);
    expect(low).toBeLessThan(expected);
    expect(high).toBeGreaterThan(expected);
  });
});

describe("open ports that were missed", () => {
  const RUNS = 3000;
  const runs = Array.from({ length: RUNS }, (_, seed) => simulate(seed + 1));

  it("lie in the interval in 95 % of the runs, and equally often where there are many", () => {
    const held = runs.filter(({ missed, said }) => said.low <= missed && missed <= said.high);
    expect(held.length / RUNS).toBeGreaterThanOrEqual(0.95);
    const many = runs.filter(({ missed }) => missed >= 3);
    expect(many.length).toBeGreaterThan(300);
    const heldOfMany = many.filter(({ missed, said }) => said.low <= missed && missed <= said.high);
    expect(heldOfMany.length / many.length).toBeGreaterThanOrEqual(0.95);
  });

  it("number as many as expected, over all runs", () => {
    const missed = runs.reduce((sum, each) => sum + each.missed, 0);
    const expected = runs.reduce((sum, each) => sum + each.said.expected, 0);
    expect(missed).toBeGreaterThan(3000);
    expect(expected / missed).toBeGreaterThan(0.9);
    expect(expected / missed).toBeLessThan(1.1);
  });

  it("have ordered bounds, never above the number of silent ports, and a useful interval", () => {
    for (const { said, silent } of runs) {
      expect(said.low).toBeGreaterThanOrEqual(0);
      expect(said.low).toBeLessThanOrEqual(said.high);
      expect(said.high).toBeLessThanOrEqual(silent);
      expect(said.expected).toBeLessThanOrEqual(silent);
    }
    // An interval from none to all would hold, too.
    const { low, high } = missedOpen({
      found: 900,
      missedPorts: 100,
      silent: 5000,
      doubts: 500,
      burstDoubts: 0,
      lost: 2000,
      tries: 1,
      unseen: 0,
    });
    expect(low).toBeGreaterThan(25);
    expect(high).toBeLessThan(400);
  });

  it("are at least so many that fewer would be chance in one run of forty", () => {
    const lowOf = (missedPorts: number): number =>
      missedOpen({
        found: 1e15,
        missedPorts,
        silent: 1e12,
        doubts: 0,
        burstDoubts: 0,
        lost: 1e12,
        tries: 1,
        unseen: 0,
      }).low;
    // What loss is not known well enough for, which chance hardly adds to where ports are many.
    const factor = 1e10 / lowOf(1e10);
    // Poisson: P(0 | 3.6) = 2.7 %, P(0 | 4) = 1.8 %, P(3 or fewer | 9) = 2.1 %, P(4 or fewer | 9) = 5.5 %.
    expect([3.6, 4, 9].map((mean) => lowOf(mean * factor))).toEqual([0, 1, 4]);
    expect(lowOf(100 * factor)).toBe(80);
  });

  it("that answer are missed as often as the mean doubt says of those that were found", () => {
    const evidence = {
      found: 100,
      silent: 1000,
      doubts: 500,
      burstDoubts: 100,
      lost: 1e6,
      tries: 1,
      unseen: 0,
    };
    // A doubt of 0.4 without bursts' part: 100 found stand for 0.4 / 0.6 x 100 missed, and half a port; bursts hide a ninth of them more.
    const { expected } = missedAnswering(evidence);
    expect(expected).toBeCloseTo((0.4 / 0.6) * 100 + 0.5 * (0.5 / 0.5) + 100 * (0.1 / 0.9), 6);
  });

  it("are none where nothing was silent, and perhaps one where nothing was found", () => {
    expect(
      missedOpen({
        found: 50,
        missedPorts: 3,
        silent: 0,
        doubts: 0,
        burstDoubts: 0,
        lost: 9,
        tries: 0,
        unseen: 4,
      }),
    ).toEqual({
      expected: 0,
      low: 0,
      high: 0,
    });
    // Where every silent port may be open, no more than those are.
    const all = missedOpen({
      found: 0,
      missedPorts: 0,
      silent: 100,
      doubts: 100,
      burstDoubts: 0,
      lost: 100,
      tries: 1,
      unseen: 0,
    });
    expect([all.expected, all.high]).toEqual([100, 100]);
    const nothing = missedOpen({
      found: 0,
      missedPorts: 0,
      silent: 100,
      doubts: 50,
      burstDoubts: 0,
      lost: 100,
      tries: 1,
      unseen: 0,
    });
    expect(nothing.expected).toBeGreaterThan(0);
    expect(nothing.low).toBe(0);
    expect(nothing.high).toBeGreaterThan(0);
  });
});
