/**
 * Holds ways to find a rate against each other, over random networks under a virtual clock: `npx tsx test/sim/compare.ts
 * [networks]` prints a table; congestion.test.ts asserts what of it holds with margin.
 */
import { fileURLToPath } from "node:url";
import type { RateController, RateControllerOptions } from "../../src/scan/congestion/controller.ts";
import { aimdOf, createVegas } from "./aimd.ts";
import { HOSTS, oracleSeconds, PORTS, type RandomNetwork, randomNetwork } from "./random-networks.ts";
import { scanTruth } from "./truth.ts";

export const RIVALS = {
  aimd: aimdOf(),
  "aimd, no cap": aimdOf(1e6),
  vegas: createVegas,
} as const satisfies Record<string, (options: RateControllerOptions) => RateController>;
export type Rival = "ours" | keyof typeof RIVALS;

export interface Run {
  readonly seconds: number;
  /** Share of the open ports found, and SYNs per pair. */
  readonly recall: number;
  readonly syns: number;
}

export interface Comparison extends RandomNetwork {
  /** Seconds that an oracle needs (random-networks.ts). */
  readonly oracle: number;
  readonly runs: ReadonlyMap<Rival, Run>;
}

export function compare(seed: number, rivals: readonly Rival[]): Comparison {
  const network = randomNetwork(seed);
  const runs = new Map<Rival, Run>();
  let oracle = Number.NaN;
  for (const rival of rivals) {
    const overrides = rival === "ours" ? {} : { congestion: RIVALS[rival] };
    const [score] = scanTruth(network.description, { hosts: HOSTS, ports: PORTS, seed }, overrides);
    oracle = oracleSeconds(network, score);
    runs.set(rival, {
      seconds: score.us / 1e6,
      recall: score.open === 0 ? 1 : score.openFound / score.open,
      syns: score.sent / score.pairs,
    });
  }
  return { ...network, oracle, runs };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle) - 1 + (sorted.length % 2)]) / 2;
}

/** How many times our time a rival took. */
export const timesOurs = (comparison: Comparison, rival: Rival): number =>
  (comparison.runs.get(rival)?.seconds ?? Number.NaN) / (comparison.runs.get("ours")?.seconds ?? Number.NaN);

function print(count: number): void {
  const rivals: Rival[] = ["ours", "aimd", "aimd, no cap", "vegas"];
  const line = (cells: readonly (string | number)[]) =>
    console.log(cells.map((cell, i) => String(cell).padStart(i < 6 ? 7 : 26)).join(" "));
  line([
    "seed",
    "loss",
    "ms",
    "pps",
    "silent",
    "oracle",
    ...rivals.map((rival) => `${rival}: s, recall, SYNs`),
  ]);
  const all: Comparison[] = [];
  for (let seed = 1; seed <= count; seed++) {
    const one = compare(seed, rivals);
    all.push(one);
    line([
      seed,
      one.loss.toFixed(3),
      one.rttMs.toFixed(0),
      one.ratePps,
      one.silent.toFixed(2),
      one.oracle.toFixed(2),
      ...[...one.runs.values()].map(
        ({ seconds, recall, syns }) => `${seconds.toFixed(1)} ${recall.toFixed(4)} ${syns.toFixed(2)}`,
      ),
    ]);
  }
  for (const rival of rivals) {
    const times = all.map((one) => timesOurs(one, rival)).sort((a, b) => a - b);
    const over = all.map((one) => (one.runs.get(rival)?.seconds ?? 0) / one.oracle);
    const recalls = all.map((one) => one.runs.get(rival)?.recall ?? 0);
    const syns = all.map((one) => one.runs.get(rival)?.syns ?? 0);
    const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    console.log(
      `${rival}: times ours median ${median(times).toFixed(2)}, quartiles ${times[times.length >> 2].toFixed(2)} and ` +
        `${times[Math.floor((3 * times.length) / 4)].toFixed(2)}, most ${times[times.length - 1].toFixed(1)}; times the oracle median ` +
        `${median(over).toFixed(2)}; recall mean ${mean(recalls).toFixed(5)}, least ${Math.min(...recalls).toFixed(4)}; ` +
        `SYNs per pair mean ${mean(syns).toFixed(2)}`,
    );
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) print(Number(process.argv[2] ?? 30));
