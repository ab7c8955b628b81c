/**
 * Times in which the path carried nothing: for more than a second no SYN-ACK and no RST came from any host, and of the SYNs to ports
 * that had answered before (pilots) so many in a row were lost that loss by chance does not explain it.
 *
 * Pure: times in microseconds. A single host that is away: hosts/rst-limited.ts.
 */

/** From the last answer before it to the first one after it; without an end, nothing has answered since. */
export interface Outage {
  readonly fromUs: number;
  readonly toUs?: number;
}

export interface Outages {
  /** A SYN that has to be answered left at `times[i]`. */
  asked(times: Float64Array, i: number): void;
  /** A SYN that left at `times[i]` was answered, `ageUs` before `nowUs`. */
  answered(times: Float64Array, i: number, nowUs: number, ageUs: number): void;
  /** Those that are over, and one that lasts. */
  list(nowUs: number): readonly Outage[];
}

const SHORTEST_US = 1e6;
/** Pilots lost in a row: at a loss of 0.5, one such row in 256. */
const LOST_IN_A_ROW = 8;
/** A path that comes and goes all the time; further outages are not told of. */
const MOST = 100;

export function createOutages(): Outages {
  const over: Outage[] = [];
  // An array, as a variable would be a new object with each answer.
  const at = new Float64Array(2);
  /** When the last answer came, and when the last pilot needed left since. */
  const ANSWERED = 0;
  const ENOUGH = 1;
  at[ANSWERED] = Number.NaN;
  at[ENOUGH] = Number.POSITIVE_INFINITY;
  let pilots = 0;
  return {
    asked: (times, i) => {
      if (++pilots === LOST_IN_A_ROW) at[ENOUGH] = times[i];
    },
    answered: (times, i, nowUs, ageUs) => {
      // What left later is answered, so the pilots are lost and not just under way.
      const isOutage = nowUs - ageUs - at[ANSWERED] >= SHORTEST_US && at[ENOUGH] < times[i];
      if (isOutage && over.length < MOST) over.push({ fromUs: at[ANSWERED], toUs: nowUs - ageUs });
      at[ANSWERED] = nowUs - ageUs;
      at[ENOUGH] = Number.POSITIVE_INFINITY;
      pilots = 0;
    },
    list: (nowUs) =>
      nowUs - Math.max(at[ANSWERED], at[ENOUGH]) >= SHORTEST_US ? [...over, { fromUs: at[ANSWERED] }] : over,
  };
}
