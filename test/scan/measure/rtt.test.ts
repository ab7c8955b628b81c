/** The histogram of round trips, compared with sorted samples. RFC 6298's estimate is tested in test/socket/rto.test.ts. */
import { describe, expect, it } from "vitest";
import { createRttHistogram } from "../../../src/scan/measure/rtt.ts";
import { createSeededRandom } from "../../sim/random.ts";

describe("the histogram of a run's round trips", () => {
  const bucket = 2 ** (1 / 4);

  it("is within one bucket of the sorted samples, from 16 µs to 8 s", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = createSeededRandom(seed);
      const low = 16 * 2 ** random(14);
      const samples = Array.from(
        { length: 1 + random(4000) },
        () => low * 2 ** (random(5000) / 1000) * (1 + random(1000) / 1e4),
      );
      const histogram = createRttHistogram();
      for (const sample of samples) histogram.sample(sample);
      expect(histogram.samples()).toBe(samples.length);
      samples.sort((a, b) => a - b);
      for (const q of [0.01, 0.5, 0.9, 0.98, 0.999, 1]) {
        const exact = samples[Math.max(0, Math.ceil(q * samples.length - 1e-9) - 1)];
        const said = histogram.quantile(q);
        // Never too short, and less than a bucket too long.
        expect(said, `seed ${seed}, ${q}`).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
        expect(said, `seed ${seed}, ${q}`).toBeLessThanOrEqual(exact * bucket * (1 + 1e-9));
      }
    }
  });

  it("has no quantile at first, and clamps samples to its bounds", () => {
    const histogram = createRttHistogram();
    expect(histogram.quantile(0.5)).toBeNaN();
    histogram.sample(1);
    expect(histogram.quantile(0.5)).toBeLessThan(20);
    for (let i = 0; i < 10; i++) histogram.sample(1e12);
    expect(histogram.quantile(0.5)).toBe(2 ** 24);
  });

  it("forgets: old round trips stop counting", () => {
    const histogram = createRttHistogram();
    for (let i = 0; i < 20_000; i++) histogram.sample(600_000);
    for (let i = 0; i < 40_000; i++) histogram.sample(2000);
    expect(histogram.quantile(0.9)).toBeLessThanOrEqual(2000 * bucket);
    expect(histogram.samples()).toBe(60_000);
  });
});
