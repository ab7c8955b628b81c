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
/** After so many round trips without a sign the steps grow. */
const PATIENCE = 3;
const MOST_GROWTH = 0.12;
/** A rate so much higher is judged by itself. */
const NEW_LEVEL = 1.15;
/** After a sign: below what the path was found to hold, so that it shows whether that helps; then almost back to it. */
const WELL_BELOW = 0.8;
const BELOW = 0.95;
/** When the queue has stayed after a slow-down, so much of the rate is tried. */
const FULL = 0.8;
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

export function createCongestion(options: CongestionOptions): Congestion {
  const { minimum, maximum, startUs } = options;
  const clamp = (rate: number): number => Math.min(maximum, Math.max(minimum, rate));
  let rate = clamp(options.initial);
  let starting = true;
  /** What left before the last slow-down, or the last growth, says nothing of the present rate. */
  let slowedUs = startUs;
  let grownUs = startUs;
  /** After a slow-down: the rate to come back to as soon as the queue is gone. */
  let comeBack: number | undefined;
  /** The rate before the first slow-down whose cause is not sure, and whether it was still being doubled. */
  let before = rate;
  let wasStarting = true;
  /** Those who must answer; of these hardly any loss is thought usual at first. A path that loses most is away. */
  const pilots = createDelivery({ prior: { answered: 49.5, total: 50 }, floor: 0.5, negligible: 0.03 });
  /** First SYNs: what share of these is answered depends on the space as well. */
  const fresh = createDelivery({ floor: 0, negligible: 0.15 });
  /** The last stretches whose delay is known, a round trip of them. */
  let delays: Delay[] = [];
  /** Round trips without a sign. */
  let clean = 0;
  /** About the rate that pilots are judged at. */
  let level = rate;
  /** While starting: what became of first SYNs, and of pilots, since the last growth, and the best share ever answered. */
  const freshSince = { answered: 0, total: 0, best: 0 };
  const pilotsSince = { answered: 0, total: 0, best: 0 };

  function slowDown(to: number, nowUs: number): void {
    starting = false;
    clean = 0;
    rate = clamp(to);
    level = rate;
    slowedUs = nowUs;
    pilots.startAnew();
    fresh.startAnew();
  }

  const suspects = (): boolean => pilots.suspects() || fresh.suspects();

  /** @returns whether the share has fallen, and so the rate */
  function reactTo(delivery: Delivery, answered: number, total: number, e: Stretch): boolean {
    const judgement = delivery.judge(answered, total, e.sent);
    if (judgement === "usual-after-all" && !suspects()) {
      rate = clamp(Math.max(rate, before));
      starting = wasStarting;
      comeBack = undefined;
      grownUs = e.nowUs;
    }
    if (judgement !== "fallen") return false;
    const capacity = (e.sent * delivery.now()) / delivery.usual();
    if (!suspects()) {
      before = Math.min(rate, e.allowed);
      wasStarting = starting;
    }
    delivery.suspect(e.sent);
    slowDown(Math.max(WELL_BELOW * capacity, LOWEST_STEP * rate), e.nowUs);
    comeBack = BELOW * capacity;
    return true;
  }

  function handleAnswers(e: Answers): void {
    const middleUs = (e.fromUs + e.toUs) / 2;
    if (e.delays > 0) {
      const { sent, delays: answers, delayUs, spreadUs } = e;
      delays.push({ atUs: middleUs, sent, answers, delayUs, squares: delayUs ** 2 + spreadUs ** 2 });
      const keep = delays.findIndex(({ atUs }) => atUs >= middleUs - e.roundUs);
      if (delays.length > 3) delays = delays.slice(Math.min(keep, delays.length - 3));
    }
    if (e.fromUs < slowedUs) return;
    if (e.fresh > 0 && reactTo(fresh, e.freshAnswers, e.fresh, e)) return;
    if (e.answers < FEWEST_ANSWERS) return;
    const queue = queueIn(delays);
    // A queue that is left when hardly anything leaves is none of this rate.
    if (queue > Math.max(SMALL_QUEUE_US, 0.1 * e.roundUs) && e.sent > 0.5 * e.allowed) {
      // The path is no faster than it was thought. And a queue that is full grows no more, whatever is too much.
      const most = Math.min(Math.max(e.sent, (comeBack ?? 0) / BELOW), capacityFrom(delays));
      const capacity =
        comeBack !== undefined && most >= 0.9 * e.sent && most <= 1.1 * e.sent ? FULL * most : most;
      // Half of the queue in two round trips, but never less than half the rate.
      const drain = 1 - Math.min(0.5, queue / (4 * Math.max(e.roundUs, SMALL_QUEUE_US)));
      slowDown(capacity * drain, e.nowUs);
      comeBack = BELOW * capacity;
      return;
    }
    if (comeBack !== undefined && !suspects()) {
      rate = clamp(Math.max(rate, comeBack));
      comeBack = undefined;
      grownUs = e.nowUs;
    }
    speedUp(freshSince, e.freshAnswers, e.fresh, e);
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
    grownUs = e.nowUs;
    for (const each of [freshSince, pilotsSince]) {
      each.answered = 0;
      each.total = 0;
    }
  }

  function handleOutcome(e: Outcome): void {
    const total = e.answered + e.lost;
    if (total === 0) return;
    if (e.fromUs < slowedUs) {
      pilots.addEvidence(e.answered, total, e.sent);
      return;
    }
    if (reactTo(pilots, e.answered, total, e)) return;
    speedUp(pilotsSince, e.answered, total, e);
    // What pilots show holds for all, where there is nothing else to go by.
    if (!pilots.suspects() && !pilots.isIdle() && fresh.isIdle()) fresh.acquit();
    grow(e);
  }

  function grow(e: Outcome): void {
    if (starting || comeBack !== undefined || suspects() || pilots.isIdle()) return;
    if (e.fromUs < grownUs || e.sent < 0.8 * e.allowed) return;
    grownUs = e.nowUs;
    clean++;
    const step = 2 * Math.sqrt(rate) * 2 ** Math.max(0, clean - PATIENCE);
    rate = clamp(rate + Math.min(step, MOST_GROWTH * rate));
    if (rate > NEW_LEVEL * level) {
      // What left at the rate before says little of this one.
      level = rate;
      pilots.startAnew();
    }
  }

  return {
    rate: () => rate,
    isStarting: () => starting && rate < maximum,
    handleAnswers,
    handleOutcome,
    handleOverrun: (nowUs) => {
      if (nowUs - slowedUs < OVERRUN_US) return;
      comeBack = undefined;
      slowDown(0.7 * rate, nowUs);
    },
    handleSilence: () => {
      rate = clamp(Math.max(rate, options.blind));
    },
  };
}
