/**
 * Pacing per host: when the next SYN to a host may leave, so that none exceeds its rate, and when a host's time is over. Slots in
 * time are reserved ahead: each request gets the next free one.
 *
 * A host costs one entry of an open-addressing table. It is forgotten when its last slot has passed, unless its time is limited:
 * then its first slot must be remembered. Pure: time is a parameter, in microseconds.
 */
import { ADDRESS_WORDS, hashAddress, sameWords } from "../../socket/table.ts";

export interface HostRate {
  /**
   * Reserves the host's next slot.
   * @returns its time, `nowUs` at the earliest; -1 when the host's time is over
   */
  reserve(words: Uint32Array, at: number, nowUs: number): number;
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

export function createHostRate({ rate, timeoutUs, seed }: HostRateOptions): HostRate {
  const betweenUs = 1e6 / rate;
  const forgets = timeoutUs === Number.POSITIVE_INFINITY;
  let hosts = new Uint32Array(MIN_ENTRIES * ADDRESS_WORDS);
  /** When the next SYN may leave; 0 in a free entry. */
  let next = new Float64Array(MIN_ENTRIES);
  let first = new Float64Array(MIN_ENTRIES);
  let used = 0;

  function slotOf(words: Uint32Array, at: number): number {
    const mask = next.length - 1;
    let slot = hashAddress(seed, words, at) & mask;
    while (next[slot] !== 0 && !sameWords(hosts, slot * ADDRESS_WORDS, words, at)) slot = (slot + 1) & mask;
    return slot;
  }

  /** Drops hosts that may be forgotten, and grows the table if that is not enough. */
  function rebuild(nowUs: number): void {
    const old = { hosts, next, first };
    const isKept = (slot: number): boolean => old.next[slot] !== 0 && !(forgets && old.next[slot] <= nowUs);
    let kept = 0;
    for (let slot = 0; slot < old.next.length; slot++) if (isKept(slot)) kept++;
    const slots = Math.max(MIN_ENTRIES, 2 ** Math.ceil(Math.log2(kept * 4)));
    hosts = new Uint32Array(slots * ADDRESS_WORDS);
    next = new Float64Array(slots);
    first = new Float64Array(slots);
    used = kept;
    for (let from = 0; from < old.next.length; from++) {
      if (!isKept(from)) continue;
      const slot = slotOf(old.hosts, from * ADDRESS_WORDS);
      for (let i = 0; i < ADDRESS_WORDS; i++) {
        hosts[slot * ADDRESS_WORDS + i] = old.hosts[from * ADDRESS_WORDS + i];
      }
      next[slot] = old.next[from];
      first[slot] = old.first[from];
    }
  }

  return {
    reserve: (words, at, nowUs) => {
      let slot = slotOf(words, at);
      if (next[slot] === 0) {
        if (2 * (used + 1) > next.length) {
          rebuild(nowUs);
          slot = slotOf(words, at);
        }
        used++;
        for (let i = 0; i < ADDRESS_WORDS; i++) hosts[slot * ADDRESS_WORDS + i] = words[at + i];
        first[slot] = nowUs;
        next[slot] = nowUs;
      }
      const atUs = Math.max(nowUs, next[slot]);
      if (atUs - first[slot] > timeoutUs) return -1;
      next[slot] = atUs + betweenUs;
      return atUs;
    },
    endUs: (words, at) => {
      const slot = slotOf(words, at);
      return next[slot] === 0 ? Number.POSITIVE_INFINITY : first[slot] + timeoutUs;
    },
  };
}
