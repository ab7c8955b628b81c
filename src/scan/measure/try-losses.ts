/**
 * What the path lost when each of a pair's tries left: from its send interval, once that has its loss, and before from pilots.
 *
 * Pure: times in microseconds. Not here: what follows for the doubt (loss-ledger.ts) or for bursts (loss-bursts.ts).
 */
import { lossOf, MAX_LOSS, NEIGHBOURS, PART_TRIES } from "./loss.ts";
import type { Tries } from "./loss-bursts.ts";
import { FATES, type SendIntervals } from "./send-intervals.ts";

/** Pilots about a SYN's interval from which they tell what was lost then. */
const FEWEST_PILOTS = 8;
/** Most SYNs to a port: more than `--retries` allows. */
const MAX_TRIES = 32;
const ONCE = Float64Array.of(1);

export function createTryLosses(intervals: SendIntervals) {
  const losses = new Float64Array(MAX_TRIES);
  const tries: Tries = { times: losses, i: 0, step: 0, count: 0, losses };
  let loss = lossOf(0, 0);

  /** Fills `tries` with what the path lost when each of `count` SYNs left, times `factor[0]`. Intervals below `smoothed` have their loss. */
  function lookUp(
    times: Float64Array,
    from: number,
    step: number,
    count: number,
    factor: Float64Array,
    smoothed: number,
  ): void {
    tries.times = times;
    tries.i = from;
    tries.step = step;
    tries.count = count;
    for (let i = 0; i < count; i++) {
      const interval = intervals.at(times, from + i * step);
      if (interval >= 0 && interval < smoothed) {
        intervals.loadLoss(losses, i, interval);
        losses[i] = Math.min(MAX_LOSS, factor[0] * losses[i]);
        continue;
      }
      let lost = 0;
      let answered = 0;
      if (interval >= 0) {
        // Losses of pairs show later: until then pilots stand for them.
        lost = intervals.get(interval, FATES.pilotLost);
        answered = intervals.get(interval, FATES.pilotAnswered);
      }
      // lossOfPart, inlined: a call would allocate its arguments.
      losses[i] = Math.min(
        MAX_LOSS,
        (factor[0] * (lost + PART_TRIES * loss)) / (lost + answered + PART_TRIES),
      );
    }
  }

  /**
   * Fills `tries` with what evidence of bursts is held against: pilots that left just before each SYN and have no answer. By now
   * their fates are known, which the estimates lag behind: at a start they would make independent losses look like bursts.
   * @returns false when it is not known any more when one of them left
   */
  function lookUpEvidence(
    times: Float64Array,
    from: number,
    step: number,
    count: number,
    smoothed: number,
  ): boolean {
    lookUp(times, from, step, count, ONCE, smoothed);
    for (let k = 0; k < count; k++) {
      const interval = intervals.at(times, from + k * step);
      if (interval < 0) return false;
      let sent = 0;
      let answered = 0;
      // Of those that left later the fates are not known yet.
      for (let i = Math.max(intervals.first(), interval - 2 * NEIGHBOURS); i <= interval; i++) {
        sent += intervals.get(i, FATES.pilotSent);
        answered += intervals.get(i, FATES.pilotAnswered);
      }
      const lost = Math.max(0, sent - answered);
      // Few pilots count only as long as nothing else tells. The evidence must not rest on a loss that chance made small.
      if (sent >= FEWEST_PILOTS || interval >= smoothed) {
        losses[k] = Math.max(losses[k], (lost + 1.5 * Math.sqrt(lost) + 1) / (sent + 2));
      }
      losses[k] = Math.min(MAX_LOSS, Math.max(losses[k], loss));
    }
    return true;
  }

  return {
    tries,
    losses,
    lookUp,
    lookUpEvidence,
    /** The run's loss, for what left lately. */
    setLoss: (now: number): void => {
      loss = now;
    },
  };
}
