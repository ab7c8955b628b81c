/**
 * A queue of rows, first in, first out, from which any may be taken: rows whose next SYN waits for the pacer, and silent rows that
 * wait to be decided. Pure.
 *
 * Not here: when a row goes in, and when it may leave (timeouts.ts, transmit.ts).
 */

export interface RowQueue {
  /** Appends a row that is not in the queue. */
  push(row: number): void;
  /** Takes out the row that has waited longest; -1 when none waits. */
  pop(): number;
  /** The row that has waited longest, and the one behind a row; -1 for none. */
  first(): number;
  behind(row: number): number;
  /** Writes the rows that have waited longest to `rows`, as many as there is room for. @returns how many */
  peek(rows: Int32Array): number;
  /** Takes the row out, if it is in the queue. */
  cancel(row: number): void;
  any(): boolean;
  length(): number;
}

/** @param capacity rows are numbers below it */
export function createRowQueue(capacity: number): RowQueue {
  // Rows linked both ways, each number one more than the row, so that fresh memory is "none" and untouched until a row comes into use.
  const after = new Int32Array(capacity + 1);
  const before = new Int32Array(capacity + 1);
  const isIn = new Uint8Array(capacity);
  let length = 0;

  // Place 0 stands for both ends: behind it is the first row, before it the last.
  function cancel(row: number): void {
    if (isIn[row] === 0) return;
    isIn[row] = 0;
    length--;
    after[before[row + 1]] = after[row + 1];
    before[after[row + 1]] = before[row + 1];
  }

  return {
    push: (row) => {
      const last = before[0];
      after[last] = row + 1;
      before[row + 1] = last;
      after[row + 1] = 0;
      before[0] = row + 1;
      isIn[row] = 1;
      length++;
    },
    pop: () => {
      const row = after[0] - 1;
      if (row >= 0) cancel(row);
      return row;
    },
    first: () => after[0] - 1,
    behind: (row) => after[row + 1] - 1,
    peek: (rows) => {
      let count = 0;
      for (let row = after[0] - 1; row >= 0 && count < rows.length; row = after[row + 1] - 1) {
        rows[count++] = row;
      }
      return count;
    },
    cancel,
    any: () => length > 0,
    length: () => length,
  };
}
