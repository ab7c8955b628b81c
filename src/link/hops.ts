/**
 * Where packets for which addresses go: ranges of addresses, found by halving, and what belongs to each. Looking up allocates
 * nothing. Which ranges there are is the caller's to know (it asks route.ts).
 */
import { ADDRESS_WORDS, loadAddress } from "../socket/table.ts";
import type { Address } from "../wire/address.ts";
import type { NeighbourTable } from "./neighbour.ts";

/** Where packets for some addresses go: to a gateway, or with no gateway straight to their destination. */
export interface NextHopRange {
  readonly first: Address;
  readonly last: Address;
  readonly gateway?: Address;
}

/** A range whose packets must leave through one interface, whatever else the kernel might choose. */
export interface PinnedRange {
  readonly first: Address;
  readonly last: Address;
  readonly interfaceIndex: number;
}

export interface RangeFinder<Range> {
  /** The ranges in ascending order. */
  readonly ranges: readonly Range[];
  /** Number of the range that holds the address at `bytes[at]` (`length` 4 or 16), or -1. */
  locate(bytes: Uint8Array, at: number, length: 4 | 16): number;
  /** The address that was located last, as words. */
  readonly wanted: Uint32Array;
}

const wordsOf = (address: Address): Uint32Array => {
  const loaded = new Uint32Array(ADDRESS_WORDS);
  loadAddress(loaded, 0, address, 0, address.length);
  return loaded;
};

/** Ranges in order, found by halving; the one found last is tried first. @throws {RangeError} when two overlap */
export function createRangeFinder<Range extends { readonly first: Address; readonly last: Address }>(
  unordered: readonly Range[],
): RangeFinder<Range> {
  const ordered = unordered
    .map((range) => ({ range, first: wordsOf(range.first), last: wordsOf(range.last) }))
    .sort((a, b) => (below(a.first, 0, b.first, 0) ? -1 : 1));
  const count = ordered.length;
  const firsts = new Uint32Array(count * ADDRESS_WORDS);
  const lasts = new Uint32Array(count * ADDRESS_WORDS);
  ordered.forEach(({ first, last }, range) => {
    firsts.set(first, range * ADDRESS_WORDS);
    lasts.set(last, range * ADDRESS_WORDS);
    if (range > 0 && !below(lasts, (range - 1) * ADDRESS_WORDS, first, 0))
      throw new RangeError("next-hop ranges overlap");
  });
  const wanted = new Uint32Array(ADDRESS_WORDS);
  let latest = 0;
  const holds = (range: number): boolean =>
    !below(wanted, 0, firsts, range * ADDRESS_WORDS) && !below(lasts, range * ADDRESS_WORDS, wanted, 0);
  return {
    ranges: ordered.map(({ range }) => range),
    wanted,
    locate: (bytes, at, length) => {
      loadAddress(wanted, 0, bytes, at, length);
      if (latest < count && holds(latest)) return latest;
      let low = 0;
      let high = count;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (below(wanted, 0, firsts, middle * ADDRESS_WORDS)) high = middle;
        else low = middle + 1;
      }
      if (low === 0 || !holds(low - 1)) return -1;
      latest = low - 1;
      return latest;
    },
  };
}

export interface Hops extends Pick<RangeFinder<NextHopRange>, "locate"> {
  /** Number of the neighbour that the address just located is sent to, or -1. */
  neighbour(range: number, neighbours: NeighbourTable): number;
  /** That neighbour's address, as words; valid until the next call of `locate`. */
  nextHop(range: number): Uint32Array;
}

/** @throws {RangeError} when two ranges overlap */
export function createHops(routes: readonly NextHopRange[]): Hops {
  const { ranges, locate, wanted } = createRangeFinder(routes);
  const gateways = ranges.map(({ gateway }) => gateway && wordsOf(gateway));
  /** Neighbour of each range's gateway, and the table's version in which it was that. */
  const known = new Int32Array(ranges.length);
  const versions = new Float64Array(ranges.length).fill(-1);
  return {
    locate,
    nextHop: (range) => gateways[range] ?? wanted,
    neighbour: (range, neighbours) => {
      const gateway = gateways[range];
      if (gateway === undefined) return neighbours.find(wanted, 0);
      if (versions[range] !== neighbours.version) {
        versions[range] = neighbours.version;
        known[range] = neighbours.find(gateway, 0);
      }
      return known[range];
    },
  };
}

/** Whether one address of four words comes before another. */
function below(a: Uint32Array, aAt: number, b: Uint32Array, bAt: number): boolean {
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    if (a[aAt + i] !== b[bAt + i]) return a[aAt + i] < b[bAt + i];
  }
  return false;
}
