/**
 * The rate controller by itself: its decisions on single observations, and its behaviour in a fluid model where several senders
 * share one queue. Whole scans through simulated networks are in test/sim.
 */
import { describe, expect, it } from "vitest";
import { createRateController, type RateController } from "../../../src/scan/congestion/controller.ts";
import type { RateChange } from "../../../src/scan/probe/result.ts";
import { ALL } from "../../everyday.ts";
import { createSeededRandom } from "../../sim/random.ts";

const CAPACITY = 10_000;
const ROUND_US = 40_000;
const TICK_US = 5000;
const QUEUE_US = 100_000;
/** Answers per observation. */
const FEWEST = 3;

interface Sender {
  readonly rule: RateController;
  readonly startS: number;
  /** Past ticks: the time, the rate, the share that arrived, and its delay. */
  readonly past: { atUs: number; rate: number; share: number; delayUs: number }[];
  readonly open: { fromUs: number; syns: number; answers: number };
  sent: number;
}

interface Model {
  readonly senders: readonly { readonly initial: number; readonly startS?: number }[];
  readonly seconds: number;
  /** Rate of another sender that never slows down, SYNs per second. */
  readonly others?: number;
  /** The path becomes this much longer at `fromS`. */
  readonly longer?: { readonly fromS: number; readonly us: number };
  /** Counting begins here. */
  readonly countS: number;
}

/** @returns each sender's rate as a share of the capacity since `countS`, and the mean queue */
function run({ senders: specs, seconds, others = 0, longer, countS }: Model, seed = 1) {
  const random = createSeededRandom(seed);
  const senders: Sender[] = specs.map(({ initial, startS = 0 }) => ({
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
        // As in scan/congestion/monitor.ts: an observation needs a few answers.
        if (open.answers < FEWEST && open.syns < 20 * FEWEST) continue;
        const [firstSyns, answers] = [Math.round(open.syns), Math.round(open.answers)];
        const delayUs = each.delayUs + random(2001) - 1000;
        const observed = {
          nowUs,
          fromUs: open.fromUs,
          toUs: each.atUs + TICK_US,
          sentRate: each.rate,
          allowedRate: each.rate,
          baseRttUs: ROUND_US,
        };
        open.syns = 0;
        open.answers = 0;
        rule.handleDelays({
          ...observed,
          atUs: each.atUs,
          answers,
          delayUs,
          squares: delayUs ** 2 + 500 ** 2,
        });
        rule.handleAnswers({
          ...observed,
          answers,
          firstSyns,
          firstSynsAnswered: answers,
          delays: answers,
          delayUs,
        });
        rule.handleOutcome({ ...observed, answered: answers, lost: firstSyns - answers });
      }
    }
  }
  const total = CAPACITY * (seconds - countS);
  return { shares: senders.map(({ sent }) => sent / total), queueUs: queued / ticks };
}

const SEEDS = [1, 2, 3, 4, 5];

/** A controller without a model: `observed` is 20 ms of SYNs that left `agoMs` ago. */
function ruleAt(initial: number, onRateChange: (change: RateChange) => void = () => {}) {
  const rule = createRateController({
    minimum: 10,
    maximum: 1e6,
    initial,
    blind: 1000,
    startUs: 0,
    onRateChange,
  });
  const observed = (nowMs: number, agoMs: number, sentRate = rule.rate()) => ({
    nowUs: 1000 * nowMs,
    fromUs: 1000 * (nowMs - agoMs),
    toUs: 1000 * (nowMs - agoMs + 20),
    sentRate,
    allowedRate: sentRate,
    baseRttUs: ROUND_US,
  });
  const answer = (nowMs: number, answers: number, firstSyns: number, agoMs = 60): void => {
    rule.handleAnswers({
      ...observed(nowMs, agoMs),
      answers,
      firstSyns,
      firstSynsAnswered: Math.min(answers, firstSyns),
      delays: 0,
      delayUs: 0,
    });
  };
  const delay = (nowMs: number, delayUs: number, agoMs = 50): void => {
    const e = observed(nowMs, agoMs);
    rule.handleDelays({ ...e, atUs: e.fromUs, answers: 20, delayUs, squares: delayUs ** 2 });
  };
  return { rule, observed, answer, delay };
}

