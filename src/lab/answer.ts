/**
 * The packets that hosts and routers send without a connection behind them: bare segments, ICMP errors, echo replies. Written
 * from numbers at the start of a buffer, checksums computed on the way; nothing is allocated.
 *
 * Addresses are four words each (IPv4 mapped), as in socket/table.ts.
 */
import { putU16, putU32 } from "../wire/bytes.ts";
import { fold, sum } from "../wire/checksum.ts";
import * as icmp from "../wire/icmp.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { PROTOCOL } from "../wire/protocol.ts";
import * as tcp from "../wire/tcp.ts";
import { KIND } from "../wire/tcp-options.ts";

/** Two addresses of one IP version, side by side: the sender's four words at `HOST`, the receiver's at `PEER`. */
export type AddressPair = Uint32Array;
export const HOST = 0;
export const PEER = 4;

const MAPPED_PREFIX = 0xffff;

/** Whether the address `words[at]` is of IPv4. */
export const isIpv4 = (words: Uint32Array, at: number): boolean =>
  words[at] === 0 && words[at + 1] === 0 && words[at + 2] === MAPPED_PREFIX;

const halves = (word: number): number => (word >>> 16) + (word & 0xffff);

/** The partial sum of both addresses: the pseudo-header's greater part. */
function addressSum(pair: AddressPair, v4: boolean): number {
  if (v4) return halves(pair[HOST + 3]) + halves(pair[PEER + 3]);
  let total = 0;
  for (let i = 0; i < 8; i++) total += halves(pair[i]);
  return total;
}

/** Writes the IP header for `length` bytes of payload. @returns its own length */
function writeIp(
  out: Uint8Array,
  pair: AddressPair,
  v4: boolean,
  addresses: number,
  ttl: number,
  protocol: number,
  length: number,
): number {
  if (v4) {
    const total = ipv4.HEADER_LENGTH + length;
    putU16(out, ipv4.VERSION_IHL, 0x4500);
    putU16(out, ipv4.TOTAL_LENGTH, total);
    // RFC 6864 §4.1: an atomic datagram (DF set, whole) needs no identification.
    putU16(out, ipv4.IDENTIFICATION, 0);
    putU16(out, ipv4.FRAGMENT, 0x4000);
    out[ipv4.TTL] = ttl;
    out[ipv4.PROTOCOL] = protocol;
    putU16(out, ipv4.CHECKSUM, ~fold(0x4500 + total + 0x4000 + ((ttl << 8) | protocol) + addresses));
    putU32(out, ipv4.SOURCE, pair[HOST + 3]);
    putU32(out, ipv4.DESTINATION, pair[PEER + 3]);
    return ipv4.HEADER_LENGTH;
  }
  putU32(out, ipv6.VERSION_CLASS_LABEL, 0x6000_0000);
  putU16(out, ipv6.PAYLOAD_LENGTH, length);
  out[ipv6.NEXT_HEADER] = protocol;
  out[ipv6.HOP_LIMIT] = ttl;
  for (let i = 0; i < 4; i++) {
    putU32(out, ipv6.SOURCE + 4 * i, pair[HOST + i]);
    putU32(out, ipv6.DESTINATION + 4 * i, pair[PEER + i]);
  }
  return ipv6.HEADER_LENGTH;
}

/**
 * Writes a segment without text, from `pair`'s host to its peer, at the start of `out`.
 * @param ports the host's port in the upper 16 bits, the peer's in the lower
 * @param mss MSS option; 0 for none
 * @returns the packet's length
 */
