import { describe, expect, it } from "vitest";
import { choosePortRange, createPortPool, createSinglePortPool } from "../../src/socket/ports.ts";
import { createSeededRandom } from "../sim/random.ts";

describe("the port pool", () => {
  it("lends every port once before it lends one again", () => {
    const pool = createPortPool(61_000, 61_099, createSeededRandom(1));
    const lent = Array.from({ length: 100 }, () => pool.take(0));
    expect(new Set(lent).size).toBe(100);
    expect(Math.min(...lent)).toBe(61_000);
    expect(Math.max(...lent)).toBe(61_099);
    expect(pool.take(0)).toBe(0);
    expect(pool.available).toBe(0);
  });

  it("lends the port that was returned longest ago", () => {
    const pool = createPortPool(61_000, 61_003, createSeededRandom(1));
    const [a, b, c, d] = [pool.take(0), pool.take(0), pool.take(0), pool.take(0)];
    for (const port of [c, a, d, b]) pool.giveBack(port);
    expect([pool.take(0), pool.take(0), pool.take(0), pool.take(0)]).toEqual([c, a, d, b]);
  });

  it("is in an order of its own for every random source", () => {
    const order = (seed: number) => {
      const pool = createPortPool(61_000, 61_999, createSeededRandom(seed));
      return Array.from({ length: 1000 }, () => pool.take(0)).join();
    };
    expect(order(1)).toBe(order(1));
    expect(order(1)).not.toBe(order(2));
  });

  it("never lends the port to avoid, not even as the last one", () => {
    const pool = createPortPool(61_000, 61_009, createSeededRandom(1));
    const lent = Array.from({ length: 10 }, () => pool.take(61_005));
    expect(lent.filter((port) => port !== 0)).toHaveLength(9);
    expect(lent).not.toContain(61_005);
    expect(pool.take(0)).toBe(61_005);
  });

  it("stays in balance under random use", () => {
    const random = createSeededRandom(9);
    const pool = createPortPool(61_000, 61_049, random);
    const out = new Set<number>();
    for (let i = 0; i < 20_000; i++) {
      if (random(2) === 0) {
        const port = pool.take(61_000 + random(50));
        if (port !== 0) {
          expect(out.has(port)).toBe(false);
          out.add(port);
        }
      } else if (out.size > 0) {
        const port = [...out][random(out.size)];
        out.delete(port);
        pool.giveBack(port);
      }
      expect(pool.available).toBe(50 - out.size);
    }
  });

  it("refuses a port that it did not lend, and a bad range", () => {
    const pool = createPortPool(61_000, 61_001, createSeededRandom(1));
    expect(() => pool.giveBack(61_000)).toThrow(RangeError);
    pool.take(0);
    expect(() => pool.giveBack(80)).toThrow(RangeError);
    expect(() => createPortPool(5, 4, createSeededRandom(1))).toThrow(RangeError);
    expect(() => createPortPool(1, 65_536, createSeededRandom(1))).toThrow(RangeError);
  });

  it("with one port lends that one always", () => {
    const pool = createSinglePortPool(53);
    expect([pool.take(0), pool.take(53), pool.available]).toEqual([53, 53, Number.POSITIVE_INFINITY]);
  });
});

describe("the range of a run", () => {
  it.each([
    // Linux's default, a wide kernel range, one that reaches the top, one that takes everything
    [32_768, 60_999, { first: 61_000, last: 65_534, shared: false }],
    [32_768, 62_000, { first: 62_001, last: 65_534, shared: false }],
    [32_768, 65_535, { first: 20_000, last: 32_767, shared: false }],
    [1024, 65_535, { first: 61_000, last: 65_534, shared: true }],
    [1024, 50_000, { first: 61_000, last: 65_534, shared: false }],
  ])("beside the kernel's %i-%i", (first, last, expected) => {
    expect(choosePortRange(first, last)).toEqual(expected);
  });
});
