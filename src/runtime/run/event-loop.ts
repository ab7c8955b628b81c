/**
 * Drives an engine over a link with the real clock and real timers: packets in, packets out, verdicts on, until every pair
 * is decided or someone says stop.
 *
 * The loop and nothing else: what to probe and what answers mean is the engine's, how packets travel the link's.
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
   * Sends no more probes; verdicts that have fallen are handed over. Ends the run at once, or when all that is under way has been
   * answered, `graceMs` later at the most.
   */
  stop(graceMs?: number): void;
}

/** While another thread sends, this one waits so long at most for something to do, in microseconds: a batch takes less. */
const BUSY_US = 1000;
/** setTimeout's limit is 2^31 - 1 ms; far deadlines are looked at again after this long. */
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

  function finish(error?: unknown): void {
    if (over) return;
    over = true;
    clearTimeout(timer);
    clearTimeout(grace);
    clearImmediate(immediate);
    if (error === undefined) resolve();
    else reject(error);
  }

  function handOver(): void {
    for (let verdict = engine.pollVerdict(); verdict !== undefined; verdict = engine.pollVerdict()) {
      hooks.onVerdict(verdict);
    }
  }

  function turn(): void {
    if (over) return;
    try {
      clearTimeout(timer);
      // After a stall the answers are in the socket already: no deadline passes before they are read.
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
      // Deadlines pass when what has left is settled, not before.
      const sleepMs = Math.max(0, (engine.pollTimeout(now) - settledUs(now)) / 1000);
      timer = setTimeout(turn, Math.min(Math.ceil(sleepMs), LONGEST_SLEEP_MS));
    } catch (error) {
      finish(error);
    }
  }

  link.listen(
    (bytes, at, end, ageUs) => {
      if (over) return;
      settle();
      engine.handlePacket(bytes, at, end, drainedUs, ageUs);
    },
    turn,
    finish,
  );
  turn();

  return {
    finished,
    stop: (graceMs = 0) => {
      if (over) return;
      try {
        if (!stopping) engine.abandon(nowUs());
        stopping = true;
        while (send() > 0);
        handOver();
        if (graceMs === 0 || engine.inFlight === 0) finish();
        else grace ??= setTimeout(finish, graceMs);
      } catch (error) {
        finish(error);
      }
    },
  };
}
