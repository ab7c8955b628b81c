/**
 * Startup: the rate is multiplied for as long as the share of SYNs that is answered holds, and so reaches the order of magnitude
 * of the path's capacity in a few round trips.
 *
 * Where most SYNs are answered, each rate is kept until its answers have arrived. Where few are, either few hosts exist or the
 * path is flooded already, by this run or by another. There the next rate is only tried, for as many SYNs as a judgement needs,
 * and until their answers arrive the run continues at the proven rate: on a long path each round trip would otherwise be a flood.
 *
 * Pure: times in microseconds, rates in SYNs per second. Not here: when startup ends, and what follows (controller.ts).
 */
import type { SentSyns } from "./observations.ts";

/** SYNs of which a constant share is answered: the first SYN to each port, and pilots, which have to be answered. */
export type SynKind = "firstSyns" | "pilots";

export interface SlowStart {
  /** Takes what became of `syns`. @returns a faster rate, when it is time for one */
  handleAnswers(kind: SynKind, answered: number, total: number, syns: SentSyns): number | undefined;
  /** Whether they left after a trial: the trial's queue distorts what becomes of them. */
  isAfterTrial(syns: SentSyns): boolean;
  /** The highest rate allowed now: the proven one once a trial has lasted long enough. */
  limit(nowUs: number): number;
  /** When the present rate was taken up. */
  sinceUs(): number;
  /** Startup resumes with the present rate. */
  restart(nowUs: number): void;
}

/** Each rate is this many times the last one that was answered well. With more, SYNs per pair grew in test/sim/compare.ts. */
const FACTOR = 3.5;
/** Answers that a judgement needs, and answers after which the share counts as measured exactly. */
const MIN_ANSWERS = 12;
const MANY_ANSWERS = 64;
/** A share counts as holding above this part of the best share so far. */
const GOOD_SHARE = 0.75;
/** Where a smaller share than this is answered, a rate is only tried. */
const TRIAL_BELOW_SHARE = 0.5;
/** A trial lasts at least this long, in microseconds, and until this many answers are to be expected. */
const TRIAL_US = 25_000;
const TRIAL_ANSWERS = 32;
/** The expected answers are computed from at least this share, so that a trial ends. */
const MIN_SHARE = 0.001;

/** @param rate the first rate */
export function createSlowStart(rate: number, startUs: number): SlowStart {
  /** Fates since the present rate was taken up, and the best share answered so far. */
  const tallies = {
    firstSyns: { answered: 0, total: 0, best: 0 },
    pilots: { answered: 0, total: 0, best: 0 },
  };
  let sinceUs = startUs;
  let provenRate = rate;
  let triedRate = rate;
  /** When the trial of `triedRate` ends. */
  let trialEndUs = Number.POSITIVE_INFINITY;

  function tryRate(next: number, share: number, nowUs: number): number {
    triedRate = next;
    const answersUs = (1e6 * TRIAL_ANSWERS) / (next * Math.max(share, MIN_SHARE));
    trialEndUs = share < TRIAL_BELOW_SHARE ? nowUs + Math.max(TRIAL_US, answersUs) : Number.POSITIVE_INFINITY;
    return next;
  }

  const isAfterTrial = ({ fromUs }: SentSyns): boolean => fromUs >= trialEndUs;

  return {
    handleAnswers: (kind, answered, total, syns) => {
      const { fromUs, nowUs, sentRate } = syns;
      const tally = tallies[kind];
      if (fromUs < sinceUs) return undefined;
      // The trial brought too few answers for a judgement: try the same rate again.
      if (isAfterTrial(syns)) return tryRate(triedRate, tally.best, nowUs);
      tally.answered += answered;
      tally.total += total;
      if (tally.answered < MIN_ANSWERS) return undefined;
      const share = tally.answered / Math.max(1, tally.total);
      const error = share / Math.sqrt(tally.answered);
      const isExact = tally.answered >= MANY_ANSWERS;
      if (share + error < GOOD_SHARE * tally.best && !isExact) return undefined;
      tally.best = isExact ? share : Math.max(tally.best, share - error / 2);
      provenRate = Math.max(provenRate, sentRate);
      sinceUs = nowUs;
      for (const each of [tallies.firstSyns, tallies.pilots]) {
        each.answered = 0;
        each.total = 0;
      }
      return tryRate(Math.max(triedRate, FACTOR * sentRate), share, nowUs);
    },
    isAfterTrial,
    limit: (nowUs) => (nowUs >= trialEndUs ? provenRate : Number.POSITIVE_INFINITY),
    sinceUs: () => sinceUs,
    restart: (nowUs) => {
      sinceUs = nowUs;
    },
  };
}
