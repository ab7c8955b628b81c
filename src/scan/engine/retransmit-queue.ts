/**
 * Retransmissions: rows whose try timed out and whose next SYN waits for the pacer, first in, first out. Pure.
 *
 * Not here: when a try times out (timeouts.ts), when the next SYN may leave (congestion/pacer.ts).
 */

export interface RetransmitQueue {
  /** The row's next SYN may be sent. A row is queued at most once, until `pop` or `cancel`. */
  push(row: number): void;
  /** The row that has waited longest; -1 when none waits. */
  pop(): number;
  /** The row needs no further SYN. */
  cancel(row: number): void;
  /** Whether `pop` may return a row. Cancelled rows count until `pop` has skipped them. */
  any(): boolean;
  /** An upper bound: it counts cancelled rows too. */
  length(): number;
}

/** @param capacity of the table. The queue drains before a cancelled row is reused for another pair. */
export function createRetransmitQueue(capacity: number): RetransmitQueue {
  // `queued` decides; the ring may hold stale entries.
  const ring = new Int32Array(capacity + 1);
  const queued = new Uint8Array(capacity);
  let head = 0;
  let length = 0;
  return {
    push: (row) => {
      queued[row] = 1;
      ring[(head + length) % ring.length] = row;
      length++;
    },
    pop: () => {
      while (length > 0) {
        const row = ring[head];
        head = head + 1 === ring.length ? 0 : head + 1;
        length--;
        if (queued[row] === 1) {
          queued[row] = 0;
          return row;
        }
      }
      // Starting over keeps the unused part of the ring untouched, so that it takes no memory.
      head = 0;
      return -1;
    },
    cancel: (row) => {
      queued[row] = 0;
    },
    any: () => length > 0,
    length: () => length,
  };
}
