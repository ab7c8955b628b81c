/**
 * The order in which a run probes its space: a keyed permutation of the numbers below any size, so that a random order over
 * billions of pairs takes no memory; and how shards and workers divide it.
 *
 * It spreads probes over networks. It is not cryptographic.
 */

export interface Permutation {
  /** The number at a place; both from 0 to `size - 1`. */
  forward(place: number): number;
  /** The place of a number. */
  inverse(number: number): number;
}

/** Rounds on each half. On sizes small enough to count all orders, four pass as random. */
const ROUNDS = 4;

/**
 * A Feistel network over two halves whose sizes need not be equal (J. Black, P. Rogaway, "Ciphers with Arbitrary Finite
 * Domains", CT-RSA 2002, §5): the right half changes the left one, then the left the right. The halves together hold
 * a few numbers more than `size`; a result outside is permuted again until it falls inside (§3, cycle walking).
 * @param size 1 to 2^53
 * @param seed 64 bits
 */
export function createPermutation(size: number, seed: bigint): Permutation {
  // A power of two for one half: the product stays within 2^53 when the size does.
  const leftBits = Math.ceil(Math.log2(size) / 2);
  const leftSize = 2 ** leftBits;
  const leftMask = leftSize - 1;
  const rightSize = Math.ceil(size / leftSize);
  const keys = roundKeys(seed, 2 * ROUNDS);

  // Where all numbers are whole ones to the processor, too, the halves are taken apart as such.
  const isSmall = leftSize * rightSize <= 2 ** 31;
  const once = (number: number): number => {
    let right = isSmall ? number >>> leftBits : Math.floor(number / leftSize);
    let left = isSmall ? number & leftMask : number - right * leftSize;
    for (let i = 0; i < 2 * ROUNDS; i += 2) {
      left = (left + mix(right ^ keys[i])) & leftMask;
      // Modulo `rightSize`, without a branch that nobody could predict.
      const over = right + scale(mix(left ^ keys[i + 1]), rightSize) - rightSize;
      right = over + (rightSize & (over >> 31));
    }
    return isSmall ? (right << leftBits) | left : right * leftSize + left;
  };
  const onceBack = (number: number): number => {
    let right = Math.floor(number / leftSize);
    let left = number - right * leftSize;
    for (let i = 2 * ROUNDS - 2; i >= 0; i -= 2) {
      right -= scale(mix(left ^ keys[i + 1]), rightSize);
      if (right < 0) right += rightSize;
      left = (left - mix(right ^ keys[i])) & leftMask;
    }
    return right * leftSize + left;
  };
  return {
    forward: (place) => {
      let number = once(place);
      while (number >= size) number = once(number);
      return number;
    },
    inverse: (number) => {
      let place = onceBack(number);
      while (place >= size) place = onceBack(place);
      return place;
    },
  };
}

/** Makes every bit of the result depend on every bit of the input (a 32-bit finalizer in the manner of MurmurHash3). */
function mix(word: number): number {
  let h = Math.imul(word ^ (word >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}

/** A 32-bit word as a number below `below`, which is at most 2^27: the upper word of their product, in whole numbers where these suffice. */
const scale = (word: number, below: number): number =>
  below < 1 << 16
    ? (Math.imul(word >>> 16, below) + (Math.imul(word & 0xffff, below) >>> 16)) >>> 16
    : Math.floor((word >>> 0) * 2 ** -32 * below);

function roundKeys(seed: bigint, count: number): Int32Array {
  const low = Number(BigInt.asUintN(32, seed));
  const high = Number(BigInt.asUintN(32, seed >> 32n));
  return Int32Array.from({ length: count }, (_, i) =>
    mix(mix(mix(low + Math.imul(i + 1, 0x9e3779b9)) ^ high) + Math.imul(i + 1, 0x85ebca6b)),
  );
}

/** A part of a whole: number `index` of `count`, from 0 on. */
export interface Part {
  readonly index: number;
  readonly count: number;
}

/** What one worker of one shard probes, and in which order. */
export interface Order {
  /** How many pairs are this worker's. */
  readonly count: number;
  /** The number of the pair at a place from 0 to `count - 1`. */
  indexAt(place: number): number;
  /** The place of a pair; -1 when it is another worker's or shard's. */
  placeOf(index: number): number;
}

export interface OrderOptions {
  /** 64 bits; the same seed gives the same order. */
  readonly seed: bigint;
  /** In the order of the space instead. */
  readonly sequential?: boolean;
  readonly shard?: Part;
  readonly worker?: Part;
}

const WHOLE: Part = { index: 0, count: 1 };

/**
 * Places of the whole order are dealt to shards in turn, and those of a shard to its workers: place p of a worker is place
 * (p * workers + worker) * shards + shard of the whole.
 */
export function createOrder(
  total: number,
  { seed, sequential = false, shard = WHOLE, worker = WHOLE }: OrderOptions,
): Order {
  const parts = shard.count * worker.count;
  const first = worker.index * shard.count + shard.index;
  const { forward, inverse } = sequential || total === 0 ? IDENTITY : createPermutation(total, seed);
  return {
    count: total > first ? Math.floor((total - 1 - first) / parts) + 1 : 0,
    indexAt: (place) => forward(place * parts + first),
    placeOf: (index) => {
      const beyond = inverse(index) - first;
      const place = Math.floor(beyond / parts);
      return beyond >= 0 && place * parts === beyond ? place : -1;
    },
  };
}

const IDENTITY: Permutation = { forward: (place) => place, inverse: (number) => number };
