/**
 * The only real clocks. Scans count in microseconds from an arbitrary start that never steps; people read wall time.
 */
import { performance } from "node:perf_hooks";

/** Monotonic time in microseconds since the process started. */
export const nowUs = (): number => performance.now() * 1000;

// A getter, which makes an object at each look.
const { timeOrigin } = performance;

/** The wall time, in milliseconds since the Unix epoch, of a monotonic time. */
export const wallMs = (us: number): number => timeOrigin + us / 1000;

/** The same in microseconds. */
export const wallUs = (us: number): number => wallMs(us) * 1000;
