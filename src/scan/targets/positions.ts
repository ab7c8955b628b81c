/**
 * A set of positions (places of pairs in a run's order), whole numbers below 2^53, in typed arrays.
 *
 * A hash table of 32-bit words, each for 32 neighbouring positions: a dense million takes less than a megabyte, a scattered
 * one up to fifty. Open addressing with linear probing; positions are never removed. `words` can be posted to another thread
 * and opened there.
 */

/** The set's memory: for each slot the word's number (-1 for a free slot) and its 32 bits. */
export interface PositionWords {
  readonly numbers: Float64Array;
  readonly bits: Uint32Array;
}

export interface PositionSet {
  readonly size: number;
  readonly words: PositionWords;
  has(position: number): boolean;
  /** @returns false when it was there already */
  add(position: number): boolean;
  /** Visits every position, in no order. */
  forEach(visit: (position: number) => void): void;
}

const WORD = 32;
const FREE = -1;
const FEWEST_SLOTS = 16;

/** @param words of another set, to start from; only one of the two may be added to */
export function createPositionSet(words?: PositionWords): PositionSet {
  let { numbers, bits } = words ?? emptyWords(FEWEST_SLOTS);
  let used = 0;
  let size = 0;
  for (let slot = 0; slot < numbers.length; slot++) {
    if (numbers[slot] !== FREE) used++;
    size += popCount(bits[slot]);
  }

  /** The slot of a word, or the free one where it would go. */
  function slotOf(number: number): number {
    const mask = numbers.length - 1;
    let slot = hash(number) & mask;
    while (numbers[slot] !== number && numbers[slot] !== FREE) slot = (slot + 1) & mask;
    return slot;
  }

  function grow(): void {
    const old = { numbers, bits };
    ({ numbers, bits } = emptyWords(2 * numbers.length));
    for (let from = 0; from < old.numbers.length; from++) {
      if (old.numbers[from] === FREE) continue;
      const slot = slotOf(old.numbers[from]);
      numbers[slot] = old.numbers[from];
      bits[slot] = old.bits[from];
    }
  }

  return {
    get size() {
      return size;
    },
    get words() {
      return { numbers, bits };
    },
    has: (position) => {
      const number = Math.floor(position / WORD);
      return (bits[slotOf(number)] & (1 << (position - number * WORD))) !== 0;
    },
    add: (position) => {
      const number = Math.floor(position / WORD);
      const bit = 1 << (position - number * WORD);
      let slot = slotOf(number);
      if ((bits[slot] & bit) !== 0) return false;
      if (numbers[slot] === FREE) {
        if (2 * ++used > numbers.length) {
          grow();
          slot = slotOf(number);
        }
        numbers[slot] = number;
      }
      bits[slot] |= bit;
      size++;
      return true;
    },
    forEach: (visit) => {
      for (let slot = 0; slot < numbers.length; slot++) {
        for (let left = bits[slot]; left !== 0; left &= left - 1) {
          visit(numbers[slot] * WORD + 31 - Math.clz32(left & -left));
        }
      }
    },
  };
}

const emptyWords = (slots: number): PositionWords => ({
  numbers: new Float64Array(slots).fill(FREE),
  bits: new Uint32Array(slots),
});

function hash(number: number): number {
  let h = Math.imul((number >>> 0) ^ Math.imul(number / 2 ** 32, 0x85ebca6b), 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
  return h ^ (h >>> 13);
}

function popCount(word: number): number {
  let count = 0;
  for (let left = word; left !== 0; left &= left - 1) count++;
  return count;
}
