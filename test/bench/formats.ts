/**
 * `npm run bench:formats`: what each format costs. A hundred thousand results of a scan are put into each reporter, in memory:
 * processor time per result, results per second, bytes per result. `npm run bench:formats -- 10` counts ten rounds.
 *
 * Two runs: a network of 65,536 hosts in random order, as large scans are, and one host with all its ports.
 *
 * `npm run bench:formats -- run` needs root: what formats add to the processor time of a real run, for each of 524,288 closed ports of
 * loopback, in a network namespace that ends with it; in turn with the run that shows open ports only. `run 10` takes ten rounds.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cpuUsage } from "node:process";
import { fileURLToPath } from "node:url";
import { createCsvReporter } from "../../src/report/formats/csv.ts";
import { createGrepableReporter } from "../../src/report/formats/grepable.ts";
import { createMasscanListReporter } from "../../src/report/formats/masscan-list.ts";
import { createNdjsonReporter } from "../../src/report/formats/ndjson.ts";
import { createNmapXmlReporter } from "../../src/report/formats/nmap-xml.ts";
import { createTableReporter } from "../../src/report/formats/table.ts";
import type { Reporter, RunInfo, Sink } from "../../src/report/reporter.ts";
import { newCounters } from "../../src/scan/engine/counters.ts";
import type { PortResult, ScanSummary } from "../../src/scan/probe/result.ts";
import { createOrder } from "../../src/scan/targets/permutation.ts";
import { type Cost, costOf, median } from "./bed.ts";

const RESULTS = 100_000;
const isReal = process.argv[2] === "run";
const ROUNDS = Number(process.argv[isReal ? 3 : 2] ?? 5);
const STARTED_MS = Date.UTC(2026, 10, 21);

const FORMATS: readonly (readonly [name: string, create: (sink: Sink) => Reporter])[] = [
  [
    "table, every state",
    (sink) =>
      createTableReporter(sink, { color: false, verbose: false, show: ["open", "closed", "filtered"] }),
  ],
  ["table, open", (sink) => createTableReporter(sink, { color: false, verbose: false })],
  ["NDJSON", createNdjsonReporter],
  ["CSV", createCsvReporter],
  ["nmap XML", createNmapXmlReporter],
  ["grepable", createGrepableReporter],
  ["masscan list", createMasscanListReporter],
];

/** One port in ten open, six closed, three silent. */
function resultOf(ip: string, port: number, i: number): PortResult {
  const kind = i % 10;
  const timeMs = STARTED_MS + i / 200;
  if (kind >= 7) {
    return { ip, port, state: "filtered", reason: "no-response", rttMs: null, ttl: null, tries: 3, timeMs };
  }
  const state = kind === 0 ? "open" : "closed";
  const answer = {
    state,
    reason: kind === 0 ? "syn-ack" : "reset",
    rttMs: 10 + (i % 1000) / 997,
    ttl: 64,
  } as const;
  return { ip, port, ...answer, tries: 1, answered: 1, ...(port === 80 ? { service: "http" } : {}), timeMs };
}

function network(): PortResult[] {
  const order = createOrder(65_536 * 2, { seed: 7n, sequential: false });
  return Array.from({ length: RESULTS }, (_, i) => {
    const pair = order.indexAt(i);
    const host = pair >> 1;
    return resultOf(`198.18.${host >> 8}.${host & 255}`, pair & 1 ? 443 : 80, i);
  });
}

const oneHost = (): PortResult[] =>
  Array.from({ length: 65_535 }, (_, i) => resultOf("198.18.0.1", ((i * 40_504) % 65_535) + 1, i));

function summaryOf(results: readonly PortResult[], hosts: number): ScanSummary {
  const of = (state: string): number => results.filter((result) => result.state === state).length;
  const [open, closed, filtered] = [of("open"), of("closed"), of("filtered")];
  return {
    hosts,
    open,
    closed,
    filtered,
    reasons: { open: { "syn-ack": open }, closed: { reset: closed }, filtered: { "no-response": filtered } },
    unfinished: 0,
    sent: results.length,
    retransmitted: 0,
    received: open + closed,
    late: 0,
    ignored: newCounters().ignored,
    receiveDrops: 0,
    sendErrors: {},
    faults: [],
    interrupted: false,
    elapsedMs: 1000,
    startedMs: STARTED_MS,
  };
}

