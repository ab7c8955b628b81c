/**
 * The probe space: which (address, port) pairs a run probes, each under a number of its own from 0 on, however many there
 * are and however they were named. In which order they are probed is permutation.ts.
 *
 * Memory follows what was written, not how many pairs it makes: a network with all of its ports is one row. What is kept
 * is the shortest form of the set: every longest span of addresses with the same ports is a block, an address with a
 * single port a row of its own (8 bytes in IPv4, 20 in IPv6). So the same pairs have the same numbers, whichever way they
 * were named, and a journal that tells pairs by number may be trusted where the fingerprint is the same.
 */
import { createHash } from "node:crypto";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { ADDRESS_WORDS, loadAddress } from "../../socket/table.ts";
import { type Address, formatAddress } from "../../wire/address.ts";
import type { AddressSpan } from "./address-range.ts";
import { MAX_PORT } from "./port-list.ts";
import { createPortSets, indexOfPort, NO_PORTS, type PortSets } from "./port-sets.ts";
import {
  appendRow,
  chunkOf,
  compareRow,
  compareWords,
  createRows,
  findRow,
  offsetOf,
  type Rows,
  releaseBefore,
  sortRows,
} from "./word-table.ts";

export interface Pair {
  /** The address as loadAddress writes it. */
  readonly words: Uint32Array;
  port: number;
}

/** Gathers what is wanted. It is done with once `build` has been called. */
export interface SpaceBuilder {
  /** Every pair of an address from `first` to `last` and one of `ports` (ascending, each once). Overlaps are welcome. */
  add(first: Address, last: Address, ports: Uint16Array): void;
  /** One pair of an IPv4 address, as a number, and a port. */
  addPair(address: number, port: number): void;
  /** Takes addresses out, those that are added later as well. */
  exclude(first: Address, last: Address): void;
  /** Takes ports out, those that are added later as well. */
  excludePorts(ports: Uint16Array): void;
  /**
   * The addresses wanted so far in spans as long as they can be, ascending, IPv4 first. One at a time, because a list of
   * single hosts has as many spans as lines, and in the same memory: what `visit` keeps it must copy. It may add and exclude:
   * that counts from the next look on.
   */
  eachSpan(visit: (span: AddressSpan) => void): void;
  /** The same as an array. */
  spans(): AddressSpan[];
  /** @throws {SynprobeError} `ERR_USAGE` for 2^53 pairs and more */
  build(): Space;
}

export interface Space {
  /** Pairs; exact, below 2^53. */
  readonly total: number;
  /** Distinct addresses. */
  readonly hosts: number;
  /** The pair of a number from 0 to `total - 1`. Numbers go up by address and port within a block. Allocates nothing. */
  pairAt(index: number, out: Pair): void;
  /** The number of a pair; -1 when it is not wanted. */
  indexOf(words: Uint32Array, at: number, port: number): number;
  /** Every port that some pair has, ascending. */
  ports(): number[];
  /** The space as data for postMessage: the other thread opens the same memory. */
  share(): SharedSpace;
  /** The same for the same pairs, however they were named; another for others. */
  fingerprint(): string;
}

