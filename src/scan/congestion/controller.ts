/**
 * Finds the rate that a path holds: evidence of what became of the SYNs goes in (observations.ts), a rate comes out.
 *
 * The model is one bottleneck of capacity C with a queue before it, shared or not, behind loss that has nothing to do with the
 * rate. Below C, round trips and loss are as usual. Above C the queue grows by rate/C - 1 seconds per second, and when it is full
 * the share 1 - C/rate is lost. Either sign tells C, so one observation is enough:
 *
 *     startup      x 3.5 after each round trip that was answered about as well as the best before it (slow-start.ts)
 *     a sign       C = rate / (1 + slope of the delay), or rate x share answered / usual share; cut to 0.7 C
 *     draining     no growth until the queue is gone
 *     probing      30 % of the last gain at once, then 30 SYNs/s more, 60 after the next unit of time, 120 ... (growth.ts)
 *     suspecting   as probing, after a pause, until it is known whether the cut raised the share of answers (delivery-test.ts)
 *
 * Shares are of pilots, which have to be answered, and of first SYNs: in a random order of targets the share of those answered is
 * constant. In startup no host has answered twice, so rising round trips from one host to the next show the queue (rtt-slope.ts).
 *
 * Why two unrelated runs reach equal shares: both see the same queue at nearly the same time. A proportional cut takes more from
 * the faster one, and growth by the clock gives both the same, so each sign removes 30 % of their difference. That needs signs
 * seen together: hence delays are read as answers arrive, a queue that appears without growth of ours is another sender's and
 * is waited for, and base round trips fall for all hosts at once when all become faster (base-rtt.ts): a newcomer has met its
 * hosts in the other's queue.
 *
 * Compared with other rules in the same engine over 30 random networks (npx tsx test/sim/compare.ts 30):
 *
 *                               time, x ours: median, max   x an oracle's   recall: mean, min   SYNs per pair
 *     this                                1                      1.6            1       1            3.3
 *     nmap's AIMD, window <= 300         16.8     263           26              1       1            3.2
 *     the same without a cap             12.1     117           17              1       1            3.3
 *     Vegas, by delay alone               1.1       8.2          1.6            0.983   0.653        4.3
 *
 * AIMD takes random loss for congestion. Vegas misses ports where its first SYNs fill a slow path's queue, because its base round
 * trips then include that queue. Below about 1,000 SYNs/s AIMD may win. Known limits: shares take some cycles to become equal, so
 * on a long path the first ten seconds may be unfair (npx tsx test/sim/fairness.ts), and a full queue of a third sender is waited
 * for up to eight times its drain time. Workers of one run share their rates instead (shared-rate.ts).
 *
 * Pure: times in microseconds, rates in SYNs per second. Not here: when SYNs leave (pacer.ts), hosts that rate-limit their
 * answers (hosts/rst-limited.ts).
 */

import type { RateChange, RateChangeReason, RateMetrics } from "../probe/result.ts";
import { createDeliveryTest, type DeliveryTest } from "./delivery-test.ts";
import { createGrowth } from "./growth.ts";
import type {
  AnswersObservation,
  DelayObservation,
  Observation,
  OutcomeObservation,
  RttGrowthObservation,
} from "./observations.ts";
import { createPhaseMachine } from "./phase.ts";
import { createQueueEstimator } from "./queue-estimator.ts";
import { createSlowStart, type SynKind } from "./slow-start.ts";

export interface RateController {
  /** SYNs per second that may leave now. */
  rate(): number;
  /** Whether the rate is still being multiplied, probably far below what the path holds. */
  inStartup(): boolean;
  handleDelays(e: DelayObservation): void;
  handleRttGrowth(e: RttGrowthObservation): void;
  handleAnswers(e: AnswersObservation): void;
  handleOutcome(e: OutcomeObservation): void;
  /** Lets time pass; called with every look at the path. */
  handleTime(nowUs: number): void;
  /** This machine itself dropped packets on arrival. */
  handleOverrun(nowUs: number): void;
  /** Nothing answers: there is no evidence to wait for. */
  handleNoAnswers(nowUs: number): void;
  /** What this controller knows; round trips and the queue in them are measure/probe-timeout.ts's. */
  metrics(): ControllerMetrics;
}

