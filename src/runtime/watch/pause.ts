/**
 * A pause that somebody may end. Tested by test/runtime/watch/deliver.test.ts and test/lab/watch.test.ts.
 */

/** What setTimeout takes at most: a longer pause ends after this, 24 days. */
const LONGEST_MS = 2 ** 31 - 1;

export interface Pause {
  /** Settles after so many milliseconds, or when it is woken; one at a time. */
  wait(ms: number): Promise<void>;
  /** Ends the pause under way, if any. */
  wake(): void;
}

export function createPause(): Pause {
  let end = (): void => {};
  return {
    wait: (ms) =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, Math.min(ms, LONGEST_MS));
        end = () => {
          clearTimeout(timer);
          resolve();
        };
      }),
    wake: () => end(),
  };
}
