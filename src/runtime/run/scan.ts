/**
 * One scan from plan to summary: opens the links, builds engines over them, here or in worker threads, and puts what they find
 * into results.
 *
 * In two steps, because a program has things to do between them: `openScan` takes every privilege that is needed, and
 * after it privileges can be dropped and output files opened; `run` sends the first packet.
 */
import { availableParallelism } from "node:os";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import type { Link } from "../../link/link.ts";
import { openRawIp } from "../../link/raw-ip.ts";
import { type Interface, lookUpInterface } from "../../link/route.ts";
import { type PacketObserver, traceLink } from "../../link/tracer.ts";
import type { EngineOptions } from "../../scan/engine/engine.ts";
import {
  type Established,
  PORT_STATES,
  type PortResult,
  type PortState,
  type ScanProgress,
  type ScanSummary,
} from "../../scan/probe/result.ts";
import type { OrderOptions } from "../../scan/targets/permutation.ts";
import { createOrder } from "../../scan/targets/permutation.ts";
import type { PositionSet } from "../../scan/targets/positions.ts";
import type { Services } from "../../scan/targets/services.ts";
import { ISN_KEY_LENGTH } from "../../socket/isn.ts";
import type { Plan } from "../plan/plan.ts";
import { createNaming } from "../results/to-result.ts";
import { addTotals, lossSoFar, noTotals, pathFindings, type Totals } from "../results/totals.ts";
import { nowUs, wallMs } from "../system/clock.ts";
import type { HeldPorts } from "../system/port-lease.ts";
import { createRandom, secret } from "../system/random.ts";
import { forwards, portShares, probePorts } from "../system/system.ts";
import { type CaptureKind, createCapture } from "./capture.ts";
import { type Lane, type LaneHooks, runHere } from "./main-thread.ts";

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
}

export interface OpenScan {
  readonly means: Means;
  /** Bytes of the receive buffer that was granted. */
  readonly receiveBuffer: number;
  /** Sends, listens, reports; call once. */
  run(hooks: ScanHooks, past?: PastRun): RunningScan;
  /** For a scan that is never run. */
  close(): void;
}

export interface ScanHooks {
  /** The states, or states corrected, that `onResult` wants; all when there is a journal. */
  readonly wants: readonly PortState[];
  onResult(result: PortResult): void;
  /** Every result as a record before `onResult` hears of it, with what a record has no room for. */
  onRecords?(bytes: Uint8Array, count: number, established?: Established): void;
  /** With `capture`: whole blocks of a pcapng file, to be written after its start (wire/pcapng.ts). Valid until it returns. */
  onCapture?(blocks: Uint8Array): void;
  /** About every 200 ms: every result up to here has been handed over. */
  onCheckpoint?(marks: readonly number[], totals: Totals): void;
  /** Undefined, or a promise of room for more results: until it settles, no probes are sent. */
  room?(): Promise<void> | undefined;
}

/** What is known of a run that goes on. */
export interface PastRun {
  readonly marks: readonly number[];
  /** Decided positions that the marks do not cover. */
  readonly above: PositionSet;
  /** Pairs decided. */
  readonly decided: number;
  readonly totals: Totals;
  readonly startedMs: number;
}

export interface RunningScan {
  /** Settles with the totals, also after `stop`; the links are closed then. Rejects when a link or worker died. */
  readonly finished: Promise<ScanSummary>;
  /** What is known so far; when `finished` has settled, either way, the end. */
  summary(): ScanSummary;
  progress(): ScanProgress;
  /** How far each worker is, and the totals so far: for a journal's last checkpoint. */
  marks(): readonly number[];
  totals(): Totals;
  /** Stops sending; what is under way may still be answered for a second. Results that fall are still handed over. */
  stop(): void;
  /** Ends at once. */
  kill(): void;
}

/** How long a completed connection may take to close, in microseconds. */
const CLOSE_US = 3_000_000;

