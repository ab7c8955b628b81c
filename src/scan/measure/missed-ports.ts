/**
 * How many open ports a run has probably missed, from the losses of its send intervals.
 *
 * Where a pair may get many SYNs, each open port found stands for doubt / (1 - doubt) missed ones (the Horvitz-Thompson
 * estimator). Where it may get one or two, most was lost where hardly anything was found, and losses hardly show. There the share
 * of first SYNs that is answered helps: in a random order it is constant but for loss, so a lower share tells what was lost in an
 * interval, and how many open ports were probed in it. That is known only at the end.
 *
 * Pure: times in microseconds. Not here: how certain the sum is (loss.ts).
 */

import { FEW_TRIES, MAX_LOSS, missChance, NEIGHBOURS, SMOOTHING_TRIES } from "./loss.ts";
import { FATES, type SendIntervals } from "./send-intervals.ts";

/** What is known of the send intervals at one look. */
export interface Settled {
  /** Intervals below this have their loss. */
  readonly smoothed: number;
  /** Of intervals below this all fates are known. */
  readonly settled: number;
  /** How long after a try the next one follows. */
  readonly timeoutUs: number;
  /** Nothing more will come. */
  readonly isLast: boolean;
  /** Hosts rate-limit their RSTs: first SYNs without an answer tell nothing of the path. */
  readonly resetsLimited: boolean;
}

export interface MissedPorts {
  update(known: Settled): void;
  /** Sum over the open ports found: how many like each were missed. */
  sum(): number;
}

/** First SYNs are counted together with those of this many intervals on either side, and weigh at most this many round trips. */
const FIRST_SYN_NEIGHBOURS = 1;
const FIRST_SYN_TRIES = 40;
/** Where tries are few, the estimate is redone once in this many intervals, and is final for intervals this old. */
const UPDATE_EVERY = 32;
const FINAL_AFTER = 512;

/** @param accepted the doubt that ends the tries of a port before its last, `most` */
export function createMissedPorts(intervals: SendIntervals, accepted: number, most: number): MissedPorts {
  const lookup = new Float64Array(1);
  /** Intervals below this are final, and their sum. */
  let final = 0;
  let sum = 0;
  /** The sum over the others, and when it was last computed. */
  let pending = 0;
  let pendingSince = 0;
  let settled = 0;

  const chanceOf = (first: number, next: number): number => missChance(first, next, accepted, most);

  function update({ smoothed, settled: known, timeoutUs, isLast, resetsLimited }: Settled): void {
    const isFew = most <= FEW_TRIES && !resetsLimited;
    if (isFew && !isLast && intervals.count() - pendingSince < UPDATE_EVERY) return;
    pendingSince = intervals.count();
    settled = known;
    final = Math.max(final, intervals.first());
    let arrived = 0;
    let answered = 0;
    let open = 0;
    for (let i = isFew ? intervals.first() : smoothed; i < smoothed; i++) {
      // Intervals with little evidence, or where most was lost, weigh little.
      const delivered = 1 - intervals.loss(i);
      const evidence = evidenceOf(i);
      const weight = (delivered * evidence) / (evidence + SMOOTHING_TRIES);
      arrived += weight * delivered * intervals.get(i, FATES.firstSyn);
      answered += weight * intervals.get(i, FATES.firstSynAnswered);
      open += weight * intervals.get(i, FATES.open);
    }
    if (isFew && arrived === 0) return;
    const share = answered / arrived;
    pending = 0;
    for (let i = final; i < smoothed; i++) {
      lookup[0] = intervals.fromUs(i) + timeoutUs;
      const next = intervals.at(lookup, 0);
      if (next >= smoothed && !isLast) break;
      const retry = Math.min(next, smoothed - 1);
      if (isFew) {
        const chance = chanceOf(lossNear(i, share), lossNear(retry, share));
        pending += (open / arrived) * intervals.get(i, FATES.firstSyn) * chance;
        if (intervals.count() - i < FINAL_AFTER) continue;
      } else if (intervals.get(i, FATES.open) > 0) {
        const chance = chanceOf(intervals.loss(i), intervals.loss(retry));
        pending += (intervals.get(i, FATES.open) * chance) / (1 - chance);
      }
      sum += pending;
      pending = 0;
      final = i + 1;
    }
  }

  /** SYNs with a known fate in an interval and its neighbours. */
  function evidenceOf(interval: number): number {
    let evidence = 0;
    const end = Math.min(settled, interval + NEIGHBOURS + 1);
    for (let i = Math.max(intervals.first(), interval - NEIGHBOURS); i < end; i++) {
      evidence += intervals.get(i, FATES.pathLost) + intervals.get(i, FATES.pilotLost);
      evidence += intervals.get(i, FATES.pathAnswered) + intervals.get(i, FATES.pilotAnswered);
    }
    return evidence;
  }

  /** The loss of an interval, corrected by the share of its first SYNs that was answered. */
  function lossNear(interval: number, share: number): number {
    let firstSyns = 0;
    let firstSynsAnswered = 0;
    const end = Math.min(settled, interval + FIRST_SYN_NEIGHBOURS + 1);
    for (let i = Math.max(intervals.first(), interval - FIRST_SYN_NEIGHBOURS); i < end; i++) {
      firstSyns += intervals.get(i, FATES.firstSyn);
      firstSynsAnswered += intervals.get(i, FATES.firstSynAnswered);
    }
    const expected = firstSyns * share;
    if (expected <= 0) return intervals.loss(interval);
    const shown = Math.min(MAX_LOSS, Math.max(0, 1 - firstSynsAnswered / expected));
    const known = evidenceOf(interval) + SMOOTHING_TRIES;
    const weight = Math.min(expected, FIRST_SYN_TRIES);
    return Math.min(MAX_LOSS, (known * intervals.loss(interval) + weight * shown) / (known + weight));
  }

  return { update, sum: () => sum + pending };
}
