/**
 * The only real clocks: a monotonic one in microseconds, for scans, and wall time, for people.
 */
import { performance } from "node:perf_hooks";

/** Monotonic time in microseconds since the process started. */
export const nowUs = (): number => performance.now() * 1000;

/** How long this thread's event loop has waited for something to do, in microseconds. */
export const idleUs = (): number => performance.eventLoopUtilization().idle * 1000;

// Read once: it is a getter that allocates.
const { timeOrigin } = performance;

/** The wall time, in milliseconds since the Unix epoch, of a monotonic time. */
export const wallMs = (us: number): number => timeOrigin + us / 1000;

/** The same in microseconds. */
export const wallUs = (us: number): number => wallMs(us) * 1000;
