/**
 * Runs an engine over a link in Node's event loop, with the real clock and real timers: read packets, pass deadlines, send batches,
 * hand verdicts on, sleep; until every pair is decided or the run is stopped.
 *
 * Not here: what to probe and what answers mean (the engine), how a batch is sent (batch-sender.ts).
 */
import type { Link } from "../../link/link.ts";
import type { Engine } from "../../scan/engine/engine.ts";
import type { Verdict } from "../../scan/probe/verdict.ts";
import { nowUs } from "../system/clock.ts";
import { BATCHES_PER_TURN, checkStall, createBatchSender, LONGEST_SENDING_US } from "./batch-sender.ts";

export interface EventLoopHooks {
  onVerdict(verdict: Verdict): void;
}

export interface EventLoop {
  /** Settles when the run is over; rejects when the link became unusable or a hook threw. */
  readonly finished: Promise<void>;
  /**
   * Sends no more probes and hands over the verdicts there are. Ends the run when everything in flight has been answered, or
   * after `graceMs`; at once without it.
   */
  stop(graceMs?: number): void;
}

/** Longest wait for the sender thread, in microseconds: a batch takes less. */
const BUSY_US = 1000;
/** setTimeout's limit is 2^31 - 1 ms; wake at least this often. */
const LONGEST_SLEEP_MS = 60_000;

export function runEventLoop(engine: Engine, link: Link, hooks: EventLoopHooks): EventLoop {
  const { send, settle, settledUs, isBusy } = createBatchSender(engine, link);
  let timer: NodeJS.Timeout | undefined;
  let immediate: NodeJS.Immediate | undefined;
  let over = false;
  let stopping = false;
  let grace: NodeJS.Timeout | undefined;
  let drainedUs = nowUs();
  let resolve: () => void;
  let reject: (error: unknown) => void;
  const finished = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });

  function finish(): void {
    over = true;
    clearTimeout(timer);
    clearTimeout(grace);
    clearImmediate(immediate);
    resolve();
  }

  /** Ends the run with the error. What has been found until then is handed over all the same. */
  function fail(error: unknown): void {
    if (over) return;
    reject(error);
    finish();
    try {
      engine.abandon(nowUs());
      handOver();
    } catch {
      // Whoever takes the verdicts is what failed.
    }
  }

  function handOver(): void {
    for (let verdict = engine.pollVerdict(); verdict !== undefined; verdict = engine.pollVerdict()) {
      hooks.onVerdict(verdict);
    }
  }

  /** Sends no more probes, and hands over what waits as it is: also what has been found since the last time. */
  function giveUp(): void {
    engine.abandon(nowUs());
    while (send() > 0);
    handOver();
  }

  function turn(): void {
    if (over) return;
    try {
      clearTimeout(timer);
      // After a stall the answers are in the socket already: read them before any deadline passes.
      drainedUs = nowUs();
      const empty = link.drain();
      if (empty) engine.handleTimeout(settledUs(drainedUs));
      let batches = 0;
      const untilUs = nowUs() + LONGEST_SENDING_US;
      while (batches < BATCHES_PER_TURN && nowUs() < untilUs && send() > 0) batches++;
      handOver();
      if (over) return;
      checkStall(engine, link, nowUs());
      if (engine.done || (stopping && engine.inFlight === 0)) {
        if (!engine.done) giveUp();
        finish();
        return;
      }
      const busy = isBusy();
      if (busy && empty && batches === 0) link.behind?.wait(BUSY_US);
      if (busy || batches === BATCHES_PER_TURN || nowUs() >= untilUs || !empty) {
        immediate ??= setImmediate(() => {
          immediate = undefined;
          turn();
        });
        return;
      }
      const now = nowUs();
      // Deadlines count from settledUs, so the sleep is longer by the delay of sending.
      const sleepUs = Math.min(
        engine.pollTimeout(now) - settledUs(now),
        link.dueIn?.() ?? Number.POSITIVE_INFINITY,
      );
      const sleepMs = Math.max(0, sleepUs / 1000);
      timer = setTimeout(turn, Math.min(Math.ceil(sleepMs), LONGEST_SLEEP_MS));
    } catch (error) {
      fail(error);
    }
  }

  link.listen(
    (bytes, at, end, ageUs) => {
      if (over) return;
      settle();
      engine.handlePacket(bytes, at, end, drainedUs, ageUs);
    },
    turn,
    fail,
  );
  turn();

  function stop(graceMs = 0): void {
    if (over) return;
    try {
      stopping = true;
      giveUp();
      if (graceMs === 0 || engine.inFlight === 0) finish();
      else grace ??= setTimeout(stop, graceMs);
    } catch (error) {
      fail(error);
    }
  }

  return { finished, stop };
}
