/**
 * Builds a probe space: gathers targets and exclusions, and turns them into the tables that space.ts looks pairs up in. Memory
 * grows with what was written, not with the pairs it makes: a network with all of its ports is one row.
 *
 * Merging overlaps: merge-spans.ts. Reading targets: grammar.ts. Tests: those of space.ts.
 * Tested by test/scan/targets/space.test.ts.
 */

import { ADDRESS_WORDS } from "../../socket/table.ts";
import { type Address, formatAddress } from "../../wire/address.ts";
import type { AddressSpan } from "./address-range.ts";
import { follows, hostsOf, loadCompact, MAPPED } from "./address-words.ts";
import { createWanted, eachRun, HOLE, type Wanted } from "./merge-spans.ts";
import { MAX_PORT } from "./port-list.ts";
import { createPortSets, NO_PORTS, type PortSets } from "./port-sets.ts";
import { MARK_EVERY, openSpace, type SharedFamily, type SharedSpace, type Space } from "./space.ts";
import { appendRow, compareWords, createRows } from "./word-table.ts";

/** Gathers targets and exclusions. Not to be used after the last `build`, which takes its memory. */
export interface SpaceBuilder {
  /** Adds every pair of an address from `first` to `last` and one of `ports` (ascending, each once). Overlaps are merged. */
  add(first: Address, last: Address, ports: Uint16Array): void;
  /** Adds one pair of an IPv4 address, as a number, and a port. */
  addPair(address: number, port: number): void;
  /** Excludes addresses, added before or later. */
  exclude(first: Address, last: Address): void;
  /** Excludes ports, added before or later. */
  excludePorts(ports: Uint16Array): void;
  /**
   * Visits the addresses so far as spans of maximal length, ascending, IPv4 first. The span is reused: copy what you keep.
   * `visit` may add and exclude; that shows at the next call.
   */
  eachSpan(visit: (span: AddressSpan) => void): void;
  /** The same as an array. */
  spans(): AddressSpan[];
  /**
   * @param which "last" unless more is to be added, excluded or built: what was gathered then stays
   * @throws {SynprobeError} `ERR_USAGE` for 2^53 pairs and more
   */
  build(which?: "last" | "another"): Space;
}

export function createSpaceBuilder(): SpaceBuilder {
  const sets = createPortSets();
  const v4 = createWanted(1);
  const v6 = createWanted(ADDRESS_WORDS);
  const excluded = new Uint8Array(MAX_PORT + 1);
  // A target list has few port lists, and often the same one many times in a row.
  let lastPorts: Uint16Array | undefined;
  let lastSet = NO_PORTS;
  let isOver = false;
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
  // Written in four words these would be IPv4 addresses. reserved.ts has the message for the user.
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
    build: (which = "last") => {
      if (isOver) throw new Error("built already");
      isOver = which === "last";
      const table = createSetTable(sets);
      return openSpace({
        families: [
          buildFamily(v4, sets, excluded, isOver, table.enter),
          buildFamily(v6, sets, excluded, isOver, table.enter),
        ],
        ...table.finish(),
      });
    },
  };
}

/** Renumbers the sets in the order in which blocks use them, so that the numbers depend on the pairs alone. */
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
      // Stored plus one: 0 is for sets without a number.
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
  takesMemory: boolean,
  enterSet: (set: number) => number,
): SharedFamily {
  const { width } = wanted;
  const spares = takesMemory ? { spans: [], singles: [] } : undefined;
  const blocks = createRows(2 * width + 1, spares?.spans);
  const singles = createRows(width + 1, spares?.singles);
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
