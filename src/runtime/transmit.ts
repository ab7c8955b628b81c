/**
 * One batch at a time from an engine to a link: filled, sent, its departures and refusals told back. What the main thread's
 * loop (drive.ts) and a worker's (worker.ts) share.
 */
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import type { Link } from "../link/link.ts";
import type { Engine } from "../scan/engine.ts";
import { nowUs } from "./clock.ts";

/** Nothing is asked for the rest of a batch after so many refusals in a row. */
const HOPELESS = 64;

/** @returns a function that sends one batch and tells how many packets the engine had for it */
export function createTransmitter(engine: Engine, link: Link): () => number {
  // Taken out once: objects with getters are slow to look into.
  const { pollTransmit, handleDeparture, handleRefusal } = engine;
  const { data, lengths, slots, slotLength, offset } = link.batch;
  // Outlives the call, so that it is one object for a whole batch and not one for each packet that it is handed on with.
  let now = 0;
  return () => {
    let count = 0;
    now = nowUs();
    for (let at = offset; count < slots; at += slotLength) {
      const length = pollTransmit(now, data, at, count);
      if (length === 0) break;
      lengths[count++] = length;
    }
    let refusals = 0;
    for (let done = 0; done < count; ) {
      // Filling the batch took its time, and so does the call itself: round trips must contain neither.
      const from = nowUs();
      const taken = link.send(done, count - done);
      if (taken > 0) {
        handleDeparture(done, done + taken, from, nowUs());
        done += taken;
        refusals = 0;
        continue;
      }
      // One packet may be refused for its own neighbour's sake, so the others are tried; but not for ever.
      const end = ++refusals < HOPELESS ? done + 1 : count;
      while (done < end) handleRefusal(done++, link.sendError, nowUs());
    }
    return count;
  };
}

/** So long may sending be impossible before a run is given up, in microseconds. */
const LONGEST_STALL_US = 30e6;

/** @throws {SynprobeError} `ERR_INTERFACE_DOWN` when nothing could be sent for half a minute */
export function checkStall(engine: Engine, link: Link, us: number): void {
  if (engine.stalledUs(us) < LONGEST_STALL_US) return;
  throw new SynprobeError(
    ERROR_CODES.interfaceDown,
    `nothing can be sent any more: the kernel says ${link.sendError} for 30 s; "ip link" shows whether the interface is up`,
  );
}
