/** Pairs drawn ahead come out as the source has them, and none is forgotten by the mark up to which all is decided. */
import { expect, it } from "vitest";
import { createDrawAhead } from "../../../src/scan/engine/draw-ahead.ts";
import type { ProbeSource } from "../../../src/scan/targets/probe-source.ts";
import { ADDRESS_WORDS } from "../../../src/socket/table.ts";

/** Pairs with positions that fall; each has its position in every field. */
function countdown(total: number): ProbeSource {
  let left = total;
  return {
    total,
    next: (probe) => {
      if (left === 0) return false;
      left--;
      probe.words.fill(left);
      probe.port = left;
      probe.path = left % 7;
      probe.position = left;
      return true;
    },
  };
}

const UNTOUCHED = { touch: () => undefined };
const fetchNone = (): void => undefined;

it.each([0, 1, 63, 64, 65, 1000])("gives %i pairs in the order of their source, each once", (total) => {
  let touched = 0;
  const { next, words, ports, paths, positions } = createDrawAhead(
    countdown(total),
    (_, count) => {
      touched += count;
    },
    UNTOUCHED,
  );
  for (let position = total - 1; position >= 0; position--) {
    const i = next();
    expect(words.slice(i * ADDRESS_WORDS, (i + 1) * ADDRESS_WORDS)).toEqual(
      new Uint32Array(ADDRESS_WORDS).fill(position),
    );
    expect([ports[i], paths[i], positions[i]]).toEqual([position, position % 7, position]);
  }
  expect(next()).toBe(-1);
  expect(next()).toBe(-1);
  expect(touched).toBe(total);
});

it("says the lowest position of a pair that it holds", () => {
  const { next, positions, lowestPosition } = createDrawAhead(countdown(100), fetchNone, UNTOUCHED);
  expect(lowestPosition()).toBe(Number.POSITIVE_INFINITY);
  next();
  expect(lowestPosition()).toBe(36);
  while (positions[next()] > 36);
  expect(lowestPosition()).toBe(Number.POSITIVE_INFINITY);
  while (next() >= 0);
  expect(lowestPosition()).toBe(Number.POSITIVE_INFINITY);
});

it("says the lowest of positions that rise, too", () => {
  const { total, next: fall } = countdown(100);
  const rising: ProbeSource = {
    total,
    next: (probe) => {
      if (!fall(probe)) return false;
      probe.position = total - probe.position;
      return true;
    },
  };
  const { next, lowestPosition } = createDrawAhead(rising, fetchNone, UNTOUCHED);
  next();
  expect(lowestPosition()).toBe(2);
});

it("says of each pair what the looks ahead found", () => {
  const { next, positions, hashes, likelyHosts } = createDrawAhead(
    countdown(100),
    (words, count, likely) => {
      for (let i = 0; i < count; i++) likely[i] = words[i * ADDRESS_WORDS] + 1;
    },
    {
      touch: (_, ports, count, hashes) => {
        for (let i = 0; i < count; i++) hashes[i] = ports[i] + 1000;
      },
    },
  );
  for (let i = next(); i >= 0; i = next()) {
    expect([hashes[i], likelyHosts[i]]).toEqual([positions[i] + 1000, positions[i] + 1]);
  }
});
