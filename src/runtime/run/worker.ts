/**
 * A worker thread: one link, one range of source ports, one socket table, one share of the run's order. Workers share only the
 * rate that they have found. A worker does not use Node's event loop: it reads, sends, and waits in poll(2) for the next packet
 * or deadline.
 *
 * It needs no privileges: the main thread opened the sockets. Wanted results leave in batches of records
 * (scan/probe/result-record.ts) for worker-pool.ts.
 */
import { parentPort } from "node:worker_threads";
import type { PacketLink } from "../../link/ethernet.ts";
import { attachPacket } from "../../link/packet.ts";
import { createSharedRate } from "../../scan/congestion/shared-rate.ts";
import { createBatchWriter } from "../results/record-batch.ts";
import { nowUs } from "../system/clock.ts";
import { openFence } from "../system/fence.ts";
import { BATCHES_PER_TURN, checkStall, createBatchSender, LONGEST_SENDING_US } from "./batch-sender.ts";
import { type BuiltEngine, buildEngine } from "./engine-builder.ts";
import { isWanted } from "./engine-run.ts";
import { serveTasks } from "./thread-pool.ts";
import { CONTROL, type FromWorker, STOP, type WorkerTask } from "./worker-pool.ts";

/** Time between two reports to the main thread, in microseconds. */
const REPORT_US = 200_000;
/** Longest wait for a packet, in microseconds, so that a stop is noticed. */
const LONGEST_WAIT_US = 20_000;
/** With more batches of results waiting in the main thread, no probe is sent until it has caught up. */
const MOST_WAITING = 32;

const post = (message: FromWorker, transfer: ArrayBuffer[] = []): void =>
  parentPort?.postMessage(message, transfer);

function work(task: WorkerTask): void {
  const control = new Int32Array(task.control);
  // Hands a batch over. `waiting` counts it until the main thread has taken it.
  const give = (message: FromWorker & { readonly bytes: Uint8Array<ArrayBuffer> }): void => {
    Atomics.add(control, CONTROL.waiting, 1);
    post(message, [message.bytes.buffer]);
  };
  const shared = createSharedRate(task.rates, task.worker.index);
  const built = buildEngine(task, attachPacket(task.handles), {
    sharedRate: shared,
    onCapture: (bytes) => give({ kind: "capture", bytes }),
  });
  const records = createBatchWriter((bytes, count) => give({ kind: "records", bytes, count }), "give");
  const { pollVerdict } = built.engine;
  const handOver = (): void => {
    for (let verdict = pollVerdict(); verdict !== undefined; verdict = pollVerdict()) {
      if (isWanted(task.wants, verdict.state, verdict.was)) records.write(verdict);
    }
  };
  const flush = (): void => {
    records.flush();
    built.flushCapture();
  };
  let done: FromWorker;
  try {
    done = loop(task, control, built, handOver, flush);
  } catch (error) {
    try {
      // What has been found until then is handed over, and counted, all the same.
      built.engine.abandon(nowUs());
      handOver();
      flush();
      post({ kind: "progress", report: built.report(true), decisions: [] });
    } catch {
      // The engine is what failed.
    }
    throw error;
  } finally {
    shared.leave();
    built.link.close();
    Atomics.store(control, CONTROL.closed, 1);
  }
  post(done);
}

/** @returns what is told at the end */
function loop(
  task: WorkerTask,
  control: Int32Array<SharedArrayBuffer>,
  { engine, link, report, takeDecisions, noticeDrops }: BuiltEngine<PacketLink>,
  handOver: () => void,
  flush: () => void,
): FromWorker {
  const { handlePacket } = engine;
  let drainedUs = nowUs();
  let lastAgeUs = 0;
  const { send, settle, settledUs, isBusy } = createBatchSender(engine, link);
  link.listen((bytes, at, end, ageUs) => {
    lastAgeUs = ageUs;
    settle();
    handlePacket(bytes, at, end, drainedUs, ageUs);
  });
  let reportAt = drainedUs;
  let stopped = false;
  const fence = task.fence === undefined ? undefined : openFence(task.fence);
  // A run may be over before its thread begins.
  const mayNotSend = (): boolean =>
    Atomics.load(control, CONTROL.waiting) > MOST_WAITING ||
    Atomics.load(control, CONTROL.stop) === STOP.now ||
    fence?.isPast() === true;
  for (;;) {
    drainedUs = nowUs();
    const empty = link.drain();
    // After a stall the answers are in the ring already: read them before any deadline passes. The ring is in order, so unread
    // packets came after the last one read.
    engine.handleTimeout(settledUs(empty ? drainedUs : drainedUs - lastAgeUs));
    let batches = 0;
    const untilUs = nowUs() + LONGEST_SENDING_US;
    while (batches < BATCHES_PER_TURN && nowUs() < untilUs && !mayNotSend() && send() > 0) batches++;
    const isHeld = mayNotSend();
    handOver();
    const now = nowUs();
    const stop = Atomics.load(control, CONTROL.stop);
    const isEnd = stop === STOP.now || (stopped && engine.inFlight === 0);
    if (isEnd || (!stopped && stop !== STOP.no)) {
      stopped = true;
      // Also what has been found since the last time: nothing that is counted is kept back.
      engine.abandon(now);
      handOver();
    }
    const over = isEnd || engine.done;
    if (!over && !isHeld) checkStall(engine, link, now);
    if (over || now >= reportAt) {
      flush();
      reportAt = now + REPORT_US;
      noticeDrops();
      const facts = { report: report(over), decisions: takeDecisions(over) };
      if (over) return { kind: "done", ...facts };
      post({ kind: "progress", ...facts });
    }
    if (empty && batches === 0) {
      // Deadlines count from settledUs, so the wait is longer by the delay of sending.
      const next = isHeld || isBusy() ? now + 1000 : engine.pollTimeout(now) + (now - settledUs(now));
      const wait = Math.min(next, reportAt, now + LONGEST_WAIT_US) - now;
      if (wait > 0) link.wait(wait);
    }
  }
}

serveTasks(work);
