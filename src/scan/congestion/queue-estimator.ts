/**
 * Estimates the queue before the bottleneck from the delays of recent answers: whether there is one, and how fast it grows.
 *
 * Not here: what a delay is measured against (base-rtt.ts), what follows from a queue (controller.ts). Pure numbers, times in
 * microseconds.
 */
import { fitLine, LINE, LINE_LENGTH, MOMENT_COUNT, MOMENTS } from "./least-squares.ts";
import type { Delay } from "./observations.ts";

export interface QueueEstimator {
  /** Takes a group of answers. Groups older than a base round trip are dropped once newer ones suffice. */
  add(delay: Delay, baseRttUs: number): void;
  /** The rate has changed: forget what left before. */
  clear(): void;
  /** Whether enough answers have been taken to see a queue. */
  hasEvidence(): boolean;
  /** Length of the queue in microseconds of waiting; 0 when the delays may be chance. */
  queueUs(): number;
  /** SYNs per second that the bottleneck forwards, after the last `add`. */
  capacity(): number;
  /** Answers take this much longer for good: a longer path, no queue. Answers told to `learn` lower it again. */
  accept(delayUs: number): void;
  learn(delay: Delay): void;
  /** A delay without the accepted part. */
  excess(delayUs: number): number;
}

/** Answers that a queue must show in, and answers that are kept. */
const MIN_ANSWERS = 12;
const KEPT_ANSWERS = 24;
/** Standard errors by which the mean delay must differ from zero: the test is repeated often. */
const STANDARD_ERRORS = 4;
/** Standard errors above the mean that an accepted delay is lowered to. */
const ACCEPTED_ERRORS = 2;
/** Plausible slopes of the queue, in seconds per second. */
const MIN_SLOPE = -0.5;
const MAX_SLOPE = 3;

export function createQueueEstimator(): QueueEstimator {
  let delays: Delay[] = [];
  let answers = 0;
  let acceptedUs = 0;
  /** Delays since the accepted part was last lowered. */
  const learnt = { answers: 0, sum: 0, squares: 0 };

  return {
    add: (delay, baseRttUs) => {
      delays.push(acceptedUs === 0 ? delay : without(delay, acceptedUs));
      answers += delay.answers;
      while (answers - delays[0].answers >= KEPT_ANSWERS && delays[0].atUs < delay.atUs - baseRttUs) {
        answers -= delays[0].answers;
        delays.shift();
      }
    },
    clear: () => {
      delays = [];
      answers = 0;
    },
    hasEvidence: () => answers >= MIN_ANSWERS,
    queueUs: () => queueIn(delays),
    capacity: () => capacityFrom(delays),
    accept: (delayUs) => {
      acceptedUs = Math.max(0, delayUs);
    },
    learn: (delay) => {
      learnt.answers += delay.answers;
      learnt.sum += delay.answers * delay.delayUs;
      learnt.squares += delay.answers * delay.squares;
      if (learnt.answers < MIN_ANSWERS) return;
      const mean = learnt.sum / learnt.answers;
      const deviation = standardDeviation(mean, learnt.squares / learnt.answers);
      const highest = mean + (ACCEPTED_ERRORS * deviation) / Math.sqrt(learnt.answers);
      acceptedUs = Math.max(0, Math.min(acceptedUs, highest));
      learnt.answers = 0;
      learnt.sum = 0;
      learnt.squares = 0;
    },
    excess: (delayUs) => delayUs - acceptedUs,
  };
}

/** The same answers, each with a delay shorter by `us`. */
const without = (delay: Delay, us: number): Delay => ({
  ...delay,
  delayUs: delay.delayUs - us,
  squares: delay.squares - 2 * delay.delayUs * us + us ** 2,
});

/** From the mean and the mean of the squares. */
export const standardDeviation = (mean: number, squares: number): number =>
  Math.sqrt(Math.max(0, squares - mean * mean));

/**
 * Mean delay of the newest answers, in microseconds; 0 when it may be chance. A queue delays all of them: where some are as fast
 * as ever, it was a scheduler or jitter.
 */
export function queueIn(delays: readonly Delay[]): number {
  let count = 0;
  let sum = 0;
  let squares = 0;
  for (let i = delays.length - 1; i >= 0 && count < MIN_ANSWERS; i--) {
    count += delays[i].answers;
    sum += delays[i].answers * delays[i].delayUs;
    squares += delays[i].answers * delays[i].squares;
  }
  if (count < MIN_ANSWERS) return 0;
  const mean = sum / count;
  const deviation = standardDeviation(mean, squares / count);
  return mean - Math.max(1, STANDARD_ERRORS / Math.sqrt(count)) * deviation > 0 ? mean : 0;
}

/** Memory of `capacityFrom`. */
const sums = new Float64Array(MOMENT_COUNT);
const line = new Float64Array(LINE_LENGTH);

/** SYNs per second that the bottleneck forwards: what was sent, divided by 1 + the slope of the delay. */
export function capacityFrom(delays: readonly Delay[]): number {
  sums.fill(0);
  const origin = delays[0];
  let sent = 0;
  for (const { answers, atUs, delayUs, sentRate } of delays) {
    const x = atUs - origin.atUs;
    const y = delayUs - origin.delayUs;
    sums[MOMENTS.weight] += answers;
    sums[MOMENTS.x] += answers * x;
    sums[MOMENTS.y] += answers * y;
    sums[MOMENTS.xx] += answers * x * x;
    sums[MOMENTS.xy] += answers * x * y;
    sent += answers * sentRate;
  }
  fitLine(sums, line);
  const slope = Math.min(MAX_SLOPE, Math.max(MIN_SLOPE, line[LINE.slope]));
  // The queue grows by what left last, where that was more than the mean.
  return Math.max(sent / sums[MOMENTS.weight], delays[delays.length - 1].sentRate) / (1 + slope);
}
