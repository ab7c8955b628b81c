/**
 * Which cells there are, and which are under way: the coordinator's books. A cell is a stretch of places in the random order of the
 * space's prefixes (scan/targets/prefixes.ts), cut when it is wanted, as large as is wanted then, and of one IP version: a worker that
 * has only the other could probe none of it.
 *
 * Of a resumed run, cells that are still under way are left to their workers, and of the rest only what is undecided is cut.
 * Pure: no clock, no queue. That each pair is taken once is held here: a cell that is not under way is not taken.
 */
import type { PairSpan, Prefixes } from "../../scan/targets/prefixes.ts";
import type { Space } from "../../scan/targets/space.ts";
import { ADDRESS_WORDS, addressOf, loadAddress } from "../../socket/table.ts";
import { jobOf } from "./cell.ts";

export interface CutCell {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
  readonly pairs: number;
  /** Of a second look: its pairs, by their number in the space, and the places of their prefixes. Its own are behind all others. */
  readonly again?: { readonly pairs: ReadonlySet<number>; readonly prefixes: ReadonlySet<number> };
}

export interface LedgerOptions {
  readonly space: Space;
  readonly prefixes: Prefixes;
  /** Pairs that are decided, by their number in the space. */
  readonly isDone?: (index: number) => boolean;
  readonly decided?: number;
  /** The place of the first second look, so that it has the name of none of an earlier coordinator's; by default the first that is free. */
  readonly firstLook?: number;
}

export interface Ledger {
  /** Pairs that are in no cell yet, decided or set aside. */
  readonly left: number;
  /** Pairs that are decided or set aside. */
  readonly over: number;
  /** Cells under way, by their job. */
  readonly underWay: ReadonlyMap<string, CutCell>;
  /** The next cell, of about so many pairs, under way from now on; undefined when there is no more. */
  cut(wanted: CellSize): CutCell | undefined;
  /** The place of a pair's prefix. */
  prefixOf(pair: number): number;
  /** Whether no cell has any of the prefix at a place, nor will have, but for a second look. */
  isFree(place: number): boolean;
  /** A cell of pairs that were decided, and are probed once more. */
  again(pairs: readonly number[]): CutCell;
  /** The undecided pairs of a stretch; those of a second look. */
  spans(cell: Pick<CutCell, "from" | "to" | "again">): PairSpan[];
  /**
   * A cell of an earlier coordinator that is still under way.
   * @returns false when it is none of this run's, or some of it is decided or under way already
   */
  adopt(cell: Pick<CutCell, "from" | "to">): boolean;
  /** It is under way no more: its results were taken, or it is set aside. @returns false when it was not */
  close(job: string): boolean;
  /** The pairs of a cell by their number in the space: the first of each run of consecutive numbers, and the one after its last. */
  numbers(cell: Pick<CutCell, "from" | "to" | "again">): readonly (readonly [from: number, to: number])[];
}

/** A cell has so many prefixes, as long as they do not make it twice as large as is wanted. */
const FEWEST_PREFIXES = 64;

/** A cell is this much work at the rate of the last ones, in seconds. */
export const CELL_S = 60;
/** Towards the end cells become smaller, so that no worker is long alone: what is left is so many for each. */
const LAST_CELLS = 3;
/** A shorter one would be more beginning and end than work, in seconds. */
const SHORTEST_S = 2;
/** The same of a worker that is alone, for which nobody waits at the end; others that come later find what is left after that. */
const SHORTEST_ALONE_S = 4;
/** What is left is shared out, so that all workers are done at once, when a worker's share is at most so much work, in seconds. */
export const LAST_S = 2 * SHORTEST_S;
/** A share may be shorter, as nothing comes after it, in seconds. */
const SHORTEST_SHARE_S = 0.5;
/** The pairs a second that the first cells reckon with. */
export const FIRST_RATE = 1000;

