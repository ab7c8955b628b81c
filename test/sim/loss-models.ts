/**
 * Loss as it is met, on networks that differ in nothing else: what a run states of its misses, beside the truth. For
 * loss-models.test.ts and `npm run bench:calibration -- --model NAME`.
 *
 * Losses are of the round trip. Networks of a model differ by their seed: hosts, ports, bursts and the order of probes.
 */
import type { LabDescription, MixDescription, PathDescription } from "../../src/lab/description.ts";
import { createRandom } from "../../src/lab/random.ts";
import type { Overrides } from "./run.ts";
import { scanTruth } from "./truth.ts";

export interface LossModel {
  readonly path?: PathDescription;
  /** For so long in mid-run everything is lost, of all prefixes or of a share of them. */
  readonly away?: { readonly seconds: number; readonly share?: number };
  /** Of a part of the hosts. */
  readonly mix?: MixDescription;
  /** 1,024 hosts x 10 ports when left out. */
  readonly size?: { readonly hosts: number; readonly ports: number };
  /** All SYNs leave from it (-g). */
  readonly sourcePort?: number;
}

const BASE_RATE = 20_000;
const RTT_MS = 60;
const SILENT = 0.5;
const OPEN = 0.05;
const FEW_PORTS = { hosts: 4096, ports: 3 };
/** Of each way, where this share of round trips fails. */
const eachWay = (loss: number): number => 1 - Math.sqrt(1 - loss);
const burst = (per: "path" | "prefix" | "host" | "pair", share: number, meanMs: number): PathDescription => ({
  bursts: [{ per, share, meanMs }],
});
/** When an outage begins, evenly between these: 10,240 pairs take half a second, and their retransmissions a second more. */
const AWAY_FROM_MS = [100, 1500] as const;
const STREAM = 78;
const forEver = (per: "flow" | "host" | "source-port"): PathDescription => ({
  bursts: [{ per, share: 0.05 }],
});

/** By name: what is lost, the share of time or packets in per cent, and how long at a stretch. */
export const LOSS_MODELS = {
  "independent-5": { path: { loss: eachWay(0.05) } },
  "independent-20": { path: { loss: eachWay(0.2) } },
  "path-20ms": { path: burst("path", 0.05, 20) },
  "path-200ms": { path: burst("path", 0.05, 200) },
  "path-500ms": { path: burst("path", 0.05, 500) },
  "prefix-500ms": { path: burst("prefix", 0.05, 500), size: FEW_PORTS },
  "prefix-2s": { path: burst("prefix", 0.05, 2000), size: FEW_PORTS },
  "host-500ms": { path: burst("host", 0.05, 500) },
  "host-2s": { path: burst("host", 0.05, 2000) },
  "host-1-500ms": { path: burst("host", 0.01, 500) },
  "host-1-2s": { path: burst("host", 0.01, 2000) },
  "host-10s": { path: burst("host", 0.05, 10_000) },
  "tenth-of-hosts-20-2s": { mix: { share: 0.1, path: burst("host", 0.2, 2000) } },
  "pair-500ms": { path: burst("pair", 0.05, 500) },
  "pair-2s": { path: burst("pair", 0.05, 2000) },
  "flow-for-ever": { path: forEver("flow") },
  "host-for-ever": { path: forEver("host") },
  "source-port-for-ever": { path: forEver("source-port") },
  "quarter-away-2s": { away: { seconds: 2, share: 0.25 }, size: FEW_PORTS },
  "away-500ms": { away: { seconds: 0.5 } },
  "away-2s": { away: { seconds: 2 } },
  "away-6s": { away: { seconds: 6 } },
  "away-10s": { away: { seconds: 10 } },
  "one-source-port-20": {
    path: { loss: eachWay(0.2) },
    sourcePort: 61_000,
  },
  dead: { path: { loss: 1 } },
  "mixed-1-host-500ms": { path: { loss: eachWay(0.01), ...burst("host", 0.01, 500) } },
  "mixed-5-host-2s-away-2s": {
    path: { loss: eachWay(0.05), ...burst("host", 0.01, 2000) },
    away: { seconds: 2, share: 0.25 },
  },
} satisfies Readonly<Record<string, LossModel>>;
export type LossModelName = keyof typeof LOSS_MODELS;

