/**
 * Whether round trips grow while a run starts: the first sign of a rate that is too high, before any host has been heard of
 * twice, and before anything is lost.
 *
 * A queue before the bottleneck grows by (rate/C - 1) seconds a second, and each answer is later than the one before it by so
 * much. Hosts at different distances are only scatter: in a random order they come as they come. Regression of round trips by
 * the times their SYNs left, by least squares. Who has not answered yet is missing among the last to be probed, which makes the
 * slope look smaller, never greater. Pure: times in microseconds.
 */

export interface RttSlope {
  /** The rate has changed: SYNs that leave at `fromUs` or later are others. Those at the rate before are still told of, while these tell nothing. */
  startAnew(fromUs: number): void;
  /** Of the newest only those count that leave before. */
  end(toUs: number): void;
  /**
   * Takes the round trip of the SYN that left at `times[i]`.
   * @param rtt whole microseconds
   */
  add(times: Float64Array, i: number, rtt: number): void;
  /** How fast round trips grow, in seconds a second, and by how much from the first of these SYNs to the last; undefined when that may be chance. */
  growth(): Growth | undefined;
}

export interface Growth {
  /** When the first and the last of these SYNs left. */
  readonly fromUs: number;
  readonly toUs: number;
  readonly slope: number;
  readonly queueUs: number;
  /** The round trip of the first, no less than the shortest was, and how far others are from it, but for the growth: a standard deviation. */
  readonly clearUs: number;
  readonly scatterUs: number;
}

/** Answers that a trend must show in; standard errors away from chance: there are many looks. */
const FEWEST_ANSWERS = 12;
const SURE = 4;
/** From the first of them to the last. */
const SHORTEST_US = 5000;
/** Less than this is nothing. */
const LEAST_GROWTH_US = 1000;
/** Microseconds, squared. */
const LEAST_VARIANCE = 1;

const COUNT = 0;
const TIME = 1;
const ROUND = 2;
const TIMES = 3;
const ROUNDS = 4;
const BOTH = 5;
const FIRST = 6;
const LAST = 7;
const SHORTEST = 8;

export function createRttSlope(startUs: number): RttSlope {
  let newer = createStage();
  let older = createStage();
  newer.begin(startUs);

  return {
    startAnew: (us) => {
      newer.end(us);
      [newer, older] = [older, newer];
      newer.begin(us);
    },
    end: (us) => newer.end(us),
    add: (times, i, rtt) => {
      if (!newer.add(times, i, rtt)) older.add(times, i, rtt);
    },
    growth: () => newer.growth() ?? older.growth(),
  };
}

/** SYNs that left at one rate; none before it begins. */
interface Stage {
  begin(fromUs: number): void;
  end(toUs: number): void;
  /** @returns whether it is one of these */
  add(times: Float64Array, i: number, rtt: number): boolean;
  growth(): Growth | undefined;
}

function createStage(): Stage {
  const sums = new Float64Array(SHORTEST + 1);
  let fromUs = Number.POSITIVE_INFINITY;
  let toUs = Number.POSITIVE_INFINITY;

  return {
    begin: (us) => {
      fromUs = us;
      toUs = Number.POSITIVE_INFINITY;
      sums.fill(0);
      sums[FIRST] = Number.POSITIVE_INFINITY;
      sums[SHORTEST] = Number.POSITIVE_INFINITY;
    },
    end: (us) => {
      toUs = Math.min(toUs, us);
    },
    add: (times, i, rtt) => {
      const us = times[i];
      if (us < fromUs || us >= toUs) return false;
      const at = us - fromUs;
      sums[COUNT]++;
      sums[TIME] += at;
      sums[ROUND] += rtt;
      sums[TIMES] += at * at;
      sums[ROUNDS] += rtt * rtt;
      sums[BOTH] += at * rtt;
      if (at < sums[FIRST]) sums[FIRST] = at;
      if (at > sums[LAST]) sums[LAST] = at;
      if (rtt < sums[SHORTEST]) sums[SHORTEST] = rtt;
      return true;
    },
    growth: () => {
      const n = sums[COUNT];
      // A burst leaves at no rate that could be known.
      if (n < FEWEST_ANSWERS || sums[LAST] - sums[FIRST] < SHORTEST_US) return undefined;
      const time = sums[TIME] / n;
      const round = sums[ROUND] / n;
      const variance = sums[TIMES] / n - time * time;
      // What left all at once has no slope.
      if (variance < LEAST_VARIANCE) return undefined;
      const covariance = sums[BOTH] / n - time * round;
      const slope = covariance / variance;
      if (slope * (sums[LAST] - sums[FIRST]) < LEAST_GROWTH_US) return undefined;
      const rest = sums[ROUNDS] / n - round * round - slope * covariance;
      const error = Math.sqrt(Math.max(0, rest) / (variance * (n - 2)));
      if (slope <= SURE * error) return undefined;
      return {
        fromUs: fromUs + sums[FIRST],
        toUs: fromUs + sums[LAST],
        slope,
        queueUs: slope * (sums[LAST] - sums[FIRST]),
        clearUs: Math.max(sums[SHORTEST], round - slope * (time - sums[FIRST])),
        scatterUs: Math.sqrt(Math.max(0, rest)),
      };
    },
  };
}
