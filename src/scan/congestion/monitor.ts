/**
 * Watches the path: divides time into send intervals, a few per round trip, and tells the rate controller what has become of the
 * SYNs of each. Queues show first, as delays; then how many answered; last the fate of the pilots.
 *
 * It begins and ends the send intervals (measure/send-intervals.ts), and says when the next look is due. Others count what
 * happens in them. Pure: times in microseconds. Not here: what follows from an observation (controller.ts), loss and doubt
 * (measure/loss-ledger.ts).
 */

import type { HostCache } from "../measure/host-cache.ts";
import { MIN_INTERVAL_US, type ProbeTimeouts } from "../measure/probe-timeout.ts";
import { FATES, type SendIntervals } from "../measure/send-intervals.ts";
import type { RateChange, RateMetrics } from "../probe/result.ts";
import { createBaseRtt } from "./base-rtt.ts";
import { createRateController, type RateController, type RateControllerOptions } from "./controller.ts";
import { createRttSlope } from "./rtt-slope.ts";
import type { SharedRate } from "./shared-rate.ts";

/** Bounds of the rate, SYNs per second; equal ones fix it. */
export interface RateLimits {
  readonly minimum: number;
  readonly maximum: number;
  /** Workers of this run on the same path, this one included: each begins with its part of the rate. */
  readonly workers?: number;
  /** The rate that they share. */
  readonly shared?: SharedRate;
  /** The rate that an earlier run over the same path has found: this one begins with it, and not with startup. */
  readonly found?: number;
}

export interface RateMonitorOptions {
  readonly rate: RateLimits;
  readonly startUs: number;
  /** How long to wait for a first answer before the rate is raised without one. */
  readonly patienceUs: number;
  readonly hosts: HostCache;
  readonly intervals: SendIntervals;
  readonly timeouts: ProbeTimeouts;
  /** Another rule, for comparison. */
  readonly congestion?: (options: RateControllerOptions) => RateController;
  readonly onRateChange?: (change: RateChange) => void;
}

export interface RateMonitor {
  /** SYNs per second that may leave. */
  rate(): number;
  /** Whether the rate is still being multiplied, so that first SYNs tell more than others. */
  inStartup(): boolean;
  /** A SYN is to leave at `nowUs`, perhaps after a long pause. */
  sent(nowUs: number): void;
  /** A SYN left at `times[i]`. */
  departed(times: Float64Array, i: number): void;
  /**
   * Takes the round trip of the SYN of `interval` that left at `times[i]`.
   * @param rtt whole microseconds
   */
  sample(host: number, interval: number, times: Float64Array, i: number, rtt: number): void;
  /** Tells the controller what has become known; only once something has answered. */
  observe(nowUs: number): void;
  /** Fates of an interval's SYNs that had to be answered, where no pilots can be sent. */
  observeOutcome(nowUs: number, interval: number, answered: number, lost: number): void;
  /** Takes over the controller's rate, and begins a new interval when it is time. */
  follow(nowUs: number, hasAnswers: boolean): void;
  /** When the next look is due. */
  lookAt(): number;
  overrun(nowUs: number): void;
  /** Nothing more will leave. */
  finish(): void;
  metrics(): RateMetrics;
}

/** The first rate when the user sets no bounds, and the rate while nothing answers; SYNs per second. */
const INITIAL_RATE = 4000;
export const BLIND_RATE = 10_000;
/** Intervals per round trip, and an interval's greatest length in microseconds. */
const INTERVALS_PER_ROUND_TRIP = 8;
const MAX_INTERVAL_US = 100_000;
/** Its length before any round trip is known. */
const FIRST_INTERVAL_US = 20_000;
/** The burst that may leave at the very beginning (pacer.ts) makes a queue that no rate explains: its SYNs are not in the slope. */
const BURST_US = 5000;
/** Intervals with too few answers are observed together, up to this many. */
const MAX_TOGETHER = 64;
/** Answers, and fates of pilots, that an observation needs. */
const MIN_ANSWERS = 3;
const MIN_OUTCOMES = 8;
/** Few hosts are farther than the others by more than this many standard deviations. */
const FARTHEST_DEVIATIONS = 2;

