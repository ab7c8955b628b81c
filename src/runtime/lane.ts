/**
 * A lane: an engine over a link, wherever it runs, as the scan sees it. This file has the interface, and the lane of the main
 * thread, which shares its event loop with everything else; worker threads' lanes are workers.ts.
 */
import type { PortRange } from "../link/filter.ts";
import type { Link } from "../link/link.ts";
import { createCompletion } from "../scan/completion.ts";
import { createEngine, type EngineCounts, type EngineOptions } from "../scan/engine.ts";
import type { Order } from "../scan/permutation.ts";
import type { ResultRecord } from "../scan/record.ts";
import type { Established, PortState } from "../scan/result.ts";
import { createSource, type PathRanges } from "../scan/source.ts";
import type { Space } from "../scan/space.ts";
import { createSourcePorts } from "../socket/ports.ts";
import { nowUs } from "./clock.ts";
import { drive } from "./drive.ts";
import { createBatchWriter } from "./record-batch.ts";
import { toEstablished, toRecord } from "./results.ts";

/** How far one worker is. */
export interface LaneReport {
  readonly counts: Readonly<EngineCounts>;
  readonly inFlight: number;
  readonly receiveDrops: number;
  /** Every position of its share below this one is decided; Infinity when all are. */
  readonly mark: number;
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
  /** Every result that the reports count has been handed over. */
  onReport(): void;
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
}

const ALONE = { index: 0, count: 1 };
const REPORT_MS = 200;

/** Runs in this thread. */
export function runHere(link: Link, options: LaneOptions): Lane {
  const { space, order, paths, ports, hooks, complete, from, isDone } = options;
  const source = createSource({
    space,
    order,
    worker: ALONE,
    paths,
    ...(from === undefined ? {} : { from }),
    ...(isDone === undefined ? {} : { isDone }),
  });
  const scanner = createEngine({
    ...options.engine,
    source,
    ports: createSourcePorts(ports.first, ports.last, options.engine.seed),
    startUs: nowUs(),
  });
  const engine =
    complete === undefined
      ? scanner
      : createCompletion(scanner, { paths: options.engine.paths, ...complete });
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
      hooks.onResult(toRecord(verdict), established);
    },
  });
  const mark = (): number => Math.min(source.nextPosition, engine.lowestUndecided());
  const report = (): void => {
    established = undefined;
    batch.flush();
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
  return {
    finished: running.finished.finally(() => {
      clearInterval(reporting);
      if (failure !== undefined) throw failure;
      report();
    }),
    reports: () => [
      { counts: engine.counts, inFlight: engine.inFlight, receiveDrops: link.receiveDrops(), mark: mark() },
    ],
    marks: () => [mark()],
    stop: running.stop,
    kill: running.stop,
  };
}
