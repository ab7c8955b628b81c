/** A set of positions, against a Set; and how little memory it takes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createPositionSet, type PositionSet } from "../../../src/scan/targets/positions.ts";

/** Everything in a set, in order. */
function members(set: PositionSet): number[] {
  const all: number[] = [];
  set.forEach((position) => void all.push(position));
  return all.sort((a, b) => a - b);
}

const position = fc.oneof(
  fc.nat(200),
  fc.maxSafeNat(),
  fc.integer({ min: -40, max: 40 }).map((i) => 2 ** 32 + i),
  fc.nat(40).map((i) => Number.MAX_SAFE_INTEGER - i),
);

describe("a set of positions", () => {
  it("agrees with a Set", () => {
    fc.assert(
      fc.property(fc.array(position), fc.array(position), (added, others) => {
        const set = createPositionSet();
        const oracle = new Set<number>();
        for (const each of added) {
          expect(set.add(each)).toBe(!oracle.has(each));
          oracle.add(each);
        }
        for (const each of [...added, ...others]) expect(set.has(each)).toBe(oracle.has(each));
        expect(set.size).toBe(oracle.size);
        expect(members(set)).toEqual([...oracle].sort((a, b) => a - b));
      }),
    );
  });

  it("goes on in another thread from its words", () => {
    const set = createPositionSet();
    for (let i = 0; i < 1000; i++) set.add(i * i);
    const there = createPositionSet(structuredClone(set.words));
    expect([there.size, members(there)]).toEqual([set.size, members(set)]);
    expect([there.add(4), there.add(5), there.has(5), set.has(5)]).toEqual([false, true, true, false]);
    for (let i = 0; i < 1000; i++) there.add(1e9 + 1000 * i);
    expect(there.size).toBe(2001);
    // It takes no more memory than the first would have.
    const [few, alike] = [createPositionSet(), createPositionSet()];
    for (const each of [few, alike]) each.add(1000);
    const copy = createPositionSet(structuredClone(few.words));
    for (const each of [copy, alike]) each.add(2000);
    expect(copy.words.numbers.length).toBe(alike.words.numbers.length);
  });

  it("holds a dense million in less than a megabyte, and a scattered one in less than fifty", () => {
    const bytes = ({ words }: PositionSet): number => words.numbers.byteLength + words.bits.byteLength;
    const [dense, scattered] = [createPositionSet(), createPositionSet()];
    for (let i = 0; i < 1_000_000; i++) {
      dense.add(8e9 + i);
      scattered.add(8000 * i);
    }
    expect([dense.size, scattered.size]).toEqual([1_000_000, 1_000_000]);
    expect(bytes(dense)).toBeLessThan(1e6);
    expect(bytes(scattered)).toBeLessThan(50e6);
  });
});
