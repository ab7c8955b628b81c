/**
 * One batch from the engine to the link and back. Both loops use it: the main thread's (event-loop.ts) and a worker's (worker.ts).
 *
 *     engine.pollTransmit  ->  link.batch  ->  link.send          this thread sends
 *                                          ->  link.behind.give   or the sender thread does (sender.ts, link/outbox.ts)
 *     engine.handleDeparture / handleRefusal  <-  what send returned, or behind.take
 *     engine.handlePacket                     <-  link.drain, called by the loop; `settle` runs first
 *
 * Verdicts leave by engine.pollVerdict, which the loops call.
 */
import type { Link } from "../../link/link.ts";
import { OWN_THIRD, THIRDS } from "../../link/outbox.ts";
import type { Engine } from "../../scan/engine/engine.ts";
import { nowUs } from "../system/clock.ts";
import { LONGEST_STALL_US, stalled } from "../system/stall.ts";

/** After this many refusals in a row the rest of the batch is refused without a system call. */
const HOPELESS = 64;

/** In a small batch each packet is taken to have left this long after the one before, in microseconds: as long as the kernel takes for one, about. */
const SMALL = 64;
const EACH_US = 2;

/** Send at most this many batches, for at most this long, before received packets are read. Cold code can take long for one batch. */
export const BATCHES_PER_TURN = 4;
export const LONGEST_SENDING_US = 4000;

export interface BatchSender {
  /** Sends one batch, or has it sent. @returns how many packets the engine had for it */
  send(): number;
  /** Tells the engine what has left since. Call it before each received packet: the SYN that it answers may have left just now. */
  settle(): void;
  /** Whether the sender thread still has packets to send. */
  isBusy(): boolean;
  /**
   * The time to judge deadlines by: `nowUs` less the delay between filling a batch and its departure. A packet that is still
   * waiting to be sent cannot be answered, so its deadline must not pass.
   */
  settledUs(nowUs: number): number;
}

/** A smaller batch is sent by this thread: waking the sender would take longer. */
const WORTH_HANDING_OVER = 32;

export function createBatchSender(engine: Engine, link: Link): BatchSender {
  // Read once: property access on an object with getters is slow.
  const { pollTransmit, handleDeparture, handleRefusal } = engine;
  const { behind } = link;
  const { data, lengths, slots, slotLength, offset } = link.batch;
  const most = behind === undefined ? slots : slots / THIRDS;
  // Declared outside of the loop, so that the number is boxed once a batch and not once a packet.
  let now = 0;
  /** When each third was filled, which one leaves next, and how long each last waited between filling and departure. */
  const filledUs = [0, 0];
  let oldest = 0;
  const delayUs = [0, 0];
  const isBusy = (): boolean => behind?.isBusy() === true;

  /** Sends slots `first` to `end - 1` from this thread. */
  const sendNow = (first: number, end: number): void => {
    let refusals = 0;
    for (let done = first; done < end; ) {
      const calledUs = nowUs();
      const taken = link.send(done, end - done);
      if (taken > 0) {
        // Round trips must include neither the filling of the batch nor the system call: its fixed part, and a pause in it, are no
        // packet's, and none may seem to leave when its answer is there.
        const fromUs = calledUs + (link.preparedUs ?? 0);
        const tookUs = nowUs() - fromUs;
        handleDeparture(
          done,
          done + taken,
          fromUs,
          fromUs + (taken > SMALL ? tookUs : Math.min(tookUs, EACH_US * taken)),
        );
        done += taken;
        refusals = 0;
        continue;
      }
      // A packet may be refused because of its own next hop: try the others, up to a limit.
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
      // Offer again what the kernel did not take: this time a refusal comes with its errno.
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
      // While the sender is busy with both of its thirds, this thread sends too.
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

/** @throws {SynprobeError} `ERR_INTERFACE_DOWN` when nothing could be sent for half a minute */
export function checkStall(engine: Engine, link: Link, us: number): void {
  if (engine.stalledUs(us) >= LONGEST_STALL_US) throw stalled(link.sendError);
}
