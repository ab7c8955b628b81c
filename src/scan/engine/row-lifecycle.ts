/**
 * The life of a row of the socket table. Each transition is one function here, which tells every part that keeps something of a
 * row; no part calls back up.
 *
 *     fresh      start      the next pair of the source takes a row; nothing is left of the pair that had it before
 *     in flight  mayLeave   a try asks for its host's turn: it leaves, waits, or the host's time is up
 *                leaves     the try is sent; the one after it needs a turn of its own
 *     decided    answer     a reply decides, or corrects what was decided; the caller completes the verdict and queues it
 *                decide     no reply does: silence, a refused send, a host's time; queued here
 *     lingering             the row waits for a late answer, timer off, in no queue (socket/table.ts)
 *     freed                 the table evicts the oldest such row when it needs the place
 * Tested by test/scan/engine/engine.test.ts and test/sim/path-knowledge.test.ts.
 */
import type { SourcePorts } from "../../socket/ports.ts";
import {
  nextState,
  PROBE_EVENTS,
  PROBE_STATES,
  type ProbeEvent,
  type ProbeState,
} from "../../socket/state.ts";
import { ADDRESS_WORDS, copyWords } from "../../socket/table.ts";
import type { PathState } from "../congestion/path-state.ts";
import type { ControlSchedule } from "../hosts/control-schedule.ts";
import type { HostLimits } from "../hosts/host-limits.ts";
import { TURN } from "../hosts/rst-limited.ts";
import { createHostFetch } from "../measure/host-cache.ts";
import { portState } from "../probe/classify.ts";
import { type InFlight, SPREAD_ASKED } from "../probe/in-flight.ts";
import type { Reason } from "../probe/result.ts";
import type { VerdictDraft } from "../probe/verdict.ts";
import type { Path, ProbeSource } from "../targets/probe-source.ts";
import { createVerdictTally, type EngineCounters } from "./counters.ts";
import { createDrawAhead } from "./draw-ahead.ts";
import type { RowQueue } from "./row-queue.ts";
import type { SendBackoff } from "./send-backoff.ts";
import type { SimultaneousOpens } from "./simultaneous-open.ts";
import type { VerdictQueue } from "./verdict-queue.ts";
import type { Verification } from "./verification.ts";

export interface RowLifecycle {
  /** Pairs that the run probes, as far as is known: fewer than planned once the source has run dry. */
  total(): number;
  /** Whether another pair may be started. */
  mayStart(): boolean;
  /** The lowest position of a pair that has been drawn from the source and not been started; Infinity when there is none. */
  lowestDrawn(): number;
  /** Rows that have been started and are not decided. */
  undecided(): number;
  /** Whether undecided rows keep further pairs from being started, or soon will. */
  needsRoom(): boolean;
  /** Gives the source's next pair a row. @returns the row; -1 when no pair may be started */
  start(nowUs: number): number;
  /**
   * Whether the row's next SYN may leave now as far as its host is concerned. If not, a timer brings the row back, or it has
   * just been decided because its host's time is up.
   */
  mayLeave(row: number, nowUs: number): boolean;
  /** The row's next SYN is being sent. */
  leaves(row: number, nowUs: number): void;
  /**
   * An answer to `attempt` came `ageUs` before `nowUs`.
   * @returns the verdict, to be completed and then queued (`VerdictQueue.enqueue`); undefined when the answer changes nothing
   */
  answer(
    row: number,
    attempt: number,
    event: ProbeEvent,
    reason: Reason,
    ttl: number,
    nowUs: number,
    ageUs: number,
  ): VerdictDraft | undefined;
  /** Decides an undecided row to which no reply came, and queues the verdict. */
  decide(row: number, event: ProbeEvent, reason: Reason, nowUs: number): void;
  /**
   * Decides a row whose tries have all stayed without an answer that proves anything, and queues the verdict.
   * @param doubts the chance that an answer was lost or withheld; that a SYN-ACK was lost, which no host withholds; and that part of
   * the latter that bursts of loss make
   */
  decideSilent(row: number, reason: Reason, doubts: Float64Array, nowUs: number): void;
}

export interface RowLifecycleOptions {
  readonly source: ProbeSource;
  readonly paths: readonly Path[];
  readonly ports: SourcePorts;
  readonly counts: EngineCounters;
  readonly inFlight: InFlight;
  readonly pathState: PathState;
  readonly hostLimits: HostLimits;
  readonly controlSchedule: ControlSchedule;
  readonly retransmitQueue: RowQueue;
  readonly heldSilences: RowQueue;
  readonly sendBackoff: SendBackoff;
  readonly simultaneousOpens: SimultaneousOpens;
  readonly verdictQueue: VerdictQueue;
  readonly verification: Pick<Verification, "begin">;
}

/** Share of undecided rows from which those are given up early that could be. */
const FULL = 0.75;

