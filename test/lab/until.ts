/** Waiting for a condition instead of for a while. */

const LOOK_EVERY_MS = 5;

/** Blocks until a condition holds. @throws after `limitMs`, naming what never came */
export function until(condition: () => boolean, what: string, limitMs = 40_000): void {
  const start = performance.now();
  const clock = new Int32Array(new SharedArrayBuffer(4));
  while (!condition()) {
    if (performance.now() - start > limitMs) throw new Error(`waited ${limitMs} ms for ${what}`);
    Atomics.wait(clock, 0, 0, LOOK_EVERY_MS);
  }
}