describe("startup", () => {
  it("ends when round trips rise: their slope gives the capacity, however small", () => {
    const { rule, observed } = ruleAt(4000);
    rule.handleRttGrowth({ ...observed(60, 55), slope: 7, queueUs: 50_000 });
    expect(rule.rate()).toBeCloseTo(0.7 * (4000 / 8), 5);
    expect(rule.inStartup()).toBe(false);
  });

  it("ignores a small rise, a slow one, and SYNs that left at an earlier rate", () => {
    const { rule, observed, answer } = ruleAt(4000);
    rule.handleRttGrowth({ ...observed(60, 55), slope: 7, queueUs: 7000 });
    rule.handleRttGrowth({ ...observed(60, 55), slope: 0.05, queueUs: 50_000 });
    answer(60, 80, 80);
    rule.handleRttGrowth({ ...observed(90, 60), slope: 7, queueUs: 50_000 });
    expect(rule.rate()).toBe(3.5 * 4000);
  });

  it("only tries a faster rate where few answer, and meanwhile continues at the proven one", () => {
    const { rule, answer } = ruleAt(4000);
    answer(60, 16, 80);
    expect(rule.rate()).toBe(14_000);
    rule.handleTime(70_000);
    expect(rule.rate()).toBe(14_000);
    rule.handleTime(90_000);
    expect(rule.rate()).toBe(4000);
    // The trial was answered equally well: it is the proven rate now, and the next trial is faster.
    rule.handleAnswers({
      nowUs: 130_000,
      fromUs: 60_000,
      toUs: 80_000,
      sentRate: 14_000,
      allowedRate: 14_000,
      baseRttUs: ROUND_US,
      answers: 56,
      firstSyns: 280,
      firstSynsAnswered: 56,
      delays: 0,
      delayUs: 0,
    });
    expect(rule.rate()).toBe(49_000);
    rule.handleTime(200_000);
    expect(rule.rate()).toBe(14_000);
  });

  it("resumes after a suspicion that proved unfounded, also where few answer", () => {
    const { rule, observed, answer } = ruleAt(4000);
    answer(60, 16, 80);
    rule.handleTime(90_000);
    // 40 % are lost at any rate. At first that looks like congestion.
    rule.handleOutcome({ ...observed(120, 60), answered: 30, lost: 20 });
    expect(rule.inStartup()).toBe(false);
    for (let ms = 600; ms < 1200; ms += 50) {
      answer(ms, 4, 0);
      rule.handleOutcome({ ...observed(ms, 60), answered: 12, lost: 8 });
    }
    expect(rule.inStartup()).toBe(true);
    expect(rule.rate()).toBeGreaterThan(40_000);
  });

  it("is left out where an earlier run has found the rate", () => {
    const options = { minimum: 10, maximum: 1e6, initial: 4000, blind: 1000, startUs: 0 };
    const rule = createRateController({ ...options, isFound: true });
    expect(rule.inStartup()).toBe(false);
    expect(rule.rate()).toBe(4000);
    expect(createRateController(options).inStartup()).toBe(true);
  });

  it("does not slow down for losses after a trial, which are the trial's", () => {
    const { rule, observed, answer } = ruleAt(4000);
    answer(60, 16, 80);
    rule.handleTime(90_000);
    const after = observed(200, 60);
    for (let i = 0; i < 4; i++) rule.handleOutcome({ ...after, answered: 5, lost: 45 });
    expect(rule.rate()).toBe(4000);
    expect(rule.inStartup()).toBe(true);
  });
});

