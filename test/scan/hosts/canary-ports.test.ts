/** Canaries go to no excluded port, ever, and to a named one only when there is no other. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canaryPorts } from "../../../src/scan/hosts/canary-ports.ts";

const range = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i);

describe("ports of canaries", () => {
  it("are high ones that nobody named", () => {
    const ports = canaryPorts([22, 25_000]);
    expect([ports[0], ports.at(-1), ports.length]).toEqual([20_000, 32_767, 12_767]);
    expect(ports.includes(25_000)).toBe(false);
  });

  it("give way to exclusions, and go where something is left", () => {
    expect(canaryPorts([], range(20_000, 32_767))[0]).toBe(1024);
    expect(canaryPorts([22, 80, 443], range(1024, 65_535))).toEqual(Uint16Array.from(range(1, 1023)));
    expect([...canaryPorts(range(1, 65_535), range(2, 65_535))]).toEqual([1]);
    expect(canaryPorts([22], range(1, 65_535))).toHaveLength(0);
  });

  it("are named only when all are", () => {
    expect(canaryPorts(range(1, 65_535))).toHaveLength(12_768);
    expect([...canaryPorts(range(1, 65_534))]).toEqual([65_535]);
  });

  it("are never excluded", () => {
    const span = fc.tuple(fc.integer({ min: 1, max: 65_535 }), fc.integer({ min: 1, max: 65_535 }));
    fc.assert(
      fc.property(fc.array(span, { maxLength: 4 }), fc.array(span, { maxLength: 4 }), (named, excluded) => {
        const listed = (spans: [number, number][]) =>
          spans.flatMap(([a, b]) => range(Math.min(a, b), Math.max(a, b)));
        const forbidden = new Set(listed(excluded));
        const ports = canaryPorts(listed(named), forbidden);
        expect(ports.every((port) => !forbidden.has(port))).toBe(true);
        if (forbidden.size < 65_535) expect(ports.length).toBeGreaterThan(0);
      }),
      { numRuns: 30 },
    );
  });
});
