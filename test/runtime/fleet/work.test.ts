/** What a fleet's worker remembers from one cell to the next; the rest of it: test/lab/fleet.test.ts. */
import { expect, it } from "vitest";
import { createFaults, createFoundRates } from "../../../src/runtime/fleet/work.ts";

it("begins a cell at the rate that the last ones of the same run have found, also when the last was too short to find one", () => {
  const rates = createFoundRates();
  expect(rates.of("a", 0)).toBeUndefined();
  rates.keep("a", 5000, 1e6);
  expect(rates.of("a", 3e6)).toBe(5000);
  rates.keep("a", undefined, 4e6);
  expect(rates.of("a", 5e6)).toBe(5000);
  expect(rates.of("b", 5e6)).toBeUndefined();
  // A path may have changed.
  expect(rates.of("a", 12e6)).toBeUndefined();
  rates.keep("a", 300, 12e6);
  expect(rates.of("a", 12e6)).toBe(300);
});

it("refuses a cell when a fault of this machine has kept it from it for a minute", () => {
  const faults = createFaults();
  const [cell, other] = [1, 2].map((from) => ({ run: "a", from, to: 9 }));
  expect(faults.isLasting(cell, 0)).toBe(false);
  expect(faults.isLasting(cell, 59e6)).toBe(false);
  expect(faults.isLasting(other, 60e6)).toBe(false);
  expect(faults.isLasting(cell, 60e6)).toBe(true);
  faults.end(cell);
  expect(faults.isLasting(cell, 61e6)).toBe(false);
});
