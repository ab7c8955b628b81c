/**
 * Silent rows that have had all their tries and wait to be decided, first in, first out: until it is known whether losses come in
 * bursts, which would ask for later tries. Their timers are off.
 *
 * Not here: whether a row is held and when it is let go (timeouts.ts).
 * Tested by test/sim/loss-models.test.ts.
 */

export interface HeldSilences {
  push(row: number): void;
  /** The row that has waited longest; -1 when none does. */
  oldest(): number;
  /** The row no longer waits. */
  cancel(row: number): void;
  /** The row is one of a sample that is tried again before others are decided. */
  sample(row: number): void;
  isSampled(row: number): boolean;
  /** The row is decided: nothing of this is left. */
  forget(row: number): void;
  count(): number;
}

/** @param capacity of the table */
export function createHeldSilences(capacity: number): HeldSilences {
  // `held` decides; the ring may have stale entries, which `oldest` skips.
  const ring = new Int32Array(capacity + 1);
  const held = new Uint8Array(capacity);
  const sampled = new Uint8Array(capacity);
  let head = 0;
  let length = 0;
  let count = 0;

  function cancel(row: number): void {
    count -= held[row];
    held[row] = 0;
  }

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
    cancel,
    sample: (row) => {
      sampled[row] = 1;
    },
    isSampled: (row) => sampled[row] === 1,
    forget: (row) => {
      cancel(row);
      sampled[row] = 0;
    },
    count: () => count,
  };
}
