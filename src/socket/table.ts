/**
 * The socket table: one row per probe in flight, its socket control information.
 *
 * Typed arrays, one per field, so that a row costs no object. A row is found by its peer (address and port), because a run
 * probes each pair once; the caller then checks the whole 4-tuple and the ISN of the try. Decided rows stay for a while,
 * so that late and repeated answers are recognised: a few answered ones, more silent ones, the oldest evicted first. Their
 * number is bounded, so that a fast run's rows stay in the processor's caches. Memory is touched only as rows come into use.
 *
 * Open addressing with linear probing and backward-shift deletion: no tombstones, so lookups do not decay with age.
 * No I/O, no clock, no policy: which events change a state is state.ts, when to retry is scan/.
 */
import { formatAddress } from "../wire/address.ts";
import { PROBE_STATES, type ProbeState } from "./state.ts";

/** Words of an address: IPv6 unchanged, IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2). */
export const ADDRESS_WORDS = 4;
const MAPPED_PREFIX = 0x0000ffff;

/** Writes the address at `bytes[at]` (`length` 4 or 16) as four words. */
export function loadAddress(
  words: Uint32Array,
  to: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): void {
  if (length === 4) {
    words[to] = 0;
    words[to + 1] = 0;
    words[to + 2] = MAPPED_PREFIX;
    words[to + 3] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
    return;
  }
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    const b = at + 4 * i;
    words[to + i] = (bytes[b] << 24) | (bytes[b + 1] << 16) | (bytes[b + 2] << 8) | bytes[b + 3];
  }
}

/** The address in four words, as `length` (4 or 16) bytes: the inverse of loadAddress. */
export function storeAddress(words: Uint32Array, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++) bytes[i] = words[at + (i >> 2)] >>> (24 - 8 * (i & 3));
  return bytes.slice(16 - length);
}

/** The address in four words; one that is mapped is IPv4's. */
export const addressOf = (words: Uint32Array, at: number): Uint8Array =>
  storeAddress(words, at, words[at] === 0 && words[at + 1] === 0 && words[at + 2] === MAPPED_PREFIX ? 4 : 16);

/** The same as text. */
export const addressText = (words: Uint32Array, at: number): string => formatAddress(addressOf(words, at));

// Not as loops: V8 does not unroll them, and every probe copies, compares and hashes its peer's address several times.
export const sameWords = (a: Uint32Array, aAt: number, b: Uint32Array, bAt: number): boolean =>
  a[aAt] === b[bAt] && a[aAt + 1] === b[bAt + 1] && a[aAt + 2] === b[bAt + 2] && a[aAt + 3] === b[bAt + 3];

export function copyWords(to: Uint32Array, toAt: number, from: Uint32Array, fromAt: number): void {
  to[toAt] = from[fromAt];
  to[toAt + 1] = from[fromAt + 1];
  to[toAt + 2] = from[fromAt + 2];
  to[toAt + 3] = from[fromAt + 3];
}

function addWord(hash: number, word: number): number {
  const h = Math.imul(hash ^ word, 0x9e3779b1);
  return h ^ (h >>> 15);
}

/**
 * Hash of an address, 32 bits. Which addresses collide depends on `seed`, which is random for each run, so that nobody can choose
 * addresses that share a slot. The same for all tables of peers and hosts.
 */
export function hashAddress(seed: number, words: Uint32Array, at: number): number {
  let h = addWord(addWord(seed, words[at]), words[at + 1]);
  h = addWord(addWord(h, words[at + 2]), words[at + 3]);
  h = Math.imul(h, 0x85ebca6b);
  return h ^ (h >>> 13);
}

/** Rows of decided probes that are remembered: answered ones, and silent ones, to which an answer may still come. */
export const ANSWERED_KEPT = 4096;
export const SILENT_KEPT = 1 << 17;

