/** Refused sends: how long one waits, when all wait, and what ends it. */
import { describe, expect, it } from "vitest";
import { createSendBackoff } from "../../../src/scan/engine/send-backoff.ts";

const MS = 1000;

describe("a refused probe", () => {
  it("waits twice as long each time, half a second at most", () => {
    const sendBackoff = createSendBackoff();
    const timeouts = [0, 1, 2, 3, 10, 127].map((often) => {
      sendBackoff.departed();
      return (sendBackoff.retryAt(often, "again", 7 * MS) - 7 * MS) / MS;
    });
    expect(timeouts).toEqual([5, 10, 20, 40, 500, 500]);
    expect(sendBackoff.isPaused(7 * MS)).toBe(false);
    expect(sendBackoff.isStalled()).toBe(false);
  });

  it("is remembered with its reason until it is forgotten", () => {
    const sendBackoff = createSendBackoff();
    sendBackoff.note(3, "ENETUNREACH");
    expect([sendBackoff.errnoOf(3), sendBackoff.errnoOf(4)]).toEqual(["ENETUNREACH", undefined]);
    sendBackoff.forget(3);
    expect(sendBackoff.errnoOf(3)).toBeUndefined();
  });
});

describe("without a route", () => {
  it("one waits and the others do not, but where nothing leaves, that is known since the first refusal", () => {
    const sendBackoff = createSendBackoff();
    expect(sendBackoff.retryAt(1, "routeless", 7 * MS)).toBe(17 * MS);
    expect(sendBackoff.isPaused(7 * MS)).toBe(false);
    expect(sendBackoff.stalledUs(9 * MS)).toBe(2 * MS);
    sendBackoff.departed();
    expect(sendBackoff.isStalled()).toBe(false);
  });
});

describe("all of them", () => {
  it("pause when nothing has left between 64 refusals", () => {
    const sendBackoff = createSendBackoff();
    for (let i = 0; i < 63; i++) sendBackoff.retryAt(1, "again", 0);
    sendBackoff.departed();
    for (let i = 0; i < 63; i++) sendBackoff.retryAt(1, "again", 0);
    expect(sendBackoff.isPaused(0)).toBe(false);
    sendBackoff.retryAt(1, "again", 0);
    expect([sendBackoff.isPaused(4999), sendBackoff.isPaused(5 * MS)]).toEqual([true, false]);
    expect(sendBackoff.isStalled()).toBe(true);
  });

  it("pause at once, and longer and longer, while the interface is away; the refusals of one batch are one", () => {
    const sendBackoff = createSendBackoff();
    const pauses: number[] = [];
    let now = 100 * MS;
    for (let round = 0; round < 9; round++) {
      for (let i = 0; i < 5; i++) expect(sendBackoff.retryAt(9, "away", now)).toBe(now + 5 * MS);
      pauses.push((sendBackoff.pausedUntil() - now) / MS);
      now = sendBackoff.pausedUntil();
    }
    expect(pauses).toEqual([5, 10, 20, 40, 80, 160, 320, 500, 500]);
    expect(sendBackoff.stalledUs(now)).toBe(now - 100 * MS);
    sendBackoff.departed();
    expect([sendBackoff.isStalled(), sendBackoff.stalledUs(now)]).toEqual([false, 0]);
    sendBackoff.retryAt(0, "away", now);
    expect(sendBackoff.pausedUntil()).toBe(now + 5 * MS);
  });
});
