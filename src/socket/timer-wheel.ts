/**
 * A timing wheel (Varghese and Lauck, scheme 4): deadlines of rows, armed, moved and cancelled in constant time, whatever
 * their number and order.
 *
 * Intrusive lists in typed arrays: one bucket per millisecond, each row in at most one bucket. A deadline beyond the wheel's
 * span waits in the last bucket and is rearmed from there. No clock: time is a parameter, in microseconds.
 */

export interface TimerWheel {
  /** Arms or moves the deadline of `row` to `fromUs + afterUs`. They are added here: passing the sum would allocate it. */
  arm(row: number, fromUs: number, afterUs?: number): void;
  cancel(row: number): void;
  /** The first row whose deadline is at or before `nowUs`, disarmed; -1 when none is due. */
  expire(nowUs: number): number;
  /** Writes the rows that `expire` looks at next to `rows`, as many as there is room for. @returns how many */
  peek(rows: Int32Array): number;
  /** A time at which `expire` may have something, never later than the earliest deadline + 1 ms; Infinity when idle. */
  next(): number;
  armed(): number;
}

const TICK_US = 1000;
const BUCKETS = 4096;
/** Rows and buckets are kept as number + 1 where 0 means none, so that fresh memory needs no filling. */
const NONE = 0;

/** @param rows rows are numbered 0 to `rows - 1`. @param startUs the earliest time that will ever be passed in */
export function createTimerWheel(rows: number, startUs: number): TimerWheel {
  const next = new Int32Array(rows);
  const previous = new Int32Array(rows);
  const bucketOf = new Int32Array(rows);
  const deadline = new Float64Array(rows);
  const heads = new Int32Array(BUCKETS);
  let armed = 0;
  /** Every bucket before this tick is empty. */
  let tick = Math.floor(startUs / TICK_US);

  const unlink = (row: number): void => {
    if (bucketOf[row] === NONE) return;
    if (previous[row] === NONE) heads[bucketOf[row] - 1] = next[row];
    else next[previous[row] - 1] = next[row];
    if (next[row] !== NONE) previous[next[row] - 1] = previous[row];
    bucketOf[row] = NONE;
    armed--;
  };
  const link = (row: number): void => {
    // Rounded up: a bucket is due when its last deadline is.
    const wanted = Math.ceil(deadline[row] / TICK_US);
    const bucket = Math.min(Math.max(wanted, tick), tick + BUCKETS - 1) % BUCKETS;
    next[row] = heads[bucket];
    previous[row] = NONE;
    if (heads[bucket] !== NONE) previous[heads[bucket] - 1] = row + 1;
    heads[bucket] = row + 1;
    bucketOf[row] = bucket + 1;
    armed++;
  };

  return {
    armed: () => armed,
    arm: (row, fromUs, afterUs = 0) => {
      unlink(row);
      deadline[row] = fromUs + afterUs;
      link(row);
    },
    cancel: unlink,
    expire: (nowUs) => {
      const last = Math.floor(nowUs / TICK_US);
      while (tick <= last) {
        if (armed === 0) {
          tick = last + 1;
          return -1;
        }
        const row = heads[tick % BUCKETS] - 1;
        if (row < 0) {
          tick++;
          continue;
        }
        unlink(row);
        if (deadline[row] <= nowUs) return row;
        link(row);
      }
      return -1;
    },
    peek: (rows) => {
      let count = 0;
      for (let row = heads[tick % BUCKETS] - 1; row >= 0 && count < rows.length; row = next[row] - 1) {
        rows[count++] = row;
      }
      return count;
    },
    next: () => {
      if (armed === 0) return Number.POSITIVE_INFINITY;
      let candidate = tick;
      while (heads[candidate % BUCKETS] === NONE) candidate++;
      return candidate * TICK_US;
    },
  };
}
