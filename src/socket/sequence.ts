/**
 * Sequence numbers: 32 bits that wrap around (RFC 9293 §3.4). Comparisons hold for numbers less than 2^31 apart.
 */

/** `a + n` modulo 2^32. */
export const seqAdd = (a: number, n: number): number => (a + n) >>> 0;

/** Signed distance from `b` to `a`, -2^31 to 2^31 - 1. */
export const seqDiff = (a: number, b: number): number => (a - b) | 0;

export const seqLess = (a: number, b: number): boolean => seqDiff(a, b) < 0;
export const seqLessEqual = (a: number, b: number): boolean => seqDiff(a, b) <= 0;
