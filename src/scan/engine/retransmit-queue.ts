/**
 * Retransmissions: rows whose try ran out and whose next SYN waits for the pacer, first come, first served. Pure.
 *
 * Not here: when a try has run out (timeouts.ts), when the next SYN may leave (congestion/pacer.ts).
 */

export interface RetransmitQueue {
  /** The row's next SYN may leave. A row waits once only, until `pop` or `cancel`. */
  push(row: number): void;
  /** The row that has waited longest; -1 when none waits. */
  pop(): number;
  /** The row needs no other SYN. */
  cancel(row: number): void;
  /** Whether `pop` may have a row: cancelled ones count until it has passed them. */
  any(): boolean;
  /** So many at most. */
  length(): number;
}

/** @param capacity rows are below this; the queue is emptied before a cancelled row comes to another pair's use */
export function createRetransmitQueue(capacity: number): RetransmitQueue {
  // `waits` is the truth, the ring may hold stale entries.
  const ring = new Int32Array(capacity + 1);
  const timeouts = new Uint8Array(capacity);
  let head = 0;
  let length = 0;
  return {
    push: (row) => {
      timeouts[row] = 1;
      ring[(head + length) % ring.length] = row;
      length++;
    },
    pop: () => {
      while (length > 0) {
        const row = ring[head];
        head = head + 1 === ring.length ? 0 : head + 1;
        length--;
        if (timeouts[row] === 1) {
          timeouts[row] = 0;
          return row;
        }
      }
      // The part of the ring that is never needed is never touched, and takes no memory.
      head = 0;
      return -1;
    },
    cancel: (row) => {
      timeouts[row] = 0;
    },
    any: () => length > 0,
    length: () => length,
  };
}
