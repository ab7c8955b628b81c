/**
 * How much longer than usual answers take: what is usual for each host, and what it says of answers as they come.
 *
 * It owns `hosts.usual`, and whether a queue is in the round trips now. What is usual is learnt while there is none; who was met
 * in one, as a latecomer meets all its hosts in the queue of who was there before, shows it by answers that are faster later. A
 * host is heard once in seconds where there are many: so when all that answer are faster, by whatever the least is, all others are
 * thought to be as well. By the least, not the mean: then scatter says nothing, and no host looks late afterwards.
 *
 * What the delays mean for the rate is queue-estimator.ts's business, and controller.ts's. Pure: times in microseconds.
 */

import type { HostCache } from "../measure/host-cache.ts";
import { type ProbeTimeouts, SHORTEST_US } from "../measure/probe-timeout.ts";
import type { SendIntervals } from "../measure/send-intervals.ts";
import { type Delay, spreadOf } from "./queue-estimator.ts";

export interface BaseRtt {
  /**
   * Takes the round trip of the SYN of `cohort` that left at `times[i]`.
   * @param rtt whole microseconds
   */
  sample(host: number, interval: number, times: Float64Array, i: number, rtt: number): void;
  /** There is a queue; without it hardly any round trip would be longer than this. Until it is gone none is thought to be. */
  expectQueue(mostUs: number): void;
  /** What has come since it was last asked; undefined when nothing has, or nothing that can be compared. */
  take(): Late | undefined;
}

/** Answers that came one after the other, and about when their SYNs left. */
export type Late = Omit<Delay, "sent">;

/** What is added up of answers. */
const COUNT = 0;
const FIRST_SENT = 1;
const SENT = 2;
const DELAY = 3;
const SQUARES = 4;
/** Of answers of hosts that were heard before, until there are enough of them: how many, and the most that one is late by. */
const ALL = 5;
const MOST = 6;

/** Answers that must agree on a queue, how long it must be, and its standard errors away from chance. */
const FEWEST_ANSWERS = 3;
const SHORTEST_QUEUE_US = 2 * SHORTEST_US;
const SURE = 3;
/** An answer is much faster than usual by this, by this part of a round trip, and by so many times what scatter alone makes. */
const FASTER_US = SHORTEST_US;
const FASTER_ROUNDS = 1 / 16;
const FASTER_SCATTERS = 2;
/** One that is a little faster moves what is usual by so much of the difference at least: it may have met less of a queue. */
const FASTER_STEP = 0.2;
/** So many answers, one after the other, must all be faster: then a queue has gone that was in every host's usual round trip. */
const FEWEST_FASTER = 12;
/** Scatter is no more than this part of a round trip; with each answer it moves by this part of itself. */
const MOST_SCATTER = 0.2;
const UNKNOWN_SCATTER_US = 50_000;
const SCATTER_STEP = 1 / 64;
/** Answers of a host that its usual round trip is a mean of, at most. */
const MOST_MEAN = 8;

export function createBaseRtt(hosts: HostCache, intervals: SendIntervals, timeouts: ProbeTimeouts): BaseRtt {
  const { usual, answered } = hosts;
  const sums = new Float64Array(7);
  /** All round trips are so much shorter than `usual` says, which is kept relative to this: a queue was in them, and has gone. */
  const goneUs = new Float64Array(1);
  /** What three of four answers that are late do not exceed while there is no queue. */
  const scatterUs = Float64Array.of(UNKNOWN_SCATTER_US);
  let queued = false;
  /** While a queue is there in which hosts were met: what their round trips are without, at most. */
  const mostUs = Float64Array.of(Number.POSITIVE_INFINITY);

  function isMuchFaster(host: number, rtt: number): boolean {
    const roundUs = timeouts.clearRoundUs();
    const scatter = FASTER_SCATTERS * Math.min(scatterUs[0], MOST_SCATTER * timeouts.roundUs());
    return usual[host] - goneUs[0] - rtt > FASTER_US + Math.max(FASTER_ROUNDS * roundUs, scatter);
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
    if (sums[ALL]++ === 0 || us > sums[MOST]) sums[MOST] = us;
  }

  /** @returns by how much all have become faster just now, in microseconds */
  function gain(): number {
    if (sums[ALL] < FEWEST_FASTER) return 0;
    sums[ALL] = 0;
    return sums[MOST] < -SHORTEST_US ? -sums[MOST] : 0;
  }

  return {
    sample: (host, interval, times, i, rtt) => {
      const gone = goneUs[0];
      if (usual[host] === 0) {
        usual[host] = gone + Math.min(mostUs[0], Math.max(1, rtt - timeouts.queueUs()));
        return;
      }
      let late = rtt + gone - usual[host];
      compare(late | 0);
      if (isMuchFaster(host, rtt)) {
        usual[host] = rtt + gone;
        return;
      }
      if (usual[host] > mostUs[0] + gone) {
        usual[host] = mostUs[0] + gone;
        late = rtt - mostUs[0];
      }
      // Soon after a host's first SYN only those are compared whose first answer was a fast one: that would show a queue.
      if (timeouts.isSettled(host, times, i)) count(interval, times, i, late | 0);
      const step = 1 / Math.min(MOST_MEAN, answered[host] + 1);
      if (late < 0) usual[host] += Math.max(FASTER_STEP, step) * late;
      else if (!queued) usual[host] += step * late;
    },
    expectQueue: (us) => {
      mostUs[0] = us;
      queued = true;
    },
    take: () => {
      goneUs[0] += gain();
      const answers = sums[COUNT];
      if (answers === 0) return undefined;
      const atUs = sums[FIRST_SENT] + sums[SENT] / answers;
      const delayUs = sums[DELAY] / answers;
      const squares = sums[SQUARES] / answers;
      sums.fill(0, 0, ALL);
      if (answers >= FEWEST_ANSWERS) {
        // A queue holds up all of them; scatter alone makes a mean that is less than itself, as what is usual is below the mean.
        const sure = Math.max(1, SURE / Math.sqrt(answers)) * spreadOf(delayUs, squares);
        queued = delayUs > Math.max(SHORTEST_QUEUE_US, sure);
        timeouts.setQueue(queued ? delayUs : 0);
        if (!queued) mostUs[0] = Number.POSITIVE_INFINITY;
      }
      return { atUs, answers, delayUs, squares };
    },
  };
}
