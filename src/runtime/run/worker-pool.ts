/**
 * The main thread's side of the workers: starts them, keeps their latest reports, hands their results on, stops them. A worker
 * that dies fails the run with an error; what it had handed over is kept.
 *
 * Down to a worker: its task, and three words of shared memory (CONTROL). Up from it: messages (FromWorker).
 */
import type { Worker } from "node:worker_threads";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { closeOutbox, type OutboxMemory } from "../../link/outbox.ts";
import type { PacketHandles } from "../../link/packet.ts";
import { sharedRates } from "../../scan/congestion/shared-rate.ts";
import { newCounters } from "../../scan/engine/counters.ts";
import type { PortState, RateDecision } from "../../scan/probe/result.ts";
import { RECORD_LENGTH, readRecord, recordState, recordWas } from "../../scan/probe/result-record.ts";
import { newVerdict } from "../../scan/probe/verdict.ts";
import type { EngineTask } from "./engine-builder.ts";
import { type EngineReport, type EngineRun, type EngineRunHooks, isWanted } from "./engine-run.ts";
import { keepThread, startThread } from "./thread-pool.ts";

/** The stop word: go on; send nothing new and wait for answers; end now. */
export const STOP = { no: 0, drain: 1, now: 2 } as const;
/**
 * Words of a worker's control memory: the stop word, how many batches of results the main thread has not taken yet, and 1 when
 * the worker has closed its link.
 */
export const CONTROL = { stop: 0, waiting: 1, closed: 2, words: 3 } as const;

/** Everything a worker needs; structured-cloneable. */
export interface WorkerTask extends EngineTask {
  readonly handles: PacketHandles;
  /** States whose results leave the worker; the others are only counted. */
  readonly wants: readonly PortState[];
  /** CONTROL.words 32-bit words. */
  readonly control: SharedArrayBuffer;
  /** The rates that the workers have found (scan/congestion/shared-rate.ts). */
  readonly rates: SharedArrayBuffer;
}

export type FromWorker =
  | { readonly kind: "records"; readonly bytes: Uint8Array<ArrayBuffer>; readonly count: number }
  | { readonly kind: "capture"; readonly bytes: Uint8Array<ArrayBuffer> }
  | {
      readonly kind: "progress" | "done";
      readonly report: EngineReport;
      /** Changes of its rate since the last report. */
      readonly decisions: readonly RateDecision[];
    };

/** What a sender thread needs. */
export interface SenderTask {
  readonly outbox: OutboxMemory;
  /** Bound; shared with the thread that fills the batches. */
  readonly socket: number;
}

/**
 * Starts the sender thread of a packet link, if the link is to have one. It is done when the link is closed; until it runs,
 * the link's own thread sends.
 * @param onError called when it died; the batches that it had are lost
 */
export function startSender(
  { ethernet: { outbox, sender } }: PacketHandles,
  onError: (error: Error) => void,
): void {
  if (outbox === undefined) return;
  const task: SenderTask = { outbox, socket: sender };
  const thread = startThread("sender", task);
  thread.once("message", () => keepThread("sender", thread));
  thread.once("error", (error) => onError(explainStart(error)));
}

/** A thread takes a dozen descriptors of its own, and memory; and a file, which a bundle of the program that uses the library lacks. */
function explainStart(error: Error): Error {
  if (!("code" in error)) return error;
  if (error.code === "MODULE_NOT_FOUND") {
    const what = `a thread's file is missing (${error.message.split("\n", 1)[0]})`;
    const message = `${what}: leave synprobe out of the bundle (esbuild: --external:synprobe), or install it anew`;
    return new SynprobeError(ERROR_CODES.platform, message, { cause: error });
  }
  if (error.code !== "ERR_WORKER_INIT_FAILED") return error;
  return new SynprobeError(
    ERROR_CODES.platform,
    `a thread cannot be started (${error.message}): raise "ulimit -n" and "ulimit -u", or give fewer --workers`,
    { cause: error },
  );
}

/** How long to wait for answers after `stop`, and for the other workers when one has failed, in milliseconds. */
const GRACE_MS = 1000;

const NOTHING_YET: EngineReport = {
  counts: newCounters(),
  inFlight: 0,
  receiveDrops: 0,
  mark: 0,
};

/** Ends the sender thread of a packet link, if there is one. */
function releaseSender({ ethernet: { outbox } }: PacketHandles): void {
  if (outbox !== undefined) closeOutbox(outbox);
}

/**
 * Starts one worker for each task. Results that are not wanted are only counted.
 * @param close closes what a worker was given, and did not close because it died
 */
export function startWorkerPool(
  tasks: readonly Omit<WorkerTask, "control" | "rates">[],
  hooks: EngineRunHooks,
  close: (handles: PacketHandles) => void,
): EngineRun {
  const reports = tasks.map((): EngineReport => NOTHING_YET);
  const controls = tasks.map(() => new Int32Array(new SharedArrayBuffer(4 * CONTROL.words)));
  const rates = sharedRates(tasks.length);
  /** Workers that are not done. The others have closed their sockets. */
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
      // A worker does this itself, unless it was terminated.
      for (const { handles } of tasks) releaseSender(handles);
    })
    .then(() => {
      if (failure !== undefined) throw failure.error;
    });
  /** Ends the run. What its workers have found already is still taken. */
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
      const acknowledge = (): void => void Atomics.sub(controls[number], CONTROL.waiting, 1);
      thread.on("message", (message: FromWorker) => {
        try {
          if (message.kind === "records" || message.kind === "capture") {
            if (message.kind === "records") take(message.bytes, message.count);
            else hooks.onCapture(message.bytes);
            const room = hooks.room();
            if (room === undefined) acknowledge();
            else void room.then(acknowledge);
            return;
          }
          reports[number] = message.report;
          if (message.decisions.length > 0) hooks.onRateChanges(message.decisions);
          if (message.kind === "done") {
            threads.delete(thread);
            keepThread("worker", thread);
            resolve();
          }
          // After a failure a report may count results that never came.
          if (failure === undefined) hooks.onReport();
        } catch (error) {
          fail(error);
        }
      });
      thread.once("error", (error) => fail(explainStart(error)));
      // "exit" comes after all messages.
      thread.once("exit", (code) => {
        const died = `worker ${number + 1} of ${tasks.length} died (exit ${code})`;
        fail(new SynprobeError(ERROR_CODES.system, died));
        // A process that goes on would keep its ring, and what keeps resets from the kernel.
        if (Atomics.load(controls[number], CONTROL.closed) === 0) close(task.handles);
        resolve();
      });
    });
  }

  const verdict = newVerdict();
  function take(bytes: Uint8Array, count: number): void {
    if (hooks.keepsRecords) hooks.onRecords(bytes, count);
    for (let i = 0; i < count; i++) {
      const at = i * RECORD_LENGTH;
      if (!isWanted(hooks.wants, recordState(bytes, at), recordWas(bytes, at))) continue;
      readRecord(bytes, at, verdict);
      hooks.onResult(verdict, verdict.atUs);
    }
  }

  return {
    finished,
    reports: () => reports,
    stop: () => {
      tell(STOP.drain);
      grace ??= setTimeout(() => tell(STOP.now), GRACE_MS);
    },
    kill: () => tell(STOP.now),
  };
}
