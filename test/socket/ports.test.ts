/** Source ports: how they go round, that no two tries share one, and the pool that lends them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  choosePortRange,
  createPortPool,
  createSourcePorts,
  partControlPorts,
  sharePorts,
} from "../../src/socket/ports.ts";
import { everyday } from "../everyday.ts";
import { createSeededRandom } from "../sim/random.ts";

describe("source ports", () => {
  it("are drawn evenly, and none tells which is next", () => {
    const ports = createSourcePorts(61_000, 61_099, 42);
    const used = Array.from({ length: 20_000 }, () => ports.portOf(ports.start(80, 3), 0) - 61_000);
    const times = used.reduce((all, port) => all.with(port, all[port] + 1), Array(100).fill(0));
    expect(Math.min(...times)).toBeGreaterThan(140);
    expect(Math.max(...times)).toBeLessThan(260);
    const steps = new Set(used.slice(1).map((port, i) => (port - used[i] + 100) % 100));
    expect(steps.size).toBe(100);
  });

  it("start where the random number says", () => {
    const first = (random: number) => {
      const ports = createSourcePorts(61_000, 65_534, random);
      return ports.portOf(ports.start(80, 3), 0);
    };
    expect(first(7)).toBe(first(7));
    expect(first(7)).not.toBe(first(8));
  });

  it("are different for all tries of a probe, and never the peer's own", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60_000 }),
        fc.integer({ min: 100, max: 5000 }),
        fc.integer({ min: 1, max: 31 }),
        fc.nat(10_000),
        (first, size, tries, random) => {
          const last = first + size - 1;
          const ports = createSourcePorts(first, last, random);
          for (let i = 0; i < 50; i++) {
            const avoid = first + ((random * 31 + i * 7) % size);
            const start = ports.start(avoid, tries);
            const all = Array.from({ length: tries }, (_, attempt) => ports.portOf(start, attempt));
            expect(new Set(all).size).toBe(tries);
            expect(all).not.toContain(avoid);
            expect(all.every((port) => port >= first && port <= last)).toBe(true);
          }
        },
      ),
      { numRuns: everyday(50, 200) },
    );
  });

  it("are one when the user fixed it", () => {
    const ports = createSourcePorts(53, 53, 9);
    expect([ports.size, ports.portOf(ports.start(53, 3), 0), ports.portOf(ports.start(80, 3), 2)]).toEqual([
      1, 53, 53,
    ]);
  });

  it("are parted from those of control probes, where there are enough", () => {
    expect(partControlPorts({ first: 61_000, last: 61_254 })).toEqual({
      ports: { first: 61_000, last: 61_254 },
    });
    expect(partControlPorts({ first: 61_000, last: 61_255 })).toEqual({
      ports: { first: 61_000, last: 61_191 },
      controlPorts: { first: 61_192, last: 61_255 },
    });
  });

  it("refuse a bad range", () => {
    expect(() => createSourcePorts(5, 4, 0)).toThrow(RangeError);
    expect(() => createSourcePorts(1, 65_536, 0)).toThrow(RangeError);
  });
});

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
    expect(() => createPortPool(0, 1, createSeededRandom(1))).toThrow(RangeError);
    expect(createPortPool(65_535, 65_535, createSeededRandom(1)).take(0)).toBe(65_535);
    expect(createPortPool(1, 1, createSeededRandom(1)).take(0)).toBe(1);
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

  it("is shared out: no packet link has a port that a raw one has, unless the kernel has them too", () => {
    expect(sharePorts({ first: 61_000, last: 65_534, shared: false })).toEqual({
      raw: { first: 61_000, last: 64_401 },
      packet: { first: 64_402, last: 65_534 },
    });
    expect(sharePorts({ first: 61_000, last: 61_007, shared: false })).toEqual({
      raw: { first: 61_000, last: 61_005 },
      packet: { first: 61_006, last: 61_007 },
    });
    expect(sharePorts({ first: 61_000, last: 65_534, shared: true })).toEqual({
      raw: { first: 61_000, last: 65_534 },
      packet: { first: 61_000, last: 65_534 },
    });
  });
});
