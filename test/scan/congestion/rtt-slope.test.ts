/** Round trips that grow: what is told of it, and by how little it is not fooled. */
import { describe, expect, it } from "vitest";
import { createRttSlope, type Growth } from "../../../src/scan/congestion/rtt-slope.ts";
import { createSeededRandom } from "../../sim/random.ts";

const MS = 1000;
const EVERY_US = 250;
const ROUND_US = 40 * MS;

const times = new Float64Array(1);
/** SYNs that leave one after the other, and answers by which their round trips are what `rttOf` says. */
function grow(count: number, rttOf: (atUs: number) => number, everyUs = EVERY_US): Growth | undefined {
  const rttSlope = createRttSlope(0);
  for (let i = 0; i < count; i++) {
    times[0] = i * everyUs;
    rttSlope.add(times, 0, Math.max(1, rttOf(times[0]) | 0));
  }
  return rttSlope.growth();
}

describe("a queue that grows", () => {
  it("shows by how fast, how long it has become, and how long round trips are without", () => {
    const growth = grow(80, (atUs) => ROUND_US + 3 * atUs);
    expect(growth?.slope).toBeCloseTo(3, 3);
    expect(growth?.queueUs).toBeCloseTo(3 * 79 * EVERY_US, -1);
    expect(growth?.clearUs).toBeCloseTo(ROUND_US, -1);
    expect(growth?.scatterUs).toBeLessThan(2);
  });

  it("shows behind hosts that are at different distances, and then scatter says how different", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const random = createSeededRandom(seed);
      const growth = grow(160, (atUs) => ROUND_US + random(10 * MS) + 2 * atUs);
      expect(growth?.slope, `seed ${seed}`).toBeGreaterThan(1.4);
      expect(growth?.slope).toBeLessThan(2.6);
      expect(growth?.scatterUs).toBeGreaterThan(2 * MS);
      expect(growth?.scatterUs).toBeLessThan(4 * MS);
    }
  });

  it("is told of SYNs that left from a time on and before another, not of those before and after", () => {
    const rttSlope = createRttSlope(0);
    const send = (fromUs: number, rttOf: (us: number) => number): void => {
      for (let i = 0; i < 40; i++) {
        times[0] = fromUs + i * EVERY_US;
        rttSlope.add(times, 0, rttOf(i * EVERY_US));
      }
    };
    send(0, () => ROUND_US);
    expect(rttSlope.growth()).toBeUndefined();
    rttSlope.startAnew(10 * MS);
    rttSlope.end(20 * MS);
    send(0, () => 9 * ROUND_US);
    send(10 * MS, (us) => ROUND_US + us);
    send(20 * MS, (us) => ROUND_US + 10 * MS - us);
    expect(rttSlope.growth()?.slope).toBeCloseTo(1, 3);
    expect(rttSlope.growth()?.fromUs).toBe(10 * MS);
    expect(rttSlope.growth()?.toUs).toBe(20 * MS - EVERY_US);
  });

  it("is told of those that left at the rate before, too, as long as there is none in those after", () => {
    const rttSlope = createRttSlope(0);
    const send = (fromUs: number, slope: number): void => {
      for (let i = 0; i < 40; i++) {
        times[0] = fromUs + i * EVERY_US;
        rttSlope.add(times, 0, ROUND_US + slope * i * EVERY_US);
      }
    };
    rttSlope.startAnew(10 * MS);
    // Their answers come later than the rate has changed.
    send(0, 2);
    send(10 * MS, 0);
    expect(rttSlope.growth()?.slope).toBeCloseTo(2, 3);
    expect(rttSlope.growth()?.toUs).toBe(10 * MS - EVERY_US);
    rttSlope.startAnew(20 * MS);
    send(20 * MS, 3);
    expect(rttSlope.growth()?.slope).toBeCloseTo(3, 3);
    rttSlope.startAnew(30 * MS);
    rttSlope.startAnew(40 * MS);
    expect(rttSlope.growth()).toBeUndefined();
  });
});

describe("no queue", () => {
  it("is nothing to tell of: the same round trips, shorter ones, or too few", () => {
    expect(grow(80, () => ROUND_US)).toBeUndefined();
    expect(grow(80, (atUs) => ROUND_US - atUs)).toBeUndefined();
    expect(grow(11, (atUs) => ROUND_US + 3 * atUs, MS)).toBeUndefined();
    expect(grow(12, (atUs) => ROUND_US + 3 * atUs, MS)).toBeDefined();
  });

  it("is what a burst makes, and where the regression goes below the shortest round trip that is no round trip", () => {
    expect(grow(49, (atUs) => ROUND_US + 3 * atUs, 100)).toBeUndefined();
    expect(grow(51, (atUs) => ROUND_US + 3 * atUs, 100)).toBeDefined();
    // They grow late: a line through them begins at less than there ever was.
    expect(grow(40, (atUs) => (atUs < 8 * MS ? 1000 : 9 * MS))?.clearUs).toBe(1000);
  });

  it("is in round trips that differ among SYNs that left at once, or nearly", () => {
    for (const apartUs of [0, 0.5, 5]) {
      const rttSlope = createRttSlope(0);
      for (let i = 0; i < 64; i++) {
        times[0] = 20 * MS + i * apartUs;
        rttSlope.add(times, 0, 1200 + 40 * i);
      }
      // However steep: they rose by 3 ms, and no more.
      expect(rttSlope.growth()?.queueUs ?? 0, `${apartUs} us apart`).toBeLessThan(3 * MS);
    }
  });

  it("is taken for one by chance in no more than one of five hundred looks", () => {
    let alarms = 0;
    for (let seed = 1; seed <= 500; seed++) {
      const random = createSeededRandom(seed);
      if (grow(60, () => ROUND_US + random(ROUND_US)) !== undefined) alarms++;
    }
    expect(alarms).toBeLessThanOrEqual(1);
  });
});
