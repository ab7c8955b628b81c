/**
 * nmap's timing templates, and what they and the options that overrule them come to: waits, retries, rates. Pure numbers; how
 * options are written is the callers' business.
 */

/**
 * What `-T0` to `-T5` stand for, as nmap has them, where no other option says otherwise: how long a SYN waits before round
 * trips are known, and at least and at most; the SYNs per second of the three that are slow on purpose.
 */
export const TIMING: readonly {
  readonly waitMs: WaitMs;
  readonly retries: number;
  readonly rate?: number;
  readonly hostTimeoutMs?: number;
}[] = [
  { waitMs: { initial: 300_000, least: 100, most: 300_000 }, retries: 10, rate: 1 / 300 },
  { waitMs: { initial: 15_000, least: 100, most: 15_000 }, retries: 10, rate: 1 / 15 },
  { waitMs: { initial: 1100, least: 100, most: 10_000 }, retries: 10, rate: 2.5 },
  // A little more than three times the first is how long the kernel looks for a neighbour: its own host-unreach comes in time.
  { waitMs: { initial: 1100, least: 100, most: 10_000 }, retries: 10 },
  { waitMs: { initial: 500, least: 100, most: 1250 }, retries: 6 },
  { waitMs: { initial: 250, least: 50, most: 300 }, retries: 2, hostTimeoutMs: 900_000 },
];

/** How long a SYN waits for its answer, in milliseconds: before round trips are known, at least, at most. */
export interface WaitMs {
  readonly initial: number;
  readonly least: number;
  readonly most: number;
}

/** However much is lost, a run goes on at this rate. */
export const LEAST_RATE = 10;
/** No option asks for more. */
export const MOST_RATE = 10_000_000;

/** What was asked for; undefined where nothing was said. Rates in SYNs per second. */
export interface AskedTiming {
  /** 0 to 5; 3 when undefined. */
  readonly timing: number | undefined;
  /** Every SYN waits so long, in milliseconds. */
  readonly timeoutMs: number | undefined;
  readonly minRate: number | undefined;
  readonly maxRate: number | undefined;
  readonly hostTimeoutMs: number | undefined;
  readonly retries: number | undefined;
}

export interface SettledTiming {
  readonly waitMs: WaitMs;
  /** SYNs per second. */
  readonly rate: { readonly minimum: number; readonly maximum: number };
  readonly retries: number;
  readonly hostTimeoutMs: number | undefined;
}

/** The template, where nothing else was asked for. A `minRate` above `maxRate` is for the caller to refuse. */
export function settleTiming(asked: AskedTiming): SettledTiming {
  const template = TIMING[asked.timing ?? 3];
  const { minRate = 0, timeoutMs } = asked;
  const maximum = asked.maxRate ?? Math.max(template.rate ?? MOST_RATE, minRate);
  return {
    waitMs:
      timeoutMs === undefined ? template.waitMs : { initial: timeoutMs, least: timeoutMs, most: timeoutMs },
    rate: { minimum: Math.min(maximum, Math.max(minRate, LEAST_RATE)), maximum },
    retries: asked.retries ?? template.retries,
    hostTimeoutMs: asked.hostTimeoutMs ?? template.hostTimeoutMs,
  };
}
