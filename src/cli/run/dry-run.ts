/**
 * `--dry-run`: what a run would do, as report/formats/plan-text.ts prints it. Sends nothing and opens no socket.
 */
import { lookUpInterface } from "../../link/route.ts";
import { outsideOf } from "../../runtime/plan/exclusions.ts";
import type { Plan } from "../../runtime/plan/plan.ts";
import { COMPARED_PAIRS } from "../../runtime/run/compare-links.ts";
import type { Means } from "../../runtime/run/means.ts";
import { isToCompare } from "../../runtime/run/scan.ts";
import { type ScanOptions, whyNoControls } from "../../runtime/run/scan-options.ts";
import { kernelPorts } from "../../runtime/system/system.ts";
import { BLIND_RATE } from "../../scan/congestion/monitor.ts";
import { CANARIES } from "../../scan/hosts/control-schedule.ts";
import type { PlannedLink, PlanView } from "../../scan/probe/result.ts";
import { countAddresses } from "../../scan/targets/address-range.ts";
import { createOrder, type Order } from "../../scan/targets/permutation.ts";
import { storeAddress } from "../../socket/table.ts";
import { formatAddress } from "../../wire/address.ts";
import type { ProbeOptions, TimedOptions } from "../options/table.ts";
import { wantedFiles } from "./formats.ts";

/** Memory in bytes of a minimal run, of each further thread, and of a row of a socket table: measured on 64-bit Linux. */
const BASE_BYTES = 75e6;
const THREAD_BYTES = 25e6;
const SENDER_BYTES = 10e6;
const ROW_BYTES = 90;
const ROW_BYTES_PER_TRY = 12;
const RECEIVE_RING_BYTES = 16e6;
const SAMPLE = 10;
/** Nearly everything may be excluded. */
const MOST_LOOKED = 1 << 16;
/** SYNs per second that a worker can send, and SYNs to a silent port while the path's loss is unknown. */
const WORKER_RATE = 150_000;
const WORKER_RATE_WITH_SENDER = 250_000;
const SILENT_TRIES = 3;

export function viewPlan(plan: Plan, scan: ScanOptions, means: Means, options: TimedOptions): PlanView {
  const order = createOrder(plan.space.total, scan.order);
  const pairs = order.count;
  const tries = options.retries + 1;
  const { maximum } = options.rate;
  const workerRate = means.senders ? WORKER_RATE_WITH_SENDER : WORKER_RATE;
  const bounded = options.maxRate !== undefined || maximum < WORKER_RATE;
  const fastest = Math.min(maximum, means.workers * workerRate);
  const slowest = Math.min(maximum, Math.max(options.rate.minimum, BLIND_RATE));
  return {
    pairs,
    ...(scan.order.shard === undefined ? { hosts: plan.space.hosts } : {}),
    ports: plan.space.ports(),
    order: {
      ...(options.sequential === true ? {} : { seed: String(scan.order.seed) }),
      sample: firstPairs(plan, order),
    },
    ...(options.shard === undefined
      ? {}
      : { shard: { index: options.shard.index + 1, count: options.shard.count } }),
    links: linksOf(plan, means),
    // Through both links, and once more where they differ.
    comparisonSyns:
      options.fleet === undefined && isToCompare({ plan, options: scan, means })
        ? 4 * Math.min(COMPARED_PAIRS, pairs)
        : 0,
    workers: means.workers,
    memoryBytes:
      BASE_BYTES +
      means.threads * (THREAD_BYTES + RECEIVE_RING_BYTES + (means.senders ? SENDER_BYTES : 0)) +
      means.workers * means.capacity * (ROW_BYTES + ROW_BYTES_PER_TRY * Math.min(tries, SILENT_TRIES)),
    ...(bounded ? { maxRate: maximum } : {}),
    expectedMs: {
      least: (pairs / fastest) * 1000,
      most: ((pairs * Math.min(tries, SILENT_TRIES)) / slowest) * 1000 + options.waitMs.initial,
    },
    leftOut: [
      ...plan.leftOut.map(({ span, why }) => ({
        why,
        count: countAddresses(span),
        unit: "address" as const,
      })),
      ...(plan.within === undefined
        ? []
        : [
            {
              why: "excluded since the run began",
              count: plan.space.total - plan.within.total,
              unit: "pair" as const,
            },
          ]),
    ],
    controls: controlsOf(plan, scan, means),
    outputs: outputsOf(options),
  };
}

/** Without those that have been excluded since the run began. */
function firstPairs(plan: Plan, order: Order): PlanView["order"]["sample"] {
  const sample: NamedPair[] = [];
  const isOutside = outsideOf(plan);
  for (let place = 0; place < Math.min(order.count, MOST_LOOKED) && sample.length < SAMPLE; place++) {
    const index = order.indexAt(place);
    if (!isOutside(index)) sample.push(pairOf(plan, index));
  }
  return sample;
}

type NamedPair = PlanView["order"]["sample"][number];

function pairOf(plan: Plan, index: number): NamedPair {
  const pair = { words: new Uint32Array(4), port: 0 };
  plan.space.pairAt(index, pair);
  const v4 = pair.words[0] === 0 && pair.words[1] === 0 && pair.words[2] === 0xffff;
  const ip = formatAddress(storeAddress(pair.words, 0, v4 ? 4 : 16));
  const [host] = plan.namesOf(ip, pair.port);
  return { ...(host === undefined ? {} : { host }), ip, port: pair.port };
}

function linksOf(plan: Plan, means: Means): PlannedLink[] {
  const indexes = new Set(plan.hops.map(({ interfaceIndex }) => interfaceIndex));
  return [...indexes].map((index) => ({
    link: means.link,
    interfaceName: lookUpInterface(index)?.name ?? String(index),
    sources: [
      ...new Set(
        plan.hops.flatMap((hop, i) =>
          hop.interfaceIndex === index ? [formatAddress(plan.paths[plan.pathRanges.path[i]].local)] : [],
        ),
      ),
    ],
    sourcePorts: means.link === "connect" ? kernelPorts() : means.ports,
  }));
}

function controlsOf(plan: Plan, scan: ScanOptions, means: Means): PlanView["controls"] {
  const none = whyNoControls(scan, means.ports);
  if (none !== undefined) return { none };
  return { portsPerHost: Math.min(CANARIES, plan.canaryPorts.length) };
}

function outputsOf(options: ProbeOptions): PlanView["outputs"] {
  const journal = options.journal ?? options.resume;
  return [
    ...wantedFiles(options).map(({ format, path }) => ({ format: format.name, path })),
    ...(journal === undefined ? [] : [{ format: "journal", path: journal }]),
  ];
}
