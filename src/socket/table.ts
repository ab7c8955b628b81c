/**
 * The socket table: one row per probe in flight, the control block that the rest of the world never sees.
 *
 * Typed arrays, one per field, so that a row costs no object. A row is found by its peer (address and port), because a run
 * probes each pair once; the caller then holds the whole 4-tuple and the ISN of a try against what the row says. Decided
 * rows stay, so that a late or repeated answer is known for what it is, until their place is needed: oldest first.
 *
 * Open addressing with linear probing and backward-shift deletion: no tombstones, so lookups do not decay with age.
 * No I/O, no clock, no policy: which events change a state is state.ts, when to retry is scan/.
 */
import { PROBE_STATES, type ProbeState } from "./state.ts";

/** Words of an address: IPv6 as it is, IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2). */
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

export const sameWords = (a: Uint32Array, aAt: number, b: Uint32Array, bAt: number): boolean =>
  a[aAt] === b[bAt] && a[aAt + 1] === b[bAt + 1] && a[aAt + 2] === b[bAt + 2] && a[aAt + 3] === b[bAt + 3];

/** The columns of the table. Index per row, or per row and try (`row * maxTries + try`) where it says so. */
export interface SocketTable {
  readonly capacity: number;
  /** Most SYNs for one row. */
  readonly maxTries: number;
  /** Rows in use, decided ones included. */
  readonly used: number;
  /** Decided rows that wait for a late answer, or for their place to be needed. */
  readonly lingering: number;
  /** Row of a peer; -1 when there is none. */
  find(words: Uint32Array, at: number, port: number): number;
  /**
   * Takes a row for a peer that has none, in state SYN-SENT with no tries; evicts the oldest decided row when full.
   * @returns -1 when every row is still undecided.
   */
  insert(words: Uint32Array, at: number, port: number): number;
  /** Marks a row decided: from now on it may be evicted. */
  linger(row: number): void;

  readonly state: Uint8Array;
  readonly tries: Uint8Array;
  readonly peer: Uint32Array;
  readonly peerPort: Uint16Array;
  /** Index of the row's path (local address, family) in the caller's list. */
  readonly path: Uint32Array;
  /** Index of the row's target in the caller's list. */
  readonly target: Uint32Array;
  /** How often the kernel refused to send for this row. */
  readonly refusals: Uint16Array;
  /** Tries that the kernel did not send. */
  readonly unsent: Uint8Array;
  /** A port lent for a try that is still to be made up for; 0 for none. */
  readonly keptPort: Uint16Array;
  /** Per try: local port. */
  readonly localPort: Uint16Array;
  /** Per try: initial send sequence number. */
  readonly iss: Uint32Array;
  /** Per try: when the SYN was sent, in microseconds. */
  readonly sentAt: Float64Array;
}

const NONE = -1;

/** @param seed any number: scatters the hash, so that nobody can choose addresses that collide */
export function createSocketTable(capacity: number, maxTries: number, seed: number): SocketTable {
  if (!(capacity >= 1 && capacity <= 1 << 24)) throw new RangeError(`bad capacity ${capacity}`);
  const slots = 2 ** Math.ceil(Math.log2(capacity * 2));
  const mask = slots - 1;
  const index = new Int32Array(slots).fill(NONE);

  const state = new Uint8Array(capacity);
  const tries = new Uint8Array(capacity);
  const peer = new Uint32Array(capacity * ADDRESS_WORDS);
  const peerPort = new Uint16Array(capacity);
  const path = new Uint32Array(capacity);
  const target = new Uint32Array(capacity);
  const refusals = new Uint16Array(capacity);
  const unsent = new Uint8Array(capacity);
  const keptPort = new Uint16Array(capacity);
  const localPort = new Uint16Array(capacity * maxTries);
  const iss = new Uint32Array(capacity * maxTries);
  const sentAt = new Float64Array(capacity * maxTries);

  // Free rows form a stack; lingering rows a doubly ended queue, oldest at the head.
  const free = Int32Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
  let freeCount = capacity;
  const younger = new Int32Array(capacity).fill(NONE);
  let oldest = NONE;
  let youngest = NONE;
  let lingering = 0;

  const hash = (words: Uint32Array, at: number, port: number): number => {
    let h = seed ^ port;
    for (let i = 0; i < ADDRESS_WORDS; i++) {
      h = Math.imul(h ^ words[at + i], 0x9e3779b1);
      h ^= h >>> 15;
    }
    h = Math.imul(h, 0x85ebca6b);
    return (h ^ (h >>> 13)) & mask;
  };
  const home = (row: number): number => hash(peer, row * ADDRESS_WORDS, peerPort[row]);

  const slotOf = (words: Uint32Array, at: number, port: number): number => {
    let slot = hash(words, at, port);
    for (;;) {
      const row = index[slot];
      if (row === NONE) return slot;
      if (peerPort[row] === port && sameWords(peer, row * ADDRESS_WORDS, words, at)) return slot;
      slot = (slot + 1) & mask;
    }
  };

  const remove = (row: number): void => {
    let hole = slotOf(peer, row * ADDRESS_WORDS, peerPort[row]);
    // Backward shift: move up every later entry of the cluster that may stand in the hole.
    for (let slot = (hole + 1) & mask; index[slot] !== NONE; slot = (slot + 1) & mask) {
      const distance = (slot - home(index[slot])) & mask;
      if (distance >= ((slot - hole) & mask)) {
        index[hole] = index[slot];
        hole = slot;
      }
    }
    index[hole] = NONE;
    state[row] = PROBE_STATES.empty;
    free[freeCount++] = row;
  };

  const evictOldest = (): void => {
    const row = oldest;
    oldest = younger[row];
    if (oldest === NONE) youngest = NONE;
    lingering--;
    remove(row);
  };

  return {
    capacity,
    maxTries,
    get used() {
      return capacity - freeCount;
    },
    get lingering() {
      return lingering;
    },
    find: (words, at, port) => index[slotOf(words, at, port)],
    insert: (words, at, port) => {
      if (freeCount === 0) {
        if (lingering === 0) return NONE;
        evictOldest();
      }
      const slot = slotOf(words, at, port);
      if (index[slot] !== NONE) throw new RangeError("a row for this peer exists already");
      const row = free[--freeCount];
      index[slot] = row;
      for (let i = 0; i < ADDRESS_WORDS; i++) peer[row * ADDRESS_WORDS + i] = words[at + i];
      peerPort[row] = port;
      state[row] = PROBE_STATES.synSent satisfies ProbeState;
      tries[row] = 0;
      refusals[row] = 0;
      unsent[row] = 0;
      keptPort[row] = 0;
      return row;
    },
    linger: (row) => {
      younger[row] = NONE;
      if (youngest === NONE) oldest = row;
      else younger[youngest] = row;
      youngest = row;
      lingering++;
    },
    state,
    tries,
    peer,
    peerPort,
    path,
    target,
    refusals,
    unsent,
    keptPort,
    localPort,
    iss,
    sentAt,
  };
}
