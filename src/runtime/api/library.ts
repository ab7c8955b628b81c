/**
 * `scan` and `probe` of the library: a run whose results are iterated over, with back-pressure.
 *
 * Importing this file loads no native code; a run does. It drops no privileges, watches no signals, prints nothing and never
 * ends the process. Not here: the options (library-options.ts), the run (run/scan.ts), connections (connect/connect.ts).
 */
import { ERROR_CODES, type ErrorCode, SynprobeError } from "../../errors.ts";
import {
  PORT_STATES,
  type PortResult,
  type ScanProgress,
  type ScanSummary,
  type TargetFault,
} from "../../scan/probe/result.ts";
import { type AnyTargetSpec, parseTargets } from "../../scan/targets/grammar.ts";
import type { Plan } from "../plan/plan.ts";
import { createResultQueue } from "../results/result-queue.ts";
import type { RunningScan } from "../run/running-scan.ts";
import type { OpenScan } from "../run/scan.ts";
import type { ScanOptions as RunOptions } from "../run/scan-options.ts";
import { onAbort, oneTarget, orAborted } from "../system/arguments.ts";
import { checkPlatform } from "../system/platform.ts";
import { readServices } from "../system/system.ts";
import { atThreadEnd } from "../system/thread-end.ts";
import {
  checkOptions,
  type ProbeOptions,
  planOptionsOf,
  progressEveryMs,
  runOptionsOf,
  type ScanOptions,
} from "./library-options.ts";

/** A run under way. Iterate over it once: `for await (const result of scan(…))`. */
export interface Scan extends AsyncIterableIterator<PortResult, undefined, undefined> {
  /**
   * The totals, once the run has ended; also after an abort or a `break`, with `interrupted` set. Rejects with the error of the
   * iteration when the run has failed or was aborted before it began. The rejection may be left unhandled.
   */
  readonly summary: Promise<ScanSummary>;
  /** How far the run is; undefined before its first packet. */
  progress(): ScanProgress | undefined;
}

/** The run stops sending while this many results are unread. */
const MOST_WAITING = 1024;

/**
 * Probes every pair of address and port that the targets name, once. Results come as they are decided, in no order. A port that
 * was called filtered and answers late has a second result, with `was`: the last one counts.
 *
 * The run begins at once. It stops sending while about a thousand results are unread: read them, ask for fewer with `states`,
 * or `break`, which ends the run. With CAP_NET_RAW when it begins it sends SYNs of its own, and needs
 * no privilege after that but CAP_NET_ADMIN with `complete`; without, the kernel connects. It drops none, so a program that wants to does it itself once results come.
 *
 * @param targets as the command line has them, one a string: `198.18.0.1:22,80`, `[2001:db8::1]:443`, `host.example:https`,
 *   `198.18.0.0/24` with `ports`
 * @throws {SynprobeError} from the iteration and from `summary`: `ERR_USAGE`, `ERR_PORT`, `ERR_NO_TARGETS`, `ERR_NO_INTERFACE`,
 *   `ERR_INTERFACE_DOWN`, `ERR_NO_SOURCE`, `ERR_PRIVILEGE`, `ERR_PRIVILEGE_ADMIN`, `ERR_PLATFORM`, `ERR_SYSTEM`; for a target that
 *   is wrong, when `strict` or when nothing else is left to probe, `ERR_TARGET_SYNTAX`, `ERR_UNKNOWN_HOST`, `ERR_NO_ADDRESS`,
 *   `ERR_NOT_UNICAST`, `ERR_NO_ROUTE`. Advice in messages may name an option as the command line spells it. The signal's reason,
 *   after an abort.
 */
export function scan(targets: string | Iterable<string>, options: ScanOptions = {}): Scan {
  return start((services) => specsOf(targets, options, services), options);
}

/**
 * Probes one port of one host. For many ports use one `scan`: each `probe` opens sockets of its own.
 *
 * @param host a name, whose first address counts, or an IP address as text, with a zone where a link-local one needs it
 * @param port 1 to 65,535
 * @throws {SynprobeError} as `scan` does. A port that is closed, filtered or silent is a result
 */
export async function probe(host: string, port: number, options: ProbeOptions = {}): Promise<PortResult> {
  const run = start(() => ({ specs: [oneTarget(host, port)], faults: [] }), options);
  let last: PortResult | undefined;
  for await (const result of run) last = result;
  if (last === undefined) throw new SynprobeError(ERROR_CODES.system, `${host}:${port} got no verdict`);
  return last;
}

interface Specs {
  readonly specs: readonly AnyTargetSpec[];
  readonly faults: readonly TargetFault[];
}
type Services = ReturnType<typeof readServices>;

