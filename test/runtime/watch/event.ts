/** An event, as tests of who is told of it have it. */
import type { ToldEvent } from "../../../src/runtime/watch/events.ts";

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
