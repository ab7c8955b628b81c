/**
 * Counts of decided pairs by state and reason, and of the doubt about the silent ones. A corrected verdict moves its pair from one
 * count to another.
 * Tested by test/scan/engine/engine.test.ts and test/sim/path-knowledge.test.ts.
 */
import { PROBE_STATES, type ProbeState } from "../../socket/state.ts";
import type { SocketTable } from "../../socket/table.ts";
import { portState } from "../probe/classify.ts";
import type { PortState, Reason } from "../probe/result.ts";
import type { EngineCounters } from "./counters.ts";

export interface VerdictTally {
  /** The row's pair is decided, or decided again. */
  add(row: number, state: PortState, reason: Reason): void;
  /** The row's verdict, from when its probe was in state `before`, is about to be corrected. */
  remove(row: number, before: ProbeState): void;
  /** The row is silent; `openDoubt` is the chance that a SYN-ACK of its was lost. */
  addSilence(row: number, openDoubt: number): void;
}

export function createVerdictTally(
  counts: EngineCounters,
  { capacity, tries }: Pick<SocketTable, "capacity" | "tries">,
): VerdictTally {
  /** Why each filtered row is, by number in `filterReasons`. Only filtered rows may still change. */
  const filteredBy = new Uint8Array(capacity);
  const filterReasons: Reason[] = [];
  /** The open doubt of each silent row. */
  const doubtOf = new Float32Array(capacity);

  function change(state: PortState, reason: Reason, by: number): void {
    counts.states[state] += by;
    const reasons = counts.reasons[state];
    reasons[reason] = (reasons[reason] ?? 0) + by;
  }

  function internReason(reason: Reason): number {
    const known = filterReasons.indexOf(reason);
    return known >= 0 ? known : filterReasons.push(reason) - 1;
  }

  return {
    add: (row, state, reason) => {
      change(state, reason, 1);
      if (state === "filtered") filteredBy[row] = internReason(reason);
    },
    remove: (row, before) => {
      change(portState(before), filterReasons[filteredBy[row]], -1);
      if (before !== PROBE_STATES.silent) return;
      counts.path.doubts -= doubtOf[row];
      counts.path.silentTries -= tries[row];
    },
    addSilence: (row, openDoubt) => {
      doubtOf[row] = openDoubt;
      counts.path.doubts += openDoubt;
      counts.path.silentTries += tries[row];
    },
  };
}
