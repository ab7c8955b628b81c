/** Bare SYNs: which are believed. */
import { expect, it } from "vitest";
import { createSimultaneousOpens } from "../../../src/scan/engine/simultaneous-open.ts";

it("a bare SYN is believed when two tries had one each, and tells the first one's time", () => {
  const simultaneousOpens = createSimultaneousOpens(true, 3);
  expect(simultaneousOpens.hold(5, 0, 100, 60)).toBe(true);
  expect(simultaneousOpens.hold(5, 0, 110, 60)).toBe(false);
  expect(simultaneousOpens.believed(5)).toBeUndefined();
  expect(simultaneousOpens.hold(5, 2, 300, 61)).toBe(true);
  expect(simultaneousOpens.believed(5)).toMatchObject({ attempt: 0, atUs: 100, ttl: 60 });
  expect(simultaneousOpens.believed(6)).toBeUndefined();
  simultaneousOpens.forget(5);
  expect(simultaneousOpens.believed(5)).toBeUndefined();
});

it("one is enough where no second try may follow, and none where all tries share a port", () => {
  const single = createSimultaneousOpens(true, 1);
  single.hold(1, 0, 100, 60);
  expect(single.believed(1)).toBeDefined();
  const shared = createSimultaneousOpens(false, 3);
  shared.hold(1, 0, 100, 60);
  shared.hold(1, 1, 200, 60);
  expect(shared.believed(1)).toBeUndefined();
});
