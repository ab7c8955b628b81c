/**
 * How a scan will go about it: which link, how many threads, which source ports, how large a table. `--link auto` takes
 * packet where that is faster and gives the same answers as raw, which is the case where the kernel does nothing to packets
 * but route them (link/passed-by.ts). Opens nothing; scan.ts does.
 */
import { availableParallelism } from "node:os";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import { findPassedBy, packetSocketRefusal } from "../../link/passed-by.ts";
import { type Interface, lookUpInterface } from "../../link/route.ts";
import type { PacketObserver } from "../../link/tracer.ts";
import type { OrderOptions } from "../../scan/targets/permutation.ts";
import type { Services } from "../../scan/targets/services.ts";
import type { Plan } from "../plan/plan.ts";
import { portShares } from "../system/system.ts";
import type { CaptureKind } from "./capture.ts";

export interface ScanOptions {
  /** SYNs after the first for a port that stays silent, 0 to 30 at most. */
  readonly retries: number;
  /** The chance with which a port called silent is silent (EngineOptions). */
  readonly confidence?: number;
  /** How long each try waits, in milliseconds: before round trips are known, at least, at most. */
  readonly waitMs: { readonly initial: number; readonly least: number; readonly most: number };
  /** Probes per second, of all workers together: bounds of what the path is found to hold. */
  readonly rate: { readonly minimum: number; readonly maximum: number };
  /** Probes per second to one host. */
  readonly ratePerHost?: number;
  /** Probes per second to one prefix (EngineOptions). */
  readonly ratePerPrefix?: number;
  /** How long one host is probed, in milliseconds. */
  readonly hostTimeoutMs?: number;
  /** Send every probe from this port. */
  readonly sourcePort?: number;
  readonly services: Services;
  /** Complete the handshakes of open ports; wait this long for what the server says first, 0 not to. */
  readonly complete?: { readonly bannerMs: number };
  readonly onPacket?: PacketObserver;
  /** Hand packets to `ScanHooks.onCapture`. */
  readonly capture?: CaptureKind;
  /** `auto`: packet for large scans through one Ethernet interface, raw for all others. */
  readonly link?: "auto" | "raw" | "packet";
  /** Threads; by default as many as the size, the rate and the processor ask for. */
  readonly workers?: number;
  readonly order: Omit<OrderOptions, "worker">;
}

/** How a scan will go about it. */
export interface Means {
  readonly link: "raw-ip" | "packet";
  /** Threads of their own; 0 when all happens in the main thread. */
  readonly threads: number;
  /** Workers, the main thread included when it is one. */
  readonly workers: number;
  /** Each thread has another one that sends for it. */
  readonly senders: boolean;
  readonly interfaceName?: string;
  readonly ports: PortRange;
  /** Rows of each worker's socket table. */
  readonly capacity: number;
  /** What frames of our own pass by, or would: why raw was taken where packet is faster, or what packet does without. */
  readonly passedBy: readonly string[];
}

/** Most rows of all socket tables: a million SYNs a second may wait a second each. */
const MAX_TABLE_ROWS = 1 << 20;
/** Rows of a socket table, if there are so many pairs. */
const FEWEST_ROWS = 1 << 14;
/** From so many pairs on, Ethernet frames of our own are worth their setting up. */
const PACKET_PAIRS = 10_000;
/** So many probes a second, and pairs, are one worker's. With another thread to send for it, it needs two processors, and is worth them. */
const RATE_PER_WORKER = 250_000;
const PROCESSORS_PER_WORKER = 2;
export const PAIRS_PER_WORKER = 200_000;
const MOST_WORKERS = 64;
/** A path that holds more than so many a second answers so fast that rows are soon free again. */
const USUAL_RATE = 100_000;
/** Each costs a worker about a hundred bytes. */
const MOST_TIMED_HOSTS = 1 << 20;

