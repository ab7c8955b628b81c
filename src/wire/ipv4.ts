/**
 * The IPv4 header (RFC 791 3.1).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+-------+---------------+-------------------------------+
 *   0 |Version|  IHL  |Type of Service|         Total Length          |
 *     +-------+-------+---------------+-----+-------------------------+
 *   4 |        Identification         |0|D|M|     Fragment Offset     |
 *     +---------------+---------------+-----+-------------------------+
 *   8 | Time to Live  |   Protocol    |        Header Checksum        |
 *     +---------------+---------------+-------------------------------+
 *  12 |                        Source Address                         |
 *     +---------------------------------------------------------------+
 *  16 |                      Destination Address                      |
 *     +---------------------------------------------------------------+
 *  20 |                  Options, padded to 32 bits                   |
 *     +---------------------------------------------------------------+
 *
 * Accessors read the bytes at `at` and check nothing: `checkLength` comes first. Options are kept as bytes,
 * and fragments are recognised, never reassembled.
 */
import type { Address } from "./address.ts";
import { copy, putU16, u16 } from "./bytes.ts";
import { checksum } from "./checksum.ts";

/** Bytes in a header without options. */
export const HEADER_LENGTH = 20;

export const VERSION_IHL = 0;
export const TOS = 1;
export const TOTAL_LENGTH = 2;
export const IDENTIFICATION = 4;
export const FRAGMENT = 6;
export const TTL = 8;
export const PROTOCOL = 9;
export const CHECKSUM = 10;
export const SOURCE = 12;
export const DESTINATION = 16;
export const OPTIONS = 20;

const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET = 0x1fff;
const MAX_OPTIONS_LENGTH = 40;

/**
 * The length of the header with its options (20 … 60 bytes), or 0 when `[at, end)` does not hold a whole IPv4
 * packet: truncated, another version, IHL below 5, or a total length that is less than the header or more
 * than there is. Bytes after the total length (Ethernet padding) are allowed.
 */
export function checkLength(b: Uint8Array, at: number, end: number): number {
  const length = checkHeader(b, at, end);
  const total = length === 0 ? 0 : totalLength(b, at);
  return total >= length && at + total <= end ? length : 0;
}

/** As `checkLength`, but only the header has to be there: a quote in an ICMP error is cut off after it. */
export function checkHeader(b: Uint8Array, at: number, end: number): number {
  if (at + HEADER_LENGTH > end || b[at + VERSION_IHL] >>> 4 !== 4) return 0;
  const length = headerLength(b, at);
  return length >= HEADER_LENGTH && at + length <= end ? length : 0;
}

/** Header and options in bytes, 0 … 60, as the IHL field says. */
export function headerLength(b: Uint8Array, at: number): number {
  return (b[at + VERSION_IHL] & 0x0f) * 4;
}

/** Header and payload in bytes, 0 … 65535. */
export function totalLength(b: Uint8Array, at: number): number {
  return u16(b, at + TOTAL_LENGTH);
}

export function identification(b: Uint8Array, at: number): number {
  return u16(b, at + IDENTIFICATION);
}

export function dontFragment(b: Uint8Array, at: number): boolean {
  return (u16(b, at + FRAGMENT) & DONT_FRAGMENT) !== 0;
}

/** Whether the packet is a part of a larger one: more fragments follow, or it is not the first. */
export function isFragment(b: Uint8Array, at: number): boolean {
  return (u16(b, at + FRAGMENT) & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) !== 0;
}

/** Whether fragments of the original packet follow behind this one. */
export function moreFragments(b: Uint8Array, at: number): boolean {
  return (u16(b, at + FRAGMENT) & MORE_FRAGMENTS) !== 0;
}

/** Where in the original payload this fragment belongs, in bytes (the field counts units of 8), 0 … 65528. */
export function fragmentOffset(b: Uint8Array, at: number): number {
  return (u16(b, at + FRAGMENT) & FRAGMENT_OFFSET) * 8;
}

/** Hops the packet may still take, 0 … 255. */
export function ttl(b: Uint8Array, at: number): number {
  return b[at + TTL];
}

/** What the payload is: a number from protocol.ts, or any other. */
export function protocol(b: Uint8Array, at: number): number {
  return b[at + PROTOCOL];
}

/** Whether the header checksum is right. Options are covered, the payload is not. */
export function verifyChecksum(b: Uint8Array, at: number): boolean {
  return checksum(b, at, at + headerLength(b, at)) === 0;
}

/**
 * A header as a value. Version, IHL and checksum follow from the rest and are not in it; nor is the reserved
 * bit.
 */
export interface Ipv4Header {
  /** 0 … 255: DSCP and ECN (RFC 2474, RFC 3168). */
  readonly tos: number;
  /** Header and payload in bytes. */
  readonly totalLength: number;
  readonly identification: number;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  /** In bytes, a multiple of 8. */
  readonly fragmentOffset: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly source: Address;
  readonly destination: Address;
  /** As they stand in the header, at most 40 bytes; `emit` pads them with zeros to a multiple of 4. */
  readonly options: Uint8Array;
}

/**
 * The header at `at`, in memory of its own, or undefined when `checkLength` refuses it. The checksum is not
 * verified.
 */
export function parse(b: Uint8Array, at: number, end: number): Ipv4Header | undefined {
  const length = checkLength(b, at, end);
  if (length === 0) return undefined;
  return {
    tos: b[at + TOS],
    totalLength: totalLength(b, at),
    identification: identification(b, at),
    dontFragment: dontFragment(b, at),
    moreFragments: moreFragments(b, at),
    fragmentOffset: fragmentOffset(b, at),
    ttl: ttl(b, at),
    protocol: protocol(b, at),
    source: copy(b, at + SOURCE, at + DESTINATION),
    destination: copy(b, at + DESTINATION, at + OPTIONS),
    options: copy(b, at + OPTIONS, at + length),
  };
}

/** Bytes that `emit` will write. Throws a RangeError when the options do not fit a header. */
export function bufferLength(h: Ipv4Header): number {
  if (h.options.length > MAX_OPTIONS_LENGTH) {
    throw new RangeError(`IPv4 options take ${h.options.length} bytes; at most ${MAX_OPTIONS_LENGTH} fit`);
  }
  return HEADER_LENGTH + Math.ceil(h.options.length / 4) * 4;
}

/**
 * Writes every byte of the header, checksum included, and returns its length. The payload is the caller's.
 */
export function emit(b: Uint8Array, at: number, h: Ipv4Header): number {
  const length = bufferLength(h);
  b[at + VERSION_IHL] = (4 << 4) | (length / 4);
  b[at + TOS] = h.tos;
  putU16(b, at + TOTAL_LENGTH, h.totalLength);
  putU16(b, at + IDENTIFICATION, h.identification);
  putU16(
    b,
    at + FRAGMENT,
    (h.dontFragment ? DONT_FRAGMENT : 0) |
      (h.moreFragments ? MORE_FRAGMENTS : 0) |
      ((h.fragmentOffset / 8) & FRAGMENT_OFFSET),
  );
  b[at + TTL] = h.ttl;
  b[at + PROTOCOL] = h.protocol;
  putU16(b, at + CHECKSUM, 0);
  b.set(h.source, at + SOURCE);
  b.set(h.destination, at + DESTINATION);
  b.set(h.options, at + OPTIONS);
  b.fill(0, at + OPTIONS + h.options.length, at + length);
  putU16(b, at + CHECKSUM, checksum(b, at, at + length));
  return length;
}
