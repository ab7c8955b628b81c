/** The wall time of monotonic times, by a clock that is set while the process runs. */
import { afterEach, expect, it, vi } from "vitest";
import { nowUs, readWallClock, wallMs } from "../../../src/runtime/system/clock.ts";

afterEach(() => {
  vi.useRealTimers();
  readWallClock();
});

const HOUR_MS = 3_600_000;

it("is the wall clock's as it was when it was read", () => {
  const before = wallMs(nowUs());
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + HOUR_MS });
  expect(wallMs(nowUs()) - before).toBeLessThan(HOUR_MS / 2);
  readWallClock();
  expect(wallMs(nowUs()) - before).toBeGreaterThan(HOUR_MS - 1000);
});
