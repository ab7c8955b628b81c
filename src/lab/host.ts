/**
 * What arrives at a simulated host, and who answers it there: IP in both versions, ping, and TCP by host-tcp.ts. Where a
 * packet goes from here, and when it arrives, is network.ts's business.
 *
 * Deliberately not here: UDP, fragments.
 */
import { loadAddress } from "../socket/table.ts";
import { pseudoSum4, pseudoSum6 } from "../wire/checksum.ts";
import * as icmp from "../wire/icmp.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { PROTOCOL } from "../wire/protocol.ts";
import { HOST, PEER, writeEchoReply } from "./answer.ts";
import { createHostTcp, type Emit, type HostTcp, type TcpCounts } from "./host-tcp.ts";
import { MAX_PACKET_LENGTH } from "./packets.ts";
import type { HostKind, Population } from "./population.ts";

export interface HostCounts extends TcpCounts {
  /** Packets that no host could read: truncated, checksum wrong, a fragment, or a protocol that hosts do not speak. */
  unreadable: number;
}

export interface Hosts extends Pick<HostTcp, "handleTimeout" | "pollTimeout" | "held"> {
  /** An IP packet arrives at its destination. */
  handlePacket(b: Uint8Array, at: number, end: number, nowUs: number): void;
}

export function createHosts(population: Population, seed: number, counts: HostCounts, emit: Emit): Hosts {
  const out = new Uint8Array(MAX_PACKET_LENGTH);
  /** The host that the packet in hand is for, and its sender; filled for every packet. */
  const pair = new Uint32Array(8);
  const upper = ipv6.newUpper();
  const hostTcp = createHostTcp(pair, seed, counts, emit);

  function handlePacket(b: Uint8Array, at: number, end: number, nowUs: number): void {
    const read = b[at] >>> 4 === 4 ? handleIpv4(b, at, end, nowUs) : handleIpv6(b, at, end, nowUs);
    if (!read) counts.unreadable++;
  }

  function handleIpv4(b: Uint8Array, at: number, end: number, nowUs: number): boolean {
    const header = ipv4.checkLength(b, at, end);
    if (header === 0 || ipv4.isFragment(b, at) || !ipv4.verifyChecksum(b, at)) return false;
    const packetEnd = at + ipv4.totalLength(b, at);
    const segmentAt = at + header;
    loadAddress(pair, HOST, b, at + ipv4.DESTINATION, 4);
    loadAddress(pair, PEER, b, at + ipv4.SOURCE, 4);
    const kind = population.kindAt(pair, HOST);
    if (kind === undefined) return false;
    const protocol = ipv4.protocol(b, at);
    if (protocol === PROTOCOL.TCP) {
      const length = packetEnd - segmentAt;
      const pseudo = pseudoSum4(b, at + ipv4.SOURCE, at + ipv4.DESTINATION, protocol, length);
      return hostTcp.handleSegment(kind, b, at, segmentAt, packetEnd, pseudo, nowUs);
    }
    if (protocol !== PROTOCOL.ICMP || icmp.checkLength(b, segmentAt, packetEnd) === 0) return false;
    if (icmp.type(b, segmentAt) !== icmp.TYPE.ECHO_REQUEST || !icmp.verifyChecksum(b, segmentAt, packetEnd))
      return false;
    replyToPing(kind, b, segmentAt, packetEnd, nowUs);
    return true;
  }

  function handleIpv6(b: Uint8Array, at: number, end: number, nowUs: number): boolean {
    if (ipv6.checkLength(b, at, end) === 0) return false;
    const packetEnd = at + ipv6.HEADER_LENGTH + ipv6.payloadLength(b, at);
    if (!ipv6.walk(b, at, packetEnd, upper) || upper.fragment) return false;
    // A host neither forwards what is routed through it, nor does it know anybody's home (RFC 6275 9.3.1).
    const { sourceAt, destinationAt } = upper;
    if (sourceAt !== at + ipv6.SOURCE || destinationAt !== at + ipv6.DESTINATION) return false;
    loadAddress(pair, HOST, b, destinationAt, 16);
    loadAddress(pair, PEER, b, sourceAt, 16);
    const kind = population.kindAt(pair, HOST);
    if (kind === undefined) return false;
    const { protocol, at: segmentAt } = upper;
    if (protocol !== PROTOCOL.TCP && protocol !== PROTOCOL.ICMPV6) return false;
    const length = packetEnd - segmentAt;
    const pseudo = pseudoSum6(b, sourceAt, destinationAt, protocol, length);
    if (protocol === PROTOCOL.TCP)
      return hostTcp.handleSegment(kind, b, at, segmentAt, packetEnd, pseudo, nowUs);
    if (icmpv6.checkLength(b, segmentAt, packetEnd) === 0) return false;
    if (icmpv6.type(b, segmentAt) !== icmpv6.TYPE.ECHO_REQUEST) return false;
    if (!icmpv6.verifyChecksum(b, segmentAt, packetEnd, pseudo)) return false;
    replyToPing(kind, b, segmentAt, packetEnd, nowUs);
    return true;
  }

  function replyToPing(kind: HostKind, b: Uint8Array, at: number, end: number, nowUs: number): void {
    if (kind.pings) emit(kind, out, writeEchoReply(out, pair, kind.ttl, b, at, end), nowUs);
  }

  return {
    handlePacket,
    handleTimeout: hostTcp.handleTimeout,
    pollTimeout: hostTcp.pollTimeout,
    get held() {
      return hostTcp.held;
    },
  };
}
