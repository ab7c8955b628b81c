/**
 * Losses that come in bursts: how likely a SYN is lost because the one before it was, and for how long.
 *
 * The model is Gilbert's two-state chain in continuous time: a pair is in a burst for a share of the time, each time for an
 * exponential while. In a burst everything is lost, out of it what the path loses. Whether host, prefix or path are away makes no
 * difference to one pair. Share and mean time are not fitted but weighted, over a grid, by three kinds of evidence (Bayes):
 *
 *     pilots      a port that answered a while ago is lost now: a burst has begun, or chance; and those that answer
 *     follow-ups  the same port, asked again until it answers: how long it lasts (hosts/follow-ups.ts)
 *     pairs       those answered after lost tries: how long it took, given that the first was lost. Pairs that never are answered
 *                 show nothing, so it is also given that the answer came within the time for which pairs are tried
 *
 * It fails where bursts are not exponential: a few of minutes among many of milliseconds count as many of seconds. A host that is
 * away for the whole run shows nowhere. Without evidence the prior holds.
 *
 * Pure: times in microseconds. Not here: the path's loss (loss-ledger.ts), when tries leave (engine/timeouts.ts).
 */

/** When the tries of one pair left: at `times[i]`, `times[i + step]` ..., `count` of them; and what the path lost then, from `losses[0]` on. */
export interface Tries {
  times: Float64Array;
  i: number;
  step: number;
  count: number;
  readonly losses: Float64Array;
}

export interface LossBursts {
  /** A pair was answered at its last try; all before it were lost. */
  recovered(tries: Tries): void;
  /** A pilot was answered that left at `times[i]`, when its port was last known to answer at `known[i]`. (Times as arguments would be allocated.) */
  pilotAnswered(times: Float64Array, known: Float64Array, i: number): void;
  /** One was lost that left `us` after its port was known to answer. @param loss the path's */
  pilotLost(us: number, loss: number): void;
  /** The last try of a follow-up was answered or lost; all before it were lost. @param knownUs when its port was last known to answer */
  followedUp(tries: Tries, knownUs: number, isAnswered: boolean): void;
  /** A pair's tries, from `times[first]` to `times[last]`, all stayed without an answer. */
  gaveUp(times: Float64Array, first: number, last: number): void;
  /** Takes what came since into account: to be called now and then. */
  update(): void;
  /** Whether losses are known to cluster: tries then have to be spread in time. */
  isClustered(): boolean;
  /** Whether losses are rather likelier to cluster than not, by too little to go by. @param lost how many are known */
  isSuspected(lost: number): boolean;
  /** Whether that has been tested, and bursts that would hide answers are unlikely. */
  isIndependent(): boolean;
  /**
   * Writes to `excess[0]` by how much more likely all tries are lost than the path's loss alone, multiplied, says: 0 for no more,
   * 1 for twice as likely.
   */
  reckon(tries: Tries): void;
  readonly excess: Float64Array;
  /** The mean time from the first try to the last of pairs that were given up; and for how long all pilots together show that their ports were there: microseconds. */
  spanUs(): number;
  pilotUs(): number;
  /** The share of time that a pair is in a burst, and the mean time of one in microseconds; as the evidence has it. */
  share(): number;
  meanUs(): number;
}

/**
 * The grid: shares of time in bursts, and mean times of bursts from this on, each twice the one before. Shorter ones are over by the
 * next try, and a queue that overflows looks like them.
 */
const SHARES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3] as const;
const SHORTEST_US = 200_000;
const TIMES = 8;
const CELLS = SHARES.length * TIMES;
/** Prior probability that losses cluster at all, spread over the grid: the larger the share, the rarer. */
const PRIOR_CLUSTERED = 0.01;
/** Losses count as clustered when they are this many times likelier to be so. */
const EVIDENCE = 300;
/** They may when they are this many times likelier; when few are known, that hide more than they show, so many times. */
const SUSPICION = 2;
const SUSPICION_OF_FEW = 1.5;
const FEW = 100;
/** Bursts hide answers from this share of time on; they are unlikely when the evidence is this many times less likely with them. */
const HARMFUL = 0.03;
const CONTRARY = 0.25;
/** Cells with less of the weight of all than this are left out. */
const LEAST_WEIGHT = 1e-3;
/** Pairs that are taken into account between two updates: more tell little more, and take time. */
const MOST_PAIRS = 32;
/** Updates that are asked for until one is made: evidence changes slowly. */
const EVERY = 4;
/** Powers of two of about a millisecond by which times are told apart. */
const SPANS = 32;
/** Gain of the mean span of pairs that were given up. */
const SPAN_GAIN = 1 / 64;

