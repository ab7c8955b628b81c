/**
 * A space cut by prefix, for machines that share one run: each address is in one prefix alone, and the prefixes of each IP version
 * stand in a random order, so that a stretch of places is work in many networks and none is hit in a burst. IPv6 comes first, and no
 * place of IPv4 before its end: a stretch of one version can be probed by a machine that has no other.
 *
 * Prefixes are /24 and /64; longer, for the whole of an IP version, where one alone has more pairs than a cell may have, down to
 * single hosts. Which stretch of places is whose cell: runtime/fleet/ledger.ts. Positions of pairs: space.ts.
 */
import { ADDRESS_WORDS, storeAddress } from "../../socket/table.ts";
import type { Address } from "../../wire/address.ts";
import { distance, follows, hostsOf, MAPPED_WORD } from "./address-words.ts";
import { createPermutation } from "./permutation.ts";
import type { SharedFamily, Space } from "./space.ts";
import { appendRow, chunkOf, compareWords, createRows, findRow, offsetOf } from "./word-table.ts";

/** Pairs of a prefix: every address from `first` to `last` with every port. */
export interface PairSpan {
  readonly first: Address;
  readonly last: Address;
  /** Ascending, each once. */
  readonly ports: Uint16Array;
  readonly pairs: number;
}

export interface Prefixes {
  /** Prefixes with pairs in them; their places are 0 to `count - 1`. */
  readonly count: number;
  /** The place from which on they are of IPv4. */
  readonly ipv4From: number;
  /** The pairs of the prefix at a place. Those of a span have consecutive numbers in the space. */
  at(place: number): readonly PairSpan[];
  /** The place of the prefix that has an address, as loadAddress writes it; -1 when none has. */
  placeOf(words: Uint32Array, at: number): number;
}

export interface CutOptions {
  /** 64 bits; the same seed gives the same order. */
  readonly seed: bigint;
  /** Most pairs of a prefix, unless it is one host. Infinity: a prefix is never divided. */
  readonly most: number;
}

/** The shortest prefix of each IP version, in bits. */
const SHORTEST = { 1: 24, 4: 64 } as const;
type Width = keyof typeof SHORTEST;

export function cutByPrefix(space: Space, { seed, most }: CutOptions): Prefixes {
  const { families, starts, ports } = space.share();
  const portsOf = (set: number): Uint16Array => ports.subarray(starts[set], starts[set + 1]);
  const [v4, v6] = families.map((family, i) => cutFamily(family, i === 0 ? 1 : ADDRESS_WORDS, portsOf, most));
  const count = v4.count + v6.count;
  const [order4, order6] = [v4, v6].map((each) => createPermutation(Math.max(1, each.count), seed));
  const ipv4From = v6.count;
  return {
    count,
    ipv4From,
    at: (place) =>
      place < ipv4From ? v6.at(order6.forward(place)) : v4.at(order4.forward(place - ipv4From)),
    placeOf: (words, at) => {
      const isV4 = words[at] === 0 && words[at + 1] === 0 && words[at + 2] === MAPPED_WORD;
      const number = isV4 ? v4.numberOf(words, at + 3) : v6.numberOf(words, at);
      if (number < 0) return -1;
      return isV4 ? ipv4From + order4.inverse(number) : order6.inverse(number);
    },
  };
}

