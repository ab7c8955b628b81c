/**
 * `npm run bench:truth`: is what synprobe says true, and how long does it take? Synprobe, nmap, zmap and masscan take turns in
 * simulated networks (networks.ts), on the same seed; every answer is judged by the lab's truth (score.ts), and synprobe by
 * the goals of issue 5. Exits with 1 when it misses one.
 *
 *     npm run bench:truth                             all networks, all peers, one round
 *     npm run bench:truth -- clean lossy 3            two networks, three rounds
 *     npm run bench:truth -- --no-peers               synprobe alone; goals that need nmap's time stay open
 *     npm run bench:truth -- --peers nmap --limit 300 with one peer, which is stopped after 300 s
 *     npm run bench:truth -- --with="--max-rate 20000" --json figures.json
 *
 * Needs namespaces, as `synprobe lab` does; a peer that is not installed is left out, and said so. Times are of the whole
 * command, inside the lab.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { LabReport } from "../../src/runtime/lab/lab.ts";
import { ENVIRONMENT, synprobe } from "../cli/process.ts";
import {
  type BenchNetwork,
  fileOf,
  HOSTS,
  NETWORKS,
  PAIRS,
  PORTS,
  TARGETS,
  type Verdict,
} from "./networks.ts";
import {
  PEERS,
  type Prober,
  type Summary,
  SYNPROBE,
  summaryOf,
  timedNmap,
  withReference,
} from "./probers.ts";
import { type Score, type State, score, type Truth } from "./score.ts";

/** What has not come to its end by then is stopped, in seconds; `--limit` is for peers. */
const LIMIT_S = 900;
/** From when on the lab lets a moment pass for the command to end by itself. */
const GRACE_MS = 10_000;

/** What `synprobe lab --report` writes. */
interface Report extends LabReport {
  readonly command: {
    readonly argv: readonly string[];
    readonly status: number;
    readonly started_s: number;
    readonly elapsed_s: number;
  };
  readonly cpu_s: number;
}

interface Run {
  readonly prober: string;
  readonly round: number;
  /** False when it was stopped at the limit. */
  readonly done: boolean;
  /** Of the whole command. */
  readonly seconds: number;
  readonly score: Score;
  readonly synsPerPair: number;
  readonly report: Report;
  /** Of synprobe's own. */
  readonly summary?: Summary;
  /** The last of what it said when it failed. */
  readonly complaint?: string;
}

// --- running -----------------------------------------------------------------------------------------------------------

/** What runs, and its files: to be ended, and removed, with this process. */
let current: { readonly child: ChildProcess; readonly folder: string } | undefined;

async function runInLab(
  network: BenchNetwork,
  truth: Truth,
  prober: Prober,
  round: number,
  more: readonly string[],
  limitS: number,
): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), "synprobe-truth-"));
  try {
    const reportFile = join(folder, "report.json");
    const own = prober === SYNPROBE;
    const argv = [...prober.argv(network, folder), ...(own ? more : [])];
    const [command = "", ...args] = synprobe(
      "lab",
      fileOf(prober.lab ?? network.name),
      "--report",
      reportFile,
      "--",
      ...argv,
    );
    const child = spawn(command, args, { env: ENVIRONMENT, stdio: ["ignore", "ignore", "pipe"] });
    current = { child, folder };
    let stderr = "";
    let done = true;
    child.stderr.on("data", (chunk) => {
      stderr = `${stderr}${chunk}`.slice(-2000);
    });
    const limits = [
      setTimeout(() => {
        done = false;
        child.kill("SIGTERM");
      }, limitS * 1000),
      setTimeout(() => child.kill("SIGKILL"), limitS * 1000 + GRACE_MS),
    ];
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    for (const limit of limits) clearTimeout(limit);
    current = undefined;
    const text = readFileSync(reportFile, "utf8");
    if (text === "") throw new Error(`the lab left no report (${prober.name}, ${network.name}):\n${stderr}`);
    const report = JSON.parse(text) as Report;
    const summary = own ? summaryOf(folder) : undefined;
    return {
      prober: prober.name,
      round,
      done,
      seconds: report.command.elapsed_s,
      score: score(truth, prober.answers(folder)),
      synsPerPair: (summary?.sent ?? report.network.syns) / PAIRS,
      report,
      ...(summary === undefined ? {} : { summary }),
      ...(status === 0 || !done ? {} : { complaint: `exit status ${status}: ${stderr.trim().slice(-300)}` }),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What the lab says of every pair. */
function truthOf({ name }: BenchNetwork): Truth {
  const [command = "", ...args] = synprobe("lab", fileOf(name), "--truth", `${TARGETS}:${PORTS.join(",")}`);
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: "utf8",
    env: ENVIRONMENT,
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(`no truth of ${name}: ${stderr}`);
  return new Map(
    stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { ip: string; port: number; state: State })
      .map(({ ip, port, state }) => [`${ip}:${port}`, state]),
  );
}

// --- telling -----------------------------------------------------------------------------------------------------------

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return ((sorted[(sorted.length - 1) >> 1] ?? Number.NaN) + (sorted[sorted.length >> 1] ?? Number.NaN)) / 2;
};