const sharesSum = SHARES.reduce((sum, share) => sum + 1 / share, 0);
const usOf = (span: number): number => 1024 * 2 ** span;

export function createLossBursts(): LossBursts {
  const shareOf = Float64Array.from({ length: CELLS }, (_, cell) => SHARES[Math.floor(cell / TIMES)]);
  const meanOf = Float64Array.from({ length: CELLS }, (_, cell) => SHORTEST_US * 2 ** (cell % TIMES));
  const priorOf = shareOf.map((share) => PRIOR_CLUSTERED / share / sharesSum / TIMES);
  /** Per cell and span: the logarithm of the chance to be in no burst so long after an answer, and the chance that a burst outlasts it. */
  const outOf = new Float64Array(CELLS * SPANS);
  const outlastOf = new Float64Array(CELLS * SPANS);
  /** Per cell: the logarithm of its likelihood relative to that of no bursts, but for what is counted below. */
  const evidence = new Float64Array(CELLS);
  /** Pilots that were answered, by time since their port had answered. */
  const pilots = new Float64Array(SPANS);
  /** The cells that count, and their weights; the weight of no bursts is what is left of 1. */
  const weights = new Float64Array(CELLS);
  const listed = new Int32Array(CELLS);
  let cells = 0;
  /** By the span of tries: the weighted chance to be in a burst that outlasts it. */
  const outlasts = new Float64Array(SPANS);
  let isClustered = false;
  /** How many times likelier losses are with bursts than without. */
  let likelier = 0;
  let isIndependent = false;
  let meanShare = 0;
  let meanUs = 0;
  /** Mean span of the tries of pairs that were given up. A number of its own would be allocated at each. */
  const spanUs = new Float64Array(1);
  let pairs = 0;
  /** The tables are filled when they are first needed: most runs of a few ports never do. */
  let isFilled = false;
  let isNews = false;
  let asked = 0;
  const excess = new Float64Array(1);
  /** The chain that is followed: all tries lost so far and now in a burst, or not; relative to the path's losses. Numbers of their own would be allocated at each change. */
  const chain = new Float64Array(2);

  /** The chance to be in a burst `us` after an answer. */
  const enters = (cell: number, us: number): number =>
    shareOf[cell] * (1 - Math.exp(-us / (meanOf[cell] * (1 - shareOf[cell]))));

  /** Time goes on until the k-th try. */
  function pass(cell: number, { times, i, step }: Tries, k: number): void {
    const us = times[i + k * step] - times[i + (k - 1) * step];
    const share = shareOf[cell];
    const forgets = Math.exp(-us / (meanOf[cell] * (1 - share)));
    const all = chain[0] + chain[1];
    chain[0] = all * share * (1 - forgets) + chain[0] * forgets;
    chain[1] = all - chain[0];
  }

  /** Follows tries that were all lost, from the second on. */
  function follow(cell: number, tries: Tries, count: number): void {
    for (let k = 1; k < count; k++) {
      pass(cell, tries, k);
      chain[0] /= tries.losses[k];
    }
  }

  function recovered(tries: Tries): void {
    if (pairs >= MOST_PAIRS) return;
    pairs++;
    isNews = true;
    const { times, i, step, count, losses } = tries;
    const seenUs = Math.max(spanUs[0], times[i + (count - 1) * step] - times[i]);
    for (let cell = 0; cell < CELLS; cell++) {
      chain[0] = shareOf[cell] / losses[0];
      chain[1] = 1 - shareOf[cell];
      const seen = chain[0] * (1 - Math.exp(-seenUs / meanOf[cell])) + chain[1];
      follow(cell, tries, count - 1);
      pass(cell, tries, count - 1);
      evidence[cell] += Math.log(chain[1] / seen);
    }
  }

  function followedUp(tries: Tries, knownUs: number, isAnswered: boolean): void {
    const { times, i, count, losses } = tries;
    isNews = true;
    for (let cell = 0; cell < CELLS; cell++) {
      const entered = enters(cell, times[i] - knownUs);
      chain[0] = entered / losses[0];
      chain[1] = 1 - entered;
      follow(cell, tries, count - 1);
      const before = chain[0] + chain[1];
      pass(cell, tries, count - 1);
      evidence[cell] += Math.log((isAnswered ? chain[1] : chain[0] / losses[count - 1] + chain[1]) / before);
    }
  }

  function fill(): void {
    if (isFilled) return;
    isFilled = true;
    for (let cell = 0; cell < CELLS; cell++) {
      for (let span = 0; span < SPANS; span++) {
        outOf[cell * SPANS + span] = Math.log(1 - enters(cell, usOf(span)));
        outlastOf[cell * SPANS + span] = shareOf[cell] * Math.exp(-usOf(span) / meanOf[cell]);
      }
    }
    weigh();
  }

  function update(): void {
    if (!isNews || ++asked < EVERY) return;
    asked = 0;
    isNews = false;
    pairs = 0;
    if (isFilled) weigh();
    else fill();
  }

  function weigh(): void {
    let most = 0;
    for (let cell = 0; cell < CELLS; cell++) {
      let sum = evidence[cell];
      for (let span = 0; span < SPANS; span++) {
        sum += pilots[span] * outOf[cell * SPANS + span];
      }
      weights[cell] = sum;
      most = Math.max(most, sum);
    }
    let clustered = 0;
    let harmful = 0;
    let harmfulPrior = 0;
    for (let cell = 0; cell < CELLS; cell++) {
      weights[cell] = priorOf[cell] * Math.exp(weights[cell] - most);
      clustered += weights[cell];
      if (shareOf[cell] < HARMFUL) continue;
      harmful += weights[cell];
      harmfulPrior += priorOf[cell];
    }
    const independent = Math.exp(-most);
    isIndependent = harmful < CONTRARY * harmfulPrior * independent;
    const all = clustered + (1 - PRIOR_CLUSTERED) * independent;
    cells = 0;
    meanShare = 0;
    meanUs = 0;
    outlasts.fill(0);
    for (let cell = 0; cell < CELLS; cell++) {
      const weight = weights[cell] / all;
      meanShare += weight * shareOf[cell];
      meanUs += weight * shareOf[cell] * meanOf[cell];
      for (let span = 0; span < SPANS; span++) {
        outlasts[span] += weight * outlastOf[cell * SPANS + span];
      }
      if (weights[cell] < LEAST_WEIGHT * clustered) continue;
      weights[cells] = weight;
      listed[cells++] = cell;
    }
    meanUs /= meanShare;
    likelier = clustered / (PRIOR_CLUSTERED * independent);
    isClustered = likelier > EVIDENCE;
  }

  return {
    recovered,
    pilotAnswered: (times, known, i) => {
      pilots[31 - Math.clz32(((times[i] - known[i]) >> 10) | 1)]++;
      isNews = true;
    },
    pilotLost: (us, loss) => {
      isNews = true;
      for (let cell = 0; cell < CELLS; cell++) {
        const entered = enters(cell, us);
        evidence[cell] += Math.log(entered / loss + 1 - entered);
      }
    },
    followedUp,
    gaveUp: (times, first, last) => {
      const us = times[last] - times[first];
      spanUs[0] = spanUs[0] > 0 ? spanUs[0] + SPAN_GAIN * (us - spanUs[0]) : us;
    },
    update,
    isClustered: () => isClustered,
    isSuspected: (lost) => likelier > (lost < FEW ? SUSPICION_OF_FEW : SUSPICION),
    isIndependent: () => isIndependent,
    reckon: (tries) => {
      const { times, i, step, count, losses } = tries;
      excess[0] = 0;
      if (isClustered) {
        for (let k = 0; k < cells; k++) {
          const cell = listed[k];
          chain[0] = shareOf[cell] / losses[0];
          chain[1] = 1 - shareOf[cell];
          follow(cell, tries, count);
          excess[0] += weights[k] * Math.max(0, chain[0] + chain[1] - 1);
        }
        return;
      }
      fill();
      // Where nothing speaks for bursts, one that outlasts all tries is all that is reckoned with.
      excess[0] = outlasts[31 - Math.clz32(((times[i + (count - 1) * step] - times[i]) >> 10) | 1)];
      for (let k = 0; k < count; k++) excess[0] /= losses[k];
    },
    excess,
    spanUs: () => spanUs[0],
    // In the middle of each span.
    pilotUs: () => pilots.reduce((sum, count, span) => sum + 1.5 * count * usOf(span), 0),
    share: () => {
      fill();
      return meanShare;
    },
    meanUs: () => {
      fill();
      return meanUs;
    },
  };
}
