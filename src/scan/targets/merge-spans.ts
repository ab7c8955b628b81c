/**
 * Merging: overlapping spans with port sets, single pairs and exclusions, in any order, become the shortest list of disjoint
 * spans, each with the set of its ports. The result depends on the pairs alone, not on how they were named.
 *
 * In: the rows that space-builder.ts gathers. Out: calls of a visitor, in ascending order.
 * Tested by test/scan/targets/space.test.ts.
 */
import { follows, step } from "./address-words.ts";
import { MAX_PORT } from "./port-list.ts";
import { NO_PORTS, type PortSets } from "./port-sets.ts";
import {
  chunkOf,
  compareRow,
  compareWords,
  createRows,
  offsetOf,
  type Rows,
  releaseBefore,
  sortRows,
} from "./word-table.ts";

/** What was asked for of one IP version, in any order. Addresses are `width` words: 1 or 4. */
export interface Wanted {
  readonly width: number;
  /** First address, last address, set or HOLE. */
  readonly spans: Rows;
  /** Address, port. */
  readonly singles: Rows;
}

/** Stands in the place of a set: these addresses are excluded. */
export const HOLE = 0xffff_ffff;

export const createWanted = (width: number): Wanted => ({
  width,
  spans: createRows(2 * width + 1),
  singles: createRows(width + 1),
});

/** Gets a span and its set. The words are reused after the call: copy them to keep them. */
type Visit = (first: Uint32Array, last: Uint32Array, set: number) => void;

/**
 * Calls `run` for every longest span of addresses with the same ports, ascending.
 * @param spares where chunks go that are read for the last time; undefined when they are to be read again
 */
export function eachRun(
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
