/** Hosts that rate-limit their answers: the order of their SYNs, the interval, and the measured loss. */
import { describe, expect, it } from "vitest";
import { createRstLimited, type RstLimited, TURN } from "../../../src/scan/hosts/rst-limited.ts";

const host = (n: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, n);
const MS = 1000;

/** Lines with timers that are advanced by hand, and controls to some hosts. */
function createLines(hasControls = false) {
  const timers = new Map<number, number>();
  const controls: number[] = [];
  const lines = createRstLimited({ arm: (row, atUs) => timers.set(row, atUs) });
  function take(row: number, n: number, nowUs: number, startMs = 100): boolean {
    const turn = lines.take(row, n, host(n), 0, startMs * MS, nowUs);
    if (turn !== TURN.control) return turn === TURN.now;
    if (hasControls) controls.push(row);
    lines.give(row, hasControls, nowUs);
    return !hasControls;
  }
  /** Lets time pass until the next timer. @returns its row, and whether that may be sent */
  function next(n: number): { row: number; atUs: number; granted: boolean } {
    const [row, atUs] = [...timers].sort((a, b) => a[1] - b[1])[0];
    timers.delete(row);
    return { row, atUs, granted: take(row, n, atUs) };
  }
  return { lines, timers, controls, take, next };
}

const told = (lines: RstLimited, n: number, answered: boolean, sentUs: number, nowUs = sentUs): void =>
  lines.told(n, host(n), 0, answered, sentUs, nowUs);

describe("rows in a line", () => {
  it("are sent one after the other, in the order they came, for each host by itself", () => {
    const { take, next, timers } = createLines();
    expect([1, 2, 3].map((row) => take(row, 7, 0))).toEqual([false, false, false]);
    expect(take(4, 8, 0)).toBe(false);
    // Only the first row has a timer.
    expect([...timers.keys()]).toEqual([1, 4]);
    timers.delete(4);
    expect([next(7), next(7), next(7)]).toEqual([
      { row: 1, atUs: 100 * MS, granted: true },
      { row: 2, atUs: 200 * MS, granted: true },
      { row: 3, atUs: 300 * MS, granted: true },
    ]);
    expect(timers.size).toBe(0);
    expect(take(5, 7, 350 * MS)).toBe(false);
    // Unused time is not saved, but the next row need not wait for it.
    expect(next(7).granted).toBe(true);
    expect(take(6, 7, 900 * MS)).toBe(true);
  });

  it("tell how long the longest line takes, controls among its SYNs included", () => {
    const { lines, take, next } = createLines();
    expect(lines.longest()).toBeUndefined();
    for (let row = 0; row < 12; row++) take(row, 7, 0, 100);
    for (let row = 20; row < 25; row++) take(row, 8, 0, 300);
    expect(lines.longest()).toEqual({ words: host(8), us: expect.closeTo((5 * 300 * MS * 7) / 6, 3) });
    // A third is not answered: the interval is half as long again, and half as many SYNs are sent again.
    told(lines, 8, false, 0, 100 * MS);
    for (const sentMs of [50, 60]) told(lines, 8, true, sentMs * MS);
    expect((lines.longest()?.us ?? 0) / ((5 * 300 * MS * 7) / 6)).toBeCloseTo(1.5 * 1.5, 0);
    const { lines: one, take: takeOne, next: nextOne } = createLines();
    for (let row = 0; row < 3; row++) takeOne(row, 7, 0, 100);
    for (const left of [2, 1]) {
      nextOne(7);
      expect(one.longest()?.us).toBeCloseTo((left * 100 * MS * 7) / 6, 3);
    }
    nextOne(7);
    expect(one.longest()).toBeUndefined();
    expect(next(7).granted).toBe(true);
  });

  it("that leave the line make room for the next", () => {
    const { lines, take, next, timers } = createLines();
    for (const row of [1, 2, 3, 4]) take(row, 7, 0);
    lines.forget(3);
    timers.delete(1);
    lines.forget(1);
    expect([next(7).row, next(7).row]).toEqual([2, 4]);
  });

  it("are sent even when their host's cache entry has changed hands", () => {
    const { lines, take, next } = createLines();
    for (const row of [1, 2]) take(row, 7, 0);
    expect(lines.take(3, 7, host(99), 0, 50 * MS, 0)).toBe(TURN.later);
    const rows = [next(7), next(7), next(7)].map(({ row }) => row).sort();
    expect(rows).toEqual([1, 2, 3]);
  });

  it("wait now and then for a control, which goes first", () => {
    const { take, next, controls } = createLines(true);
    for (let row = 0; row < 12; row++) take(row, 7, 0);
    const granted: number[] = [];
    for (let i = 0; i < 14; i++) {
      const { row, granted: has } = next(7);
      if (has) granted.push(row);
    }
    expect(granted).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(controls).toEqual([5, 10]);
  });
});

