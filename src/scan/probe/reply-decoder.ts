/**
 * Decodes a received packet that may answer a probe: a TCP segment, or an ICMP error about one. Lengths and checksums are
 * verified, and the 4-tuple is given as this side sees it. Allocates nothing.
 *
 * Not here: whether the packet answers a probe of ours (engine/receive.ts), what an answer means (classify.ts).
 */
import { ADDRESS_WORDS, loadAddress } from "../../socket/table.ts";
import { i32 } from "../../wire/bytes.ts";
import { pseudoSum4, pseudoSum6 } from "../../wire/checksum.ts";
import * as icmp from "../../wire/icmp.ts";
import * as icmpv6 from "../../wire/icmpv6.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import * as ipv6 from "../../wire/ipv6.ts";
import { PROTOCOL } from "../../wire/protocol.ts";
import { newQuote } from "../../wire/quote.ts";
import * as tcp from "../../wire/tcp.ts";
import { icmpReason, icmpv6Reason } from "./classify.ts";
import type { IgnoredCounts, Reason } from "./result.ts";

/** What a packet is: a possible answer, or why it is none. */
export type Decoded =
  | "segment"
  | "icmp-error"
  | Extract<keyof IgnoredCounts, "malformed" | "badChecksum" | "fragment" | "foreign">;

/** The last decoded packet. `local` is this side and `peer` the probed side, also when an ICMP error quotes them. */
export interface Reply {
  readonly local: Uint32Array;
  readonly peer: Uint32Array;
  localPort: number;
  peerPort: number;
  /** TTL or hop limit of the packet itself. */
  ttl: number;
  /** Of the segment; of the quoted probe for an ICMP error. */
  sequence: number;
  /** Segments only. */
  acknowledgement: number;
  flags: number;
  /** Segments only: where the segment lies in the packet's buffer. */
  segmentAt: number;
  segmentEnd: number;
  /** ICMP errors only: undefined when type and code decide nothing. */
  reason: Reason | undefined;
  /** ICMP errors only: where the sender's address starts in the packet's buffer, and its length. */
  responderAt: number;
  responderLength: number;
  /** ICMP errors only: where the message lies, and in it the quoted IP header and the quoted segment's. */
  messageAt: number;
  messageEnd: number;
  quoteAt: number;
  quotedSegmentAt: number;
}

export interface ReplyDecoder {
  readonly reply: Reply;
  /** Decodes the IP packet `bytes[at, end)` into `reply`. */
  decode(bytes: Uint8Array, at: number, end: number): Decoded;
}