function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? "").length))) ?? [];
  for (const row of rows) {
    const cells = row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
    );
    console.log(`  ${cells.join("  ")}`.trimEnd());
  }
}

const HEAD = [
  ...["", "time", "SYN/pair", "open found", "missed", "false open"],
  ...["closed right", "called filtered", "untold", "filtered right", "wrong", "untold", "twice"],
];

/** One line of a run. A state that a prober never tells has a dash. */
function rowOf(run: Run, { tells }: Prober): string[] {
  const { open, closed, filtered, falseOpen, twice } = run.score;
  const ifTold = (state: State, ...cells: (string | number)[]): string[] =>
    cells.map((cell) => (tells.includes(state) ? String(cell) : "-"));
  return [
    run.prober,
    run.done ? `${run.seconds.toFixed(2)} s` : `not done after ${run.seconds.toFixed(0)} s`,
    run.synsPerPair.toFixed(3),
    `${open.right}/${open.of}`,
    String(open.of - open.right),
    String(falseOpen),
    ...ifTold("closed", `${closed.right}/${closed.of}`, closed.as.filtered, closed.untold),
    ...ifTold(
      "filtered",
      `${filtered.right}/${filtered.of}`,
      filtered.as.open + filtered.as.closed,
      filtered.untold,
    ),
    String(twice),
  ];
}

/** Frames that the lab lost itself: then the network was not the one described. */
const lostByLab = ({ report: { lab, network } }: Run): number =>
  lab.ring_drops + lab.wire_drops.in + lab.wire_drops.out + lab.refused + network.overflow;

function footOf(run: Run): string {
  const { cpu_s, command, lab, network } = run.report;
  const lost = lostByLab(run);
  const parts = [
    `${((100 * cpu_s) / command.elapsed_s).toFixed(0)} % of a core`,
    `answers late by ${lab.late_ms.mean.toFixed(2)} ms, ${lab.late_ms.max.toFixed(0)} ms at most (${lab.late.over_10ms} by more than 10 ms)`,
    lost === 0
      ? "lost nothing of its own"
      : `LOST ITS OWN: ring ${lab.ring_drops}, wire ${lab.wire_drops.in} in ${lab.wire_drops.out} out, refused ${lab.refused}, memory ${network.overflow}`,
    `path lost ${network.lostIn} in, ${network.lostOut} out; queue dropped ${network.queueDropsIn}`,
  ];
  return `${run.prober}: ${parts.join("; ")}`;
}

/** What synprobe says of its own run beyond its answers. */
function pathOf({ summary, report, score }: Run): string[] {
  if (summary === undefined) return ["synprobe: no summary"];
  const { path, sent, retransmitted, receive_drops } = summary;
  const share = (name: string, value: number | undefined): string =>
    value === undefined ? "" : `, ${name} ${(100 * value).toFixed(2)} %`;
  const lines = [
    `synprobe says: ${sent} SYNs sent, ${retransmitted} again, ${receive_drops} receive drops, ${score.corrected} answers corrected`,
  ];
  if (path !== undefined) {
    const { rate, loss = {}, missed_open: missed } = path;
    lines.push(
      `synprobe says of the path: rate ${rate ?? "-"}${share("loss", loss.round)}${share("out", loss.out)}${share("back", loss.back)}` +
        (missed === undefined
          ? ""
          : `; open ports missed ${missed.expected} (95 %: ${missed.low} to ${missed.high})`),
    );
  }
  const gone = sent - report.network.syns;
  if (gone > 0) lines.push(`${gone} of its SYNs never came to the lab's interface`);
  return lines;
}

const MARKS = { true: "met", false: "MISSED", undefined: "open" } as const;

