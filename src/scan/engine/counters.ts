/**
 * What an engine counts while it runs: packets, verdicts, ignored packets by cause, and what it has learnt about the path. Plain
 * numbers, so that those of several workers can be added up (runtime/results/totals.ts).
 */
import { PROBE_STATES, type ProbeState } from "../../socket/state.ts";
import type { PathState } from "../congestion/path-state.ts";
import { AFTER_US, isTelling } from "../measure/recapture.ts";
import { portState } from "../probe/classify.ts";
import type { IgnoredCounts, PortState, Reason } from "../probe/result.ts";

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
  /** SYNs to open ports that went unanswered, a sample; and those of them that had arrived, as a repeated SYN-ACK showed. */
  openLost: 0,
  openArrived: 0,
  /** Those of which that cannot be known, beside as many as the sample has. */
  openUnclear: 0,
  /** Sum over open ports of how many like each were probably missed; sum over silent ports of the chance that an answer was lost. */
  missedPorts: 0,
  doubts: 0,
  /** That part of `doubts` that bursts of loss make. */
  burstDoubts: 0,
  /** Sum over silent ports of the chance that their hosts withheld an answer. */
  withheld: 0,
  /** Ports that answer, at most, which bursts of loss can have hidden without a trace: longer than the run, or than the time to verification. */
  unseen: 0,
  /** SYNs to silent ports, up to when these were decided: without those that verify it. */
  silentTries: 0,
  /** Silent ports that were asked once more at the end; and those of them that were found open, and closed. */
  verified: 0,
  verifiedOpen: 0,
  verifiedClosed: 0,
  /** Of these, those that were found in the last round, and in the one before. */
  verifiedLast: 0,
  verifiedBefore: 0,
  /** Pilots, canaries and controls; `sent` includes them. */
  controlProbes: 0,
};

/** Keeps `states`, `reasons` and the doubts about silent ports. A corrected verdict moves its pair from one count to another. */
export interface VerdictTally {
  /** The row's pair is decided, or decided again. */
  add(row: number, state: PortState, reason: Reason): void;
  /** The row's verdict, from when its probe was in state `before`, is about to be corrected. */
  remove(row: number, before: ProbeState): void;
  /** The row, which has been added, is silent. @param doubts as RowLifecycle.decideSilent has them */
  addSilence(row: number, doubts: Float64Array): void;
}

export function createVerdictTally(
  counts: EngineCounters,
  capacity: number,
  synsSent: (row: number) => number,
): VerdictTally {
  /** Why each filtered row is, by number in `filterReasons`. Only filtered rows may still change. */
  const filteredBy = new Uint8Array(capacity);
  const filterReasons: Reason[] = [];
  /** What each filtered row has added to `doubts` and `silentTries`; 0 where it was not silence that decided it. */
  const doubtOf = new Float32Array(capacity);
  const triesOf = new Uint8Array(capacity);

  function change(state: PortState, reason: Reason, by: number): void {
    const { states, reasons } = counts;
    // The most usual ones by their names, which V8 finds at once.
    if (state === "closed" && reason === "reset") {
      states.closed += by;
      reasons.closed["reset"] = (reasons.closed["reset"] ?? 0) + by;
    } else if (state === "filtered" && reason === "no-response") {
      states.filtered += by;
      reasons.filtered["no-response"] = (reasons.filtered["no-response"] ?? 0) + by;
    } else {
      states[state] += by;
      reasons[state][reason] = (reasons[state][reason] ?? 0) + by;
    }
  }

  function internReason(reason: Reason): number {
    const known = filterReasons.indexOf(reason);
    return known >= 0 ? known : filterReasons.push(reason) - 1;
  }

  return {
    add: (row, state, reason) => {
      change(state, reason, 1);
      if (state !== "filtered") return;
      filteredBy[row] = internReason(reason);
      doubtOf[row] = 0;
      triesOf[row] = 0;
    },
    remove: (row, before) => {
      change(portState(before), filterReasons[filteredBy[row]], -1);
      if (before !== PROBE_STATES.silent) return;
      // What part of this one bursts made, or was withheld, is not kept: as of all.
      if (counts.path.doubts > 0) {
        counts.path.burstDoubts -= (doubtOf[row] * counts.path.burstDoubts) / counts.path.doubts;
        counts.path.withheld -= (doubtOf[row] * counts.path.withheld) / counts.path.doubts;
      }
      counts.path.doubts -= doubtOf[row];
      counts.path.silentTries -= triesOf[row];
    },
    addSilence: (row, doubts) => {
      doubtOf[row] = doubts[1];
      triesOf[row] = synsSent(row);
      counts.path.doubts += doubts[1];
      counts.path.burstDoubts += doubts[2];
      counts.path.withheld += Math.max(0, doubts[0] - doubts[1]);
      counts.path.silentTries += triesOf[row];
    },
  };
}

/** Copies what has been learnt about the path so far into the counts. */
export function countPath(path: EngineCounters["path"], pathState: PathState): void {
  path.rate = pathState.rate();
  path.lost = pathState.lostSoFar();
  path.answered = pathState.answeredSoFar();
  path.missedPorts = pathState.missedPorts();
}

/**
 * To be called at the end: it takes a while.
 * @param spent the part of the silent ports for which no sample speaks, as they had no try left
 */
export function countUnseen(
  { path, states, reasons }: EngineCounters,
  pathState: PathState,
  spent: number,
): void {
  const silent = reasons.filtered["no-response"] ?? 0;
  if (!isTelling(path.verified, path.verifiedOpen + path.verifiedClosed, silent)) {
    path.unseen = pathState.unseen(states.open + states.closed, silent);
    return;
  }
  if (!pathState.isClustered()) return;
  if (pathState.burstUs() > AFTER_US) path.unseen = Math.max(0, path.burstDoubts);
  // Of those that had no try left at most as many as are in a burst at any time.
  const share = pathState.burstShare();
  const away = (spent * share * (states.open + states.closed)) / (1 - share);
  path.unseen = Math.max(path.unseen, Math.min(silent, away));
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
