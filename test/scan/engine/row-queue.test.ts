/** Queues of rows, against a plain list. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRowQueue, type RowQueue } from "../../../src/scan/engine/row-queue.ts";

function listOf(queue: RowQueue): number[] {
  const rows: number[] = [];
  for (let row = queue.first(); row >= 0; row = queue.behind(row)) rows.push(row);
  return rows;
}

describe("rows", () => {
  it("come out in the order they went in", () => {
    const queue = createRowQueue(8);
    expect([queue.any(), queue.pop(), queue.first()]).toEqual([false, -1, -1]);
    for (const row of [3, 0, 7]) queue.push(row);
    expect([queue.any(), queue.length(), queue.first()]).toEqual([true, 3, 3]);
    const upcoming = new Int32Array(2);
    expect([queue.peek(upcoming), ...upcoming]).toEqual([2, 3, 0]);
    expect([queue.pop(), queue.pop(), queue.pop(), queue.pop()]).toEqual([3, 0, 7, -1]);
    expect([queue.any(), queue.length()]).toEqual([false, 0]);
  });

  it("that are cancelled do not come out, and may go in again at once, behind the others", () => {
    const queue = createRowQueue(8);
    for (const row of [1, 2, 3]) queue.push(row);
    queue.cancel(2);
    queue.cancel(2);
    queue.push(2);
    expect([queue.pop(), queue.pop(), queue.pop(), queue.pop()]).toEqual([1, 3, 2, -1]);
  });

  it("go in and out as from a list, whatever is done", () => {
    const capacity = 5;
    const operations = fc.array(fc.record({ what: fc.nat(2), row: fc.nat(capacity - 1) }), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(operations, (steps) => {
        const queue = createRowQueue(capacity);
        const upcoming = new Int32Array(3);
        let waiting: number[] = [];
        for (const { what, row } of steps) {
          if (what === 0 && !waiting.includes(row)) {
            queue.push(row);
            waiting.push(row);
          } else if (what === 1) {
            expect(queue.pop()).toBe(waiting.shift() ?? -1);
          } else if (what === 2) {
            queue.cancel(row);
            waiting = waiting.filter((other) => other !== row);
          }
          const count = queue.peek(upcoming);
          expect([...upcoming.subarray(0, count)]).toEqual(waiting.slice(0, upcoming.length));
          expect([listOf(queue), queue.length(), queue.any()]).toEqual([
            waiting,
            waiting.length,
            waiting.length > 0,
          ]);
        }
      }),
    );
  });
});
