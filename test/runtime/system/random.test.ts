/** Random bytes: the kernel's, whatever stands in the place of its device. */
import { describe, expect, it } from "vitest";
import { createRandom, randomSeed, secret } from "../../../src/runtime/system/random.ts";

const distinct = (bytes: Uint8Array): number => new Set(bytes).size;

describe("random bytes", () => {
  it.each([undefined, "/dev/zero", "/dev/null", "/nowhere", "/", "/etc/hostname"])(
    "are as many as asked for, and random, with %s as the device",
    (device) => {
      const bytes = secret(4096, device);
      expect(bytes).toHaveLength(4096);
      // All but one in 2^20 or fewer draws have every value of a byte.
      expect(distinct(bytes)).toBeGreaterThan(250);
      expect(secret(4096, device)).not.toEqual(bytes);
    },
  );

  it("make numbers of the whole range, each time others", () => {
    const random = createRandom();
    const dice = Array.from({ length: 3000 }, () => random(6));
    expect([...new Set(dice)].sort()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(Array.from({ length: 3000 }, () => random(6))).not.toEqual(dice);
    expect(Array.from({ length: 100 }, () => random(2 ** 32)).some((each) => each > 2 ** 31)).toBe(true);
  });

  it("make seeds of the whole range, each time others", () => {
    const seeds = Array.from({ length: 100 }, randomSeed);
    expect(new Set(seeds).size).toBe(100);
    for (const bit of [0n, 31n, 32n, 63n]) expect(seeds.some((seed) => (seed >> bit) & 1n)).toBe(true);
    expect(seeds.every((seed) => seed >= 0n && seed < 1n << 64n)).toBe(true);
  });
});
