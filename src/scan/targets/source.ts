/**
 * The pairs of one worker, in their order: walks a space through a permutation and finds the path of each address. Positions
 * are those of the whole run, so that a resumed run can skip the decided ones.
 *
 * Not here: the pairs (space.ts), the order (permutation.ts), which path leads where (runtime/plan/ asks the kernel).
 */
import { ADDRESS_WORDS } from "../../socket/table.ts";
import type { Order, Part } from "./permutation.ts";
import type { Probe, ProbeSource } from "./probe-source.ts";
import type { Space } from "./space.ts";
import { compareWords } from "./word-table.ts";

/** Which path leads to which addresses: disjoint ranges in ascending order, as words (loadAddress). */
export interface PathRanges {
  readonly first: Uint32Array;
  readonly last: Uint32Array;
  /** Per range: index of its path. */
  readonly path: Uint16Array;
}

/** Finds the path of an address, trying the last one first. @returns -1 when no range holds it */
export function createPathFinder(ranges: PathRanges): (words: Uint32Array, at: number) => number {
  const { first, last, path } = ranges;
  const count = path.length;
  let recent = 0;
  const holds = (range: number, words: Uint32Array, at: number): boolean =>
    compareWords(first, range * ADDRESS_WORDS, words, at, ADDRESS_WORDS) <= 0 &&
    compareWords(words, at, last, range * ADDRESS_WORDS, ADDRESS_WORDS) <= 0;
  return (words, at) => {
    if (recent < count && holds(recent, words, at)) return path[recent];
    let low = 0;
    let high = count - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (compareWords(words, at, first, middle * ADDRESS_WORDS, ADDRESS_WORDS) < 0) high = middle - 1;
      else if (compareWords(words, at, last, middle * ADDRESS_WORDS, ADDRESS_WORDS) > 0) low = middle + 1;
      else {
        recent = middle;
        return path[middle];
      }
    }
    return -1;
  };
}

export interface SourceOptions {
  readonly space: Space;
  /** The pairs that are given out, if not all. */
  readonly within?: Space;
  /** This worker's part of the run's order. */
  readonly order: Order;
  readonly worker: Part;
  readonly paths: PathRanges;
  /** Positions below this one are decided already. */
  readonly from?: number;
  /** Whether a position, at or above `from`, is decided already. */
  readonly isDone?: (position: number) => boolean;
}

export interface ShareSource extends ProbeSource {
  /** The first position of this share that has not been given out; Infinity after the last. */
  readonly nextPosition: number;
}

/** Places whose pairs are computed together. */
const BATCH = 64;

/** Positions of all workers together are 0, 1, 2 … in turn: place `p` of worker `w` of `n` is position `p * n + w`. */
export function createSource(options: SourceOptions): ShareSource {
  const { space, within, order, worker, paths, from = 0, isDone = () => false } = options;
  // Every address of a space has a path: with one range it need not be looked for.
  const [onlyPath] = paths.path;
  const pathOf = paths.path.length === 1 ? () => onlyPath : createPathFinder(paths);
  const positionAt = (place: number): number => place * worker.count + worker.index;
  const start = Math.max(0, Math.ceil((from - worker.index) / worker.count));
  let place = start;
  /** The numbers of the pairs from place `ahead` on: a loop of its own computes several at once. */
  const numbers = new Float64Array(BATCH);
  let ahead = start;
  let computed = 0;

  function compute(): void {
    ahead = place;
    computed = Math.min(BATCH, order.count - place);
    for (let i = 0; i < computed; i++) numbers[i] = order.indexAt(ahead + i);
  }

  return {
    total: Math.max(0, order.count - start),
    get nextPosition() {
      return place < order.count ? positionAt(place) : Number.POSITIVE_INFINITY;
    },
    next: (probe: Probe): boolean => {
      while (place < order.count) {
        const position = positionAt(place);
        if (place - ahead >= computed) compute();
        const number = numbers[place++ - ahead];
        if (isDone(position)) continue;
        space.pairAt(number, probe);
        if (within !== undefined && within.indexOf(probe.words, 0, probe.port) < 0) continue;
        probe.path = pathOf(probe.words, 0);
        probe.position = position;
        return true;
      }
      return false;
    },
  };
}
