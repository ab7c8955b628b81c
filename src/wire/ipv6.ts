/**
 * The IPv6 header (RFC 8200 3) and the way past its extension headers (RFC 8200 4).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+---------------+---------------------------------------+
 *   0 |Version| Traffic Class |              Flow Label               |
 *     +-------+-----------------------+---------------+---------------+
 *   4 |        Payload Length         |  Next Header  |   Hop Limit   |
 *     +-------------------------------+---------------+---------------+
 *   8 |                                                               |
 *     |                    Source Address (16 bytes)                  |
 *     +---------------------------------------------------------------+
 *  24 |                                                               |
 *     |                  Destination Address (16 bytes)               |
 *     +---------------------------------------------------------------+
 *
 * Accessors read what stands at `at` and check nothing: `checkLength` comes first. Extension headers are
 * stepped over, and looked into only for the addresses of the pseudo-header; jumbograms are not modelled; fragments are
 * recognised, never reassembled.
 */
import type { Address } from "./address.ts";
import { copy, putU16, putU32, u16, u32 } from "./bytes.ts";
import { PROTOCOL } from "./protocol.ts";

/** Bytes in the fixed header. */
export const HEADER_LENGTH = 40;

export const VERSION_CLASS_LABEL = 0;
export const PAYLOAD_LENGTH = 4;
export const NEXT_HEADER = 6;
export const HOP_LIMIT = 7;
export const SOURCE = 8;
export const DESTINATION = 24;

/**
 * 40, or 0 when `[at, end)` does not hold a whole IPv6 packet: truncated, another version, or a payload
 * length of more than there is. Bytes after the payload (Ethernet padding) are allowed.
 */
export function checkLength(b: Uint8Array, at: number, end: number): number {
  if (checkHeader(b, at, end) === 0) return 0;
  return at + HEADER_LENGTH + payloadLength(b, at) <= end ? HEADER_LENGTH : 0;
}

/**
 * As `checkLength`, but only the fixed header has to be there: a quote in an ICMPv6 error may be cut off
 * after it.
 */
export function checkHeader(b: Uint8Array, at: number, end: number): number {
  return at + HEADER_LENGTH <= end && b[at] >>> 4 === 6 ? HEADER_LENGTH : 0;
}

/** Everything after the fixed header, extension headers included, in bytes, 0 … 65535. */
export function payloadLength(b: Uint8Array, at: number): number {
  return u16(b, at + PAYLOAD_LENGTH);
}

/** What follows the fixed header: an extension header or the upper layer. `walk` tells which. */
export function nextHeader(b: Uint8Array, at: number): number {
  return b[at + NEXT_HEADER];
}

/** Hops the packet may still take, 0 … 255. */
export function hopLimit(b: Uint8Array, at: number): number {
  return b[at + HOP_LIMIT];
}

/** Where `walk` found the upper layer. Reusable: made once, written on every call. */
export interface Upper {
  /** The upper layer's protocol number. */
  protocol: number;
  /** Where the upper layer starts. */
  at: number;
  /** Whether this is a part of a larger packet. An atomic fragment (RFC 6946) is a whole one. */
  fragment: boolean;
  /**
   * Where the addresses of the pseudo-header stand: in the fixed header, unless a Home Address option names another source
   * (RFC 6275 6.3), or a routing header with segments left another destination (RFC 8200 8.1).
   */
  sourceAt: number;
  destinationAt: number;
}

export const newUpper = (): Upper => ({
  protocol: 0,
  at: 0,
  fragment: false,
  sourceAt: SOURCE,
  destinationAt: DESTINATION,
});

/**
 * Steps over the extension headers of the packet at `at` and writes the upper layer's place into `upper`.
 * Allocates nothing and reads nothing at or past `end`; a header that `checkHeader` has passed is expected at
 * `at`.
 *
 * False when an extension header is cut off; `upper` then means nothing. Any number of them is stepped over, as Linux does:
 * each takes 8 bytes or more. Headers that
 * cannot be stepped over (ESP, no-next-header, unknown ones) are the upper layer. After a fragment that is
 * not the first comes payload, not a header: the walk ends there, with `fragment` set.
 */
export function walk(b: Uint8Array, at: number, end: number, upper: Upper): boolean {
  let next = at + HEADER_LENGTH;
  if (next > end) return false;
  upper.protocol = nextHeader(b, at);
  upper.fragment = false;
  upper.sourceAt = at + SOURCE;
  upper.destinationAt = at + DESTINATION;
  while (isExtension(upper.protocol)) {
    if (next + 8 > end) return false;
    const header = next;
    next += extensionLength(b, header, upper.protocol);
    if (next > end) return false;
    const isFragmentHeader = upper.protocol === PROTOCOL.FRAGMENT;
    if (upper.protocol === PROTOCOL.ROUTING) lookForDestination(b, header, next, upper);
    else if (upper.protocol === PROTOCOL.DESTINATION_OPTIONS) lookForHome(b, header, next, upper);
    upper.protocol = b[header];
    if (isFragmentHeader) {
      const offsetAndFlags = u16(b, header + 2); // 13 bits of offset, 2 reserved, M
      if ((offsetAndFlags & 0xfff9) !== 0) upper.fragment = true;
      if (offsetAndFlags >>> 3 !== 0) break;
    }
  }
  upper.at = next;
  return true;
}

