/**
 * What a run knows of each host, or of each prefix: its round trips, how often it answered and how often an answer was lost.
 *
 * A cache of fixed size, four places to a set: who was not heard of for longest makes room. So an entry may change hands
 * while a probe is under way; `holds` tells. Memory is touched only as entries come into use. Pure: time is a parameter, in
 * microseconds.
 */
import { ADDRESS_WORDS, sameWords } from "../../socket/table.ts";

export interface HostCache {
  /** The entry of this address, a new one if need be. */
  entryOf(words: Uint32Array, at: number, nowUs: number): number;
  /** Whether the entry is still this address's. */
  holds(entry: number, words: Uint32Array, at: number): boolean;
  /** Entries are below this. */
  readonly end: number;
  /** Per entry: smoothed round trip and its variation (rtt.ts), microseconds; 0 before the first. */
  readonly srtt: Float32Array;
  readonly rttvar: Float32Array;
  /** Per entry: congestion/base-rtt.ts's, what round trips are compared with, microseconds; 0 when there is nothing. */
  readonly usual: Float32Array;
  /** Per entry: SYNs that were answered, SYNs of answered pairs that were not, ports that said SYN-ACK or RST. */
  readonly answered: Uint32Array;
  readonly lost: Uint32Array;
  readonly open: Uint32Array;
  readonly closed: Uint32Array;
  /** Per entry: MARKS; and above them, from CLOSED_PORT on, a port that said RST, 0 before the first. */
  readonly marks: Uint32Array;
  /** Per entry: when a SYN first and last left for it, milliseconds; -Infinity when none has. */
  readonly firstMs: Float32Array;
  readonly sentMs: Float32Array;
  /** Per entry: whatever the caller keeps for it, 0 at first: its prefix's entry. */
  readonly prefix: Uint32Array;
}

export const MARKS = {
  /** It has a pace of its own (hosts/rst-limited.ts). */
  paced: 1,
  /** Canaries are under way, or have said that it is no tarpit, or that it is one. */
  canaries: 2,
  honest: 4,
  tarpit: 8,
} as const;
/** Above the marks, in the same word: controls without an answer, one after the other; and how much silence there was of late. */
export const UNANSWERED = 0x10;
export const MOST_UNANSWERED = 0x70;
export const SILENCES = 0x100;
export const MOST_SILENCES = 0xff00;
export const CLOSED_PORT = 16;

const WAYS = 4;
/**
 * An entry is 16 words, a line of the processor's cache: the key in four, when it was last asked for, and a word for each array
 * of the interface, all views of one memory. An entry's number is that of its first word.
 */
export const ENTRY_WORDS = 16;
const WORDS = ENTRY_WORDS;
const FIELDS = {
  used: 4,
  srtt: 5,
  rttvar: 6,
  usual: 7,
  answered: 8,
  lost: 9,
  open: 10,
  closed: 11,
  marks: 12,
  firstMs: 13,
  sentMs: 14,
  prefix: 15,
} as const;

/**
 * @param most hosts that may ever be asked for; no more than `MOST_ENTRIES` are kept
 * @param fewest places that there are at least
 */
