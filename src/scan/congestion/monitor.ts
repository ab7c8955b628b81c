/**
 * Follows the rate: divides what leaves into stretches of time, a few for each round trip, looks at what has become known of
 * them, and tells it to the rule that finds the rate (controller.ts). A queue shows first, in round trips; then how many have
 * answered; then what became of those who must answer.
 *
 * It owns the stretches (measure/send-intervals.ts), in which path-state.ts counts what happens, and when the next look is due. Pure: times in
 * microseconds. Not here: how sure silence is, what hosts and prefixes lose (path-state.ts).
 */

import type { Hosts } from "../measure/host-cache.ts";
import { SHORTEST_US, type Waits } from "../measure/probe-timeout.ts";
import { type Cohorts, createCohorts, FATES } from "../measure/send-intervals.ts";
import { createLateness } from "./base-rtt.ts";
import { type Congestion, type CongestionOptions, createCongestion } from "./controller.ts";
import { createTrend } from "./rtt-slope.ts";
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

export interface RateWatchOptions {
  readonly rate: RateLimits;
  readonly startUs: number;
  /** While nothing answers, so long is waited for a sign. */
  readonly patienceUs: number;
  readonly hosts: Hosts;
  readonly waits: Waits;
  readonly congestion?: (options: CongestionOptions) => Congestion;
}

export interface RateWatch {
  readonly cohorts: Cohorts;
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
  sample(host: number, cohort: number, times: Float64Array, i: number, rtt: number): void;
  /** What is lost shows last: of half of the fates too many would be answers. */
  areFatesKnown(cohort: number): boolean;
  /** Tells what has become known, once something has answered. */
  hear(nowUs: number): void;
  /** SYNs of a stretch that must have been answered, or not: where there are no pilots to tell. */
  tell(nowUs: number, cohort: number, answered: number, lost: number): void;
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

export function createRateWatch(options: RateWatchOptions): RateWatch {
  const { rate: limits, startUs, patienceUs, hosts, waits } = options;
  const within = (rate: number): number => Math.min(limits.maximum, Math.max(limits.minimum, rate));
  const congestion = (options.congestion ?? createCongestion)({
    ...limits,
    initial: within(INITIAL_RATE / (limits.workers ?? 1)),
    blind: within(BLIND_RATE / (limits.workers ?? 1)),
    startUs,
  });
  const sharedRate = (): number => limits.shared?.share(congestion.rate()) ?? congestion.rate();
  let rate = sharedRate();
  /** What had been found at the last look. */
  let found = congestion.rate();
  const cohorts = createCohorts(startUs, rate);
  const lateness = createLateness(hosts, cohorts, waits);
  const trend = createTrend(startUs + BURST_US);
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
    const fromUs = cohorts.fromUs(from);
    const toUs = cohorts.fromUs(to);
    let allowed = 0;
    for (let i = from; i < to; i++)
      allowed += cohorts.allowed(i) * (cohorts.fromUs(i + 1) - cohorts.fromUs(i));
    allowed /= Math.max(1, toUs - fromUs);
    return {
      nowUs,
      fromUs,
      toUs,
      // After a pause a burst may leave: it is no rate.
      sent: Math.min(allowed, sentIn(from, to)),
      allowed,
      roundUs: waits.clearRoundUs(),
    };
  };

  /** SYNs per second that left, bursts and all. */
  function sentIn(from: number, to: number): number {
    let sent = 0;
    for (let i = from; i < to; i++) sent += cohorts.get(i, FATES.sent);
    return (sent * 1e6) / Math.max(1, cohorts.fromUs(to) - cohorts.fromUs(from));
  }

  /** Of a stretch while the rate is multiplied: no more than has left on average since it last was. Who is held up sends bursts. */
  function steady(nowUs: number, from: number, to: number) {
    const these = stretch(nowUs, from, to);
    const end = Math.min(highest.to, cohorts.count() - 1);
    if (starting && from >= highest.from && highest.from < end) {
      these.sent = Math.min(these.sent, stretch(nowUs, highest.from, end).sent);
    }
    return these;
  }

  /** A queue shows in the answers that come, long before it is known what became of all that left with them. */
  function lookAtDelays(nowUs: number): void {
    const late = lateness.take();
    if (late === undefined) return;
    middle[0] = late.atUs;
    const cohort = cohorts.at(middle, 0);
    const from = Math.max(cohorts.first(), cohort - 1);
    const to = Math.min(cohorts.count() - 1, cohort + 2);
    if (cohort >= 0 && to > from) congestion.handleDelays(Object.assign(stretch(nowUs, from, to), late));
  }

  /** While starting a queue shows in round trips that grow, before any host is heard of twice. */
  function lookAtTrend(nowUs: number): void {
    const growth = trend.growth();
    if (growth === undefined) return;
    middle[0] = growth.fromUs;
    const from = cohorts.at(middle, 0);
    middle[0] = growth.toUs;
    const to = Math.min(cohorts.at(middle, 0) + 1, cohorts.count() - 1);
    if (from < 0 || to <= from) return;
    const these = stretch(nowUs, from, to);
    // A burst makes a queue that grows as fast. But the first one, of which the trend knows nothing, is in the first stretch.
    const sent = from === 0 ? these.sent : sentIn(from, to);
    congestion.handleGrowth({ ...these, sent, ...growth });
  }

