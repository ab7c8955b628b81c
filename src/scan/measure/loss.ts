/**
 * How sure a run is: the chance that a port which stayed silent did answer, and how many open ports were probably missed.
 *
 * A port that answers stays silent only if every one of its tries is lost, the SYN or the answer. With a loss of p per round
 * trip that is p^tries; where the tries met different losses it is their product. Pure numbers; what the losses are is
 * congestion/path-state.ts's knowledge, when to stop the engine's decision.
 */

/** Default of the chance with which a port called silent is silent. */
export const CONFIDENCE = 0.9999;

/** Before anything is known one round trip in fifty is thought to fail; that belief weighs as much as fifty round trips. */
const PRIOR_TRIES = 50;
const PRIOR_LOST = 1;

/** The loss to reckon with after `lost` of `lost + answered` round trips failed. */
export const lossOf = (lost: number, answered: number): number =>
  (lost + PRIOR_LOST) / (lost + answered + PRIOR_TRIES);

/** The loss of a part whose own evidence is thin: so many round trips' worth of the whole's. */
export const PART_TRIES = 20;
export const lossOfPart = (lost: number, answered: number, whole: number): number =>
  (lost + PART_TRIES * whole) / (lost + answered + PART_TRIES);

/** A stretch's loss is reckoned with so many on either side, and as many round trips' worth of the run's. */
export const BESIDE = 4;
export const BESIDE_TRIES = 8;
/** Silence is never made out to be loss altogether. */
export const MOST_LOSS = 0.98;

/** However clean the path, one lost packet is no silence. */
export const FEWEST_TRIES = 2;

/**
 * The chance that a port which answers stays silent: its first SYN meets one loss, those that follow the other, until no more
 * doubt is left than is accepted, or `most` have been sent.
 */
export function missChance(first: number, next: number, accepted: number, most: number): number {
  let chance = first;
  for (let tries = 1; tries < most && (tries < FEWEST_TRIES || chance > accepted); tries++) chance *= next;
  return chance;
}

/** What a run has to reckon its misses from. */
export interface MissEvidence {
  /** Open ports found. */
  readonly found: number;
  /** Sum over them of doubt / (1 - doubt): how many of their like were missed, one for one. */
  readonly missedPorts: number;
  /** Ports called filtered for their silence, and the sum of their doubts. */
  readonly silent: number;
  readonly doubts: number;
  /** Round trips known to have failed: what the doubts themselves rest on. */
  readonly lost: number;
  /** Mean tries of a silent port. */
  readonly tries: number;
}

export interface Missed {
  readonly expected: number;
  /** Bounds of a 95 % interval. */
  readonly low: number;
  readonly high: number;
}

const Z_95 = 1.96;
/** Losses come in bursts, which no mean shows: so unsure is the logarithm of the expectation at best. */
const BURSTS = 0.4;
/** Where tries were few losses hardly show: as much is added, until so many are known. */
export const FEW_TRIES = 2;
const HARDLY_SHOWN = 0.7;
const MANY_LOST = 200;

/**
 * Open ports that were probably called filtered. Each found one stands for odds of its own (Horvitz and Thompson's estimator);
 * half a port more is thought to be there, so that none found does not mean none missed. Given that expectation the true
 * number is Poisson's; the expectation itself is as unsure as the loss, `tries` times over.
 */
export function missedOpen({ found, missedPorts, silent, doubts, lost, tries }: MissEvidence): Missed {
  if (silent === 0) return { expected: 0, low: 0, high: 0 };
  const doubt = Math.min(doubts / silent, 1 - 1e-9);
  const expected = Math.min(silent, missedPorts + (0.5 * doubt) / (1 - doubt));
  const hidden = tries > FEW_TRIES ? 0 : (HARDLY_SHOWN ** 2 * MANY_LOST) / (MANY_LOST + lost);
  const unsure = Math.exp(Z_95 * Math.sqrt(tries ** 2 / (lost + 4) + BURSTS ** 2 + hidden));
  // Of `found + 1/2` likes, odds each: spread out a little more than Poisson.
  const spread = 1 + expected / (found + 0.5);
  return {
    expected,
    low: quantileBelow(expected / unsure, spread),
    high: Math.min(silent, quantileAbove(expected * unsure, spread)),
  };
}

/** Most that a count of mean `mean` exceeds with a chance of 2.5 %. */
function quantileAbove(mean: number, spread: number): number {
  if (mean * spread > 50) return Math.ceil(mean + Z_95 * Math.sqrt(mean * spread));
  let term = Math.exp(-mean * spread);
  let sum = term;
  let k = 0;
  while (sum < 0.975) {
    k++;
    term *= (mean * spread) / k;
    sum += term;
  }
  return k;
}

/** Least below which such a count stays with a chance of 2.5 %. */
function quantileBelow(mean: number, spread: number): number {
  if (mean > 50) return Math.max(0, Math.floor(mean - Z_95 * Math.sqrt(mean * spread)));
  let term = Math.exp(-mean);
  let sum = term;
  let k = 0;
  while (sum <= 0.025) {
    k++;
    term *= mean / k;
    sum += term;
  }
  return k;
}
