/** The log of rate changes: growth in one entry, and a bound. */
import { expect, it } from "vitest";
import { createRateChangeLog } from "../../../src/scan/congestion/rate-change.ts";
import type { RateChange, RateChangeReason } from "../../../src/scan/probe/result.ts";

const change = (reason: RateChangeReason, fromRate: number, toRate: number, atUs: number): RateChange => ({
  reason,
  fromRate,
  toRate,
  atUs,
});

it("joins the steps of one growth, and hands it over when it has ended", () => {
  const log = createRateChangeLog();
  log.add(change("queue-grew", 2000, 1000, 1));
  log.add(change("no-queue", 1000, 1030, 2));
  log.add(change("no-queue", 1030, 1090, 3));
  expect(log.take(false)).toEqual([change("queue-grew", 2000, 1000, 1)]);
  log.add(change("no-queue", 1090, 1210, 4));
  expect(log.take(false)).toEqual([]);
  log.add(change("fewer-answered", 1210, 900, 5));
  expect(log.take(false)).toEqual([
    change("no-queue", 1000, 1210, 4),
    change("fewer-answered", 1210, 900, 5),
  ]);
});

it("hands over growth that goes on at the end of the run", () => {
  const log = createRateChangeLog();
  log.add(change("no-queue", 1000, 1030, 2));
  expect(log.take(true)).toEqual([change("no-queue", 1000, 1030, 2)]);
  expect(log.take(true)).toEqual([]);
});

it("keeps the latest changes when nobody takes them", () => {
  const log = createRateChangeLog();
  for (let i = 0; i < 1000; i++) log.add(change("queue-grew", i + 1, i, i));
  const taken = log.take(true);
  expect(taken.length).toBe(256);
  expect(taken.at(-1)?.atUs).toBe(999);
});
