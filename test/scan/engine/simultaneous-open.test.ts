/** Bare SYNs: which are believed. */
import { expect, it } from "vitest";
import { createSplitSyns } from "../../../src/scan/engine/simultaneous-open.ts";

it("a bare SYN is believed when two tries had one each, and tells the first one's time", () => {
  const splitSyns = createSplitSyns(true, 3);
  expect(splitSyns.hold(5, 0, 100, 60)).toBe(true);
  expect(splitSyns.hold(5, 0, 110, 60)).toBe(false);
  expect(splitSyns.believed(5)).toBeUndefined();
  expect(splitSyns.hold(5, 2, 300, 61)).toBe(true);
  expect(splitSyns.believed(5)).toMatchObject({ attempt: 0, atUs: 100, ttl: 60 });
  expect(splitSyns.believed(6)).toBeUndefined();
  splitSyns.forget(5);
  expect(splitSyns.believed(5)).toBeUndefined();
});

it("one is enough where no second try may follow, and none where all tries share a port", () => {
  const single = createSplitSyns(true, 1);
  single.hold(1, 0, 100, 60);
  expect(single.believed(1)).toBeDefined();
  const shared = createSplitSyns(false, 3);
  shared.hold(1, 0, 100, 60);
  shared.hold(1, 1, 200, 60);
  expect(shared.believed(1)).toBeUndefined();
});
