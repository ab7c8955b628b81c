/** The coordinator's books: cells of any size are disjoint and together the space, after a resumption too, and none counts twice. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jobOf, targetsOf } from "../../../src/runtime/fleet/cell.ts";
import {
  busyWorkers,
  CELL_S,
  cellSize,
  createLedger,
  type Ledger,
} from "../../../src/runtime/fleet/ledger.ts";
import { countAddresses } from "../../../src/scan/targets/address-range.ts";
import { cutByPrefix, type PairSpan } from "../../../src/scan/targets/prefixes.ts";
import type { Space } from "../../../src/scan/targets/space.ts";
import { createSpaceBuilder } from "../../../src/scan/targets/space-builder.ts";
import { ADDRESS_WORDS, loadAddress } from "../../../src/socket/table.ts";
import { everyday } from "../../everyday.ts";
import { address } from "../../sim/run.ts";

const piece = fc.record({
  third: fc.nat(200),
  networks: fc.integer({ min: 1, max: 90 }),
  hosts: fc.integer({ min: 1, max: 6 }),
  ports: fc.uniqueArray(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 }),
});
const pieces = fc.array(piece, { minLength: 1, maxLength: 4 });
type Piece = typeof piece extends fc.Arbitrary<infer P> ? P : never;

/** A few hosts in each of many /24. */
function spaceOf(all: readonly Piece[]): Space {
  const builder = createSpaceBuilder();
  for (const { third, networks, hosts, ports } of all) {
    for (let i = third; i < Math.min(256, third + networks); i++) {
      const sorted = Uint16Array.from([...ports].sort((a, b) => a - b));
      builder.add(address(`198.18.${i}.4`), address(`198.18.${i}.${3 + hosts}`), sorted);
    }
  }
  return builder.build();
}

/** Pairs by their number in the space. */
function numbers(space: Space, spans: readonly PairSpan[]): number[] {
  const words = new Uint32Array(ADDRESS_WORDS);
  return spans.flatMap((span) => {
    loadAddress(words, 0, span.first, 0, span.first.length);
    const hosts = countAddresses(span);
    expect(span.pairs).toBe(hosts * span.ports.length);
    const all: number[] = [];
    for (let i = 0; i < hosts; i++, words[ADDRESS_WORDS - 1]++)
      for (const port of span.ports) all.push(space.indexOf(words, 0, port));
    return all;
  });
}

function cutAll(space: Space, ledger: Ledger, wanted: readonly number[]): number[] {
  const all: number[] = [];
  for (let i = 0; ; i++) {
    const cell = ledger.cut({ pairs: wanted[i % wanted.length] });
    if (cell === undefined) return all;
    const found = numbers(space, ledger.spans(cell));
    expect(found.length).toBe(cell.pairs);
    expect(listed(ledger.numbers(cell))).toEqual(ascending(found));
    for (const number of found) all.push(number);
  }
}

const ascending = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b);
const listed = (ranges: ReturnType<Ledger["numbers"]>): number[] =>
  ranges.flatMap(([from, to]) => Array.from({ length: to - from }, (_, i) => from + i));
