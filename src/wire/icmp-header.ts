/**
 * The header that ICMP and ICMPv6 messages share (RFC 792, RFC 4443 2.1). The meanings of types and codes
 * differ: see icmp.ts and icmpv6.ts.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *   0 |     Type      |     Code      |           Checksum            |
 *     +---------------+---------------+-------------------------------+
 *   4 |        Rest of header: its meaning depends on the type        |
 *     +---------------------------------------------------------------+
 * Tested by test/wire/icmp.test.ts and test/wire/icmpv6.test.ts.
 */
import { u32 } from "./bytes.ts";

/** Bytes before the quote of an error, or the body of anything else. */
export const HEADER_LENGTH = 8;

export const TYPE_OF_MESSAGE = 0;
export const CODE_OF_MESSAGE = 1;
export const CHECKSUM = 2;
export const REST = 4;

/** 8, or 0 when `[at, end)` is too short for a message. `end` is where the IP payload ends. */
export function checkLength(_b: Uint8Array, at: number, end: number): number {
  return at + HEADER_LENGTH <= end ? HEADER_LENGTH : 0;
}

export function type(b: Uint8Array, at: number): number {
  return b[at + TYPE_OF_MESSAGE];
}

export function code(b: Uint8Array, at: number): number {
  return b[at + CODE_OF_MESSAGE];
}

/** The second word, unsigned; its meaning depends on the type. */
export function rest(b: Uint8Array, at: number): number {
  return u32(b, at + REST);
}
