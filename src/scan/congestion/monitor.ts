/**
 * Follows the rate: divides what leaves into stretches of time, a few for each round trip, looks at what has become known of
 * them, and tells it to the rule that finds the rate (controller.ts). A queue shows first, in round trips; then how many have
 * answered; then what became of those who must answer.
 *
 * It owns the stretches (measure/send-intervals.ts), in which path-state.ts counts what happens, and when the next look is due. Pure: times in
 * microseconds. Not here: how sure silence is, what hosts and prefixes lose (path-state.ts).
 */

import type { HostCache } from "../measure/host-cache.ts";
import { type ProbeTimeouts, SHORTEST_US } from "../measure/probe-timeout.ts";
import { createSendIntervals, FATES, type SendIntervals } from "../measure/send-intervals.ts";
import { createBaseRtt } from "./base-rtt.ts";
import { createRateController, type RateController, type RateControllerOptions } from "./controller.ts";
import { createRttSlope } from "./rtt-slope.ts";
import type { SharedRate } from "./shared-rate.ts";

/** SYNs per second: bounds of what may be found, and where to start; bounds that meet leave nothing to find. */
export interface RateLimits {
  readonly minimum: number;
  readonly maximum: number;
  /** Workers that go this way together, this one included: until the path has told, each takes its part. */
  readonly workers?: number;
  /** What they all go by. */
  readonly shared?: SharedRate;
}

export interface RateMonitorOptions {
  readonly rate: RateLimits;
  readonly startUs: number;
  /** While nothing answers, so long is waited for a sign. */
  readonly patienceUs: number;
  readonly hosts: HostCache;
  readonly timeouts: ProbeTimeouts;
  readonly congestion?: (options: RateControllerOptions) => RateController;
}

export interface RateMonitor {
  readonly intervals: SendIntervals;
  /** SYNs per second that may leave. */
  rate(): number;
  /** Whether the rate still grows so fast that first SYNs, which tell most, are worth more than others. */
  isStarting(): boolean;
  /** One is to leave at `nowUs`, and may be the first for long. */
  sent(nowUs: number): void;
  /** One left at `times[i]`. */
  departed(times: Float64Array, i: number): void;
  /**
   * Takes the round trip of the SYN of `cohort` that left at `times[i]`.
   * @param rtt whole microseconds
   */
  sample(host: number, interval: number, times: Float64Array, i: number, rtt: number): void;
  /** What is lost shows last: of half of the fates too many would be answers. */
  areFatesKnown(interval: number): boolean;
  /** Tells what has become known, once something has answered. */
  hear(nowUs: number): void;
  /** SYNs of a stretch that must have been answered, or not: where there are no pilots to tell. */
  tell(nowUs: number, interval: number, answered: number, lost: number): void;
  /** Takes over the rate that follows; a stretch ends when it is time. */
  follow(nowUs: number, isHeard: boolean): void;
  /** When it is time to look. */
  lookAt(): number;
  overrun(nowUs: number): void;
  /** Nothing more will leave. */
  finish(): void;
}

/** Without a bound a run begins with this rate, and goes on with the other while nothing answers. */
const INITIAL_RATE = 4000;
export const BLIND_RATE = 10_000;
/** A round trip is looked at in so many stretches, each as long as this at most. */
const STRETCHES = 8;
const LONGEST_US = 100_000;
/** Before round trips are known. */
const FIRST_US = 20_000;
/** What leaves at once at the very start (pacer.ts) makes a queue that is no rate's. */
const BURST_US = 5000;
/** Stretches with too few answers are looked at together, so many at most. */
const MOST_TOGETHER = 64;
/** What a look must rest on. */
const FEWEST_ANSWERS = 3;
const FEWEST_OUTCOMES = 8;
/** Few hosts are farther than the others by so many standard deviations. */
const FARTHEST = 2;

