/**
 * One batch at a time from an engine to a link: filled, sent, its departures and refusals told back. What the main thread's
 * loop (event-loop.ts) and a worker's (worker.ts) share.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { Link } from "../../link/link.ts";
import { OWN_THIRD, THIRDS } from "../../link/outbox.ts";
import type { Engine } from "../../scan/engine/engine.ts";
import { nowUs } from "../system/clock.ts";

/** Nothing is asked for the rest of a batch after so many refusals in a row. */
const HOPELESS = 64;

/** Batches sent before received packets get their turn, and for how long: code that has just begun takes its time. */
export const BATCHES_PER_TURN = 4;
export const LONGEST_SENDING_US = 4000;

export interface Transmitter {
  /** Sends one batch, or has it sent. @returns how many packets the engine had for it */
  send(): number;
  /** Tells the engine what has left meanwhile. Before each answer that is read: it may have come while others were. */
  settle(): void;
  /** Whether something is under way, and will leave in another thread. */
  isBusy(): boolean;
  /**
   * The time, `nowUs` or earlier, up to which all that the engine gave has left, and as long ago as it would have had it left
   * at once. What was given since could not be answered yet: no deadline passes, and nothing is learnt from silence.
   */
  settledUs(nowUs: number): number;
}

/** A batch of fewer packets is sent at once: to wake another thread would take longer. */
const WORTH_HANDING_OVER = 32;

export function createTransmitter(engine: Engine, link: Link): Transmitter {
  // Taken out once: objects with getters are slow to look into.
  const { pollTransmit, handleDeparture, handleRefusal } = engine;
  const { behind } = link;
  const { data, lengths, slots, slotLength, offset } = link.batch;
  const most = behind === undefined ? slots : slots / THIRDS;
  // Outlives the call, so that it is one object for a whole batch and not one for each packet that it is handed on with.
  let now = 0;
  /** When each third was filled; which one leaves next; and how long after it was filled each left the last time. */
  const filledUs = [0, 0];
  let oldest = 0;
  const delayUs = [0, 0];
  const isBusy = (): boolean => behind?.isBusy() === true;

  /** Sends slots `first` to `end - 1` from this thread. */
  const sendNow = (first: number, end: number): void => {
    let refusals = 0;
    for (let done = first; done < end; ) {
      // Filling the batch took its time, and so does the call itself: round trips must contain neither.
      const from = nowUs();
      const taken = link.send(done, end - done);
      if (taken > 0) {
        handleDeparture(done, done + taken, from, nowUs());
        done += taken;
        refusals = 0;
        continue;
      }
      // One packet may be refused for its own neighbour's sake, so the others are tried; but not for ever.
      const tried = ++refusals < HOPELESS ? done + 1 : end;
      while (done < tried) handleRefusal(done++, link.sendError, nowUs());
    }
  };

  const settle = (): void => {
    for (let batch = behind?.take(); batch !== undefined; batch = behind?.take()) {
      const first = batch.third * most;
      const sent = first + batch.sent;
      now = nowUs();
      if (batch.isFirst && batch.sent > 0)
        handleDeparture(first, sent, now - batch.sinceUs, now - batch.untilUs);
      // What the kernel did not take is offered again, and refused by name if it comes to that.
      if (!batch.isOver) continue;
      oldest = 1 - batch.third;
      delayUs[batch.third] = now - batch.untilUs - filledUs[batch.third];
      sendNow(sent, first + batch.count);
    }
  };

  return {
    settle,
    isBusy,
    settledUs: (us) => {
      const leftUs = us - Math.max(delayUs[0], delayUs[1]);
      return isBusy() ? Math.min(leftUs, filledUs[oldest]) : leftUs;
    },
    send: () => {
      settle();
      // While the other thread has its hands full this one sends as well.
      const isFull = isBusy() && behind?.isFree() === false;
      const first = behind === undefined ? 0 : (isFull ? OWN_THIRD : behind.third()) * most;
      let end = first;
      now = nowUs();
      for (let at = offset + first * slotLength; end < first + most; at += slotLength) {
        const length = pollTransmit(now, data, at, end);
        if (length === 0) break;
        lengths[end++] = length;
      }
      const count = end - first;
      if (behind !== undefined && !isFull) {
        const third = behind.third();
        filledUs[third] = now;
        if (!isBusy()) oldest = third;
      }
      const isGiven =
        !isFull && count >= WORTH_HANDING_OVER && behind?.isFree() === true && behind.give(count);
      if (!isGiven && !isBusy()) {
        delayUs[0] = 0;
        delayUs[1] = 0;
      }
      if (!isGiven) sendNow(first, end);
      return count;
    },
  };
}

/** So long may sending be impossible before a run is given up, in microseconds. */
const LONGEST_STALL_US = 30e6;

/** @throws {SynprobeError} `ERR_INTERFACE_DOWN` when nothing could be sent for half a minute */
export function checkStall(engine: Engine, link: Link, us: number): void {
  if (engine.stalledUs(us) < LONGEST_STALL_US) return;
  const errno = link.sendError;
  throw new SynprobeError(
    ERROR_CODES.interfaceDown,
    `nothing can be sent any more: the kernel says ${errno} for 30 s; ${STALL_ADVICE[errno] ?? '"ip link" shows whether the interface is up'}`,
  );
}

const NO_ROOM =
  "on this machine's own networks that is most often its full table of neighbours: raise net.ipv4.neigh.default.gc_thresh3 " +
  '(IPv6: net.ipv6…), see "synprobe doctor"; else "tc -s qdisc" shows a full queue';
const STALL_ADVICE: Readonly<Record<string, string>> = {
  ENOBUFS: NO_ROOM,
  EINVAL: NO_ROOM,
  ENETUNREACH: 'its route is gone: "ip route" and "ip link" show what is left',
};