/**
 * Where the fragment header of the packet at `at` stands, behind which its payload is a part of a larger packet's; -1 when it has
 * none, or a header before it is cut off.
 */
export function fragmentHeaderAt(b: Uint8Array, at: number, end: number): number {
  let header = at + HEADER_LENGTH;
  for (let protocol = nextHeader(b, at); isExtension(protocol); ) {
    if (header + 8 > end) return -1;
    if (protocol === PROTOCOL.FRAGMENT) return header;
    const next = header + extensionLength(b, header, protocol);
    protocol = b[header];
    header = next;
  }
  return -1;
}

/** Where the number of the header at `header` stands: in the fixed header, or in the extension header before it. */
export function nextHeaderFieldBefore(b: Uint8Array, at: number, header: number): number {
  let field = at + NEXT_HEADER;
  for (let each = at + HEADER_LENGTH; each < header; ) {
    const protocol = b[field];
    field = each;
    each += extensionLength(b, each, protocol);
  }
  return field;
}

/** Types of routing headers that hold whole addresses from their byte 8 on, the final destination among them. */
const ROUTING_TYPE = { SOURCE_ROUTE: 0, MOBILE: 2, SEGMENT: 4 } as const;
const ADDRESS_LENGTH = 16;

/**
 * The final destination, while there are segments left: the last address, or the first of a segment routing header, whose
 * list is upside down (RFC 8754 2).
 */
function lookForDestination(b: Uint8Array, at: number, end: number, upper: Upper): void {
  const type = b[at + 2];
  const segmentsLeft = b[at + 3];
  if (segmentsLeft === 0 || end - at < 8 + ADDRESS_LENGTH) return;
  if (type === ROUTING_TYPE.SEGMENT) upper.destinationAt = at + 8;
  else if (type === ROUTING_TYPE.SOURCE_ROUTE || type === ROUTING_TYPE.MOBILE) {
    upper.destinationAt = end - ADDRESS_LENGTH;
  }
}

const OPTION = { PAD1: 0, HOME_ADDRESS: 0xc9 } as const;

/** The sender's home address, where it is away from home (RFC 6275 6.3). */
function lookForHome(b: Uint8Array, at: number, end: number, upper: Upper): void {
  for (let i = at + 2; i < end; ) {
    if (b[i] === OPTION.PAD1) {
      i++;
      continue;
    }
    const next = i + 2 + (i + 1 < end ? b[i + 1] : end);
    if (next > end) return;
    if (b[i] === OPTION.HOME_ADDRESS && next === i + 2 + ADDRESS_LENGTH) upper.sourceAt = i + 2;
    i = next;
  }
}

function isExtension(protocol: number): boolean {
  switch (protocol) {
    case PROTOCOL.HOP_BY_HOP:
    case PROTOCOL.ROUTING:
    case PROTOCOL.FRAGMENT:
    case PROTOCOL.AH:
    case PROTOCOL.DESTINATION_OPTIONS:
      return true;
    default:
      return false;
  }
}

/**
 * The length byte counts 8-byte units after the first 8 bytes; AH counts 4-byte units less two (RFC 4302
 * 2.2).
 */
function extensionLength(b: Uint8Array, at: number, protocol: number): number {
  if (protocol === PROTOCOL.FRAGMENT) return 8;
  if (protocol === PROTOCOL.AH) return (b[at + 1] + 2) * 4;
  return (b[at + 1] + 1) * 8;
}

/** The fixed header as a value, version aside. */
export interface Ipv6Header {
  /** 0 … 255: DSCP and ECN. */
  readonly trafficClass: number;
  /** 0 … 0xfffff. */
  readonly flowLabel: number;
  /** Everything after the fixed header, in bytes. */
  readonly payloadLength: number;
  readonly nextHeader: number;
  readonly hopLimit: number;
  readonly source: Address;
  readonly destination: Address;
}

/** The header at `at`, in memory of its own, or undefined when `checkLength` refuses it. */
export function parse(b: Uint8Array, at: number, end: number): Ipv6Header | undefined {
  if (checkLength(b, at, end) === 0) return undefined;
  const versionClassLabel = u32(b, at + VERSION_CLASS_LABEL);
  return {
    trafficClass: (versionClassLabel >>> 20) & 0xff,
    flowLabel: versionClassLabel & 0xfffff,
    payloadLength: payloadLength(b, at),
    nextHeader: nextHeader(b, at),
    hopLimit: hopLimit(b, at),
    source: copy(b, at + SOURCE, at + DESTINATION),
    destination: copy(b, at + DESTINATION, at + HEADER_LENGTH),
  };
}

/** Bytes that `emit` will write: always 40. */
export function bufferLength(_h: Ipv6Header): number {
  return HEADER_LENGTH;
}

/** Writes every byte of the header and returns its length. */
export function emit(b: Uint8Array, at: number, h: Ipv6Header): number {
  putU32(b, at + VERSION_CLASS_LABEL, (6 << 28) | ((h.trafficClass & 0xff) << 20) | (h.flowLabel & 0xfffff));
  putU16(b, at + PAYLOAD_LENGTH, h.payloadLength);
  b[at + NEXT_HEADER] = h.nextHeader;
  b[at + HOP_LIMIT] = h.hopLimit;
  b.set(h.source, at + SOURCE);
  b.set(h.destination, at + DESTINATION);
  return HEADER_LENGTH;
}
