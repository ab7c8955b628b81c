/**
 * Verdicts: from an event that decides a row, or changes what was decided, to the verdict that waits to be handed over; and the
 * tallies of them. A verdict once fallen is corrected by a better one only (socket/state.ts says which are better).
 *
 * Not here: what is proved and what not (receive.ts), when silence is one (timeouts.ts).
 */
import type { SourcePorts } from "../../socket/ports.ts";
import {
  nextState,
  PROBE_EVENTS,
  PROBE_STATES,
  type ProbeEvent,
  type ProbeState,
} from "../../socket/state.ts";
import { ADDRESS_WORDS } from "../../socket/table.ts";
import { portState } from "../probe/classify.ts";
import type { InFlight } from "../probe/in-flight.ts";
import type { PortState, Reason } from "../probe/result.ts";
import { newVerdictSlot, type Verdict, type VerdictSlot } from "../probe/verdict.ts";
import type { Path } from "../targets/probe-source.ts";
import type { EngineCounters } from "./counters.ts";

export interface VerdictQueue {
  /**
   * An answer to `attempt` came `ageUs` before `nowUs`.
   * @returns the verdict, for what is to be added; undefined when it changed nothing
   */
  answer(
    row: number,
    attempt: number,
    event: ProbeEvent,
    reason: Reason,
    ttl: number,
    nowUs: number,
    ageUs: number,
  ): VerdictSlot | undefined;
  /** @returns the verdict, as of a port from which nothing came; undefined when the event changes nothing */
  decide(
    row: number,
    event: ProbeEvent,
    reason: Reason,
    nowUs: number,
    ageUs?: number,
  ): VerdictSlot | undefined;
  /**
   * Nothing came; with the chance `doubt` it was lost or withheld.
   * @param openDoubt the chance that a SYN-ACK was lost, which no host withholds
   */
  decideSilent(row: number, doubt: number, openDoubt: number, nowUs: number): void;
  /** The newest verdict is not to be handed over: somebody has kept a copy. */
  withdraw(): void;
  /** The next verdict, in the order they fell; its memory is used again. */
  poll(): Verdict | undefined;
}

export interface VerdictQueueOptions {
  readonly inFlight: InFlight;
  readonly ports: SourcePorts;
  readonly paths: readonly Path[];
  readonly counts: EngineCounters;
  /** A row that was undecided has its verdict. */
  readonly onSettled: (row: number, event: ProbeEvent) => void;
}

/** Slots that are kept to be used again. */
const MOST_SLOTS = 8192;

export function createVerdictQueue({
  inFlight,
  ports,
  paths,
  counts,
  onSettled,
}: VerdictQueueOptions): VerdictQueue {
  const { table, columnOf } = inFlight;
  const { ignored } = counts;
  /** Verdicts to hand over, from `head` to `end`; the slots are used again when all are taken. */
  const slots: VerdictSlot[] = [];
  let head = 0;
  let end = 0;
  /** Why each filtered row is: only those may still change. Numbers of `filterReasons`. */
  const filteredBy = new Uint8Array(table.capacity);
  const filterReasons: Reason[] = [];
  /** The open doubt of each silent row. */
  const doubtOf = new Float32Array(table.capacity);

  function answer(
    row: number,
    attempt: number,
    event: ProbeEvent,
    reason: Reason,
    ttl: number,
    nowUs: number,
    ageUs: number,
  ): VerdictSlot | undefined {
    const atUs = nowUs - ageUs;
    const sentAt = table.sentAt[columnOf(row, attempt)];
    const slot = decide(row, event, reason, nowUs, ageUs);
    if (slot === undefined) {
      ignored.duplicate++;
      return undefined;
    }
    slot.ttl = ttl;
    // Two tries from one port: which of them was answered cannot be told.
    if (attempt >= ports.size) return slot;
    slot.answered = attempt + 1;
    // Departures within one system call are spread over it: a round trip of less than that says "a microsecond at most".
    slot.rttUs = Math.max(1, atUs - sentAt);
    // Its time was over: another try has left since, or the verdict had fallen.
    slot.late = attempt + 1 < slot.tries || slot.was !== null;
    if (slot.late) counts.late++;
    return slot;
  }

  function decide(
    row: number,
    event: ProbeEvent,
    reason: Reason,
    nowUs: number,
    ageUs = 0,
  ): VerdictSlot | undefined {
    const before = table.state[row] as ProbeState;
    const after = nextState(before, event);
    if (after === before) return undefined;
    table.state[row] = after;
    const first = before === PROBE_STATES.synSent;
    const state = portState(after);
    const slot = nextSlot();
    slot.position = table.position[row];
    for (let i = 0; i < ADDRESS_WORDS; i++) slot.peer[i] = table.peer[row * ADDRESS_WORDS + i];
    slot.path = table.path[row];
    slot.family = paths[slot.path].local.length === 4 ? 4 : 6;
    slot.port = table.peerPort[row];
    slot.state = state;
    slot.reason = reason;
    slot.rttUs = Number.NaN;
    slot.ttl = 0;
    slot.tries = table.tries[row] - table.unsent[row];
    slot.answered = 0;
    slot.responder = null;
    slot.late = false;
    slot.doubt = Number.NaN;
    slot.answersAll = false;
    slot.was = first ? null : portState(before);
    slot.atUs = nowUs - ageUs;
    slot.handshake = undefined;
    tally(state, reason, 1);
    if (first) onSettled(row, event);
    else {
      tally(portState(before), filterReasons[filteredBy[row]], -1);
      if (before === PROBE_STATES.silent) {
        counts.path.doubts -= doubtOf[row];
        counts.path.silentTries -= table.tries[row];
      }
    }
    if (state === "filtered") filteredBy[row] = internReason(reason);
    return slot;
  }

  function decideSilent(row: number, doubt: number, openDoubt: number, nowUs: number): void {
    doubtOf[row] = openDoubt;
    counts.path.doubts += openDoubt;
    counts.path.silentTries += table.tries[row];
    const slot = decide(row, PROBE_EVENTS.exhausted, "no-response", nowUs);
    if (slot !== undefined) slot.doubt = doubt;
  }

  function internReason(reason: Reason): number {
    const known = filterReasons.indexOf(reason);
    return known >= 0 ? known : filterReasons.push(reason) - 1;
  }

  function tally(state: PortState, reason: Reason, change: number): void {
    counts.states[state] += change;
    const reasons = counts.reasons[state];
    reasons[reason] = (reasons[reason] ?? 0) + change;
  }

  function nextSlot(): VerdictSlot {
    if (end === slots.length) slots.push(newVerdictSlot());
    return slots[end++];
  }

  return {
    answer,
    decide,
    decideSilent,
    withdraw: () => {
      end--;
    },
    poll: () => {
      if (head < end) return slots[head++];
      head = 0;
      end = 0;
      // After a stall there may have been very many.
      if (slots.length > MOST_SLOTS) slots.length = MOST_SLOTS;
      return undefined;
    },
  };
}