/** Plain data over shared memory. */
export interface SharedSpace {
  readonly families: readonly [ipv4: SharedFamily, ipv6: SharedFamily];
  /** Set i has the ports from starts[i] to starts[i + 1], exclusive. */
  readonly starts: Float64Array;
  readonly ports: Uint16Array;
}
interface SharedFamily {
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
const MARK_EVERY = 1 << MARK_BITS;

/** What was asked for of one IP version, in any order. Addresses are `width` words: 1 or 4. */
interface Wanted {
  readonly width: number;
  /** First address, last address, set or HOLE. */
  readonly spans: Rows;
  /** Address, port. */
  readonly singles: Rows;
}

/** In the place of a set: these addresses are excluded. */
const HOLE = 0xffff_ffff;

export function createSpaceBuilder(): SpaceBuilder {
  const sets = createPortSets();
  const v4 = createWanted(1);
  const v6 = createWanted(ADDRESS_WORDS);
  const excluded = new Uint8Array(MAX_PORT + 1);
  // A target list has a few port lists at most, and the same one many times in a row.
  let lastPorts: Uint16Array | undefined;
  let lastSet = NO_PORTS;
  const row = new Uint32Array(2 * ADDRESS_WORDS + 1);
  const pair = new Uint32Array(2);

  const loadSpan = (first: Address, last: Address): Wanted => {
    const wanted = first.length === 4 ? v4 : v6;
    loadCompact(row, 0, first);
    loadCompact(row, wanted.width, last);
    if (first.length !== last.length || compareWords(row, 0, row, wanted.width, wanted.width) > 0)
      throw new RangeError(`not a span: ${formatAddress(first)}-${formatAddress(last)}`);
    return wanted;
  };
  const exclude = (first: Address, last: Address): void => {
    const { width, spans } = loadSpan(first, last);
    row[2 * width] = HOLE;
    appendRow(spans, row);
  };
  // In the four words of an address these would be IPv4 addresses; see reserved.ts for what a user is told.
  exclude(MAPPED.first, MAPPED.last);

  const eachSpan = (visit: (span: AddressSpan) => void): void => {
    for (const wanted of [v4, v6]) {
      const { width } = wanted;
      const span = { first: new Uint8Array(4 * width), last: new Uint8Array(4 * width) };
      const open = new Uint32Array(2 * width);
      const show = (): void => {
        for (let i = 0; i < 4 * width; i++) {
          span.first[i] = open[i >> 2] >>> (24 - 8 * (i & 3));
          span.last[i] = open[width + (i >> 2)] >>> (24 - 8 * (i & 3));
        }
        visit(span);
      };
      let some = false;
      eachRun(wanted, sets, excluded, undefined, (first, last) => {
        if (!some || !follows(open, width, first, width)) {
          if (some) show();
          open.set(first);
          some = true;
        }
        open.set(last, width);
      });
      if (some) show();
    }
  };

  return {
    add: (first, last, ports) => {
      const { width, spans, singles } = loadSpan(first, last);
      if (ports.length === 0) return;
      if (ports.length === 1 && compareWords(row, 0, row, width, width) === 0) {
        row[width] = ports[0];
        appendRow(singles, row);
        return;
      }
      if (ports !== lastPorts) {
        lastSet = sets.intern(ports, ports.length);
        lastPorts = ports;
      }
      row[2 * width] = lastSet;
      appendRow(spans, row);
    },
    addPair: (address, port) => {
      pair[0] = address;
      pair[1] = port;
      appendRow(v4.singles, pair);
    },
    exclude,
    excludePorts: (ports) => {
      for (const port of ports) excluded[port] = 1;
    },
    eachSpan,
    spans: () => {
      const spans: AddressSpan[] = [];
      eachSpan(({ first, last }) => spans.push({ first: first.slice(), last: last.slice() }));
      return spans;
    },
    build: () => {
      const table = createSetTable(sets);
      return openSpace({
        families: [
          buildFamily(v4, sets, excluded, table.enter),
          buildFamily(v6, sets, excluded, table.enter),
        ],
        ...table.finish(),
      });
    },
  };
}

const createWanted = (width: number): Wanted => ({
  width,
  spans: createRows(2 * width + 1),
  singles: createRows(width + 1),
});

const MAPPED: AddressSpan = {
  first: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0),
  last: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255),
};

/** Writes an address as one word or four. */
function loadCompact(words: Uint32Array, to: number, address: Address): void {
  if (address.length === 16) loadAddress(words, to, address, 0, 16);
  else words[to] = (address[0] << 24) | (address[1] << 16) | (address[2] << 8) | address[3];
}

/** Gets the words of an address (changed by the caller afterwards, so to be copied) and a set. */
type Visit = (first: Uint32Array, last: Uint32Array, set: number) => void;

