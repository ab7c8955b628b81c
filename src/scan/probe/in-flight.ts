/**
 * The probes in flight: the socket table's rows, their timers, and the further columns that several parts of the engine share.
 * What only one part keeps about a row is in that part.
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
   * Per row: SPREAD_SAMPLED for one of the sample that is tried again later, SPREAD_ASKED for one that is asked once more after
   * it has been decided, and SPREAD_VERIFIED when it has been; and below them the number of tries after which the time of the next was set, in `sentAt`, because of bursts of
   * loss; 0 when it was not.
   */
  readonly spread: Uint8Array;
  /** Index of a row's try in the table's per-try columns. */
  columnOf(row: number, attempt: number): number;
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
  return {
    table,
    timers: createTimerWheel(capacity, options.startUs),
    hostOf,
    apart: new Uint32Array(capacity),
    unprovedReset: new Uint8Array(capacity),
    spread: new Uint8Array(capacity),
    columnOf: (row, attempt) => attempt * capacity + row,
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