describe("a startup that ends because fewer are answered", () => {
  /** Half of the first SYNs are answered, then a tenth of the faster ones. The fate of earlier pilots is known at 250 ms. */
  function endedStart(answered: number, lost: number): { readonly before: number; readonly after: number } {
    const { rule, observed, answer } = ruleAt(4000);
    answer(60, 40, 80);
    const told = {
      ...observed(130, 60),
      answers: 28,
      firstSyns: 280,
      firstSynsAnswered: 28,
      delays: 0,
      delayUs: 0,
    };
    rule.handleAnswers(told);
    expect(rule.inStartup()).toBe(false);
    const before = rule.rate();
    for (let i = 0; i < 3; i++) rule.handleOutcome({ ...observed(250, 240, 4000), answered, lost });
    return { before, after: rule.rate() };
  }

  it("slows down further when pilots show that even the first rate was too high", () => {
    const { before, after } = endedStart(3, 7);
    // 30 % of 4000 SYNs/s arrived.
    expect(before).toBeGreaterThan(1500);
    expect(after).toBeLessThan(0.75 * 0.3 * 4000);
  });

  it("does not when pilots show that it was not", () => {
    const { before, after } = endedStart(10, 0);
    expect(after).toBe(before);
  });

  it("never speeds up because of them", () => {
    const { rule, observed, answer } = ruleAt(4000);
    answer(60, 78, 80);
    // Hardly any of the SYNs that still left at 4000 SYNs/s: the cut goes to a quarter of that.
    const told = {
      ...observed(120, 60, 4000),
      answers: 4,
      firstSyns: 80,
      firstSynsAnswered: 4,
      delays: 0,
      delayUs: 0,
    };
    rule.handleAnswers(told);
    expect(rule.rate()).toBe(1000);
    for (let i = 0; i < 3; i++) rule.handleOutcome({ ...observed(250, 240, 4000), answered: 5, lost: 5 });
    expect(rule.rate()).toBe(1000);
  });
});

it("allows for the queue that startup's last SYNs still add, and ends the wait when it is gone", () => {
  const { rule, observed, answer, delay } = ruleAt(4000);
  // 4000, 14,000 and 49,000 SYNs/s where 3000 get through: what is in flight adds more than half a second of queue.
  answer(60, 80, 80);
  answer(130, 80, 80);
  rule.handleRttGrowth({ ...observed(200, 55), slope: 15, queueUs: 20_000 });
  const slowed = rule.rate();
  for (let ms = 300; ms < 1000; ms += 20) delay(ms, 100_000);
  expect(rule.rate()).toBe(slowed);
  // The queue goes. Then another one grows.
  for (let ms = 1000; ms < 1100; ms += 20) delay(ms, 0);
  for (let ms = 1100; ms < 1800; ms += 20) answer(ms, 10, 10);
  const grown = rule.rate();
  expect(grown).toBeGreaterThan(1.2 * slowed);
  for (let ms = 1800; ms < 2000; ms += 20) delay(ms, 10_000 + 300 * (ms - 1800));
  expect(rule.rate()).toBeLessThan(grown);
});

it("grows equally fast with few and many answers, if there are enough per unit of time", () => {
  const grownWith = (everyMs: number): number => {
    const { rule, observed, answer } = ruleAt(4000);
    rule.handleRttGrowth({ ...observed(60, 55), slope: 7, queueUs: 50_000 });
    for (let ms = 3000; ms < 4000; ms += everyMs) answer(ms, 4, 4);
    expect(rule.rate()).toBeGreaterThan(2000);
    return rule.rate();
  };
  // Twenty and two observations per unit of 140 ms.
  expect(grownWith(63) / grownWith(7)).toBeGreaterThan(0.8);
});

it("grows again from the lowest rate, whatever led there", () => {
  const { rule, observed, answer } = ruleAt(4000);
  rule.handleRttGrowth({ ...observed(60, 55), slope: 1e9, queueUs: 50_000 });
  rule.handleOutcome({ ...observed(200, 60, 0), answered: 0, lost: 500 });
  const low = rule.rate();
  expect(low).toBeLessThan(250);
  for (let ms = 1000; ms < 12_000; ms += 50) answer(ms, 4, 4);
  expect(rule.rate()).toBeGreaterThan(100_000);
});

describe("a queue that stays", () => {
  /** Changes of the rate while a constant queue is observed; the first is startup's own queue. */
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

  it("is yielded to once, after three times its drain time, and later accepted as a longer path", () => {
    // Drain time: 40 ms + 1.5 x 30 ms / 0.3 = 190 ms.
    const told = standing(1900);
    expect(told.length).toBe(2);
    expect(told[1].rate).toBeCloseTo(0.7 * told[0].rate, 5);
    expect(told[1].atMs - told[0].atMs).toBeGreaterThan(3 * 190);
    expect(told[1].atMs - told[0].atMs).toBeLessThan(5 * 190);
    expect(standing(4000).length).toBe(2);
  });
});