/** The table and its columns, indexed by row; `peer` by 4 * row, and columns "per try" by `try * capacity + row`. */
export interface SocketTable {
  readonly capacity: number;
  /** Most SYNs for one row. */
  readonly maxTries: number;
  /** Rows in use, decided ones included. */
  used(): number;
  /** One more than the highest row that was ever in use. */
  touched(): number;
  /** Decided rows that are kept for late answers. */
  lingering(): number;
  /** Row of a peer; -1 when there is none. */
  find(words: Uint32Array, at: number, port: number): number;
  /**
   * Takes a row for a peer that has none, in state SYN-SENT with no tries. Where more decided rows are kept than enough, or no row is
   * free, it evicts the oldest answered one, or else the oldest silent one: `touch` has fetched what that looks at.
   * @param hash of the peer, where `touch` has told it
   * @returns -1 when every row is still undecided.
   */
  insert(words: Uint32Array, at: number, port: number, hash?: number): number;
  /**
   * Brings what inserting `count` peers will look at into the processor's caches: with the addresses from `words[0]` on, and these
   * ports. @param hashes gets the hash of each
   */
  touch(words: Uint32Array, ports: Uint16Array, count: number, hashes: Int32Array): void;
  /** Marks a row decided: from now on it may be evicted. */
  linger(row: number, answered: boolean): void;

  readonly state: Uint8Array;
  readonly tries: Uint8Array;
  readonly peer: Uint32Array;
  readonly peerPort: Uint16Array;
  /** Index of the row's path (local address, IP version) in the caller's list. */
  readonly path: Uint16Array;
  /** The pair's position in the caller's order. */
  readonly position: Float64Array;
  /** Where the row's source ports start (ports.ts). */
  readonly portStart: Uint16Array;
  /** Number of times that the kernel refused to send for this row, firewalls apart (scan/engine/send-backoff.ts). */
  readonly refusals: Uint16Array;
  /** Tries that the kernel did not send. */
  readonly unsent: Uint8Array;
  /** Per try: initial send sequence number. */
  readonly iss: Uint32Array;
  /**
   * Per try: when its SYN was sent, in microseconds; before that when it is due, where bursts of loss spread the tries; NaN where the
   * kernel refused it.
   */
  readonly sentAt: Float64Array;
}

/** Row numbers are kept as row + 1 where 0 must mean none, so that fresh memory needs no filling. */
const NONE = 0;
/** The index starts small and grows with the rows in use, so that a fast run stays in the processor's caches. */
const FEWEST_SLOTS = 1 << 14;

/** A queue of decided rows, the oldest first, linked through `younger`. */
interface Lingering {
  oldest: number;
  youngest: number;
  length: number;
}

