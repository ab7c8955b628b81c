/**
 * Silent rows that have had all their tries and wait to be decided, first in, first out: until it is known whether losses come in
 * bursts, which would ask for later tries. Their timers are off.
 *
 * Not here: whether a row is held and when it is let go (timeouts.ts).
 * Tested by test/scan/engine/engine.test.ts and test/sim/bursts.test.ts.
 */

export interface HeldSilences {
  push(row: number): void;
  /** The row that has waited longest; -1 when none does. */
  oldest(): number;
  /** The row no longer waits. */
  cancel(row: number): void;
  count(): number;
}

/** @param capacity of the table */
export function createHeldSilences(capacity: number): HeldSilences {
  // `held` decides; the ring may have stale entries, which `oldest` skips.
  const ring = new Int32Array(capacity + 1);
  const held = new Uint8Array(capacity);
  let head = 0;
  let length = 0;
  let count = 0;
  return {
    push: (row) => {
      if (length === ring.length) return;
      ring[(head + length) % ring.length] = row;
      length++;
      held[row] = 1;
      count++;
    },
    oldest: () => {
      for (; length > 0; length--) {
        const row = ring[head];
        if (held[row] === 1) return row;
        head = head + 1 === ring.length ? 0 : head + 1;
      }
      head = 0;
      return -1;
    },
    cancel: (row) => {
      count -= held[row];
      held[row] = 0;
    },
    count: () => count,
  };
}
