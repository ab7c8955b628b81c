/** Rising round trips: what is measured of a growing queue, and what is not taken for one. */
import { describe, expect, it } from "vitest";
import { createRttSlope, type RttGrowth } from "../../../src/scan/congestion/rtt-slope.ts";
import { createSeededRandom } from "../../sim/random.ts";

const MS = 1000;
const EVERY_US = 250;
const ROUND_US = 40 * MS;

const times = new Float64Array(1);
/** SYNs that leave at a constant rate, with the round trips of `rttOf`. */
function grow(count: number, rttOf: (atUs: number) => number, everyUs = EVERY_US): RttGrowth | undefined {
  const rttSlope = createRttSlope(0);
  for (let i = 0; i < count; i++) {
    times[0] = i * everyUs;
    rttSlope.add(times, 0, Math.max(1, rttOf(times[0]) | 0));
  }
  return rttSlope.growth();
}

describe("a queue that grows", () => {
  it("is measured: its slope, its length, and the round trip without it", () => {
    const growth = grow(80, (atUs) => ROUND_US + 3 * atUs);
    expect(growth?.slope).toBeCloseTo(3, 3);
    expect(growth?.queueUs).toBeCloseTo(3 * 79 * EVERY_US, -1);
    expect(growth?.clearUs).toBeCloseTo(ROUND_US, -1);
    expect(growth?.scatterUs).toBeLessThan(2);
  });

  it("is measured behind hosts at different distances, whose scatter is measured too", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const random = createSeededRandom(seed);
      const growth = grow(160, (atUs) => ROUND_US + random(10 * MS) + 2 * atUs);
      expect(growth?.slope, `seed ${seed}`).toBeGreaterThan(1.4);
      expect(growth?.slope).toBeLessThan(2.6);
      expect(growth?.scatterUs).toBeGreaterThan(2 * MS);
      expect(growth?.scatterUs).toBeLessThan(4 * MS);
    }
  });

  it("is measured from the SYNs between two times only", () => {
    const rttSlope = createRttSlope(0);
    const send = (fromUs: number, rttOf: (us: number) => number): void => {
      for (let i = 0; i < 40; i++) {
        times[0] = fromUs + i * EVERY_US;
        rttSlope.add(times, 0, rttOf(i * EVERY_US));
      }
    };
    send(0, () => ROUND_US);
    expect(rttSlope.growth()).toBeUndefined();
    rttSlope.restart(10 * MS);
    rttSlope.end(20 * MS);
    send(0, () => 9 * ROUND_US);
    send(10 * MS, (us) => ROUND_US + us);
    send(20 * MS, (us) => ROUND_US + 10 * MS - us);
    expect(rttSlope.growth()?.slope).toBeCloseTo(1, 3);
    expect(rttSlope.growth()?.fromUs).toBe(10 * MS);
    expect(rttSlope.growth()?.toUs).toBe(20 * MS - EVERY_US);
  });

  it("is measured at the rate before, until the SYNs at the new rate show one", () => {
    const rttSlope = createRttSlope(0);
    const send = (fromUs: number, slope: number): void => {
      for (let i = 0; i < 40; i++) {
        times[0] = fromUs + i * EVERY_US;
        rttSlope.add(times, 0, ROUND_US + slope * i * EVERY_US);
      }
    };
    rttSlope.restart(10 * MS);
    // Their answers arrive after the rate has changed.
    send(0, 2);
    send(10 * MS, 0);
    expect(rttSlope.growth()?.slope).toBeCloseTo(2, 3);
    expect(rttSlope.growth()?.toUs).toBe(10 * MS - EVERY_US);
    rttSlope.restart(20 * MS);
    send(20 * MS, 3);
    expect(rttSlope.growth()?.slope).toBeCloseTo(3, 3);
    rttSlope.restart(30 * MS);
    rttSlope.restart(40 * MS);
    expect(rttSlope.growth()).toBeUndefined();
  });
});

describe("no queue", () => {
  it("is seen in constant round trips, falling ones, or too few", () => {
    expect(grow(80, () => ROUND_US)).toBeUndefined();
    expect(grow(80, (atUs) => ROUND_US - atUs)).toBeUndefined();
    expect(grow(11, (atUs) => ROUND_US + 3 * atUs, MS)).toBeUndefined();
    expect(grow(12, (atUs) => ROUND_US + 3 * atUs, MS)).toBeDefined();
  });

  it("is seen in a burst; and the clear round trip is at least the shortest one measured", () => {
    expect(grow(49, (atUs) => ROUND_US + 3 * atUs, 100)).toBeUndefined();
    expect(grow(51, (atUs) => ROUND_US + 3 * atUs, 100)).toBeDefined();
    // They rise late: the line begins below all of them.
    expect(grow(40, (atUs) => (atUs < 8 * MS ? 1000 : 9 * MS))?.clearUs).toBe(1000);
  });

  it("is seen in round trips that differ among SYNs that left at nearly the same time", () => {
    for (const apartUs of [0, 0.5, 5]) {
      const rttSlope = createRttSlope(0);
      for (let i = 0; i < 64; i++) {
        times[0] = 20 * MS + i * apartUs;
        rttSlope.add(times, 0, 1200 + 40 * i);
      }
      // However steep the slope, they rose by no more than 3 ms.
      expect(rttSlope.growth()?.queueUs ?? 0, `${apartUs} us apart`).toBeLessThan(3 * MS);
    }
  });

  it("is taken for one by chance in at most one of five hundred looks", () => {
    let alarms = 0;
    for (let seed = 1; seed <= 500; seed++) {
      const random = createSeededRandom(seed);
      if (grow(60, () => ROUND_US + random(ROUND_US)) !== undefined) alarms++;
    }
    expect(alarms).toBeLessThanOrEqual(1);
  });
});