/** @param seed any number: keys the hash, so that an attacker cannot choose addresses that collide */
export function createSocketTable(capacity: number, maxTries: number, seed: number): SocketTable {
  if (!(capacity >= 1 && capacity <= 1 << 24)) throw new RangeError(`bad capacity ${capacity}`);
  let mask = Math.min(FEWEST_SLOTS, 2 ** Math.ceil(Math.log2(capacity * 2))) - 1;
  /**
   * Per slot: row + 1, and the hash of its peer, so that probing past a slot touches no row. There is memory for all slots from the
   * start, but only what `mask` reaches is touched.
   */
  const index = new Int32Array(4 * 2 ** Math.ceil(Math.log2(capacity)));

  const state = new Uint8Array(capacity);
  const tries = new Uint8Array(capacity);
  const peer = new Uint32Array(capacity * ADDRESS_WORDS);
  const peerPort = new Uint16Array(capacity);
  const path = new Uint16Array(capacity);
  const position = new Float64Array(capacity);
  const portStart = new Uint16Array(capacity);
  const refusals = new Uint16Array(capacity);
  const unsent = new Uint8Array(capacity);
  const iss = new Uint32Array(capacity * maxTries);
  const sentAt = new Float64Array(capacity * maxTries);

  // Free rows: a stack of those given back, then those never used, `fresh` and above.
  const free = new Int32Array(capacity);
  let freeCount = 0;
  let fresh = 0;
  const younger = new Int32Array(capacity);
  const hashOf = new Int32Array(capacity);
  /** What was read: nobody needs it, but V8 would leave reads out that lead nowhere. */
  const touched = new Int32Array(1);
  const answeredRows: Lingering = { oldest: NONE, youngest: NONE, length: 0 };
  const silentRows: Lingering = { oldest: NONE, youngest: NONE, length: 0 };

  const hash = (words: Uint32Array, at: number, port: number): number => hashAddress(seed ^ port, words, at);

  /** The slot of a peer with this hash, or the free slot where it belongs. */
  const slotOf = (h: number, words: Uint32Array, at: number, port: number): number => {
    let slot = h & mask;
    for (;;) {
      const entry = index[2 * slot];
      if (entry === NONE) return slot;
      if (index[2 * slot + 1] === h) {
        const row = entry - 1;
        if (peerPort[row] === port && sameWords(peer, row * ADDRESS_WORDS, words, at)) return slot;
      }
      slot = (slot + 1) & mask;
    }
  };

  const growIndex = (): void => {
    const old = index.slice(0, 2 * (mask + 1));
    index.fill(NONE, 0, old.length);
    mask = 2 * mask + 1;
    for (let from = 0; from < old.length; from += 2) {
      if (old[from] === NONE) continue;
      let slot = old[from + 1] & mask;
      while (index[2 * slot] !== NONE) slot = (slot + 1) & mask;
      index[2 * slot] = old[from];
      index[2 * slot + 1] = old[from + 1];
    }
  };

  const remove = (row: number): void => {
    let hole = hashOf[row] & mask;
    while (index[2 * hole] !== row + 1) hole = (hole + 1) & mask;
    // Backward shift: move up every later entry of the cluster that may fill the hole.
    for (let slot = (hole + 1) & mask; index[2 * slot] !== NONE; slot = (slot + 1) & mask) {
      const distance = (slot - index[2 * slot + 1]) & mask;
      if (distance >= ((slot - hole) & mask)) {
        index[2 * hole] = index[2 * slot];
        index[2 * hole + 1] = index[2 * slot + 1];
        hole = slot;
      }
    }
    index[2 * hole] = NONE;
    state[row] = PROBE_STATES.empty;
    free[freeCount++] = row;
  };

  const evictOldest = (rows: Lingering): void => {
    const row = rows.oldest - 1;
    rows.oldest = younger[row];
    if (rows.oldest === NONE) rows.youngest = NONE;
    rows.length--;
    remove(row);
  };

  const takeFree = (): number => {
    if (answeredRows.length > ANSWERED_KEPT) evictOldest(answeredRows);
    else if (silentRows.length > SILENT_KEPT) evictOldest(silentRows);
    if (freeCount > 0) return free[--freeCount];
    if (fresh < capacity) return fresh++;
    if (answeredRows.length > 0) evictOldest(answeredRows);
    else if (silentRows.length > 0) evictOldest(silentRows);
    else return -1;
    return free[--freeCount];
  };

  return {
    capacity,
    maxTries,
    used: () => fresh - freeCount,
    touched: () => fresh,
    lingering: () => answeredRows.length + silentRows.length,
    find: (words, at, port) => index[2 * slotOf(hash(words, at, port), words, at, port)] - 1,
    insert: (words, at, port, h = hash(words, at, port)) => {
      const row = takeFree();
      if (row < 0) return -1;
      if (2 * (fresh - freeCount) > mask + 1) growIndex();
      const slot = slotOf(h, words, at, port);
      if (index[2 * slot] !== NONE) {
        free[freeCount++] = row;
        throw new RangeError("a row for this peer exists already");
      }
      index[2 * slot] = row + 1;
      index[2 * slot + 1] = h;
      hashOf[row] = h;
      copyWords(peer, row * ADDRESS_WORDS, words, at);
      peerPort[row] = port;
      state[row] = PROBE_STATES.synSent satisfies ProbeState;
      tries[row] = 0;
      refusals[row] = 0;
      unsent[row] = 0;
      return row;
    },
    touch: (words, ports, count, hashes) => {
      for (let i = 0; i < count; i++) hashes[i] = hash(words, i * ADDRESS_WORDS, ports[i]);
      // A short loop, whose loads depend on no other of it: so the processor has many under way at once.
      let read = 0;
      for (let i = 0; i < count; i++) read |= index[2 * (hashes[i] & mask)];
      // Each may evict a row.
      let row = (answeredRows.length > ANSWERED_KEPT ? answeredRows : silentRows).oldest - 1;
      for (let i = 0; i < count && row >= 0; i++) {
        read |= index[2 * (hashOf[row] & mask)];
        row = younger[row] - 1;
      }
      touched[0] = read;
    },
    linger: (row, answered) => {
      const rows = answered ? answeredRows : silentRows;
      younger[row] = NONE;
      if (rows.youngest === NONE) rows.oldest = row + 1;
      else younger[rows.youngest - 1] = row + 1;
      rows.youngest = row + 1;
      rows.length++;
    },
    state,
    tries,
    peer,
    peerPort,
    path,
    position,
    portStart,
    refusals,
    unsent,
    iss,
    sentAt,
  };
}
