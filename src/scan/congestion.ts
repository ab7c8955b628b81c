/**
 * Finds the rate that a path holds. Fed with what became of the SYNs of one stretch of time after another (path-watch.ts), it
 * says how many a second may leave.
 *
 * The model: one bottleneck of capacity C, shared or not, with a queue before it, behind loss that has nothing to do with it.
 * Below C the round trips are the usual ones and loss is what it always was. Above C the queue grows by (rate/C - 1) seconds a
 * second, and when it is full the share 1 - C/rate is lost. Either sign says what C is, so one look is enough to get there:
 *
 *     start    3.5 times the rate of each stretch that was answered about as well as the best before it
 *     sign     C = rate / (1 + slope of the delay), or rate * share answered now / usually; go below it until it shows
 *     steady   up by a root of the rate each round trip, faster the longer nothing happens; the next sign ends it
 *
 * Shares are of pilots, who must answer, and of first SYNs, of which in a random order about as many are answered all the time.
 * A share that has fallen is suspected, and the rate goes down for it; if that has not helped it was not the rate, which comes
 * back (delivery.ts).
 *
 * Why this one: over 30 random networks in simulation (npx tsx test/sim/compare.ts 30), each rule in this same engine:
 *
 *                                time, x ours: median, most   x an oracle's   recall: mean, least   SYNs a pair
 *     this                                 1                       1.5            1       1             3.6
 *     nmap's AIMD, window <= 300          16.2     172            21              1       1             2.8
 *     the same without a cap               6.3      80             7.2            1       1             3.0
 *     Vegas, by delay alone                1.1       8.0           1.6            0.986   0.701         4.2
 *
 * AIMD takes random loss for congestion. Vegas is as fast, and misses ports where its first SYNs fill a slow path's queue: what is
 * usual is then learnt with the queue in it. Below about 1,000 SYNs a second AIMD may win.
 *
 * What it does not do: two runs through one bottleneck do not come to equal shares. Each goes back to a share of what it found
 * itself, so that who is ahead stays there (test/sim/fairness.test.ts has the figures).
 *
 * Pure: times in microseconds, rates in SYNs per second. Not here: when SYNs leave (pacing.ts), hosts that limit their
 * answers (path-watch.ts gives them a pace of their own).
 */

import { createDelivery, type Delivery } from "./delivery.ts";
import { capacityFrom, type Delay, queueIn } from "./queue-delay.ts";

/** One stretch of time, and what left in it. */
export interface Stretch {
  readonly nowUs: number;
  readonly fromUs: number;
  readonly toUs: number;
  /** SYNs per second that left, and that might have. */
  readonly sent: number;
  readonly allowed: number;
  /** A typical round trip without queue. */
  readonly roundUs: number;
}

/** The answers to a stretch that have come at first. */
export interface Answers extends Stretch {
  readonly answers: number;
  /** First SYNs to their ports, and the answers to these. */
  readonly fresh: number;
  readonly freshAnswers: number;
  /** Of how many answers it is known how much longer than usual they took; mean and standard deviation of that. */
  readonly delays: number;
  readonly delayUs: number;
  readonly spreadUs: number;
}

/** Answers that have just come: how much longer than usual they took, and about when, and how fast, their SYNs left. */
export interface Delays extends Stretch, Delay {
  readonly scatterUs: number;
}

/** What became of those SYNs of a stretch that must have been answered. */
export interface Outcome extends Stretch {
  readonly answered: number;
  readonly lost: number;
}

export interface Congestion {
  /** SYNs per second that may leave now. */
  rate(): number;
  /** Whether the rate is still multiplied, far below what the path may hold for all that is known. */
  isStarting(): boolean;
  handleDelays(delays: Delays): void;
  handleAnswers(answers: Answers): void;
  handleOutcome(outcome: Outcome): void;
  /** This machine itself lost packets on arrival. */
  handleOverrun(nowUs: number): void;
  /** Nothing has answered for so long that it is no use to wait for a sign. */
  handleSilence(): void;
}

export interface CongestionOptions {
  readonly minimum: number;
  readonly maximum: number;
  readonly initial: number;
  /** The rate when nothing at all answers. */
  readonly blind: number;
  readonly startUs: number;
}

