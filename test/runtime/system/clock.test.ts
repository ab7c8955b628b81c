/** The wall time of monotonic times, by a clock that is set while the process runs. */
import { afterEach, expect, it, vi } from "vitest";

afterEach(() => {
  vi.useRealTimers();
  // Another file's clock is not to be ahead.
  vi.resetModules();
});

const HOUR_MS = 3_600_000;

it("is the wall clock's as it was when it was read, and never goes back", async () => {
  vi.resetModules();
  const { nowUs, readWallClock, wallMs } = await import("../../../src/runtime/system/clock.ts");
  const before = wallMs(nowUs());
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + HOUR_MS });
  expect(wallMs(nowUs()) - before).toBeLessThan(HOUR_MS / 2);
  readWallClock();
  expect(wallMs(nowUs()) - before).toBeGreaterThan(HOUR_MS - 1000);
  vi.setSystemTime(Date.now() - 2 * HOUR_MS);
  readWallClock();
  expect(wallMs(nowUs()) - before).toBeGreaterThan(HOUR_MS - 1000);
});