  /** A start that is over has filled a queue: what was learnt of round trips so far had that in it. */
  function learnQueue(): void {
    const growth = trend.growth();
    if (growth === undefined) return;
    waits.relearnClear(growth.clearUs);
    waits.setQueue(growth.queueUs);
    lateness.expectQueue(growth.clearUs + FARTHEST * growth.scatterUs);
  }

  function lookAtAnswers(nowUs: number): void {
    answersSeen = Math.max(answersSeen, cohorts.first());
    const last = cohorts.count() - 1;
    const afterUs = waits.answersAfterUs();
    let to = answersSeen;
    while (to < last && cohorts.fromUs(to + 1) + afterUs <= nowUs) {
      to++;
      let answers = 0;
      let fresh = 0;
      let freshAnswers = 0;
      let delays = 0;
      let sum = 0;
      for (let i = answersSeen; i < to; i++) {
        answers += cohorts.get(i, FATES.heard) + cohorts.get(i, FATES.pilotAnswered);
        fresh += cohorts.get(i, FATES.fresh);
        freshAnswers += cohorts.get(i, FATES.freshHeard);
        delays += cohorts.delays(i);
        sum += cohorts.delaySum(i);
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
    outcomesSeen = Math.max(outcomesSeen, cohorts.first());
    const last = cohorts.count() - 1;
    let to = outcomesSeen;
    while (to < last && cohorts.fromUs(to + 1) + SHORTEST_US <= nowUs && areFatesKnown(to)) {
      to++;
      let answered = 0;
      let lost = 0;
      for (let i = outcomesSeen; i < to; i++) {
        answered += cohorts.get(i, FATES.pilotAnswered);
        lost += cohorts.get(i, FATES.pilotLost);
      }
      if (answered + lost < FEWEST_OUTCOMES && to - outcomesSeen < MOST_TOGETHER) continue;
      congestion.handleOutcome(Object.assign(steady(nowUs, outcomesSeen, to), { answered, lost }));
      outcomesSeen = to;
    }
  }

  const areFatesKnown = (cohort: number): boolean =>
    cohorts.get(cohort, FATES.pilotAnswered) + cohorts.get(cohort, FATES.pilotLost) >=
    cohorts.get(cohort, FATES.pilotSent);

  /** What has left belongs to the stretches before. */
  function beginStretch(nowUs: number): void {
    const fromUs = Math.max(nowUs, lastUs[0]);
    const before = cohorts.allowed(cohorts.count() - 1);
    cohorts.begin(fromUs, rate);
    if (rate > before) {
      trend.startAnew(fromUs);
      highest.from = cohorts.count() - 1;
      highest.to = Number.POSITIVE_INFINITY;
    }
    if (rate < before) {
      trend.end(fromUs);
      highest.to = Math.min(highest.to, cohorts.count() - 1);
    }
  }

  return {
    cohorts,
    rate: () => rate,
    isStarting: () => starting,
    sent: (nowUs) => {
      const newest = cohorts.count() - 1;
      if (cohorts.get(newest, FATES.sent) === 0 && cohorts.isOlder(newest, nowUs, stretchUs)) {
        beginStretch(nowUs);
      }
    },
    departed: (times, i) => {
      if (times[i] > lastUs[0]) lastUs[0] = times[i];
    },
    sample: (host, cohort, times, i, rtt) => {
      if (starting) trend.add(times, i, rtt);
      lateness.sample(host, cohort, times, i, rtt);
    },
    areFatesKnown,
    hear: (nowUs) => {
      if (starting) lookAtTrend(nowUs);
      lookAtDelays(nowUs);
      lookAtAnswers(nowUs);
      lookAtOutcomes(nowUs);
      if (starting && !congestion.isStarting()) learnQueue();
    },
    tell: (nowUs, cohort, answered, lost) => {
      congestion.handleOutcome({ ...stretch(nowUs, cohort, cohort + 1), answered, lost });
    },
    follow: (nowUs, isHeard) => {
      if (isHeard) waits.expectQueue(found / congestion.rate());
      else if (nowUs - startUs > patienceUs) congestion.handleSilence();
      congestion.handleTime(nowUs);
      starting = congestion.isStarting();
      found = congestion.rate();
      rate = sharedRate();
      if (waits.isHeard()) {
        stretchUs = Math.min(LONGEST_US, Math.max(SHORTEST_US, waits.roundUs() / STRETCHES));
        lookUs = Math.min(stretchUs, Math.max(SHORTEST_US, waits.clearRoundUs() / STRETCHES));
      }
      const newest = cohorts.count() - 1;
      const isNew = rate !== cohorts.allowed(newest) || nowUs - cohorts.fromUs(newest) >= stretchUs;
      if (cohorts.get(newest, FATES.sent) > 0 && isNew) beginStretch(nowUs);
      nextLook = nowUs + lookUs;
    },
    lookAt: () => nextLook,
    overrun: congestion.handleOverrun,
    finish: () => limits.shared?.leave(),
  };
}
