/**
 * Garbage collection at a moment of our choosing. Shared memory does not count towards V8's own decision to collect, however
 * much of it is unused.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Collects all garbage of this thread; takes a few milliseconds. Does nothing where Node does not allow it. */
export function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const gc: unknown = runInNewContext("globalThis.gc");
  if (typeof gc === "function") gc();
}