/**
 * Calls `run` for every longest span of addresses with the same ports, ascending.
 * @param spares where chunks go that are read for the last time; undefined when they are to be read again
 */
function eachRun(
  wanted: Wanted,
  sets: PortSets,
  excluded: Uint8Array,
  spares: { readonly spans: Rows["spare"]; readonly singles: Rows["spare"] } | undefined,
  run: Visit,
): void {
  const { width, singles } = wanted;
  sortRows(wanted.spans);
  sortRows(singles);

  // Spans that touch and have the same ports become one run.
  const runFirst = new Uint32Array(width);
  const runLast = new Uint32Array(width);
  let runSet = NO_PORTS;
  const emit: Visit = (first, last, set) => {
    if (set === NO_PORTS) return;
    if (set !== runSet || !follows(runLast, 0, first, width)) {
      if (runSet !== NO_PORTS) run(runFirst, runLast, runSet);
      runFirst.set(first);
      runSet = set;
    }
    runLast.set(last);
  };

  // The single pairs of one address at a time. What `run` adds to the builder comes after these.
  const end = singles.length;
  let next = 0;
  const host = new Uint32Array(width);
  const ports = new Uint16Array(MAX_PORT);
  const takeHost = (): number => {
    copyRow(singles, next, host);
    let count = 0;
    let before = 0;
    while (next < end && compareRow(singles, next, host, 0, width) === 0) {
      const port = chunkOf(singles, next)[offsetOf(singles, next) + width];
      if (port !== before && excluded[port] === 0) ports[count++] = port;
      before = port;
      next++;
      if (spares !== undefined) releaseBefore(singles, next, spares.singles);
    }
    return count;
  };

  const without = excludePortsFrom(sets, excluded);
  const from = new Uint32Array(width);
  const before = new Uint32Array(width);
  sweep(wanted, sets, spares?.spans, (first, last, asked) => {
    while (next < end && compareRow(singles, next, first, 0, width) < 0) {
      const count = takeHost();
      emit(host, host, sets.intern(ports, count));
    }
    const set = asked === HOLE ? HOLE : without(asked);
    from.set(first);
    while (next < end && compareRow(singles, next, last, 0, width) <= 0) {
      const count = takeHost();
      if (set === HOLE) continue;
      const both = sets.with(set, ports, count);
      if (both === set) continue;
      if (compareWords(from, 0, host, 0, width) < 0) {
        before.set(host);
        step(before, -1);
        emit(from, before, set);
      }
      emit(host, host, both);
      if (compareWords(host, 0, last, 0, width) === 0) return;
      from.set(host);
      step(from, 1);
    }
    if (set !== HOLE) emit(from, last, set);
  });
  while (next < end) {
    const count = takeHost();
    emit(host, host, sets.intern(ports, count));
  }
  if (runSet !== NO_PORTS) run(runFirst, runLast, runSet);
}

/** Sets less the excluded ports, each worked out once. */
function excludePortsFrom(sets: PortSets, excluded: Uint8Array): (set: number) => number {
  if (!excluded.includes(1)) return (set) => set;
  const ports = new Uint16Array(MAX_PORT);
  let count = 0;
  for (let port = 1; port <= MAX_PORT; port++) if (excluded[port] === 1) ports[count++] = port;
  const other = sets.intern(ports, count);
  const known = new Map<number, number>();
  return (set) => {
    let less = known.get(set);
    if (less === undefined) {
      less = sets.without(set, other);
      known.set(set, less);
    }
    return less;
  };
}

/**
 * Cuts spans that overlap at each other's ends: calls `piece` for disjoint pieces, ascending, each with the union of the
 * sets that cover it, or HOLE. The spans are sorted; what covers the current address is kept aside, one entry per set.
 */
