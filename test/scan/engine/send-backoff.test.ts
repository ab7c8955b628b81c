/** Refused sends: how long one waits, when all wait, and what ends it. */
import { describe, expect, it } from "vitest";
import { createRefusals } from "../../../src/scan/engine/send-backoff.ts";

const MS = 1000;

describe("a refused probe", () => {
  it("waits twice as long each time, half a second at most", () => {
    const refusals = createRefusals();
    const waits = [0, 1, 2, 3, 10, 127].map((often) => {
      refusals.departed();
      return (refusals.retryAt(often, false, 7 * MS) - 7 * MS) / MS;
    });
    expect(waits).toEqual([5, 10, 20, 40, 500, 500]);
    expect(refusals.isPaused(7 * MS)).toBe(false);
    expect(refusals.isStalled()).toBe(false);
  });

  it("is remembered with its reason until it is forgotten", () => {
    const refusals = createRefusals();
    refusals.note(3, "ENETUNREACH");
    expect([refusals.errnoOf(3), refusals.errnoOf(4)]).toEqual(["ENETUNREACH", undefined]);
    refusals.forget(3);
    expect(refusals.errnoOf(3)).toBeUndefined();
  });
});

describe("all of them", () => {
  it("pause when nothing has left between 64 refusals", () => {
    const refusals = createRefusals();
    for (let i = 0; i < 63; i++) refusals.retryAt(1, false, 0);
    refusals.departed();
    for (let i = 0; i < 63; i++) refusals.retryAt(1, false, 0);
    expect(refusals.isPaused(0)).toBe(false);
    refusals.retryAt(1, false, 0);
    expect([refusals.isPaused(4999), refusals.isPaused(5 * MS)]).toEqual([true, false]);
    expect(refusals.isStalled()).toBe(true);
  });

  it("pause at once, and longer and longer, while the interface is away; the refusals of one batch are one", () => {
    const refusals = createRefusals();
    const pauses: number[] = [];
    let now = 100 * MS;
    for (let round = 0; round < 9; round++) {
      for (let i = 0; i < 5; i++) expect(refusals.retryAt(9, true, now)).toBe(now + 5 * MS);
      pauses.push((refusals.pausedUntil() - now) / MS);
      now = refusals.pausedUntil();
    }
    expect(pauses).toEqual([5, 10, 20, 40, 80, 160, 320, 500, 500]);
    expect(refusals.stalledUs(now)).toBe(now - 100 * MS);
    refusals.departed();
    expect([refusals.isStalled(), refusals.stalledUs(now)]).toEqual([false, 0]);
    refusals.retryAt(0, true, now);
    expect(refusals.pausedUntil()).toBe(now + 5 * MS);
  });
});
