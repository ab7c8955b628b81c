/** Sets of ports by number: equal sets are one set, and what is put together or taken out is what a Set of numbers would have. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createPortSets, indexOfPort, NO_PORTS } from "../../../src/scan/targets/port-sets.ts";

const ascending = (ports: Iterable<number>): number[] => [...new Set(ports)].sort((a, b) => a - b);
// Few of them, so that sets overlap; and those at the borders of words and of the range.
const port = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.constantFrom(32, 33, 64, 65_504, 65_534, 65_535));
const list = fc.array(port, { maxLength: 12 }).map(ascending);

describe("sets of ports", () => {
  const sets = createPortSets();
  const make = (ports: readonly number[]): number => sets.intern(Uint16Array.from(ports), ports.length);

  it("are one when they are equal, however many there are", () => {
    const numbers = new Map<string, number>();
    fc.assert(
      fc.property(list, (ports) => {
        const set = make(ports);
        expect([...sets.ports(set)]).toEqual(ports);
        expect(sets.size(set)).toBe(ports.length);
        if (ports.length > 0) expect(sets.first(set)).toBe(ports[0]);
        const known = numbers.get(ports.join());
        if (known !== undefined) expect(set).toBe(known);
        expect([...numbers.values()].filter((number) => number === set)).toHaveLength(
          known === undefined ? 0 : 1,
        );
        numbers.set(ports.join(), set);
      }),
      { numRuns: 500 },
    );
    expect(make([])).toBe(NO_PORTS);
  });

  it("together, and less one another, are what sets of numbers are", () => {
    fc.assert(
      fc.property(list, list, list, (a, b, c) => {
        const [one, two, three] = [a, b, c].map(make);
        expect([...sets.ports(sets.union([one, two, three, one]))]).toEqual(ascending([...a, ...b, ...c]));
        expect([...sets.ports(sets.with(one, Uint16Array.from(b), b.length))]).toEqual(
          ascending([...a, ...b]),
        );
        expect([...sets.ports(sets.without(one, two))]).toEqual(a.filter((each) => !b.includes(each)));
        // They themselves have not changed.
        expect([one, two, three].map((set) => [...sets.ports(set)])).toEqual([a, b, c]);
      }),
      { numRuns: 500 },
    );
  });

  it("have room for all ports", () => {
    const all = Uint16Array.from({ length: 65_535 }, (_, i) => i + 1);
    const set = sets.intern(all, all.length);
    expect(sets.size(set)).toBe(65_535);
    expect([...sets.ports(sets.without(set, make([1, 65_535])))]).toEqual([...all.subarray(1, 65_534)]);
    expect(sets.with(make([80]), all, all.length)).toBe(set);
  });
});

it("a port's place among ascending ports is found within the bounds, and nowhere else", () => {
  const ports = Uint16Array.of(9, 22, 80, 443, 8080);
  expect([22, 80, 443].map((each) => indexOfPort(ports, 1, 4, each))).toEqual([1, 2, 3]);
  expect([9, 8080, 79, 81, 65_535].map((each) => indexOfPort(ports, 1, 4, each))).toEqual([
    -1, -1, -1, -1, -1,
  ]);
  expect(indexOfPort(ports, 2, 2, 80)).toBe(-1);
});
