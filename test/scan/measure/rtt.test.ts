/** Round trips: RFC 6298's estimate by hand, and the spread of a run's against sorted samples. */
import { describe, expect, it } from "vitest";
import { createSpread, sampleRtt, timeoutOf } from "../../../src/scan/measure/rtt.ts";
import { createSeededRandom } from "../../sim/random.ts";

describe("the estimate of RFC 6298", () => {
  const estimate = (samples: readonly number[], gain?: number) => {
    const srtt = new Float32Array(3);
    const rttvar = new Float32Array(3);
    for (const sample of samples) sampleRtt(srtt, rttvar, 1, sample, gain);
    expect([srtt[0], srtt[2], rttvar[0], rttvar[2]]).toEqual([0, 0, 0, 0]);
    return { srtt: srtt[1], rttvar: rttvar[1], rto: timeoutOf(srtt, rttvar, 1) };
  };

  it("begins with the first sample, half of it for the variation (§2.2)", () => {
    expect(estimate([100_000])).toEqual({ srtt: 100_000, rttvar: 50_000, rto: 300_000 });
  });

  it("takes a quarter of the deviation and an eighth of the difference, the variation first (§2.3)", () => {
    // RTTVAR = 3/4 * 50,000 + 1/4 * |100,000 - 180,000|; SRTT = 7/8 * 100,000 + 1/8 * 180,000
    expect(estimate([100_000, 180_000])).toEqual({ srtt: 110_000, rttvar: 57_500, rto: 340_000 });
    // RTTVAR = 3/4 * 57,500 + 1/4 * |110,000 - 70,000|; SRTT = 7/8 * 110,000 + 1/8 * 70,000
    expect(estimate([100_000, 180_000, 70_000])).toEqual({ srtt: 105_000, rttvar: 53_125, rto: 317_500 });
  });

  it("moves by half as much for half the gain", () => {
    expect(estimate([100_000, 180_000], 1 / 16)).toEqual({ srtt: 105_000, rttvar: 53_750, rto: 320_000 });
  });

  it("comes down to the round trip itself where that never changes", () => {
    const { srtt, rto } = estimate(Array(100).fill(2000));
    expect(srtt).toBe(2000);
    expect(rto).toBeLessThan(2001);
  });
});

describe("the spread of a run's round trips", () => {
  const bucket = 2 ** (1 / 4);

  it("is within a bucket of what sorting says, from 16 µs to 8 s", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = createSeededRandom(seed);
      const low = 16 * 2 ** random(14);
      const samples = Array.from(
        { length: 1 + random(4000) },
        () => low * 2 ** (random(5000) / 1000) * (1 + random(1000) / 1e4),
      );
      const spread = createSpread();
      for (const sample of samples) spread.sample(sample);
      expect(spread.samples()).toBe(samples.length);
      samples.sort((a, b) => a - b);
      for (const q of [0.01, 0.5, 0.9, 0.98, 0.999, 1]) {
        const exact = samples[Math.max(0, Math.ceil(q * samples.length - 1e-9) - 1)];
        const said = spread.quantile(q);
        // Never too short, and by less than a bucket too long.
        expect(said, `seed ${seed}, ${q}`).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
        expect(said, `seed ${seed}, ${q}`).toBeLessThanOrEqual(exact * bucket * (1 + 1e-9));
      }
    }
  });

  it("knows nothing at first, and takes what is beyond its bounds for the bounds", () => {
    const spread = createSpread();
    expect(spread.quantile(0.5)).toBeNaN();
    spread.sample(1);
    expect(spread.quantile(0.5)).toBeLessThan(20);
    for (let i = 0; i < 10; i++) spread.sample(1e12);
    expect(spread.quantile(0.5)).toBe(2 ** 24);
  });

  it("forgets: when round trips have changed for good, the old ones stop counting", () => {
    const spread = createSpread();
    for (let i = 0; i < 20_000; i++) spread.sample(600_000);
    for (let i = 0; i < 40_000; i++) spread.sample(2000);
    expect(spread.quantile(0.9)).toBeLessThanOrEqual(2000 * bucket);
    expect(spread.samples()).toBe(60_000);
  });
});
