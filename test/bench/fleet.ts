/**
 * `npm run bench:fleet`: what a fleet costs, and how it scales, in a wide lab whose far kernel answers for 65,536 hosts, with a real
 * redis-server.
 *
 *     npm run bench:fleet                  all of it, one round
 *     npm run bench:fleet -- one 3         a plain run and a fleet of one worker, in turn, three rounds
 *     npm run bench:fleet -- four          a fleet of one worker and one of four, in turn, each in a network namespace of its own
 *
 * Coordinator, workers, Redis and all kernels share this machine's processors: without a cap that is what is measured. Needs root and
 * redis-server. Times are those of the whole command; workers are there before it starts. "busy" is the share of all processors that
 * anything took meanwhile.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { run, synprobe } from "../cli/process.ts";
import { createFleet, fleetProblem } from "../lab/fleet.ts";
import { inNamespace, type Lab } from "../lab/netns.ts";
import { addSeats, createWideLab, type Seat, WIDE } from "../lab/wide.ts";
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
  { what: "20 k/s each", ports: 32, perSecond: 20_000 },
];

const capOf = ({ perSecond }: Case): string[] =>
  perSecond === undefined ? [] : ["--max-rate", String(perSecond)];

interface Took {
  readonly seconds: number;
  /** Of all processors' time, by anything. */
  readonly busy: number;
}

/** Ticks of all processors since the start: without those that nobody used, and all (proc(5), /proc/stat). */
function processorTicks(): { readonly busy: number; readonly all: number } {
  const [line] = readFileSync("/proc/stat", "utf8").split("\n");
  // Those of guests are in the user's.
  const ticks = line.split(/\s+/).slice(1, 9).map(Number);
  const [, , , idle, waiting] = ticks;
  const all = ticks.reduce((sum, each) => sum + each, 0);
  return { busy: all - idle - waiting, all };
}

/** @throws when a pair is not found closed */
async function time(lab: Lab, { ports }: Case, ...more: string[]): Promise<Took> {
  const before = processorTicks();
  const start = performance.now();
  const words = synprobe(`${WIDE.ipv4}:1-${ports}`, ...more);
  const { status, stdout, stderr } = await run(inNamespace(lab.near, words), { limitMs: 600_000 });
  const seconds = (performance.now() - start) / 1000;
  const closed = `${(HOSTS * ports).toLocaleString("en")} closed`;
  if (status !== 0 || !stdout.includes(closed)) throw new Error(`not ${closed}: ${stdout}${stderr}`);
  const after = processorTicks();
  return { seconds, busy: (after.busy - before.busy) / (after.all - before.all) };
}

/** The same over a fleet that is made for it. */
async function timeFleet(lab: Lab, each: Case, workers: number, seats?: readonly Seat[]): Promise<Took> {
  const fleet = await createFleet(lab, seats);
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
  [first, second]: readonly [() => Promise<Took>, () => Promise<Took>],
  ratioOf: (first: number, second: number) => number,
): Promise<string[]> {
  const times: [Took, Took][] = [];
  for (let round = 0; round < rounds; round++) times.push([await first(), await second()]);
  const took = (i: 0 | 1): string[] => [
    `${median(times.map((pair) => pair[i].seconds)).toFixed(1)} s`,
    `${Math.round(100 * median(times.map((pair) => pair[i].busy)))} %`,
  ];
  const ratio = median(times.map(([a, b]) => ratioOf(a.seconds, b.seconds))).toFixed(2);
  return [each.what, (HOSTS * each.ports).toLocaleString("en"), ...took(0), ...took(1), ratio];
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
  const apart = addSeats(lab, 4);
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
      print(["", "pairs", "plain", "busy", "one worker", "busy", "x plain"]);
      for (const each of ONE) {
        const ways = [() => time(lab, each, ...capOf(each)), () => timeFleet(lab, each, 1)] as const;
        print(await compare(each, rounds, ways, (plain, fleet) => fleet / plain));
      }
    }
    if (isWanted("four")) {
      print(["", "pairs", "one worker", "busy", "four workers", "busy", "x as fast"]);
      for (const each of FOUR) {
        const ways = [1, 4].map((workers) => () => timeFleet(lab, each, workers, apart.seats)) as [
          () => Promise<Took>,
          () => Promise<Took>,
        ];
        print(await compare(each, rounds, ways, (one, four) => one / four));
      }
    }
  } finally {
    apart.remove();
    lab.remove();
  }
}
