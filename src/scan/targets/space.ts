/**
 * The probe space: which (address, port) pairs a run probes, each under a number of its own from 0 on. In which order they
 * are probed: permutation.ts. Building a space: space-builder.ts.
 *
 * The tables are the shortest form of the set: each maximal span of addresses with the same ports is a block, each address with
 * a single port a row (8 bytes in IPv4, 20 in IPv6). So equal sets number their pairs equally however they were written, and a
 * journal, which tells pairs by number, is valid where the fingerprint is the same.
 */
import { createHash } from "node:crypto";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { ADDRESS_WORDS } from "../../socket/table.ts";
import { distance, hostsOf, MAPPED_WORD } from "./address-words.ts";
import { MAX_PORT } from "./port-list.ts";
import { indexOfPort } from "./port-sets.ts";
import { chunkOf, compareRow, compareWords, findRow, offsetOf, type Rows } from "./word-table.ts";

export interface Pair {
  /** The address as loadAddress writes it. */
  readonly words: Uint32Array;
  port: number;
}

export interface Space {
  /** Pairs; exact, below 2^53. */
  readonly total: number;
  /** Distinct addresses. */
  readonly hosts: number;
  /** The pair of a number from 0 to `total - 1`. Numbers go up by address and port within a block. Allocates nothing. */
  pairAt(index: number, out: Pair): void;
  /** The number of a pair; -1 when it is not in the space. */
  indexOf(words: Uint32Array, at: number, port: number): number;
  /** Whether there are pairs of an address. */
  hasHost(words: Uint32Array, at: number): boolean;
  /** The ports of all pairs, ascending, each once. */
  ports(): number[];
  /** Writes 1 at each of them. @param marks MAX_PORT + 1 places */
  markPorts(marks: Uint8Array): void;
  /** The space as data for postMessage: the other thread opens the same memory. */
  share(): SharedSpace;
  /** A digest of the pairs: the same for the same pairs, however they were written. */
  fingerprint(): string;
}

/** Plain data over shared memory. */
export interface SharedSpace {
  readonly families: readonly [ipv4: SharedFamily, ipv6: SharedFamily];
  /** Set i has the ports from starts[i] to starts[i + 1], exclusive. */
  readonly starts: Float64Array;
  readonly ports: Uint16Array;
}

/** The pairs of one IP version. */
export interface SharedFamily {
  /** First address, last address, set. Ascending, disjoint. */
  readonly blocks: Rows;
  /** Pairs before every MARK_EVERY-th block. */
  readonly marks: Float64Array;
  readonly blockPairs: number;
  /** Address, port. Ascending; no address is in a block as well. */
  readonly singles: Rows;
  readonly hosts: number;
}

const MARK_BITS = 4;
/** Blocks from one entry of `marks` to the next. */
export const MARK_EVERY = 1 << MARK_BITS;

/** Opens a space that another thread has shared. */
export function openSpace(shared: SharedSpace): Space {
  const { families, starts, ports } = shared;
  const [v4, v6] = families.map((family) => openFamily(family, starts, ports));
  const total = v4.total + v6.total;
  if (total > Number.MAX_SAFE_INTEGER) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      `the targets make ${total.toPrecision(2)} pairs of host and port, and a run takes 9.0e+15 at most: name smaller networks or fewer ports`,
    );
  }
  return {
    total,
    hosts: v4.hosts + v6.hosts,
    pairAt: (index, out) => {
      if (index < v4.total) {
        out.words[0] = 0;
        out.words[1] = 0;
        out.words[2] = MAPPED_WORD;
        v4.pairAt(index, out);
      } else v6.pairAt(index - v4.total, out);
    },
    indexOf: (words, at, port) => {
      if (words[at] === 0 && words[at + 1] === 0 && words[at + 2] === MAPPED_WORD)
        return v4.indexOf(words, at + 3, port);
      const index = v6.indexOf(words, at, port);
      return index < 0 ? index : v4.total + index;
    },
    hasHost: (words, at) => {
      const isV4 = words[at] === 0 && words[at + 1] === 0 && words[at + 2] === MAPPED_WORD;
      return isV4 ? v4.hasHost(words, at + 3) : v6.hasHost(words, at);
    },
    ports: () => portsOf(shared),
    markPorts: (marks) => markPorts(shared, marks),
    share: () => shared,
    fingerprint: () => {
      const hash = createHash("sha256");
      for (const { blocks, singles } of families) {
        hash.update(`${blocks.length} ${singles.length} `);
        for (const rows of [blocks, singles]) {
          let rest = rows.length * rows.width;
          for (const chunk of rows.chunks) {
            hash.update(chunk.subarray(0, rest));
            rest -= Math.min(rest, chunk.length);
          }
        }
      }
      return hash.update(starts).update(ports).digest("hex").slice(0, 32);
    },
  };
}

