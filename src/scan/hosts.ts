/**
 * What a run knows of each host, or of each prefix: its round trips, how often it answered and how often an answer was lost,
 * and its own pace when it limits what it answers.
 *
 * A cache of fixed size, four places to a set: who was not heard of for longest makes room. So an entry may change hands
 * while a probe is under way; `holds` tells. Pure: time is a parameter, in microseconds.
 */
import { ADDRESS_WORDS, sameWords } from "../socket/table.ts";

export interface Hosts {
  /** The entry of this address, a new one if need be. */
  entryOf(words: Uint32Array, at: number, nowUs: number): number;
  /** Whether the entry is still this address's. */
  holds(entry: number, words: Uint32Array, at: number): boolean;
  /** Per entry: smoothed round trip and its variation (round-trip.ts), microseconds; 0 before the first. */
  readonly srtt: Float32Array;
  readonly rttvar: Float32Array;
  /** Per entry: mean round trip while no queue was seen, microseconds; 0 when there is none. */
  readonly usual: Float32Array;
  /** Per entry: SYNs that were answered, SYNs of answered pairs that were not, ports that said SYN-ACK or RST. */
  readonly answered: Uint16Array;
  readonly lost: Uint16Array;
  readonly open: Uint16Array;
  readonly closed: Uint16Array;
  /** Per entry: MARKS. */
  readonly marks: Uint8Array;
  /** Per entry, once it has a pace of its own: time between SYNs, and when the next may leave, microseconds. */
  readonly intervalUs: Float32Array;
  readonly turnUs: Float64Array;
  /** Per entry: when a SYN first and last left for it, microseconds; -Infinity when none has. */
  readonly firstUs: Float64Array;
  readonly sentUs: Float64Array;
}

export const MARKS = {
  /** It has a pace of its own. */
  paced: 1,
  /** Canaries are under way, or have said that it is no tarpit, or that it is one. */
  canaries: 2,
  honest: 4,
  tarpit: 8,
} as const;

const WAYS = 4;

/** @param most hosts that may ever be asked for; no more than `MOST_ENTRIES` are kept */
export function createHosts(most: number): Hosts {
  // Half of the places stay free, where there may be so many: four that share a set seldom have to make room then.
  const sets = 2 ** Math.ceil(Math.log2(Math.max(1, Math.min(2 * most, MOST_ENTRIES) / WAYS)));
  const entries = sets * WAYS;
  const keys = new Uint32Array(entries * ADDRESS_WORDS);
  /** When each was last asked for, in milliseconds, from 1; 0 for a free place. */
  const usedMs = new Float64Array(entries);
  const srtt = new Float32Array(entries);
  const rttvar = new Float32Array(entries);
  const usual = new Float32Array(entries);
  const answered = new Uint16Array(entries);
  const lost = new Uint16Array(entries);
  const open = new Uint16Array(entries);
  const closed = new Uint16Array(entries);
  const marks = new Uint8Array(entries);
  const intervalUs = new Float32Array(entries);
  const turnUs = new Float64Array(entries);
  const firstUs = new Float64Array(entries);
  const sentUs = new Float64Array(entries);

  function clear(entry: number): void {
    srtt[entry] = 0;
    rttvar[entry] = 0;
    usual[entry] = 0;
    answered[entry] = 0;
    lost[entry] = 0;
    open[entry] = 0;
    closed[entry] = 0;
    marks[entry] = 0;
    intervalUs[entry] = 0;
    turnUs[entry] = 0;
    firstUs[entry] = Number.NEGATIVE_INFINITY;
    sentUs[entry] = Number.NEGATIVE_INFINITY;
  }

  return {
    entryOf: (words, at, nowUs) => {
      let h = 0;
      for (let i = 0; i < ADDRESS_WORDS; i++) {
        h = Math.imul(h ^ words[at + i], 0x9e3779b1);
        h ^= h >>> 15;
      }
      const first = (h & (sets - 1)) * WAYS;
      let oldest = first;
      const now = nowUs / 1000 + 1;
      for (let entry = first; entry < first + WAYS; entry++) {
        if (usedMs[entry] !== 0 && sameWords(keys, entry * ADDRESS_WORDS, words, at)) {
          usedMs[entry] = now;
          return entry;
        }
        if (usedMs[entry] < usedMs[oldest]) oldest = entry;
      }
      clear(oldest);
      for (let i = 0; i < ADDRESS_WORDS; i++) keys[oldest * ADDRESS_WORDS + i] = words[at + i];
      usedMs[oldest] = now;
      return oldest;
    },
    holds: (entry, words, at) => sameWords(keys, entry * ADDRESS_WORDS, words, at),
    srtt,
    rttvar,
    usual,
    answered,
    lost,
    open,
    closed,
    marks,
    intervalUs,
    turnUs,
    firstUs,
    sentUs,
  };
}

const MOST_ENTRIES = 1 << 17;

/** Writes the prefix of an address, /24 of IPv4 or /64 of IPv6, as an address that no host has. */
export function loadPrefix(out: Uint32Array, words: Uint32Array, at: number): void {
  const v4 = words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0xffff;
  out[0] = words[at];
  out[1] = words[at + 1];
  out[2] = v4 ? 0xffff : 0;
  out[3] = v4 ? words[at + 3] & 0xffff_ff00 : 0;
}