/**
 * Chooses links and workers; looks at what the kernel does with packets, and opens nothing.
 * @throws {SynprobeError} `ERR_USAGE` when what was asked for is impossible
 */
export function chooseMeans(plan: Plan, options: ScanOptions, held?: PortRange): Means {
  const { link = "auto", sourcePort, complete, onPacket } = options;
  const frames = ethernetOf(plan);
  const special = complete !== undefined || onPacket !== undefined;
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
  const large = plan.space.total >= PACKET_PAIRS;
  const isWorthIt = frames !== undefined && (link === "packet" || (link === "auto" && !special && large));
  const passedBy = isWorthIt ? findPassed(frames, plan) : [];
  const packet = isWorthIt && (link === "packet" || passedBy.length === 0);
  const ports =
    sourcePort === undefined
      ? (held ?? portShares()[packet ? "packet" : "raw"])
      : { first: sourcePort, last: sourcePort };
  if (options.hostTimeoutMs !== undefined && plan.space.hosts > MOST_TIMED_HOSTS) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      `--host-timeout (and -T5) keeps a clock for each of up to ${MOST_TIMED_HOSTS} hosts, and here are ${plan.space.hosts}: drop it`,
    );
  }
  if (!packet && (options.workers ?? 1) > 1) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      `--workers ${options.workers} needs --link packet: raw IP sockets are served by the main thread alone${
        passedBy.length === 0 ? "" : `, and packet would pass by ${passedBy.join("; ")}`
      }`,
    );
  }
  // No more of them than source ports, or probes a second: each sends one at least.
  const most = Math.min(ports.last - ports.first + 1, Math.max(1, Math.floor(options.rate.maximum)));
  const threads = packet ? Math.min(options.workers ?? bestWorkers(plan, options), most) : 0;
  const workers = Math.max(1, threads);
  return {
    link: packet ? "packet" : "raw-ip",
    threads,
    workers,
    senders: threads > 0 && 2 * threads <= availableParallelism(),
    ports,
    capacity: tableRows(plan.space.total, options, workers),
    passedBy,
    ...(packet ? { interfaceName: frames.name } : {}),
  };
}

/** Where frames cannot be sent at all, only that. */
function findPassed(frames: Interface, plan: Plan): string[] {
  const refusal = packetSocketRefusal();
  return refusal === undefined
    ? findPassedBy(frames.index, plan.hops)
    : [`no packet sockets here (${refusal})`];
}

function bestWorkers(plan: Plan, { rate }: ScanOptions): number {
  const useful = Math.max(1, Math.min(rate.maximum / RATE_PER_WORKER, plan.space.total / PAIRS_PER_WORKER));
  const processors = Math.max(1, Math.floor(availableParallelism() / PROCESSORS_PER_WORKER));
  return Math.min(MOST_WORKERS, processors, Math.ceil(useful));
}

/** Enough rows for all that can be undecided at once, and for those who answered a moment ago. */
function tableRows(total: number, { rate, waitMs, retries }: ScanOptions, workers: number): number {
  const perSecond = Math.min(rate.maximum / workers, Math.max(rate.minimum / workers, USUAL_RATE));
  const undecided = Math.ceil(perSecond * (waitMs.initial / 1000 + 0.2)) * (retries > 0 ? 2 : 1);
  const most = Math.max(FEWEST_ROWS, Math.floor(MAX_TABLE_ROWS / workers));
  return Math.max(1, Math.min(Math.ceil(total / workers), Math.max(undecided, FEWEST_ROWS), most));
}

/** The one interface that all pairs leave through, if frames can be sent there. */
function ethernetOf(plan: Plan): Interface | undefined {
  if (plan.paths.some(({ toSelf }) => toSelf === true)) return undefined;
  const indexes = new Set(plan.hops.map(({ interfaceIndex }) => interfaceIndex));
  const [index] = indexes;
  if (indexes.size !== 1 || index === undefined) return undefined;
  const found = lookUpInterface(index);
  return found?.mac === undefined ? undefined : found;
}
