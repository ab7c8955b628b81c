/**
 * Why the rate changed: typed reasons with their evidence, and a log that keeps the latest for a reader of the run.
 *
 * The controller reports each change as it decides it. Words for people are made in cli/, JSON in report/.
 */
import type { RateChange } from "../probe/result.ts";

export interface RateChangeLog {
  /** Takes a change. Consecutive steps of the same growth become one. */
  add(change: RateChange): void;
  /** The changes since the last call, oldest first. Growth that goes on is held back until it ends, or `isLast`. */
  take(isLast: boolean): RateChange[];
}

/** Changes that are kept between two calls of `take`; of more, the oldest are dropped. */
const CAPACITY = 256;

export function createRateChangeLog(): RateChangeLog {
  let changes: RateChange[] = [];
  return {
    add: (change) => {
      const last = changes.at(-1);
      if (last?.reason === "no-queue" && change.reason === "no-queue") {
        changes[changes.length - 1] = { ...change, fromRate: last.fromRate };
        return;
      }
      changes.push(change);
      if (changes.length > CAPACITY) changes.shift();
    },
    take: (isLast) => {
      const held = !isLast && changes.at(-1)?.reason === "no-queue" ? changes.splice(-1) : [];
      const taken = changes;
      changes = held;
      return taken;
    },
  };
}