export function createRateMonitor(options: RateMonitorOptions): RateMonitor {
  const { rate: limits, startUs, patienceUs, hosts, intervals, timeouts, onRateChange } = options;
  const bounded = (rate: number): number => Math.min(limits.maximum, Math.max(limits.minimum, rate));
  const controller = (options.congestion ?? createRateController)({
    ...limits,
    initial: bounded(limits.found ?? INITIAL_RATE / (limits.workers ?? 1)),
    isFound: limits.found !== undefined,
    blind: bounded(BLIND_RATE / (limits.workers ?? 1)),
    startUs,
    ...(onRateChange === undefined ? {} : { onRateChange }),
  });
  const sharedRate = (): number => limits.shared?.share(controller.rate()) ?? controller.rate();
  let rate = sharedRate();
  intervals.begin(startUs, rate);
  /** The controller's rate at the last look. */
  let lastRate = controller.rate();
  const baseRtt = createBaseRtt(hosts, intervals, timeouts);
  const rttSlope = createRttSlope(startUs + BURST_US);
  /** Intervals below these have been observed: their answers, their outcomes. */
  let answersSeen = 0;
  let outcomesSeen = 0;
  /** The intervals at the highest rate so far. */
  const highest = { from: 0, to: Number.POSITIVE_INFINITY };
  let intervalUs = FIRST_INTERVAL_US;
  /** Looks come as often as without a queue: hosts that were met in one would otherwise show the next too late. */
  let lookUs = FIRST_INTERVAL_US;
  let nextLookUs = startUs;
  let startup = controller.inStartup();
  /** When the last SYN left. In an array, because a changing number in a closure is allocated each time. */
  const lastUs = Float64Array.of(startUs);
  const lookup = new Float64Array(1);

  const intervalAt = (us: number): number => {
    lookup[0] = us;
    return intervals.at(lookup, 0);
  };

  /** The intervals `from` to `to - 1`. */
  const observation = (nowUs: number, from: number, to: number) => {
    const fromUs = intervals.fromUs(from);
    const toUs = intervals.fromUs(to);
    let allowedRate = 0;
    for (let i = from; i < to; i++)
      allowedRate += intervals.allowed(i) * (intervals.fromUs(i + 1) - intervals.fromUs(i));
    allowedRate /= Math.max(1, toUs - fromUs);
    return {
      nowUs,
      fromUs,
      toUs,
      // A burst after a pause is no rate.
      sentRate: Math.min(allowedRate, sentRateOf(from, to)),
      allowedRate,
      baseRttUs: timeouts.baseRttUs(),
    };
  };

  /** SYNs per second that left, bursts included. */
  function sentRateOf(from: number, to: number): number {
    let sent = 0;
    for (let i = from; i < to; i++) sent += intervals.get(i, FATES.sent);
    return (sent * 1e6) / Math.max(1, intervals.fromUs(to) - intervals.fromUs(from));
  }

  /**
   * As `observation`, but in startup the rate is at most the mean since it was last multiplied: a process that is held up sends
   * in bursts, which must not be multiplied.
   */
  function steadyObservation(nowUs: number, from: number, to: number) {
    const e = observation(nowUs, from, to);
    const end = Math.min(highest.to, intervals.count() - 1);
    if (startup && from >= highest.from && highest.from < end) {
      e.sentRate = Math.min(e.sentRate, observation(nowUs, highest.from, end).sentRate);
    }
    return e;
  }

  /** A queue shows in answers as they arrive, long before the fate of all SYNs of their interval is known. */
  function observeDelays(nowUs: number): void {
    const delay = baseRtt.take();
    if (delay === undefined) return;
    const interval = intervalAt(delay.atUs);
    const from = Math.max(intervals.first(), interval - 1);
    const to = Math.min(intervals.count() - 1, interval + 2);
    if (interval >= 0 && to > from)
      controller.handleDelays(Object.assign(observation(nowUs, from, to), delay));
  }

  /** In startup a queue shows as rising round trips, before any host has answered twice. */
  function observeRttGrowth(nowUs: number): void {
    const growth = rttSlope.growth();
    if (growth === undefined) return;
    const from = intervalAt(growth.fromUs);
    const to = Math.min(intervalAt(growth.toUs) + 1, intervals.count() - 1);
    if (from < 0 || to <= from) return;
    const e = observation(nowUs, from, to);
    // A burst's queue grows as fast, so bursts count; except the first one, which is in the first interval but not in the slope.
    const sentRate = from === 0 ? e.sentRate : sentRateOf(from, to);
    controller.handleRttGrowth({ ...e, sentRate, ...growth });
  }

  /** The end of startup leaves a queue, which is also in the round trips learnt so far. */
  function learnQueue(): void {
    const growth = rttSlope.growth();
    if (growth === undefined) return;
    timeouts.relearnBase(growth.clearUs);
    timeouts.setQueue(growth.queueUs);
    baseRtt.expectQueue(growth.clearUs + FARTHEST_DEVIATIONS * growth.scatterUs);
  }

  function observeAnswers(nowUs: number): void {
    answersSeen = Math.max(answersSeen, intervals.first());
    const last = intervals.count() - 1;
    const afterUs = timeouts.answersAfterUs();
    let to = answersSeen;
    while (to < last && intervals.fromUs(to + 1) + afterUs <= nowUs) {
      to++;
      let answers = 0;
      let firstSyns = 0;
      let firstSynsAnswered = 0;
      let delays = 0;
      let sum = 0;
      for (let i = answersSeen; i < to; i++) {
        answers += intervals.get(i, FATES.anyAnswered) + intervals.get(i, FATES.pilotAnswered);
        firstSyns += intervals.get(i, FATES.firstSyn);
        firstSynsAnswered += intervals.get(i, FATES.firstSynAnswered);
        delays += intervals.delays(i);
        sum += intervals.delaySum(i);
      }
      if (answers < MIN_ANSWERS && to - answersSeen < MAX_TOGETHER) continue;
      const delayUs = delays === 0 ? 0 : sum / delays;
      // Assigned, not spread: a spread would allocate each number.
      controller.handleAnswers(
        Object.assign(steadyObservation(nowUs, answersSeen, to), {
          answers,
          firstSyns,
          firstSynsAnswered,
          delays,
          delayUs,
        }),
      );
      answersSeen = to;
    }
  }

  function observePilots(nowUs: number): void {
    outcomesSeen = Math.max(outcomesSeen, intervals.first());
    const last = intervals.count() - 1;
    let to = outcomesSeen;
    while (
      to < last &&
      intervals.fromUs(to + 1) + MIN_INTERVAL_US <= nowUs &&
      intervals.arePilotFatesKnown(to)
    ) {
      to++;
      let answered = 0;
      let lost = 0;
      for (let i = outcomesSeen; i < to; i++) {
        answered += intervals.get(i, FATES.pilotAnswered);
        lost += intervals.get(i, FATES.pilotLost);
      }
      if (answered + lost < MIN_OUTCOMES && to - outcomesSeen < MAX_TOGETHER) continue;
      controller.handleOutcome(Object.assign(steadyObservation(nowUs, outcomesSeen, to), { answered, lost }));
      outcomesSeen = to;
    }
  }

  /** Ends the newest interval, with all that has left. */
  function beginInterval(nowUs: number): void {
    const fromUs = Math.max(nowUs, lastUs[0]);
    const before = intervals.allowed(intervals.count() - 1);
    intervals.begin(fromUs, rate);
    if (rate > before) {
      rttSlope.restart(fromUs);
      highest.from = intervals.count() - 1;
      highest.to = Number.POSITIVE_INFINITY;
    }
    if (rate < before) {
      rttSlope.end(fromUs);
      highest.to = Math.min(highest.to, intervals.count() - 1);
    }
  }

  return {
    rate: () => rate,
    inStartup: () => startup,
    sent: (nowUs) => {
      const newest = intervals.count() - 1;
      if (intervals.get(newest, FATES.sent) === 0 && intervals.isOlder(newest, nowUs, intervalUs)) {
        beginInterval(nowUs);
      }
    },
    departed: (times, i) => {
      if (times[i] > lastUs[0]) lastUs[0] = times[i];
    },
    sample: (host, interval, times, i, rtt) => {
      if (startup) rttSlope.add(times, i, rtt);
      baseRtt.sample(host, interval, times, i, rtt);
    },
    observe: (nowUs) => {
      if (startup) observeRttGrowth(nowUs);
      observeDelays(nowUs);
      observeAnswers(nowUs);
      observePilots(nowUs);
      if (startup && !controller.inStartup()) learnQueue();
    },
    observeOutcome: (nowUs, interval, answered, lost) => {
      controller.handleOutcome({ ...observation(nowUs, interval, interval + 1), answered, lost });
    },
    follow: (nowUs, hasAnswers) => {
      if (hasAnswers) timeouts.expectQueue(lastRate / controller.rate());
      else if (nowUs - startUs > patienceUs) controller.handleNoAnswers(nowUs);
      controller.handleTime(nowUs);
      startup = controller.inStartup();
      lastRate = controller.rate();
      rate = sharedRate();
      if (timeouts.hasSamples()) {
        intervalUs = Math.min(
          MAX_INTERVAL_US,
          Math.max(MIN_INTERVAL_US, timeouts.rttUs() / INTERVALS_PER_ROUND_TRIP),
        );
        lookUs = Math.min(
          intervalUs,
          Math.max(MIN_INTERVAL_US, timeouts.baseRttUs() / INTERVALS_PER_ROUND_TRIP),
        );
      }
      const newest = intervals.count() - 1;
      const isOver = rate !== intervals.allowed(newest) || nowUs - intervals.fromUs(newest) >= intervalUs;
      if (intervals.get(newest, FATES.sent) > 0 && isOver) beginInterval(nowUs);
      nextLookUs = nowUs + lookUs;
    },
    lookAt: () => nextLookUs,
    overrun: controller.handleOverrun,
    finish: () => limits.shared?.leave(),
    metrics: () => {
      const queueUs = timeouts.queueUs();
      const baseRttUs = timeouts.baseRttUs();
      return {
        ...controller.metrics(),
        ...(timeouts.hasSamples() ? { baseRttUs, rttUs: baseRttUs + queueUs } : {}),
        queueUs,
      };
    },
  };
}
