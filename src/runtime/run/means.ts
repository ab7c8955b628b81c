/**
 * Which means a scan uses: its link, its threads, its source ports, the size of its socket tables. `--link auto` takes packet
 * where that is faster, or finds more hosts of its own link, and gives the same answers as raw: where the kernel does nothing to
 * packets but route them (link/passed-by.ts). Nothing is opened here (scan.ts does).
 */
import { availableParallelism } from "node:os";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import { findPassedBy, packetSocketRefusal } from "../../link/passed-by.ts";
import { type Interface, lookUpInterface } from "../../link/route.ts";
import type { Part } from "../../scan/targets/permutation.ts";
import type { Plan } from "../plan/plan.ts";
import { openFilesLeft, portShares } from "../system/system.ts";
import type { ScanOptions } from "./scan-options.ts";

export interface Means {
  readonly link: "raw-ip" | "packet" | "connect" | "fleet";
  /** Worker threads; 0 when everything happens in the main thread. */
  readonly threads: number;
  /** Engines: one for each worker thread, or the main thread's. */
  readonly workers: number;
  /** Each worker has a thread of its own that sends for it. */
  readonly senders: boolean;
  readonly interfaceName?: string;
  readonly ports: PortRange;
  /** Rows of each engine's socket table. */
  readonly capacity: number;
  /** What frames of our own pass by, or would: why raw was taken where packet is faster, or what packet does without. */
  readonly passedBy: readonly string[];
  readonly compared?: Comparison;
}

/** What a few pairs that were probed through both links have shown (compare-links.ts). */
export interface Comparison {
  readonly pairs: number;
  /** Pairs that each link heard of. */
  readonly raw: number;
  readonly packet: number;
  /** SYNs sent for it. */
  readonly sent: number;
  /** One link hears clearly more than the other. */
  readonly differs: boolean;
}

/** Most rows of all socket tables together: a million SYNs a second may wait a second each. */
const MAX_TABLE_ROWS = 1 << 20;
/** A socket table has at least this many rows, unless there are fewer pairs. */
const FEWEST_ROWS = 1 << 14;
/** From this many pairs on, building Ethernet frames ourselves is worth the set-up, and a thread that compiles its code for itself, in processor time too. */
const PACKET_PAIRS = 40_000;
/** A worker is worth its start for this many probes a second, and this many pairs. With a sender it uses two processors. */
const RATE_PER_WORKER = 250_000;
const PROCESSORS_PER_WORKER = 2;
/** Of SYNs a second to a host or a network each worker has its share, at times of its own: one more for each may fall within a second. */
const LIMIT_PER_WORKER = 100;
export const PAIRS_PER_WORKER = 200_000;
const MOST_WORKERS = 64;
/** A path that holds more probes a second than this answers so soon that rows are quickly free again. */
const USUAL_RATE = 100_000;
/**
 * Open files of a worker (sockets, its event loop), of its sender, and what must be left for outputs and for loading code. An event
 * loop has five since Node 22, whose libuv has an io_uring of its own in each, and four before.
 */
const FILES_PER_WORKER = 9;
const FILES_PER_SENDER = 5;
const FILES_TO_SPARE = 6;
/** All of it. */
export const WHOLE: Part = { index: 0, count: 1 };
/** Hosts that `--host-timeout` keeps a clock for, about a hundred bytes each. */
const MOST_TIMED_HOSTS = 1 << 20;

/**
 * Chooses links and workers; looks at what the kernel does with packets, and opens nothing.
 * @throws {SynprobeError} `ERR_USAGE` when what was asked for is impossible
 */