export function describeModel(model: LossModel, seed: number): LabDescription {
  const silent = { share: SILENT, rest: "silent" as const, ports: [] };
  const { away } = model;
  const [earliest, latest] = AWAY_FROM_MS;
  const fromMs = earliest + (latest - earliest) * createRandom(seed, STREAM)();
  const outages =
    away === undefined ? [] : [{ fromMs, toMs: fromMs + 1000 * away.seconds, share: away.share ?? 1 }];
  return {
    seed,
    path: { latencyMs: RTT_MS / 2, ...model.path, outages },
    hosts: [
      {
        range: "198.18.0.0/20",
        synAckRetries: 0,
        ports: [{ share: OPEN, is: "open" }],
        mix: model.mix === undefined ? [silent] : [silent, model.mix],
      },
    ],
  };
}

/** What a count was, what the run says it is, and bounds of the 95 % interval that it states. */
export interface Stated {
  readonly true: number;
  readonly expected: number;
  readonly low: number;
  readonly high: number;
}

/** One network, scanned. */
export interface Calibration {
  readonly seed: number;
  readonly open: number;
  readonly answering: number;
  readonly falseOpen: number;
  readonly twice: number;
  /** Open ports called filtered. */
  readonly missedOpen: Stated;
  /** Ports that answer and were called silent. */
  readonly missed: Stated;
  /** Ports called silent, and how much doubt these have on the mean. */
  readonly silent: number;
  readonly meanDoubt: number;
  readonly seconds: number;
  readonly syns: number;
}

export const holds = (stated: Stated): boolean => stated.true >= stated.low && stated.true <= stated.high;

/** @param overrides of the engine's options */
export function calibrate(model: LossModel, seed: number, overrides: Overrides = {}): Calibration {
  const size = model.size ?? { hosts: 1024, ports: 10 };
  /** Of each pair that is silent, by its last verdict. */
  const doubts = new Float64Array(size.hosts * size.ports).fill(Number.NaN);
  const [score] = scanTruth(
    describeModel(model, seed),
    { ...size, seed },
    { rate: { minimum: 10, maximum: BASE_RATE }, ...overrides },
    1,
    {
      ...(model.sourcePort === undefined ? {} : { sourcePort: model.sourcePort }),
      onVerdict: ({ position, reason, doubt }) => {
        doubts[position] = reason === "no-response" ? doubt : Number.NaN;
      },
    },
  );
  const silentDoubts = doubts.filter((doubt) => !Number.isNaN(doubt));
  const expected = silentDoubts.reduce((sum, doubt) => sum + doubt, 0);
  return {
    seed,
    open: score.open,
    answering: score.open + score.closed,
    falseOpen: score.falseOpen,
    twice: score.twice,
    missedOpen: { true: score.missed, ...score.stated },
    missed: {
      true: silentDoubts.length - score.filteredRight,
      ...score.statedAnswering,
    },
    silent: silentDoubts.length,
    meanDoubt: expected / Math.max(1, silentDoubts.length),
    seconds: score.us / 1e6,
    syns: score.sent,
  };
}

const Z_95 = 1.96;
const TAIL = 0.025;
/** Above this mean the normal distribution stands in. */
const MANY = 50;

/** Bounds of 95 % of how many of these come true, each with its own probability, one independent of the other. */
export function boundsOf(chances: Float64Array): { low: number; high: number } {
  const mean = chances.reduce((sum, chance) => sum + chance, 0);
  if (mean > MANY) {
    const deviation = Math.sqrt(chances.reduce((sum, chance) => sum + chance * (1 - chance), 0));
    return { low: Math.floor(mean - Z_95 * deviation), high: Math.ceil(mean + Z_95 * deviation) };
  }
  // The probability of each count, one chance after the other.
  const counts = new Float64Array(3 * MANY);
  counts[0] = 1;
  for (const chance of chances) {
    if (chance === 0) continue;
    for (let k = counts.length - 1; k > 0; k--) counts[k] += chance * (counts[k - 1] - counts[k]);
    counts[0] *= 1 - chance;
  }
  const quantile = (tail: number): number => {
    let k = 0;
    for (let sum = counts[0]; sum < tail && k + 1 < counts.length; sum += counts[k]) k++;
    return k;
  };
  return { low: quantile(TAIL), high: quantile(1 - TAIL) };
}

/** The middle one; the mean of both where there are two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
