/** Which pairs are probed through both links. That they are, and what follows: test/lab/passed-by.test.ts. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { thinned } from "../../../src/runtime/run/compare-links.ts";
import { createOrder } from "../../../src/scan/targets/permutation.ts";

it("a few of the run's own shard, of any size", () => {
  fc.assert(
    fc.property(
      fc.record({
        total: fc.integer({ min: 10_000, max: 10_000_000 }),
        seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        count: fc.integer({ min: 1, max: 100 }),
        part: fc.double({ min: 0, max: 0.99, noNaN: true }),
        sequential: fc.boolean(),
      }),
      ({ total, seed, count, part, sequential }) => {
        const order = { seed, sequential, shard: { index: Math.floor(part * count), count } };
        const whole = createOrder(total, order);
        const few = createOrder(total, thinned(order, total));
        expect(few.count).toBeGreaterThanOrEqual(8);
        expect(few.count).toBeLessThanOrEqual(16);
        for (let place = 0; place < few.count; place++) {
          expect(whole.placeOf(few.indexAt(place))).toBeGreaterThanOrEqual(0);
        }
      },
    ),
  );
});
