/**
 * nmap's timing templates (`-T0` to `-T5`), and the waits, retries and rates that follow from them and from the options that
 * override them. Pure numbers. Not here: parsing options (cli/options/).
 */

/**
 * nmap's values for `-T0` to `-T5`: how long a SYN waits for its answer (at first, at least, at most), the retries, and a rate in
 * SYNs per second for the three slow templates.
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
  // The kernel looks for a neighbour for 3 s, so its own host-unreach still comes in time.
  { waitMs: { initial: 1100, least: 100, most: 10_000 }, retries: 10 },
  { waitMs: { initial: 500, least: 100, most: 1250 }, retries: 6 },
  { waitMs: { initial: 250, least: 50, most: 300 }, retries: 2, hostTimeoutMs: 900_000 },
];

/** How long a SYN waits for its answer, in milliseconds: until round trips are known, at least, and at most. */
export interface WaitMs {
  readonly initial: number;
  readonly least: number;
  readonly most: number;
}

/** The rate never falls below this, in SYNs per second, however much is lost. */
export const LEAST_RATE = 10;
/** The highest rate that an option can ask for. */
export const MOST_RATE = 10_000_000;

/** Options as given; undefined for those that were not. Rates in SYNs per second. */
export interface AskedTiming {
  /** 0 to 5; 3 when undefined. */
  readonly timing: number | undefined;
  /** A fixed wait for every SYN, in milliseconds. */
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

/** Fills in from the template what was not given. The caller refuses a `minRate` above `maxRate`. */
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
