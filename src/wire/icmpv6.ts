/**
 * ICMPv6 (RFC 4443).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *   0 |     Type      |     Code      |           Checksum            |
 *     +---------------+---------------+-------------------------------+
 *   4 |           Rest of header: unused, MTU, pointer                |
 *     +---------------------------------------------------------------+
 *   8 |  Errors: as much of the offending packet as fits 1280 bytes   |
 *     +---------------------------------------------------------------+
 *
 * Names and bytes; the scan decides which of them make a port filtered. Neighbour discovery is known
 * by name only.
 */
import { putU16, putU32 } from "./bytes.ts";
import { checksum } from "./checksum.ts";
import type { ErrorMessage } from "./icmp.ts";
import {
  CHECKSUM,
  CODE_OF_MESSAGE,
  checkLength,
  HEADER_LENGTH,
  REST,
  TYPE_OF_MESSAGE,
  type,
} from "./icmp-header.ts";
import * as ipv6 from "./ipv6.ts";
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
  DESTINATION_UNREACHABLE: 1,
  PACKET_TOO_BIG: 2,
  TIME_EXCEEDED: 3,
  PARAMETER_PROBLEM: 4,
  ECHO_REQUEST: 128,
  ECHO_REPLY: 129,
  ROUTER_SOLICITATION: 133,
  ROUTER_ADVERTISEMENT: 134,
  NEIGHBOUR_SOLICITATION: 135,
  NEIGHBOUR_ADVERTISEMENT: 136,
  REDIRECT: 137,
} as const;

/** Codes of `TYPE.DESTINATION_UNREACHABLE` (RFC 4443 3.1). */
export const CODE = {
  NO_ROUTE: 0,
  ADMIN_PROHIBITED: 1,
  BEYOND_SCOPE: 2,
  ADDRESS_UNREACHABLE: 3,
  PORT_UNREACHABLE: 4,
  POLICY_FAIL: 5,
  REJECT_ROUTE: 6,
} as const;

/** Codes of `TYPE.TIME_EXCEEDED` (RFC 4443 3.3). */
export const TIME_EXCEEDED_CODE = { IN_TRANSIT: 0, REASSEMBLY: 1 } as const;

/** Codes of `TYPE.PARAMETER_PROBLEM` (RFC 4443 3.4). */
export const PARAMETER_PROBLEM_CODE = { HEADER_FIELD: 0, NEXT_HEADER: 1, OPTION: 2 } as const;

/**
 * Whether the checksum of the message `[at, end)` is right under the pseudo-header of `pseudoSum` (RFC 4443
 * 2.3).
 */
export function verifyChecksum(b: Uint8Array, at: number, end: number, pseudoSum: number): boolean {
  return checksum(b, at, end, pseudoSum) === 0;
}

/** Whether messages of this type quote the packet they are about (RFC 4443 2.1). */
export function isError(type: number): boolean {
  return type >= TYPE.DESTINATION_UNREACHABLE && type <= TYPE.PARAMETER_PROBLEM;
}

const upper = ipv6.newUpper();

/**
 * Reads into `quote` what the error message `[at, end)` quotes, extension headers stepped over. Allocates
 * nothing. False, and `quote` then means nothing, when the message is no error, the quote has fewer
 * than eight transport bytes, is not IPv6, or is of a fragment. The quoted payload length may exceed what is
 * there.
 */
export function parseQuote(b: Uint8Array, at: number, end: number, quote: Quote): boolean {
  if (checkLength(b, at, end) === 0 || !isError(type(b, at))) return false;
  const inner = at + HEADER_LENGTH;
  if (ipv6.checkHeader(b, inner, end) === 0) return false;
  if (!ipv6.walk(b, inner, end, upper) || upper.fragment) return false;
  quote.version = 6;
  quote.addressLength = 16;
  quote.sourceAt = inner + ipv6.SOURCE;
  quote.destinationAt = inner + ipv6.DESTINATION;
  return readTransport(b, upper.at, end, upper.protocol, quote);
}

/**
 * Writes an error message that quotes all of `quoted`, checksum included, and returns its length.
 * `pseudoSum` is for a length of 8 + quoted.length. Cutting the quote so that the packet stays within 1280
 * bytes is the caller's.
 */
export function emitError(
  b: Uint8Array,
  at: number,
  message: ErrorMessage,
  quoted: Uint8Array,
  pseudoSum: number,
): number {
  const end = at + HEADER_LENGTH + quoted.length;
  b[at + TYPE_OF_MESSAGE] = message.type;
  b[at + CODE_OF_MESSAGE] = message.code;
  putU16(b, at + CHECKSUM, 0);
  putU32(b, at + REST, message.rest ?? 0);
  b.set(quoted, at + HEADER_LENGTH);
  putU16(b, at + CHECKSUM, checksum(b, at, end, pseudoSum));
  return end - at;
}

/** What a message of this type and code says, in nmap's spelling where nmap has one: "addr-unreach". */
export function codeName(type: number, code: number): string {
  if (type === TYPE.DESTINATION_UNREACHABLE) return UNREACHABLE_NAMES[code] ?? `unreach-code-${code}`;
  if (type === TYPE.TIME_EXCEEDED && code === TIME_EXCEEDED_CODE.REASSEMBLY)
    return "reassembly-time-exceeded";
  return MESSAGE_NAMES[type] ?? `type-${type}-code-${code}`;
}

const UNREACHABLE_NAMES: Readonly<Record<number, string | undefined>> = {
  [CODE.NO_ROUTE]: "no-route",
  [CODE.ADMIN_PROHIBITED]: "admin-prohibited",
  [CODE.BEYOND_SCOPE]: "beyond-scope",
  [CODE.ADDRESS_UNREACHABLE]: "addr-unreach",
  [CODE.PORT_UNREACHABLE]: "port-unreach",
  [CODE.POLICY_FAIL]: "policy-fail",
  [CODE.REJECT_ROUTE]: "reject-route",
};

const MESSAGE_NAMES: Readonly<Record<number, string | undefined>> = {
  [TYPE.PACKET_TOO_BIG]: "packet-too-big",
  [TYPE.TIME_EXCEEDED]: "time-exceeded",
  [TYPE.PARAMETER_PROBLEM]: "param-problem",
  [TYPE.ECHO_REQUEST]: "echo-request",
  [TYPE.ECHO_REPLY]: "echo-reply",
  [TYPE.ROUTER_SOLICITATION]: "router-solicitation",
  [TYPE.ROUTER_ADVERTISEMENT]: "router-advertisement",
  [TYPE.NEIGHBOUR_SOLICITATION]: "neighbour-solicitation",
  [TYPE.NEIGHBOUR_ADVERTISEMENT]: "neighbour-advertisement",
  [TYPE.REDIRECT]: "redirect",
};
