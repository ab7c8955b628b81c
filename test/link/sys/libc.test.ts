/**
 * What is reckoned from the kernel's clocks: how old a packet is by its time stamp; and what the event loop does once a descriptor can
 * be read. Needs no privileges.
 */
import { closeSync, openSync } from "node:fs";
import { expect, it } from "vitest";
import { ageOf, watchReadable } from "../../../src/link/sys/libc.ts";

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

it("what a readable descriptor settles does not wait for the loop's next timer", async () => {
  const fd = openSync("/dev/random", "r");
  let isSettled = false;
  const settledBeforeTimer = await new Promise<boolean>((resolve) => {
    const stop = watchReadable(
      fd,
      () => {
        stop();
        Promise.resolve().then(() => {
          isSettled = true;
        });
        setTimeout(() => resolve(isSettled), 50);
      },
      () => {},
    );
  });
  closeSync(fd);
  expect(settledBeforeTimer).toBe(true);
});
