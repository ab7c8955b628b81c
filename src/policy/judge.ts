/**
 * What a result is by its rule: as written, different, or not to be told. Pure.
 *
 * Not here: which rule it is (expectations.ts), what is counted and kept (check.ts).
 */
import { hasFailed, type PortResult } from "../scan/probe/result.ts";
import type { Rule } from "./policy.ts";

export const OUTCOMES = ["as-written", "differs", "untold"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Silence that may be loss with more than this chance says nothing. */
const MOST_DOUBT = 0.01;

/** Whether nothing but packets came that prove nothing: they may be anybody's. */
const isUnproved = (reason: string): boolean => reason.startsWith("unproved-");

/**
 * A probe that failed is never as written: it says nothing of the port. Nor does silence in doubt, unless the port may be
 * anything; a tolerated reason passes all the same.
 * @param isSettled it was looked at again and again, and is the same: silence counts for what it is
 */
export function judge(
  { states, tolerate }: Pick<Rule, "states" | "tolerate">,
  { state, reason, doubt = 0 }: Pick<PortResult, "state" | "reason" | "doubt">,
  isSettled = false,
): Outcome {
  // What was answered leaves no doubt.
  if (state !== "filtered")
    return states.includes(state) || tolerate.includes(reason) ? "as-written" : "differs";
  if (hasFailed(reason)) return "untold";
  if (tolerate.includes(reason)) return "as-written";
  // Open, closed and filtered: whatever it is.
  if (states.length === 3) return "as-written";
  if (!isSettled && (isUnproved(reason) || doubt > MOST_DOUBT)) return "untold";
  return states.includes(state) ? "as-written" : "differs";
}
