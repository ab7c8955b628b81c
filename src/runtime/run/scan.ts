/**
 * One scan from plan to summary: opens the links, builds engines over them, here or in worker threads, and puts what they find
 * into results.
 *
 * In two steps, because a program has things to do between them: `openScan` takes every privilege that is needed, and
 * after it privileges can be dropped and output files opened; `run` sends the first packet.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import type { Link } from "../../link/link.ts";
import { openRawIp } from "../../link/raw-ip.ts";
import { traceLink } from "../../link/tracer.ts";
import type { EngineOptions } from "../../scan/engine/engine.ts";
import {
  type Established,
  PORT_STATES,
  type PortResult,
  type PortState,
  type ScanProgress,
  type ScanSummary,
} from "../../scan/probe/result.ts";
import { createOrder } from "../../scan/targets/permutation.ts";
import type { PositionSet } from "../../scan/targets/positions.ts";
import { ISN_KEY_LENGTH } from "../../socket/isn.ts";
import type { Plan } from "../plan/plan.ts";
import { createNaming } from "../results/to-result.ts";
import { addTotals, lossSoFar, noTotals, pathFindings, type Totals } from "../results/totals.ts";
import { nowUs, wallMs } from "../system/clock.ts";
import type { HeldPorts } from "../system/port-lease.ts";
import { createRandom, secret } from "../system/random.ts";
import { forwards, portShares, probePorts } from "../system/system.ts";
import { createCapture } from "./capture.ts";
import { type Lane, type LaneHooks, runHere } from "./main-thread.ts";
import { chooseMeans, type Means, PAIRS_PER_WORKER, type ScanOptions } from "./means.ts";

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

/** Pairs from which on memory is worth a few milliseconds. */
const LARGE_PLAN = 1e6;

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
