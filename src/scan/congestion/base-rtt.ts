/**
 * The base round trip of each host, and by how much answers exceed it: the delays from which a queue is seen.
 *
 * It owns `hosts.baseRtt`, and whether a queue is in the round trips now. A base is learnt while there is no queue. A newcomer on
 * a path meets all its hosts in another sender's queue and notices when answers become faster later. Among many hosts each is
 * heard only every few seconds, so when all recent answers are faster, all bases are lowered, by the smallest improvement among
 * them: by the mean, scatter would make hosts look late afterwards.
 *
 * Not here: what the delays mean for the rate (queue-estimator.ts, controller.ts). Pure: times in microseconds.
 */

import type { HostCache } from "../measure/host-cache.ts";
import { MIN_INTERVAL_US, type ProbeTimeouts } from "../measure/probe-timeout.ts";
import type { SendIntervals } from "../measure/send-intervals.ts";
import type { Delay } from "./observations.ts";
import { standardDeviation } from "./queue-estimator.ts";

export interface BaseRtt {
  /**
   * Takes the round trip of the SYN of `interval` that left at `times[i]`.
   * @param rtt whole microseconds
   */
  sample(host: number, interval: number, times: Float64Array, i: number, rtt: number): void;
  /** A queue has been found; without it hardly any round trip would be longer than this. Until it is gone no base exceeds it. */
  expectQueue(maxBaseUs: number): void;
  /** The answers since the last call; undefined when none of them could be compared. */
  take(): RecentDelay | undefined;
}

/** Answers that arrived one after the other. */
export type RecentDelay = Omit<Delay, "sentRate">;

/** Sums over the answers since the last `take`. */
const COUNT = 0;
const FIRST_SENT = 1;
const SENT = 2;
const DELAY = 3;
const SQUARES = 4;
/** Over answers of hosts with a base, until there are MIN_FASTER: how many, and the greatest delay among them. */
const COMPARED = 5;
const GREATEST = 6;

/** Answers that must agree on a queue, its shortest length, and standard errors away from chance. */
const MIN_ANSWERS = 3;
const MIN_QUEUE_US = 2 * MIN_INTERVAL_US;
const STANDARD_ERRORS = 3;
/** An answer is much faster than its base by this many microseconds plus the larger of a part of a round trip and a multiple of the scatter. */
const FASTER_US = MIN_INTERVAL_US;
const FASTER_ROUND_TRIPS = 1 / 16;
const FASTER_SCATTERS = 2;
/** One that is a little faster lowers the base by at least this part of the difference: it may have met less of a queue. */
const FASTER_STEP = 0.2;
/** This many answers in a row must all be faster: then a queue that was in every base has gone. */
const MIN_FASTER = 12;
/** Scatter is at most this part of a round trip; before any answer it is the second value, in microseconds. */
const MAX_SCATTER = 0.2;
const INITIAL_SCATTER_US = 50_000;
/** Each delayed answer moves the scatter by this part of itself. */
const SCATTER_STEP = 1 / 64;
/** A base is a moving mean over at most this many answers of the host. */
const MAX_MEAN = 8;

export function createBaseRtt(hosts: HostCache, intervals: SendIntervals, timeouts: ProbeTimeouts): BaseRtt {
  const { baseRtt, answered } = hosts;
  const sums = new Float64Array(7);
  /** `baseRtt` is kept relative to this: by how much all round trips have become shorter since a queue went. */
  const goneUs = new Float64Array(1);
  /** Without a queue three of four delays are shorter than this. */
  const scatterUs = Float64Array.of(INITIAL_SCATTER_US);
  let queued = false;
  /** Upper bound of a base while there is a queue in which hosts were met. */
  const maxBaseUs = Float64Array.of(Number.POSITIVE_INFINITY);

  function isMuchFaster(host: number, rtt: number): boolean {
    const baseUs = timeouts.baseRttUs();
    const scatter = FASTER_SCATTERS * Math.min(scatterUs[0], MAX_SCATTER * timeouts.rttUs());
    return baseRtt[host] - goneUs[0] - rtt > FASTER_US + Math.max(FASTER_ROUND_TRIPS * baseUs, scatter);
  }

  /** @param us whole microseconds */
  function count(interval: number, times: Float64Array, i: number, us: number): void {
    intervals.addDelay(interval, us);
    if (sums[COUNT] === 0) sums[FIRST_SENT] = times[i];
    sums[COUNT]++;
    sums[SENT] += times[i] - sums[FIRST_SENT];
    sums[DELAY] += us;
    sums[SQUARES] += us * us;
    if (us > 0 && !queued) {
      scatterUs[0] += (us > scatterUs[0] ? 3 : -1) * (1 + SCATTER_STEP * scatterUs[0]);
    }
  }

  /** @param us whole microseconds */
  function compare(us: number): void {
    if (sums[COMPARED]++ === 0 || us > sums[GREATEST]) sums[GREATEST] = us;
  }

  /** @returns by how many microseconds all answers have become faster */
  function improvement(): number {
    if (sums[COMPARED] < MIN_FASTER) return 0;
    sums[COMPARED] = 0;
    return sums[GREATEST] < -MIN_INTERVAL_US ? -sums[GREATEST] : 0;
  }

  return {
    sample: (host, interval, times, i, rtt) => {
      const gone = goneUs[0];
      if (baseRtt[host] === 0) {
        baseRtt[host] = gone + Math.min(maxBaseUs[0], Math.max(1, rtt - timeouts.queueUs()));
        return;
      }
      let delay = rtt + gone - baseRtt[host];
      compare(delay | 0);
      if (isMuchFaster(host, rtt)) {
        baseRtt[host] = rtt + gone;
        return;
      }
      if (baseRtt[host] > maxBaseUs[0] + gone) {
        baseRtt[host] = maxBaseUs[0] + gone;
        delay = rtt - maxBaseUs[0];
      }
      // Soon after a host's first SYN only hosts whose first answer was fast can be compared: they alone would show a queue.
      if (timeouts.isSettled(host, times, i)) count(interval, times, i, delay | 0);
      const step = 1 / Math.min(MAX_MEAN, answered[host] + 1);
      if (delay < 0) baseRtt[host] += Math.max(FASTER_STEP, step) * delay;
      else if (!queued) baseRtt[host] += step * delay;
    },
    expectQueue: (us) => {
      maxBaseUs[0] = us;
      queued = true;
    },
    take: () => {
      goneUs[0] += improvement();
      const answers = sums[COUNT];
      if (answers === 0) return undefined;
      const atUs = sums[FIRST_SENT] + sums[SENT] / answers;
      const delayUs = sums[DELAY] / answers;
      const squares = sums[SQUARES] / answers;
      sums.fill(0, 0, COMPARED);
      if (answers >= MIN_ANSWERS) {
        // A queue delays all answers. Scatter alone has a mean below its deviation, because a base is below the mean round trip.
        const errors = Math.max(1, STANDARD_ERRORS / Math.sqrt(answers));
        queued = delayUs > Math.max(MIN_QUEUE_US, errors * standardDeviation(delayUs, squares));
        timeouts.setQueue(queued ? delayUs : 0);
        if (!queued) maxBaseUs[0] = Number.POSITIVE_INFINITY;
      }
      return { atUs, answers, delayUs, squares };
    },
  };
}
