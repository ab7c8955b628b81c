/**
 * A deadline after which nothing may be sent, in memory that threads share: one thread renews it, those that send look at it before
 * each batch. Its clock is not set by anybody and runs on while the machine is suspended, so a process that was stopped finds it past
 * when it wakes.
 *
 * What the deadline stands for: runtime/fleet/ (a cell's lock). Tested by test/runtime/system/fence.test.ts.
 */
import { boottimeMs } from "../../link/sys/libc.ts";

export interface Fence {
  isPast(): boolean;
}

/** Steps of the deadline, in milliseconds: 32 bits of them are seven years. */
const STEP_MS = 100;

/** The memory of a fence that is past. */
export const fenceMemory = (): SharedArrayBuffer => new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);

export function openFence(memory: SharedArrayBuffer): Fence {
  const until = new Int32Array(memory);
  return { isPast: () => boottimeMs() >= Atomics.load(until, 0) * STEP_MS };
}

/** @param untilMs of boottimeMs; rounded down */
export function moveFence(memory: SharedArrayBuffer, untilMs: number): void {
  Atomics.store(new Int32Array(memory), 0, Math.floor(untilMs / STEP_MS));
}