function cutFamily(family: SharedFamily, width: Width, portsOf: (set: number) => Uint16Array, most: number) {
  const bits = hostBits(family, width, portsOf, most);
  /** Runs of consecutive prefixes: the first one's number among all that there could be, as words. */
  const runs = createRows(width);
  /** Prefixes before each run. */
  const before: number[] = [];
  let count = 0;
  const runLast = new Uint32Array(width);
  const [first, last] = [new Uint32Array(width), new Uint32Array(width)];
  eachItem(family, width, (words, at, lastAt) => {
    shiftRight(words, at, width, bits, first);
    shiftRight(words, lastAt, width, bits, last);
    const isNew = runs.length === 0 || compareWords(first, 0, runLast, 0, width) > 0;
    if (runs.length === 0 || (isNew && !follows(runLast, 0, first, width))) {
      appendRow(runs, first);
      before.push(count);
    }
    // Items ascend: only the first prefix of one can be the last of those before it.
    count += distance(isNew ? first : runLast, 0, last, 0, width) + (isNew ? 1 : 0);
    runLast.set(last);
  });

  const low = new Uint32Array(width);
  const high = new Uint32Array(width);
  const number = new Uint32Array(width);
  return {
    count,
    at: (index: number): PairSpan[] => {
      let run = 0;
      for (let end = before.length; end - run > 1; ) {
        const middle = (run + end) >>> 1;
        if (before[middle] <= index) run = middle;
        else end = middle;
      }
      add(chunkOf(runs, run), offsetOf(runs, run), width, index - before[run], number);
      shiftLeft(number, width, bits, 0, low);
      shiftLeft(number, width, bits, 1, high);
      return spansWithin(family, width, low, high, portsOf);
    },
    numberOf: (words: Uint32Array, at: number): number => {
      shiftRight(words, at, width, bits, number);
      const run = findRow(runs, number, 0, width);
      if (run < 0) return -1;
      const inRun = distance(chunkOf(runs, run), offsetOf(runs, run), number, 0, width);
      const end = before[run + 1] ?? count;
      return before[run] + inRun < end ? before[run] + inRun : -1;
    },
  };
}

/** Bits of an address that its prefix leaves to the host: as many as can be with `most` pairs in each prefix. */
function hostBits(
  family: SharedFamily,
  width: Width,
  portsOf: (set: number) => Uint16Array,
  most: number,
): number {
  let bits = 32 * width - SHORTEST[width];
  for (;;) {
    const largest = largestPrefix(family, width, bits, portsOf);
    if (largest <= most || bits === 0) return bits;
    bits = Math.max(0, bits - Math.max(1, Math.floor(Math.log2(largest / most))));
  }
}

/** Pairs of the prefix that has most. */
function largestPrefix(
  family: SharedFamily,
  width: Width,
  bits: number,
  portsOf: (set: number) => Uint16Array,
): number {
  const [first, last, current] = [new Uint32Array(width), new Uint32Array(width), new Uint32Array(width)];
  const [low, high] = [new Uint32Array(width), new Uint32Array(width)];
  let inCurrent = 0;
  let largest = 0;
  eachItem(family, width, (words, at, lastAt, set) => {
    const size = set < 0 ? 1 : portsOf(set).length;
    shiftRight(words, at, width, bits, first);
    shiftRight(words, lastAt, width, bits, last);
    if (compareWords(first, 0, current, 0, width) !== 0) inCurrent = 0;
    const prefixes = distance(first, 0, last, 0, width) + 1;
    if (prefixes === 1) inCurrent += (distance(words, at, words, lastAt, width) + 1) * size;
    else {
      shiftLeft(first, width, bits, 1, high);
      shiftLeft(last, width, bits, 0, low);
      largest = Math.max(largest, inCurrent + (distance(words, at, high, 0, width) + 1) * size);
      if (prefixes > 2) largest = Math.max(largest, 2 ** bits * size);
      inCurrent = (distance(low, 0, words, lastAt, width) + 1) * size;
    }
    current.set(last);
    largest = Math.max(largest, inCurrent);
  });
  return largest;
}

/** Blocks and singles, ascending by address. @param visit `set` is -1 for a single, whose port follows its address */
function eachItem(
  { blocks, singles }: SharedFamily,
  width: Width,
  visit: (words: Uint32Array, at: number, lastAt: number, set: number) => void,
): void {
  for (let block = 0, single = 0; block < blocks.length || single < singles.length; ) {
    const isBlock =
      single === singles.length ||
      (block < blocks.length &&
        compareWords(
          chunkOf(blocks, block),
          offsetOf(blocks, block),
          chunkOf(singles, single),
          offsetOf(singles, single),
          width,
        ) < 0);
    if (isBlock) {
      const chunk = chunkOf(blocks, block);
      const at = offsetOf(blocks, block++);
      visit(chunk, at, at + width, chunk[at + 2 * width]);
    } else {
      const at = offsetOf(singles, single);
      visit(chunkOf(singles, single++), at, at, -1);
    }
  }
}