function specsOf(
  targets: string | Iterable<string>,
  { ports, topPorts, strict }: ScanOptions,
  services: Services,
): Specs {
  const specs: AnyTargetSpec[] = [];
  const faults: TargetFault[] = [];
  const texts = typeof targets === "string" ? [targets] : targets;
  if (typeof texts?.[Symbol.iterator] !== "function") {
    throw new SynprobeError(
      ERROR_CODES.usage,
      "targets are a text, or an array or other iterable of texts: gather first what comes one after the other",
    );
  }
  for (const text of texts) {
    try {
      if (typeof text !== "string") throw new SynprobeError(ERROR_CODES.usage, "a target is a text");
      const spec = parseTargets(text, services);
      if (spec.ports === undefined && ports === undefined && topPorts === undefined) {
        throw new SynprobeError(
          ERROR_CODES.usage,
          `${text} names no port: write it after a colon, or give ports`,
        );
      }
      specs.push(spec);
    } catch (error) {
      if (!(error instanceof SynprobeError) || strict === true) throw error;
      faults.push({ target: String(text), code: error.code, message: error.message });
    }
  }
  return { specs, faults };
}

function start(name: (services: Services) => Specs, options: ScanOptions): Scan {
  let running: RunningScan | undefined;
  let isLeft = false;
  const queue = createResultQueue<PortResult>(MOST_WAITING, async () => {
    isLeft = true;
    running?.kill();
    await summary.catch(() => {});
  });

  async function run(): Promise<ScanSummary> {
    // The caller gets the object before anything can fail.
    await undefined;
    checkPlatform();
    checkOptions(options);
    const { signal } = options;
    signal?.throwIfAborted();
    const services = readServices();
    const plan = await orAborted(planOf(name(services), options, services), signal);
    const open = await openRun(plan, runOptionsOf(options, services));
    const forget = atThreadEnd(() => open.close());
    try {
      signal?.throwIfAborted();
      if (!isLeft) await open.settle?.();
      signal?.throwIfAborted();
      return await runToEnd(open, signal);
    } finally {
      forget();
      open.close();
    }
  }

  async function runToEnd(open: OpenScan, signal: AbortSignal | undefined): Promise<ScanSummary> {
    const { states = PORT_STATES, onProgress } = options;
    // Who has left before the run begins has no room for a result, and so nothing is sent.
    const room = isLeft ? () => new Promise<void>(() => {}) : queue.room;
    const going = open.run({ wants: states, onResult: queue.push, room });
    running = going;
    if (isLeft) going.kill();
    let thrown: { readonly error: unknown } | undefined;
    const tell = (): void => {
      try {
        onProgress?.(going.progress());
      } catch (error) {
        thrown ??= { error };
        going.kill();
      }
    };
    const telling = onProgress === undefined ? undefined : setInterval(tell, progressEveryMs(options));
    const stop = (): void => going.stop();
    const leaveSignal = onAbort(signal, stop);
    try {
      const summary = await going.finished;
      tell();
      if (thrown !== undefined) throw thrown.error;
      return summary;
    } finally {
      clearInterval(telling);
      leaveSignal();
    }
  }

  const summary = run();
  summary.then(
    ({ interrupted }) => {
      const { signal } = options;
      queue.end(interrupted && signal?.aborted === true ? { error: signal.reason } : undefined);
    },
    (error: unknown) => queue.end({ error }),
  );
  const scanning: Scan = {
    ...queue.iterator,
    [Symbol.asyncIterator]: () => scanning,
    summary,
    progress: () => running?.progress(),
  };
  return scanning;
}

/** @throws {SynprobeError} also when nothing is left to probe */
async function planOf({ specs, faults }: Specs, options: ScanOptions, services: Services): Promise<Plan> {
  const { makePlan } = await import("../plan/plan.ts");
  const plan = await makePlan(specs, await planOptionsOf(options, services));
  const all = [...faults, ...plan.faults];
  const [first] = all;
  if (first !== undefined && (options.strict === true || plan.space.total === 0)) {
    throw new SynprobeError(first.code as ErrorCode, first.message);
  }
  if (plan.space.total === 0) {
    throw new SynprobeError(
      ERROR_CODES.noTargets,
      specs.length === 0
        ? "no target is given"
        : "nothing is left to probe: every target or port is excluded",
    );
  }
  return { ...plan, faults: all };
}

async function openRun(plan: Plan, options: RunOptions): Promise<OpenScan> {
  const { openScan } = await import("../run/scan.ts");
  try {
    return await openScan(plan, options);
  } catch (error) {
    if (!(error instanceof SynprobeError) || error.code !== ERROR_CODES.privilege) throw error;
    throw new SynprobeError(
      error.code,
      `${error.message}: probing needs root, or the capability CAP_NET_RAW`,
      {
        cause: error,
      },
    );
  }
}
