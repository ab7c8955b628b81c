/**
 * One scan from plan to summary: opens the links and starts engines over them, in the main thread or in workers.
 *
 * In two steps, because a program has things to do between them: `openScan` takes every privilege that is needed, and
 * after it privileges can be dropped and output files opened; `run` sends the first packet.
 *
 * Which link and how many threads: means.ts. What becomes of what the engines find: running-scan.ts.
 */
import { ERROR_CODES, isSynprobeError, SynprobeError } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import type { Link } from "../../link/link.ts";
import { openRawIp } from "../../link/raw-ip.ts";
import { mayOpenRawSockets } from "../../link/sys/raw-socket.ts";
import { traceLink } from "../../link/tracer.ts";
import { type Established, PORT_STATES } from "../../scan/probe/result.ts";
import type { Part } from "../../scan/targets/permutation.ts";
import { ISN_KEY_LENGTH } from "../../socket/isn.ts";
import { partControlPorts } from "../../socket/ports.ts";
import { waysOf } from "../plan/paths.ts";
import type { Plan } from "../plan/plan.ts";
import type { Tell } from "../results/to-result.ts";
import type { HeldPorts } from "../system/port-lease.ts";
import { createRandom, secret } from "../system/random.ts";
import { forwards, openFilesLeft, portShares, probePorts } from "../system/system.ts";
import type { BothLinks } from "./both-links.ts";
import type { EngineSettings, EngineTask } from "./engine-builder.ts";
import type { EngineRun, EngineRunHooks } from "./engine-run.ts";
import { runInMainThread } from "./main-thread.ts";
import { chooseMeans, type Means, PAIRS_PER_WORKER, portsOf, WHOLE, whyNotConnect } from "./means.ts";
import {
  type PastRun,
  type RunContext,
  type RunningScan,
  type ScanContext,
  type ScanHooks,
  startScan,
} from "./running-scan.ts";
import { type ScanOptions, timestampOf, whyNoControls } from "./scan-options.ts";

export interface OpenScan {
  /** Settled when `settle` has been called. */
  readonly means: Means;
  /** Bytes of the receive buffer that was granted. */
  readonly receiveBuffer: number;
  /** Chooses between links where that takes a few SYNs (compare-links.ts); to be called once, before `run`. Needs no privilege. */
  settle?(): Promise<void>;
  /**
   * Of a run from several places: takes a record of the journal that it goes on from.
   * @param tell gets the pair, with what each place has found, when that was the last that was missing
   * @returns false for a record that is of none of its places
   */
  recall?(
    bytes: Uint8Array,
    at: number,
    established: Established | undefined,
    isComplete: boolean,
    tell: Tell,
  ): boolean;
  /** Sends, listens, reports; call once. */
  run(hooks: ScanHooks, past?: PastRun): RunningScan;
  /** For a scan that is never run. */
  close(): void;
}

/** How long a completed connection may take to close, in microseconds. */
const CLOSE_US = 3_000_000;
/** Below this rate, in SYNs a second, they would be a burst. */
const COMPARED_RATE = 1000;
/** Open files that must be left beside the run's own packet sockets: for those of both, and a large run's threads and outputs. */
const COMPARED_FILES = 48;
/** Those of one packet link of the run's own. */
const PACKET_FILES = 4;
/** From this many pairs on, memory is worth a few milliseconds. */
const LARGE_PLAN = 1e6;

/**
 * Opens the sockets for a plan. Needs CAP_NET_RAW; to complete handshakes CAP_NET_ADMIN too, until the run has ended. `--link connect`
 * needs no privilege, and `auto` comes to that where CAP_NET_RAW is missing.
 * @throws {SynprobeError} `ERR_PLATFORM`, `ERR_PRIVILEGE`, `ERR_NO_SOURCE`, `ERR_USAGE`, `ERR_SYSTEM`
 */
export async function openScan(plan: Plan, options: ScanOptions): Promise<OpenScan> {
  if (options.link === "connect") return openConnects(plan, options);
  try {
    return await openPackets(plan, options);
  } catch (error) {
    if (!lacksPrivilege(error) || !comesToConnect(options)) throw error;
    return openConnects(plan, { ...options, link: "connect" });
  }
}

const lacksPrivilege = (error: unknown): boolean =>
  error instanceof SynprobeError &&
  (error.code === ERROR_CODES.privilege || error.code === ERROR_CODES.privilegeAdmin);

/** Whether `auto` is connect here: raw sockets are not allowed, and nothing is asked for that only they can do. */
const comesToConnect = (options: ScanOptions): boolean =>
  (options.link ?? "auto") === "auto" && whyNotConnect(options) === undefined && !mayOpenRawSockets();

/** What a scan would use, for `--dry-run`. */
export const planMeans = (plan: Plan, options: ScanOptions): Means =>
  chooseMeans(plan, comesToConnect(options) ? { ...options, link: "connect" } : options);

/** Only a run without raw sockets needs what this loads. */
async function openConnects(plan: Plan, options: ScanOptions): Promise<OpenScan> {
  const { openConnectLink } = await import("./connects.ts");
  const opened = { plan, options, means: chooseMeans(plan, options) };
  return runOver(opened, await openConnectLink(plan, options), () => {});
}

