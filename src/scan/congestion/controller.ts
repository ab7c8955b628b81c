/**
 * Finds the rate that a path holds. Fed with what became of the SYNs of one stretch of time after another (path-state.ts), it
 * says how many a second may leave.
 *
 * The model: one bottleneck of capacity C, shared or not, with a queue before it, behind loss that has nothing to do with it.
 * Below C the round trips are the usual ones and loss is what it always was. Above C the queue grows by (rate/C - 1) seconds a
 * second, and when it is full the share 1 - C/rate is lost. Either sign says what C is, so one look is enough to get there:
 *
 *     start    3.5 times the rate of each stretch that was answered about as well as the best before it (slow-start.ts)
 *     sign     C = rate / (1 + slope of the delay), or rate * share answered now / usually; down to 0.7 C until the queue is gone
 *     back     up by 0.3 of what was gained between the last sign and this one
 *     steady   up by 30 SYNs a second, twice as much after each unit of time, twice that after the next; a sign ends it
 *
 * Shares are of pilots, who must answer, and of first SYNs, of which in a random order about as many are answered all the time.
 * A share that has fallen is suspected, and the rate goes down for it; if that has not helped it was not the rate, which comes
 * back (delivery-test.ts). While starting no host has been heard of twice: then round trips that grow from one host to the next show
 * the queue, and what the path holds, before it is full (rtt-slope.ts).
 *
 * Why two runs that know nothing of each other come to equal shares: they see the same queue at nearly the same moment. A cut
 * in proportion takes more from who has more; growth by the clock, from a first step that is everybody's, gives both as much, at
 * 500 SYNs a second as at a million. So each sign takes three tenths off their difference. It rests on signs seen together: growth
 * doubles in the time that one sees a queue later than the other. Therefore delays are read from answers as they come, not once
 * all is known that left with them; a queue that came while nothing was gained is another one's, and no reason to slow down
 * again, unless it does not go; and what is usual is learnt anew from answers that are faster, for all hosts at once when all are
 * (base-rtt.ts): who comes later has met its hosts with the other's queue in their round trips.
 *
 * Why this one: over 30 random networks in simulation (npx tsx test/sim/compare.ts 30), each rule in this same engine:
 *
 *                                time, x ours: median, most   x an oracle's   recall: mean, least   SYNs a pair
 *     this                                 1                       1.6            1       1             3.3
 *     nmap's AIMD, window <= 300          16.8     263            26              1       1             3.2
 *     the same without a cap              12.1     117            17              1       1             3.3
 *     Vegas, by delay alone                1.1       8.2           1.6            0.983   0.653         4.3
 *
 * AIMD takes random loss for congestion. Vegas is as fast, and misses ports where its first SYNs fill a slow path's queue: what is
 * usual is then learnt with the queue in it. Below about 1,000 SYNs a second AIMD may win.
 *
 * What it does not reach: 40 to 60 % for both of two runs, always (npx tsx test/sim/fairness.ts has the figures). It takes some
 * cycles, each as many round trips, until shares are equal: where a round trip is long those of the first ten seconds may not be.
 * A full queue that neither has made is waited for by both, up to eight times as long as it should take. Workers of one run share
 * their rates instead (shared-rate.ts).
 *
 * Pure: times in microseconds, rates in SYNs per second. Not here: when SYNs leave (pacer.ts), hosts that limit their
 * answers (path-state.ts gives them a pace of their own).
 */

import { createDeliveryTest, type DeliveryTest } from "./delivery-test.ts";
import { createQueueEstimator, type Delay } from "./queue-estimator.ts";
import { createSlowStart, type Kind, type Sent } from "./slow-start.ts";

/** One stretch of time, and what left in it. */
export interface Stretch extends Sent {
  readonly toUs: number;
  /** SYNs per second that might have left. */
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
  /** Of how many answers it is known how much longer than usual they took; the mean of that. */
  readonly delays: number;
  readonly delayUs: number;
}

/** Answers that have just come: how much longer than usual they took, and about when, and how fast, their SYNs left. */
export interface Delays extends Stretch, Delay {}

/** What became of those SYNs of a stretch that must have been answered. */
export interface Outcome extends Stretch {
  readonly answered: number;
  readonly lost: number;
}

/** While starting: round trips grow by so many seconds a second, and have grown by so much. */
export interface Growing extends Stretch {
  readonly slope: number;
  readonly queueUs: number;
}

