/** Send intervals and their fates, compared with a plain list. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSendIntervals, FATES } from "../../../src/scan/measure/send-intervals.ts";

const KINDS = Object.values(FATES);

describe("send intervals", () => {
  it("count each fate separately", () => {
    expect(new Set(KINDS).size).toBe(KINDS.length);
  });

  it("are older than a time when they began before it", () => {
    const intervals = createSendIntervals();
    intervals.begin(1000, 1);
    intervals.begin(2000, 1);
    expect([1499, 1500, 1501].map((nowUs) => intervals.isOlder(0, nowUs, 500))).toEqual([false, false, true]);
    expect(intervals.isOlder(1, 2501, 500)).toBe(true);
  });

  it("count what a list counts, in any order of operations", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("begin" as const), after: fc.integer({ min: 1, max: 50 }) }),
      fc.record({
        kind: fc.constant("add" as const),
        back: fc.nat(300),
        what: fc.constantFrom(...KINDS),
        count: fc.integer({ min: 1, max: 3 }),
      }),
      fc.record({
        kind: fc.constant("delay" as const),
        back: fc.nat(300),
        us: fc.integer({ min: -50, max: 5000 }),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const intervals = createSendIntervals();
        intervals.begin(1000, 1);
        const oracle = [{ from: 1000, allowed: 1, fates: new Map<number, number>(), delays: [] as number[] }];
        let now = 1000;
        const times = new Float64Array(3);
        const lookUp = (back: number) => {
          times[2] = now - back;
          const interval = intervals.at(times, 2);
          expect(interval).toBe(oracle.findLastIndex(({ from }) => from <= times[2]));
          return interval;
        };
        for (const each of steps) {
          if (each.kind === "begin") {
            now += each.after;
            intervals.begin(now, oracle.length);
            oracle.push({ from: now, allowed: oracle.length, fates: new Map(), delays: [] });
          } else {
            const interval = lookUp(each.back);
            const expected = oracle[interval];
            if (each.kind === "add") {
              intervals.add(interval, each.what, each.count);
              expected?.fates.set(each.what, (expected.fates.get(each.what) ?? 0) + each.count);
            } else {
              intervals.addDelay(interval, each.us);
              expected?.delays.push(each.us);
            }
          }
        }
        expect([intervals.first(), intervals.count()]).toEqual([0, oracle.length]);
        oracle.forEach(({ from, allowed, fates, delays }, i) => {
          expect([intervals.fromUs(i), intervals.allowed(i)]).toEqual([from, allowed]);
          expect(KINDS.map((kind) => intervals.get(i, kind))).toEqual(
            KINDS.map((kind) => fates.get(kind) ?? 0),
          );
          expect([intervals.delays(i), intervals.delaySum(i)]).toEqual([
            delays.length,
            delays.reduce((a, b) => a + b, 0),
          ]);
        });
      }),
    );
  });

  it("forget the oldest: counting in them changes nothing, and their SYNs have no interval", () => {
    const intervals = createSendIntervals();
    intervals.begin(0, 1);
    const last = 5000;
    for (let i = 1; i <= last; i++) {
      intervals.add(i - 1, FATES.sent, i);
      intervals.addDelay(i - 1, 7);
      intervals.begin(i * 10, 1);
    }
    const first = intervals.first();
    expect(first).toBeGreaterThan(0);
    expect(intervals.count()).toBe(last + 1);
    expect(intervals.at(Float64Array.of(first * 10), 0)).toBe(first);
    expect(intervals.at(Float64Array.of(first * 10 - 1), 0)).toBe(-1);
    for (let i = first; i < last; i++) {
      expect(intervals.at(Float64Array.of(i * 10), 0)).toBe(i);
      expect(intervals.at(Float64Array.of(i * 10 + 9), 0)).toBe(i);
      expect([intervals.get(i, FATES.sent), intervals.delaySum(i)]).toEqual([i + 1, 7]);
    }
    // The newest interval begins empty, although an old one used its memory.
    expect(KINDS.map((kind) => intervals.get(last, kind))).toEqual(KINDS.map(() => 0));
    for (const forgotten of [-1, 0, first - 1]) {
      intervals.add(forgotten, FATES.sent, 1000);
      intervals.addDelay(forgotten, 1000);
    }
    for (let i = first; i < last; i++) expect(intervals.get(i, FATES.sent)).toBe(i + 1);
    expect(intervals.delays(last)).toBe(0);
  });
});
