/**
 * The only real clocks: a monotonic one in microseconds, for scans, and wall time, for people. `performance` takes a millisecond to load,
 * and its `now` no less time than hrtime.
 */
import type { Performance } from "node:perf_hooks";

const [startS] = process.hrtime();

/** Monotonic time in microseconds since a second, at most, before this thread loaded this. */
export function nowUs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return (seconds - startS) * 1e6 + nanoseconds / 1e3;
}

/** The same in milliseconds. */
export const nowMs = (): number => nowUs() / 1000;

/** How long this thread's event loop has waited for something to do, in microseconds. */
export const idleUs = (): number =>
  (performance as unknown as Performance).eventLoopUtilization().idle * 1000;

/** The wall time at which `nowUs` was 0, by the wall clock as it was read last. */
let timeOrigin = Date.now() - nowMs();

/**
 * Reads the wall clock anew: since it was read last it may have been set, and the machine may have slept, in which time the monotonic
 * clock stands still. For the beginning of a run, so that all times of one run are in order. Nor are those of the runs of a process out
 * of order: one that is set back is not followed, as a history would have a state before the one that it came after.
 */
export function readWallClock(): void {
  timeOrigin = Math.max(timeOrigin, Date.now() - nowMs());
}

/** The wall time, in milliseconds since the Unix epoch, of a monotonic time. */
export const wallMs = (us: number): number => timeOrigin + us / 1000;

/** The same in microseconds. */
export const wallUs = (us: number): number => wallMs(us) * 1000;
