/** Parts of the source ports: disjoint, and together all of them. What a scan chooses is in test/lab (packet, routes, passed-by). */
import fc from "fast-check";
import { expect, it } from "vitest";
import { bestWorkers, portsOf } from "../../../src/runtime/run/means.ts";

it("parts source ports into ranges that follow on each other", () => {
  const range = fc.tuple(
    fc.integer({ min: 1, max: 65_535 }),
    fc.integer({ min: 1, max: 64 }),
    fc.nat(65_534),
  );
  fc.assert(
    fc.property(range, ([first, count, more]) => {
      fc.pre(first + more <= 65_535 && count <= more + 1);
      const all = { first, last: first + more };
      let next = first;
      for (let index = 0; index < count; index++) {
        const part = portsOf(all, { index, count });
        expect(part.first).toBe(next);
        expect(part.last).toBeGreaterThanOrEqual(part.first);
        next = part.last + 1;
      }
      expect(next).toBe(all.last + 1);
      expect(portsOf(all)).toEqual(all);
    }),
  );
});

it("takes several workers where all of them have something to do, and one for a low limit of hosts or networks, which each keeps for itself", () => {
  const rate = { minimum: 10, maximum: 1_000_000 };
  expect(bestWorkers(10_000_000, { rate }, 8)).toBe(4);
  expect(bestWorkers(10_000_000, { rate }, 2)).toBe(1);
  expect(bestWorkers(300_000, { rate }, 8)).toBe(2);
  expect(bestWorkers(10_000_000, { rate, ratePerHost: 1 }, 8)).toBe(1);
  expect(bestWorkers(10_000_000, { rate, ratePerHost: 1000, ratePerPrefix: 100 }, 8)).toBe(1);
  expect(bestWorkers(10_000_000, { rate, ratePerPrefix: 300 }, 8)).toBe(3);
});
