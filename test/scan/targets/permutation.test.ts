/** The order of a run: a bijection of any size, evenly spread, dealt out to shards and workers without rest. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createOrder, createPermutation } from "../../../src/scan/targets/permutation.ts";

const seed64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

/** Every number below the size comes out once, and the inverse leads back: looked at one by one. */
function expectBijection(size: number, seed: bigint): void {
  const { forward, inverse } = createPermutation(size, seed);
  const seen = new Uint8Array(size);
  let wrong = 0;
  for (let place = 0; place < size; place++) {
    const number = forward(place);
    if (!(number >= 0 && number < size) || seen[number] === 1 || inverse(number) !== place) wrong++;
    seen[number] = 1;
  }
  expect(wrong, `size ${size}, seed ${seed}`).toBe(0);
}

describe("a permutation", () => {
  it("of every small size is a bijection", () => {
    for (let size = 1; size <= 300; size++) expectBijection(size, BigInt(size) * 0x9e37_79b9_7f4a_7c15n);
  });

  it.each([
    1021, 1023, 1024, 1025, 4096, 4097, 65_521, 65_535, 65_536, 65_537, 262_144, 262_147, 999_983, 1_000_000,
  ])("of %i is a bijection", (size) => {
    expectBijection(size, 42n);
  });

  it("of any size leads back", () => {
    const sizes = fc.oneof(
      fc.integer({ min: 1, max: 2 ** 32 }),
      fc.maxSafeInteger().map((n) => Math.abs(n) + 1),
      fc.nat(1000).map((less) => 2 ** 53 - less),
      fc.tuple(fc.integer({ min: 1, max: 52 }), fc.integer({ min: -1, max: 1 })).map(([b, d]) => 2 ** b + d),
    );
    fc.assert(
      fc.property(
        sizes,
        seed64,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (size, seed, part) => {
          const { forward, inverse } = createPermutation(size, seed);
          for (const place of [0, size - 1, Math.floor(part * size)]) {
            const number = forward(place);
            expect(Number.isInteger(number) && number >= 0 && number < size).toBe(true);
            expect(inverse(number)).toBe(place);
            expect(forward(inverse(place))).toBe(place);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("is the same for the same seed, and another for any other bit of it", () => {
    const numbers = (seed: bigint) => {
      const { forward } = createPermutation(1e9, seed);
      return Array.from({ length: 50 }, (_, place) => forward(place));
    };
    const first = numbers(7n);
    expect(numbers(7n)).toEqual(first);
    for (let bit = 0n; bit < 64n; bit++) {
      const other = numbers(7n ^ (1n << bit));
      expect(other.filter((number, i) => number === first[i]).length).toBeLessThan(3);
    }
  });

  it("spreads the numbers of every stretch evenly over the whole", () => {
    // 64 stretches of places against 64 of numbers: each cell expects the same count.
    const cells = 64;
    for (const size of [10_007, 65_536, 999_983]) {
      const { forward } = createPermutation(size, 99n);
      const counts = new Float64Array(cells * cells);
      for (let place = 0; place < size; place++) {
        counts[Math.floor((place / size) * cells) * cells + Math.floor((forward(place) / size) * cells)]++;
      }
      const expected = size / cells ** 2;
      const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
      // (cells - 1)^2 degrees of freedom; more than six standard deviations off does not happen by chance.
      const freedom = (cells - 1) ** 2;
      expect(Math.abs(chiSquare - freedom)).toBeLessThan(6 * Math.sqrt(2 * freedom));
    }
  });

  it("keeps neighbours apart", () => {
    const size = 1_000_003;
    const { forward } = createPermutation(size, 3n);
    let near = 0;
    const steps = new Set<number>();
    for (let place = 1; place < 20_000; place++) {
      const stepTaken = forward(place) - forward(place - 1);
      if (Math.abs(stepTaken) < size / 1000) near++;
      steps.add(stepTaken);
    }
    // By chance 0.2 % are as near as that; and hardly any step is taken twice.
    expect(near).toBeLessThan(20_000 * 0.004);
    expect(steps.size).toBeGreaterThan(19_000);
  });

  it("of three and four makes every order, about as often", () => {
    for (const [size, orders] of [
      [3, 6],
      [4, 24],
    ]) {
      const counts = new Map<string, number>();
      const draws = 200 * orders;
      for (let seed = 0; seed < draws; seed++) {
        const { forward } = createPermutation(size, BigInt(seed));
        const order = Array.from({ length: size }, (_, place) => forward(place)).join();
        counts.set(order, (counts.get(order) ?? 0) + 1);
      }
      expect(counts.size).toBe(orders);
    }
  });
});

describe("an order", () => {
  const part = fc.integer({ min: 1, max: 7 });
  it("is dealt out to shards and workers, each pair once", () => {
    fc.assert(
      fc.property(
        fc.nat(2000),
        part,
        part,
        seed64,
        fc.boolean(),
        (total, shards, workers, seed, sequential) => {
          const seen = new Uint8Array(total);
          let wrong = 0;
          for (let s = 0; s < shards; s++) {
            for (let w = 0; w < workers; w++) {
              const order = createOrder(total, {
                seed,
                sequential,
                shard: { index: s, count: shards },
                worker: { index: w, count: workers },
              });
              for (let place = 0; place < order.count; place++) {
                const index = order.indexAt(place);
                if (order.placeOf(index) !== place) wrong++;
                seen[index]++;
              }
            }
          }
          expect([wrong, seen.every((times) => times === 1)]).toEqual([0, true]);
        },
      ),
    );
  });

  it("of workers taken in turn is the shard's own, and of shards the whole", () => {
    const whole = createOrder(1000, { seed: 5n });
    const shard = createOrder(1000, { seed: 5n, shard: { index: 2, count: 3 } });
    for (let place = 0; place < shard.count; place++)
      expect(shard.indexAt(place)).toBe(whole.indexAt(3 * place + 2));
    const worker = createOrder(1000, {
      seed: 5n,
      shard: { index: 2, count: 3 },
      worker: { index: 1, count: 4 },
    });
    for (let place = 0; place < worker.count; place++)
      expect(worker.indexAt(place)).toBe(shard.indexAt(4 * place + 1));
  });

  it("knows what is another's", () => {
    const mine = createOrder(10, { seed: 1n, shard: { index: 0, count: 2 } });
    const other = createOrder(10, { seed: 1n, shard: { index: 1, count: 2 } });
    for (let place = 0; place < other.count; place++) expect(mine.placeOf(other.indexAt(place))).toBe(-1);
  });

  it("may be that of the space, or of nothing", () => {
    const order = createOrder(5, { seed: 1n, sequential: true });
    expect([0, 1, 2, 3, 4].map(order.indexAt)).toEqual([0, 1, 2, 3, 4]);
    expect(createOrder(0, { seed: 1n }).count).toBe(0);
  });
});