export interface RateController {
  /** SYNs per second that may leave now. */
  rate(): number;
  /** Whether the rate is still multiplied, far below what the path may hold for all that is known. */
  isStarting(): boolean;
  handleDelays(delays: Delays): void;
  handleGrowth(growing: Growing): void;
  /** Time passes; told with every look. */
  handleTime(nowUs: number): void;
  handleAnswers(answers: Answers): void;
  handleOutcome(outcome: Outcome): void;
  /** This machine itself lost packets on arrival. */
  handleOverrun(nowUs: number): void;
  /** Nothing has answered for so long that it is no use to wait for a sign. */
  handleSilence(): void;
}

export interface RateControllerOptions {
  readonly minimum: number;
  readonly maximum: number;
  readonly initial: number;
  /** The rate when nothing at all answers. */
  readonly blind: number;
  readonly startUs: number;
}

/** Answers that a look must rest on. */
const FEWEST_ANSWERS = 3;
/** Queueing below this, or this part of a round trip, is nothing: schedulers alone make as much. */
const SMALL_QUEUE_US = 8000;
const SMALL_QUEUE_ROUNDS = 0.1;
/** A queue that grows more slowly than this, in seconds a second, does no harm while a run starts. */
const SMALL_SLOPE = 0.1;
/** A rate so much higher is judged by itself. */
const NEW_LEVEL = 1.15;
/** What a sign leaves of what the path was found to hold. */
const LEFT = 0.7;
/** One sign lowers the rate to no less than this. */
const LOWEST_STEP = 0.25;
/** But round trips that grow while the rate stays as it is say so exactly what the path holds that it may be much less. */
const LOWEST_IF_GROWN = 0.05;
/** When the queue is gone: so much of what was gained before the sign comes back at once; a gain is no more than this of the capacity. */
const BACK = 0.3;
const MOST_GAIN = 0.6;
/** From then on so much is gained, of the rate and SYNs per second at most, and twice as much after each unit of time. */
const FIRST_GAIN = 0.25;
const MOST_FIRST_GAIN = 30;
/** A unit: time and round trips, and the answers that would have shown it to be too much. */
const UNIT_US = 100_000;
const UNIT_ROUNDS = 1;
const UNIT_ANSWERS = 8;
/** A look moves the clock by no more than this part of a unit. */
const MOST_STEP = 0.5;
/** With less on the clock than this a queue is none of this run's making, unless it grows: less than this part of what is sent gets by. */
const OWN_CLOCK = 1;
const STANDS = 0.85;
/** A queue that growth has made by itself: so much was sent over what the path held. A faster one says itself what it holds. */
const USUAL_EXCESS = 1.25;
const FAST_EXCESS = 1.5;
/** A suspicion holds growth up for so long, and so many round trips. */
const SUSPICION_US = 2_000_000;
const SUSPICION_ROUNDS = 4;
/** What a start has sent since the sign left is thought to make a queue no longer than this. */
const MOST_TO_COME_US = 500_000;
/** A queue takes so much longer to drain than it should at most. When it is there so many times as long, one gives way; then it stands for good. */
const DRAIN_SLACK = 1.5;
const YIELD = 3;
const FOR_GOOD = 8;
/** Overruns of this machine's own buffers count once in so long, and leave this. */
const OVERRUN_US = 100_000;
const OVERRUN_LEFT = 0.7;