function sweep(
  { width, spans }: Wanted,
  sets: PortSets,
  spare: Rows["spare"] | undefined,
  piece: Visit,
): void {
  const active: number[] = [];
  let lasts = new Uint32Array(8 * width);
  const span = new Uint32Array(2 * width);
  const from = new Uint32Array(width);
  const to = new Uint32Array(width);
  const same: number[] = [];
  const end = spans.length;
  let next = 0;

  /** Takes up all rows with the same span as the next one. */
  const takeUp = (): void => {
    copyRow(spans, next, span);
    same.length = 0;
    do {
      same.push(chunkOf(spans, next)[offsetOf(spans, next) + 2 * width]);
      next++;
      if (spare !== undefined) releaseBefore(spans, next, spare);
    } while (next < end && compareRow(spans, next, span, 0, 2 * width) === 0);
    const set = joined(same);
    let at = active.indexOf(set);
    if (at < 0) {
      at = active.push(set) - 1;
      if (active.length * width > lasts.length) {
        const grown = new Uint32Array(2 * lasts.length);
        grown.set(lasts);
        lasts = grown;
      }
    } else if (compareWords(lasts, at * width, span, width, width) >= 0) return;
    for (let w = 0; w < width; w++) lasts[at * width + w] = span[width + w];
  };
  const joined = (members: readonly number[]): number =>
    members.length === 1 ? members[0] : members.includes(HOLE) ? HOLE : sets.union(members);

  for (;;) {
    if (active.length === 0) {
      if (next === end) return;
      copyRow(spans, next, from);
    }
    while (next < end && compareRow(spans, next, from, 0, width) === 0) takeUp();
    // The piece ends with the first of the active spans, or before the next one begins.
    for (let w = 0; w < width; w++) to[w] = lasts[w];
    for (let i = 1; i < active.length; i++) {
      if (compareWords(lasts, i * width, to, 0, width) < 0)
        for (let w = 0; w < width; w++) to[w] = lasts[i * width + w];
    }
    if (next < end && compareRow(spans, next, to, 0, width) <= 0) {
      copyRow(spans, next, to);
      step(to, -1);
    }
    piece(from, to, joined(active));
    for (let i = active.length - 1; i >= 0; i--) {
      if (compareWords(lasts, i * width, to, 0, width) !== 0) continue;
      const moved = active.length - 1;
      active[i] = active[moved];
      for (let w = 0; w < width; w++) lasts[i * width + w] = lasts[moved * width + w];
      active.pop();
    }
    from.set(to);
    step(from, 1);
  }
}

/** Copies the beginning of a row, as much as `to` takes. */
function copyRow(rows: Rows, row: number, to: Uint32Array): void {
  const chunk = chunkOf(rows, row);
  const at = offsetOf(rows, row);
  for (let w = 0; w < to.length; w++) to[w] = chunk[at + w];
}

/** Goes to the next address, or the one before; round at the ends. */
function step(words: Uint32Array, by: 1 | -1): void {
  const overflow = by === 1 ? 0 : 0xffff_ffff;
  for (let w = words.length - 1; w >= 0; w--) {
    words[w] += by;
    if (words[w] !== overflow) return;
  }
}

/** Whether address `b` comes right after the one at `a[at]`. */
function follows(a: Uint32Array, at: number, b: Uint32Array, width: number): boolean {
  let carry = 1;
  for (let w = width - 1; w >= 0; w--) {
    const expected = (a[at + w] + carry) >>> 0;
    if (b[w] !== expected) return false;
    if (expected !== 0) carry = 0;
  }
  return carry === 0;
}

/** How far the address at `to[toAt]` is above the one at `from[fromAt]`; exact below 2^53. */
function distance(from: Uint32Array, fromAt: number, to: Uint32Array, toAt: number, width: number): number {
  let sum = 0;
  for (let w = 0; w < width; w++) sum = sum * 2 ** 32 + (to[toAt + w] - from[fromAt + w]);
  return sum;
}

/** Addresses in the span at `words[at]`: its first address, then its last. */
const hostsOf = (words: Uint32Array, at: number, width: number): number =>
  distance(words, at, words, at + width, width) + 1;

