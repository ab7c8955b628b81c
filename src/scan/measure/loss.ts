/**
 * Arithmetic of loss and doubt: the probability that a port which got no answer does answer, and how many open ports were
 * probably missed.
 *
 * A port that answers is missed only if every try is lost, on the way out or back. With a round-trip loss of p that is p^tries;
 * where the tries met different losses it is their product. Pure numbers. Not here: what the losses are (loss-ledger.ts), when to
 * stop trying (engine/timeouts.ts).
 */

/** Default confidence in "no response": the probability that such a port does not answer. */
export const CONFIDENCE = 0.9999;

/** Prior of the run's loss: one of fifty round trips fails, weighted like fifty observed ones. */
const PRIOR_TRIES = 50;
const PRIOR_LOST = 1;

/** Estimated loss after `lost` of `lost + answered` round trips failed. */
export const lossOf = (lost: number, answered: number): number =>
  (lost + PRIOR_LOST) / (lost + answered + PRIOR_TRIES);

/** The same for a part of the path with little evidence of its own: the whole's loss counts like this many round trips. */
export const PART_TRIES = 20;
export const lossOfPart = (lost: number, answered: number, whole: number): number =>
  (lost + PART_TRIES * whole) / (lost + answered + PART_TRIES);

/** At most the probability that of `asked` SYNs at least `lost` are lost, each with probability `loss` (Chernoff's bound). */
export function chanceToLose(lost: number, asked: number, loss: number): number {
  const share = lost / asked;
  if (share <= loss) return 1;
  const kept = share < 1 ? (1 - share) * Math.log((1 - share) / (1 - loss)) : 0;
  return Math.exp(-asked * (share * Math.log(share / loss) + kept));
}

/** An interval's loss is smoothed over this many neighbours on either side, and with this many round trips at the run's loss. */
export const NEIGHBOURS = 4;
export const SMOOTHING_TRIES = 8;
/** Loss is never estimated above this, so that missing answers keep some weight. */
export const MAX_LOSS = 0.98;

/** Fewest tries before a port counts as not answering: on a clean path one packet may still be lost. */
export const FEWEST_TRIES = 2;

/**
 * Probability that a port which answers is missed: the first SYN meets the loss `first`, later ones `next`, until the doubt is
 * at most `accepted` or `most` SYNs have been sent.
 */
export function missChance(first: number, next: number, accepted: number, most: number): number {
  let chance = first;
  for (let tries = 1; tries < most && (tries < FEWEST_TRIES || chance > accepted); tries++) chance *= next;
  return chance;
}

/** What the number of missed ports is estimated from. */
export interface MissEvidence {
  /** Open ports found. */
  readonly found: number;
  /** Sum over them of doubt / (1 - doubt): how many ports like each were missed. */
  readonly missedPorts: number;
  /** Ports called filtered for want of an answer, and the sum of their doubts. */
  readonly silent: number;
  readonly doubts: number;
  /** That part of the sum that bursts of loss make. */
  readonly burstDoubts: number;
  /** Sum over the silent ports of the chance that their hosts withheld an answer: no host does a SYN-ACK. */
  readonly withheld?: number;
  /** Round trips known to have failed: the doubts rest on these. */
  readonly lost: number;
  /** Mean tries of a port without an answer. */
  readonly tries: number;
  /** Ports that may be hidden by bursts of loss which nothing showed, at most (unseen-bursts.ts). */
  readonly unseen: number;
}

export interface Missed {
  readonly expected: number;
  /** Bounds of a 95 % interval. */
  readonly low: number;
  readonly high: number;
}

const Z_95 = 1.96;
/** Losses come in bursts, which no mean shows: standard deviation of the logarithm of the expectation at best. */
const BURST_DEVIATION = 0.4;
/** Up to this many tries, losses hardly show: this deviation is added until about `MANY_LOST` losses are known. */
export const FEW_TRIES = 2;
const HIDDEN_DEVIATION = 0.7;
const MANY_LOST = 200;

