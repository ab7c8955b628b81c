/** What is reckoned from the kernel's clocks: how old a packet is by its time stamp. Needs no privileges. */
import { expect, it } from "vitest";
import { ageOf } from "../../../src/link/sys/libc.ts";

const NOW = 1.7e15;
const MINUTE = 60e6;

it.each([
  [0, 0],
  [1, 1],
  [1500.7, 1500],
  [MINUTE - 1, MINUTE - 1],
])("a packet that came %d us ago is %d us old", (before, age) => {
  expect(ageOf(NOW - before, NOW)).toBe(age);
});

it.each([
  ["no stamp", 0],
  ["a clock set forward by a minute or more in between", NOW - MINUTE],
  ["a clock set forward by an hour", NOW - 60 * MINUTE],
  ["a clock set back by an hour", NOW + 60 * MINUTE],
])("%s: it came now", (_what, stamp) => {
  expect(ageOf(stamp, NOW)).toBe(0);
});

it("the wall clock is stepped back by less: it is from the future, by as much", () => {
  expect(ageOf(NOW + 2500, NOW)).toBe(-2500);
});