/** @returns processor time in microseconds, and bytes written */
function measure(
  create: (sink: Sink) => Reporter,
  run: RunInfo,
  results: readonly PortResult[],
  summary: ScanSummary,
): { readonly us: number; readonly bytes: number } {
  // As the writer of a file does: text is put together, and turned into bytes a piece at a time.
  let bytes = 0;
  let waiting = "";
  const flush = (): void => {
    bytes += Buffer.from(waiting).length;
    waiting = "";
  };
  const before = cpuUsage();
  const reporter = create((text) => {
    waiting += text;
    if (waiting.length >= 1 << 16) flush();
  });
  reporter.start(run);
  for (const result of results) reporter.result(result);
  reporter.finish(summary);
  flush();
  const { user, system } = cpuUsage(before);
  return { us: user + system, bytes };
}

function bench(what: string, results: readonly PortResult[], hosts: number): void {
  const ports = [...new Set(results.map(({ port }) => port))].sort((a, b) => a - b);
  const run = {
    args: ["…"],
    version: "0.1.0",
    startedMs: STARTED_MS,
    pairs: results.length + hosts,
    hosts,
    ports,
  };
  const summary = summaryOf(results, hosts);
  console.log(`\n${what}: ${results.length} results, the best of ${ROUNDS} rounds\n`);
  console.log(
    "| format | CPU per result | results/s | bytes per result | whole file |\n|---|---|---|---|---|",
  );
  for (const [name, create] of FORMATS) {
    const rounds = Array.from({ length: ROUNDS }, () => measure(create, run, results, summary));
    const us = Math.min(...rounds.map((round) => round.us)) / results.length;
    const { bytes } = rounds[0];
    const cells = [
      name,
      `${us.toFixed(2)} µs`,
      `${Math.round(1000 / us)} k`,
      (bytes / results.length).toFixed(1),
      `${(bytes / 1e6).toFixed(2)} MB`,
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
}

const PROGRAM = fileURLToPath(new URL("../../dist/synprobe.cjs", import.meta.url));
const PORTS = 32_768 * 16;
const RUNS: readonly (readonly [name: string, args: string])[] = [
  ["open ports only", ""],
  ["-oJ", "-oJ $OUT"],
  ["-oJ, and a table of all ports in a pipe", "--show all -oJ $OUT"],
  ["-oC", "-oC $OUT"],
  ["-oX", "-oX $OUT"],
];

async function benchRuns(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "synprobe-bench-"));
  const costs = RUNS.map((): Cost[] => []);
  try {
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, [, args]] of RUNS.entries()) {
        const command = `exec "${process.execPath}" "${PROGRAM}" 198.18.0.0/17 -p 1-16 ${args}`;
        const bed = "ip link set lo up && ip route add local 198.18.0.0/17 dev lo";
        const shell = `OUT="${folder}/out"; ${bed} && ${command}`;
        costs[i].push(await costOf(["unshare", "-n", "sh", "-c", shell]));
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  console.log(`\n${PORTS} closed ports of loopback, medians of ${ROUNDS} rounds\n`);
  console.log("| | processor time | added to each result | time | memory |\n|---|---|---|---|---|");
  for (const [i, [name]] of RUNS.entries()) {
    const of = (figure: (cost: Cost, round: number) => number): number => median(costs[i].map(figure));
    const added = of(({ cpu }, round) => ((cpu - costs[0][round].cpu) / PORTS) * 1e6);
    const cells = [`${of(({ cpu }) => cpu).toFixed(2)} s`, i === 0 ? "" : `${added.toFixed(2)} µs`];
    const rest = [
      `${of(({ seconds }) => seconds).toFixed(1)} s`,
      `${Math.round(of(({ rss }) => rss) / 1e6)} MB`,
    ];
    console.log(`| ${[name, ...cells, ...rest].join(" | ")} |`);
  }
}

if (isReal) await benchRuns();
else {
  bench("A network in random order", network(), 65_536);
  bench("Every port of one host", oneHost(), 1);
}
