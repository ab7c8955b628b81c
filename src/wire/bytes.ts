/**
 * Big-endian integers, read and written by plain index arithmetic.
 *
 * Nothing here checks a bound: every caller has measured the header first (`checkLength`). Nothing here
 * allocates, except `copy`.
 */

/** The 16-bit unsigned integer at `at`. */
export function u16(b: Uint8Array, at: number): number {
  return (b[at] << 8) | b[at + 1];
}

/** The 32-bit integer at `at`, unsigned: 0 … 4294967295. */
export function u32(b: Uint8Array, at: number): number {
  return i32(b, at) >>> 0;
}

/** The same 32 bits, signed: for hot paths, because V8 hands a number above 2^31 back as an object. */
export function i32(b: Uint8Array, at: number): number {
  return (b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3];
}

/** Writes the low 16 bits of `v` at `at`. */
export function putU16(b: Uint8Array, at: number, v: number): void {
  b[at] = v >>> 8;
  b[at + 1] = v;
}

/** Writes the low 32 bits of `v`, signed or unsigned, at `at`. */
export function putU32(b: Uint8Array, at: number, v: number): void {
  b[at] = v >>> 24;
  b[at + 1] = v >>> 16;
  b[at + 2] = v >>> 8;
  b[at + 3] = v;
}

/**
 * The bytes `[at, end)` in memory of their own, so that a parsed value outlives the receive buffer it came
 * from. Not `b.slice()`: on a Node `Buffer` that is a view.
 */
export function copy(b: Uint8Array, at: number, end: number): Uint8Array {
  return new Uint8Array(b.subarray(at, end));
}
