/** What is learnt of bursts of loss from pilots, follow-ups and recovered pairs, against chains that are drawn. */
import { describe, expect, it } from "vitest";
import { createRandom } from "../../../src/lab/random.ts";
import { createLossBursts, type LossBursts, type Tries } from "../../../src/scan/measure/loss-bursts.ts";

const SECOND = 1_000_000;
const LOSS = 0.01;

const triesAt = (timesUs: readonly number[], loss = LOSS): Tries => ({
  times: Float64Array.from(timesUs),
  i: 0,
  step: 1,
  count: timesUs.length,
  losses: new Float64Array(timesUs.length).fill(loss),
});

/** The probability that all of these tries are lost, as `bursts` has it. */
function allLost(bursts: LossBursts, timesUs: readonly number[], loss = LOSS): number {
  bursts.reckon(triesAt(timesUs, loss));
  return loss ** timesUs.length * (1 + bursts.excess[0]);
}

/** Pilots a third of a second after their ports answered, followed up, on a chain with these two numbers beside independent loss. */
function observe(share: number, meanUs: number, pilots: number, seed = 1): LossBursts {
  const random = createRandom(seed, 7);
  const bursts = createLossBursts();
  const known = 0;
  const sent = SECOND / 3;
  for (let n = 0; n < pilots; n++) {
    // From good at `known`: when it next goes bad, and for how long.
    const badFrom = share === 0 ? Infinity : (-Math.log(1 - random()) * meanUs * (1 - share)) / share;
    const badUntil = badFrom - Math.log(1 - random()) * meanUs;
    const isLost = (us: number): boolean => (us >= badFrom && us < badUntil) || random() < LOSS;
    if (!isLost(sent)) {
      bursts.pilotAnswered(Float64Array.of(sent), Float64Array.of(known), 0);
      continue;
    }
    bursts.pilotLost(sent - known, LOSS);
    const times = [sent];
    for (let gap = 0.1 * SECOND; gap < 20 * SECOND; gap *= 2) {
      times.push(sent + gap);
      const isAgain = isLost(sent + gap);
      bursts.followedUp(triesAt(times), known, !isAgain);
      if (!isAgain) break;
    }
  }
  for (let asked = 0; asked < 4; asked++) bursts.update();
  return bursts;
}

describe("bursts of loss", () => {
  it("are suspected when a port is lost once more, and known by a few more such", () => {
    const bursts = createLossBursts();
    const lose = (): void => {
      bursts.pilotLost(0.3 * SECOND, LOSS);
      bursts.followedUp(triesAt([0.3 * SECOND, 0.4 * SECOND]), 0, false);
      for (let asked = 0; asked < 4; asked++) bursts.update();
    };
    expect(bursts.isSuspected(100)).toBe(false);
    lose();
    expect([bursts.isSuspected(100), bursts.isClustered()]).toEqual([true, false]);
    for (let more = 0; more < 3; more++) lose();
    expect([bursts.isSuspected(100), bursts.isClustered()]).toEqual([true, true]);
  });

  it("are suspected from slighter signs while few losses are known, which is when bursts hide more than they show", () => {
    const bursts = createLossBursts();
    for (let lost = 0; lost < 2; lost++) bursts.pilotLost(0.3 * SECOND, 0.01);
    for (let asked = 0; asked < 4; asked++) bursts.update();
    expect([bursts.isSuspected(99), bursts.isSuspected(100)]).toEqual([true, false]);
  });

  it("are thought rare at first: two tries are hardly doubted more than loss alone says, nor is it claimed that there are none", () => {
    const bursts = createLossBursts();
    expect([bursts.isClustered(), bursts.isIndependent()]).toEqual([false, false]);
    const doubt = allLost(bursts, [0, 0.1 * SECOND]);
    expect(doubt).toBeGreaterThan(LOSS ** 2);
    expect(doubt).toBeLessThan(LOSS ** 2 + 1e-4);
  });

  it.each([
    [0.05, 0.5],
    [0.05, 2],
    [0.02, 2],
  ])("are found, a share of %d of the time and %d s long", (share, seconds) => {
    for (const seed of [1, 2, 3]) {
      const bursts = observe(share, seconds * SECOND, 2000, seed);
      expect([bursts.isClustered(), bursts.isIndependent()]).toEqual([true, false]);
      expect(bursts.meanUs() / SECOND).toBeGreaterThan(0.5 * seconds);
      expect(bursts.meanUs() / SECOND).toBeLessThan(2 * seconds);
      expect(bursts.share()).toBeGreaterThan(share / 4);
      expect(bursts.share()).toBeLessThan(4 * share);
      // Tries at once share their fate, and late ones do not.
      const atOnce = allLost(bursts, [0, 0.1 * SECOND, 0.2 * SECOND]);
      expect(atOnce).toBeGreaterThan(share / 8);
      expect(allLost(bursts, [0, 0.2 * SECOND, 10 * seconds * SECOND])).toBeLessThan(atOnce / 4);
    }
  });

  it("are found not to be there, where losses are independent", () => {
    for (const seed of [1, 2, 3]) {
      const bursts = observe(0, SECOND, 2000, seed);
      expect([bursts.isClustered(), bursts.isIndependent()]).toEqual([false, true]);
      expect(allLost(bursts, [0, 0.1 * SECOND, 0.2 * SECOND])).toBeLessThan(5e-5);
    }
  });

  it("are seen by pairs that recovered, given how long pairs are tried", () => {
    const bursts = createLossBursts();
    bursts.gaveUp(Float64Array.of(0, 4 * SECOND), 0, 1);
    const random = createRandom(5, 7);
    for (let n = 0; n < 60; n++) {
      const untilUs = -Math.log(1 - random()) * SECOND;
      const times = [0];
      for (let us = 0.1 * SECOND; us < 4 * SECOND; us *= 2) {
        times.push(us);
        if (us < untilUs) continue;
        bursts.recovered(triesAt(times));
        break;
      }
      if (n % 20 === 0) bursts.update();
    }
    for (let asked = 0; asked < 4; asked++) bursts.update();
    expect(bursts.isClustered()).toBe(true);
    expect(bursts.meanUs() / SECOND).toBeGreaterThan(0.4);
    expect(bursts.meanUs() / SECOND).toBeLessThan(2.5);
  });
});