/** Answers that a look must rest on. */
const FEWEST_ANSWERS = 3;
/** Queueing below this is nothing: schedulers alone make as much. */
const SMALL_QUEUE_US = 8000;
/** A rate so much higher is judged by itself. */
const NEW_LEVEL = 1.15;
/** What a sign leaves of what the path was found to hold. */
const LEFT = Number(process.env.LEFT ?? 0.7);
/** When the queue is gone: so much of what was gained before the sign comes back at once. */
const MOVED = Number(process.env.MOVED ?? 0.2);
const LEFT_YOUNG = Number(process.env.YOUNG ?? 0.7);
const SCSMALL = Number(process.env.SCSMALL ?? 0);
const KEPT_DELAYS = Number(process.env.KEPT_DELAYS ?? 24);
const BACK = Number(process.env.BACK ?? 0.4);
/** From then on this is gained, of the rate and SYNs per second at most, and twice as much after each unit of time. */
const FIRST_GAIN = 1 / 4;
const MOST_FIRST_GAIN = Number(process.env.MOST_FIRST_GAIN ?? 30);
const UNIT_US = Number(process.env.UNIT_US ?? 100_000);
const ANSWERS_A_UNIT = Number(process.env.ANSWERS_A_UNIT ?? 24);
const UNIT_ROUNDS = Number(process.env.UNIT_ROUNDS ?? 1);
/** A look moves the clock by no more than this part of a unit. */
const MOST_STEP = 0.25;
/** A queue that growth has made by itself: so much was sent over what the path held. A faster one says itself what it holds. */
const USUAL_EXCESS = Number(process.env.USUAL ?? 1.25);
const FAST_EXCESS = Number(process.env.FAST ?? 1.5);
const STANDS = Number(process.env.STANDS ?? 0.85);
const PEAK = Number(process.env.PEAK ?? 9);
const FALL = Number(process.env.FALL ?? 0.5);
const LEAST_CLOCK = Number(process.env.LEAST_CLOCK ?? 1);
/** One sign lowers the rate to no less than this. */
const LOWEST_STEP = 0.25;
/** While starting, the rate of what was answered well, so many times. */
const SPEED_UP = 3.5;
/** The answers that this must rest on, and the share of the best there was that will do. */
const FEWEST_TO_GROW = 12;
const GOOD_SHARE = 0.75;
const MANY_ANSWERS = 64;
/** Overruns of this machine's own buffers count once in so long. */
const OVERRUN_US = 100_000;