/** What the size of the next cell follows from. */
export interface Outlook {
  /** Pairs that are in no cell. */
  readonly left: number;
  readonly workers: number;
  /** Pairs a second of one worker; undefined before that is known. */
  readonly perSecond?: number | undefined;
  /** In how many seconds each worker will have done what is its or waits for it. */
  readonly busyS?: readonly number[] | undefined;
  /** How much work a cell may be, in seconds. */
  readonly cellS?: number;
  /** Most pairs a second of one worker. */
  readonly most?: number;
}

export interface CellSize {
  readonly pairs: number;
  /** It is to have no more than that, even if its prefixes are few. */
  readonly isExact?: boolean;
}

/** How large the next cell is to be: smaller towards the end, and at last a share of what is left. */
export function cellSize({ left, workers, perSecond, busyS, cellS = CELL_S, most }: Outlook): CellSize {
  const rate = Math.min(perSecond ?? FIRST_RATE, most ?? Number.POSITIVE_INFINITY);
  const isAlone = workers === 1 && perSecond !== undefined;
  const shortest = (isAlone ? SHORTEST_ALONE_S : SHORTEST_S) * rate;
  if (isAlone && left < 2 * shortest) return { pairs: left };
  if (busyS !== undefined) {
    const share = shareOfNext(left / rate, busyS);
    if (share <= LAST_S) return { pairs: Math.max(SHORTEST_SHARE_S, share) * rate, isExact: true };
  }
  return { pairs: Math.max(shortest, Math.min(cellS * rate, left / (LAST_CELLS * workers))) };
}

/** How long the worker that is the next to be done can have, so that all are done at the same time, in seconds. */
function shareOfNext(leftS: number, busyS: readonly number[]): number {
  const soonest = Math.min(...busyS);
  return (leftS + busyS.reduce((sum, each) => sum + each - soonest, 0)) / busyS.length;
}

/**
 * In how many seconds each worker will have done what is its or waits for it.
 * @param begun when cells that are probed will be done, in seconds from now
 * @param waiting how much work is in each of the others, in their order
 */
export function busyWorkers(workers: number, begun: readonly number[], waiting: readonly number[]): number[] {
  // One that has two has all but sent the first.
  const busy = [...begun].sort((a, b) => b - a).slice(0, workers);
  while (busy.length < workers) busy.push(0);
  for (const each of waiting) busy[busy.indexOf(Math.min(...busy))] += each;
  return busy;
}