/** The pairs with addresses from `low` to `high`. */
function spansWithin(
  { blocks, singles }: SharedFamily,
  width: Width,
  low: Uint32Array,
  high: Uint32Array,
  portsOf: (set: number) => Uint16Array,
): PairSpan[] {
  const spans: PairSpan[] = [];
  const clipped = new Uint32Array(2 * width);
  for (let block = Math.max(0, findRow(blocks, low, 0, width)); block < blocks.length; block++) {
    const chunk = chunkOf(blocks, block);
    const at = offsetOf(blocks, block);
    if (compareWords(chunk, at, high, 0, width) > 0) break;
    if (compareWords(chunk, at + width, low, 0, width) < 0) continue;
    const [fromChunk, fromAt] = compareWords(chunk, at, low, 0, width) < 0 ? [low, 0] : [chunk, at];
    const [toChunk, toAt] =
      compareWords(chunk, at + width, high, 0, width) > 0 ? [high, 0] : [chunk, at + width];
    for (let w = 0; w < width; w++) {
      clipped[w] = fromChunk[fromAt + w];
      clipped[width + w] = toChunk[toAt + w];
    }
    const ports = portsOf(chunk[at + 2 * width]);
    spans.push({
      first: addressAt(clipped, 0, width),
      last: addressAt(clipped, width, width),
      ports,
      pairs: hostsOf(clipped, 0, width) * ports.length,
    });
  }
  // Rows begin with the address: the last row below `low` is the one before the first that is wanted.
  const key = new Uint32Array(width + 1);
  key.set(low);
  for (let row = Math.max(0, findRow(singles, key, 0, width + 1)); row < singles.length; row++) {
    const chunk = chunkOf(singles, row);
    const at = offsetOf(singles, row);
    if (compareWords(chunk, at, high, 0, width) > 0) break;
    if (compareWords(chunk, at, low, 0, width) < 0) continue;
    const address = addressAt(chunk, at, width);
    spans.push({ first: address, last: address, ports: Uint16Array.of(chunk[at + width]), pairs: 1 });
  }
  return spans;
}

function addressAt(words: Uint32Array, at: number, width: Width): Address {
  const full = new Uint32Array(ADDRESS_WORDS);
  full.set(words.subarray(at, at + width), ADDRESS_WORDS - width);
  return storeAddress(full, 0, 4 * width);
}

/** Writes the address at `words[at]` without its last `bits` bits. */
function shiftRight(words: Uint32Array, at: number, width: Width, bits: number, out: Uint32Array): void {
  const [whole, rest] = [bits >>> 5, bits & 31];
  for (let w = width - 1; w >= 0; w--) {
    const here = w - whole >= 0 ? words[at + w - whole] : 0;
    const above = w - whole - 1 >= 0 ? words[at + w - whole - 1] : 0;
    out[w] = rest === 0 ? here : (here >>> rest) | (above << (32 - rest));
  }
}

/** The other way, filled up with zeros or with ones. */
function shiftLeft(words: Uint32Array, width: Width, bits: number, fill: 0 | 1, out: Uint32Array): void {
  const [whole, rest] = [bits >>> 5, bits & 31];
  const ones = fill === 0 ? 0 : 0xffff_ffff;
  for (let w = 0; w < width; w++) {
    const here = w + whole < width ? words[w + whole] : ones;
    const below = w + whole + 1 < width ? words[w + whole + 1] : ones;
    out[w] = rest === 0 ? here : (here << rest) | (below >>> (32 - rest));
  }
}

/** Adds a number below 2^53 to the one at `words[at]`. */
function add(words: Uint32Array, at: number, width: Width, by: number, out: Uint32Array): void {
  let carry = by;
  for (let w = width - 1; w >= 0; w--) {
    const high = Math.floor(carry / 2 ** 32);
    const sum = words[at + w] + (carry - high * 2 ** 32);
    out[w] = sum;
    carry = high + (sum >= 2 ** 32 ? 1 : 0);
  }
}
