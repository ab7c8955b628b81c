/**
 * How much V8 inlines. A probe's way leads through many small functions in files of their own: with V8's usual limits a part of
 * them stays calls, which take more time than what they do. For large runs: to compile more takes some milliseconds of its own.
 */
import { setFlagsFromString } from "node:v8";

/** Runs of fewer pairs are over before it pays. */
const FEWEST = 50_000;
/** Bytes of bytecode that one function takes in at most, and of each that it takes in; V8's own are 920 and 460. With twice as many again the engine became slower. */
const LIMITS = { "max-inlined-bytecode-size-cumulative": 5000, "max-inlined-bytecode-size": 1000 } as const;

/** Raises the limits for what this process compiles from now on, in all its threads. @param pairs of the run */
export function raiseInliningLimits(pairs: number): void {
  if (pairs < FEWEST) return;
  for (const [flag, bytes] of Object.entries(LIMITS)) setFlagsFromString(`--${flag}=${bytes}`);
}