/** Most rows of all socket tables: a million SYNs a second may wait a second each. */
const MAX_TABLE_ROWS = 1 << 20;
/** Rows of a socket table, if there are so many pairs. */
const FEWEST_ROWS = 1 << 14;
/** From so many pairs on, Ethernet frames of our own are worth their setting up. */
const PACKET_PAIRS = 10_000;
/** So many probes a second, and pairs, are one worker's. With another thread to send for it, it needs two processors, and is worth them. */
const RATE_PER_WORKER = 250_000;
const PROCESSORS_PER_WORKER = 2;
const PAIRS_PER_WORKER = 200_000;
const MOST_WORKERS = 64;
/** A path that holds more than so many a second answers so fast that rows are soon free again. */
const USUAL_RATE = 100_000;
/** Each costs a worker about a hundred bytes. */
const MOST_TIMED_HOSTS = 1 << 20;

/**
 * Chooses links and workers; opens nothing.
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
  const packet =
    frames !== undefined &&
    (link === "packet" || (link === "auto" && !special && plan.space.total >= PACKET_PAIRS));
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
      `--workers ${options.workers} needs --link packet: raw IP sockets are served by the main thread alone`,
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
    ...(packet ? { interfaceName: frames.name } : {}),
  };
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

/** Pairs from which on memory is worth a few milliseconds. */
const LARGE_PLAN = 1e6;

/** The one interface that all pairs leave through, if frames can be sent there. */
function ethernetOf(plan: Plan): Interface | undefined {
  if (plan.paths.some(({ toSelf }) => toSelf === true)) return undefined;
  const indexes = new Set(plan.hops.map(({ interfaceIndex }) => interfaceIndex));
  const [index] = indexes;
  if (indexes.size !== 1 || index === undefined) return undefined;
  const found = lookUpInterface(index);
  return found?.mac === undefined ? undefined : found;
}

/**
 * Opens the sockets for a plan. Needs CAP_NET_RAW; to complete handshakes CAP_NET_ADMIN too, until the run has ended.
 * @throws {SynprobeError} `ERR_PLATFORM`, `ERR_PRIVILEGE`, `ERR_NO_SOURCE`, `ERR_USAGE`, `ERR_SYSTEM`
 */
export async function openScan(plan: Plan, options: ScanOptions): Promise<OpenScan> {
  if (options.complete !== undefined && options.sourcePort !== undefined) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      "--complete chooses its own source ports, for which it holds the kernel's RST back: drop -g",
    );
  }
  const held = options.complete === undefined ? undefined : await hold(plan.families);
  try {
    const means = chooseMeans(plan, options, held?.ports);
    return means.threads > 0
      ? await openThreads(plan, options, means)
      : openHere(plan, options, means, () => held?.release());
  } catch (error) {
    held?.release();
    throw error;
  }
}

/** Only a run that completes handshakes needs what this loads. */
async function hold(families: Plan["families"]): Promise<HeldPorts> {
  const { holdPorts } = await import("../system/port-lease.ts");
  return holdPorts(portShares().raw, families);
}

function openHere(plan: Plan, options: ScanOptions, means: Means, release: () => void): OpenScan {
  const rawLink = openRawIp({
    families: plan.families,
    ports: means.ports,
    pinned: plan.hops.filter(({ pinned }) => pinned === true),
    ...(plan.interfaceName === undefined ? {} : { interfaceName: plan.interfaceName }),
    ...(plan.scope === undefined ? {} : { scope: plan.scope }),
    ...(plan.source === undefined ? {} : { source: plan.source }),
  });
  const link = options.onPacket === undefined ? rawLink : traceLink(rawLink, options.onPacket);
  let closed = false;
  const close = (): void => {
    if (closed) return;
    closed = true;
    link.close();
    release();
  };
  const { complete } = options;
  return {
    means,
    receiveBuffer: link.receiveBuffer,
    close,
    run: (hooks, past) =>
      runLane(plan, options, means, hooks, past, close, (laneHooks) =>
        runHere(link, {
          space: plan.space,
          order: createOrder(plan.space.total, options.order),
          paths: plan.pathRanges,
          ports: means.ports,
          engine: engineOptions(plan, options, means),
          hooks: laneHooks,
          ...(options.capture === undefined
            ? {}
            : { capture: createCapture(options.capture, laneHooks.onCapture) }),
          ...(past === undefined ? {} : { from: past.marks[0], isDone: past.above.has }),
          ...(complete === undefined
            ? {}
            : { complete: { bannerUs: complete.bannerMs * 1000, closeUs: CLOSE_US } }),
        }),
      ),
  };
}

