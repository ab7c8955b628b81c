/** The timing wheel, against a sorted list of deadlines. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createTimerWheel } from "../../src/socket/timer-wheel.ts";

const MS = 1000;

describe("the timing wheel", () => {
  it("expires what is due, and nothing before its time", () => {
    const wheel = createTimerWheel(4, 0);
    wheel.arm(0, 5 * MS);
    wheel.arm(1, 3 * MS);
    wheel.arm(2, 3 * MS + 1);
    expect(wheel.expire(2999)).toBe(-1);
    expect(wheel.expire(3 * MS)).toBe(1);
    expect(wheel.expire(3 * MS)).toBe(-1);
    expect(wheel.expire(4 * MS)).toBe(2);
    expect(wheel.armed()).toBe(1);
    expect(wheel.expire(60 * MS)).toBe(0);
    expect(wheel.next()).toBe(Number.POSITIVE_INFINITY);
  });

  it("shows what it looks at next, in that order, as far as there is room", () => {
    const wheel = createTimerWheel(8, 0);
    const rows = new Int32Array(2);
    expect(wheel.peek(rows)).toBe(0);
    for (const row of [5, 3, 6, 0]) wheel.arm(row, 2 * MS);
    expect(wheel.expire(2 * MS - 1)).toBe(-1);
    expect([wheel.peek(rows), ...rows]).toEqual([2, 0, 6]);
    expect(wheel.expire(2 * MS)).toBe(0);
    expect([wheel.peek(rows), ...rows]).toEqual([2, 6, 3]);
    expect([wheel.expire(2 * MS), wheel.expire(2 * MS)]).toEqual([6, 3]);
    expect([wheel.peek(rows), rows[0]]).toEqual([1, 5]);
    expect(wheel.expire(2 * MS)).toBe(5);
    expect(wheel.peek(rows)).toBe(0);
  });

  it("moves and cancels deadlines", () => {
    const wheel = createTimerWheel(2, 0);
    wheel.arm(0, 5 * MS);
    wheel.arm(1, 5 * MS);
    wheel.arm(0, 9 * MS);
    wheel.cancel(1);
    wheel.cancel(1);
    expect(wheel.expire(8 * MS)).toBe(-1);
    expect(wheel.expire(9 * MS)).toBe(0);
  });

  it("counts from any time on", () => {
    const wheel = createTimerWheel(4, 0);
    wheel.arm(0, 5 * MS, 3 * MS);
    expect(wheel.expire(7 * MS)).toBe(-1);
    expect(wheel.expire(9 * MS)).toBe(0);
  });

  it("holds deadlines beyond its span", () => {
    const wheel = createTimerWheel(1, 0);
    const far = 3_600_000 * MS;
    wheel.arm(0, far);
    let now = 0;
    let wakes = 0;
    while (wheel.expire(now) < 0) {
      expect(wheel.next()).toBeGreaterThan(now);
      expect(wheel.next()).toBeLessThanOrEqual(far);
      now = wheel.next();
      wakes++;
    }
    expect(now).toBe(far);
    expect(wakes).toBeLessThan(1000);
  });

  it("takes a deadline in the past as due at once", () => {
    const wheel = createTimerWheel(1, 0);
    wheel.arm(0, 1);
    expect(wheel.expire(100 * MS)).toBe(0);
    wheel.arm(0, 50 * MS);
    expect(wheel.next()).toBeLessThanOrEqual(101 * MS);
    expect(wheel.expire(101 * MS)).toBe(0);
  });

  it("agrees with a sorted list, whatever is armed, moved, cancelled and when", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("arm" as const), row: fc.nat(15), delay: fc.nat(9_000_000) }),
      fc.record({ kind: fc.constant("cancel" as const), row: fc.nat(15) }),
      fc.record({ kind: fc.constant("pass" as const), time: fc.nat(3_000_000) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(10_000_000), (steps, start) => {
        const wheel = createTimerWheel(16, start);
        const oracle = new Map<number, number>();
        let now = start;
        for (const s of steps) {
          if (s.kind === "arm") {
            wheel.arm(s.row, now + s.delay);
            oracle.set(s.row, now + s.delay);
          } else if (s.kind === "cancel") {
            wheel.cancel(s.row);
            oracle.delete(s.row);
          } else {
            now += s.time;
            for (let row = wheel.expire(now); row >= 0; row = wheel.expire(now)) {
              expect(oracle.get(row)).toBeLessThanOrEqual(now);
              oracle.delete(row);
            }
            // Due at the latest one tick after its deadline.
            for (const deadline of oracle.values()) expect(deadline).toBeGreaterThan(now - MS);
          }
          expect(wheel.armed()).toBe(oracle.size);
          const earliest = Math.min(...oracle.values());
          if (oracle.size > 0) expect(wheel.next()).toBeLessThan(Math.max(earliest, now) + 2 * MS);
        }
      }),
      { numRuns: 500 },
    );
  });
});
