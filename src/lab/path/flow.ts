/**
 * Whose packet it is: the simulated host, its port and the prober's, whichever way the packet goes. An ICMP error counts as
 * the packet that it quotes: it shares that one's fate on the path.
 *
 * Not here: what becomes of it (bursts.ts, path.ts). Tested by test/sim/lab-bursts.test.ts.
 */
import { loadAddress } from "../../socket/table.ts";
import * as icmp from "../../wire/icmp.ts";
import * as icmpv6 from "../../wire/icmpv6.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import * as ipv6 from "../../wire/ipv6.ts";
import { PROTOCOL } from "../../wire/protocol.ts";
import { newQuote } from "../../wire/quote.ts";
import * as tcp from "../../wire/tcp.ts";

/** Written anew for every packet. */
export interface Flow {
  /** The host's address, in four words (IPv4 mapped). */
  readonly host: Uint32Array;
  /** The host's port, and the prober's; 0 where the packet has none. */
  port: number;
  proberPort: number;
}

export const newFlow = (): Flow => ({ host: new Uint32Array(4), port: 0, proberPort: 0 });

const quote = newQuote();

/** Reads the packet `b[at, end)`, whose IP header is whole. @param way to the hosts, or back to the prober */
export function readFlow(flow: Flow, b: Uint8Array, at: number, end: number, way: "in" | "out"): void {
  const v4 = b[at] >>> 4 === 4;
  const { SOURCE, DESTINATION } = v4 ? ipv4 : ipv6;
  const protocol = v4 ? ipv4.protocol(b, at) : ipv6.nextHeader(b, at);
  const segmentAt = at + (v4 ? ipv4.headerLength(b, at) : ipv6.HEADER_LENGTH);
  const isIcmp = protocol === (v4 ? PROTOCOL.ICMP : PROTOCOL.ICMPV6);
  if (way === "out" && isIcmp && (v4 ? icmp : icmpv6).parseQuote(b, segmentAt, end, quote)) {
    loadAddress(flow.host, 0, b, quote.destinationAt, quote.addressLength);
    flow.port = quote.destinationPort;
    flow.proberPort = quote.sourcePort;
    return;
  }
  loadAddress(flow.host, 0, b, at + (way === "in" ? DESTINATION : SOURCE), v4 ? 4 : 16);
  const hasPorts = protocol === PROTOCOL.TCP && tcp.checkLength(b, segmentAt, end) !== 0;
  const source = hasPorts ? tcp.sourcePort(b, segmentAt) : 0;
  const destination = hasPorts ? tcp.destinationPort(b, segmentAt) : 0;
  flow.port = way === "in" ? destination : source;
  flow.proberPort = way === "in" ? source : destination;
}