export function createRateMonitor(options: RateMonitorOptions): RateMonitor {
  const { rate: limits, startUs, patienceUs, hosts, timeouts } = options;
  const within = (rate: number): number => Math.min(limits.maximum, Math.max(limits.minimum, rate));
  const congestion = (options.congestion ?? createRateController)({
    ...limits,
    initial: within(INITIAL_RATE / (limits.workers ?? 1)),
    blind: within(BLIND_RATE / (limits.workers ?? 1)),
    startUs,
  });
  const sharedRate = (): number => limits.shared?.share(congestion.rate()) ?? congestion.rate();
  let rate = sharedRate();
  /** What had been found at the last look. */
  let found = congestion.rate();
  const intervals = createSendIntervals(startUs, rate);
  const baseRtt = createBaseRtt(hosts, intervals, timeouts);
  const rttSlope = createRttSlope(startUs + BURST_US);
  /** Stretches below these have been looked at: for their answers, for their outcomes. */
  let answersSeen = 0;
  let outcomesSeen = 0;
  /** The stretches at the highest rate so far. */
  const highest = { from: 0, to: Number.POSITIVE_INFINITY };
  let stretchUs = FIRST_US;
  /** Looks come as often as is right without a queue: else who was met in one would see the next too late. */
  let lookUs = FIRST_US;
  let nextLook = startUs;
  let starting = true;
  /** When the last SYN left: a number in an array, which is no object of its own each time it changes. */
  const lastUs = Float64Array.of(startUs);
  const middle = new Float64Array(1);

  const stretch = (nowUs: number, from: number, to: number) => {
    const fromUs = intervals.fromUs(from);
    const toUs = intervals.fromUs(to);
    let allowed = 0;
    for (let i = from; i < to; i++)
      allowed += intervals.allowed(i) * (intervals.fromUs(i + 1) - intervals.fromUs(i));
    allowed /= Math.max(1, toUs - fromUs);
    return {
      nowUs,
      fromUs,
      toUs,
      // After a pause a burst may leave: it is no rate.
      sent: Math.min(allowed, sentIn(from, to)),
      allowed,
      roundUs: timeouts.clearRoundUs(),
    };
  };

  /** SYNs per second that left, bursts and all. */
  function sentIn(from: number, to: number): number {
    let sent = 0;
    for (let i = from; i < to; i++) sent += intervals.get(i, FATES.sent);
    return (sent * 1e6) / Math.max(1, intervals.fromUs(to) - intervals.fromUs(from));
  }

  /** Of a stretch while the rate is multiplied: no more than has left on average since it last was. Who is held up sends bursts. */
  function steady(nowUs: number, from: number, to: number) {
    const these = stretch(nowUs, from, to);
    const end = Math.min(highest.to, intervals.count() - 1);
    if (starting && from >= highest.from && highest.from < end) {
      these.sent = Math.min(these.sent, stretch(nowUs, highest.from, end).sent);
    }
    return these;
  }

  /** A queue shows in the answers that come, long before it is known what became of all that left with them. */
  function lookAtDelays(nowUs: number): void {
    const late = baseRtt.take();
    if (late === undefined) return;
    middle[0] = late.atUs;
    const interval = intervals.at(middle, 0);
    const from = Math.max(intervals.first(), interval - 1);
    const to = Math.min(intervals.count() - 1, interval + 2);
    if (interval >= 0 && to > from) congestion.handleDelays(Object.assign(stretch(nowUs, from, to), late));
  }

  /** While starting a queue shows in round trips that grow, before any host is heard of twice. */
  function lookAtTrend(nowUs: number): void {
    const growth = rttSlope.growth();
    if (growth === undefined) return;
    middle[0] = growth.fromUs;
    const from = intervals.at(middle, 0);
    middle[0] = growth.toUs;
    const to = Math.min(intervals.at(middle, 0) + 1, intervals.count() - 1);
    if (from < 0 || to <= from) return;
    const these = stretch(nowUs, from, to);
    // A burst makes a queue that grows as fast. But the first one, of which the trend knows nothing, is in the first stretch.
    const sent = from === 0 ? these.sent : sentIn(from, to);
    congestion.handleGrowth({ ...these, sent, ...growth });
  }

  /** A start that is over has filled a queue: what was learnt of round trips so far had that in it. */
  function learnQueue(): void {
    const growth = rttSlope.growth();
    if (growth === undefined) return;
    timeouts.relearnClear(growth.clearUs);
    timeouts.setQueue(growth.queueUs);
    baseRtt.expectQueue(growth.clearUs + FARTHEST * growth.scatterUs);
  }

  function lookAtAnswers(nowUs: number): void {
    answersSeen = Math.max(answersSeen, intervals.first());
    const last = intervals.count() - 1;
    const afterUs = timeouts.answersAfterUs();
    let to = answersSeen;
    while (to < last && intervals.fromUs(to + 1) + afterUs <= nowUs) {
      to++;
      let answers = 0;
      let fresh = 0;
      let freshAnswers = 0;
      let delays = 0;
      let sum = 0;
      for (let i = answersSeen; i < to; i++) {
        answers += intervals.get(i, FATES.heard) + intervals.get(i, FATES.pilotAnswered);
        fresh += intervals.get(i, FATES.fresh);
        freshAnswers += intervals.get(i, FATES.freshHeard);
        delays += intervals.delays(i);
        sum += intervals.delaySum(i);
      }
      if (answers < FEWEST_ANSWERS && to - answersSeen < MOST_TOGETHER) continue;
      const delayUs = delays === 0 ? 0 : sum / delays;
      // Assigned, not spread: each copied number would be one object more.
      congestion.handleAnswers(
        Object.assign(steady(nowUs, answersSeen, to), {
          answers,
          fresh,
          freshAnswers,
          delays,
          delayUs,
        }),
      );
      answersSeen = to;
    }
  }

  function lookAtOutcomes(nowUs: number): void {
    outcomesSeen = Math.max(outcomesSeen, intervals.first());
    const last = intervals.count() - 1;
    let to = outcomesSeen;
    while (to < last && intervals.fromUs(to + 1) + SHORTEST_US <= nowUs && areFatesKnown(to)) {
      to++;
      let answered = 0;
      let lost = 0;
      for (let i = outcomesSeen; i < to; i++) {
        answered += intervals.get(i, FATES.pilotAnswered);
        lost += intervals.get(i, FATES.pilotLost);
      }
      if (answered + lost < FEWEST_OUTCOMES && to - outcomesSeen < MOST_TOGETHER) continue;
      congestion.handleOutcome(Object.assign(steady(nowUs, outcomesSeen, to), { answered, lost }));
      outcomesSeen = to;
    }
  }

  const areFatesKnown = (interval: number): boolean =>
    intervals.get(interval, FATES.pilotAnswered) + intervals.get(interval, FATES.pilotLost) >=
    intervals.get(interval, FATES.pilotSent);

  /** What has left belongs to the stretches before. */
  function beginStretch(nowUs: number): void {
    const fromUs = Math.max(nowUs, lastUs[0]);
    const before = intervals.allowed(intervals.count() - 1);
    intervals.begin(fromUs, rate);
    if (rate > before) {
      rttSlope.startAnew(fromUs);
      highest.from = intervals.count() - 1;
      highest.to = Number.POSITIVE_INFINITY;
    }
    if (rate < before) {
      rttSlope.end(fromUs);
      highest.to = Math.min(highest.to, intervals.count() - 1);
    }
  }

  return {
    intervals,
    rate: () => rate,
    isStarting: () => starting,
    sent: (nowUs) => {
      const newest = intervals.count() - 1;
      if (intervals.get(newest, FATES.sent) === 0 && intervals.isOlder(newest, nowUs, stretchUs)) {
        beginStretch(nowUs);
      }
    },
    departed: (times, i) => {
      if (times[i] > lastUs[0]) lastUs[0] = times[i];
    },
    sample: (host, interval, times, i, rtt) => {
      if (starting) rttSlope.add(times, i, rtt);
      baseRtt.sample(host, interval, times, i, rtt);
    },
    areFatesKnown,
    hear: (nowUs) => {
      if (starting) lookAtTrend(nowUs);
      lookAtDelays(nowUs);
      lookAtAnswers(nowUs);
      lookAtOutcomes(nowUs);
      if (starting && !congestion.isStarting()) learnQueue();
    },
    tell: (nowUs, interval, answered, lost) => {
      congestion.handleOutcome({ ...stretch(nowUs, interval, interval + 1), answered, lost });
    },
    follow: (nowUs, isHeard) => {
      if (isHeard) timeouts.expectQueue(found / congestion.rate());
      else if (nowUs - startUs > patienceUs) congestion.handleSilence();
      congestion.handleTime(nowUs);
      starting = congestion.isStarting();
      found = congestion.rate();
      rate = sharedRate();
      if (timeouts.isHeard()) {
        stretchUs = Math.min(LONGEST_US, Math.max(SHORTEST_US, timeouts.roundUs() / STRETCHES));
        lookUs = Math.min(stretchUs, Math.max(SHORTEST_US, timeouts.clearRoundUs() / STRETCHES));
      }
      const newest = intervals.count() - 1;
      const isNew = rate !== intervals.allowed(newest) || nowUs - intervals.fromUs(newest) >= stretchUs;
      if (intervals.get(newest, FATES.sent) > 0 && isNew) beginStretch(nowUs);
      nextLook = nowUs + lookUs;
    },
    lookAt: () => nextLook,
    overrun: congestion.handleOverrun,
    finish: () => limits.shared?.leave(),
  };
}
