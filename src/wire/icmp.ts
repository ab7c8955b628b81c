/**
 * ICMP for IPv4 (RFC 792, RFC 1122 3.2.2, RFC 1812 5.2.7).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *   0 |     Type      |     Code      |           Checksum            |
 *     +---------------+---------------+-------------------------------+
 *   4 |          Rest of header: unused, next-hop MTU, ...            |
 *     +---------------------------------------------------------------+
 *   8 |  Errors: the offending IP header and >= 8 bytes of its data   |
 *     +---------------------------------------------------------------+
 *
 * Names and bytes; the scan decides which of them make a port filtered.
 */
import { putU16, putU32 } from "./bytes.ts";
import { checksum } from "./checksum.ts";
import {
  CHECKSUM,
  CODE_OF_MESSAGE,
  checkLength,
  HEADER_LENGTH,
  REST,
  TYPE_OF_MESSAGE,
  type,
} from "./icmp-header.ts";
import * as ipv4 from "./ipv4.ts";
import { type Quote, readTransport } from "./quote.ts";

export {
  CHECKSUM,
  CODE_OF_MESSAGE,
  checkLength,
  code,
  HEADER_LENGTH,
  REST,
  rest,
  TYPE_OF_MESSAGE,
  type,
} from "./icmp-header.ts";

export const TYPE = {
  ECHO_REPLY: 0,
  DESTINATION_UNREACHABLE: 3,
  SOURCE_QUENCH: 4,
  REDIRECT: 5,
  ECHO_REQUEST: 8,
  TIME_EXCEEDED: 11,
  PARAMETER_PROBLEM: 12,
} as const;

/** Codes of `TYPE.DESTINATION_UNREACHABLE`. */
export const CODE = {
  NET_UNREACHABLE: 0,
  HOST_UNREACHABLE: 1,
  PROTOCOL_UNREACHABLE: 2,
  PORT_UNREACHABLE: 3,
  FRAGMENTATION_NEEDED: 4,
  SOURCE_ROUTE_FAILED: 5,
  NET_UNKNOWN: 6,
  HOST_UNKNOWN: 7,
  HOST_ISOLATED: 8,
  NET_PROHIBITED: 9,
  HOST_PROHIBITED: 10,
  NET_UNREACHABLE_FOR_TOS: 11,
  HOST_UNREACHABLE_FOR_TOS: 12,
  ADMIN_PROHIBITED: 13,
  PRECEDENCE_VIOLATION: 14,
  PRECEDENCE_CUTOFF: 15,
} as const;

/** Codes of `TYPE.TIME_EXCEEDED`. */
export const TIME_EXCEEDED_CODE = { IN_TRANSIT: 0, REASSEMBLY: 1 } as const;

/** Whether the checksum of the message `[at, end)` is right. ICMP for IPv4 has no pseudo-header. */
export function verifyChecksum(b: Uint8Array, at: number, end: number): boolean {
  return checksum(b, at, end) === 0;
}

/** Whether messages of this type quote the packet they are about (RFC 1122 3.2.2). */
export function isError(type: number): boolean {
  switch (type) {
    case TYPE.DESTINATION_UNREACHABLE:
    case TYPE.SOURCE_QUENCH:
    case TYPE.REDIRECT:
    case TYPE.TIME_EXCEEDED:
    case TYPE.PARAMETER_PROBLEM:
      return true;
    default:
      return false;
  }
}

/**
 * Reads into `quote` what the error message `[at, end)` quotes. Allocates nothing. False, and `quote` then
 * means nothing, when the message is no error, the quote has fewer than eight transport bytes, is not
 * IPv4, or is of a fragment. The quoted total length and checksum are not held against it: routers cut the
 * one and let the other rot.
 */
export function parseQuote(b: Uint8Array, at: number, end: number, quote: Quote): boolean {
  if (checkLength(b, at, end) === 0 || !isError(type(b, at))) return false;
  const inner = at + HEADER_LENGTH;
  const length = ipv4.checkHeader(b, inner, end);
  if (length === 0 || ipv4.isFragment(b, inner)) return false;
  quote.version = 4;
  quote.addressLength = 4;
  quote.sourceAt = inner + ipv4.SOURCE;
  quote.destinationAt = inner + ipv4.DESTINATION;
  return readTransport(b, inner + length, end, ipv4.protocol(b, inner), quote);
}

export interface ErrorMessage {
  readonly type: number;
  readonly code: number;
  /** The second word, 32 bits; 0 when left out. */
  readonly rest?: number;
}

/** Writes an error message that quotes all of `quoted`, checksum included, and returns its length. */
export function emitError(b: Uint8Array, at: number, message: ErrorMessage, quoted: Uint8Array): number {
  const end = at + HEADER_LENGTH + quoted.length;
  b[at + TYPE_OF_MESSAGE] = message.type;
  b[at + CODE_OF_MESSAGE] = message.code;
  putU16(b, at + CHECKSUM, 0);
  putU32(b, at + REST, message.rest ?? 0);
  b.set(quoted, at + HEADER_LENGTH);
  putU16(b, at + CHECKSUM, checksum(b, at, end));
  return end - at;
}

/** What a message of this type and code says, in nmap's spelling where nmap has one: "host-unreach". */
export function codeName(type: number, code: number): string {
  switch (type) {
    case TYPE.ECHO_REPLY:
      return "echo-reply";
    case TYPE.DESTINATION_UNREACHABLE:
      return UNREACHABLE_NAMES[code] ?? `unreach-code-${code}`;
    case TYPE.SOURCE_QUENCH:
      return "source-quench";
    case TYPE.REDIRECT:
      return "redirect";
    case TYPE.ECHO_REQUEST:
      return "echo-request";
    case TYPE.TIME_EXCEEDED:
      return code === TIME_EXCEEDED_CODE.REASSEMBLY ? "reassembly-time-exceeded" : "time-exceeded";
    case TYPE.PARAMETER_PROBLEM:
      return "param-problem";
    default:
      return `type-${type}-code-${code}`;
  }
}

const UNREACHABLE_NAMES: Readonly<Record<number, string | undefined>> = {
  [CODE.NET_UNREACHABLE]: "net-unreach",
  [CODE.HOST_UNREACHABLE]: "host-unreach",
  [CODE.PROTOCOL_UNREACHABLE]: "proto-unreach",
  [CODE.PORT_UNREACHABLE]: "port-unreach",
  [CODE.FRAGMENTATION_NEEDED]: "fragmentation-needed",
  [CODE.SOURCE_ROUTE_FAILED]: "source-route-failed",
  [CODE.NET_UNKNOWN]: "net-unknown",
  [CODE.HOST_UNKNOWN]: "host-unknown",
  [CODE.HOST_ISOLATED]: "host-isolated",
  [CODE.NET_PROHIBITED]: "net-prohibited",
  [CODE.HOST_PROHIBITED]: "host-prohibited",
  [CODE.NET_UNREACHABLE_FOR_TOS]: "net-unreach-for-tos",
  [CODE.HOST_UNREACHABLE_FOR_TOS]: "host-unreach-for-tos",
  [CODE.ADMIN_PROHIBITED]: "admin-prohibited",
  [CODE.PRECEDENCE_VIOLATION]: "precedence-violation",
  [CODE.PRECEDENCE_CUTOFF]: "precedence-cutoff",
};
