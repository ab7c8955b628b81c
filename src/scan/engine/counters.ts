/**
 * What an engine counts while it runs: packets, verdicts, what was ignored and why, what was learnt of the path. Plain numbers that
 * add up over workers (runtime/results/totals.ts adds them).
 * Tested by test/scan/engine/engine.test.ts and test/sim/path-knowledge.test.ts.
 */
import type { PathState } from "../congestion/path-state.ts";
import type { IgnoredCounts, PortState } from "../probe/result.ts";

/** Running totals; read at any time. */
export interface EngineCounters {
  sent: number;
  retransmitted: number;
  received: number;
  late: number;
  started: number;
  decided: number;
  readonly states: Record<PortState, number>;
  /** Decided pairs by state and reason; they add up to `states`. */
  readonly reasons: Readonly<Record<PortState, Record<string, number>>>;
  readonly ignored: { -readonly [K in keyof IgnoredCounts]: number };
  readonly sendErrors: Record<string, number>;
  /** What was learnt of the path: sums that add up over workers. */
  readonly path: Record<keyof typeof NO_FINDINGS, number>;
}

const NO_FINDINGS = {
  /** SYNs per second that may leave now. */
  rate: 0,
  /** Round trips that must have succeeded: those that failed, those that did. */
  lost: 0,
  answered: 0,
  /** SYNs to open ports that were lost, or their answers; and of these, those of which a repeated answer told that they arrived. */
  openLost: 0,
  openArrived: 0,
  /** For each open port found, how many of its like were missed; for each silent one, the chance that it was no silence. */
  missedPorts: 0,
  doubts: 0,
  /** SYNs to silent ports. */
  silentTries: 0,
  /** Pilots and canaries; they count as sent, too. */
  controlProbes: 0,
};

/** Notes what has been learnt of the path so far. */
export function countPath(path: EngineCounters["path"], pathState: PathState): void {
  path.rate = pathState.rate();
  path.lost = pathState.lostSoFar();
  path.answered = pathState.answeredSoFar();
  path.missedPorts = pathState.missedPorts();
}

export const newCounters = (): EngineCounters => ({
  sent: 0,
  retransmitted: 0,
  received: 0,
  late: 0,
  started: 0,
  decided: 0,
  states: { open: 0, closed: 0, filtered: 0 },
  reasons: { open: {}, closed: {}, filtered: {} },
  ignored: {
    malformed: 0,
    badChecksum: 0,
    wrongAck: 0,
    oddFlags: 0,
    foreign: 0,
    fragment: 0,
    icmpNoVerdict: 0,
    duplicate: 0,
  },
  sendErrors: {},
  path: { ...NO_FINDINGS },
});
