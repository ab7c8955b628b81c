/**
 * `npm run bench:fleet`: what a fleet costs, and how it scales, in a wide lab whose far kernel answers for 65,536 hosts, with a real
 * redis-server.
 *
 *     npm run bench:fleet                  all of it, one round
 *     npm run bench:fleet -- one 3         a plain run and a fleet of one worker, in turn, three rounds
 *     npm run bench:fleet -- four          a fleet of one worker and one of four, in turn
 *
 * Coordinator, workers, Redis and both kernels share this machine's processors: without a cap that is what is measured. Needs root and
 * redis-server. Times are those of the whole command; workers are there before it starts.
 */
import { availableParallelism } from "node:os";
import { run, synprobe } from "../cli/process.ts";
import { createFleet, fleetProblem } from "../lab/fleet.ts";
import { inNamespace, type Lab } from "../lab/netns.ts";
import { createWideLab, WIDE } from "../lab/wide.ts";
import { median } from "./bed.ts";

const HOSTS = 65_536;

interface Case {
  readonly what: string;
  /** Ports of each host; all of them are closed. */
  readonly ports: number;
  /** Most SYNs a second of the plain run, or of each worker. */
  readonly perSecond?: number;
}

const ONE: readonly Case[] = [
  { what: "no cap", ports: 16 },
  { what: "20 k/s", ports: 16, perSecond: 20_000 },
];
const FOUR: readonly Case[] = [
  { what: "5 k/s each", ports: 4, perSecond: 5000 },
  { what: "20 k/s each", ports: 16, perSecond: 20_000 },
];

const capOf = ({ perSecond }: Case): string[] =>
  perSecond === undefined ? [] : ["--max-rate", String(perSecond)];

/** @returns seconds. @throws when a pair is not found closed */
async function time(lab: Lab, { ports }: Case, ...more: string[]): Promise<number> {
  const start = performance.now();
  const words = synprobe(`${WIDE.ipv4}:1-${ports}`, ...more);
  const { status, stdout, stderr } = await run(inNamespace(lab.near, words), { limitMs: 600_000 });
  const seconds = (performance.now() - start) / 1000;
  const closed = `${(HOSTS * ports).toLocaleString("en")} closed`;
  if (status !== 0 || !stdout.includes(closed)) throw new Error(`not ${closed}: ${stdout}${stderr}`);
  return seconds;
}

/** The same over a fleet that is made for it. */
async function timeFleet(lab: Lab, each: Case, workers: number): Promise<number> {
  const fleet = await createFleet(lab);
  try {
    await fleet.startRedis();
    for (let i = 0; i < workers; i++) await fleet.startWorker(`w${i}`, ...capOf(each));
    return await time(lab, each, "--fleet", fleet.url);
  } finally {
    await fleet.remove();
  }
}

/** Two ways in turn. @returns a row of the table: medians, and the median of the rounds' ratios */
async function compare(
  each: Case,
  rounds: number,
  [first, second]: readonly [() => Promise<number>, () => Promise<number>],
  ratioOf: (first: number, second: number) => number,
): Promise<string[]> {
  const times: [number, number][] = [];
  for (let round = 0; round < rounds; round++) times.push([await first(), await second()]);
  const seconds = (i: 0 | 1): string => `${median(times.map((pair) => pair[i])).toFixed(1)} s`;
  const ratio = median(times.map(([a, b]) => ratioOf(a, b))).toFixed(2);
  return [each.what, (HOSTS * each.ports).toLocaleString("en"), seconds(0), seconds(1), ratio];
}

const words = process.argv.slice(2);
const rounds = Number(words.find((word) => /^\d+$/.test(word)) ?? 1);
const isWanted = (part: string): boolean => words.every((word) => /^\d+$/.test(word)) || words.includes(part);
const problem = fleetProblem();
if (problem !== undefined) {
  console.error(`no benchmark: ${problem}`);
  process.exitCode = 1;
} else {
  const lab = await createWideLab();
  const print = (row: readonly string[]): void =>
    console.log(
      row
        .map((cell) => cell.padEnd(14))
        .join("")
        .trimEnd(),
    );
  try {
    console.log(`${availableParallelism()} processors`);
    if (isWanted("one")) {
      print(["", "pairs", "plain", "one worker", "x plain"]);
      for (const each of ONE) {
        const ways = [() => time(lab, each, ...capOf(each)), () => timeFleet(lab, each, 1)] as const;
        print(await compare(each, rounds, ways, (plain, fleet) => fleet / plain));
      }
    }
    if (isWanted("four")) {
      print(["", "pairs", "one worker", "four workers", "x as fast"]);
      for (const each of FOUR) {
        const ways = [() => timeFleet(lab, each, 1), () => timeFleet(lab, each, 4)] as const;
        print(await compare(each, rounds, ways, (one, four) => one / four));
      }
    }
  } finally {
    lab.remove();
  }
}
