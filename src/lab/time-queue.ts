/**
 * A queue ordered by time, equal times in order of insertion. Numbers in typed arrays: nothing is allocated per entry.
 *
 * Most networks deliver in order: an entry not earlier than the last of the ring is appended there, at constant cost; the
 * others go to a heap.
 */

export interface TimeQueue {
  readonly length: number;
  /** The time of the first entry; Infinity when there is none. */
  next(): number;
  push(time: number, item: number): void;
  /** Takes the first entry's item. */
  pop(): number;
}

const INITIAL_LENGTH = 64;

export function createTimeQueue(): TimeQueue {
  let order = 0;
  // The ring: entries in order.
  let ringTimes = new Float64Array(INITIAL_LENGTH);
  let ringOrders = new Float64Array(INITIAL_LENGTH);
  let ringItems = new Int32Array(INITIAL_LENGTH);
  let head = 0;
  let ringLength = 0;
  let lastTime = 0;
  // The heap: entry i is not after entries 2i + 1 and 2i + 2.
  let times = new Float64Array(INITIAL_LENGTH);
  let orders = new Float64Array(INITIAL_LENGTH);
  let items = new Int32Array(INITIAL_LENGTH);
  let heapLength = 0;

  function append(time: number, item: number): void {
    if (ringLength === ringTimes.length) {
      const [t, o, i] = [ringTimes, ringOrders, ringItems];
      ringTimes = new Float64Array(2 * ringLength);
      ringOrders = new Float64Array(2 * ringLength);
      ringItems = new Int32Array(2 * ringLength);
      for (let k = 0; k < ringLength; k++) {
        const from = (head + k) & (ringLength - 1);
        ringTimes[k] = t[from];
        ringOrders[k] = o[from];
        ringItems[k] = i[from];
      }
      head = 0;
    }
    const at = (head + ringLength++) & (ringTimes.length - 1);
    ringTimes[at] = time;
    ringOrders[at] = order++;
    ringItems[at] = item;
    lastTime = time;
  }

  function insert(time: number, item: number): void {
    if (heapLength === times.length) {
      const [t, o, i] = [times, orders, items];
      times = new Float64Array(2 * heapLength);
      orders = new Float64Array(2 * heapLength);
      items = new Int32Array(2 * heapLength);
      times.set(t);
      orders.set(o);
      items.set(i);
    }
    let at = heapLength++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      // It was inserted last: only an earlier time moves it up.
      if (times[parent] <= time) break;
      move(parent, at);
      at = parent;
    }
    place(at, time, order++, item);
  }

  function move(from: number, to: number): void {
    times[to] = times[from];
    orders[to] = orders[from];
    items[to] = items[from];
  }

  function place(at: number, time: number, rank: number, item: number): void {
    times[at] = time;
    orders[at] = rank;
    items[at] = item;
  }

  /** Moves the last entry to the root, and sifts it down. */
  function removeTop(): number {
    const top = items[0];
    heapLength--;
    const time = times[heapLength];
    const rank = orders[heapLength];
    const item = items[heapLength];
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heapLength) break;
      if (
        child + 1 < heapLength &&
        isBefore(times[child + 1], orders[child + 1], times[child], orders[child])
      )
        child++;
      if (!isBefore(times[child], orders[child], time, rank)) break;
      move(child, at);
      at = child;
    }
    place(at, time, rank, item);
    return top;
  }

  return {
    get length() {
      return ringLength + heapLength;
    },
    next: () => {
      const ring = ringLength > 0 ? ringTimes[head] : Number.POSITIVE_INFINITY;
      return heapLength > 0 && times[0] < ring ? times[0] : ring;
    },
    push: (time, item) => {
      if (ringLength === 0 || time >= lastTime) append(time, item);
      else insert(time, item);
    },
    pop: () => {
      if (
        ringLength > 0 &&
        (heapLength === 0 || isBefore(ringTimes[head], ringOrders[head], times[0], orders[0]))
      ) {
        const item = ringItems[head];
        head = (head + 1) & (ringTimes.length - 1);
        ringLength--;
        return item;
      }
      if (heapLength === 0) throw new RangeError("the queue is empty");
      return removeTop();
    },
  };
}

const isBefore = (time: number, order: number, otherTime: number, otherOrder: number): boolean =>
  time < otherTime || (time === otherTime && order < otherOrder);
