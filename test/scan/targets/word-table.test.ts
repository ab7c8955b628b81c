/** Rows of words: grown, sorted and found across chunks, and read by another thread. */
import { describe, expect, it } from "vitest";
import {
  appendRow,
  chunkOf,
  createRows,
  findRow,
  offsetOf,
  type Rows,
  releaseBefore,
  sortRows,
} from "../../../src/scan/targets/word-table.ts";
import { createSeededRandom } from "../../sim/random.ts";

const rowsOf = (width: number, values: readonly (readonly number[])[], spare?: Rows["spare"]): Rows => {
  const rows = createRows(width, spare);
  for (const value of values) appendRow(rows, Uint32Array.from(value));
  return rows;
};
const valuesOf = (rows: Rows): number[][] =>
  Array.from({ length: rows.length }, (_, row) => {
    const at = offsetOf(rows, row);
    return [...chunkOf(rows, row).subarray(at, at + rows.width)];
  });
const inOrder = (a: readonly number[], b: readonly number[]): number => {
  const i = a.findIndex((word, w) => word !== b[w]);
  return i < 0 ? 0 : a[i] - b[i];
};

const random = createSeededRandom(11);
const COUNT = 20_000;
/** Orders that have been the undoing of one sort or another. */
const PATTERNS: readonly (readonly [name: string, value: (i: number) => number])[] = [
  ["at random", () => random(0xffff_ffff)],
  ["with few values", () => random(3)],
  ["all the same", () => 7],
  ["ascending", (i) => i],
  ["descending", (i) => COUNT - i],
  ["up and down again", (i) => Math.min(i, COUNT - i)],
  ["in turns", (i) => (i % 2 === 0 ? i : COUNT - i)],
  ["ascending but for the last", (i) => (i === COUNT - 1 ? 0 : i)],
  ["in saw teeth", (i) => i % 100],
];

describe("rows", () => {
  it.each(PATTERNS)("%s are sorted by all of their words, over several chunks", (_, value) => {
    for (const width of [1, 2, 5]) {
      const values = Array.from({ length: COUNT }, (_, i) =>
        Array.from({ length: width }, (_, w) => (w === 0 ? value(i) : random(4) * 0x3fff_ffff)),
      );
      const rows = rowsOf(width, values);
      sortRows(rows);
      expect(valuesOf(rows)).toEqual(values.toSorted(inOrder));
    }
  });

  it("are found by their beginning", () => {
    const values = Array.from({ length: 10_000 }, (_, i) => [i >> 1, i]);
    const rows = rowsOf(2, values);
    const find = (...key: number[]) => findRow(rows, Uint32Array.from(key), 0, key.length);
    expect([find(0), find(1), find(4999), find(5000), find(0xffff_ffff)]).toEqual([1, 3, 9999, 9999, 9999]);
    expect([find(3, 6), find(3, 5), find(0, 0)]).toEqual([6, 5, 0]);
    expect(findRow(rowsOf(2, values.slice(4)), Uint32Array.of(1), 0, 1)).toBe(-1);
  });

  it("that are done with give their memory to others", () => {
    const values = Array.from({ length: COUNT }, (_, i) => [i]);
    const rows = rowsOf(1, values);
    const spare: Rows["spare"] = [];
    const copy = createRows(1, spare);
    for (let row = 0; row < rows.length; row++) {
      appendRow(copy, chunkOf(rows, row).slice(offsetOf(rows, row)));
      releaseBefore(rows, row + 1, spare);
    }
    expect(valuesOf(copy)).toEqual(values);
    // The first chunk is new, each later one was the original's before.
    expect(copy.chunks.slice(1)).toEqual(rows.chunks.slice(0, copy.chunks.length - 1));
    expect(copy.chunks[1]).toBe(rows.chunks[0]);
  });
});