/** Numbers the sets anew, in the order in which blocks need them: the numbers then depend on the pairs alone. */
function createSetTable(sets: PortSets) {
  let numbers = new Int32Array(64);
  const used: number[] = [];
  let ports = 0;
  return {
    enter: (set: number): number => {
      if (set >= numbers.length) {
        const grown = new Int32Array(Math.max(2 * numbers.length, set + 1));
        grown.set(numbers);
        numbers = grown;
      }
      // Kept one higher, so that 0 is for none.
      if (numbers[set] === 0) {
        numbers[set] = used.push(set);
        ports += sets.size(set);
      }
      return numbers[set] - 1;
    },
    finish: (): Pick<SharedSpace, "starts" | "ports"> => {
      const starts = new Float64Array(new SharedArrayBuffer(8 * (used.length + 1)));
      const all = new Uint16Array(new SharedArrayBuffer(2 * ports));
      used.forEach((set, i) => {
        all.set(sets.ports(set), starts[i]);
        starts[i + 1] = starts[i] + sets.size(set);
      });
      return { starts, ports: all };
    },
  };
}

function buildFamily(
  wanted: Wanted,
  sets: PortSets,
  excluded: Uint8Array,
  enterSet: (set: number) => number,
): SharedFamily {
  const { width } = wanted;
  const spares = { spans: [], singles: [] };
  const blocks = createRows(2 * width + 1, spares.spans);
  const singles = createRows(width + 1, spares.singles);
  const marks: number[] = [];
  const row = new Uint32Array(2 * width + 1);
  let blockPairs = 0;
  let hosts = 0;
  eachRun(wanted, sets, excluded, spares, (first, last, set) => {
    row.set(first);
    if (sets.size(set) === 1 && compareWords(first, 0, last, 0, width) === 0) {
      row[width] = sets.first(set);
      appendRow(singles, row);
      hosts++;
      return;
    }
    row.set(last, width);
    row[2 * width] = enterSet(set);
    if ((blocks.length & (MARK_EVERY - 1)) === 0) marks.push(blockPairs);
    appendRow(blocks, row);
    const span = hostsOf(row, 0, width);
    hosts += span;
    blockPairs += span * sets.size(set);
  });
  const shared = new Float64Array(new SharedArrayBuffer(8 * marks.length));
  shared.set(marks);
  return {
    blocks: { ...blocks, spare: [] },
    marks: shared,
    blockPairs,
    singles: { ...singles, spare: [] },
    hosts,
  };
}

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
    ports: () => portsOf(shared),
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

function portsOf({ families, starts, ports }: SharedSpace): number[] {
  const wanted = new Uint8Array(MAX_PORT + 1);
  for (const { blocks, singles } of families) {
    const seen = new Set<number>();
    for (let block = 0; block < blocks.length; block++) {
      seen.add(chunkOf(blocks, block)[offsetOf(blocks, block) + blocks.width - 1]);
    }
    for (const set of seen) for (let i = starts[set]; i < starts[set + 1]; i++) wanted[ports[i]] = 1;
    for (let row = 0; row < singles.length; row++) {
      wanted[chunkOf(singles, row)[offsetOf(singles, row) + singles.width - 1]] = 1;
    }
  }
  const list: number[] = [];
  for (let port = 0; port <= MAX_PORT; port++) if (wanted[port] === 1) list.push(port);
  return list;
}

/** Third word of an IPv4 address. */
const MAPPED_WORD = 0x0000_ffff;

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
      // The quotient of two whole numbers below 2^53 is never rounded up to the next one.
      const host = Math.floor(rest / size);
      out.port = ports[starts[set] + rest - host * size];
      // Word by word: the sum of all at once could pass 2^53.
      let carry = host;
      for (let w = width - 1; w >= 0; w--) {
        const high = Math.floor(carry / 2 ** 32);
        const sum = chunk[at + w] + (carry - high * 2 ** 32);
        words[ADDRESS_WORDS - width + w] = sum;
        carry = high + (sum >= 2 ** 32 ? 1 : 0);
      }
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
