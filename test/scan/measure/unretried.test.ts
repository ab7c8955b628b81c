/** What has yet to be retried: the oldest of it, for as long as an answer takes. */
import { expect, it } from "vitest";
import { createUnretried } from "../../../src/scan/measure/unretried.ts";

const NONE = Number.POSITIVE_INFINITY;
const ANSWER_US = 80_000;

it("is the oldest SYN whose next try is due, and none before any is", () => {
  const unretried = createUnretried();
  expect(unretried.sinceUs()).toBe(NONE);
  unretried.note(1_000_000, 400_000, ANSWER_US);
  expect(unretried.sinceUs()).toBe(400_000);
  unretried.note(1_001_000, 300_000, ANSWER_US);
  expect(unretried.sinceUs()).toBe(300_000);
});

it("is known still while the answer to its next try is on its way, and no longer", () => {
  const unretried = createUnretried();
  unretried.note(1_000_000, 400_000, ANSWER_US);
  for (let us = 5000; us <= ANSWER_US; us += 5000) {
    unretried.note(1_000_000 + us, NONE, ANSWER_US);
    expect(unretried.sinceUs()).toBe(400_000);
  }
  for (let us = 5000; us <= ANSWER_US / 2; us += 5000)
    unretried.note(1_000_000 + ANSWER_US + us, NONE, ANSWER_US);
  expect(unretried.sinceUs()).toBe(NONE);
});
