/** Pairs drawn ahead come out as the source has them, and none is forgotten by the mark up to which all is decided. */
import { expect, it } from "vitest";
import { createDrawAhead } from "../../../src/scan/engine/draw-ahead.ts";
import type { Probe, ProbeSource } from "../../../src/scan/targets/probe-source.ts";
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
const newProbe = (): Probe => ({ words: new Uint32Array(ADDRESS_WORDS), port: 0, path: 0, position: 0 });

it.each([0, 1, 63, 64, 65, 1000])("gives %i pairs in the order of their source, each once", (total) => {
  let touched = 0;
  const { next } = createDrawAhead(
    countdown(total),
    {
      touch: (_, count) => {
        touched += count;
      },
    },
    UNTOUCHED,
  );
  const probe = newProbe();
  for (let position = total - 1; position >= 0; position--) {
    expect(next(probe)).toBe(true);
    expect(probe).toEqual({
      words: new Uint32Array(ADDRESS_WORDS).fill(position),
      port: position,
      path: position % 7,
      position,
    });
  }
  expect(next(probe)).toBe(false);
  expect(next(probe)).toBe(false);
  expect(touched).toBe(total);
});

it("says the lowest position of a pair that it holds", () => {
  const { next, lowestPosition } = createDrawAhead(countdown(100), UNTOUCHED, UNTOUCHED);
  const probe = newProbe();
  expect(lowestPosition()).toBe(Number.POSITIVE_INFINITY);
  next(probe);
  expect(lowestPosition()).toBe(36);
  while (probe.position > 36) next(probe);
  expect(lowestPosition()).toBe(Number.POSITIVE_INFINITY);
  while (next(probe));
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
  const { next, lowestPosition } = createDrawAhead(rising, UNTOUCHED, UNTOUCHED);
  next(newProbe());
  expect(lowestPosition()).toBe(2);
});

it("says of the pair that came out last what the looks ahead found", () => {
  const { next, hash, likelyHost } = createDrawAhead(
    countdown(100),
    {
      touch: (words, count, likely) => {
        for (let i = 0; i < count; i++) likely[i] = words[i * ADDRESS_WORDS] + 1;
      },
    },
    {
      touch: (_, ports, count, hashes) => {
        for (let i = 0; i < count; i++) hashes[i] = ports[i] + 1000;
      },
    },
  );
  const probe = newProbe();
  while (next(probe)) expect([hash(), likelyHost()]).toEqual([probe.position + 1000, probe.position + 1]);
});
