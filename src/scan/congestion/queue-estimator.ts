/**
 * What the round trips of the last stretches tell of the queue before a bottleneck: whether there is one, and how fast it
 * grows. Pure numbers, times in microseconds.
 */

/** The answers of one stretch. */
export interface Delay {
  readonly atUs: number;
  /** SYNs per second that left in the stretch. */
  readonly sent: number;
  readonly answers: number;
  /** How much longer than usual they took, mean and mean square. */
  readonly delayUs: number;
  readonly squares: number;
}

export interface QueueEstimator {
  /** Takes the answers of one stretch; what is older than a round trip is forgotten, as long as enough is known without it. */
  add(delay: Delay, roundUs: number): void;
  /** The rate has changed: what left before says nothing. */
  clear(): void;
  /** Whether enough answers have been taken to see one. */
  isKnown(): boolean;
  /** How long the queue is in which they waited, in microseconds; 0 when that may be chance. */
  queueUs(): number;
  /** SYNs a second that the bottleneck lets through of what was sent, after the last `add`. */
  capacity(): number;
  /** Answers take so much longer for good: that is no queue, until some are faster again, which `learn` is told. */
  excuse(delayUs: number): void;
  learn(delay: Delay): void;
  /** A delay without what was excused. */
  excess(delayUs: number): number;
}

/** Answers that a queue must show in, and that are remembered at least. */
const FEWEST_DELAYS = 12;
const KEPT_DELAYS = 24;

export function createQueueEstimator(): QueueEstimator {
  let delays: Delay[] = [];
  let answers = 0;
  let excusedUs = 0;
  const since = { answers: 0, sum: 0, squares: 0 };

  return {
    add: (delay, roundUs) => {
      const { atUs, sent, delayUs, squares } = delay;
      delays.push({
        atUs,
        sent,
        answers: delay.answers,
        delayUs: delayUs - excusedUs,
        squares: squares - 2 * delayUs * excusedUs + excusedUs ** 2,
      });
      answers += delay.answers;
      while (answers - delays[0].answers >= KEPT_DELAYS && delays[0].atUs < delay.atUs - roundUs) {
        answers -= delays[0].answers;
        delays.shift();
      }
    },
    clear: () => {
      delays = [];
      answers = 0;
    },
    isKnown: () => answers >= FEWEST_DELAYS,
    queueUs: () => queueIn(delays),
    capacity: () => capacityFrom(delays),
    excuse: (delayUs) => {
      excusedUs = Math.max(0, delayUs);
    },
    learn: (delay) => {
      since.answers += delay.answers;
      since.sum += delay.answers * delay.delayUs;
      since.squares += delay.answers * delay.squares;
      if (since.answers < FEWEST_DELAYS) return;
      const mean = since.sum / since.answers;
      const spread = spreadOf(mean, since.squares / since.answers);
      excusedUs = Math.max(0, Math.min(excusedUs, mean + (2 * spread) / Math.sqrt(since.answers)));
      since.answers = 0;
      since.sum = 0;
      since.squares = 0;
    },
    excess: (delayUs) => delayUs - excusedUs,
  };
}

/** A standard deviation, from mean and mean square. */
export const spreadOf = (mean: number, squares: number): number =>
  Math.sqrt(Math.max(0, squares - mean * mean));

/** Standard errors away from chance: there are many looks. */
const SURE = 4;

/**
 * How much longer than usual answers take by the newest stretches, in microseconds; 0 when that may be chance. A queue holds up
 * all of them: where some are as fast as ever, it was a scheduler or the path's jitter.
 */
export function queueIn(delays: readonly Delay[]): number {
  let count = 0;
  let sum = 0;
  let squares = 0;
  for (let i = delays.length - 1; i >= 0 && count < FEWEST_DELAYS; i--) {
    count += delays[i].answers;
    sum += delays[i].answers * delays[i].delayUs;
    squares += delays[i].answers * delays[i].squares;
  }
  if (count < FEWEST_DELAYS) return 0;
  const mean = sum / count;
  const spread = spreadOf(mean, squares / count);
  return mean - Math.max(1, SURE / Math.sqrt(count)) * spread > 0 ? mean : 0;
}

/** What was sent, less what the queue before the bottleneck took of it: its growth by least squares. */
export function capacityFrom(delays: readonly Delay[]): number {
  let weight = 0;
  let time = 0;
  let delay = 0;
  let sent = 0;
  for (const each of delays) {
    weight += each.answers;
    time += each.answers * each.atUs;
    delay += each.answers * each.delayUs;
    sent += each.answers * each.sent;
  }
  time /= weight;
  delay /= weight;
  let covariance = 0;
  let variance = 0;
  for (const each of delays) {
    covariance += each.answers * (each.atUs - time) * (each.delayUs - delay);
    variance += each.answers * (each.atUs - time) ** 2;
  }
  const slope = variance === 0 ? 0 : covariance / variance;
  // A queue grows by what left last, where that was more.
  return Math.max(sent / weight, delays[delays.length - 1].sent) / (1 + Math.min(3, Math.max(-0.5, slope)));
}
