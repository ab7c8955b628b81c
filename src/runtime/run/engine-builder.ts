/**
 * Builds the engine of one thread, over its link: its share of the space, its source ports, the capture between the two.
 * The main thread (main-thread.ts) and a worker (worker.ts) differ in what they do with it.
 */
import type { PortRange } from "../../link/filter.ts";
import type { Link } from "../../link/link.ts";
import { createRateChangeLog } from "../../scan/congestion/rate-change.ts";
import { createSharedPace } from "../../scan/congestion/shared-pace.ts";
import type { SharedRate } from "../../scan/congestion/shared-rate.ts";
import { createEngine, type Engine, type EngineOptions } from "../../scan/engine/engine.ts";
import type { RateDecision } from "../../scan/probe/result.ts";
import { createOrder, type OrderOptions, type Part } from "../../scan/targets/permutation.ts";
import { createPositionSet, type PositionWords } from "../../scan/targets/positions.ts";
import { createSource, type PathRanges } from "../../scan/targets/source.ts";
import { openSpace, type SharedSpace } from "../../scan/targets/space.ts";
import { createIsnHash } from "../../socket/isn.ts";
import { createSourcePorts } from "../../socket/ports.ts";
import { ADDRESS_WORDS } from "../../socket/table.ts";
import { toFindings, toHeldUp } from "../results/findings.ts";
import { toDecision } from "../results/to-result.ts";
import { nowUs } from "../system/clock.ts";
import { type CaptureKind, createCapture } from "./capture.ts";
import type { EngineReport } from "./engine-run.ts";
import type { Beside } from "./scan-options.ts";

/** What an engine is told that is the same in every thread. */
export type EngineSettings = Omit<EngineOptions, "source" | "ports" | "controlPorts" | "startUs">;

/** What one engine probes, and how. Structured-cloneable, so that a worker can be given it. */
export interface EngineTask {
  readonly space: SharedSpace;
  readonly within?: SharedSpace;
  readonly order: Omit<OrderOptions, "worker">;
  /** Which share of the order is this engine's. */
  readonly worker: Part;
  readonly paths: PathRanges;
  /** Source ports that no other engine uses, and those of its control SYNs, if it may send any. */
  readonly ports: PortRange;
  readonly controlPorts?: PortRange;
  readonly settings: EngineSettings;
  /** Packets to hand over. */
  readonly capture?: CaptureKind;
  /** Nothing is sent after this deadline (system/fence.ts). */
  readonly fence?: SharedArrayBuffer;
  readonly beside?: Beside;
  /** Of a resumed run: positions of this share below `from`, and those in `done`, are decided already. */
  readonly resume?: { readonly from: number; readonly done: PositionWords };
}

export interface BuildOptions {
  /** The rate that the workers of one run share; it cannot be cloned. */
  readonly sharedRate?: SharedRate;
  onCapture(blocks: Uint8Array<ArrayBuffer>): void;
  /** Wraps the engine, outside of the capture. */
  readonly wrap?: (engine: Engine) => Engine;
}

export interface BuiltEngine<L extends Link> {
  readonly engine: Engine;
  readonly link: L;
  report(isLast: boolean): EngineReport;
  /** Changes of its rate since the last call (scan/congestion/rate-change.ts). @param isLast none is held back for a later call */
  takeDecisions(isLast: boolean): readonly RateDecision[];
  /** Tells the engine when the kernel has dropped packets since the last call. */
  noticeDrops(): void;
  flushCapture(): void;
}

/**
 * What ports are drawn from: the key's hash of a 4-tuple that no probe has. Not from the seed, which identifications on the wire
 * give away to who is probed.
 */
function portSecret(isnKey: Uint8Array): number {
  const nowhere = new Uint32Array(ADDRESS_WORDS);
  return createIsnHash(isnKey)(nowhere, 0, nowhere, 0, 0, 0);
}

/** @param wire the link without capture */
export function buildEngine<L extends Link>(
  task: EngineTask,
  wire: L,
  options: BuildOptions,
): BuiltEngine<L> {
  const { settings, resume, beside } = task;
  const { sharedRate, onCapture, wrap = (engine) => engine } = options;
  const space = openSpace(task.space);
  const source = createSource({
    space,
    ...(task.within === undefined ? {} : { within: openSpace(task.within) }),
    order: createOrder(space.total, { ...task.order, worker: task.worker }),
    worker: task.worker,
    paths: task.paths,
    ...(resume === undefined ? {} : { from: resume.from, isDone: createPositionSet(resume.done).has }),
  });
  const { ports, controlPorts } = task;
  const rateChanges = createRateChangeLog();
  const prober = createEngine({
    ...settings,
    onRateChange: rateChanges.add,
    ...(sharedRate === undefined ? {} : { rate: { ...settings.rate, shared: sharedRate } }),
    ...(beside === undefined
      ? {}
      : { pace: createSharedPace(beside.sent, beside.sentBefore, settings.rate.workers ?? 1) }),
    source,
    ports: createSourcePorts(ports.first, ports.last, portSecret(settings.isnKey)),
    ...(controlPorts === undefined ? {} : { controlPorts }),
    startUs: nowUs(),
  });
  const capture = task.capture === undefined ? undefined : createCapture(task.capture, onCapture);
  const engine = wrap(capture?.engine(prober, settings) ?? prober);
  const link = capture?.link(wire) ?? wire;
  let drops = 0;
  return {
    engine,
    link,
    report: (isLast) => ({
      counts: engine.counts,
      inFlight: engine.inFlight,
      receiveDrops: link.receiveDrops(),
      mark: Math.min(source.nextPosition, engine.lowestUndecided()),
      rate: engine.rateMetrics(),
      ...toHeldUp(engine),
      ...(isLast ? toFindings(engine, nowUs()) : {}),
      ...(isLast && link.unresolved !== undefined ? { unresolved: link.unresolved() } : {}),
    }),
    takeDecisions: (isLast) =>
      rateChanges.take(isLast).map((change) => toDecision(change, task.worker.index)),
    noticeDrops: () => {
      const dropped = link.receiveDrops();
      if (dropped > drops) engine.handleOverrun(nowUs());
      drops = dropped;
    },
    flushCapture: () => capture?.flush(),
  };
}