export function createRowLifecycle(options: RowLifecycleOptions): RowLifecycle {
  const { source, paths, ports, counts, inFlight, pathState } = options;
  const { hostLimits, controlSchedule, retransmitQueue, heldSilences, sendBackoff } = options;
  const { simultaneousOpens, verdictQueue, verification } = options;
  const { table, timers, hostOf, spread, columnOf } = inFlight;
  const tally = createVerdictTally(counts, table.capacity, inFlight.synsSent);
  const pairs = createDrawAhead(source, createHostFetch(pathState.hosts), table);
  let { total } = source;

  const mayStart = (): boolean => counts.started < total && counts.started - counts.decided < table.capacity;

  const needsRoom = (): boolean =>
    counts.started < total && counts.started - counts.decided > FULL * table.capacity;

  function start(nowUs: number): number {
    if (!mayStart()) return -1;
    const drawn = pairs.next();
    if (drawn < 0) {
      total = counts.started;
      if (counts.decided === total) verification.begin();
      return -1;
    }
    const at = drawn * ADDRESS_WORDS;
    const row = table.insert(pairs.words, at, pairs.ports[drawn], pairs.hashes[drawn]);
    table.path[row] = pairs.paths[drawn];
    table.position[row] = pairs.positions[drawn];
    table.portStart[row] = ports.start(pairs.ports[drawn], table.maxTries);
    hostLimits.clear(row);
    inFlight.clear(row);
    hostOf[row] = pathState.hostOf(pairs.words, at, nowUs, pairs.likelyHosts[drawn]);
    counts.started++;
    return row;
  }

  function mayLeave(row: number, nowUs: number): boolean {
    const turn = hostLimits.take(row, nowUs);
    if (turn === TURN.control) {
      const isControls = controlSchedule.control(row);
      hostLimits.give(row, isControls, nowUs);
      return !isControls;
    }
    if (turn === TURN.never) decide(row, PROBE_EVENTS.exhausted, "host-timeout", nowUs);
    return turn === TURN.now;
  }

  /**
   * No times are passed, because a number that is no small integer would be an object where this is not inlined: the caller writes
   * `atUs`.
   * @returns the verdict, not queued yet; undefined when the event changes nothing
   */
  function transition(row: number, event: ProbeEvent, reason: Reason): VerdictDraft | undefined {
    const before = table.state[row] as ProbeState;
    const after = nextState(before, event);
    if (after === before) return undefined;
    table.state[row] = after;
    const isFirst = before === PROBE_STATES.synSent;
    const state = portState(after);
    const verdict = verdictQueue.draft();
    verdict.position = table.position[row];
    copyWords(verdict.peer, 0, table.peer, row * ADDRESS_WORDS);
    verdict.path = table.path[row];
    verdict.family = paths[verdict.path].local.length === 4 ? 4 : 6;
    verdict.port = table.peerPort[row];
    verdict.state = state;
    verdict.reason = reason;
    verdict.rttUs = Number.NaN;
    verdict.ttl = 0;
    verdict.tries = inFlight.synsSent(row);
    verdict.answered = 0;
    verdict.hasResponder = false;
    verdict.hasOffer = false;
    verdict.late = false;
    verdict.doubt = Number.NaN;
    verdict.answersAll = false;
    verdict.doubtful = false;
    verdict.was = isFirst ? null : portState(before);
    verdict.handshake = undefined;
    if (!isFirst) tally.remove(row, before);
    tally.add(row, state, reason);
    if (isFirst) settle(row, event);
    return verdict;
  }

  /** From in flight to lingering. */
  function settle(row: number, event: ProbeEvent): void {
    timers.cancel(row);
    hostLimits.forget(row);
    retransmitQueue.cancel(row);
    heldSilences.cancel(row);
    sendBackoff.end(row);
    simultaneousOpens.forget(row);
    table.linger(row, event === PROBE_EVENTS.accepted || event === PROBE_EVENTS.refused);
    counts.decided++;
    if (counts.decided === total) verification.begin();
  }

  function answer(
    row: number,
    attempt: number,
    event: ProbeEvent,
    reason: Reason,
    ttl: number,
    nowUs: number,
    ageUs: number,
  ): VerdictDraft | undefined {
    const verdict = transition(row, event, reason);
    if (verdict === undefined) {
      counts.ignored.duplicate++;
      return undefined;
    }
    verdict.atUs = nowUs - ageUs;
    verdict.ttl = ttl;
    // Nobody can tell which SYN was answered.
    if (!inFlight.isTimed(row, attempt)) return verdict;
    // Those that the kernel refused are taken to be the first.
    verdict.answered = Math.max(1, attempt + 1 - table.unsent[row]);
    // Departures within one system call are spread over it: a shorter round trip than a microsecond counts as one.
    verdict.rttUs = Math.max(1, verdict.atUs - table.sentAt[columnOf(row, attempt)]);
    // The try had timed out: another has left since, or the row was decided and not asked again.
    const isAsked = (spread[row] & SPREAD_ASKED) !== 0;
    verdict.late = attempt + 1 < table.tries[row] || (verdict.was !== null && !isAsked);
    if (verdict.late) counts.late++;
    return verdict;
  }

  function decide(row: number, event: ProbeEvent, reason: Reason, nowUs: number): void {
    const verdict = transition(row, event, reason);
    if (verdict === undefined) return;
    verdict.atUs = nowUs;
    verdictQueue.enqueue();
  }

  function decideSilent(row: number, reason: Reason, doubts: Float64Array, nowUs: number): void {
    const verdict = transition(row, PROBE_EVENTS.exhausted, reason);
    if (verdict === undefined) return;
    tally.addSilence(row, doubts);
    verdict.atUs = nowUs;
    verdict.doubt = doubts[0];
    verdictQueue.enqueue();
  }

  return {
    total: () => total,
    mayStart,
    lowestDrawn: pairs.lowestPosition,
    undecided: () => counts.started - counts.decided,
    needsRoom,
    start,
    mayLeave,
    leaves: (row, nowUs) => {
      sendBackoff.forget(row);
      hostLimits.leaves(row, nowUs);
    },
    answer,
    decide,
    decideSilent,
  };
}
