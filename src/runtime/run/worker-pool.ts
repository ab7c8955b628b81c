/**
 * The main thread's side of the workers: starts them, adds up what they report, hands their batches on, stops them. A worker
 * that dies fails the run loudly; what it had handed over is not lost.
 */
import { Worker } from "node:worker_threads";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import { closeOutbox, type OutboxMemory } from "../../link/outbox.ts";
import type { PacketHandles } from "../../link/packet.ts";
import { sharedRates } from "../../scan/congestion/shared-rate.ts";
import type { EngineOptions } from "../../scan/engine/engine.ts";
import type { PortState } from "../../scan/probe/result.ts";
import { RECORD_LENGTH, readRecord, recordState, recordWas } from "../../scan/probe/result-record.ts";
import type { OrderOptions, Part } from "../../scan/targets/permutation.ts";
import type { PositionWords } from "../../scan/targets/positions.ts";
import type { PathRanges } from "../../scan/targets/source.ts";
import type { SharedSpace } from "../../scan/targets/space.ts";
import { noTotals } from "../results/totals.ts";
import type { CaptureKind } from "./capture.ts";
import type { Lane, LaneHooks, LaneReport } from "./main-thread.ts";

/** What the control word says: go on; send nothing new and wait for answers; end. */
export const STOP = { no: 0, drain: 1, now: 2 } as const;
/** Words of a worker's control memory: what it is told, and how many batches of results wait to be taken. */
export const CONTROL = { stop: 0, waiting: 1, words: 2 } as const;

/** Everything a worker needs; structured-cloneable. */
export interface WorkerTask {
  readonly handles: PacketHandles;
  /** Its own source ports. */
  readonly ports: PortRange;
  readonly space: SharedSpace;
  readonly order: Omit<OrderOptions, "worker">;
  readonly worker: Part;
  readonly paths: PathRanges;
  /** Functions do not travel: the worker makes what shares its rate of `rates`. */
  readonly engine: Omit<EngineOptions, "source" | "ports" | "startUs">;
  /** Which results leave the worker; the others are only counted. */
  readonly wants: readonly PortState[];
  /** Packets to hand over. */
  readonly capture?: CaptureKind;
  /** Of a run that goes on: positions of this share below `from`, and those of `done`, are done with. */
  readonly resume?: { readonly from: number; readonly done: PositionWords };
  /** CONTROL.words 32-bit words. */
  readonly control: SharedArrayBuffer;
  /** The rates that all workers find (scan/congestion/shared-rate.ts). */
  readonly rates: SharedArrayBuffer;
}

export type FromWorker =
  | { readonly kind: "results"; readonly bytes: Uint8Array<ArrayBuffer>; readonly count: number }
  | { readonly kind: "capture"; readonly bytes: Uint8Array<ArrayBuffer> }
  | ({ readonly kind: "progress" | "done" } & LaneReport);

/** What a thread needs that sends for another. */
export interface SenderTask {
  readonly outbox: OutboxMemory;
  /** Bound, and shared with the thread that fills. */
  readonly socket: number;
}

/** How a bundle calls the files of its threads, beside itself (build/bundle.ts). */
declare const THREAD_SUFFIX: string | undefined;
const SUFFIX = typeof THREAD_SUFFIX === "undefined" ? ".js" : THREAD_SUFFIX;
const startThread = (name: "worker" | "sender", workerData: WorkerTask | SenderTask): Worker =>
  new Worker(new URL(`./${name}${SUFFIX}`, import.meta.url), { workerData });

/**
 * Starts the thread that sends what a packet link's own thread fills, if it is to have one. It ends when the link is closed;
 * until it is there the link's own thread sends. `onError` is told that it died: what it had been given is lost.
 */
export function startSender(
  { ethernet: { outbox, sender } }: PacketHandles,
  onError: (error: Error) => void,
): void {
  if (outbox === undefined) return;
  const thread = startThread("sender", { outbox, socket: sender });
  thread.once("error", (error) => onError(explainStart(error)));
}

/** A thread takes a dozen descriptors of its own, and memory. */
function explainStart(error: Error): Error {
  if (!("code" in error) || error.code !== "ERR_WORKER_INIT_FAILED") return error;
  return new SynprobeError(
    ERROR_CODES.platform,
    `a thread cannot be started (${error.message}): raise "ulimit -n" and "ulimit -u", or give fewer --workers`,
    { cause: error },
  );
}

