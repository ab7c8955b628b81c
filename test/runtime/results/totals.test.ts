/** What totals say of the open ports that were missed: by the doubts, by the ports that were asked once more, or by both. */
import { expect, it } from "vitest";
import { addTotals, noTotals, pathFindings, type Totals } from "../../../src/runtime/results/totals.ts";
import { newCounters } from "../../../src/scan/engine/counters.ts";
import { SILENT_KEPT } from "../../../src/socket/table.ts";

/** Totals of a run that found 1000 open ports and lost answers. */
function totals(silent: number, path: Partial<Totals["path"]>): Totals {
  const all = noTotals();
  all.states.open = 1000;
  all.states.closed = 1000;
  all.reasons.filtered["no-response"] = silent;
  Object.assign(all.path, { answered: 2000, lost: 200, silentTries: 3 * silent, ...path });
  return all;
}
const missed = (silent: number, path: Partial<Totals["path"]>) =>
  pathFindings(totals(silent, path)).missedOpen;

/** So many open ports are missed by the doubts: one in 26 of those that answer. */
const DOUBTS = { missedPorts: 40, doubts: (SILENT_KEPT * 40) / 1040 };
const MANY = { missedPorts: 40, doubts: (5000 * 40) / 1040 };
/** And next to none by the ports that were asked once more. */
const ASKED = { verified: 100_000, verifiedOpen: 0, verifiedClosed: 1 };

it("a reason all of whose ports were corrected is none", () => {
  const counts = newCounters();
  counts.reasons.filtered["host-timeout"] = 0;
  counts.reasons.filtered["no-response"] = 2;
  const sum = noTotals();
  addTotals(sum, counts, 0);
  expect(sum.reasons.filtered).toEqual({ "no-response": 2 });
});

it("goes by the doubts where no silent port was asked once more", () => {
  const { expected, low, high } = missed(SILENT_KEPT, DOUBTS);
  expect(expected).toBeCloseTo(40, 1);
  expect(low).toBeGreaterThan(5);
  expect(low).toBeLessThan(40);
  expect(high).toBeGreaterThan(40);
  expect(pathFindings(totals(9, { missedPorts: 4 })).verified).toBe(undefined);
});

it("goes by those that were asked alone where they stand for all silent ports", () => {
  const found = missed(SILENT_KEPT, { ...DOUBTS, ...ASKED });
  expect(found.expected).toBeLessThan(1);
  expect(found.low).toBe(0);
  expect(found.high).toBeLessThan(10);
});

it("is as wide as both where there are more silent ports than could be asked", () => {
  const silent = SILENT_KEPT + 1;
  expect(missed(silent, { ...DOUBTS, ...ASKED })).toEqual({ ...missed(silent, DOUBTS), low: 0 });
  const many = { verified: 1000, verifiedOpen: 300, verifiedClosed: 300, verifiedLast: 600 };
  const both = missed(silent, { ...DOUBTS, ...many });
  expect(both.low).toBe(missed(silent, DOUBTS).low);
  expect(both.high).toBeGreaterThan(1000);
  expect(both.expected).toBeGreaterThan(1000);
});

it("goes by the doubts where hardly any was asked once more, and none answered", () => {
  const few = { verified: 5, verifiedOpen: 0, verifiedClosed: 0 };
  expect(missed(5000, { ...MANY, ...few })).toEqual(missed(5000, MANY));
  // One that answers tells more than all doubts.
  expect(missed(5000, { ...MANY, ...few, verifiedClosed: 1 }).high).toBeGreaterThan(500);
});

it("allows for what bursts can have hidden without a trace: half of them open, as half of those found are", () => {
  const none = pathFindings(totals(5000, MANY));
  const some = pathFindings(totals(5000, { ...MANY, unseen: 99.5 }));
  expect([none.unseen, some.unseen]).toEqual([undefined, 100]);
  expect(some.missed).toEqual({ ...none.missed, high: none.missed.high + 100 });
  expect(some.missedOpen.low).toBe(none.missedOpen.low);
  expect(some.missedOpen.high - none.missedOpen.high).toBeGreaterThan(55);
  expect(some.missedOpen.high - none.missedOpen.high).toBeLessThan(75);
  const asked = { ...ASKED, unseen: 40 };
  expect(missed(SILENT_KEPT, asked).high - missed(SILENT_KEPT, ASKED).high).toBeGreaterThan(15);
});

it("counts all that answer by the doubts, and adds what hosts withheld", () => {
  // Each silent port has a doubt of 2 %, and 2,000 answered.
  const { missed: all } = pathFindings(totals(5000, { doubts: 100, missedPorts: 20 }));
  expect(all.expected).toBeCloseTo((2000 * 0.02) / 0.98, 1);
  expect(all.low).toBeLessThan(40);
  expect(all.high).toBeGreaterThan(41);
  const { missed: withheld } = pathFindings(totals(5000, { doubts: 100, missedPorts: 20, withheld: 300 }));
  expect(withheld.expected).toBeCloseTo(300 + all.expected, 1);
  expect(withheld.high).toBeGreaterThan(300);
});

it("does not count by send interval where tries were spread in time: an outage hid none that a later try met", () => {
  const outage = { doubts: 0.5, missedPorts: 400, lost: 200 };
  const { expected, low } = missed(5000, { ...outage, silentTries: 4 * 5000 });
  expect(expected).toBeLessThan(1);
  expect(low).toBe(0);
  // With two tries the doubts do not show it.
  expect(missed(5000, { ...outage, silentTries: 2 * 5000 }).expected).toBeGreaterThan(300);
});

it("loss each way is told where enough SYNs to open ports were lost, and of most of them is known whether they arrived", () => {
  // Of a loss of 0.19, 0.1 each way, 0.426 of the lost ones are heard of again.
  const told = (path: Partial<Totals["path"]>) =>
    pathFindings(totals(9, { lost: 190, answered: 810, ...path })).loss;
  const { out = 0, back = 0, round } = told({ openLost: 1000, openArrived: 426, openUnclear: 250 });
  expect([out, back, round].map((loss) => Number(loss.toFixed(2)))).toEqual([0.1, 0.1, 0.19]);
  const untold = { round: expect.closeTo(0.19) };
  expect(told({ openLost: 99, openArrived: 42 })).toEqual(untold);
  expect(told({ openLost: 1000, openArrived: 426, openUnclear: 251 })).toEqual(untold);
});
