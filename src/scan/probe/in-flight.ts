/**
 * The probes in flight: the socket table's rows, their timers, and the further columns that several parts of the engine share.
 * What only one part keeps about a row is in that part.
 *
 * How a row's SYNs are counted: an attempt is the index of a try, from 0; `table.tries` is how many tries there have been, of which
 * the kernel refused `table.unsent`, taken to be the first. Each try has a port of its own, but for the last where it is repeated
 * (`repeatLast`), and for all beyond the ports there are. How many SYNs have left is `synsSent`.
 * Tested by test/scan/engine/engine.test.ts and test/sim/engine.test.ts.
 */
import type { SourcePorts } from "../../socket/ports.ts";
import { PROBE_STATES } from "../../socket/state.ts";
import { ADDRESS_WORDS, createSocketTable, type SocketTable, sameWords } from "../../socket/table.ts";
import { createTimerWheel, type TimerWheel } from "../../socket/timer-wheel.ts";
import type { Reply } from "./reply-decoder.ts";

export interface InFlight {
  readonly table: SocketTable;
  /** Per row: when its deadline is checked next. */
  readonly timers: TimerWheel;
  /** Per row: its host's entry in the host cache. The entry may have been given to another host since: see `hostIn`. */
  readonly hostOf: Int32Array;
  /** Per row, one bit per try: its host was idle when it left, so that its loss is the path's and not a rate limit of the host. */
  readonly apart: Uint32Array;
  /** Per row: 1 when a reset came to one of its tries that proves nothing. */
  readonly unprovedReset: Uint8Array;
  /**
   * Per row, a bit each and a number:
   *
   *     7  SPREAD_SAMPLED   of the sample that is tried again later
   *     6  SPREAD_VERIFIED  was asked once more after it had been decided
   *     5  SPREAD_ASKED     is being asked so
   *     4 to 0              the tries after which the time of the next was set, in `sentAt`, because of bursts of loss; 0 for not
   */
  readonly spread: Uint8Array;
  /** Index of a row's try in the table's per-try columns. */
  columnOf(row: number, attempt: number): number;
  /** How many SYNs of the row have left. */
  synsSent(row: number): number;
  /** The row's last try is to leave again, from the same port. */
  repeatLast(row: number): void;
  isRepeated(row: number): boolean;
  /** Whether only one SYN has left from the port of this try, so that an answer has a round trip. */
  isTimed(row: number, attempt: number): boolean;
  /** The row is another pair's now. */
  clear(row: number): void;
  /** The row's host entry, looked up again if it has been given to another host. */
  hostIn(row: number, nowUs: number): number;
  /** Fetches what is known of the hosts of `rows[0]` to `rows[count - 1]` into the processor's caches, all at once. */
  touchHosts(rows: Int32Array, count: number): void;
  /** The last try of `row` that left from the reply's local address and port; -1 when none did. */
  tryOf(row: number, reply: Reply): number;
  /** The lowest position of an undecided row; Infinity when there is none. Looks at every row. */
  lowestUndecided(): number;
}

export const SPREAD_SAMPLED = 0x80;
export const SPREAD_VERIFIED = 0x40;
export const SPREAD_ASKED = 0x20;

export interface InFlightOptions {
  readonly capacity: number;
  readonly maxTries: number;
  readonly seed: number;
  readonly startUs: number;
  readonly ports: SourcePorts;
  /** The local address of each path, ADDRESS_WORDS each. */
  readonly localWords: Uint32Array;
  readonly pathState: {
    /** The host cache (measure/host-cache.ts). */
    readonly hosts: {
      readonly marks: Uint32Array;
      holds(host: number, words: Uint32Array, at: number): boolean;
    };
    hostOf(words: Uint32Array, at: number, nowUs: number): number;
  };
}

export function createInFlight(options: InFlightOptions): InFlight {
  const { capacity, ports, localWords, pathState } = options;
  const { hosts } = pathState;
  const table = createSocketTable(capacity, options.maxTries, options.seed);
  const hostOf = new Int32Array(capacity);
  /** What was read: nobody needs it, but V8 would leave reads out that lead nowhere. */
  const touched = new Int32Array(1);
  /** Rows whose last try has been repeated, and how often. */
  const repeats = new Map<number, number>();
  const isRepeated = (row: number): boolean => repeats.size > 0 && repeats.has(row);
  const apart = new Uint32Array(capacity);
  const unprovedReset = new Uint8Array(capacity);
  const spread = new Uint8Array(capacity);
  return {
    table,
    timers: createTimerWheel(capacity, options.startUs),
    hostOf,
    apart,
    unprovedReset,
    spread,
    columnOf: (row, attempt) => attempt * capacity + row,
    synsSent: (row) =>
      table.tries[row] - table.unsent[row] + (repeats.size > 0 ? (repeats.get(row) ?? 0) : 0),
    repeatLast: (row) => {
      table.tries[row]--;
      repeats.set(row, (repeats.get(row) ?? 0) + 1);
    },
    isRepeated,
    isTimed: (row, attempt) => attempt < ports.size && !(isRepeated(row) && attempt === table.tries[row] - 1),
    clear: (row) => {
      apart[row] = 0;
      unprovedReset[row] = 0;
      spread[row] = 0;
      if (repeats.size > 0) repeats.delete(row);
    },
    hostIn: (row, nowUs) => {
      if (!hosts.holds(hostOf[row], table.peer, row * ADDRESS_WORDS)) {
        hostOf[row] = pathState.hostOf(table.peer, row * ADDRESS_WORDS, nowUs);
      }
      return hostOf[row];
    },
    touchHosts: (rows, count) => {
      let read = 0;
      for (let i = 0; i < count; i++) read |= hosts.marks[hostOf[rows[i]]];
      touched[0] = read;
    },
    tryOf: (row, reply) => {
      if (!sameWords(localWords, table.path[row] * ADDRESS_WORDS, reply.local, 0)) return -1;
      const start = table.portStart[row];
      for (let attempt = table.tries[row] - 1; attempt >= 0; attempt--) {
        if (ports.portOf(start, attempt) === reply.localPort) return attempt;
      }
      return -1;
    },
    lowestUndecided: () => {
      let lowest = Number.POSITIVE_INFINITY;
      const touched = table.touched();
      for (let row = 0; row < touched; row++) {
        if (table.state[row] === PROBE_STATES.synSent) lowest = Math.min(lowest, table.position[row]);
      }
      return lowest;
    },
  };
}