/** How long answers are waited for after `stop`, and workers when one has failed, in milliseconds. */
const GRACE_MS = 1000;

const NOTHING_YET: LaneReport = {
  counts: { ...noTotals(), started: 0 },
  inFlight: 0,
  receiveDrops: 0,
  mark: 0,
};

/** Lets the thread go that sends for a packet link, if there is one. */
function releaseSender({ ethernet: { outbox } }: PacketHandles): void {
  if (outbox !== undefined) closeOutbox(outbox);
}

/** Starts one thread a task. Results that nobody wants are counted and come no further. */
export function startWorkers(
  tasks: readonly Omit<WorkerTask, "control" | "rates">[],
  hooks: LaneHooks,
): Lane {
  const reports = tasks.map((): LaneReport => NOTHING_YET);
  const controls = tasks.map(() => new Int32Array(new SharedArrayBuffer(4 * CONTROL.words)));
  const rates = sharedRates(tasks.length);
  /** Those that have not said that they are done. The others close their sockets, and then end by themselves. */
  const threads = new Set<Worker>();
  let grace: NodeJS.Timeout | undefined;
  let patience: NodeJS.Timeout | undefined;
  let failure: { readonly error: unknown } | undefined;
  const terminate = (): void => {
    for (const thread of threads) void thread.terminate();
  };
  const tell = (word: number): void => {
    for (const control of controls) Atomics.store(control, CONTROL.stop, word);
  };
  const finished = Promise.all(
    tasks.map((task, i) => run({ ...task, control: controls[i].buffer, rates }, i)),
  )
    .finally(() => {
      clearTimeout(grace);
      clearTimeout(patience);
      terminate();
      // Workers do it themselves, but for one that was ended where it stood.
      for (const { handles } of tasks) releaseSender(handles);
    })
    .then(() => {
      if (failure !== undefined) throw failure.error;
    });
  /** The run is over, but what its workers have found already is still taken. */
  function fail(error: unknown): void {
    failure ??= { error };
    tell(STOP.now);
    patience ??= setTimeout(terminate, GRACE_MS);
  }

  function run(task: WorkerTask, number: number): Promise<void> {
    return new Promise((resolve) => {
      const thread = startThread("worker", task);
      threads.add(thread);
      startSender(task.handles, fail);
      let over = false;
      const acknowledge = (): void => void Atomics.sub(controls[number], CONTROL.waiting, 1);
      thread.on("message", (message: FromWorker) => {
        try {
          if (message.kind === "results" || message.kind === "capture") {
            if (message.kind === "results") take(message.bytes, message.count);
            else hooks.onCapture(message.bytes);
            const room = hooks.room();
            if (room === undefined) acknowledge();
            else void room.then(acknowledge);
            return;
          }
          reports[number] = message;
          if (message.kind === "done") {
            over = true;
            threads.delete(thread);
            resolve();
          }
          // After a failure some results may be missing that reports count.
          if (failure === undefined) hooks.onReport();
        } catch (error) {
          fail(error);
        }
      });
      thread.once("error", (error) => fail(explainStart(error)));
      // Comes after all messages.
      thread.once("exit", (code) => {
        if (!over) {
          const died = `worker ${number + 1} of ${tasks.length} died (exit ${code})`;
          fail(new SynprobeError(ERROR_CODES.system, died));
        }
        resolve();
      });
    });
  }

  function take(bytes: Uint8Array, count: number): void {
    if (hooks.keepsRecords) hooks.onRecords(bytes, count);
    for (let i = 0; i < count; i++) {
      const at = i * RECORD_LENGTH;
      const was = recordWas(bytes, at);
      if (hooks.wants.includes(recordState(bytes, at)) || (was !== null && hooks.wants.includes(was))) {
        hooks.onResult(readRecord(bytes, at));
      }
    }
  }

  return {
    finished,
    reports: () => reports,
    marks: () => reports.map(({ mark }) => mark),
    stop: () => {
      tell(STOP.drain);
      grace ??= setTimeout(() => tell(STOP.now), GRACE_MS);
    },
    kill: () => tell(STOP.now),
  };
}
