/**
 * The rule that finds the rate, by itself: runs share one queue in a model of fluid, without probes or hosts. Whole scans through
 * the lab's networks are in test/sim.
 */
import { describe, expect, it } from "vitest";
import { createRateController, type RateController } from "../../../src/scan/congestion/controller.ts";
import { createSeededRandom } from "../../sim/random.ts";

const CAPACITY = 10_000;
const ROUND_US = 40_000;
const TICK_US = 5000;
const QUEUE_US = 100_000;
/** Answers that a look rests on. */
const FEWEST = 3;

interface Sender {
  readonly rule: RateController;
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
    rule: createRateController({ minimum: 10, maximum: 1e6, initial, blind: 1000, startUs: startS * 1e6 }),
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
        // As in scan/congestion/path-state.ts: a look needs a few.
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

/** A rule by itself, told by hand; a stretch of 20 ms that left `agoMs` ago. */
function ruleAt(initial: number) {
  const rule = createRateController({ minimum: 10, maximum: 1e6, initial, blind: 1000, startUs: 0 });
  const stretch = (nowMs: number, agoMs: number, sent = rule.rate()) => ({
    nowUs: 1000 * nowMs,
    fromUs: 1000 * (nowMs - agoMs),
    toUs: 1000 * (nowMs - agoMs + 20),
    sent,
    allowed: sent,
    roundUs: ROUND_US,
  });
  const answer = (nowMs: number, answers: number, fresh: number, agoMs = 60): void => {
    rule.handleAnswers({
      ...stretch(nowMs, agoMs),
      answers,
      fresh,
      freshAnswers: Math.min(answers, fresh),
      delays: 0,
      delayUs: 0,
    });
  };
  const delay = (nowMs: number, delayUs: number, agoMs = 50): void => {
    const e = stretch(nowMs, agoMs);
    rule.handleDelays({ ...e, atUs: e.fromUs, answers: 20, delayUs, squares: delayUs ** 2 });
  };
  return { rule, stretch, answer, delay };
}

describe("while a run starts", () => {
  it("round trips that grow say what the path holds, however little that is, and the start is over", () => {
    const { rule, stretch } = ruleAt(4000);
    rule.handleGrowth({ ...stretch(60, 55), slope: 7, queueUs: 50_000 });
    expect(rule.rate()).toBeCloseTo(0.7 * (4000 / 8), 5);
    expect(rule.isStarting()).toBe(false);
  });

  it("but not by little, nor slowly, nor of SYNs that left before the rate was taken up", () => {
    const { rule, stretch, answer } = ruleAt(4000);
    rule.handleGrowth({ ...stretch(60, 55), slope: 7, queueUs: 7000 });
    rule.handleGrowth({ ...stretch(60, 55), slope: 0.05, queueUs: 50_000 });
    answer(60, 80, 80);
    rule.handleGrowth({ ...stretch(90, 60), slope: 7, queueUs: 50_000 });
    expect(rule.rate()).toBe(3.5 * 4000);
  });

  it("where few answer a faster rate is tried, and the one before goes on until it is judged", () => {
    const { rule, answer } = ruleAt(4000);
    answer(60, 16, 80);
    expect(rule.rate()).toBe(14_000);
    rule.handleTime(70_000);
    expect(rule.rate()).toBe(14_000);
    rule.handleTime(90_000);
    expect(rule.rate()).toBe(4000);
    // The trial was answered as well: the next one is faster, and what goes on meanwhile as well.
    rule.handleAnswers({
      nowUs: 130_000,
      fromUs: 60_000,
      toUs: 80_000,
      sent: 14_000,
      allowed: 14_000,
      roundUs: ROUND_US,
      answers: 56,
      fresh: 280,
      freshAnswers: 56,
      delays: 0,
      delayUs: 0,
    });
    expect(rule.rate()).toBe(49_000);
    rule.handleTime(200_000);
    expect(rule.rate()).toBe(14_000);
  });

  it("and where it was suspected for nothing it goes on starting, though few answer", () => {
    const { rule, stretch, answer } = ruleAt(4000);
    answer(60, 16, 80);
    rule.handleTime(90_000);
    // Four in ten are lost, at any rate: first that looks like much.
    rule.handleOutcome({ ...stretch(120, 60), answered: 30, lost: 20 });
    expect(rule.isStarting()).toBe(false);
    for (let ms = 600; ms < 1200; ms += 50) {
      answer(ms, 4, 0);
      rule.handleOutcome({ ...stretch(ms, 60), answered: 12, lost: 8 });
    }
    expect(rule.isStarting()).toBe(true);
    expect(rule.rate()).toBeGreaterThan(40_000);
  });

  it("what a trial has left behind says nothing of the rate that goes on: nobody's loss after it slows down", () => {
    const { rule, stretch, answer } = ruleAt(4000);
    answer(60, 16, 80);
    rule.handleTime(90_000);
    const after = stretch(200, 60);
    for (let i = 0; i < 4; i++) rule.handleOutcome({ ...after, answered: 5, lost: 45 });
    expect(rule.rate()).toBe(4000);
    expect(rule.isStarting()).toBe(true);
  });
});

describe("a start that ends as fewer are answered", () => {
  /** Half of the first SYNs are answered, of those that left faster a tenth; pilots that had left before tell at 250 ms. */
  function endedStart(answered: number, lost: number): { readonly before: number; readonly after: number } {
    const { rule, stretch, answer } = ruleAt(4000);
    answer(60, 40, 80);
    const told = { ...stretch(130, 60), answers: 28, fresh: 280, freshAnswers: 28, delays: 0, delayUs: 0 };
    rule.handleAnswers(told);
    expect(rule.isStarting()).toBe(false);
    const before = rule.rate();
    for (let i = 0; i < 3; i++) rule.handleOutcome({ ...stretch(250, 240, 4000), answered, lost });
    return { before, after: rule.rate() };
  }

  it("ends lower still when pilots say that it was a flood from the first SYN on", () => {
    const { before, after } = endedStart(3, 7);
    // What 4000 a second left of it: three in ten.
    expect(before).toBeGreaterThan(1500);
    expect(after).toBeLessThan(0.75 * 0.3 * 4000);
  });

  it("does not when they say that it was none", () => {
    const { before, after } = endedStart(10, 0);
    expect(after).toBe(before);
  });

  it("is no faster for what they say", () => {
    const { rule, stretch, answer } = ruleAt(4000);
    answer(60, 78, 80);
    // Of those that were still to leave at 4000 a second hardly any: it ends at a quarter of that.
    const told = { ...stretch(120, 60, 4000), answers: 4, fresh: 80, freshAnswers: 4, delays: 0, delayUs: 0 };
    rule.handleAnswers(told);
    expect(rule.rate()).toBe(1000);
    for (let i = 0; i < 3; i++) rule.handleOutcome({ ...stretch(250, 240, 4000), answered: 5, lost: 5 });
    expect(rule.rate()).toBe(1000);
  });
});

it("waits for the queue that a start's last SYNs will make, but no longer than until it has gone", () => {
  const { rule, stretch, answer, delay } = ruleAt(4000);
  // 4000, 14,000 and 49,000 a second where 3000 get by: what is on its way makes a queue of more than half a second.
  answer(60, 80, 80);
  answer(130, 80, 80);
  rule.handleGrowth({ ...stretch(200, 55), slope: 15, queueUs: 20_000 });
  const slowed = rule.rate();
  for (let ms = 300; ms < 1000; ms += 20) delay(ms, 100_000);
  expect(rule.rate()).toBe(slowed);
  // Gone; then another, which grows.
  for (let ms = 1000; ms < 1100; ms += 20) delay(ms, 0);
  for (let ms = 1100; ms < 1800; ms += 20) answer(ms, 10, 10);
  const grown = rule.rate();
  expect(grown).toBeGreaterThan(1.2 * slowed);
  for (let ms = 1800; ms < 2000; ms += 20) delay(ms, 10_000 + 300 * (ms - 1800));
  expect(rule.rate()).toBeLessThan(grown);
});

it("grows as fast with few answers as with many, where there are enough in each unit of time", () => {
  const grownWith = (everyMs: number): number => {
    const { rule, stretch, answer } = ruleAt(4000);
    rule.handleGrowth({ ...stretch(60, 55), slope: 7, queueUs: 50_000 });
    for (let ms = 3000; ms < 4000; ms += everyMs) answer(ms, 4, 4);
    expect(rule.rate()).toBeGreaterThan(2000);
    return rule.rate();
  };
  // Every twentieth and every half of a unit of 140 ms.
  expect(grownWith(63) / grownWith(7)).toBeGreaterThan(0.8);
});

it("grows again from the least there is, whatever has brought it there", () => {
  const { rule, stretch, answer } = ruleAt(4000);
  rule.handleGrowth({ ...stretch(60, 55), slope: 1e9, queueUs: 50_000 });
  rule.handleOutcome({ ...stretch(200, 60, 0), answered: 0, lost: 500 });
  const low = rule.rate();
  expect(low).toBeLessThan(250);
  for (let ms = 1000; ms < 12_000; ms += 50) answer(ms, 4, 4);
  expect(rule.rate()).toBeGreaterThan(100_000);
});

describe("a queue that stays", () => {
  /** Three looks: the first of a run's own making, the others while it stands. */
  function standing(untilMs: number): { readonly atMs: number; readonly rate: number }[] {
    const { rule, delay } = ruleAt(4000);
    const told: { atMs: number; rate: number }[] = [];
    for (let ms = 100; ms < untilMs; ms += 20) {
      const before = rule.rate();
      delay(ms, 30_000);
      if (rule.rate() !== before) told.push({ atMs: ms, rate: rule.rate() });
    }
    return told;
  }

  it("is given way to once more, when it is there three times as long as it should be, and then stands for good", () => {
    // 40 ms and 1.5 times 30 ms over 0.3 of the rate: 190 ms.
    const told = standing(1900);
    expect(told.length).toBe(2);
    expect(told[1].rate).toBeCloseTo(0.7 * told[0].rate, 5);
    expect(told[1].atMs - told[0].atMs).toBeGreaterThan(3 * 190);
    expect(told[1].atMs - told[0].atMs).toBeLessThan(5 * 190);
    expect(standing(4000).length).toBe(2);
  });
});

describe("a suspicion", () => {
  it("holds growth up for two seconds and four round trips, not for as long as other signs renew it", () => {
    const { rule, answer, delay } = ruleAt(4000);
    // Known: all are answered. Then few are; and what leaves later is nobody's first SYN, which tells nothing of it.
    for (let ms = 100; ms < 300; ms += 20) answer(ms, 80, 80);
    const before = rule.rate();
    for (let ms = 400; ms < 500; ms += 20) answer(ms, 10, 80);
    expect(rule.rate()).toBeLessThan(before);
    const grown: number[] = [];
    let last = rule.rate();
    for (let ms = 1000; ms < 6000; ms += 50) {
      // Every second a queue that grows, which is a sign of its own.
      if (ms % 1000 < 200) delay(ms, 10_000 + 400 * (ms % 1000));
      else answer(ms, 4, 0);
      if (rule.rate() > last) grown.push(ms);
      last = rule.rate();
    }
    expect(grown.length).toBeGreaterThan(0);
    expect(grown[0]).toBeGreaterThan(2400);
    expect(grown[0]).toBeLessThan(4000);
  });
});

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
