/** What totals say of the open ports that were missed: by the doubts, by the ports that were asked once more, or by both. */
import { expect, it } from "vitest";
import { noTotals, pathFindings, type Totals } from "../../../src/runtime/results/totals.ts";
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

/** So many open ports are missed by the doubts. */
const DOUBTS = { missedPorts: 40 };
/** And next to none by the ports that were asked once more. */
const ASKED = { verified: 100_000, verifiedOpen: 0, verifiedClosed: 1 };

it("goes by the doubts where no silent port was asked once more", () => {
  const { expected, low, high } = missed(SILENT_KEPT, DOUBTS);
  expect(expected).toBeCloseTo(40, 1);
  expect(low).toBeGreaterThan(5);
  expect(low).toBeLessThan(40);
  expect(high).toBeGreaterThan(40);
  expect(pathFindings(totals(9, DOUBTS)).verified).toBe(undefined);
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
  const many = { verified: 1000, verifiedOpen: 300, verifiedClosed: 300 };
  const both = missed(silent, { ...DOUBTS, ...many });
  expect(both.low).toBe(missed(silent, DOUBTS).low);
  expect(both.high).toBeGreaterThan(1000);
  expect(both.expected).toBeGreaterThan(1000);
});
