/**
 * Linear regression by least squares, from sums of moments: callers add samples to a typed array, which allocates nothing, and
 * ask for the line when they need it. Pure numbers.
 */

/** Indices of the sums: weights, x, y, and their products. For precision, measure x and y from a value near them. */
export const MOMENTS = { weight: 0, x: 1, y: 2, xx: 3, yy: 4, xy: 5 } as const;
export const MOMENT_COUNT = 6;

export interface Line {
  readonly slope: number;
  readonly meanX: number;
  readonly meanY: number;
  /** Variance of x; 0 when all samples have the same x, which leaves the slope 0. */
  readonly varianceX: number;
  /** Variance of y around the line. */
  readonly residual: number;
}

/** @param sums of at least one sample, at the indices `MOMENTS` */
export function fitLine(sums: Float64Array): Line {
  const weight = sums[MOMENTS.weight];
  const meanX = sums[MOMENTS.x] / weight;
  const meanY = sums[MOMENTS.y] / weight;
  const varianceX = Math.max(0, sums[MOMENTS.xx] / weight - meanX * meanX);
  const covariance = sums[MOMENTS.xy] / weight - meanX * meanY;
  const slope = varianceX === 0 ? 0 : covariance / varianceX;
  const residual = Math.max(0, sums[MOMENTS.yy] / weight - meanY * meanY - slope * covariance);
  return { slope, meanX, meanY, varianceX, residual };
}
