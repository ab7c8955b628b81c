/**
 * The connections of all simulated hosts: one row per 4-tuple, from the SYN that a listening socket took to the end.
 *
 * Half-open ones are numbers in typed arrays. A control block and buffers are allocated only when the peer's ACK comes. Rows
 * are found by 4-tuple, are in a list of half-open or of connected rows, the longest idle first, and have one deadline
 * each. What is done to them is host-tcp.ts's business.
 */
import { type AddressPair, HOST, PEER } from "./answer.ts";
import type { Connection } from "./connection.ts";
import type { HostKind, PortKind } from "./population.ts";
import { createTimeQueue } from "./time-queue.ts";

const NONE = -1;
const NEVER = Number.POSITIVE_INFINITY;
const INITIAL_ROWS = 64;

/** The two lists. */
export const HALF_OPEN = 0;
export const CONNECTED = 1;
type List = typeof HALF_OPEN | typeof CONNECTED;

/** The columns; `grow` replaces each by one of twice the length. */
interface Columns {
  /** Both addresses, eight words a row. */
  pairs: Uint32Array;
  /** The host's port in the upper 16 bits, the peer's in the lower. */
  ports: Uint32Array;
  irs: Uint32Array;
  iss: Uint32Array;
  /** Of the peer's SYN. */
  mss: Uint16Array;
  window: Uint16Array;
  /** SYN-ACKs sent again. */
  repeats: Uint8Array;
  /** When the first SYN-ACK was sent. */
  firstAt: Float64Array;
  deadline: Float64Array;
  /** The time under which the row is in the timers. */
  queuedAt: Float64Array;
  list: Uint8Array;
  /** The rows before and behind it in its list. */
  older: Int32Array;
  younger: Int32Array;
  /** The next row of the same hash; of the next free row. */
  next: Int32Array;
}

const newColumns = (rows: number): Columns => ({
  pairs: new Uint32Array(8 * rows),
  ports: new Uint32Array(rows),
  irs: new Uint32Array(rows),
  iss: new Uint32Array(rows),
  mss: new Uint16Array(rows),
  window: new Uint16Array(rows),
  repeats: new Uint8Array(rows),
  firstAt: new Float64Array(rows),
  deadline: new Float64Array(rows).fill(NEVER),
  queuedAt: new Float64Array(rows).fill(NEVER),
  list: new Uint8Array(rows),
  older: new Int32Array(rows),
  younger: new Int32Array(rows),
  next: new Int32Array(rows),
});

export type Connections = ReturnType<typeof createConnections>;