let ids = 0;
const TRACE = process.env.TRACE !== undefined;
export function createCongestion(options: CongestionOptions): Congestion {
  const { minimum, maximum, startUs } = options;
  const clamp = (rate: number): number => Math.min(maximum, Math.max(minimum, rate));
  let rate = clamp(options.initial);
  let starting = true;
  /** What left before the last slow-down, or the last growth, says nothing of the present rate. */
  let slowedUs = startUs;
  let grownUs = startUs;
  /** What the last sign left; what was gained up to then, of which a part comes back; what is gained since, by the clock. */
  let base = rate;
  let gain = 0;
  let clock = 0;
  let tickedUs = startUs;
  /** A queue is waited for to go, until then at least. */
  let draining = false;
  let drainedUs = startUs;
  let givenUpUs = startUs;
  let clearUs = startUs;
  let hasQueued = false;
  let found = 1;
  const id = `${++ids % 2}`;
  let peak = 0;
  let unstable = 1;
  /** The rate before the first slow-down whose cause is not sure, and whether it was still being doubled. */
  let before = rate;
  let wasStarting = true;
  /** Those who must answer; of these hardly any loss is thought usual at first. A path that loses most is away. */
  const pilots = createDelivery({ prior: { answered: 49.5, total: 50 }, floor: 0.5, negligible: 0.03 });
  /** First SYNs: what share of these is answered depends on the space as well. */
  const fresh = createDelivery({ floor: 0, negligible: 0.15 });
  /** The last stretches whose delay is known, a round trip of them. */
  let delays: Delay[] = [];
  let known = 0;
  let scatterUs = 0;
  /** About the rate that pilots are judged at. */
  let level = rate;
  /** While starting: what became of first SYNs, and of pilots, since the last growth, and the best share ever answered. */
  const freshSince = { answered: 0, total: 0, best: 0 };
  const pilotsSince = { answered: 0, total: 0, best: 0 };

  const suspects = (): boolean => pilots.suspects() || fresh.suspects();

  /** The path was found to hold so many of ours. */
  function cut(capacity: number, e: Stretch, why: string): void {
    const was = rate;
    const isFirst = clock > 0 || starting;
    if (starting) gain = (1 - LEFT) * capacity;
    else if (isFirst) gain = Math.max(0, Math.min(capacity - base, (1 - LEFT) * 2 * capacity));
    if (isFirst) {
      const moved = Math.abs(Math.log(capacity / found));
      unstable = starting ? 1 : moved > MOVED ? 1 : moved < MOVED / 2 ? 0 : unstable;
      found = capacity;
    }
    peak = 0;
    base = Math.max((unstable ? LEFT_YOUNG : LEFT) * capacity, LOWEST_STEP * Math.min(rate, e.sent));
    starting = false;
    clock = 0;
    draining = true;
    rate = clamp(base);
    level = rate;
    slowedUs = e.nowUs;
    delays = [];
    known = 0;
    pilots.startAnew();
    fresh.startAnew();
    if (TRACE) console.log("CUT", id, (e.nowUs / 1e6).toFixed(3), why, was.toFixed(0), "->", rate.toFixed(0), "gain", gain.toFixed(0), "round", (e.roundUs/1000).toFixed(1), "sent", e.sent.toFixed(0), "cap", capacity.toFixed(0));
  }

  /** @returns whether the share has fallen, and so the rate */
  function reactTo(delivery: Delivery, answered: number, total: number, e: Stretch): boolean {
    const judgement = delivery.judge(answered, total, e.sent);
    // Where there is a queue it may be another one's doing that slowing down did not help.
    if (judgement === "usual-after-all" && !suspects() && (wasStarting || !hasQueued)) {
    if (TRACE) console.log("BACK", options.startUs, (e.nowUs / 1e6).toFixed(3), rate.toFixed(0), before.toFixed(0));
      rate = clamp(Math.max(rate, before));
      base = rate;
      gain = 0;
      starting = wasStarting;
      draining = false;
      grownUs = e.nowUs;
    }
    if (judgement !== "fallen") return false;
    const capacity = (e.sent * delivery.now()) / delivery.usual();
    if (!suspects()) {
      before = Math.min(rate, e.allowed);
      wasStarting = starting;
    }
    delivery.suspect(e.sent);
    cut(capacity, e, delivery === pilots ? "pilots" : "fresh");
    drainedUs = e.nowUs + e.roundUs;
    givenUpUs = e.nowUs + 4 * e.roundUs;
    return true;
  }

  const smallQueue = ({ roundUs }: Stretch): number => Math.max(SMALL_QUEUE_US, 0.1 * roundUs, SCSMALL * scatterUs);

  /** A queue that did not go, whatever was done: of others, or none but a longer way. */
  let lowest = 0;
  const few = { count: 0, sum: 0, squares: 0 };

  function learnLowest(e: Delays): void {
    few.count += e.answers;
    few.sum += e.answers * e.delayUs;
    few.squares += e.answers * e.squares;
    if (few.count < 12) return;
    const mean = few.sum / few.count;
    const spread = Math.sqrt(Math.max(0, few.squares / few.count - mean * mean));
    const most = mean + (2 * spread) / Math.sqrt(few.count);
    lowest = Math.max(0, Math.min(lowest, most));
    few.count = 0;
    few.sum = 0;
    few.squares = 0;
  }

  function handleDelays(late: Delays): void {
    scatterUs = late.scatterUs;
    learnLowest(late);
    const delayUs = late.delayUs - lowest;
    const e = Object.assign({}, late, { delayUs, squares: late.squares - 2 * late.delayUs * lowest + lowest * lowest });
    if (e.atUs < slowedUs) return;
    delays.push(e);
    known += e.answers;
    while (known - delays[0].answers >= KEPT_DELAYS && delays[0].atUs < e.atUs - e.roundUs) {
      known -= delays[0].answers;
      delays.shift();
    }
    const queue = queueIn(delays) ;
    if (queue <= smallQueue(e)) {
      if (draining) {
        if (e.delayUs < 0.5 * smallQueue(e)) cleared(e.nowUs);
        return;
      }
      peak = Math.max(peak, queue);
      // It has gone although nothing was done here: somebody else has seen it, and slowed down.
      if (starting || clock < LEAST_CLOCK || peak < PEAK * smallQueue(e) || queue > FALL * peak) return;
      const drainUs = e.roundUs + (1.5 * peak) / (1 - LEFT);
      drainedUs = e.nowUs + drainUs;
      givenUpUs = e.nowUs + 4 * drainUs;
      cut(e.sent / USUAL_EXCESS, e, `peak ${(peak / 1000).toFixed(1)}`);
      return;
    }
    if (e.atUs < drainedUs) return;
    // A queue that is left when hardly anything leaves is none of this rate.
    if (e.sent < 0.5 * e.allowed) return;
    const capacity = Math.min(e.sent, capacityFrom(delays));
    // It should be gone, and only stands: others keep it up, and to cut again and again would be to leave the path to them.
    if (!starting && clock < LEAST_CLOCK && capacity > STANDS * e.sent) {
      draining = true;
      if (e.nowUs > givenUpUs) {
        lowest += e.delayUs;
        cleared(e.nowUs);
      }
      return;
    }
    hasQueued = true;
    const drainUs = e.roundUs + (1.5 * queue) / (1 - LEFT);
    drainedUs = e.nowUs + drainUs;
    givenUpUs = e.nowUs + 4 * drainUs;
    // Slopes are rough, and both of two must be cut alike.
    cut(e.sent < FAST_EXCESS * capacity ? e.sent / USUAL_EXCESS : capacity, e, `queue ${(queue / 1000).toFixed(1)}`);
  }

  /** The queue is gone. What became of SYNs that left before says nothing of the present rate. */
  function cleared(nowUs: number): void {
    draining = false;
    clearUs = nowUs;
    pilots.startAnew();
  }

  function handleAnswers(e: Answers): void {
    if (e.fromUs < slowedUs) return;
    if (draining && e.nowUs > drainedUs && (e.delays === 0 || e.delayUs - lowest < 0.5 * smallQueue(e))) cleared(e.nowUs);
    // A queue makes answers late, which then look lost.
    const late = e.fromUs < (draining ? drainedUs : clearUs) || (e.delays >= FEWEST_ANSWERS && e.delayUs - lowest > smallQueue(e));
    if (e.fresh > 0 && !late && reactTo(fresh, e.freshAnswers, e.fresh, e)) return;
    if (e.answers < FEWEST_ANSWERS || draining) return;
    if (starting) speedUp(freshSince, e.freshAnswers, e.fresh, e);
    else grow(e);
  }

  /** Faster, if what left since the last time was answered about as well as what left before. */
  function speedUp(since: typeof freshSince, answered: number, total: number, e: Stretch): void {
    if (!starting || e.fromUs < grownUs) return;
    since.answered += answered;
    since.total += total;
    if (since.answered < FEWEST_TO_GROW) return;
    const share = since.answered / Math.max(1, since.total);
    // What few answers say is not exact; what many say is how it is.
    const unsure = share / Math.sqrt(Math.max(1, since.answered));
    const many = since.answered >= MANY_ANSWERS;
    if (share + unsure < GOOD_SHARE * since.best && !many) return;
    since.best = many ? share : Math.max(since.best, share - unsure / 2);
    rate = clamp(Math.max(rate, SPEED_UP * e.sent));
    base = rate;
    grownUs = e.nowUs;
    for (const each of [freshSince, pilotsSince]) {
      each.answered = 0;
      each.total = 0;
    }
  }

  function handleOutcome(e: Outcome): void {
    const total = e.answered + e.lost;
    if (total === 0) return;
    if (e.fromUs < slowedUs || e.fromUs < (draining ? drainedUs : clearUs)) {
      pilots.addEvidence(e.answered, total, e.sent);
      return;
    }
    if (reactTo(pilots, e.answered, total, e)) return;
    speedUp(pilotsSince, e.answered, total, e);
    // What pilots show holds for all, where there is nothing else to go by.
    if (!pilots.suspects() && !pilots.isIdle() && fresh.isIdle()) fresh.acquit();
  }

  /** More, as the clock goes: no faster than answers come that would show it to be too much. */
  function grow(e: Stretch): void {
    if (suspects()) tickedUs = e.nowUs;
    if (suspects() || e.sent < 0.8 * e.allowed) return;
    const unitUs = UNIT_US + UNIT_ROUNDS * e.roundUs;
    if (clock > 0) clock += Math.min(MOST_STEP, e.answers / ANSWERS_A_UNIT, (e.nowUs - tickedUs) / unitUs);
    else clock = Number.MIN_VALUE;
    tickedUs = e.nowUs;
    const first = Math.min(MOST_FIRST_GAIN, FIRST_GAIN * base);
    rate = clamp(base + BACK * gain + first * (2 ** clock - 1));
    if (rate > NEW_LEVEL * level) {
      // What left at the rate before says little of this one.
      level = rate;
      pilots.startAnew();
    }
  }

  return {
    rate: () => rate,
    isStarting: () => starting && rate < maximum,
    handleDelays,
    handleAnswers,
    handleOutcome,
    handleOverrun: (nowUs) => {
      if (nowUs - slowedUs < OVERRUN_US) return;
      // It shares this bottleneck with nobody.
      gain = 0;
      clock = 0;
      starting = false;
      base = clamp(0.7 * rate);
      rate = base;
      level = rate;
      slowedUs = nowUs;
    },
    handleSilence: () => {
      rate = clamp(Math.max(rate, options.blind));
      base = rate;
    },
  };
}
