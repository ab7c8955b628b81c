/** The queue of rows whose next SYN waits for the pacer, against a plain list. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRetransmitQueue } from "../../../src/scan/engine/retransmit-queue.ts";

describe("retransmissions", () => {
  it("come out in the order they went in", () => {
    const queue = createRetransmitQueue(8);
    expect(queue.any()).toBe(false);
    expect(queue.pop()).toBe(-1);
    for (const row of [3, 0, 7]) queue.push(row);
    expect(queue.any()).toBe(true);
    expect([queue.pop(), queue.pop(), queue.pop(), queue.pop()]).toEqual([3, 0, 7, -1]);
    expect(queue.any()).toBe(false);
  });

  it("that are cancelled do not come out, and may go in again", () => {
    const queue = createRetransmitQueue(8);
    for (const row of [1, 2, 3]) queue.push(row);
    queue.cancel(2);
    expect([queue.pop(), queue.pop(), queue.pop()]).toEqual([1, 3, -1]);
    queue.push(2);
    expect(queue.pop()).toBe(2);
  });

  it("are as many as there are rows, round and round", () => {
    const capacity = 5;
    const operations = fc.array(fc.record({ what: fc.nat(2), row: fc.nat(capacity - 1) }), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(operations, (steps) => {
        const queue = createRetransmitQueue(capacity);
        let waiting: number[] = [];
        // A row may go in again while its cancelled place has not been passed; so the list knows which were cancelled.
        const cancelled = new Set<number>();
        for (const { what, row } of steps) {
          if (what === 0 && !waiting.includes(row) && !cancelled.has(row)) {
            queue.push(row);
            waiting.push(row);
          } else if (what === 1) {
            expect(queue.pop()).toBe(waiting.shift() ?? -1);
            if (waiting.length === 0) cancelled.clear();
          } else if (what === 2 && waiting.includes(row)) {
            queue.cancel(row);
            waiting = waiting.filter((other) => other !== row);
            cancelled.add(row);
          }
        }
        while (waiting.length > 0) expect(queue.pop()).toBe(waiting.shift());
        expect(queue.pop()).toBe(-1);
        expect(queue.any()).toBe(false);
      }),
    );
  });
});