async function openPackets(plan: Plan, options: ScanOptions): Promise<OpenScan> {
  if (options.complete !== undefined && options.sourcePort !== undefined) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      "--complete chooses its own source ports, for which it holds the kernel's RST back: drop -g",
    );
  }
  const held = options.complete === undefined ? undefined : await hold(plan);
  try {
    const context = { plan, options, means: chooseMeans(plan, options, held?.ports) };
    if (context.means.threads === 0) return openRawLink(context, () => held?.release());
    if (!isToCompare(context)) return await openPacketLinks(context);
    const [both, byPacket] = await Promise.allSettled([openBoth(context), openPacketLinks(context)]);
    if (byPacket.status === "rejected") {
      if (both.status === "fulfilled") both.value.close();
      throw byPacket.reason;
    }
    if (both.status === "fulfilled") return eitherOf(context, byPacket.value, both.value);
    // What is not allowed a second link does without it.
    if (isSynprobeError(both.reason)) return byPacket.value;
    byPacket.value.close();
    throw both.reason;
  } catch (error) {
    held?.release();
    throw error;
  }
}

/** Pairs that come to their end with few source ports. */
const FEW_PAIRS = 4;

/** Only a run that completes handshakes needs what this loads. */
async function hold({ families, space }: Plan): Promise<HeldPorts> {
  const { holdPorts } = await import("../system/port-lease.ts");
  return holdPorts(portShares().raw, families, space.total <= FEW_PAIRS ? "block-or-few" : "block");
}

/**
 * Whether the choice of frames was this program's, and may be another; whether the options leave room for SYNs that no pair needs, and
 * the limit of open files for sockets.
 */
export const isToCompare = ({ plan, options, means }: ScanContext): boolean =>
  means.threads > 0 &&
  options.link !== "packet" &&
  plan.crowd === 0 &&
  (options.workers ?? 1) === 1 &&
  options.fence === undefined &&
  options.rate.maximum >= COMPARED_RATE &&
  whyNoControls(options, means.ports) === undefined &&
  !probePorts().shared &&
  openFilesLeft() >= COMPARED_FILES + PACKET_FILES * means.threads;

/** Only large scans need what this loads. */
const openBoth = async (context: ScanContext): Promise<BothLinks> =>
  (await import("./both-links.ts")).openBothLinks(context);

/** A scan of which `settle` takes one link. */
function eitherOf(
  opened: { -readonly [key in keyof ScanContext]: ScanContext[key] },
  byPacket: OpenScan,
  both: BothLinks,
): OpenScan {
  const { plan, options } = opened;
  const scan: { -readonly [key in keyof OpenScan]: OpenScan[key] } = {
    ...byPacket,
    close: () => {
      both.close();
      byPacket.close();
    },
    settle: async () => {
      const compared = await both.compare();
      const [chosen, other] = compared.differs
        ? [
            runOver({ plan, options, means: { ...both.rawMeans, compared } }, both.rawLink, () => {}),
            byPacket,
          ]
        : [byPacket, both.rawLink];
      other.close();
      opened.means = { ...chosen.means, compared };
      Object.assign(scan, chosen, { means: opened.means });
    },
  };
  return scan;
}

function openRawLink(opened: ScanContext, release: () => void): OpenScan {
  const { plan, options, means } = opened;
  const rawLink = openRawIp({
    ...waysOf(plan),
    ports: means.ports,
  });
  const link = options.onPacket === undefined ? rawLink : traceLink(rawLink, options.onPacket);
  return runOver(opened, link, release);
}

/** A scan in the main thread. */
function runOver(opened: ScanContext, link: Link, release: () => void): OpenScan {
  const { options, means } = opened;
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
    run: (hooks, past) => {
      const context = { ...opened, hooks, past };
      const handshakes =
        complete === undefined ? undefined : { bannerUs: complete.bannerMs * 1000, closeUs: CLOSE_US };
      return startScan(
        context,
        (engineHooks) =>
          runInMainThread(link, engineTask(context, means.ports, WHOLE), engineHooks, handshakes),
        close,
      );
    },
  };
}