async function openThreads(plan: Plan, options: ScanOptions, means: Means): Promise<OpenScan> {
  // Only large scans need what these load.
  const [
    { attachPacket, closePacket, openPacketSockets },
    { startSender, startWorkers },
    { collectGarbage },
  ] = await Promise.all([
    import("../../link/packet.ts"),
    import("./worker-pool.ts"),
    import("../system/garbage.ts"),
  ]);
  // A long list took more to be read than is kept of it.
  if (plan.space.total >= LARGE_PLAN) collectGarbage();
  const alone = options.sourcePort === undefined && !probePorts().shared && !forwards();
  const shares = Array.from({ length: means.threads }, (_, i) => portShare(means.ports, i, means.threads));
  const handles: ReturnType<typeof openPacketSockets>[] = [];
  const close = (): void => {
    for (const each of handles.splice(0)) closePacket(each);
  };
  try {
    for (const ports of shares) {
      handles.push(
        openPacketSockets({
          interfaceName: means.interfaceName ?? "",
          ports,
          routes: plan.hops,
          behind: means.senders,
          // Once for all of them: the kernel asks each such program about each packet.
          ...(alone && handles.length === 0 ? { quiet: means.ports } : {}),
          ...(plan.source === undefined ? {} : { sources: [plan.source] }),
        }),
      );
    }
  } catch (error) {
    close();
    throw error;
  }
  let here: Link | undefined;
  return {
    means,
    receiveBuffer: 0,
    close,
    run: (hooks, past) =>
      runLane(
        plan,
        options,
        means,
        hooks,
        past,
        () => here?.close(),
        (laneHooks) => {
          // From here on the workers own, and close, them.
          const given = handles.splice(0);
          if (isMainThreads(plan, options, means, hooks)) {
            here = attachPacket(given[0]);
            const lane = runHere(here, {
              space: plan.space,
              order: createOrder(plan.space.total, options.order),
              paths: plan.pathRanges,
              ports: means.ports,
              engine: engineOptions(plan, options, means),
              hooks: laneHooks,
            });
            let failure: { readonly error: Error } | undefined;
            startSender(given[0], (error) => {
              failure = { error };
              lane.kill();
            });
            const finished = lane.finished.then(() => {
              if (failure !== undefined) throw failure.error;
            });
            return { ...lane, finished };
          }
          return startWorkers(
            shares.map((ports, index) => ({
              handles: given[index],
              ports,
              space: plan.space.share(),
              order: options.order,
              worker: { index, count: means.threads },
              paths: plan.pathRanges,
              engine: engineOptions(plan, options, means),
              wants: hooks.onRecords === undefined ? hooks.wants : PORT_STATES,
              ...(options.capture === undefined ? {} : { capture: options.capture }),
              ...(past === undefined ? {} : { resume: { from: past.marks[index], done: past.above.words } }),
            })),
            laneHooks,
          );
        },
      ),
  };
}

/**
 * Whether the main thread does better than a worker would: one thread is enough, its start would be a good part of the run's
 * time, and so little is to be told that nobody would take the results off its hands.
 */
const isMainThreads = (plan: Plan, options: ScanOptions, { threads }: Means, hooks: ScanHooks): boolean =>
  threads === 1 &&
  options.workers === undefined &&
  plan.space.total <= PAIRS_PER_WORKER &&
  hooks.onRecords === undefined &&
  hooks.wants.every((state) => state === "open");

/** Share `index` of `count` of the source ports. */
function portShare({ first, last }: PortRange, index: number, count: number): PortRange {
  const size = last - first + 1;
  const at = (i: number): number => first + Math.floor((size * i) / count);
  return { first: at(index), last: at(index + 1) - 1 };
}

