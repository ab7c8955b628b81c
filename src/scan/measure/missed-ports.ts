/**
 * How many open ports a run has probably missed: what the losses of its stretches (send-intervals.ts) tell of ports like those found.
 *
 * Where a pair may have many SYNs, each open port found stands for the odds that one like it was missed (Horvitz and Thompson's
 * estimator). Where it may have one or two, most was lost where hardly anything was found, and hardly any loss ever shows; but
 * the first SYNs of a random order are answered in the same share all the time, but for what is lost. So that share says what
 * was lost where few had to be answered, and how many open ports were asked there. It is known only in the end.
 *
 * Pure: times in microseconds. How sure the sum is: loss.ts.
 * Tested by test/sim/path-knowledge.test.ts and test/sim/networks.test.ts.
 */

import { BESIDE, BESIDE_TRIES, FEW_TRIES, MOST_LOSS, missChance } from "./loss.ts";
import { FATES, type SendIntervals } from "./send-intervals.ts";

export interface MissedPorts {
  /**
   * Takes the stretches below `smoothed`, whose loss is set; of those below `settled` it is known what became of their SYNs.
   * @param waitUs after which a next try follows
   * @param isLast nothing more will come
   * @param isLimited hosts limit their resets: first SYNs that are not answered do not tell of the path
   */
  reckon(smoothed: number, settled: number, waitUs: number, isLast: boolean, isLimited: boolean): void;
  /** For each open port found, how many of its like were missed: the sum. */
  sum(): number;
}

/** First SYNs are looked at together with those of so many stretches on either side, and weigh as much at most. */
const FRESH_BESIDE = 1;
const FRESH_TRIES = 40;
/** Where tries are few it is reckoned once in so many stretches, and for good after so many. */
const PENDING_STRETCHES = 32;
const LAST_WORD_AFTER = 512;

/** @param accepted the doubt that ends the tries of a port before its last, `most` */
export function createMissedPorts(intervals: SendIntervals, accepted: number, most: number): MissedPorts {
  const again = new Float64Array(1);
  /** Stretches below this have told for good, and what they came to. */
  let reckoned = 0;
  let sum = 0;
  /** What the others come to so far, and when that was reckoned. */
  let pending = 0;
  let pendingSince = 0;
  let settled = 0;

  const chanceOf = (first: number, next: number): number => missChance(first, next, accepted, most);

  function reckon(
    smoothed: number,
    known: number,
    waitUs: number,
    isLast: boolean,
    isLimited: boolean,
  ): void {
    const isFew = most <= FEW_TRIES && !isLimited;
    if (isFew && !isLast && intervals.count() - pendingSince < PENDING_STRETCHES) return;
    pendingSince = intervals.count();
    settled = known;
    reckoned = Math.max(reckoned, intervals.first());
    let arrived = 0;
    let answered = 0;
    let open = 0;
    for (let i = isFew ? intervals.first() : smoothed; i < smoothed; i++) {
      // A stretch of which hardly anything is known, or where most was lost, has little say.
      const there = 1 - intervals.loss(i);
      const evidence = evidenceOf(i);
      const weight = (there * evidence) / (evidence + BESIDE_TRIES);
      arrived += weight * there * intervals.get(i, FATES.fresh);
      answered += weight * intervals.get(i, FATES.freshHeard);
      open += weight * intervals.get(i, FATES.open);
    }
    if (isFew && arrived === 0) return;
    const share = answered / arrived;
    pending = 0;
    for (let i = reckoned; i < smoothed; i++) {
      again[0] = intervals.fromUs(i) + waitUs;
      const next = intervals.at(again, 0);
      if (next >= smoothed && !isLast) break;
      const then = Math.min(next, smoothed - 1);
      if (isFew) {
        const chance = chanceOf(lossBeside(i, share), lossBeside(then, share));
        pending += (open / arrived) * intervals.get(i, FATES.fresh) * chance;
        if (intervals.count() - i < LAST_WORD_AFTER) continue;
      } else if (intervals.get(i, FATES.open) > 0) {
        const chance = chanceOf(intervals.loss(i), intervals.loss(then));
        pending += (intervals.get(i, FATES.open) * chance) / (1 - chance);
      }
      sum += pending;
      pending = 0;
      reckoned = i + 1;
    }
  }

  /** SYNs of a stretch and those beside it of which it is known what became of them. */
  function evidenceOf(interval: number): number {
    let evidence = 0;
    const end = Math.min(settled, interval + BESIDE + 1);
    for (let i = Math.max(intervals.first(), interval - BESIDE); i < end; i++) {
      evidence += intervals.get(i, FATES.lost) + intervals.get(i, FATES.pilotLost);
      evidence += intervals.get(i, FATES.answered) + intervals.get(i, FATES.pilotAnswered);
    }
    return evidence;
  }

  /** The loss of a stretch, with what its first SYNs show as so many more that had to be answered. */
  function lossBeside(interval: number, share: number): number {
    let fresh = 0;
    let freshHeard = 0;
    const end = Math.min(settled, interval + FRESH_BESIDE + 1);
    for (let i = Math.max(intervals.first(), interval - FRESH_BESIDE); i < end; i++) {
      fresh += intervals.get(i, FATES.fresh);
      freshHeard += intervals.get(i, FATES.freshHeard);
    }
    const due = fresh * share;
    if (due <= 0) return intervals.loss(interval);
    const shown = Math.min(MOST_LOSS, Math.max(0, 1 - freshHeard / due));
    const known = evidenceOf(interval) + BESIDE_TRIES;
    const weight = Math.min(due, FRESH_TRIES);
    return Math.min(MOST_LOSS, (known * intervals.loss(interval) + weight * shown) / (known + weight));
  }

  return { reckon, sum: () => sum + pending };
}
