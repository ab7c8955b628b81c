/**
 * The packet that an ICMP error is about, as far as the error quotes it.
 *
 * A quote holds the IP header as the reporting router saw it (a lower TTL, perhaps a stale checksum) and at
 * least the first eight bytes after it: for TCP the ports and the sequence number (RFC 792, RFC 4443 3).
 * icmp.ts and icmpv6.ts find the quote in their messages; whether it is of a packet that was ever sent, the
 * socket table knows.
 * Tested by test/wire/icmp.test.ts and test/wire/icmpv6.test.ts.
 */
import { u16, u32 } from "./bytes.ts";
import { PROTOCOL } from "./protocol.ts";

/**
 * Offsets count from the start of the buffer that the ICMP message is in. Reusable: made once, written on
 * every call.
 */
export interface Quote {
  version: 4 | 6;
  /** The upper layer's protocol number, IPv6 extension headers stepped over. */
  protocol: number;
  sourceAt: number;
  destinationAt: number;
  addressLength: 4 | 16;
  /** TCP and UDP ports; 0 for other protocols. */
  sourcePort: number;
  destinationPort: number;
  /** The TCP sequence number, unsigned; 0 for other protocols. */
  sequence: number;
  /** Where the upper layer's header starts; at least eight bytes of it are there. */
  transportAt: number;
}

/** Transport bytes that a quote must hold (RFC 792). */
export const QUOTED_TRANSPORT_LENGTH = 8;

/** A blank quote, to be filled by `parseQuote` again and again. */
export function newQuote(): Quote {
  return {
    version: 4,
    protocol: 0,
    sourceAt: 0,
    destinationAt: 0,
    addressLength: 4,
    sourcePort: 0,
    destinationPort: 0,
    sequence: 0,
    transportAt: 0,
  };
}

/** Reads the first eight transport bytes at `at` into `quote`; false when they are not all there. */
export function readTransport(
  b: Uint8Array,
  at: number,
  end: number,
  protocol: number,
  quote: Quote,
): boolean {
  if (at + QUOTED_TRANSPORT_LENGTH > end) return false;
  const hasPorts = protocol === PROTOCOL.TCP || protocol === PROTOCOL.UDP;
  quote.protocol = protocol;
  quote.transportAt = at;
  quote.sourcePort = hasPorts ? u16(b, at) : 0;
  quote.destinationPort = hasPorts ? u16(b, at + 2) : 0;
  quote.sequence = protocol === PROTOCOL.TCP ? u32(b, at + 4) : 0;
  return true;
}
