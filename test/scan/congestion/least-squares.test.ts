/** Linear regression from moments, compared with the sums written out. */
import fc from "fast-check";
import { expect, it } from "vitest";
import {
  fitLine,
  LINE,
  LINE_LENGTH,
  MOMENT_COUNT,
  MOMENTS,
} from "../../../src/scan/congestion/least-squares.ts";

type Sample = readonly [x: number, y: number, weight: number];

function lineOf(samples: readonly Sample[]) {
  const sums = new Float64Array(MOMENT_COUNT);
  for (const [x, y, weight] of samples) {
    sums[MOMENTS.weight] += weight;
    sums[MOMENTS.x] += weight * x;
    sums[MOMENTS.y] += weight * y;
    sums[MOMENTS.xx] += weight * x * x;
    sums[MOMENTS.yy] += weight * y * y;
    sums[MOMENTS.xy] += weight * x * y;
  }
  const line = new Float64Array(LINE_LENGTH);
  fitLine(sums, line);
  return {
    slope: line[LINE.slope],
    meanX: line[LINE.meanX],
    meanY: line[LINE.meanY],
    varianceX: line[LINE.varianceX],
    residual: line[LINE.residual],
  };
}

it("finds a line exactly, whatever the weights", () => {
  const { slope, meanX, meanY, residual } = lineOf([
    [0, 5, 1],
    [2, 9, 3],
    [10, 25, 2],
  ]);
  expect(slope).toBeCloseTo(2, 12);
  expect(meanY - slope * meanX).toBeCloseTo(5, 12);
  expect(residual).toBeCloseTo(0, 9);
});

it("has slope 0 when all samples have the same x", () => {
  const samples: Sample[] = [7, 7].map((x, i) => [x, 1 + 8 * i, 1]);
  expect(lineOf(samples)).toMatchObject({ slope: 0, varianceX: 0, residual: 16 });
});

it("agrees with the centred formula, and no other line is nearer", () => {
  const number = fc.integer({ min: -1000, max: 1000 });
  const samples = fc.array(fc.tuple(number, number, fc.integer({ min: 1, max: 9 })), { minLength: 2 });
  fc.assert(
    fc.property(samples, (all) => {
      const { slope, meanX, meanY, varianceX, residual } = lineOf(all);
      const total = all.reduce((sum, [, , w]) => sum + w, 0);
      const variance = all.reduce((sum, [x, , w]) => sum + w * (x - meanX) ** 2, 0) / total;
      const covariance = all.reduce((sum, [x, y, w]) => sum + w * (x - meanX) * (y - meanY), 0) / total;
      expect(varianceX).toBeCloseTo(variance, 4);
      if (variance < 1) return;
      expect(slope).toBeCloseTo(covariance / variance, 4);
      const distance = (b: number): number =>
        all.reduce((sum, [x, y, w]) => sum + w * (y - meanY - b * (x - meanX)) ** 2, 0) / total;
      expect(residual).toBeCloseTo(distance(slope), 2);
      for (const other of [slope - 0.1, slope + 0.1]) expect(distance(other)).toBeGreaterThan(residual);
    }),
  );
});