describe("the interval", () => {
  const intervalAfter = (tell: (lines: RstLimited) => void, startMs = 100): number => {
    const { lines, take, next } = createLines();
    take(1, 7, 0, startMs);
    next(7);
    tell(lines);
    take(2, 7, 10_000 * MS, startMs);
    take(3, 7, 10_000 * MS, startMs);
    return (next(7).atUs - 10_000 * MS) / MS;
  };

  it("grows after a loss, shrinks after two answers, and faster while nothing was ever lost", () => {
    expect(intervalAfter(() => {})).toBe(100);
    expect(intervalAfter((lines) => told(lines, 7, false, 200 * MS))).toBe(150);
    expect(intervalAfter((lines) => told(lines, 7, true, 200 * MS))).toBe(100);
    const twice = (lines: RstLimited) => {
      for (const ms of [200, 300]) told(lines, 7, true, ms * MS);
    };
    expect(intervalAfter(twice)).toBe(50);
    const lostBefore = (lines: RstLimited) => {
      told(lines, 7, false, 200 * MS);
      for (const ms of [300, 400]) told(lines, 7, true, ms * MS);
    };
    expect(intervalAfter(lostBefore)).toBeCloseTo(127.5);
  });

  it("changes once only for SYNs that left before it changed", () => {
    const crowd = (lines: RstLimited) => {
      for (const ms of [200, 210, 220]) told(lines, 7, false, ms * MS, 500 * MS);
    };
    expect(intervalAfter(crowd)).toBe(150);
  });

  it("stays within bounds", () => {
    expect(intervalAfter(() => {}, 5000)).toBe(300);
    const lost = (lines: RstLimited) => {
      for (let i = 1; i < 50; i++) told(lines, 7, false, i * 1000 * MS);
    };
    expect(intervalAfter(lost)).toBe(4000);
  });
});

describe("the loss of a limited host", () => {
  it("is learnt from SYNs that have to be answered; the prior is a fifth", () => {
    const { lines, take } = createLines();
    expect(lines.sinceUs(7, host(7), 0)).toBe(Number.POSITIVE_INFINITY);
    take(1, 7, 5 * MS);
    expect(lines.sinceUs(7, host(7), 0)).toBe(5 * MS);
    expect(lines.loss(7, host(7), 0)).toBeCloseTo(0.2);
    for (let i = 1; i <= 20; i++) told(lines, 7, i % 2 === 0, i * 1000 * MS);
    expect(lines.loss(7, host(7), 0)).toBeGreaterThan(0.4);
    // When recent SYNs fare better, earlier tries have not.
    for (let i = 21; i <= 60; i++) told(lines, 7, true, i * 1000 * MS);
    expect(lines.loss(7, host(7), 0)).toBeGreaterThan(0.16);
    expect(lines.loss(7, host(7), 0)).toBeLessThan(0.2);
  });
});

describe("a host in a line", () => {
  /** What is told of it after such fates, one in 200 ms, where the path loses so much. */
  function findings(fates: readonly boolean[], loss: number) {
    const { lines, take, next } = createLines();
    for (let row = 0; row <= fates.length; row++) take(row, 7, 0);
    for (const [i, answered] of fates.entries()) {
      next(7);
      told(lines, 7, answered, (i + 1) * 200 * MS);
    }
    return lines.findings(loss);
  }
  const half = Array.from({ length: 24 }, (_, i) => i % 2 === 0);

  it("is named with its pace when the path's loss hardly explains what it has not answered", () => {
    expect(findings(half, 0.02)).toMatchObject([{ outages: [], perSecond: expect.closeTo(2.5, 0) }]);
    expect(findings(half, 0.5)).toEqual([]);
  });

  it("has no pace when it has answered nothing at all", () => {
    expect(findings([false, false, false, false, false, false], 0.02)).toEqual([]);
  });
});
