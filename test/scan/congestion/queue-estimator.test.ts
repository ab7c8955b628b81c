/** The queue before a bottleneck, estimated from delays: its length, its growth, and jitter that is no queue. */
import { describe, expect, it } from "vitest";
import type { Delay } from "../../../src/scan/congestion/observations.ts";
import { capacityFrom, createQueueEstimator, queueIn } from "../../../src/scan/congestion/queue-estimator.ts";
import { createSeededRandom } from "../../sim/random.ts";

const GROUP_US = 10_000;

/** Groups of answers to SYNs that left at `sentRate`, with a delay of `delayAt` µs and an even jitter of ± `jitterUs`. */
function groups(
  random: (below: number) => number,
  {
    count = 8,
    answers = 20,
    sentRate = 10_000,
    jitterUs = 0,
  }: { count?: number; answers?: number; sentRate?: number; jitterUs?: number },
  delayAt: (us: number) => number,
): Delay[] {
  return Array.from({ length: count }, (_, i) => {
    const atUs = 5_000_000 + (i + 0.5) * GROUP_US;
    const each = Array.from({ length: answers }, () => {
      const us = (i + random(1000) / 1000) * GROUP_US;
      return delayAt(us) + jitterUs * (random(2001) / 1000 - 1);
    });
    return {
      atUs,
      sentRate,
      answers,
      delayUs: each.reduce((a, b) => a + b, 0) / answers,
      squares: each.reduce((a, b) => a + b * b, 0) / answers,
    };
  });
}

describe("the capacity of a bottleneck", () => {
  it("follows from how fast the queue grows, within 5 %, and 15 % with jitter", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const random = createSeededRandom(seed);
      const capacity = 500 * 2000 ** (random(1000) / 1000);
      const over = 1.1 + random(1000) / 500;
      const sentRate = capacity * over;
      // Above a capacity C a queue grows by sentRate/C - 1 seconds per second.
      const grow = (us: number): number => 3000 + us * (over - 1);
      const clean = capacityFrom(groups(random, { sentRate, answers: 50 }, grow));
      expect(Math.abs(clean / capacity - 1), `seed ${seed}`).toBeLessThan(0.05);
      const noisy = capacityFrom(
        groups(random, { sentRate, answers: 50, count: 12, jitterUs: 10_000 }, grow),
      );
      expect(Math.abs(noisy / capacity - 1), `seed ${seed}`).toBeLessThan(0.15);
    }
  });

  it("is the sent rate while the queue stays, and more while it shrinks", () => {
    const random = createSeededRandom(1);
    expect(capacityFrom(groups(random, { sentRate: 7000 }, () => 40_000))).toBeCloseTo(7000, 6);
    const shrinking = capacityFrom(
      groups(random, { sentRate: 7000, answers: 200 }, (us) => 40_000 - 0.3 * us),
    );
    expect(Math.abs(shrinking / 10_000 - 1)).toBeLessThan(0.05);
  });

  it("is a number for one group, and always between a quarter and twice the sent rate", () => {
    const random = createSeededRandom(2);
    expect(capacityFrom(groups(random, { count: 1, sentRate: 900 }, () => 9e6))).toBe(900);
    expect(capacityFrom(groups(random, { sentRate: 900 }, (us) => us * 100))).toBeCloseTo(225, 6);
    expect(capacityFrom(groups(random, { sentRate: 900 }, (us) => 1e7 - us * 100))).toBeCloseTo(1800, 6);
  });
});

describe("a queue", () => {
  it("delays all answers by its length", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const random = createSeededRandom(seed);
      const said = queueIn(groups(random, { jitterUs: 10_000 }, () => 40_000));
      expect(Math.abs(said - 40_000), `seed ${seed}`).toBeLessThan(6000);
    }
  });

  it("is not seen in jitter, nor in a few answers that were delayed", () => {
    let alarms = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const random = createSeededRandom(seed);
      if (queueIn(groups(random, { jitterUs: 50_000 }, () => 0)) > 0) alarms++;
      if (queueIn(groups(random, { jitterUs: 500 }, () => (random(10) === 0 ? 100_000 : 0))) > 0) alarms++;
    }
    expect(alarms).toBe(0);
  });

  it("is measured from the newest answers: one that is gone does not show", () => {
    const random = createSeededRandom(3);
    const gone = [...groups(random, {}, () => 50_000), ...groups(random, { jitterUs: 100 }, () => 0)];
    expect(queueIn(gone)).toBeLessThan(200);
    expect(queueIn(gone.slice(0, 8))).toBeCloseTo(50_000, 3);
  });

  it("is not seen in few answers", () => {
    const random = createSeededRandom(4);
    expect(queueIn([])).toBe(0);
    expect(queueIn(groups(random, { count: 1, answers: 5 }, () => 90_000))).toBe(0);
  });
});

describe("the estimator keeps delays", () => {
  const ROUND_US = 40_000;

  it("of one round trip, and of more where few answers arrive: enough to see a queue", () => {
    const random = createSeededRandom(5);
    const few = createQueueEstimator();
    for (const each of groups(random, { count: 4, answers: 2 }, () => 30_000)) few.add(each, ROUND_US);
    expect([few.hasEvidence(), few.queueUs()]).toEqual([false, 0]);
    for (const each of groups(random, { count: 20, answers: 2 }, () => 30_000)) few.add(each, ROUND_US);
    expect(few.hasEvidence()).toBe(true);
    expect(few.queueUs()).toBeCloseTo(30_000, 6);
    few.clear();
    expect([few.hasEvidence(), few.queueUs()]).toEqual([false, 0]);
  });

  it("of no more than that: an earlier queue does not change the capacity", () => {
    const random = createSeededRandom(6);
    const queue = createQueueEstimator();
    const early = groups(random, { count: 20, sentRate: 1000 }, () => 0);
    const late = groups(random, { count: 20, sentRate: 9000 }, () => 20_000);
    for (const each of [...early, ...late.map((each) => ({ ...each, atUs: each.atUs + 10e6 }))]) {
      queue.add(each, ROUND_US);
    }
    expect(queue.capacity()).toBeCloseTo(9000, 6);
  });

  it("without an accepted one, until answers are faster again", () => {
    const random = createSeededRandom(7);
    const queue = createQueueEstimator();
    const take = (delayUs: number): number => {
      queue.clear();
      for (const each of groups(random, { jitterUs: 1000 }, () => delayUs)) {
        queue.learn(each);
        queue.add(each, ROUND_US);
      }
      return queue.queueUs();
    };
    expect(take(50_000)).toBeGreaterThan(49_000);
    queue.accept(50_000);
    expect(take(50_000)).toBeLessThan(1500);
    expect(Math.abs(queue.excess(60_000) - 10_000)).toBeLessThan(1500);
    expect(take(0)).toBeLessThan(1000);
    expect(take(50_000)).toBeGreaterThan(48_000);
  });

  it("and accepts no less than jitter leaves possible", () => {
    const random = createSeededRandom(8);
    const accepted = (jitterUs: number): number => {
      const queue = createQueueEstimator();
      queue.accept(90_000);
      for (const each of groups(random, { answers: 50, jitterUs }, () => 40_000)) queue.learn(each);
      return -queue.excess(0);
    };
    expect(accepted(0)).toBeCloseTo(40_000, 6);
    // Even jitter deviates by 0.58 of it, and of 50 answers the mean by a seventh of that.
    expect(accepted(30_000)).toBeGreaterThan(42_000);
    expect(accepted(30_000)).toBeLessThan(50_000);
  });
});
