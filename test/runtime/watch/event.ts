/** An event, as tests of who is told of it have it, and the round that events come of. */
import type { ToldEvent } from "../../../src/runtime/watch/events.ts";
import { type FinishedRound, runRound } from "../../../src/runtime/watch/rounds.ts";

export const EVENT: ToldEvent = {
  type: "changed",
  id: 1,
  ts: "2026-01-01T00:00:00.000Z",
  ip: "192.0.2.1",
  port: 22,
  proto: "tcp",
  old: { state: "open" },
  new: { state: "closed", reason: "reset" },
  doubt: 0,
};

/** A round whose scan begins. */
export async function madeRound(...given: Parameters<typeof runRound>): Promise<FinishedRound> {
  const finished = await runRound(...given);
  if (finished === undefined) throw new Error("its scan has not begun");
  return finished;
}
