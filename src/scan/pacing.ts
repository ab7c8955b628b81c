/**
 * Pacing: a token bucket that says how many probes may leave now, and when the next one may.
 *
 * Pure: time is a parameter, in microseconds. It knows a rate, not why: finding the rate a path holds is congestion
 * control, which is not built yet.
 */

export interface Pacer {
  /** Whole probes that may leave at `nowUs`. */
  allowance(nowUs: number): number;
  /** Takes one probe out of the allowance. */
  spend(): void;
  /** When the allowance will be at least one; `nowUs` when it is already. */
  nextAt(nowUs: number): number;
}

/**
 * @param rate probes per second, above 0
 * @param burst most probes that may leave at once after a pause, at least 1
 */
export function createPacer(rate: number, burst: number, startUs: number): Pacer {
  const perUs = rate / 1e6;
  let tokens = burst;
  let at = startUs;
  const refill = (nowUs: number): void => {
    if (nowUs <= at) return;
    tokens = Math.min(burst, tokens + (nowUs - at) * perUs);
    at = nowUs;
  };
  return {
    allowance: (nowUs) => {
      refill(nowUs);
      // A token that rounding has left a hair short is a whole one: `nextAt` has said that it would be.
      return Math.floor(tokens + 1e-6);
    },
    spend: () => {
      tokens -= 1;
    },
    nextAt: (nowUs) => {
      refill(nowUs);
      return tokens + 1e-6 >= 1 ? nowUs : nowUs + (1 - tokens) / perUs;
    },
  };
}