export type ControllerMetrics = Pick<RateMetrics, "phase" | "rate" | "answeredShare">;

export interface RateControllerOptions {
  readonly minimum: number;
  readonly maximum: number;
  readonly initial: number;
  /** The initial rate was found by an earlier run: no startup. */
  readonly isFound?: boolean;
  /** The rate when nothing at all answers. */
  readonly blind: number;
  readonly startUs: number;
  /** Told of each change of the rate, with its reason. */
  readonly onRateChange?: (change: RateChange) => void;
}

/** Answers that an observation must rest on. */
const MIN_ANSWERS = 3;
/** A queue shorter than this many microseconds, or this part of a round trip, is ignored: schedulers alone cause as much. */
const SMALL_QUEUE_US = 8000;
const SMALL_QUEUE_ROUND_TRIPS = 0.1;
/** Round trips that rise more slowly than this, in seconds per second, do no harm during startup. */
const SMALL_SLOPE = 0.1;
/** A rate this many times as high is judged by its own outcomes only. */
const NEW_LEVEL = 1.15;
/** Part of the path's capacity that a cut leaves, so that the queue drains. From test/sim/fairness.ts. */
const CUT_TO = 0.7;
/** A single cut leaves at least this part of the rate. From test/sim/compare.ts. */
const MIN_CUT = 0.25;
/** Rising round trips in startup measure the capacity itself, so that cut may go further. */
const MIN_CUT_IN_STARTUP = 0.05;
/** At most this part of the capacity counts as gained before a cut. */
const MAX_GAIN = 0.6;
/** Below this many units of growth a queue is not this run's, unless less than this part of what is sent gets through. */
const OWN_QUEUE_UNITS = 1;
const STANDING_QUEUE = 0.85;
/** Growth overshoots by about this factor before its queue is seen. Above `MAX_EXCESS` the measured capacity is used instead. */
const TYPICAL_EXCESS = 1.25;
const MAX_EXCESS = 1.5;
/** While suspecting, growth pauses this long, in microseconds plus base round trips. With 0.5 s slow paths were flooded. */
const SUSPICION_US = 2_000_000;
const SUSPICION_ROUND_TRIPS = 4;
/** SYNs that a startup sent after the sign left add at most this much queue, in microseconds. */
const MAX_IN_FLIGHT_QUEUE_US = 500_000;
/** Allow 1.5 x the ideal drain time. After 3 x that the rate is cut once more; after 8 x the queue counts as a longer path. */
const DRAIN_SLACK = 1.5;
const YIELD_AFTER = 3;
const ACCEPT_AFTER = 8;
/** Below this part of the allowed rate an observation tells nothing about a queue, and below the second no growth follows. */
const MIN_USE = 0.5;
const MIN_USE_TO_GROW = 0.8;
/** What is lost while hardly anything leaves, as in a run that waits, is not the rate's: a cut from what was sent would be one to nothing. */
const MIN_USE_TO_JUDGE = 0.1;
/** A receive buffer overrun counts once in this many microseconds, and leaves this part of the rate. */
const OVERRUN_INTERVAL_US = 100_000;
const OVERRUN_CUT_TO = 0.7;
/** Pilots have to be answered, so the test expects that from the first; a path that loses most of them is down. */
const PILOT_TEST = { prior: { answered: 49.5, total: 50 }, floor: 0.5, negligible: 0.03 };
/** The usual share of first SYNs depends on the targets: any may be usual. */
const FIRST_SYN_TEST = { floor: 0, negligible: 0.15 };

/** Before the first cut whose cause is in doubt: when it was, and what to go back to if the rate was not the cause. */
interface Suspicion {
  readonly sinceUs: number;
  readonly rate: number;
  readonly inStartup: boolean;
}

type Evidence = Pick<RateChange, "queueUs" | "answeredShare" | "usualShare">;

