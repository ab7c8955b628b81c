/**
 * How a run begins: it multiplies its rate as long as that does not lower the share of SYNs that is answered, and so comes to the
 * order of magnitude of what the path holds in a few round trips.
 *
 * Where most are answered, each rate is kept until its answers have told of it. Where few are, it may be that few hosts are there,
 * or that the path is flooded already, by this run or by those that were there before. There the next rate is only tried, for so
 * many SYNs as will tell; until their answers come the run goes on at the rate it had. Else each round trip of a long way would
 * be a flood.
 *
 * Pure: times in microseconds, rates in SYNs per second. Not here: when the start is over, and what follows (controller.ts).
 */

/** A stretch of time, of which something is known now; SYNs per second that left in it. */
export interface Sent {
  readonly nowUs: number;
  readonly fromUs: number;
  readonly sent: number;
}

/** Those of which some share is answered: first SYNs, and pilots, who must answer. */
export type Kind = "fresh" | "controlProbes";

export interface Start {
  /** Takes what became of SYNs of a stretch. @returns a faster rate, when it is time for one */
  handleAnswers(kind: Kind, answered: number, total: number, stretch: Sent): number | undefined;
  /** Whether it left after a trial: what that has left behind spoils what could be seen. */
  isAfterTrial(stretch: Sent): boolean;
  /** SYNs per second at most, now: what is proven, once a trial has lasted long enough. */
  most(nowUs: number): number;
  /** When the present rate was taken up. */
  sinceUs(): number;
  /** Begins again with the present rate. */
  startAnew(nowUs: number): void;
}

/** So many times what was answered well. */
const FASTER = 3.5;
/** The answers that this must rest on, and the share of the best there was that will do. */
const FEWEST_ANSWERS = 12;
const MANY_ANSWERS = 64;
const GOOD_SHARE = 0.75;
/** Where a smaller share than this is answered a rate is only tried: for so long, and until so many answers are to be expected. */
const FEW_ANSWER = 0.5;
const TRIAL_US = 25_000;
const TRIAL_ANSWERS = 32;
const LEAST_SHARE = 0.001;

/** @param rate to begin with */
export function createSlowStart(rate: number, startUs: number): Start {
  /** What became of SYNs since the rate was taken up, and the best share that was ever answered. */
  const since = {
    fresh: { answered: 0, total: 0, best: 0 },
    controlProbes: { answered: 0, total: 0, best: 0 },
  };
  let sinceUs = startUs;
  let proven = rate;
  /** The rate that is tried, and until when. */
  let tried = rate;
  let trialUs = Number.POSITIVE_INFINITY;

  function tryOut(next: number, share: number, nowUs: number): number {
    tried = next;
    const answersUs = (1e6 * TRIAL_ANSWERS) / (next * Math.max(share, LEAST_SHARE));
    trialUs = share < FEW_ANSWER ? nowUs + Math.max(TRIAL_US, answersUs) : Number.POSITIVE_INFINITY;
    return next;
  }

  const isAfterTrial = ({ fromUs }: Sent): boolean => fromUs >= trialUs;

  return {
    handleAnswers: (kind, answered, total, stretch) => {
      const { fromUs, nowUs, sent } = stretch;
      const these = since[kind];
      if (fromUs < sinceUs) return undefined;
      // Too few have answered of what was tried: more of it.
      if (isAfterTrial(stretch)) return tryOut(tried, these.best, nowUs);
      these.answered += answered;
      these.total += total;
      if (these.answered < FEWEST_ANSWERS) return undefined;
      const share = these.answered / Math.max(1, these.total);
      // What few answers say is not exact; what many say is how it is.
      const unsure = share / Math.sqrt(these.answered);
      const many = these.answered >= MANY_ANSWERS;
      if (share + unsure < GOOD_SHARE * these.best && !many) return undefined;
      these.best = many ? share : Math.max(these.best, share - unsure / 2);
      proven = Math.max(proven, sent);
      sinceUs = nowUs;
      for (const each of [since.fresh, since.controlProbes]) {
        each.answered = 0;
        each.total = 0;
      }
      return tryOut(Math.max(tried, FASTER * sent), share, nowUs);
    },
    isAfterTrial,
    most: (nowUs) => (nowUs >= trialUs ? proven : Number.POSITIVE_INFINITY),
    sinceUs: () => sinceUs,
    startAnew: (nowUs) => {
      sinceUs = nowUs;
    },
  };
}