function portsOf(space: SharedSpace): number[] {
  const marks = new Uint8Array(MAX_PORT + 1);
  markPorts(space, marks);
  const list: number[] = [];
  // One port is the usual: a search costs less than 65,536 looks.
  for (let port = marks.indexOf(1); port >= 0; port = marks.indexOf(1, port + 1)) list.push(port);
  return list;
}

function markPorts({ families, starts, ports }: SharedSpace, marks: Uint8Array): void {
  for (const { blocks, singles } of families) {
    const seen = new Set<number>();
    for (let block = 0; block < blocks.length; block++) {
      seen.add(chunkOf(blocks, block)[offsetOf(blocks, block) + blocks.width - 1]);
    }
    for (const set of seen) for (let i = starts[set]; i < starts[set + 1]; i++) marks[ports[i]] = 1;
    for (let row = 0; row < singles.length; row++) {
      marks[chunkOf(singles, row)[offsetOf(singles, row) + singles.width - 1]] = 1;
    }
  }
}

/** The pairs of one IP version. Addresses are the last words of a pair's. */
function openFamily(family: SharedFamily, starts: Float64Array, ports: Uint16Array) {
  const { blocks, marks, blockPairs, singles, hosts } = family;
  const width = singles.width - 1;
  const key = new Uint32Array(width + 1);
  const setSize = (set: number): number => starts[set + 1] - starts[set];
  const pairsIn = (chunk: Uint32Array, at: number): number =>
    hostsOf(chunk, at, width) * setSize(chunk[at + 2 * width]);

  return {
    total: blockPairs + singles.length,
    hosts,
    pairAt: (index: number, out: Pair): void => {
      const { words } = out;
      if (index >= blockPairs) {
        const row = index - blockPairs;
        const chunk = chunkOf(singles, row);
        const at = offsetOf(singles, row);
        for (let w = 0; w < width; w++) words[ADDRESS_WORDS - width + w] = chunk[at + w];
        out.port = chunk[at + width];
        return;
      }
      let mark = 0;
      for (let high = marks.length; high - mark > 1; ) {
        const middle = (mark + high) >>> 1;
        if (marks[middle] <= index) mark = middle;
        else high = middle;
      }
      let rest = index - marks[mark];
      let block = mark << MARK_BITS;
      for (;;) {
        const pairs = pairsIn(chunkOf(blocks, block), offsetOf(blocks, block));
        if (rest < pairs) break;
        rest -= pairs;
        block++;
      }
      const chunk = chunkOf(blocks, block);
      const at = offsetOf(blocks, block);
      const set = chunk[at + 2 * width];
      const size = setSize(set);
      // Exact: the quotient of whole numbers below 2^53 is never rounded up to the next whole number.
      const host = Math.floor(rest / size);
      out.port = ports[starts[set] + rest - host * size];
      // Word by word: the sum of all at once could pass 2^53.
      let carry = host;
      for (let w = width - 1; w >= 0; w--) {
        const word = chunk[at + w];
        words[ADDRESS_WORDS - width + w] = word;
        if (carry === 0) continue;
        const high = Math.floor(carry / 2 ** 32);
        const sum = word + (carry - high * 2 ** 32);
        words[ADDRESS_WORDS - width + w] = sum;
        carry = high + (sum >= 2 ** 32 ? 1 : 0);
      }
    },
    hasHost: (words: Uint32Array, at: number): boolean => {
      const block = findRow(blocks, words, at, width);
      if (
        block >= 0 &&
        compareWords(chunkOf(blocks, block), offsetOf(blocks, block) + width, words, at, width) >= 0
      )
        return true;
      const single = findRow(singles, words, at, width);
      return single >= 0 && compareRow(singles, single, words, at, width) === 0;
    },
    indexOf: (words: Uint32Array, at: number, port: number): number => {
      const block = findRow(blocks, words, at, width);
      if (block >= 0) {
        const chunk = chunkOf(blocks, block);
        const row = offsetOf(blocks, block);
        if (compareWords(chunk, row + width, words, at, width) >= 0) {
          const set = chunk[row + 2 * width];
          const place = indexOfPort(ports, starts[set], starts[set + 1], port);
          if (place < 0) return -1;
          let before = marks[block >>> MARK_BITS];
          for (let i = block & -MARK_EVERY; i < block; i++)
            before += pairsIn(chunkOf(blocks, i), offsetOf(blocks, i));
          const host = distance(chunk, row, words, at, width);
          return before + host * setSize(set) + place - starts[set];
        }
      }
      for (let w = 0; w < width; w++) key[w] = words[at + w];
      key[width] = port;
      const single = findRow(singles, key, 0, width + 1);
      if (single < 0 || compareRow(singles, single, key, 0, width + 1) !== 0) return -1;
      return blockPairs + single;
    },
  };
}
