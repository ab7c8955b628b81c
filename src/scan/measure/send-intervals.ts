/**
 * Fates of SYNs by send interval: for each span of a few milliseconds, how many SYNs left in it, how many of those that had to be
 * answered were, and how long their answers were delayed.
 *
 * SYNs that had to be answered are pilots, and those of pairs (host and port) that answered at least one SYN: a missing answer
 * alone is no proof of loss. A ring of intervals; the oldest is forgotten. Pure: times in microseconds. Not here: when an
 * interval ends (congestion/monitor.ts), what the fates mean (loss-ledger.ts, congestion/controller.ts).
 */

export interface SendIntervals {
  /** Intervals begun so far. They are numbered from 0, and those from `first` on are remembered. */
  count(): number;
  first(): number;
  /** Ends the newest interval and begins another, at an allowed rate in SYNs per second. */
  begin(nowUs: number, allowed: number): void;
  /** The interval in which a SYN left, at `times[i]`; -1 when it is forgotten. (A time as an argument would be allocated.) */
  at(times: Float64Array, i: number): number;
  /** When an interval began. It ended when the next one did. */
  fromUs(interval: number): number;
  /** Whether it began more than `us` before `nowUs`. */
  isOlder(interval: number, nowUs: number, us: number): boolean;
  allowed(interval: number): number;
  /** Counts a fate; ignored for an interval below `first`. */
  add(interval: number, fate: Fate, times?: number): void;
  get(interval: number, fate: Fate): number;
  /** Whether every pilot of the interval was answered or is known to be lost. Losses show last: earlier counts look too good. */
  arePilotFatesKnown(interval: number): boolean;
  /** An answer's delay in whole microseconds. */
  addDelay(interval: number, us: number): void;
  delays(interval: number): number;
  delaySum(interval: number): number;
  /** The loss of this interval and its neighbours, once it has been estimated. */
  setLoss(interval: number, loss: number): void;
  loss(interval: number): number;
  /** Writes it to `out[i]`. (A fraction that is returned may be allocated.) */
  loadLoss(out: Float64Array, i: number, interval: number): void;
}

export const FATES = {
  sent: 0,
  /** SYNs of pairs that answer, whatever decided their fate: the path, or a limit of the host's. */
  anyAnswered: 5,
  anyLost: 6,
  /** SYNs of pairs that answer, whose fate the path alone decided. */
  pathAnswered: 1,
  pathLost: 2,
  pilotSent: 9,
  pilotAnswered: 3,
  pilotLost: 4,
  /** First SYNs to ports that turned out to be open. */
  open: 10,
  /** First SYNs to their ports, and how many of these were answered. */
  firstSyn: 7,
  firstSynAnswered: 8,
} as const;
export type Fate = (typeof FATES)[keyof typeof FATES];

/** What an answer tells, to be combined. */
export const ANSWER = {
  /** Of the path: no limit of the host's can have decided this SYN's fate. */
  ofPath: 1,
  /** The round trip: it is known which SYN was answered. */
  timed: 2,
  /** It answers the first SYN to its port. */
  firstSyn: 4,
} as const;

const FATE_COUNT = 11;
/** Intervals that are remembered; a power of two. */
const CAPACITY = 1024;
const MASK = CAPACITY - 1;
/** Newest intervals that `at` tries one by one. Then it tries where it found a time of the same few milliseconds last, before it searches. */
const NEWEST = 4;
const LAST_FOUND = 4096;
const LAST_FOUND_US = 4096;

/** Without any interval yet. */
export function createSendIntervals(): SendIntervals {
  const from = new Float64Array(CAPACITY);
  const rates = new Float64Array(CAPACITY);
  const fates = new Uint32Array(CAPACITY * FATE_COUNT);
  const delayCount = new Uint32Array(CAPACITY);
  const delaySum = new Float64Array(CAPACITY);
  const losses = new Float64Array(CAPACITY);
  const lastFound = new Int32Array(LAST_FOUND);
  let count = 0;
  const first = (): number => Math.max(0, count - CAPACITY);
  const isKept = (interval: number): boolean => interval >= first() && interval >= 0;
  const get = (interval: number, fate: Fate): number => fates[(interval & MASK) * FATE_COUNT + fate];
  return {
    count: () => count,
    first,
    begin: (nowUs, rate) => {
      const i = count++ & MASK;
      from[i] = nowUs;
      rates[i] = rate;
      fates.fill(0, i * FATE_COUNT, (i + 1) * FATE_COUNT);
      delayCount[i] = 0;
      delaySum[i] = 0;
    },
    at: (times, i) => {
      const sentUs = times[i];
      const lowest = first();
      let high = count - 1;
      for (const newest = Math.max(lowest, count - NEWEST); high >= newest; high--) {
        if (from[high & MASK] <= sentUs) return high;
      }
      if (high < lowest) return -1;
      const last = (sentUs / LAST_FOUND_US) & (LAST_FOUND - 1);
      const found = lastFound[last];
      if (
        found >= lowest &&
        found < high &&
        from[found & MASK] <= sentUs &&
        from[(found + 1) & MASK] > sentUs
      ) {
        return found;
      }
      let low = lowest;
      if (from[low & MASK] > sentUs) return -1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (from[middle & MASK] <= sentUs) low = middle;
        else high = middle - 1;
      }
      lastFound[last] = low;
      return low;
    },
    fromUs: (interval) => from[interval & MASK],
    isOlder: (interval, nowUs, us) => nowUs - from[interval & MASK] > us,
    allowed: (interval) => rates[interval & MASK],
    add: (interval, fate, times = 1) => {
      if (isKept(interval)) fates[(interval & MASK) * FATE_COUNT + fate] += times;
    },
    get,
    arePilotFatesKnown: (interval) =>
      get(interval, FATES.pilotAnswered) + get(interval, FATES.pilotLost) >= get(interval, FATES.pilotSent),
    addDelay: (interval, us) => {
      if (!isKept(interval)) return;
      const i = interval & MASK;
      delayCount[i]++;
      delaySum[i] += us;
    },
    delays: (interval) => delayCount[interval & MASK],
    delaySum: (interval) => delaySum[interval & MASK],
    setLoss: (interval, loss) => {
      losses[interval & MASK] = loss;
    },
    loss: (interval) => losses[interval & MASK],
    loadLoss: (out, i, interval) => {
      out[i] = losses[interval & MASK];
    },
  };
}
