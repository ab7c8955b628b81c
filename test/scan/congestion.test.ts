/**
 * The rule that finds the rate, by itself: runs share one queue in a model of fluid, without probes or hosts. Whole scans through
 * the lab's networks are in test/sim.
 */
import { describe, expect, it } from "vitest";
import { type Congestion, createCongestion } from "../../src/scan/congestion.ts";
import { createSeededRandom } from "../sim/random.ts";

const CAPACITY = 10_000;
const ROUND_US = 40_000;
const TICK_US = 5000;
const QUEUE_US = 100_000;
/** Answers that a look rests on. */
const FEWEST = 3;

interface Sender {
  readonly rule: Congestion;
  readonly startS: number;
  /** Past ticks: when it was, what left a second, and what share of it arrived. */
  readonly past: { atUs: number; rate: number; share: number; delayUs: number }[];
  readonly open: { fromUs: number; syns: number; answers: number };
  sent: number;
}

interface Model {
  readonly senders: readonly { readonly initial: number; readonly startS?: number }[];
  readonly seconds: number;
  /** What somebody else sends who heeds nothing, SYNs per second. */
  readonly others?: number;
  /** So much longer the way is from `fromS` on. */
  readonly longer?: { readonly fromS: number; readonly us: number };
  /** What is counted begins here. */
  readonly countS: number;
}

/** @returns what each has sent of what the bottleneck lets through, since `countS`; and the queue, on average */
function run({ senders: starts, seconds, others = 0, longer, countS }: Model, seed = 1) {
  const random = createSeededRandom(seed);
  const senders: Sender[] = starts.map(({ initial, startS = 0 }) => ({
    rule: createCongestion({ minimum: 10, maximum: 1e6, initial, blind: 1000, startUs: startS * 1e6 }),
    startS,
    past: [],
    open: { fromUs: 0, syns: 0, answers: 0 },
    sent: 0,
  }));
  let queueUs = 0;
  let queued = 0;
  let ticks = 0;
  for (let nowUs = 0; nowUs < seconds * 1e6; nowUs += TICK_US) {
    const active = senders.filter(({ startS }) => nowUs >= startS * 1e6);
    const rates = active.map(({ rule }) => rule.rate());
    const all = rates.reduce((sum, rate) => sum + rate, others);
    queueUs = Math.max(0, queueUs + TICK_US * (all / CAPACITY - 1));
    const share = queueUs > QUEUE_US ? CAPACITY / all : 1;
    queueUs = Math.min(queueUs, QUEUE_US);
    const way = longer !== undefined && nowUs >= longer.fromS * 1e6 ? longer.us : 0;
    if (nowUs >= countS * 1e6) {
      queued += queueUs;
      ticks++;
    }
    for (const [i, sender] of active.entries()) {
      if (nowUs >= countS * 1e6) sender.sent += (rates[i] * TICK_US) / 1e6;
      sender.past.push({ atUs: nowUs, rate: rates[i], share, delayUs: queueUs + way });
      const { past, rule } = sender;
      const done = past.findIndex(({ atUs, delayUs }) => atUs + ROUND_US + delayUs > nowUs);
      for (const each of past.splice(0, Math.max(0, done))) {
        const { open } = sender;
        if (open.syns === 0) open.fromUs = each.atUs;
        const syns = (each.rate * TICK_US) / 1e6;
        open.syns += syns;
        open.answers += syns * each.share;
        // As in path-watch.ts: a look needs a few.
        if (open.answers < FEWEST && open.syns < 20 * FEWEST) continue;
        const [fresh, answers] = [Math.round(open.syns), Math.round(open.answers)];
        const delayUs = each.delayUs + random(2001) - 1000;
        const stretch = {
          nowUs,
          fromUs: open.fromUs,
          toUs: each.atUs + TICK_US,
          sent: each.rate,
          allowed: each.rate,
          roundUs: ROUND_US,
        };
        open.syns = 0;
        open.answers = 0;
        rule.handleDelays({
          ...stretch,
          atUs: each.atUs,
          answers,
          delayUs,
          squares: delayUs ** 2 + 500 ** 2,
        });
        rule.handleAnswers({ ...stretch, answers, fresh, freshAnswers: answers, delays: answers, delayUs });
        rule.handleOutcome({ ...stretch, answered: answers, lost: fresh - answers });
      }
    }
  }
  const total = CAPACITY * (seconds - countS);
  return { shares: senders.map(({ sent }) => sent / total), queueUs: queued / ticks };
}

const SEEDS = [1, 2, 3, 4, 5];

describe("one run alone", () => {
  it("uses most of what the path holds, and keeps the queue short", () => {
    for (const seed of SEEDS) {
      for (const initial of [100, 4000, 50_000]) {
        const { shares, queueUs } = run({ senders: [{ initial }], seconds: 20, countS: 5 }, seed);
        expect(shares[0], `seed ${seed}, from ${initial}`).toBeGreaterThan(0.8);
        expect(shares[0]).toBeLessThan(1.02);
        expect(queueUs).toBeLessThan(15_000);
      }
    }
  });

  it("goes on when the way has become longer for good: what stands is no queue", () => {
    for (const seed of SEEDS) {
      const longer = { fromS: 5, us: 50_000 };
      const { shares } = run({ senders: [{ initial: 4000 }], seconds: 30, countS: 15, longer }, seed);
      expect(shares[0], `seed ${seed}`).toBeGreaterThan(0.6);
    }
  });

  it("is not driven away by one who heeds nothing and takes half", () => {
    for (const seed of SEEDS) {
      const { shares } = run({ senders: [{ initial: 4000 }], seconds: 20, countS: 5, others: 5000 }, seed);
      expect(shares[0], `seed ${seed}`).toBeGreaterThan(0.3);
      expect(shares[0]).toBeLessThan(0.55);
    }
  });
});

describe("two runs through one bottleneck", () => {
  it.each([
    ["as fast as each other", 4000, 4000, 0],
    ["one forty times as fast", 200, 8000, 0],
    ["one after the other", 4000, 4000, 5],
  ])("begin %s, and have 40 to 60 %% each", (_, first, second, startS) => {
    for (const seed of SEEDS) {
      const { shares } = run(
        {
          senders: [{ initial: first }, { initial: second, startS }],
          seconds: startS + 25,
          countS: startS + 10,
        },
        seed,
      );
      const all = shares[0] + shares[1];
      expect(shares[0] / all, `seed ${seed}`).toBeGreaterThan(0.4);
      expect(shares[0] / all, `seed ${seed}`).toBeLessThan(0.6);
      expect(all).toBeGreaterThan(0.8);
    }
  });

  it("and so do four: none has less than half of its part", () => {
    const senders = [500, 1000, 4000, 8000].map((initial) => ({ initial }));
    for (const seed of SEEDS) {
      const { shares } = run({ senders, seconds: 40, countS: 15 }, seed);
      for (const share of shares) expect(share, `seed ${seed}: ${shares}`).toBeGreaterThan(0.125);
    }
  });
});
