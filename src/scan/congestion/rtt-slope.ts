/**
 * Whether round trips rise during startup: the first sign of a rate that is too high, before any host has answered twice and
 * before anything is lost.
 *
 * A queue before the bottleneck grows by rate/C - 1 seconds per second, and each answer is later than the one before by as much.
 * Hosts at different distances only add scatter, because targets come in random order. The slope is a regression of round trips
 * on departure times. SYNs not answered yet are missing among the latest, which lowers the slope and never raises it. Pure: times
 * in microseconds.
 */
import { fitLine, LINE, LINE_LENGTH, MOMENT_COUNT, MOMENTS } from "./least-squares.ts";

export interface RttSlope {
  /** The rate has changed: SYNs from `fromUs` on form a new sample. The sample before still counts until this one tells something. */
  restart(fromUs: number): void;
  /** The new sample ends with the SYNs that left before `toUs`. */
  end(toUs: number): void;
  /**
   * Takes the round trip of the SYN that left at `times[i]`.
   * @param rtt whole microseconds
   */
  add(times: Float64Array, i: number, rtt: number): void;
  /** How round trips rise; undefined when the rise may be chance. */
  growth(): RttGrowth | undefined;
}

export interface RttGrowth {
  /** When the first and the last of these SYNs left. */
  readonly fromUs: number;
  readonly toUs: number;
  /** Seconds per second. */
  readonly slope: number;
  /** How much round trips rose from the first SYN to the last. */
  readonly queueUs: number;
  /** The round trip without the rise: the line's value at the first SYN, at least the shortest one. */
  readonly clearUs: number;
  /** Standard deviation of the round trips around the line: how different the hosts' distances are. */
  readonly scatterUs: number;
}

/** Answers that a slope needs, and standard errors that it must exceed: the test is repeated often. */
const MIN_ANSWERS = 12;
const STANDARD_ERRORS = 4;
/** Shortest time from the first SYN to the last, in microseconds: a burst leaves at no known rate. */
const MIN_SPAN_US = 5000;
/** A smaller rise, in microseconds, is ignored. */
const MIN_RISE_US = 1000;
/** SYNs whose departure times vary by less, in microseconds squared, left all at once. */
const MIN_VARIANCE = 1;

/** Sums of a sample: the moments of departure time (x) and round trip (y), and then these. */
const FIRST = MOMENT_COUNT;
const LAST = MOMENT_COUNT + 1;
const SHORTEST = MOMENT_COUNT + 2;

export function createRttSlope(startUs: number): RttSlope {
  let newer = createSample();
  let older = createSample();
  newer.begin(startUs);

  return {
    restart: (us) => {
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

/** SYNs that left at one rate; none before `begin`. */
interface Sample {
  begin(fromUs: number): void;
  end(toUs: number): void;
  /** @returns whether the SYN belongs to this sample */
  add(times: Float64Array, i: number, rtt: number): boolean;
  growth(): RttGrowth | undefined;
}

function createSample(): Sample {
  const sums = new Float64Array(SHORTEST + 1);
  const line = new Float64Array(LINE_LENGTH);
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
      sums[MOMENTS.weight]++;
      sums[MOMENTS.x] += at;
      sums[MOMENTS.y] += rtt;
      sums[MOMENTS.xx] += at * at;
      sums[MOMENTS.yy] += rtt * rtt;
      sums[MOMENTS.xy] += at * rtt;
      if (at < sums[FIRST]) sums[FIRST] = at;
      if (at > sums[LAST]) sums[LAST] = at;
      if (rtt < sums[SHORTEST]) sums[SHORTEST] = rtt;
      return true;
    },
    growth: () => {
      const answers = sums[MOMENTS.weight];
      const spanUs = sums[LAST] - sums[FIRST];
      if (answers < MIN_ANSWERS || spanUs < MIN_SPAN_US) return undefined;
      fitLine(sums, line);
      const slope = line[LINE.slope];
      const residual = line[LINE.residual];
      if (line[LINE.varianceX] < MIN_VARIANCE || slope * spanUs < MIN_RISE_US) return undefined;
      const error = Math.sqrt(residual / (line[LINE.varianceX] * (answers - 2)));
      if (slope <= STANDARD_ERRORS * error) return undefined;
      return {
        fromUs: fromUs + sums[FIRST],
        toUs: fromUs + sums[LAST],
        slope,
        queueUs: slope * spanUs,
        clearUs: Math.max(sums[SHORTEST], line[LINE.meanY] - slope * (line[LINE.meanX] - sums[FIRST])),
        scatterUs: Math.sqrt(residual),
      };
    },
  };
}
