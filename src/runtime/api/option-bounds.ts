/**
 * Least and most of each numeric option, for the library (library-options.ts) and the command line (cli/options) alike. Names
 * are the library's. Times in milliseconds, rates in SYNs per second.
 */
import { MOST_RATE } from "../../scan/engine/timing-templates.ts";

export type Bounds = readonly [least: number, most: number];

const DAY_MS = 86_400_000;
const PORT: Bounds = [1, 65_535];
const RATE: Bounds = [1, MOST_RATE];

/** Whole numbers, but for `confidence`. */
export const BOUNDS = {
  retries: [0, 30],
  timeoutMs: [1, 600_000],
  timing: [0, 5],
  confidence: [0.5, 1],
  hostTimeoutMs: [1, DAY_MS],
  maxRate: RATE,
  minRate: RATE,
  maxRatePerHost: RATE,
  maxRatePerPrefix: RATE,
  sourcePort: PORT,
  topPorts: PORT,
  ttl: [1, 255],
  bannerMs: [1, 60_000],
  workers: [1, 64],
  /** Parts that a run is divided into. */
  shards: [1, 65_536],
  /** Flows that a walk takes to each port, routers that it may pass, and SYNs of each flow and TTL. */
  flows: [1, 64],
  maxHops: [1, 63],
  tries: [1, 10],
  /** Hosts that are walked to after a scan. */
  whyLimit: [1, 256],
  /** How long a worker of a fleet may be silent. */
  leaseMs: [2000, 600_000],
  /** How often the library reports progress. */
  progressEveryMs: [50, DAY_MS],
  /** How often the command line writes progress: a line each time, so less often. */
  statsEveryMs: [100, DAY_MS],
} as const satisfies Readonly<Record<string, Bounds>>;

export { PATH_DEFAULTS } from "../../scan/path/finding.ts";

/** TTL or hop limit of SYNs when none is given. */
export const DEFAULT_TTL = 64;