export function createHostCache(most: number, fewest = FEWEST_PLACES): HostCache {
  // Half of the places stay free: of those that share a set one seldom has to make room then.
  const kept = Math.min(most, MOST_ENTRIES);
  const sets = 2 ** Math.ceil(Math.log2(Math.max(fewest, 2 * kept) / WAYS));
  /**
   * Of each place the entry, counted from 1, and above that a part of the address's hash, so that passing by touches no entry; 0
   * for a free place. Those of a set are taken in turn: behind a free one there is nobody.
   */
  const places = new Int32Array(sets * WAYS);
  const entryAt = (place: number): number => ((places[place] & ENTRY_MASK) - 1) * WORDS;
  const end = Math.max(fewest, kept) * WORDS;
  /** Entries from here on have never been used. */
  let fresh = 0;
  // Room for the views, each of which begins a few words further on.
  const memory = new ArrayBuffer(4 * (end + WORDS));
  const keys = new Uint32Array(memory);
  const whole = (field: number): Uint32Array => new Uint32Array(memory, 4 * field);
  const real = (field: number): Float32Array => new Float32Array(memory, 4 * field);
  /** When each was last asked for, in milliseconds. */
  const used = real(FIELDS.used);
  const firstMs = real(FIELDS.firstMs);
  const sentMs = real(FIELDS.sentMs);

  function clear(entry: number): void {
    keys.fill(0, entry, entry + WORDS);
    firstMs[entry] = Number.NEGATIVE_INFINITY;
    sentMs[entry] = Number.NEGATIVE_INFINITY;
  }

  /** Which of the taken places of a set was not asked for for longest; -1 when none is taken. */
  function oldestOf(set: number): number {
    let oldest = -1;
    for (let place = set; place < set + WAYS && places[place] !== 0; place++) {
      if (oldest < 0 || used[entryAt(place)] < used[entryAt(oldest)]) oldest = place;
    }
    return oldest;
  }

  /** An entry for a set that is not full. When all are in use somebody near makes room. */
  function takeEntry(set: number): number {
    if (fresh < end) {
      fresh += WORDS;
      return fresh - WORDS;
    }
    let near = set;
    while (places[near] === 0) near = (near + WAYS) % places.length;
    const oldest = oldestOf(near);
    const entry = entryAt(oldest);
    let last = oldest;
    while (last + 1 < near + WAYS && places[last + 1] !== 0) last++;
    places[oldest] = places[last];
    places[last] = 0;
    return entry;
  }

  return {
    end,
    entryOf: (words, at, nowUs) => {
      let h = 0;
      for (let i = 0; i < ADDRESS_WORDS; i++) {
        h = Math.imul(h ^ words[at + i], 0x9e3779b1);
        h ^= h >>> 15;
      }
      const set = (h & (sets - 1)) * WAYS;
      const tag = h & ~ENTRY_MASK;
      let place = set;
      for (; place < set + WAYS && places[place] !== 0; place++) {
        if ((places[place] & ~ENTRY_MASK) !== tag) continue;
        const entry = entryAt(place);
        if (!sameWords(keys, entry, words, at)) continue;
        used[entry] = nowUs / 1000;
        return entry;
      }
      const isFull = place === set + WAYS;
      if (isFull) place = oldestOf(set);
      const entry = isFull ? entryAt(place) : takeEntry(set);
      // One of this set may have made room.
      if (place > set && places[place - 1] === 0) place--;
      places[place] = tag | (entry / WORDS + 1);
      clear(entry);
      for (let i = 0; i < ADDRESS_WORDS; i++) keys[entry + i] = words[at + i];
      used[entry] = nowUs / 1000;
      return entry;
    },
    holds: (entry, words, at) => sameWords(keys, entry, words, at),
    srtt: real(FIELDS.srtt),
    rttvar: real(FIELDS.rttvar),
    usual: real(FIELDS.usual),
    answered: whole(FIELDS.answered),
    lost: whole(FIELDS.lost),
    open: whole(FIELDS.open),
    closed: whole(FIELDS.closed),
    marks: whole(FIELDS.marks),
    firstMs,
    sentMs,
    prefix: whole(FIELDS.prefix),
  };
}

const FEWEST_PLACES = 1024;
const MOST_ENTRIES = 1 << 17;
const ENTRY_MASK = 2 * MOST_ENTRIES - 1;

/** Writes the prefix of an address, /24 of IPv4 or /64 of IPv6, as an address that no host has. */
export function loadPrefix(out: Uint32Array, words: Uint32Array, at: number): void {
  const v4 = words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0xffff;
  out[0] = words[at];
  out[1] = words[at + 1];
  out[2] = v4 ? 0xffff : 0;
  out[3] = v4 ? words[at + 3] & 0xffff_ff00 : 0;
}
