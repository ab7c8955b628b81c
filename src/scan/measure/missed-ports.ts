/**
 * How many open ports a run has probably missed: what the losses of its stretches (send-intervals.ts) tell of ports like those found.
 *
 * Where a pair may have many SYNs, each open port found stands for the odds that one like it was missed (Horvitz and Thompson's
 * estimator). Where it may have one or two, most was lost where hardly anything was found, and hardly any loss ever shows; but
 * the first SYNs of a random order are answered in the same share all the time, but for what is lost. So that share says what
 * was lost where few had to be answered, and how many open ports were asked there. It is known only in the end.
 *
 * Pure: times in microseconds. How sure the sum is: loss.ts.
 */

import { BESIDE, BESIDE_TRIES, FEW_TRIES, MOST_LOSS, missChance } from "./loss.ts";
import { type Cohorts, FATES } from "./send-intervals.ts";

export interface Odds {
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
export function createOdds(cohorts: Cohorts, accepted: number, most: number): Odds {
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
    if (isFew && !isLast && cohorts.count() - pendingSince < PENDING_STRETCHES) return;
    pendingSince = cohorts.count();
    settled = known;
    reckoned = Math.max(reckoned, cohorts.first());
    let arrived = 0;
    let answered = 0;
    let open = 0;
    for (let i = isFew ? cohorts.first() : smoothed; i < smoothed; i++) {
      // A stretch of which hardly anything is known, or where most was lost, has little say.
      const there = 1 - cohorts.loss(i);
      const evidence = evidenceOf(i);
      const weight = (there * evidence) / (evidence + BESIDE_TRIES);
      arrived += weight * there * cohorts.get(i, FATES.fresh);
      answered += weight * cohorts.get(i, FATES.freshHeard);
      open += weight * cohorts.get(i, FATES.open);
    }
    if (isFew && arrived === 0) return;
    const share = answered / arrived;
    pending = 0;
    for (let i = reckoned; i < smoothed; i++) {
      again[0] = cohorts.fromUs(i) + waitUs;
      const next = cohorts.at(again, 0);
      if (next >= smoothed && !isLast) break;
      const then = Math.min(next, smoothed - 1);
      if (isFew) {
        const chance = chanceOf(lossBeside(i, share), lossBeside(then, share));
        pending += (open / arrived) * cohorts.get(i, FATES.fresh) * chance;
        if (cohorts.count() - i < LAST_WORD_AFTER) continue;
      } else if (cohorts.get(i, FATES.open) > 0) {
        const chance = chanceOf(cohorts.loss(i), cohorts.loss(then));
        pending += (cohorts.get(i, FATES.open) * chance) / (1 - chance);
      }
      sum += pending;
      pending = 0;
      reckoned = i + 1;
    }
  }

  /** SYNs of a stretch and those beside it of which it is known what became of them. */
  function evidenceOf(cohort: number): number {
    let evidence = 0;
    const end = Math.min(settled, cohort + BESIDE + 1);
    for (let i = Math.max(cohorts.first(), cohort - BESIDE); i < end; i++) {
      evidence += cohorts.get(i, FATES.lost) + cohorts.get(i, FATES.pilotLost);
      evidence += cohorts.get(i, FATES.answered) + cohorts.get(i, FATES.pilotAnswered);
    }
    return evidence;
  }

  /** The loss of a stretch, with what its first SYNs show as so many more that had to be answered. */
  function lossBeside(cohort: number, share: number): number {
    let fresh = 0;
    let freshHeard = 0;
    const end = Math.min(settled, cohort + FRESH_BESIDE + 1);
    for (let i = Math.max(cohorts.first(), cohort - FRESH_BESIDE); i < end; i++) {
      fresh += cohorts.get(i, FATES.fresh);
      freshHeard += cohorts.get(i, FATES.freshHeard);
    }
    const due = fresh * share;
    if (due <= 0) return cohorts.loss(cohort);
    const shown = Math.min(MOST_LOSS, Math.max(0, 1 - freshHeard / due));
    const known = evidenceOf(cohort) + BESIDE_TRIES;
    const weight = Math.min(due, FRESH_TRIES);
    return Math.min(MOST_LOSS, (known * cohorts.loss(cohort) + weight * shown) / (known + weight));
  }

  return { reckon, sum: () => sum + pending };
}