/** @param most rows at once, a power of two of 64 or more */
export function createConnections(most: number) {
  let capacity = INITIAL_ROWS;
  let columns = newColumns(capacity);
  let heads = new Int32Array(2 * capacity).fill(NONE);
  let firstFree = NONE;
  /** Rows that were ever used. */
  let touched = 0;
  const counts = [0, 0];
  const oldest = [NONE, NONE];
  const youngest = [NONE, NONE];
  const kinds: (HostKind | undefined)[] = [];
  const portKinds: (PortKind | undefined)[] = [];
  const connections: (Connection | undefined)[] = [];
  const timers = createTimeQueue();

  const bucketOf = (pair: AddressPair, at: number, ports: number): number => {
    let h = Math.imul(pair[at + HOST + 3], 0x85eb_ca6b) ^ Math.imul(pair[at + PEER + 3], 0xc2b2_ae35);
    h = Math.imul(h ^ (h >>> 15) ^ ports, 0x9e37_79b1) ^ pair[at + HOST + 2] ^ pair[at + HOST + 1];
    h = Math.imul(h ^ (h >>> 13), 0x85eb_ca6b);
    return (h ^ (h >>> 16)) & (heads.length - 1);
  };

  function grow(): void {
    const old = columns;
    capacity *= 2;
    columns = newColumns(capacity);
    for (const name of Object.keys(old) as (keyof Columns)[]) columns[name].set(old[name]);
    heads = new Int32Array(2 * capacity).fill(NONE);
    for (let row = 0; row < touched; row++) chain(row);
  }

  function chain(row: number): void {
    const bucket = bucketOf(columns.pairs, 8 * row, columns.ports[row]);
    columns.next[row] = heads[bucket];
    heads[bucket] = row;
  }

  function unchain(row: number): void {
    const { next } = columns;
    const bucket = bucketOf(columns.pairs, 8 * row, columns.ports[row]);
    if (heads[bucket] === row) {
      heads[bucket] = next[row];
      return;
    }
    let before = heads[bucket];
    while (next[before] !== row) before = next[before];
    next[before] = next[row];
  }

  function enlist(row: number, list: List): void {
    columns.list[row] = list;
    columns.older[row] = youngest[list];
    columns.younger[row] = NONE;
    if (youngest[list] === NONE) oldest[list] = row;
    else columns.younger[youngest[list]] = row;
    youngest[list] = row;
    counts[list]++;
  }

  function delist(row: number): void {
    const list = columns.list[row];
    const before = columns.older[row];
    const behind = columns.younger[row];
    if (before === NONE) oldest[list] = behind;
    else columns.younger[before] = behind;
    if (behind === NONE) youngest[list] = before;
    else columns.older[behind] = before;
    counts[list]--;
  }

  function arm(row: number, deadlineUs: number): void {
    columns.deadline[row] = deadlineUs;
    if (deadlineUs < columns.queuedAt[row]) {
      columns.queuedAt[row] = deadlineUs;
      timers.push(deadlineUs, row);
    }
  }

  return {
    get columns() {
      return columns;
    },
    kinds,
    portKinds,
    connections,
    /** Rows of a list. */
    count: (list: List): number => counts[list],
    /** The row of a list that has been idle longest; -1 when it has none. */
    oldest: (list: List): number => oldest[list],
    get full() {
      return firstFree === NONE && touched === most;
    },
    find: (pair: AddressPair, ports: number): number => {
      const { pairs, next } = columns;
      for (let row = heads[bucketOf(pair, 0, ports)]; row !== NONE; row = next[row]) {
        if (columns.ports[row] === ports && samePair(pairs, 8 * row, pair)) return row;
      }
      return NONE;
    },
    /** A half-open row for a 4-tuple that has none; there must be room. */
    insert: (pair: AddressPair, ports: number): number => {
      let row = firstFree;
      if (row !== NONE) firstFree = columns.next[row];
      else {
        if (touched === capacity) grow();
        row = touched++;
      }
      columns.pairs.set(pair, 8 * row);
      columns.ports[row] = ports;
      columns.repeats[row] = 0;
      chain(row);
      enlist(row, HALF_OPEN);
      return row;
    },
    remove: (row: number): void => {
      unchain(row);
      delist(row);
      kinds[row] = undefined;
      portKinds[row] = undefined;
      connections[row] = undefined;
      // Its timer stays until it is due, and finds nothing then.
      columns.deadline[row] = NEVER;
      columns.next[row] = firstFree;
      firstFree = row;
    },
    /** Marks a row as the least idle of a list. */
    touch: (row: number, list: List): void => {
      delist(row);
      enlist(row, list);
    },
    arm,
    /** When `expire` next has something to look at. */
    next: (): number => timers.next(),
    /** The next row whose deadline is at or before `nowUs`, disarmed; -1 when there is none. */
    expire: (nowUs: number): number => {
      for (let time = timers.next(); time <= nowUs; time = timers.next()) {
        const row = timers.pop();
        if (columns.queuedAt[row] !== time) continue;
        columns.queuedAt[row] = NEVER;
        const deadline = columns.deadline[row];
        if (deadline > nowUs) {
          if (deadline !== NEVER) arm(row, deadline);
          continue;
        }
        columns.deadline[row] = NEVER;
        return row;
      }
      return NONE;
    },
  };
}

function samePair(pairs: Uint32Array, at: number, pair: AddressPair): boolean {
  for (let i = 0; i < 8; i++) if (pairs[at + i] !== pair[i]) return false;
  return true;
}