/** As many ports as were found, with the mean doubt of the silent ones, but for bursts, were missed. */
function missedLike({ found, silent, doubts, burstDoubts }: Omit<MissEvidence, "missedPorts">): number {
  const doubt = Math.min(Math.max(0, doubts - burstDoubts) / Math.max(1, silent), 1 - 1e-9);
  return (found * doubt) / (1 - doubt);
}

/**
 * Open ports that were probably called filtered. Each open port found stands for doubt / (1 - doubt) missed ones (the
 * Horvitz-Thompson estimator). Half a port is added, so that finding none does not mean that none was missed. Given the expectation,
 * the true number is Poisson distributed. The expectation is as uncertain as the loss, `tries` times over.
 *
 * @param shownLosses losses that show how much few tries hide
 */
export function missedOpen(evidence: MissEvidence, shownLosses = evidence.lost): Missed {
  const { found, missedPorts, silent, doubts, burstDoubts, withheld = 0, lost, tries, unseen } = evidence;
  if (silent === 0) return { expected: 0, low: 0, high: 0 };
  const doubt = Math.min(doubts / silent, 1 - 1e-9);
  // Open ports met bursts as silent ones did.
  const inBursts = Math.min(burstDoubts / silent, 1 - 1e-9);
  // The silent ones know what each of their tries met: an outage hides nothing from a try after it. Those found know only when they were
  // tried first, but more where tries are few.
  const lostPorts = tries > FEW_TRIES ? Math.min(missedPorts, missedLike(evidence)) : missedPorts;
  const shown = lostPorts + withheld + (0.5 * doubt) / (1 - doubt);
  const expected = Math.min(silent, shown + (found * inBursts) / (1 - inBursts));
  const hidden = tries > FEW_TRIES ? 0 : (HIDDEN_DEVIATION ** 2 * MANY_LOST) / (MANY_LOST + shownLosses);
  const factor = Math.exp(Z_95 * Math.sqrt(tries ** 2 / (lost + 4) + BURST_DEVIATION ** 2 + hidden));
  // The expectation itself rests on `found + 1/2` ports: overdispersion.
  const dispersion = 1 + expected / (found + 0.5);
  return {
    expected,
    // For what share of the time a port is away hardly shows: that part may as well be next to nothing.
    low: lowerQuantile(Math.min(silent, shown) / factor, dispersion),
    high: Math.min(silent, upperQuantile(expected * factor, dispersion) + unseen),
  };
}

/**
 * The same of all ports that answer, where `found` and `unseen` are of these. Closed ports are not counted by interval: the mean doubt
 * of the silent ones stands for all, and no loss that is known makes that surer.
 */
export const missedAnswering = (evidence: Omit<MissEvidence, "missedPorts">): Missed =>
  missedOpen({ ...evidence, missedPorts: missedLike(evidence) }, 0);

/** Above this mean the normal distribution stands in for Poisson's. */
const MANY = 50;
const TAIL = 0.025;

/** The smallest number that a Poisson count of this mean, at most 700, exceeds with a probability of at most `tail`. */
export function poissonQuantile(mean: number, tail: number): number {
  let term = Math.exp(-mean);
  let sum = term;
  let k = 0;
  while (1 - sum > tail) {
    k++;
    term *= mean / k;
    sum += term;
  }
  return k;
}

/** The smallest number that a count of this mean exceeds with a probability of at most 2.5 %. */
function upperQuantile(mean: number, dispersion: number): number {
  return mean * dispersion > MANY
    ? Math.ceil(mean + Z_95 * Math.sqrt(mean * dispersion))
    : poissonQuantile(mean * dispersion, TAIL);
}

/** How many of so many ports are open, at most, where this share of those that answer is. */
export const mostOpen = (ports: number, share: number): number =>
  Math.min(ports, upperQuantile(ports * share, 1));

/** The smallest number that such a count does not exceed with a probability above 2.5 %. */
function lowerQuantile(mean: number, dispersion: number): number {
  if (mean > MANY) return Math.max(0, Math.floor(mean - Z_95 * Math.sqrt(mean * dispersion)));
  let term = Math.exp(-mean);
  let sum = term;
  let k = 0;
  while (sum <= TAIL) {
    k++;
    term *= mean / k;
    sum += term;
  }
  return k;
}
