/**
 * What an engine counts while it runs: packets, verdicts, ignored packets by cause, and what it has learnt about the path. Plain
 * numbers, so that those of several workers can be added up (runtime/results/totals.ts).
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
  /** What was learnt about the path. */
  readonly path: Record<keyof typeof NO_FINDINGS, number>;
}

const NO_FINDINGS = {
  /** SYNs per second that may leave now. */
  rate: 0,
  /** Round trips whose outcome tells of the path alone: those lost, and those answered. */
  lost: 0,
  answered: 0,
  /** SYNs to open ports that went unanswered; and those of them that had arrived, as a repeated SYN-ACK showed. */
  openLost: 0,
  openArrived: 0,
  /** Sum over open ports of how many like each were probably missed; sum over silent ports of the chance that an answer was lost. */
  missedPorts: 0,
  doubts: 0,
  /** SYNs to silent ports. */
  silentTries: 0,
  /** Pilots, canaries and controls; `sent` includes them. */
  controlProbes: 0,
};

/** Copies what has been learnt about the path so far into the counts. */
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
