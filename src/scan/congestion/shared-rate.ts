/**
 * The rate that the workers of one run share: each finds a rate from the answers to its own SYNs, and all send at the mean of
 * those rates. They probe parts of one random order, so they see the same path. Without sharing, their rates would differ like
 * those of unrelated runs, and the run would last as long as its slowest worker.
 *
 * The memory is shared between threads, one word per worker. Not here: how a rate is found (controller.ts), other processes.
 */

export interface SharedRate {
  /** Publishes this worker's rate, SYNs per second. @returns the mean of all workers' rates */
  share(rate: number): number;
  /** This worker sends nothing more: its rate no longer counts. */
  leave(): void;
}

/** A word counts hundredths of a SYN per second; 0 means no worker. */
const UNITS = 100;

/** @returns memory for this number of workers */
export const sharedRates = (workers: number): SharedArrayBuffer =>
  new SharedArrayBuffer(workers * Uint32Array.BYTES_PER_ELEMENT);

/** @param worker its index, from 0 */
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
