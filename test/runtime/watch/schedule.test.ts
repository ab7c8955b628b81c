/** When rounds are due by a clock that is set, or while the machine sleeps. */
import { describe, expect, it } from "vitest";
import { gapsOf, nextDue, waitUntil } from "../../../src/runtime/watch/schedule.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** Waits six hours; at the end of the first hour by timers, the wall clock goes on by more, or back. @returns for how long timers ran */
async function waitedMs(stepMs: number, isOver = (_: number): boolean => false): Promise<number> {
  let steadyMs = 1000;
  let setMs = 0;
  const startMs = steadyMs;
  const wall = (): number => 1e12 + steadyMs + setMs;
  const wait = async (ms: number): Promise<void> => {
    expect(ms).toBeGreaterThan(0);
    steadyMs += ms;
    if (setMs === 0 && steadyMs - startMs >= HOUR) setMs = stepMs;
  };
  await waitUntil(wall() + 6 * HOUR, wait, () => isOver(steadyMs - startMs), {
    wall,
    steady: () => steadyMs,
  });
  return steadyMs - startMs;
}

describe("a wait for a time of day", () => {
  it("ends at that time", async () => {
    expect(await waitedMs(0)).toBe(6 * HOUR);
  });

  it("ends within a minute of it when the machine has slept, or its clock was set forward", async () => {
    expect(await waitedMs(3 * HOUR)).toBe(3 * HOUR);
    expect(await waitedMs(30 * HOUR)).toBeLessThanOrEqual(HOUR + MINUTE);
  });

  it("takes no longer when the clock was set back, by however much", async () => {
    for (const stepMs of [-2 * HOUR, -30 * 365 * 24 * HOUR])
      expect(await waitedMs(stepMs)).toBe(6 * HOUR + 1000);
    // As where it is set by little, and slowly.
    expect(await waitedMs(-200)).toBe(6 * HOUR + 200);
  });

  it("ends when nobody waits", async () => {
    expect(await waitedMs(0, (ms) => ms >= 2 * HOUR)).toBe(2 * HOUR);
  });
});

describe("the next time", () => {
  const hourly = (afterMs: number): number => afterMs + HOUR;
  it("is the first, when that is to come", () => {
    expect(nextDue(hourly, 5 * HOUR, 4 * HOUR)).toEqual({ dueMs: 5 * HOUR, missed: 0, isCounted: true });
  });

  it("leaves out what has passed, and counts it", () => {
    expect(nextDue(hourly, 5 * HOUR, 7.5 * HOUR)).toEqual({ dueMs: 8 * HOUR, missed: 3, isCounted: true });
  });

  it("is found at once by a clock that was decades behind", () => {
    const nowMs = 1e6 * HOUR;
    expect(nextDue(hourly, HOUR, nowMs)).toEqual({ dueMs: nowMs + HOUR, missed: 10_000, isCounted: false });
  });
});

describe("rounds every ten minutes of the day, and none at night", () => {
  const next = (afterMs: number): number => {
    const atMs = (Math.floor(afterMs / (10 * MINUTE)) + 1) * 10 * MINUTE;
    const hour = Math.floor((atMs % (24 * HOUR)) / HOUR);
    return hour < 9 ? atMs + (9 - hour) * HOUR - (atMs % HOUR) : hour < 18 ? atMs : next(atMs + HOUR);
  };
  it.each([9, 12, 17.8, 20])("are as far apart whenever the watch begins: at %s o'clock", (hour) => {
    const { leastMs, meanMs } = gapsOf(next, 1000 * 24 * HOUR + hour * HOUR);
    expect(leastMs).toBe(10 * MINUTE);
    expect(meanMs / MINUTE).toBeGreaterThan(25);
    expect(meanMs / MINUTE).toBeLessThan(28);
  });
});

describe("a schedule that ends, or comes once a month", () => {
  const WEEK = 7 * 24 * HOUR;
  it.each([
    ["one time left", [5], WEEK, WEEK],
    ["three times, a week not over", [5, 6, 8], HOUR, 1.5 * HOUR],
    ["every thirty days", [5, 725, 1445], 720 * HOUR, 720 * HOUR],
  ])("%s", (_what, hours, leastMs, meanMs) => {
    const next = (afterMs: number): number | undefined =>
      hours.map((hour) => hour * HOUR).find((ms) => ms > afterMs);
    expect(gapsOf(next, 0)).toEqual({ leastMs, meanMs });
  });
});
