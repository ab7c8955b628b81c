/**
 * Running totals of a run: of engines that go on, of workers that report, and of what a journal says was counted before.
 */
import type { EngineCounts } from "../scan/engine.ts";
import type { PortState } from "../scan/result.ts";

/** What is counted, as plain data: it travels between threads and stands in journals. */
export interface Totals {
  sent: number;
  retransmitted: number;
  received: number;
  late: number;
  decided: number;
  receiveDrops: number;
  elapsedMs: number;
  states: Record<PortState, number>;
  reasons: Record<PortState, Record<string, number>>;
  ignored: { -readonly [K in keyof EngineCounts["ignored"]]: number };
  sendErrors: Record<string, number>;
}

export const noTotals = (): Totals => ({
  sent: 0,
  retransmitted: 0,
  received: 0,
  late: 0,
  decided: 0,
  receiveDrops: 0,
  elapsedMs: 0,
  states: { open: 0, closed: 0, filtered: 0 },
  reasons: { open: {}, closed: {}, filtered: {} },
  ignored: {
    malformed: 0,
    badChecksum: 0,
    wrongAck: 0,
    oddFlags: 0,
    foreign: 0,
    fragment: 0,
    icmpNoVerdict: 0,
    duplicate: 0,
  },
  sendErrors: {},
});

/** Adds an engine's counts, or other totals, to `totals`. */
export function addTotals(
  totals: Totals,
  counts: Omit<Readonly<EngineCounts>, "started">,
  receiveDrops: number,
): void {
  totals.sent += counts.sent;
  totals.retransmitted += counts.retransmitted;
  totals.received += counts.received;
  totals.late += counts.late;
  totals.decided += counts.decided;
  totals.receiveDrops += receiveDrops;
  addCounts(totals.states, counts.states);
  addCounts(totals.ignored, counts.ignored);
  addCounts(totals.sendErrors, counts.sendErrors);
  for (const state of ["open", "closed", "filtered"] as const) {
    addCounts(totals.reasons[state], counts.reasons[state]);
  }
}

function addCounts(to: Record<string, number>, from: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(from)) to[name] = (to[name] ?? 0) + count;
}
