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
  // Fractions that change with every probe: as variables of a closure each value would be an object of its own.
  const tokens = Float64Array.of(burst);
  const at = Float64Array.of(startUs);
  const refill = (nowUs: number): void => {
    if (nowUs <= at[0]) return;
    tokens[0] = Math.min(burst, tokens[0] + (nowUs - at[0]) * perUs);
    at[0] = nowUs;
  };
  return {
    allowance: (nowUs) => {
      refill(nowUs);
      // A token that rounding has left a hair short is a whole one: `nextAt` has said that it would be.
      return Math.floor(tokens[0] + 1e-6);
    },
    spend: () => {
      tokens[0] -= 1;
    },
    nextAt: (nowUs) => {
      refill(nowUs);
      return tokens[0] + 1e-6 >= 1 ? nowUs : nowUs + (1 - tokens[0]) / perUs;
    },
  };
}
