/**
 * Seeded randomness: a hash for what stays the same (what each host does), a generator for single events (which packet is
 * lost). Not for secrets.
 */

/** Uniform numbers from 0 up to, not including, 1. */
export type Random = () => number;

/** An independent generator for each (seed, stream): draws from one do not affect the others. (Mulberry32.) */
export function createRandom(seed: number, stream: number): Random {
  let state = mix(mix(seed) ^ Math.imul(stream, 0x9e37_79b1));
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** Draws a time to the next of events that come at random, so long apart on average: exponential. */
export const drawExponential = (random: Random, mean: number): number => -Math.log(1 - random()) * mean;

/** Mixes a 32-bit word: each input bit affects every output bit (MurmurHash3's finalizer). */
function mix(word: number): number {
  let h = word | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return h ^ (h >>> 16);
}

const absorb = (h: number, word: number): number => {
  const k = Math.imul(Math.imul(word, 0xcc9e_2d51) ^ (word >>> 17), 0x1b87_3593);
  const r = h ^ k;
  return (Math.imul((r << 13) | (r >>> 19), 5) + 0xe654_6b64) | 0;
};

/** A 32-bit hash of an address (four words at `words[at]`) and one word more, under a seed and a salt. */
export function hashAddress(
  seed: number,
  salt: number,
  words: Uint32Array,
  at: number,
  word: number,
): number {
  let h = absorb(seed | 0, salt);
  h = absorb(h, words[at]);
  h = absorb(h, words[at + 1]);
  h = absorb(h, words[at + 2]);
  h = absorb(h, words[at + 3]);
  return mix(absorb(h, word)) >>> 0;
}

/** The same as a number from 0 up to, not including, 1. */
export const drawAddress = (
  seed: number,
  salt: number,
  words: Uint32Array,
  at: number,
  word: number,
): number => hashAddress(seed, salt, words, at, word) / 0x1_0000_0000;