describe("a suspicion", () => {
  it("pauses growth for two seconds and four round trips, and other signs do not prolong that", () => {
    const { rule, answer, delay } = ruleAt(4000);
    // All first SYNs are answered, then few. Later SYNs are no first ones, so that nothing settles the suspicion.
    for (let ms = 100; ms < 300; ms += 20) answer(ms, 80, 80);
    const before = rule.rate();
    for (let ms = 400; ms < 500; ms += 20) answer(ms, 10, 80);
    expect(rule.rate()).toBeLessThan(before);
    const grown: number[] = [];
    let last = rule.rate();
    for (let ms = 1000; ms < 6000; ms += 50) {
      // Each second a queue grows: another sign.
      if (ms % 1000 < 200) delay(ms, 10_000 + 400 * (ms % 1000));
      else answer(ms, 4, 0);
      if (rule.rate() > last) grown.push(ms);
      last = rule.rate();
    }
    expect(grown.length).toBeGreaterThan(0);
    expect(grown[0]).toBeGreaterThan(2400);
    expect(grown[0]).toBeLessThan(4000);
  });

  it("that ends as unfounded does not bring the old rate back where a queue has shown before", () => {
    const changes: RateChange[] = [];
    const { rule, observed, delay } = ruleAt(4000, (change) => changes.push(change));
    rule.handleRttGrowth({ ...observed(60, 55), slope: 1, queueUs: 50_000 });
    for (let ms = 1000; ms < 1100; ms += 20) delay(ms, 0);
    expect(rule.metrics().phase).toBe("probing");
    // 40 % are lost, at this rate and at the lower one.
    rule.handleOutcome({ ...observed(1200, 60), answered: 300, lost: 200 });
    expect(changes.at(-1)?.reason).toBe("fewer-answered");
    const slowed = rule.rate();
    for (let ms = 1500; ms < 1600; ms += 20) delay(ms, 0);
    expect(rule.metrics().phase).toBe("suspecting");
    for (let ms = 1700; ms < 2700; ms += 50) {
      rule.handleOutcome({ ...observed(ms, 60), answered: 12, lost: 8 });
    }
    expect(rule.metrics().phase).toBe("probing");
    expect(rule.rate()).toBe(slowed);
    expect(changes.map(({ reason }) => reason)).toEqual(["queue-grew", "fewer-answered"]);
  });
});

it("does not take for its own what is lost while hardly anything leaves: a cut from that would be one to nothing", () => {
  const { rule, observed } = ruleAt(4000);
  const lost = { ...observed(120, 60), answered: 30, lost: 20 };
  rule.handleOutcome({ ...lost, sentRate: 0.09 * lost.allowedRate });
  expect(rule.rate()).toBe(4000);
  rule.handleOutcome({ ...lost, sentRate: 0.5 * lost.allowedRate });
  expect(rule.rate()).toBeLessThan(2000);
});