function engineOptions(
  plan: Plan,
  options: ScanOptions,
  { workers, capacity }: Means,
): Omit<EngineOptions, "source" | "ports" | "startUs"> {
  return {
    paths: plan.paths,
    isnKey: secret(ISN_KEY_LENGTH),
    seed: createRandom()(2 ** 31),
    retries: options.retries,
    ...(options.confidence === undefined ? {} : { confidence: options.confidence }),
    wait: {
      initialUs: options.waitMs.initial * 1000,
      minUs: options.waitMs.least * 1000,
      maxUs: options.waitMs.most * 1000,
    },
    rate: { minimum: options.rate.minimum / workers, maximum: options.rate.maximum / workers, workers },
    hosts: plan.space.hosts,
    capacity,
    keepHandshakes: options.complete !== undefined,
    ...(options.ratePerHost === undefined ? {} : { ratePerHost: options.ratePerHost / workers }),
    ...(options.ratePerPrefix === undefined ? {} : { ratePerPrefix: options.ratePerPrefix / workers }),
    ...(options.hostTimeoutMs === undefined ? {} : { hostTimeoutUs: options.hostTimeoutMs * 1000 }),
  };
}

/** Runs, wherever, and makes results and totals of what is found. */
function runLane(
  plan: Plan,
  options: ScanOptions,
  means: Means,
  hooks: ScanHooks,
  past: PastRun | undefined,
  close: () => void,
  start: (hooks: LaneHooks) => Lane,
): RunningScan {
  const startUs = nowUs();
  const startedMs = past?.startedMs ?? wallMs(startUs);
  const toResult = createNaming({ services: options.services, nameOf: plan.nameOf });
  const total = createOrder(plan.space.total, options.order).count;
  let interrupted = false;

  const lane = start({
    onRecords: (bytes, count, established) => hooks.onRecords?.(bytes, count, established),
    onResult: (record, established) => hooks.onResult(toResult(record, established)),
    onCapture: (blocks) => hooks.onCapture?.(blocks),
    onReport: () => hooks.onCheckpoint?.(marks(), totals()),
    keepsRecords: hooks.onRecords !== undefined,
    wants: hooks.wants,
    room: () => hooks.room?.(),
  });

  /** Where there is nothing above, JSON shall not say null. */
  const marks = (): number[] => lane.marks().map((mark) => Math.min(mark, total));

  function totals(): Totals {
    const sum = past === undefined ? noTotals() : structuredClone(past.totals);
    for (const { counts, receiveDrops } of lane.reports()) addTotals(sum, counts, receiveDrops);
    sum.elapsedMs += (nowUs() - startUs) / 1000;
    return sum;
  }

  function summary(): ScanSummary {
    const sum = totals();
    return {
      hosts: plan.space.hosts,
      open: sum.states.open,
      closed: sum.states.closed,
      filtered: sum.states.filtered,
      reasons: sum.reasons,
      unfinished: total - sum.decided,
      sent: sum.sent,
      retransmitted: sum.retransmitted,
      received: sum.received,
      late: sum.late,
      ignored: sum.ignored,
      receiveDrops: sum.receiveDrops,
      sendErrors: sum.sendErrors,
      path: pathFindings(sum),
      faults: plan.faults,
      interrupted,
      elapsedMs: sum.elapsedMs,
      startedMs,
    };
  }

  return {
    finished: lane.finished.finally(close).then(summary),
    summary,
    marks,
    totals,
    progress: () => {
      const sum = totals();
      return {
        elapsedMs: sum.elapsedMs,
        total,
        decided: sum.decided,
        open: sum.states.open,
        closed: sum.states.closed,
        filtered: sum.states.filtered,
        sent: sum.sent,
        retransmitted: sum.retransmitted,
        received: sum.received,
        receiveDrops: sum.receiveDrops,
        sendErrors: Object.values(sum.sendErrors).reduce((a, b) => a + b, 0),
        inFlight: lane.reports().reduce((all, { inFlight }) => all + inFlight, 0),
        workers: means.workers,
        rate: sum.path.rate,
        loss: lossSoFar(sum),
      };
    },
    stop: () => {
      interrupted = true;
      lane.stop();
    },
    kill: () => {
      interrupted = true;
      lane.kill();
    },
  };
}
