/**
 * Two runs that know nothing of each other, through one bottleneck: what each gets of it. `npx tsx test/sim/fairness.ts [rounds]`
 * prints a table of twelve pairs a round; fairness.test.ts holds those of the first two.
 */
import { fileURLToPath } from "node:url";
import { type Score, scanTruth } from "./truth.ts";

/** The first seconds of the later one are no part of what is measured. */
const SETTLING_S = 2;
const UNTIL_S = 12;
/** From then on they should be settled. */
export const LATE_S = 8;

export interface Pair {
  readonly seed: number;
  readonly ratePps: number;
  readonly roundMs: number;
  readonly jitterMs: number;
  /** Of the round trip. */
  readonly loss: number;
  /** Share of hosts that say nothing. */
  readonly silent: number;
  /** When the second one begins. */
  readonly secondS: number;
}

export interface Shares {
  /** The first one's share of the SYNs while both ran, and from `LATE_S` on; 0 to 1. */
  readonly first: number;
  readonly late: number;
  /** All that both sent, over what the bottleneck takes. */
  readonly use: number;
}

const sentAt = ({ rates }: Score, s: number): number => rates.findLast(({ us }) => us <= s * 1e6)?.sent ?? 0;

export function sharesOf(
  { seed, ratePps, roundMs, jitterMs, loss, silent, secondS }: Pair,
  { workers = false } = {},
): Shares {
  const description = {
    seed,
    path: {
      latencyMs: roundMs / 2,
      jitterMs,
      loss: 1 - Math.sqrt(1 - loss),
      in: { ratePps, queuePackets: ratePps / 10 },
    },
    hosts: [
      {
        range: "198.18.0.0/15",
        synAckRetries: 0,
        ports: [{ share: 0.03, is: "open" as const }],
        mix: silent === 0 ? [] : [{ share: silent, rest: "silent" as const, ports: [] }],
      },
    ],
  };
  // More than they can do in the time.
  const size = { hosts: ratePps, ports: 2 * UNTIL_S, seed };
  const scores = scanTruth(description, size, {}, 2, {
    workers,
    startsUs: [0, secondS * 1e6],
    untilUs: UNTIL_S * 1e6,
  });
  const sentSince = (s: number): number[] => scores.map((score) => sentAt(score, UNTIL_S) - sentAt(score, s));
  const shareSince = (s: number): number => {
    const [first, second] = sentSince(s);
    return first / (first + second);
  };
  const fromS = secondS + SETTLING_S;
  const [first, second] = sentSince(fromS);
  return {
    first: shareSince(fromS),
    late: shareSince(LATE_S),
    use: (first + second) / (UNTIL_S - fromS) / ratePps,
  };
}

export function pairs(rounds: number): Pair[] {
  const all: Pair[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const ratePps of [2000, 20_000]) {
      for (const roundMs of [5, 40, 150]) {
        for (const secondS of [0, 2]) {
          const seed = all.length + 1;
          all.push({
            seed,
            ratePps,
            roundMs,
            jitterMs: seed % 2 === 0 ? 0 : 0.1 * roundMs,
            loss: seed % 3 === 0 ? 0.02 : 0,
            silent: seed % 5 === 0 ? 0.7 : 0,
            secondS,
          });
        }
      }
    }
  }
  return all;
}

export const EQUAL = 0.1;
/** How far from a half, at a quantile. */
export function offBy(shares: readonly number[], quantile: number): number {
  const off = shares.map((share) => Math.abs(share - 0.5)).sort((a, b) => a - b);
  return off[Math.min(off.length - 1, Math.floor(quantile * off.length))];
}

function print(rounds: number): void {
  const found: Shares[] = [];
  for (const pair of pairs(rounds)) {
    const shares = sharesOf(pair);
    found.push(shares);
    const { seed, ratePps, roundMs, jitterMs, loss, silent, secondS } = pair;
    console.log(
      `${seed}: ${ratePps}/s, ${roundMs} ms ± ${jitterMs}, loss ${loss}, silent ${silent}, second at ${secondS} s: ` +
        `${(100 * shares.first).toFixed(0)} %, from ${LATE_S} s on ${(100 * shares.late).toFixed(0)} %, use ${shares.use.toFixed(2)}`,
    );
  }
  for (const [when, shares] of [
    ["in all", found.map(({ first }) => first)],
    [`from ${LATE_S} s on`, found.map(({ late }) => late)],
  ] as const) {
    const outside = shares.filter((share) => Math.abs(share - 0.5) > EQUAL).length;
    console.log(
      `${when}: ${outside} of ${shares.length} outside 40-60 %; off a half by ${[0.5, 0.9, 1].map((q) => (100 * offBy(shares, q)).toFixed(0)).join(", ")} points (median, 90 %, most)`,
    );
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) print(Number(process.argv[2] ?? 4));
