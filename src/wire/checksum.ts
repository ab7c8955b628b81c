/**
 * The Internet checksum (RFC 1071), whole and incremental (RFC 1624), and the pseudo-headers that bind a
 * segment to its addresses (RFC 9293 3.1, RFC 8200 8.1).
 *
 * A "partial sum" is a plain sum of 16-bit words, carries not yet folded in. Partial sums add up: the
 * pseudo-header's is passed to `sum` or `checksum` as `initial`. A "checksum" is the header field's value:
 * folded, then complemented. Where in a header that is, each protocol's own module knows.
 */
import { u16 } from "./bytes.ts";

/**
 * The partial sum of the 16-bit words in `[at, end)`, on top of `initial`; an odd last byte counts as if a
 * zero followed it. Exact for any `initial` below 2^52: 64 KiB of words add less than 2^31, so the loop
 * itself stays in 32-bit integers.
 */
export function sum(b: Uint8Array, at: number, end: number, initial = 0): number {
  // The upper and the lower bytes of the words, two of each at a time.
  let upper = 0;
  let lower = 0;
  let i = at;
  for (; i + 3 < end; i += 4) {
    upper += b[i] + b[i + 2];
    lower += b[i + 1] + b[i + 3];
  }
  for (; i + 1 < end; i += 2) {
    upper += b[i];
    lower += b[i + 1];
  }
  if (i < end) upper += b[i];
  return initial + (upper << 8) + lower;
}

/**
 * A partial sum with its carries added back in (end-around carry), 0 … 0xffff. Zero only when every word was
 * zero.
 */
export function fold(sum: number): number {
  let s = sum;
  while (s > 0xffff_ffff) {
    s = (s >>> 0) + Math.floor(s / 0x1_0000_0000);
  }
  s = (s & 0xffff) + (s >>> 16); // at most 0x1fffe
  return (s & 0xffff) + (s >>> 16);
}

/**
 * The value for the checksum field over `[at, end)`, with the field itself zero while it is computed.
 * Computed over bytes whose field is already filled, the result is 0 when they are intact.
 */
export function checksum(b: Uint8Array, at: number, end: number, initial = 0): number {
  return ~fold(sum(b, at, end, initial)) & 0xffff;
}

/**
 * The partial sum of the IPv4 pseudo-header (RFC 9293 3.1).
 * `sourceAt` and `destinationAt` are where the 4-byte addresses stand in `b`; `length` is header and data of
 * the upper layer, in bytes.
 */
export function pseudoSum4(
  b: Uint8Array,
  sourceAt: number,
  destinationAt: number,
  protocol: number,
  length: number,
): number {
  return (
    u16(b, sourceAt) +
    u16(b, sourceAt + 2) +
    u16(b, destinationAt) +
    u16(b, destinationAt + 2) +
    protocol +
    length
  );
}

/**
 * The partial sum of the IPv6 pseudo-header (RFC 8200 8.1).
 * `sourceAt` and `destinationAt` are where the 16-byte addresses stand in `b`; `protocol` is the upper
 * layer's own number, not that of an extension header; `length` is header and data of the upper layer, in
 * bytes, up to 2^32 - 1.
 */
export function pseudoSum6(
  b: Uint8Array,
  sourceAt: number,
  destinationAt: number,
  protocol: number,
  length: number,
): number {
  const addresses = sum(b, sourceAt, sourceAt + 16, sum(b, destinationAt, destinationAt + 16));
  return addresses + (length >>> 16) + (length & 0xffff) + protocol;
}

/**
 * The checksum after one covered 16-bit word has changed: HC' = ~(~HC + ~m + m') (RFC 1624, equation 3).
 * Equals a full recomputation whenever any covered word is non-zero, which every IP and TCP pseudo-header
 * sees to; over nothing but zeros it gives 0x0000 where a recomputation gives 0xffff, and both verify.
 */
export function update16(check: number, oldWord: number, newWord: number): number {
  return ~fold((~check & 0xffff) + (~oldWord & 0xffff) + (newWord & 0xffff)) & 0xffff;
}

/**
 * The checksum after a covered, 16-bit aligned 32-bit value has changed: an address, a sequence number. See
 * `update16`.
 */
export function update32(check: number, oldValue: number, newValue: number): number {
  const removed = (~oldValue >>> 16) + (~oldValue & 0xffff);
  const added = (newValue >>> 16) + (newValue & 0xffff);
  return ~fold((~check & 0xffff) + removed + added) & 0xffff;
}
