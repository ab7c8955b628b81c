/**
 * Memory that is needed no more, given back at a moment of our choosing: memory shared between threads is none of what makes V8
 * look for garbage, however much of it there is.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Collects all garbage of this thread; takes a few milliseconds. Does nothing where Node does not let us. */
export function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const gc: unknown = runInNewContext("globalThis.gc");
  if (typeof gc === "function") gc();
}