export function createRateController(options: RateControllerOptions): RateController {
  const { minimum, maximum, startUs, onRateChange } = options;
  const clamp = (value: number): number => Math.min(maximum, Math.max(minimum, value));
  const phase = createPhaseMachine();
  if (options.isFound === true) phase.transitionTo({ name: "probing" });
  let rate = clamp(options.initial);
  const slowStart = createSlowStart(rate, startUs);
  const growth = createGrowth(rate, startUs);
  const queue = createQueueEstimator();
  const pilots = createDeliveryTest(PILOT_TEST);
  const firstSyns = createDeliveryTest(FIRST_SYN_TEST);
  /** SYNs that left before this say nothing of the present rate. */
  let cutUs = startUs;
  /** Delays of SYNs that left before this may still be the queue of the last cut. */
  let drainedUs = startUs;
  /** When the last queue was seen to be gone; whether this run has ever seen one of its own. */
  let clearUs = startUs;
  let hasQueued = false;
  let suspicion: Suspicion | undefined;
  /** Startup ended because fewer first SYNs were answered: when it had taken up the rate that was too high. */
  let unprovenUs = Number.NEGATIVE_INFINITY;
  /** Pilots are judged at about this rate. */
  let pilotRate = rate;

  const isAfterTrial = (e: Observation): boolean => phase.is("startup") && slowStart.isAfterTrial(e);
  const isSuspicious = (): boolean => pilots.isSuspicious() || firstSyns.isSuspicious();
  const smallQueueUs = ({ baseRttUs }: Observation): number =>
    Math.max(SMALL_QUEUE_US, SMALL_QUEUE_ROUND_TRIPS * baseRttUs);
  /** SYNs that left before this may have met a queue. */
  const clearSinceUs = (): number => (phase.is("draining") ? drainedUs : clearUs);

  function setRate(next: number, reason: RateChangeReason, atUs: number, evidence: Evidence = {}): void {
    const fromRate = rate;
    rate = clamp(next);
    if (rate === fromRate) return;
    onRateChange?.({ fromRate, toRate: rate, reason, atUs, ...evidence });
  }

  // --- down ----------------------------------------------------------------------------------------------------------

  /** Goes on with rate `to`, from which it grows again. */
  function slowDown(to: number, reason: RateChangeReason, nowUs: number, evidence?: Evidence): void {
    if (phase.is("startup")) phase.transitionTo({ name: "probing" });
    unprovenUs = Number.NEGATIVE_INFINITY;
    // Nothing would grow from nothing.
    growth.restart(Math.max(minimum, to));
    setRate(growth.base(), reason, nowUs, evidence);
    pilotRate = rate;
    cutUs = nowUs;
    pilots.restart();
    firstSyns.restart();
    queue.clear();
  }

  /** The path was found to hold `capacity` of this run's SYNs per second, and the queue to be `seenUs` long. */
  function cut(
    capacity: number,
    seenUs: number,
    e: Observation,
    reason: RateChangeReason,
    { minCut = MIN_CUT, ...evidence }: Evidence & { readonly minCut?: number } = {},
  ): void {
    let queueUs = seenUs;
    if (phase.is("startup")) {
      // What startup has sent since has not shown yet.
      queueUs += Math.min(MAX_IN_FLIGHT_QUEUE_US, (rate / capacity - 1) * e.baseRttUs);
      growth.bank((1 - CUT_TO) * capacity);
    } else if (growth.units() > 0) {
      growth.bank(Math.max(0, Math.min(capacity - growth.base(), MAX_GAIN * capacity)));
    }
    slowDown(Math.max(CUT_TO * capacity, minCut * Math.min(rate, e.sentRate)), reason, e.nowUs, evidence);
    drainedUs = e.nowUs + drainUs(queueUs, e);
    drain(queueUs, e);
  }

  /** Waits for a queue of `queueUs` to go. */
  function drain(queueUs: number, e: Observation): void {
    const us = drainUs(queueUs, e);
    phase.transitionTo({
      name: "draining",
      yieldUs: e.nowUs + YIELD_AFTER * us,
      acceptUs: e.nowUs + ACCEPT_AFTER * us,
    });
  }

  const drainUs = (queueUs: number, { baseRttUs }: Observation): number =>
    baseRttUs + (DRAIN_SLACK * queueUs) / (1 - CUT_TO);

  /** The queue is gone. What became of pilots that left before says nothing of the present rate. */
  function endDrain(nowUs: number): void {
    phase.transitionTo({ name: isSuspicious() ? "suspecting" : "probing" });
    drainedUs = Math.min(drainedUs, nowUs);
    clearUs = nowUs;
    pilots.restart();
  }

  function handleDelays(e: DelayObservation): void {
    queue.learn(e);
    if (e.atUs < cutUs) return;
    queue.add(e, e.baseRttUs);
    const queueUs = queue.queueUs();
    if (queueUs <= smallQueueUs(e)) {
      if (phase.is("draining") && queue.excess(e.delayUs) < smallQueueUs(e) / 2) endDrain(e.nowUs);
      return;
    }
    // A queue that is there although hardly anything left is not this rate's.
    if (e.atUs < drainedUs || e.sentRate < MIN_USE * e.allowedRate) return;
    const capacity = Math.min(e.sentRate, queue.capacity());
    const isOwn =
      phase.is("startup") || growth.units() >= OWN_QUEUE_UNITS || capacity < STANDING_QUEUE * e.sentRate;
    if (!isOwn) {
      waitForOthers(queueUs, e);
      return;
    }
    hasQueued = true;
    // Slopes are rough, and two senders must be cut alike: the measured capacity only counts when far exceeded.
    const held = e.sentRate < MAX_EXCESS * capacity ? e.sentRate / TYPICAL_EXCESS : capacity;
    cut(held, queueUs, e, "queue-grew", { queueUs });
  }

  /** Others fill the queue. Slowing down again and again would leave the path to them. */
  function waitForOthers(queueUs: number, e: DelayObservation): void {
    const current = phase.current();
    if (current.name !== "draining") {
      drain(queueUs, e);
    } else if (e.nowUs > current.acceptUs) {
      queue.accept(e.delayUs);
      endDrain(e.nowUs);
    } else if (e.nowUs > current.yieldUs) {
      slowDown(CUT_TO * Math.min(rate, e.sentRate), "queue-stayed", e.nowUs, { queueUs });
      drainedUs = e.nowUs + drainUs(queueUs, e);
      // Once is enough.
      phase.transitionTo({ ...current, yieldUs: Number.POSITIVE_INFINITY });
    }
  }

  function handleRttGrowth(e: RttGrowthObservation): void {
    if (!phase.is("startup") || e.sentRate === 0 || e.fromUs < slowStart.sinceUs()) return;
    if (e.queueUs < smallQueueUs(e) || e.slope < SMALL_SLOPE) return;
    hasQueued = true;
    const evidence = { queueUs: e.queueUs, minCut: MIN_CUT_IN_STARTUP };
    cut(e.sentRate / (1 + e.slope), e.queueUs, e, "queue-grew", evidence);
  }

  /** @returns whether the share of answers has fallen, and the rate with it */
  function judge(delivery: DeliveryTest, answered: number, total: number, e: Observation): boolean {
    if (e.sentRate < MIN_USE_TO_JUDGE * e.allowedRate) return false;
    // Where queues show, one shows before anything is lost.
    const isUnlikely = hasQueued && queue.hasEvidence() && queue.queueUs() <= smallQueueUs(e);
    const judgement = delivery.judge(answered, total, e.sentRate, isUnlikely);
    if (judgement === "not-the-rate") restore(e.nowUs);
    if (judgement === "fallen") {
      const share = { answeredShare: delivery.recentShare(), usualShare: delivery.usualShare() };
      if (!isSuspicious()) {
        suspicion = {
          sinceUs: e.nowUs,
          rate: Math.min(rate, e.allowedRate),
          inStartup: phase.is("startup"),
        };
      }
      delivery.suspect(e.sentRate);
      const unproven =
        phase.is("startup") && delivery === firstSyns ? slowStart.sinceUs() : Number.NEGATIVE_INFINITY;
      cut((e.sentRate * share.answeredShare) / share.usualShare, 0, e, "fewer-answered", share);
      unprovenUs = unproven;
    }
    endSuspicion();
    return judgement === "fallen";
  }

  /** Slowing down did not raise the share of answers. Where there is a queue, that may be because of other senders. */
  function restore(nowUs: number): void {
    if (isSuspicious() || suspicion === undefined || (hasQueued && !suspicion.inStartup)) return;
    setRate(Math.max(rate, suspicion.rate), "loss-unrelated", nowUs);
    growth.restart(rate);
    growth.bank(0);
    phase.transitionTo({ name: suspicion.inStartup ? "startup" : "probing" });
    slowStart.restart(nowUs);
  }

  function endSuspicion(): void {
    if (phase.is("suspecting") && !isSuspicious()) phase.transitionTo({ name: "probing" });
  }

  function handleAnswers(e: AnswersObservation): void {
    if (e.fromUs < cutUs) return;
    if (isAfterTrial(e)) {
      speedUp("firstSyns", e.firstSynsAnswered, e.firstSyns, e);
      return;
    }
    const queueUs = e.delays === 0 ? 0 : queue.excess(e.delayUs);
    if (phase.is("draining") && e.nowUs > drainedUs && queueUs < smallQueueUs(e) / 2) endDrain(e.nowUs);
    // Answers that a queue delays would look lost.
    const isDelayed = e.fromUs < clearSinceUs() || (e.delays >= MIN_ANSWERS && queueUs > smallQueueUs(e));
    if (e.firstSyns > 0 && !isDelayed && judge(firstSyns, e.firstSynsAnswered, e.firstSyns, e)) return;
    if (e.answers < MIN_ANSWERS || phase.is("draining")) return;
    if (phase.is("startup")) speedUp("firstSyns", e.firstSynsAnswered, e.firstSyns, e);
    else grow(e);
  }

  function handleOutcome(e: OutcomeObservation): void {
    const total = e.answered + e.lost;
    if (total === 0) return;
    // First SYNs that were lost from the beginning made that loss look usual. Pilots know better, though later.
    if (e.toUs <= unprovenUs) {
      if ((CUT_TO * e.sentRate * e.answered) / total < rate) judge(pilots, e.answered, total, e);
      return;
    }
    if (e.fromUs < cutUs || e.fromUs < clearSinceUs()) {
      pilots.addEvidence(e.answered, total, e.sentRate);
      return;
    }
    if (isAfterTrial(e) || judge(pilots, e.answered, total, e)) return;
    speedUp("pilots", e.answered, total, e);
    // Without other evidence, what pilots show holds for all.
    if (!pilots.isSuspicious() && !pilots.lacksEvidence() && firstSyns.lacksEvidence()) {
      firstSyns.dismiss();
      endSuspicion();
    }
  }

  // --- up ------------------------------------------------------------------------------------------------------------

  function speedUp(kind: SynKind, answered: number, total: number, e: Observation): void {
    const faster = phase.is("startup") ? slowStart.handleAnswers(kind, answered, total, e) : undefined;
    if (faster !== undefined) setRate(faster, "answered-well", e.nowUs);
  }

  /** In probing and suspecting, while all that may leave does. */
  function grow(e: AnswersObservation): void {
    if (
      phase.is("suspecting") &&
      suspicion !== undefined &&
      e.nowUs - suspicion.sinceUs < SUSPICION_US + SUSPICION_ROUND_TRIPS * e.baseRttUs
    ) {
      growth.skip(e.nowUs);
      return;
    }
    if (e.sentRate < MIN_USE_TO_GROW * e.allowedRate) return;
    setRate(growth.advance(e, clearUs), "no-queue", e.nowUs);
    if (rate > NEW_LEVEL * pilotRate) {
      // The outcomes at the lower rate say little of this one.
      pilotRate = rate;
      pilots.restart();
    }
  }

  return {
    rate: () => rate,
    inStartup: () => phase.is("startup") && rate < maximum,
    handleDelays,
    handleRttGrowth,
    handleAnswers,
    handleOutcome,
    handleTime: (nowUs) => {
      if (phase.is("startup")) setRate(Math.min(rate, slowStart.limit(nowUs)), "trial-over", nowUs);
    },
    handleOverrun: (nowUs) => {
      if (nowUs - cutUs < OVERRUN_INTERVAL_US) return;
      growth.bank((1 - OVERRUN_CUT_TO) * rate);
      slowDown(OVERRUN_CUT_TO * rate, "buffer-overrun", nowUs);
    },
    handleNoAnswers: (nowUs) => setRate(Math.max(rate, options.blind), "nothing-answers", nowUs),
    metrics: () => ({
      phase: phase.current().name,
      rate,
      ...(pilots.lacksEvidence() ? {} : { answeredShare: pilots.recentShare() }),
    }),
  };
}
