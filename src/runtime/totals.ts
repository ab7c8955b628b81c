/**
 * Running totals of a run: of engines that go on, of workers that report, and of what a journal says was counted before.
 */
import { type EngineCounts, newCounts } from "../scan/engine.ts";

/** What is counted, as plain data: it travels between threads and stands in journals. */
export interface Totals extends Omit<EngineCounts, "started"> {
  receiveDrops: number;
  elapsedMs: number;
}

export function noTotals(): Totals {
  const { started: _, ...counts } = newCounts();
  return { ...counts, receiveDrops: 0, elapsedMs: 0 };
}

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
