/**
 * Pacing per host: when the next SYN to a host may leave, so that none exceeds its rate, and when a host's time is over. Slots in
 * time are reserved ahead: each request gets the next free one. A SYN that is late for its slot, because all SYNs together are
 * too many or another limit holds it, must not leave together with those whose slots come then: what has left counts (the generic cell
 * rate algorithm, ITU-T I.371), and who is held back comes again in turn.
 *
 * A host costs one entry of an open-addressing table. It is forgotten when its last slot has passed, unless its time is limited:
 * then its first slot must be remembered. Pure: time is a parameter, in microseconds.
 */
import { ADDRESS_WORDS, copyWords, hashAddress, sameWords } from "../../socket/table.ts";

export interface HostRate {
  /**
   * Reserves the host's next slot.
   * @returns its time, `nowUs` at the earliest; -1 when the host's time is over
   */
  reserve(words: Uint32Array, at: number, nowUs: number): number;
  /** Whether a SYN to the host may leave now, after those that have. */
  isFree(words: Uint32Array, at: number, nowUs: number): boolean;
  /** When one that may not is to come again: after those that were told so before. */
  again(words: Uint32Array, at: number, nowUs: number): number;
  /** A SYN leaves. */
  left(words: Uint32Array, at: number, nowUs: number): void;
  /** When the time of a host that has had a slot is over; Infinity when never. */
  endUs(words: Uint32Array, at: number): number;
}

export interface HostRateOptions {
  /** SYNs per second to one host; Infinity for no limit. */
  readonly rate: number;
  /** How long a host is probed, from its first SYN on, in microseconds; Infinity for no limit. */
  readonly timeoutUs: number;
  /** Random for each run: which addresses collide depends on it. */
  readonly seed: number;
}

/** Smallest size of the table; a power of two. */
const MIN_ENTRIES = 1024;
/** A SYN may leave so much before its time, at most, or half of the time between two: timers are late by as much. Microseconds. */
const EARLY_US = 5000;

export function createHostRate({ rate, timeoutUs, seed }: HostRateOptions): HostRate {
  const betweenUs = 1e6 / rate;
  const earlyUs = Math.min(EARLY_US, betweenUs / 2);
  const forgets = timeoutUs === Number.POSITIVE_INFINITY;
  let hosts = new Uint32Array(MIN_ENTRIES * ADDRESS_WORDS);
  /** When the next SYN may leave; 0 in a free entry. */
  let next = new Float64Array(MIN_ENTRIES);
  let first = new Float64Array(MIN_ENTRIES);
  /** From when on a SYN may leave after those that have, and when the next that is held back is to come again. */
  let free = new Float64Array(MIN_ENTRIES);
  let retry = new Float64Array(MIN_ENTRIES);
  let used = 0;

  function slotOf(words: Uint32Array, at: number): number {
    const mask = next.length - 1;
    let slot = hashAddress(seed, words, at) & mask;
    while (next[slot] !== 0 && !sameWords(hosts, slot * ADDRESS_WORDS, words, at)) slot = (slot + 1) & mask;
    return slot;
  }

  /** Drops hosts that may be forgotten, and grows the table if that is not enough. */
  function rebuild(nowUs: number): void {
    const old = { hosts, next, first, free, retry };
    const isKept = (slot: number): boolean =>
      old.next[slot] !== 0 && !(forgets && Math.max(old.next[slot], old.free[slot]) <= nowUs);
    let kept = 0;
    for (let slot = 0; slot < old.next.length; slot++) if (isKept(slot)) kept++;
    const slots = Math.max(MIN_ENTRIES, 2 ** Math.ceil(Math.log2(kept * 4)));
    hosts = new Uint32Array(slots * ADDRESS_WORDS);
    next = new Float64Array(slots);
    first = new Float64Array(slots);
    free = new Float64Array(slots);
    retry = new Float64Array(slots);
    used = kept;
    for (let from = 0; from < old.next.length; from++) {
      if (!isKept(from)) continue;
      const slot = slotOf(old.hosts, from * ADDRESS_WORDS);
      copyWords(hosts, slot * ADDRESS_WORDS, old.hosts, from * ADDRESS_WORDS);
      next[slot] = old.next[from];
      first[slot] = old.first[from];
      free[slot] = old.free[from];
      retry[slot] = old.retry[from];
    }
  }

  /** The host's entry, a new one where there is none. */
  function entryOf(words: Uint32Array, at: number, nowUs: number): number {
    let slot = slotOf(words, at);
    if (next[slot] !== 0) return slot;
    if (2 * (used + 1) > next.length) {
      rebuild(nowUs);
      slot = slotOf(words, at);
    }
    used++;
    copyWords(hosts, slot * ADDRESS_WORDS, words, at);
    first[slot] = nowUs;
    next[slot] = nowUs;
    free[slot] = 0;
    retry[slot] = 0;
    return slot;
  }

  return {
    reserve: (words, at, nowUs) => {
      const slot = entryOf(words, at, nowUs);
      const atUs = Math.max(nowUs, next[slot]);
      if (atUs - first[slot] > timeoutUs) return -1;
      next[slot] = atUs + betweenUs;
      return atUs;
    },
    isFree: (words, at, nowUs) => free[slotOf(words, at)] <= nowUs + earlyUs,
    again: (words, at, nowUs) => {
      const slot = entryOf(words, at, nowUs);
      const atUs = Math.max(nowUs, free[slot], retry[slot]);
      retry[slot] = atUs + betweenUs;
      return atUs;
    },
    left: (words, at, nowUs) => {
      const slot = entryOf(words, at, nowUs);
      free[slot] = Math.max(nowUs, free[slot]) + betweenUs;
    },
    endUs: (words, at) => {
      const slot = slotOf(words, at);
      return next[slot] === 0 ? Number.POSITIVE_INFINITY : first[slot] + timeoutUs;
    },
  };
}
