/**
 * Drives an engine over a link with the real clock and real timers: packets in, packets out, verdicts on, until every pair
 * is decided or someone says stop.
 *
 * The loop and nothing else: what to probe and what answers mean is the engine's, how packets travel the link's.
 */
import type { Link } from "../link/link.ts";
import { sendErrorVerdict } from "../scan/classify.ts";
import type { Engine } from "../scan/engine.ts";
import type { Verdict } from "../scan/verdict.ts";
import { nowUs } from "./clock.ts";

export interface DriveHooks {
  onVerdict(verdict: Verdict): void;
}

export interface Drive {
  /** Settles when the run is over; rejects when the link became unusable or a hook threw. */
  readonly finished: Promise<void>;
  /** Ends the run now; verdicts that have fallen are handed over first. */
  stop(): void;
}

/** Batches sent before received packets get their turn. */
const BATCHES_PER_TURN = 4;
/** setTimeout's limit is 2^31 - 1 ms; far deadlines are looked at again after this long. */
const LONGEST_SLEEP_MS = 60_000;

export function drive(engine: Engine, link: Link, hooks: DriveHooks): Drive {
  const { batch } = link;
  let timer: NodeJS.Timeout | undefined;
  let immediate: NodeJS.Immediate | undefined;
  let over = false;
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
    clearImmediate(immediate);
    if (error === undefined) resolve();
    else reject(error);
  }

  /** Fills and sends one batch. @returns how many packets the engine had to send */
  function sendBatch(): number {
    let count = 0;
    const now = nowUs();
    while (count < batch.slots) {
      const length = engine.pollTransmit(now, batch.data, count * batch.slotLength + batch.offset, count);
      if (length === 0) break;
      batch.lengths[count++] = length;
    }
    for (let done = 0; done < count; ) {
      // Filling the batch took its time, and so does the call itself: round trips must contain neither.
      const from = nowUs();
      const taken = link.send(done, count - done);
      if (taken > 0) engine.handleDeparture(done, done + taken, from, nowUs());
      done += taken;
      if (taken > 0) continue;
      // Where there is no room for one there is none for the rest: no call for each to be told so.
      const end = sendErrorVerdict(link.sendError) === "again" ? count : done + 1;
      while (done < end) engine.handleRefusal(done++, link.sendError, nowUs());
    }
    return count;
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
      const empty = link.drain();
      if (empty) engine.handleTimeout(nowUs());
      let batches = 0;
      while (batches < BATCHES_PER_TURN && sendBatch() > 0) batches++;
      handOver();
      if (over) return;
      if (engine.done) {
        finish();
        return;
      }
      if (batches === BATCHES_PER_TURN || !empty) {
        immediate ??= setImmediate(() => {
          immediate = undefined;
          turn();
        });
        return;
      }
      const now = nowUs();
      const sleepMs = Math.max(0, (engine.pollTimeout(now) - now) / 1000);
      timer = setTimeout(turn, Math.min(Math.ceil(sleepMs), LONGEST_SLEEP_MS));
    } catch (error) {
      finish(error);
    }
  }

  link.listen(
    (bytes, at, end, ageUs) => {
      if (!over) engine.handlePacket(bytes, at, end, nowUs() - ageUs);
    },
    turn,
    finish,
  );
  turn();

  return {
    finished,
    stop: () => {
      try {
        engine.abandon(nowUs());
        while (sendBatch() > 0);
        handOver();
        finish();
      } catch (error) {
        finish(error);
      }
    },
  };
}