export function createLedger({ space, prefixes, isDone, decided = 0, firstLook = 0 }: LedgerOptions): Ledger {
  const underWay = new Map<string, CutCell>();
  /** Adopted stretches: where each ends, by where it begins. */
  const adopted = new Map<number, number>();
  let cursor = 0;
  let left = space.total - decided;
  /** Pairs that are in cells under way, without second looks. */
  let inCells = 0;
  let looks = 0;
  const words = new Uint32Array(ADDRESS_WORDS);

  /** The undecided pairs of the prefix at a place. */
  const undecided = (place: number): readonly PairSpan[] => {
    const spans = prefixes.at(place);
    return isDone === undefined ? spans : spans.flatMap((span) => without(span, isDone));
  };

  function without(span: PairSpan, done: (index: number) => boolean): readonly PairSpan[] {
    loadAddress(words, 0, span.first, 0, span.first.length);
    const start = space.indexOf(words, 0, span.ports[0]);
    const { ports } = span;
    const rest: PairSpan[] = [];
    const pair = { words, port: 0 };
    for (let index = start; index < start + span.pairs; index += ports.length) {
      const left = ports.filter((_, i) => !done(index + i));
      if (left.length === 0) continue;
      space.pairAt(index, pair);
      const address = addressOf(words, 0);
      rest.push({ first: address, last: address, ports: left, pairs: left.length });
    }
    return countPairs(rest) === span.pairs ? [span] : rest;
  }

  function spanOf(index: number): PairSpan {
    const pair = { words, port: 0 };
    space.pairAt(index, pair);
    const address = addressOf(words, 0);
    return { first: address, last: address, ports: Uint16Array.of(pair.port), pairs: 1 };
  }

  function prefixOf(index: number): number {
    const pair = { words, port: 0 };
    space.pairAt(index, pair);
    return prefixes.placeOf(words, 0);
  }

  /** Of one host's pairs some may be decided; those of several hosts are consecutive. */
  function rangesOf(span: PairSpan): [number, number][] {
    loadAddress(words, 0, span.first, 0, span.first.length);
    const isOneHost = span.pairs === span.ports.length;
    return Array.from(isOneHost ? span.ports : span.ports.subarray(0, 1), (port) => {
      const first = space.indexOf(words, 0, port);
      return [first, first + (isOneHost ? 1 : span.pairs)];
    });
  }

  const spans: Ledger["spans"] = ({ from, to, again }) => {
    if (again !== undefined) return Array.from(again.pairs, spanOf);
    const found: PairSpan[] = [];
    for (let place = from; place < to; place++) for (const span of undecided(place)) found.push(span);
    return found;
  };

  function open(cell: CutCell): CutCell {
    left -= cell.pairs;
    inCells += cell.pairs;
    underWay.set(jobOf(cell), cell);
    return cell;
  }

  return {
    get left() {
      return left;
    },
    get over() {
      return space.total - left - inCells;
    },
    underWay,
    prefixOf,
    isFree: (place) =>
      (left === 0 || place < cursor) &&
      !Array.from(underWay.values()).some(({ from, to, again }) =>
        again === undefined ? from <= place && place < to : again.prefixes.has(place),
      ),
    again: (pairs) => {
      const from = Math.max(prefixes.count, firstLook) + looks++;
      const again = { pairs: new Set(pairs), prefixes: new Set(pairs.map(prefixOf)) };
      const cell = { from, to: from + 1, pairs: pairs.length, again };
      underWay.set(jobOf(cell), cell);
      return cell;
    },
    cut: ({ pairs: wanted, isExact = false }) => {
      let from = cursor;
      let pairs = 0;
      let some = 0;
      while (cursor < prefixes.count) {
        const end = adopted.get(cursor);
        const found = end === undefined ? countPairs(undecided(cursor)) : 0;
        const most = isExact ? wanted : 2 * wanted;
        const isFull = (pairs >= wanted && some >= FEWEST_PREFIXES) || pairs + found > most;
        if (pairs > 0 && (isFull || end !== undefined || cursor === prefixes.ipv4From)) break;
        cursor = end ?? cursor + 1;
        if (found > 0) some++;
        else if (pairs === 0) from = cursor;
        pairs += found;
      }
      return pairs === 0 ? undefined : open({ from, to: cursor, pairs });
    },
    spans,
    numbers: (cell) => {
      const runs: [number, number][] = [];
      for (const range of spans(cell)
        .flatMap(rangesOf)
        .sort(([a], [b]) => a - b)) {
        const last = runs.at(-1);
        if (last?.[1] === range[0]) last[1] = range[1];
        else runs.push(range);
      }
      return runs;
    },
    adopt: ({ from, to }) => {
      const isStretch = Number.isSafeInteger(from) && Number.isSafeInteger(to) && 0 <= from && from < to;
      if (!isStretch || to > prefixes.count) return false;
      if (Array.from(adopted).some(([first, end]) => from < end && first < to)) return false;
      let pairs = 0;
      for (let place = from; place < to; place++) {
        const all = countPairs(prefixes.at(place));
        if (countPairs(undecided(place)) !== all) return false;
        pairs += all;
      }
      adopted.set(from, to);
      open({ from, to, pairs });
      return true;
    },
    close: (job) => {
      const cell = underWay.get(job);
      if (cell !== undefined && cell.again === undefined) inCells -= cell.pairs;
      return underWay.delete(job);
    },
  };
}

const countPairs = (spans: readonly PairSpan[]): number => spans.reduce((sum, { pairs }) => sum + pairs, 0);
