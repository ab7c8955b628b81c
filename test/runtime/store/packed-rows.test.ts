/** Many rows of whole numbers in a few blobs: the same numbers, in order, wherever a blob ends. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openStore } from "../../../src/runtime/store/database.ts";
import { eachRow } from "../../../src/runtime/store/packed-rows.ts";

test("rows come as they are, whatever the numbers, in blobs of any size", () => {
  const folder = mkdtempSync(join(tmpdir(), "synprobe-packed-"));
  const store = openStore(join(folder, "h.db"), true);
  store.prepare("CREATE TABLE t (a INTEGER, b INTEGER, c INTEGER)").run();
  const add = store.prepare("INSERT INTO t VALUES (?, ?, ?)");
  const rows = [
    [0, 7e15, -1e15],
    [1, -1, 0],
    [1, 0, 99_999_999],
    [1, 1_796_000_000_123, 100_000_000],
    [2, 5, 123_456_789_012_345],
    [3, 0, 1],
  ];
  for (const row of [...rows].reverse()) add.run(...row);
  const read = (most: number, keys: 1 | 2, where: string): number[][] => {
    const found: number[][] = [];
    const packed = { table: "t", columns: ["a", "b", "c"], keys, where };
    eachRow(store, packed, [1, 2], (row) => found.push([...row]), most);
    return found;
  };
  for (const most of [1, 2, 3, 6, 7]) {
    expect(read(most, 2, "a IS NOT NULL")).toEqual(rows);
    expect(read(most, 2, "a BETWEEN ?1 AND ?2")).toEqual(rows.slice(1, 5));
    expect(read(most, 1, "b > 0 AND ?1 < ?2")).toEqual([rows[0], rows[3], rows[4]]);
    expect(read(most, 1, "a > 3")).toEqual([]);
  }
  for (const wrong of [9e15, -9e15, 2 ** 62]) {
    store.prepare("DELETE FROM t WHERE a > 3").run();
    add.run(4, wrong, 0);
    for (const most of [1, 7])
      expect(() => read(most, 2, "a IS NOT NULL")).toThrow(/a number in t is none of synprobe's/);
  }
  store.close();
  rmSync(folder, { recursive: true });
});
