/** The token bucket: bursts, intervals, and rates that change. */
import { describe, expect, it } from "vitest";
import { createPacer } from "../../../src/scan/congestion/pacer.ts";

describe("the pacer", () => {
  it("lets a burst leave at once, then one probe per interval", () => {
    const pacer = createPacer(300, 0);
    const sent: number[] = [];
    let now = 0;
    while (sent.length < 6) {
      if (pacer.allowance(now) >= 1) {
        pacer.spend();
        sent.push(now);
      } else now = pacer.nextAt(now);
    }
    expect(sent.map((t) => Math.round(t))).toEqual([0, 0, 0, 3333, 6667, 10_000]);
  });

  it("lets nothing leave at once where it follows another", () => {
    const pacer = createPacer(300, 0);
    pacer.follow(1_000_000);
    expect(pacer.allowance(1_000_000)).toBe(0);
    expect(Math.round(pacer.nextAt(1_000_000))).toBe(1_003_333);
    pacer.follow(1_003_000);
    expect(Math.round(pacer.nextAt(1_003_000))).toBe(1_006_333);
  });

  it("saves no more than one burst", () => {
    const pacer = createPacer(500, 0);
    for (let i = 0; i < 5; i++) pacer.spend();
    expect(pacer.allowance(60_000_000)).toBe(5);
  });

  it("adds nothing while time stands still or goes back", () => {
    const pacer = createPacer(100, 1_000_000);
    pacer.spend();
    expect(pacer.allowance(1_000_000)).toBe(0);
    expect(pacer.allowance(0)).toBe(0);
    expect(pacer.nextAt(1_000_000)).toBe(1_010_000);
  });

  it("follows a changed rate, and keeps no more than its burst", () => {
    const pacer = createPacer(1000, 0);
    expect(pacer.allowance(0)).toBe(10);
    pacer.setRate(200, 0);
    expect(pacer.allowance(0)).toBe(2);
    pacer.spend();
    pacer.spend();
    pacer.setRate(500, 5000);
    // 5 ms at 200 per second.
    expect(pacer.allowance(5000)).toBe(1);
    pacer.spend();
    expect(pacer.nextAt(5000)).toBe(7000);
  });

  it("has a probe at the time that nextAt names, whatever the rate and the clock's fractions", () => {
    for (const rate of [3, 7, 333, 9999, 123_457, 1e6 / 3]) {
      const pacer = createPacer(rate, 0.1);
      let now = 0.1;
      for (let sent = 0; sent < 2000; sent++) {
        now = pacer.nextAt(now);
        expect(pacer.allowance(now)).toBeGreaterThanOrEqual(1);
        pacer.spend();
      }
    }
  });

  it("takes back what did not leave, and is never more than full", () => {
    const pacer = createPacer(1000, 0);
    for (let i = 0; i < 10; i++) pacer.spend();
    pacer.giveBack();
    expect(pacer.allowance(0)).toBe(1);
    for (let i = 0; i < 20; i++) pacer.giveBack();
    expect(pacer.allowance(0)).toBe(10);
  });
});