async function openPacketLinks(scan: ScanContext): Promise<OpenScan> {
  const { plan, options, means } = scan;
  // Only large scans need what these load.
  const [
    { attachPacket, closePacket, openPacketSockets },
    { startSender, startWorkerPool },
    { collectGarbage },
    { raiseInliningLimits },
  ] = await Promise.all([
    import("../../link/packet.ts"),
    import("./worker-pool.ts"),
    import("../system/garbage.ts"),
    import("../system/inlining.ts"),
  ]);
  // Reading a long list took more memory than is kept of it.
  if (plan.space.total >= LARGE_PLAN) collectGarbage();
  raiseInliningLimits(plan.space.total / means.threads);
  const alone = options.sourcePort === undefined && !probePorts().shared && !forwards();
  const shares = Array.from({ length: means.threads }, (_, i) =>
    portsOf(means.ports, { index: i, count: means.threads }),
  );
  const opened = await Promise.allSettled(
    shares.map((ports, i) =>
      openPacketSockets({
        interfaceName: means.interfaceName ?? "",
        ports,
        routes: plan.hops,
        behind: means.senders,
        // Once for all sockets: the kernel runs each such program on every packet.
        ...(alone && i === 0 ? { quiet: means.ports } : {}),
        links: shares.length,
      }),
    ),
  );
  const handles = opened.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const close = (): void => {
    for (const each of handles.splice(0)) closePacket(each);
  };
  for (const each of opened) {
    if (each.status === "fulfilled") continue;
    close();
    throw each.reason;
  }
  let link: Link | undefined;
  const closeLink = (): void => {
    link?.close();
    link = undefined;
  };
  return {
    means,
    receiveBuffer: 0,
    close: () => {
      close();
      closeLink();
    },
    run: (hooks, past) => {
      const context = { ...scan, hooks, past };
      // From here on the links own the sockets, and close them.
      const given = handles.splice(0);
      if (suitsMainThread(context)) {
        const ours = attachPacket(given[0]);
        link = ours;
        const start = (engineHooks: EngineRunHooks): EngineRun =>
          withSender(runInMainThread(ours, engineTask(context, means.ports, WHOLE), engineHooks), (onError) =>
            startSender(given[0], onError),
          );
        return startScan(context, start, closeLink);
      }
      const tasks = shares.map((ports, index) => ({
        ...engineTask(context, ports, { index, count: means.threads }),
        handles: given[index],
        wants: hooks.onRecords === undefined ? hooks.wants : PORT_STATES,
      }));
      return startScan(context, (engineHooks) => startWorkerPool(tasks, engineHooks, closePacket));
    },
  };
}

/** Has another thread send for the main thread's engine. When it dies, the run ends with its error. */
function withSender(run: EngineRun, start: (onError: (error: Error) => void) => void): EngineRun {
  let failure: { readonly error: Error } | undefined;
  start((error) => {
    failure = { error };
    run.kill();
  });
  const finished = run.finished.then(() => {
    if (failure !== undefined) throw failure.error;
  });
  return { ...run, finished };
}

/**
 * Whether the main thread does better than a worker would: one engine is enough, starting a thread would be a good part of the
 * run's time, and few results are wanted, or made, so that handling them does not hold up the engine.
 */
const suitsMainThread = ({ plan, options, means, hooks }: RunContext): boolean =>
  means.threads === 1 &&
  options.workers === undefined &&
  plan.space.total <= PAIRS_PER_WORKER &&
  hooks.onRecords === undefined &&
  (hooks.passes !== undefined || hooks.wants.every((state) => state === "open"));

function engineTask(
  { plan, options, means, past }: Omit<RunContext, "hooks">,
  ports: PortRange,
  worker: Part,
): EngineTask {
  return {
    space: plan.space.share(),
    ...(plan.within === undefined ? {} : { within: plan.within.share() }),
    order: options.order,
    worker,
    paths: plan.pathRanges,
    ...(whyNoControls(options, ports) === undefined ? partControlPorts(ports) : { ports }),
    settings: engineSettings(plan, options, means),
    ...(options.capture === undefined ? {} : { capture: options.capture }),
    ...(options.fence === undefined ? {} : { fence: options.fence }),
    ...(options.beside === undefined ? {} : { beside: options.beside }),
    ...(past === undefined ? {} : { resume: { from: past.marks[worker.index], done: past.above.words } }),
  };
}

function engineSettings(plan: Plan, options: ScanOptions, { workers, capacity }: Means): EngineSettings {
  const synTimestamp = timestampOf(options);
  return {
    paths: plan.paths,
    isnKey: secret(ISN_KEY_LENGTH),
    seed: createRandom()(2 ** 31),
    ...(synTimestamp === undefined ? {} : { synTimestamp }),
    retries: options.retries,
    ...(options.confidence === undefined ? {} : { confidence: options.confidence }),
    ...(options.verify === undefined ? {} : { verify: options.verify }),
    wait: {
      initialUs: options.waitMs.initial * 1000,
      minUs: options.waitMs.least * 1000,
      maxUs: options.waitMs.most * 1000,
    },
    rate: {
      minimum: options.rate.minimum / workers,
      maximum: options.rate.maximum / workers,
      workers,
      ...(options.rate.found === undefined ? {} : { found: options.rate.found / workers }),
    },
    ...(options.follows === true ? { follows: true } : {}),
    hosts: plan.space.hosts,
    capacity,
    canaryPorts: plan.canaryPorts,
    keepHandshakes: options.complete !== undefined,
    ...(options.ratePerHost === undefined ? {} : { ratePerHost: options.ratePerHost / workers }),
    ...(options.ratePerPrefix === undefined ? {} : { ratePerPrefix: options.ratePerPrefix / workers }),
    ...(options.hostTimeoutMs === undefined ? {} : { hostTimeoutUs: options.hostTimeoutMs * 1000 }),
  };
}