/** Prints how synprobe stands to the network's goals. @returns how each ended */
function printGoals(network: BenchNetwork, runs: readonly Run[], all: readonly Run[]): Verdict["met"][] {
  const nmapRuns = all.filter(({ prober }) => prober === timedNmap(network));
  const nmap =
    nmapRuns.length === 0
      ? undefined
      : { seconds: median(nmapRuns.map(({ seconds }) => seconds)), done: nmapRuns.every(({ done }) => done) };
  const rows: string[][] = [];
  const marks = network.goals.map(({ what, judge }) => {
    const verdicts = runs.map((run): Verdict => {
      const verdict = judge({
        score: run.score,
        seconds: run.seconds,
        synsPerPair: run.synsPerPair,
        synsPerTenth: run.report.syns_per_100ms,
        nmap,
      });
      // What was stopped, or failed, has reached nothing.
      return run.done && run.complaint === undefined ? verdict : { ...verdict, met: false };
    });
    const met = verdicts.some((verdict) => verdict.met === false)
      ? false
      : verdicts.every((verdict) => verdict.met)
        ? true
        : undefined;
    rows.push([MARKS[`${met}`], what, verdicts.map(({ measured }) => measured).join(" | ")]);
    return met;
  });
  const widths = [0, 1].map((i) => Math.max(...rows.map((row) => (row[i] ?? "").length)));
  for (const row of rows)
    console.log(
      `  ${row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd()}`,
    );
  return marks;
}

// --- the command -------------------------------------------------------------------------------------------------------

function fail(message: string): never {
  console.error(`bench:truth: ${message}`);
  process.exit(2);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        peers: { type: "string" },
        "no-peers": { type: "boolean", default: false },
        limit: { type: "string", default: String(LIMIT_S) },
        with: { type: "string", default: "" },
        json: { type: "string" },
      },
    });
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

const { values, positionals } = readArguments();

function choosePeers(): Prober[] {
  if (values["no-peers"]) return [];
  const names = values.peers?.split(",") ?? PEERS.map(({ name }) => name);
  return names.flatMap((name) => {
    const peer = PEERS.find((each) => each.name === name);
    if (peer === undefined) fail(`no peer "${name}": ${PEERS.map((each) => each.name).join(", ")}`);
    if (spawnSync("which", [name], { env: ENVIRONMENT }).status === 0) return peer;
    console.log(`${name} is not installed: left out`);
    return [];
  });
}

const limitS = Number(values.limit);
if (!(limitS > 0)) fail(`--limit takes seconds, not "${values.limit}"`);
const rounds = Number(positionals.find((word) => /^[1-9]\d*$/.test(word)) ?? 1);
const wanted = positionals.filter((word) => !/^[1-9]\d*$/.test(word));
for (const word of wanted) {
  if (!NETWORKS.some(({ name }) => name === word))
    fail(`no network "${word}": ${NETWORKS.map(({ name }) => name).join(", ")}`);
}
const more = values.with.split(/\s+/).filter((word) => word !== "");
const chosen = [SYNPROBE, ...choosePeers()];
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    current?.child.kill(signal);
    if (current !== undefined) rmSync(current.folder, { recursive: true, force: true });
    process.exit(130);
  });
}

const figures: { network: string; goals: { what: string; met: boolean | null }[]; runs: Run[] }[] = [];
const ends: Verdict["met"][] = [];
let labLost = 0;
console.log(
  `${HOSTS} hosts x ${PORTS.length} ports, 3 % of the ports open${more.length === 0 ? "" : `; synprobe with ${more.join(" ")}`}`,
);
for (const network of NETWORKS) {
  if (wanted.length > 0 && !wanted.includes(network.name)) continue;
  console.log(`\n${network.name}: ${network.title}`);
  const truth = truthOf(network);
  const probers = chosen.flatMap((prober) => withReference(prober, network));
  const runs: Run[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const prober of probers)
      runs.push(await runInLab(network, truth, prober, round, more, prober === SYNPROBE ? LIMIT_S : limitS));
  }
  printTable([
    HEAD,
    ...probers.flatMap((prober) =>
      runs.filter((run) => run.prober === prober.name).map((run) => rowOf(run, prober)),
    ),
  ]);
  const own = runs.filter(({ prober }) => prober === SYNPROBE.name);
  const marks = printGoals(network, own, runs);
  for (const line of own.flatMap(pathOf)) console.log(`  ${line}`);
  for (const run of runs) {
    console.log(`  lab with ${footOf(run)}`);
    if (run.complaint !== undefined) console.log(`  ${run.prober}: ${run.complaint}`);
    if (run.prober === SYNPROBE.name) labLost += lostByLab(run);
  }
  ends.push(...marks);
  const goals = network.goals.map(({ what }, i) => ({ what, met: marks[i] ?? null }));
  figures.push({ network: network.name, goals, runs });
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(figures, undefined, 1)}\n`);
}
const count = (end: Verdict["met"]): number => ends.filter((met) => met === end).length;
console.log(`\n${count(true)} goals met, ${count(false)} missed, ${count(undefined)} open`);
if (chosen.some(({ name }) => name === "zmap"))
  console.log(
    "zmap takes one port a run: its time is that of ten runs, each with a second's wait for stragglers",
  );
if (labLost > 0)
  console.log(`the lab lost ${labLost} frames of its own: what is above is not of these networks`);
process.exitCode = count(false) > 0 || labLost > 0 ? 1 : 0;
