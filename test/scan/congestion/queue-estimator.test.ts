/** The queue before a bottleneck, told from round trips: how fast it grows, and what is none. */
import { describe, expect, it } from "vitest";
import {
  capacityFrom,
  createQueueEstimator,
  type Delay,
  queueIn,
} from "../../../src/scan/congestion/queue-estimator.ts";
import { createSeededRandom } from "../../sim/random.ts";

const STRETCH_US = 10_000;

/** Stretches sent at `sent` a second; `delayAt` µs on top of the usual at each time, and an even jitter of ± `jitterUs`. */
function stretches(
  random: (below: number) => number,
  {
    count = 8,
    answers = 20,
    sent = 10_000,
    jitterUs = 0,
  }: { count?: number; answers?: number; sent?: number; jitterUs?: number },
  delayAt: (us: number) => number,
): Delay[] {
  return Array.from({ length: count }, (_, i) => {
    const atUs = 5_000_000 + (i + 0.5) * STRETCH_US;
    const each = Array.from({ length: answers }, () => {
      const us = (i + random(1000) / 1000) * STRETCH_US;
      return delayAt(us) + jitterUs * (random(2001) / 1000 - 1);
    });
    return {
      atUs,
      sent,
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
      const sent = capacity * over;
      // Over a capacity C a queue grows by sent/C - 1 seconds a second.
      const grow = (us: number): number => 3000 + us * (over - 1);
      const clean = capacityFrom(stretches(random, { sent, answers: 50 }, grow));
      expect(Math.abs(clean / capacity - 1), `seed ${seed}`).toBeLessThan(0.05);
      const noisy = capacityFrom(stretches(random, { sent, answers: 50, count: 12, jitterUs: 10_000 }, grow));
      expect(Math.abs(noisy / capacity - 1), `seed ${seed}`).toBeLessThan(0.15);
    }
  });

  it("is what is sent while the queue stays, and more than that while it shrinks", () => {
    const random = createSeededRandom(1);
    expect(capacityFrom(stretches(random, { sent: 7000 }, () => 40_000))).toBeCloseTo(7000, 6);
    const shrinking = capacityFrom(
      stretches(random, { sent: 7000, answers: 200 }, (us) => 40_000 - 0.3 * us),
    );
    expect(Math.abs(shrinking / 10_000 - 1)).toBeLessThan(0.05);
  });

  it("is a number for one stretch, and never less than a quarter of what is sent nor more than twice", () => {
    const random = createSeededRandom(2);
    expect(capacityFrom(stretches(random, { count: 1, sent: 900 }, () => 9e6))).toBe(900);
    expect(capacityFrom(stretches(random, { sent: 900 }, (us) => us * 100))).toBeCloseTo(225, 6);
    expect(capacityFrom(stretches(random, { sent: 900 }, (us) => 1e7 - us * 100))).toBeCloseTo(1800, 6);
  });
});

describe("a queue", () => {
  it("holds up all answers: so much longer they take", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const random = createSeededRandom(seed);
      const said = queueIn(stretches(random, { jitterUs: 10_000 }, () => 40_000));
      expect(Math.abs(said - 40_000), `seed ${seed}`).toBeLessThan(6000);
    }
  });

  it("is not what jitter alone makes, nor a few answers that were held up", () => {
    let alarms = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const random = createSeededRandom(seed);
      if (queueIn(stretches(random, { jitterUs: 50_000 }, () => 0)) > 0) alarms++;
      if (queueIn(stretches(random, { jitterUs: 500 }, () => (random(10) === 0 ? 100_000 : 0))) > 0) alarms++;
    }
    expect(alarms).toBe(0);
  });

  it("is read off the newest answers: one that is gone is gone", () => {
    const random = createSeededRandom(3);
    const gone = [...stretches(random, {}, () => 50_000), ...stretches(random, { jitterUs: 100 }, () => 0)];
    expect(queueIn(gone)).toBeLessThan(200);
    expect(queueIn(gone.slice(0, 8))).toBeCloseTo(50_000, 3);
  });

  it("is nothing that few answers could tell", () => {
    const random = createSeededRandom(4);
    expect(queueIn([])).toBe(0);
    expect(queueIn(stretches(random, { count: 1, answers: 5 }, () => 90_000))).toBe(0);
  });
});

describe("what is remembered of delays", () => {
  const ROUND_US = 40_000;

  it("is a round trip of them, and more where few answers come: enough to see a queue", () => {
    const random = createSeededRandom(5);
    const few = createQueueEstimator();
    for (const each of stretches(random, { count: 4, answers: 2 }, () => 30_000)) few.add(each, ROUND_US);
    expect([few.isKnown(), few.queueUs()]).toEqual([false, 0]);
    for (const each of stretches(random, { count: 20, answers: 2 }, () => 30_000)) few.add(each, ROUND_US);
    expect(few.isKnown()).toBe(true);
    expect(few.queueUs()).toBeCloseTo(30_000, 6);
    few.clear();
    expect([few.isKnown(), few.queueUs()]).toEqual([false, 0]);
  });

  it("is so old at most: what the queue did before says nothing of the capacity now", () => {
    const random = createSeededRandom(6);
    const queue = createQueueEstimator();
    const early = stretches(random, { count: 20, sent: 1000 }, () => 0);
    const late = stretches(random, { count: 20, sent: 9000 }, () => 20_000);
    for (const each of [...early, ...late.map((each) => ({ ...each, atUs: each.atUs + 10e6 }))]) {
      queue.add(each, ROUND_US);
    }
    expect(queue.capacity()).toBeCloseTo(9000, 6);
  });

  it("is without what stands for good, until answers are faster again", () => {
    const random = createSeededRandom(7);
    const queue = createQueueEstimator();
    const take = (delayUs: number): number => {
      queue.clear();
      for (const each of stretches(random, { jitterUs: 1000 }, () => delayUs)) {
        queue.learn(each);
        queue.add(each, ROUND_US);
      }
      return queue.queueUs();
    };
    expect(take(50_000)).toBeGreaterThan(49_000);
    queue.excuse(50_000);
    expect(take(50_000)).toBeLessThan(1500);
    expect(Math.abs(queue.excess(60_000) - 10_000)).toBeLessThan(1500);
    expect(take(0)).toBeLessThan(1000);
    expect(take(50_000)).toBeGreaterThan(48_000);
  });
});
