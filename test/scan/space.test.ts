import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Probe } from "../../src/scan/engine.ts";
import { claimPairs, createSpaceSource, type SpaceTarget } from "../../src/scan/space.ts";
import { target } from "../sim/run.ts";

const named = (name: string, host: string, ...ports: number[]): SpaceTarget => ({
  ...target(host, ...ports),
  name,
});

/** All pairs a source gives, as "target:port". */
function pairs(targets: readonly SpaceTarget[]): string[] {
  const source = createSpaceSource(
    targets,
    targets.map((_, i) => 100 + i),
  );
  const probe: Probe = { words: new Uint32Array(4), port: 0, path: 0, target: 0 };
  const found: string[] = [];
  while (source.next(probe)) {
    expect(probe.path).toBe(100 + probe.target);
    expect(probe.words[3] & 0xff).toBe(targets[probe.target].address[3]);
    found.push(`${probe.target}:${probe.port}`);
  }
  expect(found).toHaveLength(source.total);
  return found;
}

describe("claimed pairs", () => {
  it("go to the target that mentions them first, under the name it gave", () => {
    const claimed = claimPairs([
      target("198.18.0.1", 22, 80),
      named("a.test", "198.18.0.1", 80, 443),
      target("198.18.0.1", 21),
      named("b.test", "198.18.0.1", 443),
      target("198.18.0.2", 80),
    ]);
    expect(claimed.map(({ name, ports }) => [name, [...ports]])).toEqual([
      [undefined, [21, 22, 80]],
      ["a.test", [443]],
      [undefined, [80]],
    ]);
  });

  it("are each claimed once, and none is lost", () => {
    const targets = fc.array(
      fc.record({
        host: fc.nat(3),
        name: fc.option(fc.constantFrom("a", "b"), { nil: undefined }),
        ports: fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 1 }),
      }),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(targets, (specs) => {
        const given = specs.map(({ host, name, ports }) =>
          name === undefined
            ? target(`198.18.0.${host}`, ...ports.sort())
            : named(name, `198.18.0.${host}`, ...ports.sort()),
        );
        const list = (all: readonly SpaceTarget[]) =>
          all.flatMap(({ address, ports }) => [...ports].map((p) => `${address}:${p}`));
        const claimed = list(claimPairs(given));
        expect(new Set(claimed).size).toBe(claimed.length);
        expect(new Set(claimed)).toEqual(new Set(list(given)));
      }),
    );
  });
});

describe("many targets", () => {
  it("a hundred thousand hosts, and sixteen thousand lines about one, are settled in one pass", () => {
    const hosts = Array.from({ length: 100_000 }, (_, i) =>
      target(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, 80),
    );
    expect(claimPairs(hosts)).toHaveLength(100_000);
    const lines = Array.from({ length: 16_000 }, (_, i) => target("198.18.0.1", i + 1));
    const [one, ...none] = claimPairs(lines);
    expect(none).toEqual([]);
    expect(one.ports).toHaveLength(16_000);
  });
});

describe("the order", () => {
  it("goes round the targets, so that none gets its probes in a row", () => {
    expect(
      pairs([target("198.18.0.1", 1, 2, 3), target("198.18.0.2", 7), target("198.18.0.3", 8, 9)]),
    ).toEqual(["0:1", "1:7", "2:8", "0:2", "2:9", "0:3"]);
  });

  it("is empty for no targets", () => {
    expect(pairs([])).toEqual([]);
  });

  it("has every pair once", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 9 }), (counts) => {
        const targets = counts.map((n, i) =>
          target(`198.18.0.${i}`, ...Array.from({ length: n }, (_, p) => p + 1)),
        );
        const found = pairs(targets);
        expect(new Set(found).size).toBe(counts.reduce((a, b) => a + b, 0));
      }),
    );
  });
});