describe("what a reader of a run is told", () => {
  it("is each change of the rate, with its reason and evidence, and the phase", () => {
    const changes: RateChange[] = [];
    const { rule, observed, answer, delay } = ruleAt(4000, (change) => changes.push(change));
    expect(rule.metrics()).toEqual({ phase: "startup", rate: 4000 });
    answer(60, 80, 80);
    rule.handleRttGrowth({ ...observed(130, 55), slope: 6, queueUs: 50_000 });
    expect(rule.metrics().phase).toBe("draining");
    for (let ms = 1000; ms < 1100; ms += 20) delay(ms, 0);
    expect(rule.metrics().phase).toBe("probing");
    for (let ms = 1100; ms < 1500; ms += 20) answer(ms, 10, 10);
    rule.handleOverrun(1_600_000);
    rule.handleNoAnswers(1_700_000);
    expect(changes[0]).toEqual({ fromRate: 4000, toRate: 14_000, reason: "answered-well", atUs: 60_000 });
    expect(changes[1]).toMatchObject({ fromRate: 14_000, reason: "queue-grew", queueUs: 50_000 });
    expect(changes[1].toRate).toBeCloseTo(0.7 * (14_000 / 7), 6);
    expect(changes.slice(2, -1).map(({ reason }) => reason)).toContain("no-queue");
    expect(changes.at(-1)).toMatchObject({ reason: "buffer-overrun", atUs: 1_600_000 });
    // Each begins where the one before ended, and all are changes.
    changes.forEach(({ fromRate, toRate }, i) => {
      if (i > 0) expect(fromRate).toBe(changes[i - 1].toRate);
      expect(toRate).not.toBe(fromRate);
    });
    expect(rule.metrics().rate).toBe(rule.rate());
    expect(changes.at(-1)?.toRate).toBe(rule.rate());
  });

  it("names the shares when fewer are answered, suspects, and says when that was unfounded", () => {
    const changes: RateChange[] = [];
    const { rule, observed, answer } = ruleAt(4000, (change) => changes.push(change));
    // 40 % are lost at any rate.
    rule.handleOutcome({ ...observed(120, 60), answered: 30, lost: 20 });
    expect(changes.at(-1)).toMatchObject({ reason: "fewer-answered", answeredShare: 0.6, usualShare: 0.99 });
    const phases = new Set<string>();
    for (let ms = 600; ms < 1200; ms += 50) {
      answer(ms, 4, 0);
      rule.handleOutcome({ ...observed(ms, 60), answered: 12, lost: 8 });
      phases.add(rule.metrics().phase);
    }
    expect([...phases]).toEqual(["suspecting", "startup"]);
    expect(changes.map(({ reason }) => reason)).toContain("loss-unrelated");
    expect(rule.metrics().answeredShare).toBeCloseTo(0.6, 1);
  });

  it("names a queue that stayed, a trial that is over, and that nothing answers", () => {
    const changes: RateChange[] = [];
    const tell = (change: RateChange): void => {
      changes.push(change);
    };
    const { delay } = ruleAt(4000, tell);
    for (let ms = 100; ms < 1900; ms += 20) delay(ms, 30_000);
    const [grew, stayed] = changes.splice(0);
    expect(grew.reason).toBe("queue-grew");
    expect(stayed).toMatchObject({ reason: "queue-stayed", fromRate: grew.toRate, queueUs: 30_000 });
    expect(stayed.toRate).toBeCloseTo(0.7 * grew.toRate, 5);

    const { rule, answer } = ruleAt(4000, tell);
    // Few answer: the next rate is only tried.
    answer(60, 16, 80);
    rule.handleTime(90_000);
    expect(changes.splice(0)).toEqual([
      { reason: "answered-well", fromRate: 4000, toRate: 14_000, atUs: 60_000 },
      { reason: "trial-over", fromRate: 14_000, toRate: 4000, atUs: 90_000 },
    ]);

    ruleAt(100, tell).rule.handleNoAnswers(500_000);
    expect(changes).toEqual([{ reason: "nothing-answers", fromRate: 100, toRate: 1000, atUs: 500_000 }]);
  });
});

it("slows down for buffer overruns once in a tenth of a second", () => {
  const changes: RateChange[] = [];
  const { rule } = ruleAt(4000, (change) => changes.push(change));
  for (const ms of [500, 550, 599, 600]) rule.handleOverrun(1000 * ms);
  expect(changes).toMatchObject([
    { reason: "buffer-overrun", fromRate: 4000, toRate: 2800, atUs: 500_000 },
    { reason: "buffer-overrun", fromRate: 2800, atUs: 600_000 },
  ]);
  expect(rule.rate()).toBeCloseTo(0.7 * 2800, 5);
});

describe("one run alone", () => {
  it("uses most of the capacity, and keeps the queue short", () => {
    for (const seed of SEEDS) {
      for (const initial of [100, 4000, 50_000]) {
        const { shares, queueUs } = run({ senders: [{ initial }], seconds: 20, countS: 5 }, seed);
        expect(shares[0], `seed ${seed}, from ${initial}`).toBeGreaterThan(0.8);
        expect(shares[0]).toBeLessThan(1.02);
        expect(queueUs).toBeLessThan(15_000);
      }
    }
  });

  it("continues when the path has become longer for good: a standing delay is no queue", () => {
    for (const seed of SEEDS) {
      const longer = { fromS: 5, us: 50_000 };
      const { shares } = run({ senders: [{ initial: 4000 }], seconds: 30, countS: 15, longer }, seed);
      expect(shares[0], `seed ${seed}`).toBeGreaterThan(0.6);
    }
  });

  it("is not driven away by a sender that never slows down and takes half", () => {
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

  it.runIf(ALL)("and among four, none has less than half of its fair share", () => {
    const senders = [500, 1000, 4000, 8000].map((initial) => ({ initial }));
    for (const seed of SEEDS) {
      const { shares } = run({ senders, seconds: 40, countS: 15 }, seed);
      for (const share of shares) expect(share, `seed ${seed}: ${shares}`).toBeGreaterThan(0.125);
    }
  });
});
