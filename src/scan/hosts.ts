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
  /** Entries are below this. */
  readonly end: number;
  /** Per entry: smoothed round trip and its variation (round-trip.ts), microseconds; 0 before the first. */
  readonly srtt: Float32Array;
  readonly rttvar: Float32Array;
  /** Per entry: mean round trip while no queue was seen, microseconds; 0 when there is none. */
  readonly usual: Float32Array;
  /** Per entry: SYNs that were answered, SYNs of answered pairs that were not, ports that said SYN-ACK or RST. */
  readonly answered: Uint32Array;
  readonly lost: Uint32Array;
  readonly open: Uint32Array;
  readonly closed: Uint32Array;
  /** Per entry: MARKS. */
  readonly marks: Uint32Array;
  /** Per entry: when a SYN first and last left for it, milliseconds; -Infinity when none has. */
  readonly firstMs: Float32Array;
  readonly sentMs: Float32Array;
  /** Per entry: whatever the caller keeps for it, 0 at first: its prefix's entry. */
  readonly prefix: Uint32Array;
  /** Per entry, once it has a pace of its own: time between SYNs in milliseconds, and when the next may leave, microseconds. */
  intervalMs(entry: number): number;
  setPace(entry: number, ms: number): void;
  turnUs(entry: number): number;
  setTurn(entry: number, us: number): void;
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
/**
 * An entry is 16 words, a line of the processor's cache: the key in four, when it was last asked for, and a word for each array
 * of the interface, all views of one memory. An entry's number is that of its first word.
 */
const WORDS = 16;
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
export function createHosts(most: number, fewest = FEWEST_ENTRIES): Hosts {
  // Half of the places stay free, where there may be so many: of those that share a set one seldom has to make room then.
  const sets = 2 ** Math.ceil(Math.log2(Math.min(Math.max(fewest, 2 * most), MOST_ENTRIES) / WAYS));
  const end = sets * WAYS * WORDS;
  // Room for the views, each of which begins a few words further on.
  const memory = new ArrayBuffer(4 * (end + WORDS));
  const keys = new Uint32Array(memory);
  const whole = (field: number): Uint32Array => new Uint32Array(memory, 4 * field);
  const real = (field: number): Float32Array => new Float32Array(memory, 4 * field);
  /** When each was last asked for, in milliseconds, from 1; 0 for a free place. */
  const used = real(FIELDS.used);
  const firstMs = real(FIELDS.firstMs);
  const sentMs = real(FIELDS.sentMs);
  // Few hosts have a pace of their own.
  const intervals = new Map<number, number>();
  const turns = new Map<number, number>();

  function clear(entry: number): void {
    keys.fill(0, entry, entry + WORDS);
    firstMs[entry] = Number.NEGATIVE_INFINITY;
    sentMs[entry] = Number.NEGATIVE_INFINITY;
    if (intervals.size > 0) {
      intervals.delete(entry);
      turns.delete(entry);
    }
  }

  return {
    end,
    entryOf: (words, at, nowUs) => {
      let h = 0;
      for (let i = 0; i < ADDRESS_WORDS; i++) {
        h = Math.imul(h ^ words[at + i], 0x9e3779b1);
        h ^= h >>> 15;
      }
      const first = (h & (sets - 1)) * WAYS * WORDS;
      let oldest = first;
      const now = nowUs / 1000 + 1;
      for (let entry = first; entry < first + WAYS * WORDS; entry += WORDS) {
        if (used[entry] !== 0 && sameWords(keys, entry, words, at)) {
          used[entry] = now;
          return entry;
        }
        // Places are taken in turn: behind a free one there is nobody.
        if (used[entry] < used[oldest]) oldest = entry;
        if (used[entry] === 0) break;
      }
      clear(oldest);
      for (let i = 0; i < ADDRESS_WORDS; i++) keys[oldest + i] = words[at + i];
      used[oldest] = now;
      return oldest;
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
    intervalMs: (entry) => intervals.get(entry) ?? 0,
    setPace: (entry, ms) => {
      intervals.set(entry, ms);
    },
    turnUs: (entry) => turns.get(entry) ?? 0,
    setTurn: (entry, us) => {
      turns.set(entry, us);
    },
  };
}

const FEWEST_ENTRIES = 1024;
const MOST_ENTRIES = 1 << 18;

/** Writes the prefix of an address, /24 of IPv4 or /64 of IPv6, as an address that no host has. */
export function loadPrefix(out: Uint32Array, words: Uint32Array, at: number): void {
  const v4 = words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0xffff;
  out[0] = words[at];
  out[1] = words[at + 1];
  out[2] = v4 ? 0xffff : 0;
  out[3] = v4 ? words[at + 3] & 0xffff_ff00 : 0;
}
