/**
 * The packets that would have come: a segment of the peer, or an ICMP error, in answer to a SYN. Written from the SYN itself, so that
 * they prove to an engine what a real answer proves. They have TTL 0, which stands for "not known".
 */
import type { Address } from "../../wire/address.ts";
import { i32, putU16, putU32, u16 } from "../../wire/bytes.ts";
import { checksum, pseudoSum4, pseudoSum6 } from "../../wire/checksum.ts";
import * as icmp from "../../wire/icmp.ts";
import * as icmpv6 from "../../wire/icmpv6.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import * as ipv6 from "../../wire/ipv6.ts";
import { PROTOCOL } from "../../wire/protocol.ts";
import * as tcp from "../../wire/tcp.ts";
import type { UnreachableError } from "./connector.ts";

/** Bytes that are kept of a SYN: its headers, without TCP options. */
export const SYN_LENGTH = ipv6.HEADER_LENGTH + tcp.HEADER_LENGTH;
/** Most text of one segment. */
export const MOST_TEXT = 1024;
const WINDOW = 65_535;
const NO_TEXT = new Uint8Array(0);
const DONT_FRAGMENT = 0x4000;
/** Of an error whose sender is not known: it need not be the target. */
const UNSPECIFIED: Address = new Uint8Array(16);

export const familyOf = (syn: Uint8Array, at: number): 4 | 6 => (syn[at] >> 4 === 4 ? 4 : 6);
export const ipLength = (syn: Uint8Array, at: number): number =>
  familyOf(syn, at) === 4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH;
/** Where the peer's address stands in the SYN. */
export const peerAt = (syn: Uint8Array, at: number): number =>
  at + (familyOf(syn, at) === 4 ? ipv4.DESTINATION : ipv6.DESTINATION);
export const peerPortOf = (syn: Uint8Array, at: number): number =>
  u16(syn, at + ipLength(syn, at) + tcp.DESTINATION_PORT);
export const localPortOf = (syn: Uint8Array, at: number): number =>
  u16(syn, at + ipLength(syn, at) + tcp.SOURCE_PORT);
/** The initial sequence number, 32 bits. */
export const issOf = (syn: Uint8Array, at: number): number =>
  i32(syn, at + ipLength(syn, at) + tcp.SEQUENCE) >>> 0;

/** One answer at a time, in `bytes[0, end)`. */
export interface AnswerWriter {
  readonly bytes: Uint8Array;
  /**
   * A segment from the peer of the SYN at `syn[at]`.
   * @returns its end
   */
  segment(
    syn: Uint8Array,
    at: number,
    flags: number,
    sequence: number,
    acknowledgement: number,
    text?: Uint8Array,
  ): number;
  /** An ICMP error about the SYN at `syn[at]`. @returns its end */
  unreachable(syn: Uint8Array, at: number, error: UnreachableError): number;
}

export function createAnswerWriter(): AnswerWriter {
  const bytes = new Uint8Array(SYN_LENGTH + MOST_TEXT + icmp.HEADER_LENGTH + SYN_LENGTH);

  /** Writes an IP header with the SYN's ends turned round, or from another sender. @returns its length */
  function header(syn: Uint8Array, at: number, protocol: number, length: number, from?: Address): number {
    if (familyOf(syn, at) === 4) {
      bytes.fill(0, 0, ipv4.HEADER_LENGTH);
      bytes[ipv4.VERSION_IHL] = 0x45;
      putU16(bytes, ipv4.TOTAL_LENGTH, ipv4.HEADER_LENGTH + length);
      putU16(bytes, ipv4.FRAGMENT, DONT_FRAGMENT);
      bytes[ipv4.PROTOCOL] = protocol;
      for (let i = 0; i < 4; i++) {
        bytes[ipv4.SOURCE + i] = from?.[i] ?? syn[at + ipv4.DESTINATION + i];
        bytes[ipv4.DESTINATION + i] = syn[at + ipv4.SOURCE + i];
      }
      putU16(bytes, ipv4.CHECKSUM, checksum(bytes, 0, ipv4.HEADER_LENGTH));
      return ipv4.HEADER_LENGTH;
    }
    bytes.fill(0, 0, ipv6.HEADER_LENGTH);
    bytes[ipv6.VERSION_CLASS_LABEL] = 0x60;
    putU16(bytes, ipv6.PAYLOAD_LENGTH, length);
    bytes[ipv6.NEXT_HEADER] = protocol;
    for (let i = 0; i < 16; i++) {
      bytes[ipv6.SOURCE + i] = from?.[i] ?? syn[at + ipv6.DESTINATION + i];
      bytes[ipv6.DESTINATION + i] = syn[at + ipv6.SOURCE + i];
    }
    return ipv6.HEADER_LENGTH;
  }

  const pseudo = (syn: Uint8Array, at: number, protocol: number, length: number): number =>
    familyOf(syn, at) === 4
      ? pseudoSum4(bytes, ipv4.SOURCE, ipv4.DESTINATION, protocol, length)
      : pseudoSum6(bytes, ipv6.SOURCE, ipv6.DESTINATION, protocol, length);

  return {
    bytes,
    segment: (syn, at, flags, sequence, acknowledgement, text = NO_TEXT) => {
      const length = tcp.HEADER_LENGTH + text.length;
      const start = header(syn, at, PROTOCOL.TCP, length);
      putU16(bytes, start + tcp.SOURCE_PORT, peerPortOf(syn, at));
      putU16(bytes, start + tcp.DESTINATION_PORT, localPortOf(syn, at));
      putU32(bytes, start + tcp.SEQUENCE, sequence);
      putU32(bytes, start + tcp.ACKNOWLEDGEMENT, acknowledgement);
      bytes[start + tcp.DATA_OFFSET] = (tcp.HEADER_LENGTH / 4) << 4;
      bytes[start + tcp.CONTROL_BITS] = flags;
      putU16(bytes, start + tcp.WINDOW, (flags & tcp.FLAGS.RST) === 0 ? WINDOW : 0);
      putU32(bytes, start + tcp.CHECKSUM, 0);
      bytes.set(text, start + tcp.HEADER_LENGTH);
      const end = start + length;
      tcp.fillChecksum(bytes, start, end, pseudo(syn, at, PROTOCOL.TCP, length));
      return end;
    },
    unreachable: (syn, at, error) => {
      const quoted = syn.subarray(at, at + ipLength(syn, at) + tcp.HEADER_LENGTH);
      const length = icmp.HEADER_LENGTH + quoted.length;
      const from = error.responder ?? UNSPECIFIED;
      if (familyOf(syn, at) === 4) {
        const start = header(syn, at, PROTOCOL.ICMP, length, from);
        return start + icmp.emitError(bytes, start, error, quoted);
      }
      const start = header(syn, at, PROTOCOL.ICMPV6, length, from);
      return start + icmpv6.emitError(bytes, start, error, quoted, pseudo(syn, at, PROTOCOL.ICMPV6, length));
    },
  };
}
