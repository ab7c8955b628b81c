/** How sure a run is: the tries that doubt asks for, and whether what it says of its misses holds in simulated worlds. */
import { describe, expect, it } from "vitest";
import { lossOf, lossOfPart, missChance, missedOpen } from "../../../src/scan/measure/loss.ts";
import { createSeededRandom } from "../../sim/random.ts";

describe("the chance that a port which answers is missed", () => {
  it("is that of the fewest tries that leave no more doubt than is accepted, two at least", () => {
    for (const loss of [0.001, 0.02, 0.0591, 0.19, 0.5, 0.9]) {
      for (const accepted of [0.5, 1e-2, 1e-4, 1e-6]) {
        const chance = missChance(loss, loss, accepted, 1000);
        expect(chance).toBeLessThanOrEqual(accepted * (1 + 1e-9));
        // One try less would have left more.
        expect(chance / loss > accepted || Math.abs(chance - loss ** 2) < 1e-12).toBe(true);
      }
    }
  });

  it("is that of as many tries as there may be, where they are too few", () => {
    expect(missChance(0.5, 0.5, 1e-9, 4)).toBeCloseTo(0.5 ** 4, 12);
    expect(missChance(1, 1, 1e-9, 11)).toBe(1);
    expect(missChance(0.3, 0.9, 1e-9, 1)).toBe(0.3);
    // The first SYN met a queue, the others did not.
    expect(missChance(0.9, 0.01, 1e-3, 11)).toBeCloseTo(0.9 * 0.01 * 0.01, 12);
  });
});

describe("loss", () => {
  it("is never thought to be none, nor all, and comes close to what was seen", () => {
    expect(lossOf(0, 0)).toBeGreaterThan(0);
    expect(lossOf(0, 0)).toBeLessThan(0.1);
    expect(lossOf(0, 1e6)).toBeGreaterThan(0);
    expect(lossOf(1e6, 0)).toBeLessThan(1);
    expect(lossOf(30_000, 970_000)).toBeCloseTo(0.03, 4);
  });

  it("of a part is the whole's until its own evidence weighs more", () => {
    expect(lossOfPart(0, 0, 0.07)).toBeCloseTo(0.07, 12);
    expect(lossOfPart(1, 2, 0.07)).toBeLessThan(0.12);
    expect(lossOfPart(500, 500, 0.07)).toBeCloseTo(0.5, 1);
  });
});

/** One world: `open` ports that answer each try but for a loss; the run's evidence of the loss; what it missed, and what it says. */
function world(seed: number) {
  const random = createSeededRandom(seed);
  const chance = (): number => random(2 ** 30) / 2 ** 30;
  const loss = 0.005 + 0.3 * chance();
  const open = Math.floor(3 * 1000 ** chance());
  const silentOnes = Math.floor(10_000 * chance());
  const happens = (times: number, often: number): number => {
    let sum = 0;
    for (let i = 0; i < times; i++) if (chance() < often) sum++;
    return sum;
  };
  const trips = 30 + open + random(2000);
  const lost = happens(trips, loss);
  const believed = lossOf(lost, trips - lost);
  const most = 1 + random(6);
  let tries = 1;
  while (tries < most && believed ** tries > 1e-5) tries++;
  const missed = happens(open, loss ** tries);
  const found = open - missed;
  const silent = silentOnes + missed;
  const doubt = believed ** tries;
  const said = missedOpen({
    found,
    missedPorts: (found * doubt) / (1 - doubt),
    silent,
    doubts: silent * doubt,
    lost,
    tries,
  });
  return { missed, said, silent };
}

describe("open ports that were missed", () => {
  const WORLDS = 3000;
  const worlds = Array.from({ length: WORLDS }, (_, seed) => world(seed + 1));

  it("lie in the interval in 95 of 100 worlds, and no less often where there are many", () => {
    const held = worlds.filter(({ missed, said }) => said.low <= missed && missed <= said.high);
    expect(held.length / WORLDS).toBeGreaterThanOrEqual(0.95);
    const many = worlds.filter(({ missed }) => missed >= 3);
    expect(many.length).toBeGreaterThan(300);
    const heldOfMany = many.filter(({ missed, said }) => said.low <= missed && missed <= said.high);
    expect(heldOfMany.length / many.length).toBeGreaterThanOrEqual(0.95);
  });

  it("are as many as expected, over all worlds", () => {
    const missed = worlds.reduce((sum, each) => sum + each.missed, 0);
    const expected = worlds.reduce((sum, each) => sum + each.said.expected, 0);
    expect(missed).toBeGreaterThan(3000);
    expect(expected / missed).toBeGreaterThan(0.9);
    expect(expected / missed).toBeLessThan(1.1);
  });

  it("are told by bounds in order, never more than the silent ports, and the interval says something", () => {
    for (const { said, silent } of worlds) {
      expect(said.low).toBeGreaterThanOrEqual(0);
      expect(said.low).toBeLessThanOrEqual(said.high);
      expect(said.high).toBeLessThanOrEqual(silent);
      expect(said.expected).toBeLessThanOrEqual(silent);
    }
    // A guess of "none to all" would hold, too.
    const { low, high } = missedOpen({
      found: 900,
      missedPorts: 100,
      silent: 5000,
      doubts: 500,
      lost: 2000,
      tries: 1,
    });
    expect(low).toBeGreaterThan(25);
    expect(high).toBeLessThan(400);
  });

  it("are none where nothing was silent, and perhaps one where nothing was found", () => {
    expect(missedOpen({ found: 50, missedPorts: 3, silent: 0, doubts: 0, lost: 9, tries: 0 })).toEqual({
      expected: 0,
      low: 0,
      high: 0,
    });
    const nothing = missedOpen({ found: 0, missedPorts: 0, silent: 100, doubts: 50, lost: 100, tries: 1 });
    expect(nothing.expected).toBeGreaterThan(0);
    expect(nothing.low).toBe(0);
    expect(nothing.high).toBeGreaterThan(0);
  });
});
