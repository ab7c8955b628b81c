/** Parts of the source ports: disjoint, and together all of them. What a scan chooses is in test/lab (packet, routes, passed-by). */
import fc from "fast-check";
import { expect, it } from "vitest";
import { portsOf } from "../../../src/runtime/run/means.ts";

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