export function createReplyDecoder(): ReplyDecoder {
  const reply: Reply = {
    local: new Uint32Array(ADDRESS_WORDS),
    peer: new Uint32Array(ADDRESS_WORDS),
    localPort: 0,
    peerPort: 0,
    ttl: 0,
    sequence: 0,
    acknowledgement: 0,
    flags: 0,
    segmentAt: 0,
    segmentEnd: 0,
    reason: undefined,
    responderAt: 0,
    responderLength: 0,
    messageAt: 0,
    messageEnd: 0,
    quoteAt: 0,
    quotedSegmentAt: 0,
  };
  const upper = ipv6.newUpper();
  const quote = newQuote();

  function decode(b: Uint8Array, at: number, end: number): Decoded {
    const version = at < end ? b[at] >> 4 : 0;
    if (version === 4) return decodeIpv4(b, at, end);
    if (version === 6) return decodeIpv6(b, at, end);
    return "malformed";
  }

  function decodeIpv4(b: Uint8Array, at: number, end: number): Decoded {
    const headerLength = ipv4.checkLength(b, at, end);
    if (headerLength === 0) return "malformed";
    if (!ipv4.verifyChecksum(b, at)) return "badChecksum";
    if (ipv4.isFragment(b, at)) return "fragment";
    reply.ttl = ipv4.ttl(b, at);
    const source = at + ipv4.SOURCE;
    const destination = at + ipv4.DESTINATION;
    const payload = at + headerLength;
    const payloadEnd = at + ipv4.totalLength(b, at);
    const protocol = ipv4.protocol(b, at);
    if (protocol === PROTOCOL.TCP) {
      const pseudo = pseudoSum4(b, source, destination, PROTOCOL.TCP, payloadEnd - payload);
      return decodeSegment(b, payload, payloadEnd, pseudo, source, destination, 4);
    }
    if (protocol !== PROTOCOL.ICMP) return "foreign";
    if (icmp.checkLength(b, payload, payloadEnd) === 0) return "malformed";
    if (!icmp.verifyChecksum(b, payload, payloadEnd)) return "badChecksum";
    const type = icmp.type(b, payload);
    if (!icmp.isError(type)) return "foreign";
    if (!icmp.parseQuote(b, payload, payloadEnd, quote)) return "malformed";
    return takeQuote(b, icmpReason(type, icmp.code(b, payload)), source, 4, payload, payloadEnd);
  }

  function decodeIpv6(b: Uint8Array, at: number, end: number): Decoded {
    if (ipv6.checkLength(b, at, end) === 0) return "malformed";
    const payloadEnd = at + ipv6.HEADER_LENGTH + ipv6.payloadLength(b, at);
    if (!ipv6.walk(b, at, payloadEnd, upper)) return "malformed";
    if (upper.fragment) return "fragment";
    reply.ttl = ipv6.hopLimit(b, at);
    const { protocol, at: payload, sourceAt, destinationAt } = upper;
    const pseudo = pseudoSum6(b, sourceAt, destinationAt, protocol, payloadEnd - payload);
    if (protocol === PROTOCOL.TCP) {
      return decodeSegment(b, payload, payloadEnd, pseudo, sourceAt, destinationAt, 16);
    }
    if (protocol !== PROTOCOL.ICMPV6) return "foreign";
    if (icmpv6.checkLength(b, payload, payloadEnd) === 0) return "malformed";
    if (!icmpv6.verifyChecksum(b, payload, payloadEnd, pseudo)) return "badChecksum";
    const type = icmpv6.type(b, payload);
    if (!icmpv6.isError(type)) return "foreign";
    if (!icmpv6.parseQuote(b, payload, payloadEnd, quote)) return "malformed";
    const reason = icmpv6Reason(type, icmpv6.code(b, payload));
    return takeQuote(b, reason, at + ipv6.SOURCE, 16, payload, payloadEnd);
  }

  function decodeSegment(
    b: Uint8Array,
    at: number,
    end: number,
    pseudo: number,
    source: number,
    destination: number,
    addressLength: 4 | 16,
  ): Decoded {
    if (tcp.checkLength(b, at, end) === 0) return "malformed";
    if (tcp.verifyChecksum(b, at, end, pseudo) === tcp.CHECKSUM_VERDICT.bad) return "badChecksum";
    loadAddress(reply.peer, 0, b, source, addressLength);
    loadAddress(reply.local, 0, b, destination, addressLength);
    reply.peerPort = tcp.sourcePort(b, at);
    reply.localPort = tcp.destinationPort(b, at);
    reply.sequence = i32(b, at + tcp.SEQUENCE) >>> 0;
    reply.acknowledgement = i32(b, at + tcp.ACKNOWLEDGEMENT) >>> 0;
    reply.flags = tcp.flags(b, at);
    reply.segmentAt = at;
    reply.segmentEnd = end;
    return "segment";
  }

  function takeQuote(
    b: Uint8Array,
    reason: Reason | undefined,
    senderAt: number,
    senderLength: 4 | 16,
    messageAt: number,
    messageEnd: number,
  ): Decoded {
    // An ICMP error of one IP version cannot be about a packet of the other.
    if (quote.protocol !== PROTOCOL.TCP || quote.addressLength !== senderLength) return "foreign";
    loadAddress(reply.local, 0, b, quote.sourceAt, senderLength);
    loadAddress(reply.peer, 0, b, quote.destinationAt, senderLength);
    reply.localPort = quote.sourcePort;
    reply.peerPort = quote.destinationPort;
    reply.sequence = quote.sequence;
    reply.reason = reason;
    reply.responderAt = senderAt;
    reply.responderLength = senderLength;
    reply.messageAt = messageAt;
    reply.messageEnd = messageEnd;
    reply.quoteAt = messageAt + icmp.HEADER_LENGTH;
    reply.quotedSegmentAt = quote.transportAt;
    return "icmp-error";
  }

  return { reply, decode };
}
