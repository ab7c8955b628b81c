/**
 * Linear regression by least squares, from sums of moments. Sums and results are typed arrays of the caller's, so that neither a
 * sample nor a fit allocates anything. Pure numbers.
 */

/** Indices of the sums: weights, x, y, and their products. For precision, measure x and y from a value near them. */
export const MOMENTS = { weight: 0, x: 1, y: 2, xx: 3, yy: 4, xy: 5 } as const;
export const MOMENT_COUNT = 6;

/**
 * Indices of a line. `varianceX` is 0 when all samples have the same x, which leaves the slope 0; `residual` is the variance of y
 * around the line, and needs `yy`.
 */
export const LINE = { slope: 0, meanX: 1, meanY: 2, varianceX: 3, residual: 4 } as const;
export const LINE_LENGTH = 5;

/**
 * Writes the line through the samples to `line`.
 * @param sums of at least one sample
 */
export function fitLine(sums: Float64Array, line: Float64Array): void {
  const weight = sums[MOMENTS.weight];
  const meanX = sums[MOMENTS.x] / weight;
  const meanY = sums[MOMENTS.y] / weight;
  const varianceX = Math.max(0, sums[MOMENTS.xx] / weight - meanX * meanX);
  const covariance = sums[MOMENTS.xy] / weight - meanX * meanY;
  const slope = varianceX === 0 ? 0 : covariance / varianceX;
  line[LINE.slope] = slope;
  line[LINE.meanX] = meanX;
  line[LINE.meanY] = meanY;
  line[LINE.varianceX] = varianceX;
  line[LINE.residual] = Math.max(0, sums[MOMENTS.yy] / weight - meanY * meanY - slope * covariance);
}
