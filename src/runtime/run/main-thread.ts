/**
 * A lane: an engine over a link, wherever it runs, as the scan sees it. This file has the interface, and the lane of the main
 * thread, which shares its event loop with everything else; worker threads' lanes are worker-pool.ts.
 */
import type { PortRange } from "../../link/filter.ts";
import type { Link } from "../../link/link.ts";
import { createRateChangeLog } from "../../scan/congestion/rate-change.ts";
import type { EngineCounters } from "../../scan/engine/counters.ts";
import { createEngine, type Engine, type EngineOptions } from "../../scan/engine/engine.ts";
import { createHandshakes } from "../../scan/engine/handshakes.ts";
import type { Established, PortState, RateDecision, RateMetrics } from "../../scan/probe/result.ts";
import type { ResultRecord } from "../../scan/probe/result-record.ts";
import type { Verdict } from "../../scan/probe/verdict.ts";
import type { Order } from "../../scan/targets/permutation.ts";
import { createSource, type PathRanges } from "../../scan/targets/source.ts";
import type { Space } from "../../scan/targets/space.ts";
import { createSourcePorts, partPilots } from "../../socket/ports.ts";
import { createBatchWriter } from "../results/record-batch.ts";
import { toDecision, toEstablished, toRecord } from "../results/to-result.ts";
import { nowUs } from "../system/clock.ts";
import type { Capture } from "./capture.ts";
import { drive } from "./event-loop.ts";

/** How far one worker is. */
export interface LaneReport {
  readonly counts: Readonly<EngineCounters>;
  readonly inFlight: number;
  readonly receiveDrops: number;
  /** Every position of its share below this one is decided; Infinity when all are. */
  readonly mark: number;
  /** How it finds its rate; undefined before its first report. */
  readonly rate?: RateMetrics;
}

export interface Lane {
  /** Settles when all is decided or the lane was stopped; rejects when a link or worker died. */
  readonly finished: Promise<void>;
  /** The last report of each worker. */
  reports(): readonly LaneReport[];
  marks(): readonly number[];
  /** Sends nothing new, waits a little for answers, ends. */
  stop(): void;
  kill(): void;
}

export interface LaneHooks {
  /** Whether `onRecords` is to be called. */
  readonly keepsRecords: boolean;
  /** States that `onResult` wants. */
  readonly wants: readonly PortState[];
  /** Records, before `onResult` hears of them; with `established`, one record and what it has no room for. */
  onRecords(bytes: Uint8Array, count: number, established?: Established): void;
  onResult(record: ResultRecord, established?: Established): void;
  /** Blocks of a pcapng file, from a worker that captures. */
  onCapture(blocks: Uint8Array): void;
  /** Changes of a worker's rate, oldest first. */
  onRateChanges?(decisions: readonly RateDecision[]): void;
  /** Every result that the reports count has been handed over. */
  onReport(): void;
  /** Undefined, or while too much of what was handed over waits to be taken: settles when it has been. No probe is sent meanwhile. */
  room(): Promise<void> | undefined;
}

export interface LaneOptions {
  readonly space: Space;
  readonly order: Order;
  readonly paths: PathRanges;
  readonly ports: PortRange;
  readonly engine: Omit<EngineOptions, "source" | "ports" | "startUs">;
  readonly hooks: LaneHooks;
  readonly complete?: { readonly bannerUs: number; readonly closeUs: number };
  readonly from?: number;
  readonly isDone?: (position: number) => boolean;
  readonly capture?: Capture;
}

const ALONE = { index: 0, count: 1 };
const REPORT_MS = 200;
/** How long answers are waited for after `stop`, in milliseconds. */
const GRACE_MS = 500;

