/** Stretches of SYNs that left together, held against a plain list of all of them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createCohorts, FATES } from "../../../src/scan/measure/send-intervals.ts";

const KINDS = Object.values(FATES);

describe("the stretches of a run", () => {
  it("each fate has a place of its own", () => {
    expect(new Set(KINDS).size).toBe(KINDS.length);
  });

  it("count what a list of stretches counts, whichever way they are asked", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("begin" as const), after: fc.integer({ min: 1, max: 50 }) }),
      fc.record({
        kind: fc.constant("add" as const),
        back: fc.nat(300),
        what: fc.constantFrom(...KINDS),
        often: fc.integer({ min: 1, max: 3 }),
      }),
      fc.record({
        kind: fc.constant("delay" as const),
        back: fc.nat(300),
        us: fc.integer({ min: -50, max: 5000 }),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const cohorts = createCohorts(1000, 1);
        const oracle = [{ from: 1000, allowed: 1, fates: new Map<number, number>(), delays: [] as number[] }];
        let now = 1000;
        const times = new Float64Array(3);
        const lookUp = (back: number) => {
          times[2] = now - back;
          const cohort = cohorts.at(times, 2);
          expect(cohort).toBe(oracle.findLastIndex(({ from }) => from <= times[2]));
          return cohort;
        };
        for (const each of steps) {
          if (each.kind === "begin") {
            now += each.after;
            cohorts.begin(now, oracle.length);
            oracle.push({ from: now, allowed: oracle.length, fates: new Map(), delays: [] });
          } else {
            const cohort = lookUp(each.back);
            const expected = oracle[cohort];
            if (each.kind === "add") {
              cohorts.add(cohort, each.what, each.often);
              expected?.fates.set(each.what, (expected.fates.get(each.what) ?? 0) + each.often);
            } else {
              cohorts.addDelay(cohort, each.us);
              expected?.delays.push(each.us);
            }
          }
        }
        expect([cohorts.first(), cohorts.count()]).toEqual([0, oracle.length]);
        oracle.forEach(({ from, allowed, fates, delays }, i) => {
          expect([cohorts.fromUs(i), cohorts.allowed(i)]).toEqual([from, allowed]);
          expect(KINDS.map((kind) => cohorts.get(i, kind))).toEqual(
            KINDS.map((kind) => fates.get(kind) ?? 0),
          );
          expect([cohorts.delays(i), cohorts.delaySum(i)]).toEqual([
            delays.length,
            delays.reduce((a, b) => a + b, 0),
          ]);
        });
      }),
    );
  });

  it("forget the oldest: what is said of them changes nothing, and their SYNs have no stretch", () => {
    const cohorts = createCohorts(0, 1);
    const last = 5000;
    for (let i = 1; i <= last; i++) {
      cohorts.add(i - 1, FATES.sent, i);
      cohorts.addDelay(i - 1, 7);
      cohorts.begin(i * 10, 1);
    }
    const first = cohorts.first();
    expect(first).toBeGreaterThan(0);
    expect(cohorts.count()).toBe(last + 1);
    expect(cohorts.at(Float64Array.of(first * 10), 0)).toBe(first);
    expect(cohorts.at(Float64Array.of(first * 10 - 1), 0)).toBe(-1);
    for (let i = first; i < last; i++) {
      expect(cohorts.at(Float64Array.of(i * 10), 0)).toBe(i);
      expect(cohorts.at(Float64Array.of(i * 10 + 9), 0)).toBe(i);
      expect([cohorts.get(i, FATES.sent), cohorts.delaySum(i)]).toEqual([i + 1, 7]);
    }
    // The newest stretch began empty, though an old one had its place.
    expect(KINDS.map((kind) => cohorts.get(last, kind))).toEqual(KINDS.map(() => 0));
    for (const forgotten of [-1, 0, first - 1]) {
      cohorts.add(forgotten, FATES.sent, 1000);
      cohorts.addDelay(forgotten, 1000);
    }
    for (let i = first; i < last; i++) expect(cohorts.get(i, FATES.sent)).toBe(i + 1);
    expect(cohorts.delays(last)).toBe(0);
  });
});
