/**
 * Pacing: a token bucket that says how many probes may leave now, and when the next one may.
 *
 * Pure: time is a parameter, in microseconds. Not here: which rate the path holds (controller.ts).
 */
import type { SharedPace } from "./shared-pace.ts";

export interface Pacer {
  /** Whole probes that may leave at `nowUs`. */
  allowance(nowUs: number): number;
  /** Takes one probe out of the allowance. */
  spend(): void;
  /** Puts back one that did not leave, and that says nothing of the path. Other runs are not told. */
  giveBack(): void;
  /** Others of the same rate have left until `nowUs`: the first probe waits as one after them does. */
  follow(nowUs: number): void;
  /** Probes per second from now on, above 0. */
  setRate(rate: number, nowUs: number): void;
  /** When the allowance reaches one; `nowUs` if it has. */
  nextAt(nowUs: number): number;
}

/** Size of the bucket, in seconds' worth of probes: the burst that may leave after a pause. */
const BURST = 0.01;

/**
 * @param rate probes per second, above 0
 * @param shared with other runs, whose probes are taken out of the allowance too: down to one burst below nothing
 */
export function createPacer(rate: number, startUs: number, shared?: SharedPace): Pacer {
  let perSecond = rate;
  let perUs = rate / 1e6;
  let burst = Math.max(1, rate * BURST);
  // In arrays, because a fraction in a closure variable is allocated each time it changes.
  const tokens = Float64Array.of(burst);
  const at = Float64Array.of(startUs);
  const refill = (nowUs: number): void => {
    if (nowUs <= at[0]) return;
    const more = (nowUs - at[0]) * perUs - (shared === undefined ? 0 : shared.spentBefore());
    tokens[0] = Math.max(-burst, Math.min(burst, tokens[0] + more));
    at[0] = nowUs;
  };
  return {
    allowance: (nowUs) => {
      refill(nowUs);
      // `nextAt` has promised a whole token here, which rounding may leave slightly short.
      return Math.floor(tokens[0] + 1e-6);
    },
    spend: () => {
      tokens[0] -= 1;
      shared?.spend();
    },
    giveBack: () => {
      tokens[0] = Math.min(burst, tokens[0] + 1);
    },
    follow: (nowUs) => {
      refill(nowUs);
      tokens[0] = Math.min(0, tokens[0]);
    },
    setRate: (next, nowUs) => {
      if (next === perSecond) return;
      refill(nowUs);
      perSecond = next;
      perUs = next / 1e6;
      burst = Math.max(1, next * BURST);
      tokens[0] = Math.min(burst, tokens[0]);
    },
    nextAt: (nowUs) => {
      refill(nowUs);
      return tokens[0] + 1e-6 >= 1 ? nowUs : nowUs + (1 - tokens[0]) / perUs;
    },
  };
}
