/**
 * How the rate grows while no queue shows: additively, by a clock, with steps that double.
 *
 *     rate = base + RECOVERY * banked + first step * (2^units - 1)
 *
 * `base` is what the last cut left, `banked` is what had been gained before it, and `units` counts time since. The first step is
 * the same for every sender, whatever its rate: that is what makes the shares of two senders equal (controller.ts).
 *
 * Pure: times in microseconds, rates in SYNs per second. Not here: when growth is allowed (controller.ts).
 */
import type { AnswersObservation } from "./observations.ts";

export interface Growth {
  /** Units of time since the last cut. */
  units(): number;
  base(): number;
  /** The rate was cut, or restored: grow from `base`, with the first step. */
  restart(base: number): void;
  /** What had been gained before a cut. */
  bank(gain: number): void;
  /** No growth is allowed at this moment: this time does not count. */
  skip(nowUs: number): void;
  /**
   * Lets time pass, as far as the answers cover it.
   * @param sinceUs no earlier time counts
   * @returns the rate that follows
   */
  advance(e: AnswersObservation, sinceUs: number): number;
}

/** Part of what had been gained before a cut that comes back as soon as the queue is gone. From test/sim/fairness.ts. */
const RECOVERY = 0.3;
/** First step, as a part of the base and in SYNs per second; the smaller of the two counts. From test/sim/fairness.ts. */
const FIRST_STEP = 0.25;
const MAX_FIRST_STEP = 30;
/** A unit of time: this many microseconds plus this many base round trips, in which a new rate shows its effect. */
const UNIT_US = 100_000;
const UNIT_ROUND_TRIPS = 1;
/** A unit also needs this many answers, which would have shown a queue. */
const UNIT_ANSWERS = 8;
/** One observation advances the clock by at most this part of a unit, so that a pause in the answers is no growth. */
const MAX_ADVANCE = 0.5;

export function createGrowth(initialRate: number, startUs: number): Growth {
  let base = initialRate;
  let banked = 0;
  let units = 0;
  let countedUs = startUs;

  return {
    units: () => units,
    base: () => base,
    restart: (rate) => {
      base = rate;
      units = 0;
    },
    bank: (gain) => {
      banked = gain;
    },
    skip: (nowUs) => {
      countedUs = nowUs;
    },
    advance: (e, sinceUs) => {
      const elapsed = (e.nowUs - Math.max(countedUs, sinceUs)) / (UNIT_US + UNIT_ROUND_TRIPS * e.baseRttUs);
      units += Math.min(MAX_ADVANCE, e.answers / UNIT_ANSWERS, elapsed);
      countedUs = e.nowUs;
      const first = Math.min(MAX_FIRST_STEP, FIRST_STEP * base);
      return base + RECOVERY * banked + first * (2 ** units - 1);
    },
  };
}