export function writeSegment(
  out: Uint8Array,
  pair: AddressPair,
  ports: number,
  ttl: number,
  flags: number,
  sequence: number,
  acknowledgement: number,
  window: number,
  mss: number,
): number {
  const v4 = isIpv4(pair, HOST);
  const addresses = addressSum(pair, v4);
  const length = mss > 0 ? tcp.HEADER_LENGTH + 4 : tcp.HEADER_LENGTH;
  const at = writeIp(out, pair, v4, addresses, ttl, PROTOCOL.TCP, length);
  const offsetAndFlags = (length << 10) | flags;
  putU32(out, at + tcp.SOURCE_PORT, ports);
  putU32(out, at + tcp.SEQUENCE, sequence);
  putU32(out, at + tcp.ACKNOWLEDGEMENT, acknowledgement);
  putU16(out, at + tcp.DATA_OFFSET, offsetAndFlags);
  putU16(out, at + tcp.WINDOW, window);
  putU16(out, at + tcp.URGENT_POINTER, 0);
  let total = addresses + PROTOCOL.TCP + length + offsetAndFlags + window;
  total += halves(ports) + halves(sequence) + halves(acknowledgement);
  if (mss > 0) {
    const option = (KIND.MSS << 24) | (4 << 16) | mss;
    putU32(out, at + tcp.OPTIONS, option);
    total += halves(option);
  }
  putU16(out, at + tcp.CHECKSUM, ~fold(total));
  return at + length;
}

/** Quoted bytes at most: within 576 bytes (RFC 1812 §4.3.2.3) and 1280 (RFC 4443 §2.4). */
const QUOTE_4 = 576 - ipv4.HEADER_LENGTH - icmp.HEADER_LENGTH;
const QUOTE_6 = 1280 - ipv6.HEADER_LENGTH - icmpv6.HEADER_LENGTH;

/**
 * Writes an ICMP error that quotes the packet `b[at, end)`.
 * @param rest the message's second word
 * @returns the packet's length
 */
export function writeIcmpError(
  out: Uint8Array,
  pair: AddressPair,
  ttl: number,
  type: number,
  code: number,
  b: Uint8Array,
  at: number,
  end: number,
  rest = 0,
): number {
  const v4 = isIpv4(pair, HOST);
  const quoted = Math.min(end - at, v4 ? QUOTE_4 : QUOTE_6);
  return writeIcmp(out, pair, v4, ttl, (type << 8) | code, rest, b, at, at + quoted);
}

/** Writes the reply to the echo request `b[at, end)` (RFC 792, RFC 4443 §4.2). @returns the packet's length */
export function writeEchoReply(
  out: Uint8Array,
  pair: AddressPair,
  ttl: number,
  b: Uint8Array,
  at: number,
  end: number,
): number {
  const v4 = isIpv4(pair, HOST);
  const type = v4 ? icmp.TYPE.ECHO_REPLY : icmpv6.TYPE.ECHO_REPLY;
  return writeIcmp(out, pair, v4, ttl, type << 8, icmp.rest(b, at), b, at + icmp.HEADER_LENGTH, end);
}

function writeIcmp(
  out: Uint8Array,
  pair: AddressPair,
  v4: boolean,
  ttl: number,
  typeAndCode: number,
  rest: number,
  body: Uint8Array,
  bodyAt: number,
  bodyEnd: number,
): number {
  const length = icmp.HEADER_LENGTH + bodyEnd - bodyAt;
  const protocol = v4 ? PROTOCOL.ICMP : PROTOCOL.ICMPV6;
  const addresses = addressSum(pair, v4);
  const at = writeIp(out, pair, v4, addresses, ttl, protocol, length);
  putU16(out, at + icmp.TYPE_OF_MESSAGE, typeAndCode);
  putU16(out, at + icmp.CHECKSUM, 0);
  putU32(out, at + icmp.REST, rest);
  for (let i = bodyAt, to = at + icmp.HEADER_LENGTH; i < bodyEnd; i++) out[to++] = body[i];
  // Only ICMPv6 has a pseudo-header.
  const pseudo = v4 ? 0 : addresses + protocol + length;
  putU16(out, at + icmp.CHECKSUM, ~fold(sum(out, at, at + length, pseudo)));
  return at + length;
}
