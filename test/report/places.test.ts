/** What several places have found, in words. */
import { expect, test } from "vitest";
import { byPlace, isDifferent } from "../../src/report/places.ts";

const from = (...states: readonly string[]) =>
  states.map((state, i) => ({ place: ["fra", "lon", "nyc"][i], state }));

test("places with the same state stand together", () => {
  expect(byPlace(from("open", "filtered"))).toBe("open from fra, filtered from lon");
  expect(byPlace(from("open", "filtered", "open"))).toBe("open from fra and nyc, filtered from lon");
  expect(byPlace(from("closed"))).toBe("closed from fra");
});

test("a port is different as soon as one place differs", () => {
  expect(isDifferent(from("open", "open", "closed"))).toBe(true);
  expect(isDifferent(from("open", "open"))).toBe(false);
  expect(isDifferent(undefined)).toBe(false);
});
