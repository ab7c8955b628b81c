/**
 * Two other ways to find a rate, for comparison (test/sim/compare.ts): nmap's AIMD window, and a rule that goes by delay alone.
 *
 * Only the rules are modelled, not the probers: both sit behind the interface of src/scan/congestion/controller.ts, within the same
 * engine, and have its pilots and its proof of loss. A window over the round trip is a rate, which makes them better than
 * they are: they need no answer for each packet that leaves.
 */
import type { RateController, RateControllerOptions } from "../../src/scan/congestion/controller.ts";
import type { AnswersObservation, OutcomeObservation } from "../../src/scan/congestion/observations.ts";

/** nmap's figures for the group's window, in probes, at -T4 (timing.cc, scan_performance_vars). */
const FIRST_WINDOW = 10;
const LEAST_WINDOW = 1;
const MOST_WINDOW = 300;
/** Where slow start ends before the first loss; growth a round trip after that. */
const FIRST_THRESHOLD = 75;
const GROWTH = 2;
/** What a loss leaves of the window, and of the threshold: of what is under way. */
const DROP = 2;
const THRESHOLD_DROP = 4 / 3;
/** Where few answer, each answer counts for so many at most: as many as were expected, for each that came. */
const MOST_SCALE = 50;

/** @param most the window's bound: nmap's, or another to see what the rule itself would find; slow start then ends at a loss */
export const aimdOf =
  (most = MOST_WINDOW) =>
  (options: RateControllerOptions): RateController => {
    const { minimum, maximum } = options;
    let window = FIRST_WINDOW;
    let threshold = most > MOST_WINDOW ? most : FIRST_THRESHOLD;
    /** Until the first answers tell, the round trip is what the first timeout is. */
    let roundUs = 1_000_000;
    let delayUs = 0;
    let droppedUs = Number.NEGATIVE_INFINITY;
    let expected = 0;
    let received = 0;
    let silent = false;

    const rate = (): number => {
      if (silent) return options.blind;
      // A window is one round trip's, with what that takes in the queue.
      const found = (window * 1e6) / (roundUs + delayUs);
      return Math.min(maximum, Math.max(minimum, found));
    };

    function drop(nowUs: number, sent: number): void {
      const underWay = Math.min(window, (sent * (roundUs + delayUs)) / 1e6);
      window = Math.max(LEAST_WINDOW, window / DROP);
      threshold = Math.max(2, underWay / THRESHOLD_DROP);
      droppedUs = nowUs;
    }

    return {
      rate,
      handleDelays: () => {},
      handleRttGrowth: () => {},
      handleTime: () => {},
      handleAnswers: (e: AnswersObservation) => {
        silent = false;
        roundUs = Math.max(1000, e.baseRttUs);
        if (e.delays > 0) delayUs = Math.max(0, e.delayUs);
        expected += Math.max(e.answers, (e.sentRate * (e.toUs - e.fromUs)) / 1e6);
        received += e.answers;
        // Not while the window is not used.
        if (received === 0 || e.fromUs < droppedUs || e.sentRate < e.allowedRate / 2) return;
        const scale = Math.min(MOST_SCALE, expected / received);
        for (let i = 0; i < e.answers; i++) {
          if (window < threshold) window = Math.min(threshold, window + scale);
          else window += (GROWTH * scale) / window;
        }
        window = Math.min(most, window);
      },
      handleOutcome: (e: OutcomeObservation) => {
        // One decrease for all that left within a window.
        if (e.lost > 0 && e.fromUs >= droppedUs) drop(e.nowUs, e.sentRate);
      },
      handleOverrun: (nowUs) => {
        if (nowUs - droppedUs >= roundUs) drop(nowUs, rate());
      },
      inStartup: () => false,
      handleNoAnswers: () => {
        silent = true;
      },
      metrics: () => ({ phase: "probing", rate: rate() }),
    };
  };

/** Packets that a flow wants to have in the queue at least and at most (Brakmo and Peterson's Vegas). */
const VEGAS_LEAST = 2;
const VEGAS_MOST = 4;

/**
 * Goes by delay alone: doubles every other round trip until a queue shows, then keeps a few packets in it. Loss is no sign.
 *
 * It has the engine's idea of a usual round trip, and so its weakness: a prober meets each host but a few times, and where
 * the first SYNs have filled the queue the host is never seen without it. From a first rate below the bottleneck's it finds
 * the rate well.
 */
export function createVegas(options: RateControllerOptions): RateController {
  const { minimum, maximum } = options;
  const clamp = (rate: number): number => Math.min(maximum, Math.max(minimum, rate));
  let rate = clamp(options.initial);
  let starting = true;
  let changedUs = options.startUs;
  let sum = 0;
  let count = 0;
  return {
    rate: () => rate,
    handleDelays: () => {},
    handleRttGrowth: () => {},
    handleTime: () => {},
    handleAnswers: (e) => {
      if (e.fromUs < changedUs) return;
      sum += e.delays * e.delayUs;
      count += e.delays;
      // Once a round trip.
      if (count < 3 || e.toUs - changedUs < e.baseRttUs) return;
      const delayUs = Math.max(0, sum / count);
      const queued = (rate * delayUs) / 1e6;
      const window = Math.max(2, (rate * e.baseRttUs) / 1e6);
      const used = e.sentRate > 0.8 * e.allowedRate;
      if (starting && queued < VEGAS_MOST) rate = used ? 2 * rate : rate;
      else if (queued < VEGAS_LEAST) rate += used ? rate / window : 0;
      else if (queued > VEGAS_MOST)
        rate -= Math.min(rate / 8, (rate * Math.max(1, starting ? window / 8 : 1)) / window);
      if (queued > VEGAS_MOST) starting = false;
      rate = clamp(rate);
      changedUs = e.nowUs;
      sum = 0;
      count = 0;
    },
    handleOutcome: () => {},
    handleOverrun: () => {
      rate = clamp(0.7 * rate);
    },
    inStartup: () => false,
    handleNoAnswers: () => {
      rate = clamp(Math.max(rate, options.blind));
    },
    metrics: () => ({ phase: "probing", rate }),
  };
}
