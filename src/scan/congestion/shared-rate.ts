/**
 * The rate that the workers of one run go by: each finds what the path holds by the answers to its own SYNs, and all send at the
 * mean of what they have found. They probe parts of one random order, so that each sees the same path; alone they would come to
 * shares as different as those of strangers, and the run would last as long as the slowest.
 *
 * Memory that threads share: a word a worker. Not here: how a rate is found (controller.ts), and runs of other processes, which
 * know nothing of each other.
 */

export interface SharedRate {
  /** Tells the others the rate that was found, SYNs per second. @returns the mean of all */
  share(rate: number): number;
  /** This worker sends no more, and counts no more. */
  leave(): void;
}

/** A word is hundredths of a SYN per second; 0 is nobody's. */
const UNITS = 100;

/** @returns memory for so many workers */
export const sharedRates = (workers: number): SharedArrayBuffer =>
  new SharedArrayBuffer(workers * Uint32Array.BYTES_PER_ELEMENT);

/** @param worker from 0 on */
export function createSharedRate(memory: SharedArrayBuffer, worker: number): SharedRate {
  const words = new Uint32Array(memory);
  return {
    share: (rate) => {
      Atomics.store(words, worker, Math.max(1, Math.round(rate * UNITS)));
      let sum = 0;
      let workers = 0;
      for (let i = 0; i < words.length; i++) {
        const word = i === worker ? rate * UNITS : Atomics.load(words, i);
        if (word > 0) workers++;
        sum += word;
      }
      return sum / workers / UNITS;
    },
    leave: () => {
      Atomics.store(words, worker, 0);
    },
  };
}
