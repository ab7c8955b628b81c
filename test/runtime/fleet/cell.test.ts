/** What a worker is told of a cell: the same pairs come out as went in, and nothing that was not signed with its key. */
import { expect, it } from "vitest";
import {
  type Cell,
  excludedBy,
  isSigned,
  jobOf,
  OTHER_KEY,
  openCell,
  sealCell,
  sign,
  spansOf,
  targetsOf,
} from "../../../src/runtime/fleet/cell.ts";
import type { PairSpan } from "../../../src/scan/targets/prefixes.ts";
import { address } from "../../sim/run.ts";

const KEY = "a key that both have";
const span = (first: string, last: string, ...ports: number[]): PairSpan => ({
  first: address(first),
  last: address(last),
  ports: Uint16Array.from(ports),
  pairs: 0,
});
const SPANS = [
  span("198.18.0.0", "198.18.0.255", 22, 80, 81, 82, 443),
  span("2001:db8::", "2001:db8::ffff", 22),
  span("198.18.7.7", "198.18.7.7", 22),
];
const CELL: Cell = {
  run: "abc",
  from: 3,
  to: 70,
  pairs: 9,
  targets: targetsOf(SPANS),
  settings: {
    retries: 3,
    verify: "off",
    syn: "minimal",
    waitMs: { initial: 1000, least: 100, most: 10_000 },
    minRate: 1,
    controls: true,
    ttl: 64,
  },
};

it("keeps spans and their ports, those with the same ports together", () => {
  expect(CELL.targets).toEqual([
    { ports: "22,80-82,443", spans: [["198.18.0.0", "198.18.0.255"]] },
    {
      ports: "22",
      spans: [
        ["2001:db8::", "2001:db8::ffff"],
        ["198.18.7.7", "198.18.7.7"],
      ],
    },
  ]);
  expect(spansOf(CELL.targets)).toEqual(SPANS.map(({ pairs: _, ...rest }) => rest));
  const odd = (low: string, high: string) => () => spansOf([{ ports: "22", spans: [[low, high]] }]);
  for (const [low, high] of [
    ["198.18.0.9", "198.18.0.1"],
    ["198.18.0.9", "2001:db8::1"],
    ["name", "198.18.0.1"],
  ])
    expect(odd(low, high)).toThrow(/is no span/);
});

it("may say which ports control SYNs do not go to", () => {
  expect([...excludedBy(CELL.settings)]).toEqual([]);
  expect([...excludedBy({ ...CELL.settings, excludePorts: "1-3,22" })]).toEqual([1, 2, 3, 22]);
});

it("is opened with the key that sealed it, and with no other", () => {
  const sealed = sealCell(CELL, KEY);
  expect(openCell(JSON.parse(JSON.stringify(sealed)), KEY)).toEqual(CELL);
  expect(openCell(sealed, "another key")).toBe(OTHER_KEY);
  expect(openCell(sealed, "")).toBe(OTHER_KEY);
  expect(openCell({ ...sealed, cell: sealCell({ ...CELL, to: 71 }, KEY).cell }, KEY)).toBe(OTHER_KEY);
  expect(openCell({ ...sealed, signature: "" }, KEY)).toBe(OTHER_KEY);
  for (const data of [null, 7, {}, { cell: 1, signature: 2 }]) expect(openCell(data, KEY)).toMatch(/no cell/);
  const newer = { ...CELL, settings: { ...CELL.settings, shiny: 1 } } as Cell;
  expect(openCell(sealCell(newer, KEY), KEY)).toMatch(/another version/);
});

it("signs texts, not their concatenation", () => {
  const signature = sign(KEY, "ab", "c");
  expect(isSigned(signature, KEY, "ab", "c")).toBe(true);
  expect(isSigned(signature, KEY, "a", "bc")).toBe(false);
  expect(isSigned("", KEY, "ab", "c")).toBe(false);
});

it("has a job's name without a colon, which the queue does not take", () => {
  expect(jobOf(CELL)).toBe("cell-3-70");
});