const all = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("cells", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 4 });

  it("are disjoint and together the space", () => {
    fc.assert(
      fc.property(pieces, sizes, fc.nat(1e6), (some, wanted, seed) => {
        const space = spaceOf(some);
        const prefixes = cutByPrefix(space, { seed: BigInt(seed), most: 1e6 });
        const ledger = createLedger({ space, prefixes });
        expect(ascending(cutAll(space, ledger, wanted))).toEqual(all(space.total));
        expect(ledger.left).toBe(0);
      }),
      { numRuns: everyday(25, 1000) },
    );
  });

  it("of a resumed run are what is neither decided nor still under way", () => {
    fc.assert(
      fc.property(pieces, sizes, fc.nat(1e6), fc.nat(100), fc.nat(4), (some, wanted, seed, share, kept) => {
        const space = spaceOf(some);
        const prefixes = cutByPrefix(space, { seed: BigInt(seed), most: 1e6 });
        const before = createLedger({ space, prefixes });
        const cells = [];
        for (
          let cell = before.cut({ pairs: wanted[0] });
          cell !== undefined;
          cell = before.cut({ pairs: wanted[0] })
        )
          cells.push(cell);
        // Of the last cells nothing is decided, of the others a share of the pairs.
        const untouched = cells.slice(cells.length - Math.min(kept, cells.length));
        const free = new Set(untouched.flatMap((cell) => numbers(space, before.spans(cell))));
        const done = new Set(all(space.total).filter((i) => !free.has(i) && (i * 37) % 100 < share));
        const ledger = createLedger({ space, prefixes, isDone: (i) => done.has(i), decided: done.size });
        for (const cell of untouched) {
          expect(ledger.adopt(cell)).toBe(true);
          expect(ledger.adopt(cell)).toBe(false);
          expect(ledger.underWay.has(jobOf(cell))).toBe(true);
        }
        const rest = cutAll(space, ledger, wanted);
        expect(ascending([...rest, ...done, ...free])).toEqual(all(space.total));
        expect(ledger.left).toBe(0);
      }),
      { numRuns: everyday(25, 1000) },
    );
  });

  it("that are partly decided, or no stretch of this run, are not taken over", () => {
    const space = spaceOf([{ third: 0, networks: 80, hosts: 4, ports: [1] }]);
    const prefixes = cutByPrefix(space, { seed: 1n, most: 1e6 });
    const first = numbers(space, [...prefixes.at(5)])[0];
    const ledger = createLedger({ space, prefixes, isDone: (i) => i === first, decided: 1 });
    for (const [from, to] of [
      [0, 6],
      [5, 6],
      [10, 10],
      [70, 81],
      [-1, 4],
      [Number.NaN, Number.NaN],
    ])
      expect(ledger.adopt({ from, to })).toBe(false);
    expect(ledger.adopt({ from: 10, to: 20 })).toBe(true);
    expect(ledger.adopt({ from: 19, to: 25 })).toBe(false);
    expect(ledger.left).toBe(space.total - 1 - 40);
  });

  it("have 64 prefixes or more, unless that makes them twice as large as is wanted", () => {
    const space = spaceOf([{ third: 0, networks: 200, hosts: 2, ports: [1] }]);
    const cut = (wanted: number) =>
      createLedger({ space, prefixes: cutByPrefix(space, { seed: 1n, most: 1e6 }) }).cut({ pairs: wanted });
    expect(cut(100)).toEqual({ from: 0, to: 64, pairs: 128 });
    expect(cut(10)).toEqual({ from: 0, to: 10, pairs: 20 });
    expect(cut(300)).toEqual({ from: 0, to: 150, pairs: 300 });
  });

  it("are of one IP version each, so that a worker without the other can probe them", () => {
    const builder = createSpaceBuilder();
    for (let i = 0; i < 9; i++)
      for (const host of [`198.18.${i}.4`, `2001:db8:0:${i}::4`])
        builder.add(address(host), address(host), Uint16Array.of(1, 2));
    const space = builder.build();
    for (const seed of [1n, 2n, 3n]) {
      const ledger = createLedger({ space, prefixes: cutByPrefix(space, { seed, most: 1e6 }) });
      const cells = [ledger.cut({ pairs: 1000 }), ledger.cut({ pairs: 1000 })].flatMap((cell) => cell ?? []);
      const versions = cells.map((cell) => new Set(ledger.spans(cell).map(({ first }) => first.length)));
      expect(versions).toEqual([new Set([16]), new Set([4])]);
      expect(ledger.left).toBe(0);
    }
  });

  it("become smaller towards the end where others would wait, and are larger for a worker that is alone", () => {
    /** In seconds of work. */
    const sizes = (total: number, workers: number): number[] => {
      const found: number[] = [];
      for (let left = total; left > 0; left -= found.at(-1) ?? 0)
        found.push(Math.min(left, cellSize({ left, workers, perSecond: 1 }).pairs));
      return found;
    };
    const four = sizes(2000, 4);
    expect(four.slice(0, 4)).toEqual([CELL_S, CELL_S, CELL_S, CELL_S]);
    expect(four.slice(-4).every((seconds) => seconds <= 2)).toBe(true);
    expect(sizes(7, 1)).toEqual([7]);
    expect(sizes(9, 1)).toEqual([4, 5]);
    expect(
      sizes(200, 1)
        .slice(0, -1)
        .every((seconds) => seconds >= 4),
    ).toBe(true);
    // Of one that has told nothing it is not known whether that would be seconds.
    expect(cellSize({ left: 6000, workers: 1 })).toEqual({ pairs: 2000 });
    expect(cellSize({ left: 1e6, workers: 1, perSecond: 1000, most: 100 })).toEqual({ pairs: 100 * CELL_S });
  });

  it("are shared out at the end, however few their networks, so that all workers are done at once", () => {
    const space = spaceOf([{ third: 0, networks: 90, hosts: 4, ports: [1] }]);
    const ledger = createLedger({ space, prefixes: cutByPrefix(space, { seed: 1n, most: 1e6 }) });
    const perSecond = 40;
    // What they have been given when it comes to the shares; a cell waits for the last one.
    const begun = [3, 1, 2];
    const waiting: number[] = [];
    while (ledger.left > 0) {
      const busyS = busyWorkers(4, begun, waiting);
      const size = cellSize({ left: ledger.left, workers: 4, perSecond, busyS });
      const cell = ledger.cut(size);
      expect(size.isExact).toBe(true);
      expect(cell?.pairs).toBeLessThanOrEqual(size.pairs);
      waiting.push((cell?.pairs ?? 0) / perSecond);
    }
    const busyS = busyWorkers(4, begun, waiting);
    const even = (360 / perSecond + 6) / 4;
    for (const each of busyS) expect(Math.abs(each - even)).toBeLessThanOrEqual(0.5);
  });

  it("go to the worker that is done first; one that has all but sent its cell has another", () => {
    expect(busyWorkers(2, [], [])).toEqual([0, 0]);
    expect(busyWorkers(2, [0.2, 5, 4], [])).toEqual([5, 4]);
    expect(busyWorkers(2, [5, 4], [3, 1])).toEqual([6, 7]);
    // More is left than is shared out: cells are of so many networks again.
    expect(cellSize({ left: 1e5, workers: 2, perSecond: 100, busyS: [5, 4] }).isExact).toBeUndefined();
  });

  it("of second looks have those pairs alone, count for nothing, and keep others from their networks", () => {
    const space = spaceOf([{ third: 0, networks: 80, hosts: 4, ports: [1, 2] }]);
    const prefixes = cutByPrefix(space, { seed: 1n, most: 1e6 });
    const ledger = createLedger({ space, prefixes, firstLook: 2 ** 50 });
    expect(ledger.isFree(0)).toBe(false);
    const cell = ledger.cut({ pairs: 10 });
    expect(ledger.isFree(0)).toBe(false);
    expect(ledger.over).toBe(0);
    ledger.close(cell === undefined ? "" : jobOf(cell));
    expect(ledger.isFree(0)).toBe(true);
    const { left, over } = ledger;
    expect(over).toBe(cell?.pairs);
    const of = numbers(space, [...prefixes.at(0)]);
    expect(of.map(ledger.prefixOf)).toEqual(of.map(() => 0));
    const again = ledger.again([of[1], of[5]]);
    expect(again).toMatchObject({ from: 2 ** 50, to: 2 ** 50 + 1, pairs: 2 });
    expect(numbers(space, ledger.spans(again))).toEqual([of[1], of[5]]);
    expect(ledger.numbers(again)).toEqual([1, 5].map((i) => [of[i], of[i] + 1]));
    expect(ledger.isFree(0)).toBe(false);
    // Another coordinator leaves it alone.
    expect(createLedger({ space, prefixes }).adopt(again)).toBe(false);
    expect(ledger.close(jobOf(again))).toBe(true);
    expect(ledger.isFree(0)).toBe(true);
    expect(ledger).toMatchObject({ left, over });
    const next = ledger.again([of[2], of[1]]);
    expect(ledger.numbers(next)).toEqual([[of[1], of[2] + 1]]);
    expect(jobOf(next)).not.toBe(jobOf(again));
  });

  it("are closed once", () => {
    const space = spaceOf([{ third: 0, networks: 80, hosts: 4, ports: [1] }]);
    const ledger = createLedger({ space, prefixes: cutByPrefix(space, { seed: 1n, most: 1e6 }) });
    const cell = ledger.cut({ pairs: 10 });
    const job = cell === undefined ? "" : jobOf(cell);
    expect(ledger.close(job)).toBe(true);
    expect(ledger.close(job)).toBe(false);
    expect(targetsOf(ledger.spans({ from: 0, to: 1 }))).toHaveLength(1);
  });
});