export function createRateController(options: RateControllerOptions): RateController {
  const { minimum, maximum, startUs } = options;
  const clamp = (rate: number): number => Math.min(maximum, Math.max(minimum, rate));
  let rate = clamp(options.initial);
  let starting = true;
  const start = createSlowStart(rate, startUs);
  /** What left before the last slow-down says nothing of the present rate. */
  let slowedUs = startUs;
  /** What the last sign left; what had been gained up to then; the units of time of growth since, and up to when. */
  let base = rate;
  let gain = 0;
  let clock = 0;
  let tickedUs = startUs;
  /** A queue is waited for to go: it may be there until the first time; at the second one gives way; at the third it is a part of the way. */
  let draining = false;
  let drainedUs = startUs;
  let yieldUs = startUs;
  let forGoodUs = startUs;
  /** When it had gone, the last time; and whether there ever was one. */
  let clearUs = startUs;
  let hasQueued = false;
  /** Before the first slow-down whose cause is not sure: when that was, the rate, and whether it was still being multiplied. */
  let suspectedUs = startUs;
  let before = rate;
  let wasStarting = true;
  /** Those who must answer; of these hardly any loss is thought usual at first. A path that loses most is away. */
  const controlProbes = createDeliveryTest({
    prior: { answered: 49.5, total: 50 },
    floor: 0.5,
    negligible: 0.03,
  });
  /** First SYNs: what share of these is answered depends on the space as well. */
  const fresh = createDeliveryTest({ floor: 0, negligible: 0.15 });
  const queueDelay = createQueueEstimator();
  /** After a start that ended as fewer first SYNs were answered: when the rate was taken up that was too high. */
  let unprovenUs = Number.NEGATIVE_INFINITY;
  /** About the rate that pilots are judged at. */
  let level = rate;

  const isAfterTrial = (e: Stretch): boolean => starting && start.isAfterTrial(e);
  const isSuspicious = (): boolean => controlProbes.isSuspicious() || fresh.isSuspicious();
  const smallQueue = ({ roundUs }: Stretch): number => Math.max(SMALL_QUEUE_US, SMALL_QUEUE_ROUNDS * roundUs);
  /** What left before this left when a queue may still have been there. */
  const clearSince = (): number => (draining ? drainedUs : clearUs);

  // --- down ----------------------------------------------------------------------------------------------------------

  /** From now on at `to`, from which it grows again. */
  function slowDown(to: number, nowUs: number): void {
    unprovenUs = Number.NEGATIVE_INFINITY;
    starting = false;
    // From nothing nothing would grow.
    base = Math.max(minimum, to);
    clock = 0;
    rate = clamp(base);
    level = rate;
    slowedUs = nowUs;
    controlProbes.startAnew();
    fresh.startAnew();
    queueDelay.clear();
  }

  /** The path was found to hold so many of ours; the queue is `seenUs` long. */
  function cut(capacity: number, seenUs: number, e: Stretch, lowestStep = LOWEST_STEP): void {
    // What a start has sent since is still to come.
    const queueUs = seenUs + (starting ? Math.min(MOST_TO_COME_US, (rate / capacity - 1) * e.roundUs) : 0);
    if (starting) gain = (1 - LEFT) * capacity;
    else if (clock > 0) gain = Math.max(0, Math.min(capacity - base, MOST_GAIN * capacity));
    slowDown(Math.max(LEFT * capacity, lowestStep * Math.min(rate, e.sent)), e.nowUs);
    draining = true;
    drainedUs = e.nowUs + drainUs(queueUs, e);
    expectDrained(queueUs, e);
  }

  /** A queue that is still there after these times is there because nobody gives way, or stands for good. */
  function expectDrained(queueUs: number, e: Stretch): void {
    yieldUs = e.nowUs + YIELD * drainUs(queueUs, e);
    forGoodUs = e.nowUs + FOR_GOOD * drainUs(queueUs, e);
  }

  const drainUs = (queueUs: number, { roundUs }: Stretch): number =>
    roundUs + (DRAIN_SLACK * queueUs) / (1 - LEFT);

  /** The queue is gone. What became of pilots that left before says nothing of the present rate. */
  function cleared(nowUs: number): void {
    draining = false;
    drainedUs = Math.min(drainedUs, nowUs);
    clearUs = nowUs;
    controlProbes.startAnew();
  }

  function handleDelays(e: Delays): void {
    queueDelay.learn(e);
    if (e.atUs < slowedUs) return;
    queueDelay.add(e, e.roundUs);
    const queue = queueDelay.queueUs();
    if (queue <= smallQueue(e)) {
      if (draining && queueDelay.excess(e.delayUs) < smallQueue(e) / 2) cleared(e.nowUs);
      return;
    }
    // A queue that is left when hardly anything leaves is none of this rate.
    if (e.atUs < drainedUs || e.sent < 0.5 * e.allowed) return;
    const capacity = Math.min(e.sent, queueDelay.capacity());
    const isOwn = starting || clock >= OWN_CLOCK || capacity < STANDS * e.sent;
    if (!isOwn) {
      // To slow down again and again would be to leave the path to others.
      if (!draining) {
        draining = true;
        expectDrained(queue, e);
      } else if (e.nowUs > forGoodUs) {
        queueDelay.excuse(e.delayUs);
        cleared(e.nowUs);
      } else if (e.nowUs > yieldUs) {
        slowDown(LEFT * Math.min(rate, e.sent), e.nowUs);
        drainedUs = e.nowUs + drainUs(queue, e);
        yieldUs = Number.POSITIVE_INFINITY;
      }
      return;
    }
    hasQueued = true;
    // Slopes are rough, and both of two must be cut alike.
    cut(e.sent < FAST_EXCESS * capacity ? e.sent / USUAL_EXCESS : capacity, queue, e);
  }

  function handleGrowth(e: Growing): void {
    if (!starting || e.sent === 0 || e.fromUs < start.sinceUs()) return;
    if (e.queueUs < smallQueue(e) || e.slope < SMALL_SLOPE) return;
    hasQueued = true;
    cut(e.sent / (1 + e.slope), e.queueUs, e, LOWEST_IF_GROWN);
  }

  /** @returns whether the share has fallen, and so the rate */
  function reactTo(delivery: DeliveryTest, answered: number, total: number, e: Stretch): boolean {
    // Where queues are seen, one comes before anything is lost.
    const isOdd = hasQueued && queueDelay.isKnown() && queueDelay.queueUs() <= smallQueue(e);
    const judgement = delivery.judge(answered, total, e.sent, isOdd);
    // Where there is a queue it may be another one's doing that slowing down did not help.
    if (judgement === "usual-after-all" && !isSuspicious() && (wasStarting || !hasQueued)) {
      rate = clamp(Math.max(rate, before));
      base = rate;
      gain = 0;
      clock = 0;
      starting = wasStarting;
      draining = false;
      start.startAnew(e.nowUs);
    }
    if (judgement !== "fallen") return false;
    if (!isSuspicious()) {
      before = Math.min(rate, e.allowed);
      wasStarting = starting;
      suspectedUs = e.nowUs;
    }
    delivery.suspect(e.sent);
    const unproven = starting && delivery === fresh ? start.sinceUs() : Number.NEGATIVE_INFINITY;
    cut((e.sent * delivery.now()) / delivery.usual(), 0, e);
    unprovenUs = unproven;
    return true;
  }

  function handleAnswers(e: Answers): void {
    if (e.fromUs < slowedUs) return;
    if (isAfterTrial(e)) {
      speedUp("fresh", e.freshAnswers, e.fresh, e);
      return;
    }
    const queue = e.delays === 0 ? 0 : queueDelay.excess(e.delayUs);
    if (draining && e.nowUs > drainedUs && queue < smallQueue(e) / 2) cleared(e.nowUs);
    // A queue makes answers late, which then look lost.
    const isLate = e.fromUs < clearSince() || (e.delays >= FEWEST_ANSWERS && queue > smallQueue(e));
    if (e.fresh > 0 && !isLate && reactTo(fresh, e.freshAnswers, e.fresh, e)) return;
    if (e.answers < FEWEST_ANSWERS || draining) return;
    if (starting) speedUp("fresh", e.freshAnswers, e.fresh, e);
    else grow(e);
  }

  function handleOutcome(e: Outcome): void {
    const total = e.answered + e.lost;
    if (total === 0) return;
    // Where first SYNs were lost from the beginning on, that looked usual: pilots know better, though later.
    if (e.toUs <= unprovenUs) {
      if ((LEFT * e.sent * e.answered) / total < rate) reactTo(controlProbes, e.answered, total, e);
      return;
    }
    if (e.fromUs < slowedUs || e.fromUs < clearSince()) {
      controlProbes.addEvidence(e.answered, total, e.sent);
      return;
    }
    if (isAfterTrial(e) || reactTo(controlProbes, e.answered, total, e)) return;
    speedUp("controlProbes", e.answered, total, e);
    // What pilots show holds for all, where there is nothing else to go by.
    if (!controlProbes.isSuspicious() && !controlProbes.isIdle() && fresh.isIdle()) fresh.acquit();
  }

  // --- up ------------------------------------------------------------------------------------------------------------

  function speedUp(kind: Kind, answered: number, total: number, e: Stretch): void {
    const faster = starting ? start.handleAnswers(kind, answered, total, e) : undefined;
    if (faster !== undefined) rate = clamp(faster);
  }

  /** More, by the clock, which goes while all that may leave does. */
  function grow(e: Answers): void {
    const held = isSuspicious() && e.nowUs - suspectedUs < SUSPICION_US + SUSPICION_ROUNDS * e.roundUs;
    if (held) tickedUs = e.nowUs;
    if (held || e.sent < 0.8 * e.allowed) return;
    const units = (e.nowUs - Math.max(tickedUs, clearUs)) / (UNIT_US + UNIT_ROUNDS * e.roundUs);
    clock += Math.min(MOST_STEP, e.answers / UNIT_ANSWERS, units);
    tickedUs = e.nowUs;
    const first = Math.min(MOST_FIRST_GAIN, FIRST_GAIN * base);
    rate = clamp(base + BACK * gain + first * (2 ** clock - 1));
    if (rate > NEW_LEVEL * level) {
      // What left at the rate before says little of this one.
      level = rate;
      controlProbes.startAnew();
    }
  }

  return {
    rate: () => rate,
    isStarting: () => starting && rate < maximum,
    handleDelays,
    handleGrowth,
    handleTime: (nowUs) => {
      if (starting) rate = clamp(Math.min(rate, start.most(nowUs)));
    },
    handleAnswers,
    handleOutcome,
    handleOverrun: (nowUs) => {
      if (nowUs - slowedUs < OVERRUN_US) return;
      gain = (1 - OVERRUN_LEFT) * rate;
      slowDown(OVERRUN_LEFT * rate, nowUs);
    },
    handleSilence: () => {
      rate = clamp(Math.max(rate, options.blind));
    },
  };
}
