/**
 * What a run knows of each host, or of each prefix: round trips, answers and losses.
 *
 * A cache of fixed size with four places per set: in a full set the entry that was unused for longest is replaced. So an entry
 * may change hands while a probe is under way; `holds` tells. Memory is touched only as entries come into use. Pure: time is a
 * parameter, in microseconds. Not here: what the numbers mean (loss-ledger.ts, probe-timeout.ts, hosts/).
 */
import { ADDRESS_WORDS, copyWords, hashAddress, sameWords } from "../../socket/table.ts";

export interface HostCache {
  /** The entry of this address; a new one if it has none. @param likely where to look first (HostFetch); below 0 for nowhere */
  entryOf(words: Uint32Array, at: number, nowUs: number, likely?: number): number;
  /** Whether the entry is still this address's. */
  holds(entry: number, words: Uint32Array, at: number): boolean;
  /** Entries are numbers below this. */
  readonly end: number;
  /** Those below this have been used, each ENTRY_WORDS after the one before. */
  used(): number;
  /** Per entry: smoothed round trip and its variation (socket/rto.ts), microseconds; 0 before the first. */
  readonly srtt: Float32Array;
  readonly rttvar: Float32Array;
  /** Per entry: base round trip, owned by congestion/base-rtt.ts, microseconds; 0 before the first. */
  readonly baseRtt: Float32Array;
  /** Per entry: SYNs that were answered, SYNs of answered pairs that were lost, ports that sent SYN-ACK and RST. */
  readonly answered: Uint32Array;
  readonly lost: Uint32Array;
  readonly open: Uint32Array;
  readonly closed: Uint32Array;
  /** Per entry: MARKS, two counters above them, and from CLOSED_PORT on a port that sent RST, 0 before the first. */
  readonly marks: Uint32Array;
  /** Per entry: when a SYN first and last left for it, milliseconds; -Infinity before the first. */
  readonly firstMs: Float32Array;
  readonly sentMs: Float32Array;
  /** Per entry: the entry of its prefix in another cache; 0 at first. */
  readonly prefix: Uint32Array;
  /** For createHostFetch. */
  readonly index: { readonly seed: number; readonly places: Int32Array; readonly keys: Uint32Array };
}

/**
 * Brings the entries of `count` addresses, from `words[0]` on, into the processor's caches: at most MOST_TOUCHED.
 * @param likely gets the entry of each, if it has one now; else another's, or below 0
 */
export type HostFetch = (words: Uint32Array, count: number, likely: Int32Array) => void;

export const MARKS = {
  /** It rate-limits its answers, so its SYNs are spaced (hosts/rst-limited.ts). */
  limited: 1,
  /** Canaries are under way, or have shown that it is no tarpit, or that it is one. */
  canaries: 2,
  honest: 4,
  tarpit: 8,
} as const;
/** A counter above the marks, in units and at most: controls in a row that were not answered. */
export const UNANSWERED = 0x10;
export const MAX_UNANSWERED = 0x70;
/** A counter above that: twice the first tries without an answer, minus the RSTs. */
export const SILENT_TRIES = 0x100;
export const MAX_SILENT_TRIES = 0xff00;
export const CLOSED_PORT = 16;

const WAYS = 4;
/**
 * An entry is 16 words, one cache line: four of the key, when it was last asked for, and one for each array of the interface,
 * all views of one memory. An entry's number is that of its first word.
 */
export const ENTRY_WORDS = 16;
const FIELDS = {
  used: 4,
  srtt: 5,
  rttvar: 6,
  baseRtt: 7,
  answered: 8,
  lost: 9,
  open: 10,
  closed: 11,
  marks: 12,
  firstMs: 13,
  sentMs: 14,
  prefix: 15,
} as const;

/** The C library puts 16 bytes before large memory, which begins with a page: with these the first entry begins with a cache line. */
const LINE_OFFSET = 48;
/** Addresses that are touched at once at most. */
export const MOST_TOUCHED = 64;

const MIN_PLACES = 1024;
const MAX_ENTRIES = 1 << 17;
const ENTRY_MASK = 2 * MAX_ENTRIES - 1;

/**
 * @param maxHosts hosts that may ever be asked for; at most `MAX_ENTRIES` are kept
 * @param seed random for each run: which addresses share a set depends on it
 * @param minPlaces smallest number of places
 */
