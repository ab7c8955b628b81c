/**
 * Which cells there are, and which are under way: the coordinator's books. A cell is a stretch of places in the random order of the
 * space's prefixes (scan/targets/prefixes.ts), cut when it is wanted, as large as is wanted then.
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
}

export interface LedgerOptions {
  readonly space: Space;
  readonly prefixes: Prefixes;
  /** Pairs that are decided, by their number in the space. */
  readonly isDone?: (index: number) => boolean;
  readonly decided?: number;
}

export interface Ledger {
  /** Pairs that are in no cell yet, decided or set aside. */
  readonly left: number;
  /** Cells under way, by their job. */
  readonly underWay: ReadonlyMap<string, CutCell>;
  /** The next cell, of about `wanted` pairs, under way from now on; undefined when there is no more. */
  cut(wanted: number): CutCell | undefined;
  /** The undecided pairs of a stretch. */
  spans(cell: Pick<CutCell, "from" | "to">): PairSpan[];
  /**
   * A cell of an earlier coordinator that is still under way.
   * @returns false when it is none of this run's, or some of it is decided or under way already
   */
  adopt(cell: Pick<CutCell, "from" | "to">): boolean;
  /** It is under way no more: its results were taken, or it is set aside. @returns false when it was not */
  close(job: string): boolean;
  /** Whether the pair with this address belongs to a cell. */
  holds(cell: Pick<CutCell, "from" | "to">, words: Uint32Array, at: number): boolean;
}

/** A cell has so many prefixes, as long as they do not make it twice as large as is wanted. */
const FEWEST_PREFIXES = 64;

/** A cell is this much work at the rate of the last ones, in seconds. */
const CELL_S = 60;
/** Towards the end cells become smaller, so that no worker is long alone: what is left is so many for each. */
const LAST_CELLS = 3;
/** A shorter one would be more beginning and end than work, in seconds. */
const SHORTEST_S = 2;

/**
 * How many pairs the next cell is to have.
 * @param left pairs that are in no cell
 * @param perSecond of one worker
 */
export function cellSize(left: number, workers: number, perSecond: number): number {
  const share = left / (LAST_CELLS * workers);
  return Math.max(SHORTEST_S * perSecond, Math.min(CELL_S * perSecond, share));
}

export function createLedger({ space, prefixes, isDone, decided = 0 }: LedgerOptions): Ledger {
  const underWay = new Map<string, CutCell>();
  /** Adopted stretches: where each ends, by where it begins. */
  const adopted = new Map<number, number>();
  let cursor = 0;
  let left = space.total - decided;
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

  function open(cell: CutCell): CutCell {
    left -= cell.pairs;
    underWay.set(jobOf(cell), cell);
    return cell;
  }

  return {
    get left() {
      return left;
    },
    underWay,
    cut: (wanted) => {
      let from = cursor;
      let pairs = 0;
      let some = 0;
      while (cursor < prefixes.count) {
        const end = adopted.get(cursor);
        const found = end === undefined ? countPairs(undecided(cursor)) : 0;
        const isFull = (pairs >= wanted && some >= FEWEST_PREFIXES) || pairs + found > 2 * wanted;
        if (pairs > 0 && (isFull || end !== undefined)) break;
        cursor = end ?? cursor + 1;
        if (found > 0) some++;
        else if (pairs === 0) from = cursor;
        pairs += found;
      }
      return pairs === 0 ? undefined : open({ from, to: cursor, pairs });
    },
    spans: ({ from, to }) => {
      const spans: PairSpan[] = [];
      for (let place = from; place < to; place++) for (const span of undecided(place)) spans.push(span);
      return spans;
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
    close: (job) => underWay.delete(job),
    holds: ({ from, to }, address, at) => {
      const place = prefixes.placeOf(address, at);
      return from <= place && place < to;
    },
  };
}

const countPairs = (spans: readonly PairSpan[]): number => spans.reduce((sum, { pairs }) => sum + pairs, 0);