export function chooseMeans(plan: Plan, options: ScanOptions, held?: PortRange): Means {
  const { sourcePort, complete, onPacket } = options;
  const link = options.link === undefined || options.link === "syn" ? "auto" : options.link;
  if (link === "connect") checkConnect(options);
  const special = complete !== undefined || onPacket !== undefined;
  // What one probe need not ask the kernel.
  const isLarge = plan.space.total >= PACKET_PAIRS || plan.crowd > 0;
  const mayBePacket = link === "packet" || (link === "auto" && !special && isLarge);
  const frames = mayBePacket ? ethernetOf(plan) : undefined;
  if (link === "packet" && special) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      "--complete and --packet-trace work over raw IP sockets: drop --link packet",
    );
  }
  if (link === "packet" && frames === undefined) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      "--link packet needs all targets to be behind one Ethernet interface, and none to be this machine: use --link raw",
    );
  }
  const files = mayBePacket ? openFilesLeft() - FILES_TO_SPARE : 0;
  const isWorthIt =
    frames !== undefined && (link === "packet" || files >= FILES_PER_WORKER * (options.workers ?? 1));
  const passedBy = isWorthIt ? findPassed(frames, plan) : [];
  const packet = isWorthIt && (link === "packet" || passedBy.length === 0);
  const ports =
    sourcePort === undefined
      ? (held ?? portsOf(portShares()[packet ? "packet" : "raw"], options.beside?.ports))
      : { first: sourcePort, last: sourcePort };
  if (options.hostTimeoutMs !== undefined && plan.space.hosts > MOST_TIMED_HOSTS) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      `--host-timeout (also set by -T5) works for up to ${MOST_TIMED_HOSTS} hosts, and these are ${plan.space.hosts}: drop it`,
    );
  }
  if (!packet && (options.workers ?? 1) > 1) {
    const served = link === "connect" ? "connects" : "raw IP sockets";
    throw new SynprobeError(
      ERROR_CODES.usage,
      `--workers ${options.workers} needs --link packet: ${served} are served by the main thread alone${
        passedBy.length === 0 ? "" : `, and packet would pass by ${passedBy.join("; ")}`
      }`,
    );
  }
  // Each worker needs a source port and at least one probe a second.
  const most = Math.min(ports.last - ports.first + 1, Math.max(1, Math.floor(options.rate.maximum)));
  const fitting = Math.max(0, Math.floor(files / FILES_PER_WORKER));
  const wanted = options.workers ?? Math.min(bestWorkers(plan.space.total, options), Math.max(1, fitting));
  const threads = packet ? Math.min(wanted, most) : 0;
  const workers = Math.max(1, threads);
  if (threads > fitting) {
    const [need, have] = [threads * FILES_PER_WORKER, Math.max(0, files)];
    throw new SynprobeError(
      ERROR_CODES.usage,
      `--workers ${threads} needs ${need} more open files, and the limit leaves ${have}: raise it with ulimit -n, or give ` +
        (fitting > 0 ? `--workers ${fitting}` : "--link raw"),
    );
  }
  return {
    link: packet ? "packet" : link === "connect" ? "connect" : "raw-ip",
    threads,
    workers,
    senders:
      threads > 0 &&
      2 * threads <= availableParallelism() &&
      threads * (FILES_PER_WORKER + FILES_PER_SENDER) <= files,
    ports,
    capacity: tableRows(plan.space.total, options, workers),
    passedBy,
    ...(packet ? { interfaceName: frames.name } : {}),
  };
}

/** A part of the source ports. */
export function portsOf({ first, last }: PortRange, { index, count }: Part = WHOLE): PortRange {
  const size = last - first + 1;
  const at = (i: number): number => first + Math.floor((size * i) / count);
  return { first: at(index), last: at(index + 1) - 1 };
}

/** What only packets of our own can do; undefined when the options ask for nothing of it. */
export function whyNotConnect(options: ScanOptions): string | undefined {
  if (options.sourcePort !== undefined) return "the kernel chooses the source ports: drop -g";
  if (options.onPacket !== undefined) return "there are no packets to trace: drop --packet-trace";
  if (options.capture !== undefined) return "there are no packets to write: drop --pcap";
  return undefined;
}

function checkConnect(options: ScanOptions): void {
  const why = whyNotConnect(options);
  if (why !== undefined) throw new SynprobeError(ERROR_CODES.usage, `with --link connect ${why}`);
}

/** Where frames cannot be sent at all, only that. */
function findPassed(frames: Interface, plan: Plan): string[] {
  const refusal = packetSocketRefusal();
  return refusal === undefined
    ? findPassedBy(frames.index, plan.hops)
    : [`no packet sockets here (${refusal})`];
}

/** How many workers a run is worth, where none are asked for. */
export function bestWorkers(
  pairs: number,
  { rate, ratePerHost, ratePerPrefix }: Pick<ScanOptions, "rate" | "ratePerHost" | "ratePerPrefix">,
  processors = availableParallelism(),
): number {
  const useful = Math.max(
    1,
    Math.min(
      rate.maximum / RATE_PER_WORKER,
      pairs / PAIRS_PER_WORKER,
      (ratePerHost ?? Number.POSITIVE_INFINITY) / LIMIT_PER_WORKER,
      (ratePerPrefix ?? Number.POSITIVE_INFINITY) / LIMIT_PER_WORKER,
    ),
  );
  const fitting = Math.max(1, Math.floor(processors / PROCESSORS_PER_WORKER));
  return Math.min(MOST_WORKERS, fitting, Math.ceil(useful));
}

/** Enough rows for all pairs that can be undecided at once, and for those that were decided a moment ago. */
function tableRows(total: number, { rate, waitMs, retries }: ScanOptions, workers: number): number {
  const perSecond = Math.min(rate.maximum / workers, Math.max(rate.minimum / workers, USUAL_RATE));
  const undecided = Math.ceil(perSecond * (waitMs.initial / 1000 + 0.2)) * (retries > 0 ? 2 : 1);
  const most = Math.max(FEWEST_ROWS, Math.floor(MAX_TABLE_ROWS / workers));
  return Math.max(1, Math.min(Math.ceil(total / workers), Math.max(undecided, FEWEST_ROWS), most));
}

/** The one interface that all pairs leave through, if frames can be sent there. */
export function ethernetOf(plan: Pick<Plan, "paths" | "hops">): Interface | undefined {
  if (plan.paths.some(({ toSelf }) => toSelf === true)) return undefined;
  const indexes = new Set(plan.hops.map(({ interfaceIndex }) => interfaceIndex));
  const [index] = indexes;
  if (indexes.size !== 1 || index === undefined) return undefined;
  const found = lookUpInterface(index);
  return found?.mac === undefined ? undefined : found;
}
