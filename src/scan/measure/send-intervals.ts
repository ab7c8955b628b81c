/**
 * What became of the SYNs that left together: for each stretch of a few milliseconds, how many left, how many of those that
 * must be answered were, and how much longer than usual the answers took.
 *
 * "Must be answered" are pilots, and the SYNs of pairs that answered one of their SYNs: silence alone is no loss. A ring of
 * stretches; the oldest is forgotten. Pure: times in microseconds. What follows from it is congestion/controller.ts's business, and
 * loss.ts's.
 */

export interface SendIntervals {
  /** The newest stretch is number `count - 1`; those from `first` on are remembered. */
  count(): number;
  first(): number;
  /** Ends the newest stretch and begins another, in which so many SYNs a second may leave. */
  begin(nowUs: number, allowed: number): void;
  /** The stretch in which a SYN left, at `times[i]`; -1 when it is forgotten. (A time handed over by itself would be an object.) */
  at(times: Float64Array, i: number): number;
  /** When a stretch began. It ended when the next did. */
  fromUs(interval: number): number;
  /** Whether it began longer ago than that: an answer, because a time would be an object. */
  isOlder(interval: number, nowUs: number, us: number): boolean;
  allowed(interval: number): number;
  /** Counts something that happened to a SYN of the stretch; below `first` it does nothing. */
  add(interval: number, what: Fate, times?: number): void;
  get(interval: number, what: Fate): number;
  /** An answer took so much longer than usual: whole microseconds. */
  addDelay(interval: number, us: number): void;
  delays(interval: number): number;
  delaySum(interval: number): number;
  /** The loss of a stretch and those beside it, once it is reckoned. */
  setLoss(interval: number, loss: number): void;
  loss(interval: number): number;
}

export const FATES = {
  sent: 0,
  /** SYNs of pairs that answer, whatever had a part in what became of them: answered, or not. */
  heard: 5,
  missed: 6,
  /** SYNs of pairs that answer, and of which the path alone decides: answered, or lost, or its answer. */
  answered: 1,
  lost: 2,
  /** The same of pilots; and how many left. */
  pilotSent: 9,
  pilotAnswered: 3,
  pilotLost: 4,
  /** First SYNs to ports that turned out open. */
  open: 10,
  /** First SYNs to their ports, and answers to these. */
  fresh: 7,
  freshHeard: 8,
} as const;
export type Fate = (typeof FATES)[keyof typeof FATES];

const KINDS = 11;
const KEPT = 1024;
const MASK = KEPT - 1;

export function createSendIntervals(startUs: number, allowed: number): SendIntervals {
  const from = new Float64Array(KEPT);
  const rates = new Float64Array(KEPT);
  const fates = new Uint32Array(KEPT * KINDS);
  const delayCount = new Uint32Array(KEPT);
  const delaySum = new Float64Array(KEPT);
  const losses = new Float64Array(KEPT);
  let count = 1;
  from[0] = startUs;
  rates[0] = allowed;
  const first = (): number => Math.max(0, count - KEPT);
  const isKept = (interval: number): boolean => interval >= first() && interval >= 0;
  return {
    count: () => count,
    first,
    begin: (nowUs, rate) => {
      const i = count++ & MASK;
      from[i] = nowUs;
      rates[i] = rate;
      fates.fill(0, i * KINDS, (i + 1) * KINDS);
      delayCount[i] = 0;
      delaySum[i] = 0;
    },
    at: (times, i) => {
      const sentUs = times[i];
      // Most often one of the newest.
      let high = count - 1;
      for (let steps = 0; steps < 4; steps++, high--) {
        if (high < 0 || !isKept(high)) return -1;
        if (from[high & MASK] <= sentUs) return high;
      }
      let low = first();
      if (low > high || from[low & MASK] > sentUs) return -1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (from[middle & MASK] <= sentUs) low = middle;
        else high = middle - 1;
      }
      return low;
    },
    fromUs: (interval) => from[interval & MASK],
    isOlder: (interval, nowUs, us) => nowUs - from[interval & MASK] > us,
    allowed: (interval) => rates[interval & MASK],
    add: (interval, what, times = 1) => {
      if (isKept(interval)) fates[(interval & MASK) * KINDS + what] += times;
    },
    get: (interval, what) => fates[(interval & MASK) * KINDS + what],
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
  };
}
