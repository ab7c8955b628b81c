/**
 * How many threads are at work. A process must not end while one of them begins: Node aborts where native code is being loaded.
 *
 * Not here: the threads (runtime/run/thread-pool.ts). Loads nothing, as every process asks when it ends.
 */
let atWork = 0;
let waiting: (() => void)[] = [];

export function threadBegins(): void {
  atWork++;
}

/** It has done its work, or has ended. */
export function threadIsDone(): void {
  if (--atWork > 0) return;
  for (const go of waiting) go();
  waiting = [];
}

/** One that hangs is waited for so long, in milliseconds. */
const LONGEST_MS = 2000;

/** Settles when none is at work; undefined where that is so already. */
export const threadsAreDone = (): Promise<void> | undefined =>
  atWork === 0
    ? undefined
    : new Promise((resolve) => {
        waiting.push(resolve);
        setTimeout(resolve, LONGEST_MS);
      });