export function createHostCache(maxHosts: number, seed: number, minPlaces = MIN_PLACES): HostCache {
  // Half of the places stay free, so that sets seldom overflow.
  const kept = Math.min(maxHosts, MAX_ENTRIES);
  const sets = 2 ** Math.ceil(Math.log2(Math.max(minPlaces, 2 * kept) / WAYS));
  /**
   * Per place: the entry, counted from 1, and above it part of the address's hash, so that a mismatch touches no entry; 0 for a
   * free place. Sets fill in order; the first free place ends a lookup.
   */
  const places = new Int32Array(sets * WAYS);
  const setMask = sets - 1;
  const entryAt = (place: number): number => ((places[place] & ENTRY_MASK) - 1) * ENTRY_WORDS;
  const end = Math.max(minPlaces, kept) * ENTRY_WORDS;
  /** Entries from here on have never been used. */
  let fresh = 0;
  // Room for the views, each of which begins a few words further on.
  const memory = new ArrayBuffer(4 * (end + 2 * ENTRY_WORDS));
  const keys = new Uint32Array(memory, LINE_OFFSET);
  const integers = (field: number): Uint32Array => new Uint32Array(memory, LINE_OFFSET + 4 * field);
  const reals = (field: number): Float32Array => new Float32Array(memory, LINE_OFFSET + 4 * field);
  /** When each was last asked for, in milliseconds. */
  const used = reals(FIELDS.used);
  const firstMs = reals(FIELDS.firstMs);
  const sentMs = reals(FIELDS.sentMs);

  function clear(entry: number): void {
    keys.fill(0, entry, entry + ENTRY_WORDS);
    firstMs[entry] = Number.NEGATIVE_INFINITY;
    sentMs[entry] = Number.NEGATIVE_INFINITY;
  }

  /** The place of a set that was not asked for for longest; -1 when all are free. */
  function oldestOf(set: number): number {
    let oldest = -1;
    for (let place = set; place < set + WAYS && places[place] !== 0; place++) {
      if (oldest < 0 || used[entryAt(place)] < used[entryAt(oldest)]) oldest = place;
    }
    return oldest;
  }

  /** An entry for a set that is not full. When all entries are in use, the oldest of the nearest used set is taken. */
  function takeEntry(set: number): number {
    if (fresh < end) {
      fresh += ENTRY_WORDS;
      return fresh - ENTRY_WORDS;
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
    used: () => fresh,
    entryOf: (words, at, nowUs, likely = -1) => {
      if (likely >= 0 && sameWords(keys, likely, words, at)) {
        used[likely] = nowUs / 1000;
        return likely;
      }
      const h = hashAddress(seed, words, at);
      const set = (h & setMask) * WAYS;
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
      // The entry may have come from this very set.
      if (place > set && places[place - 1] === 0) place--;
      places[place] = tag | (entry / ENTRY_WORDS + 1);
      clear(entry);
      copyWords(keys, entry, words, at);
      used[entry] = nowUs / 1000;
      return entry;
    },
    holds: (entry, words, at) => sameWords(keys, entry, words, at),
    srtt: reals(FIELDS.srtt),
    rttvar: reals(FIELDS.rttvar),
    baseRtt: reals(FIELDS.baseRtt),
    answered: integers(FIELDS.answered),
    lost: integers(FIELDS.lost),
    open: integers(FIELDS.open),
    closed: integers(FIELDS.closed),
    marks: integers(FIELDS.marks),
    firstMs,
    sentMs,
    prefix: integers(FIELDS.prefix),
    index: { seed, places, keys },
  };
}

/**
 * Apart from the cache, because V8 makes the memory of a closure that is created once a constant of its code: there are several caches,
 * and one loop that has to be fast.
 */
export function createHostFetch({ index: { seed, places, keys } }: Pick<HostCache, "index">): HostFetch {
  const setMask = places.length / WAYS - 1;
  const hashes = new Int32Array(MOST_TOUCHED);
  /** What was read: nobody needs it, but V8 would leave reads out that lead nowhere. */
  const touched = new Int32Array(1);
  return (words, count, likely) => {
    // Short loops, whose loads depend on no other of theirs: so the processor has many under way at once.
    for (let i = 0; i < count; i++) hashes[i] = hashAddress(seed, words, i * ADDRESS_WORDS);
    let read = 0;
    for (let i = 0; i < count; i++) read |= places[(hashes[i] & setMask) * WAYS];
    for (let i = 0; i < count; i++) {
      const set = (hashes[i] & setMask) * WAYS;
      const tag = hashes[i] & ~ENTRY_MASK;
      let place = set;
      while (place < set + WAYS - 1 && (places[place] & ~ENTRY_MASK) !== tag) place++;
      likely[i] = ((places[place] & ENTRY_MASK) - 1) * ENTRY_WORDS;
    }
    for (let i = 0; i < count; i++) read |= keys[likely[i] < 0 ? 0 : likely[i]];
    touched[0] = read;
  };
}

/** Writes the prefix of an address (/24 of IPv4, /64 of IPv6) as an address that no host has. */
export function loadPrefix(out: Uint32Array, words: Uint32Array, at: number): void {
  const v4 = words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0xffff;
  out[0] = words[at];
  out[1] = words[at + 1];
  out[2] = v4 ? 0xffff : 0;
  out[3] = v4 ? words[at + 3] & 0xffff_ff00 : 0;
}