/** Runs in this thread. */
export function runHere(wire: Link, options: LaneOptions): Lane {
  const { space, order, paths, ports, hooks, complete, from, isDone, capture } = options;
  const link = capture?.link(wire) ?? wire;
  const source = createSource({
    space,
    order,
    worker: ALONE,
    paths,
    ...(from === undefined ? {} : { from }),
    ...(isDone === undefined ? {} : { isDone }),
  });
  const { tries, pilots } = partPilots(ports);
  const rateChanges = createRateChangeLog();
  const prober = createEngine({
    ...options.engine,
    onRateChange: rateChanges.add,
    source,
    ports: createSourcePorts(tries.first, tries.last, options.engine.seed),
    // Nothing but the handshakes themselves while handshakes are completed.
    ...(pilots === undefined || complete !== undefined ? {} : { pilotPorts: pilots }),
    startUs: nowUs(),
  });
  const scanner = restrain(capture?.engine(prober, options.engine) ?? prober, hooks.room);
  const engine =
    complete === undefined
      ? scanner
      : createHandshakes(scanner, { paths: options.engine.paths, ...complete });
  const wanted = ({ state, was }: Verdict): boolean =>
    hooks.wants.includes(state) || (was !== null && hooks.wants.includes(was));
  let established: Established | undefined;
  const batch = createBatchWriter((bytes, count) => hooks.onRecords(bytes, count, established), "reuse");
  const running = drive(engine, link, {
    onVerdict: (verdict) => {
      established = verdict.completion === undefined ? undefined : toEstablished(verdict.completion);
      if (hooks.keepsRecords) {
        // What goes with a record goes with it alone.
        if (established !== undefined) batch.flush();
        batch.write(verdict);
        if (established !== undefined) batch.flush();
      }
      if (wanted(verdict)) hooks.onResult(toRecord(verdict), established);
    },
  });
  const mark = (): number => Math.min(source.nextPosition, engine.lowestUndecided());
  const flush = (): void => {
    established = undefined;
    batch.flush();
    capture?.flush();
  };
  const tellRate = (isLast: boolean): void => {
    const changes = rateChanges.take(isLast);
    if (changes.length > 0) hooks.onRateChanges?.(changes.map((change) => toDecision(change, 0)));
  };
  let drops = 0;
  const report = (): void => {
    const dropped = link.receiveDrops();
    if (dropped > drops) engine.handleOverrun(nowUs());
    drops = dropped;
    flush();
    tellRate(false);
    hooks.onReport();
  };
  let failure: unknown;
  const reporting = setInterval(() => {
    try {
      report();
    } catch (error) {
      // What a hook throws ends the run, whoever called it.
      failure = error;
      running.stop();
    }
  }, REPORT_MS);
  const finished = async (): Promise<void> => {
    try {
      await running.finished;
    } catch (error) {
      failure ??= error;
    }
    clearInterval(reporting);
    if (failure === undefined) {
      report();
      return tellRate(true);
    }
    // What has been decided is handed over even now.
    running.stop();
    flush();
    throw failure;
  };
  return {
    finished: finished(),
    reports: () => [
      {
        counts: engine.counts,
        inFlight: engine.inFlight,
        receiveDrops: link.receiveDrops(),
        mark: mark(),
        rate: engine.rateMetrics(),
      },
    ],
    marks: () => [mark()],
    stop: () => running.stop(GRACE_MS),
    kill: () => running.stop(),
  };
}

/** While there is no room, looked at again after this long, in microseconds. */
const ROOM_US = 10_000;

/** An engine that sends nothing while there is no room for results. Connections that are being completed go on above it. */
function restrain(engine: Engine, room: LaneHooks["room"]): Engine {
  const { pollTransmit, pollTimeout, stalledUs } = engine;
  const isHeld = (): boolean => room() !== undefined;
  const held: Pick<Engine, "pollTransmit" | "pollTimeout" | "stalledUs"> = {
    pollTransmit: (now, out, at, token) => (isHeld() ? 0 : pollTransmit(now, out, at, token)),
    pollTimeout: (now) => Math.max(pollTimeout(now), isHeld() ? now + ROOM_US : 0),
    stalledUs: (now) => (isHeld() ? 0 : stalledUs(now)),
  };
  return Object.setPrototypeOf(held, engine);
}
