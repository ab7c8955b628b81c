/**
 * Token buckets, one per address: packets per second, and a burst after a pause. For RST and ICMP limits.
 *
 * A bucket that is full again equals one that was never used: it is dropped when room is needed.
 */
import type { LimitDescription } from "./description.ts";

export interface Limits {
  /** Takes a token for the address at `words[at]`. @returns false when none is left: the packet must not be sent */
  take(words: Uint32Array, at: number, nowUs: number): boolean;
}

/** Buckets at first; a power of two. */
const INITIAL_SLOTS = 64;

export function createLimits({ ratePps, burst = Math.max(1, ratePps) }: LimitDescription): Limits {
  const perUs = ratePps / 1e6;
  let slots = INITIAL_SLOTS;
  let keys = new Uint32Array(4 * slots);
  /** When each bucket was, or will be, full; NaN for a free slot. */
  let fullAt = new Float64Array(slots).fill(Number.NaN);
  let used = 0;

  function slotOf(words: Uint32Array, at: number): number {
    const a = Math.imul(words[at] ^ words[at + 1], 0x85eb_ca6b) ^ Math.imul(words[at + 2], 0xc2b2_ae35);
    const h = Math.imul(a ^ words[at + 3], 0x9e37_79b1);
    let slot = (h ^ (h >>> 15)) & (slots - 1);
    while (!Number.isNaN(fullAt[slot])) {
      const k = 4 * slot;
      if (
        keys[k] === words[at] &&
        keys[k + 1] === words[at + 1] &&
        keys[k + 2] === words[at + 2] &&
        keys[k + 3] === words[at + 3]
      )
        return slot;
      slot = (slot + 1) & (slots - 1);
    }
    return slot;
  }

  /** Drops the full buckets, and grows if that makes no room. */
  function tidy(nowUs: number): void {
    const [oldKeys, oldFullAt] = [keys, fullAt];
    const live = fullAt.reduce((count, at) => count + (at > nowUs ? 1 : 0), 0);
    if (live * 4 > slots) slots *= 2;
    keys = new Uint32Array(4 * slots);
    fullAt = new Float64Array(slots).fill(Number.NaN);
    used = 0;
    for (let old = 0; old < oldFullAt.length; old++) {
      if (oldFullAt[old] > nowUs) insert(oldKeys, 4 * old, oldFullAt[old]);
    }
  }

  function insert(words: Uint32Array, at: number, full: number): void {
    const slot = slotOf(words, at);
    for (let i = 0; i < 4; i++) keys[4 * slot + i] = words[at + i];
    fullAt[slot] = full;
    used++;
  }

  return {
    take: (words, at, nowUs) => {
      const slot = slotOf(words, at);
      const known = !Number.isNaN(fullAt[slot]);
      const full = known ? Math.max(nowUs, fullAt[slot]) : nowUs;
      // Tokens there now: burst - (full - now) * rate.
      if (burst - (full - nowUs) * perUs < 1 - 1e-9) return false;
      if (known) fullAt[slot] = full + 1 / perUs;
      else {
        insert(words, at, full + 1 / perUs);
        if (used * 2 > slots) tidy(nowUs);
      }
      return true;
    },
  };
}
