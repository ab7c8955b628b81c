/**
 * What a run probes, in its order: the workers of a run have each pair once, go on after an interruption with what is left and
 * nothing else, and find each address's path.
 */
import { describe, expect, it } from "vitest";
import { createOrder } from "../../../src/scan/targets/permutation.ts";
import type { Probe } from "../../../src/scan/targets/probe-source.ts";
import { createPathFinder, createSource } from "../../../src/scan/targets/source.ts";
import type { Space } from "../../../src/scan/targets/space.ts";
import { createSpaceBuilder } from "../../../src/scan/targets/space-builder.ts";
import { ADDRESS_WORDS, loadAddress, storeAddress } from "../../../src/socket/table.ts";
import { formatAddress } from "../../../src/wire/address.ts";
import { address } from "../../sim/run.ts";

const words = (...hosts: string[]): Uint32Array => {
  const all = new Uint32Array(hosts.length * ADDRESS_WORDS);
  for (const [i, host] of hosts.entries()) {
    const bytes = address(host);
    loadAddress(all, i * ADDRESS_WORDS, bytes, 0, bytes.length);
  }
  return all;
};

/** Two networks apart from each other, by paths 5 and 2. */
const PATHS = {
  first: words("198.18.0.0", "198.18.4.0"),
  last: words("198.18.0.255", "198.18.4.127"),
  path: Uint16Array.of(5, 2),
};

describe("the path of an address", () => {
  it("is that of the range that holds it, its ends included; -1 where none does", () => {
    const pathOf = createPathFinder(PATHS);
    const expected: [string, number][] = [
      ["198.17.255.255", -1],
      ["198.18.0.0", 5],
      ["198.18.0.255", 5],
      ["198.18.1.0", -1],
      ["198.18.3.255", -1],
      ["198.18.4.0", 2],
      ["198.18.4.127", 2],
      ["198.18.4.128", -1],
      ["2001:db8::1", -1],
    ];
    // Whichever was asked for before: the last range found is looked at first.
    for (const [before] of expected) {
      for (const [host, path] of expected) {
        pathOf(words(before), 0);
        expect(pathOf(words(host), 0), `${host} after ${before}`).toBe(path);
      }
    }
  });
});

const builder = createSpaceBuilder();
builder.add(address("198.18.0.0"), address("198.18.0.9"), Uint16Array.of(80, 443));
builder.add(address("198.18.4.0"), address("198.18.4.9"), Uint16Array.of(22));
const space = builder.build("another");
const SEED = 11n;

/** What one of `count` workers gets. */
function share(
  index: number,
  count: number,
  done?: { from: number; isDone: (position: number) => boolean } | { within: Space },
) {
  const worker = { index, count };
  const order = createOrder(space.total, { seed: SEED, worker });
  return createSource({ space, order, worker, paths: PATHS, ...done });
}

function all(source: ReturnType<typeof share>): { pair: string; path: number; position: number }[] {
  const probe: Probe = { words: new Uint32Array(ADDRESS_WORDS), port: 0, path: 0, position: 0 };
  const found = [];
  while (source.next(probe)) {
    const pair = `${formatAddress(storeAddress(probe.words, 0, 4))}:${probe.port}`;
    found.push({ pair, path: probe.path, position: probe.position });
  }
  return found;
}

describe("the sources of a run", () => {
  it.each([1, 2, 3, 7, 40])("give %i workers each pair once, by its path", (count) => {
    const found = Array.from({ length: count }, (_, i) => all(share(i, count))).flat();
    expect(new Set(found.map(({ pair }) => pair)).size).toBe(30);
    expect(found).toHaveLength(30);
    for (const { pair, path } of found) expect(path, pair).toBe(pair.startsWith("198.18.0.") ? 5 : 2);
    // Positions are the run's: all of 0 to 29.
    expect(found.map(({ position }) => position).sort((a, b) => a - b)).toEqual([...Array(30).keys()]);
  });

  it("say how many they will give at most, and which position is next", () => {
    const source = share(1, 4);
    expect(source.total).toBe(8);
    expect(source.nextPosition).toBe(1);
    const probe: Probe = { words: new Uint32Array(ADDRESS_WORDS), port: 0, path: 0, position: 0 };
    source.next(probe);
    expect([probe.position, source.nextPosition]).toEqual([1, 5]);
    expect(all(source)).toHaveLength(7);
    expect(source.nextPosition).toBe(Number.POSITIVE_INFINITY);
  });

  it("leave out what is not within the run any more, and move no other pair", () => {
    builder.exclude(address("198.18.0.3"), address("198.18.4.0"));
    builder.excludePorts(Uint16Array.of(443));
    const within = builder.build();
    const whole = [0, 1, 2].flatMap((i) => all(share(i, 3)));
    const rest = [0, 1, 2].flatMap((i) => all(share(i, 3, { within })));
    expect(rest).toHaveLength(3 + 9);
    expect(rest).toEqual(whole.filter(({ pair }) => /0\.[012]:80$|4\.[1-9]:22$/.test(pair)));
  });

  it.each([0, 1, 7, 8, 29, 30, 99])(
    "leave out what is below position %i, and what is done above it",
    (from) => {
      const isDone = (position: number): boolean => position % 5 === 0;
      const whole = [0, 1, 2].flatMap((i) => all(share(i, 3)));
      const rest = [0, 1, 2].flatMap((i) => all(share(i, 3, { from, isDone })));
      expect(rest).toEqual(whole.filter(({ position }) => position >= from && !isDone(position)));
      const most = [0, 1, 2].map((i) => share(i, 3, { from, isDone }).total).reduce((a, b) => a + b);
      expect(most).toBe(whole.filter(({ position }) => position >= from).length);
    },
  );
});
