/**
 * A worker thread: one link, one source-port range, one socket table, one share of the run's order; nothing shared with any
 * other but the rate that all have found. It has no event loop of its own: it drains, sends, and waits in poll(2) for the next
 * packet or deadline.
 *
 * It starts without privileges: the sockets were opened by the main thread. Results leave in batches of records
 * (scan/probe/result-record.ts), and only those that somebody wants. Not here: what becomes of them (worker-pool.ts).
 */
import { parentPort, workerData } from "node:worker_threads";
import type { PacketLink } from "../../link/ethernet.ts";
import { attachPacket } from "../../link/packet.ts";
import { createRateChangeLog, type RateChangeLog } from "../../scan/congestion/rate-change.ts";
import { createSharedRate } from "../../scan/congestion/shared-rate.ts";
import { createEngine, type Engine } from "../../scan/engine/engine.ts";
import type { Verdict } from "../../scan/probe/verdict.ts";
import { createOrder } from "../../scan/targets/permutation.ts";
import { createPositionSet } from "../../scan/targets/positions.ts";
import { createSource, type ShareSource } from "../../scan/targets/source.ts";
import { openSpace } from "../../scan/targets/space.ts";
import { createSourcePorts, partPilots } from "../../socket/ports.ts";
import { createBatchWriter } from "../results/record-batch.ts";
import { toDecision } from "../results/to-result.ts";
import { nowUs } from "../system/clock.ts";
import { BATCHES_PER_TURN, checkStall, createTransmitter, LONGEST_SENDING_US } from "./batch-sender.ts";
import { createCapture } from "./capture.ts";
import { CONTROL, type FromWorker, STOP, type WorkerTask } from "./worker-pool.ts";

/** How often the main thread hears how far the worker is, in microseconds. */
const REPORT_US = 200_000;
/** The longest wait for a packet: the main thread may have said stop meanwhile. */
const LONGEST_WAIT_US = 20_000;
/** Batches of results that may wait in the main thread: with more, nothing new is sent until it has caught up. */
const MOST_WAITING = 32;

const task = workerData as WorkerTask;
const control = new Int32Array(task.control);
const post = (message: FromWorker, transfer: ArrayBuffer[] = []): void =>
  parentPort?.postMessage(message, transfer);

function work(): void {
  const source = shareOf(task);
  const shared = createSharedRate(task.rates, task.worker.index);
  const { tries, pilots } = partPilots(task.ports);
  const rateChanges = createRateChangeLog();
  const prober = createEngine({
    ...task.engine,
    onRateChange: rateChanges.add,
    rate: { ...task.engine.rate, shared },
    source,
    ports: createSourcePorts(tries.first, tries.last, task.engine.seed),
    ...(pilots === undefined ? {} : { pilotPorts: pilots }),
    startUs: nowUs(),
  });
  const wire = attachPacket(task.handles);
  const capture =
    task.capture === undefined
      ? undefined
      : createCapture(task.capture, (bytes) => {
          Atomics.add(control, CONTROL.waiting, 1);
          post({ kind: "capture", bytes }, [bytes.buffer]);
        });
  const engine = capture?.engine(prober, task.engine) ?? prober;
  const link = capture?.link(wire) ?? wire;
  const results = createBatchWriter((bytes, count) => {
    Atomics.add(control, CONTROL.waiting, 1);
    post({ kind: "results", bytes, count }, [bytes.buffer]);
  }, "give");
  const wanted = ({ state, was }: Verdict): boolean =>
    task.wants.includes(state) || (was !== null && task.wants.includes(was));
  const { pollVerdict } = engine;
  const handOver = (): void => {
    for (let verdict = pollVerdict(); verdict !== undefined; verdict = pollVerdict()) {
      if (wanted(verdict)) results.write(verdict);
    }
  };
  try {
    loop(engine, link, source, rateChanges, handOver, () => {
      results.flush();
      capture?.flush();
    });
  } finally {
    shared.leave();
    link.close();
  }
}

function shareOf(task: WorkerTask): ShareSource {
  const space = openSpace(task.space);
  return createSource({
    space,
    order: createOrder(space.total, { ...task.order, worker: task.worker }),
    worker: task.worker,
    paths: task.paths,
    ...(task.resume === undefined
      ? {}
      : { from: task.resume.from, isDone: createPositionSet(task.resume.done).has }),
  });
}

function loop(
  engine: Engine,
  link: PacketLink,
  source: ShareSource,
  rateChanges: RateChangeLog,
  handOver: () => void,
  flush: () => void,
): void {
  const { handlePacket } = engine;
  let drainedUs = nowUs();
  let lastAgeUs = 0;
  const { send, settle, settledUs, isBusy } = createTransmitter(engine, link);
  link.listen((bytes, at, end, ageUs) => {
    lastAgeUs = ageUs;
    settle();
    handlePacket(bytes, at, end, drainedUs, ageUs);
  });
  let reportAt = drainedUs;
  let drops = 0;
  let stopped = false;
  for (;;) {
    drainedUs = nowUs();
    const empty = link.drain();
    // After a stall the answers are in the ring already: no deadline passes before they are read. They come in order, so what
    // is not read yet came after the last that was.
    engine.handleTimeout(settledUs(empty ? drainedUs : drainedUs - lastAgeUs));
    let batches = 0;
    const behind = Atomics.load(control, CONTROL.waiting) > MOST_WAITING;
    const untilUs = nowUs() + LONGEST_SENDING_US;
    while (!behind && batches < BATCHES_PER_TURN && nowUs() < untilUs && send() > 0) batches++;
    handOver();
    const now = nowUs();
    const stop = Atomics.load(control, CONTROL.stop);
    const over = engine.done || stop === STOP.now || (stopped && engine.inFlight === 0);
    if (!over && !behind) checkStall(engine, link, now);
    if (over || now >= reportAt) {
      flush();
      reportAt = now + REPORT_US;
      const dropped = link.receiveDrops();
      if (dropped > drops) engine.handleOverrun(now);
      drops = dropped;
      report(over ? "done" : "progress", engine, link, source, rateChanges);
    }
    if (over) return;
    if (!stopped && stop !== STOP.no) {
      stopped = true;
      engine.abandon(now);
    }
    if (empty && batches === 0) {
      // Deadlines pass when what has left is settled, not before.
      const next = behind || isBusy() ? now + 1000 : engine.pollTimeout(now) + (now - settledUs(now));
      const wait = Math.min(next, reportAt, now + LONGEST_WAIT_US) - now;
      if (wait > 0) link.wait(wait);
    }
  }
}

function report(
  kind: "progress" | "done",
  engine: Engine,
  link: PacketLink,
  source: ShareSource,
  rateChanges: RateChangeLog,
): void {
  post({
    kind,
    report: {
      counts: engine.counts,
      inFlight: engine.inFlight,
      receiveDrops: link.receiveDrops(),
      mark: Math.min(source.nextPosition, engine.lowestUndecided()),
      rate: engine.rateMetrics(),
    },
    decisions: rateChanges.take(kind === "done").map((change) => toDecision(change, task.worker.index)),
  });
}

work();
