/**
 * One batch at a time from an engine to a link: filled, sent, its departures and refusals told back. What the main thread's
 * loop (drive.ts) and a worker's (worker.ts) share.
 */
import type { Link } from "../link/link.ts";
import { sendErrorVerdict } from "../scan/classify.ts";
import type { Engine } from "../scan/engine.ts";
import { nowUs } from "./clock.ts";

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
    for (let done = 0; done < count; ) {
      // Filling the batch took its time, and so does the call itself: round trips must contain neither.
      const from = nowUs();
      const taken = link.send(done, count - done);
      if (taken > 0) handleDeparture(done, done + taken, from, nowUs());
      done += taken;
      if (taken > 0) continue;
      // Where there is no room for one there is none for the rest: no call for each to be told so.
      const end = sendErrorVerdict(link.sendError) === "again" ? count : done + 1;
      while (done < end) handleRefusal(done++, link.sendError, nowUs());
    }
    return count;
  };
}
