/**
 * What is said between neighbours, as frames: the question for a hardware address (RFC 826; RFC 4861 7.2.2), what an answer tells,
 * and the ICMP error that a kernel makes for the packets of a neighbour that does not answer.
 *
 * Pure. Not here: when to ask and whom to believe (solicitations.ts, neighbour.ts).
 */
import type { Address } from "../wire/address.ts";
import * as arp from "../wire/arp.ts";
import { pseudoSum6 } from "../wire/checksum.ts";
import * as ethernet from "../wire/ethernet.ts";
import * as icmp from "../wire/icmp.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import * as ndp from "../wire/ndp.ts";
import { PROTOCOL } from "../wire/protocol.ts";

const BROADCAST = new Uint8Array(ethernet.MAC_LENGTH).fill(0xff);
const NOBODY = new Uint8Array(ethernet.MAC_LENGTH);
/** ff02::1:ff00:0/104 (RFC 4291 2.7.1), and 33:33 before the last four bytes of a multicast address (RFC 2464 7). */
const SOLICITED_NODE = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff] as const;
const MULTICAST_MAC = [0x33, 0x33, 0xff] as const;
/** Bit of the first byte of a hardware address that stands for several stations. */
const GROUP = 1;
const OWN_TTL = 64;

/** ICMPv6's pseudo-header of the IPv6 packet at `at`, with `length` bytes of ICMPv6. */
const pseudoSum = (b: Uint8Array, at: number, length: number): number =>
  pseudoSum6(b, at + ipv6.SOURCE, at + ipv6.DESTINATION, PROTOCOL.ICMPV6, length);

/** Writes the frame that asks who has `target`, from this machine's `mac` and `source`. @returns its length */
export function emitSolicitation(
  b: Uint8Array,
  at: number,
  mac: ethernet.Mac,
  source: Address,
  target: Address,
): number {
  const packet = at + ethernet.HEADER_LENGTH;
  if (target.length === 4) {
    ethernet.emit(b, at, { destination: BROADCAST, source: mac, etherType: ethernet.ETHERTYPE.ARP });
    return (
      ethernet.HEADER_LENGTH +
      arp.emit(b, packet, {
        operation: arp.OPERATION.REQUEST,
        senderHardware: mac,
        senderProtocol: source,
        targetHardware: NOBODY,
        targetProtocol: target,
      })
    );
  }
  const low = target.slice(13);
  ethernet.emit(b, at, {
    destination: Uint8Array.of(...MULTICAST_MAC, ...low),
    source: mac,
    etherType: ethernet.ETHERTYPE.IPV6,
  });
  const message = { type: icmpv6.TYPE.NEIGHBOUR_SOLICITATION, flags: 0, target, linkAddress: mac };
  const length = ndp.bufferLength(message);
  ipv6.emit(b, packet, {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: length,
    nextHeader: PROTOCOL.ICMPV6,
    hopLimit: ndp.HOP_LIMIT,
    source,
    destination: Uint8Array.of(...SOLICITED_NODE, ...low),
  });
  ndp.emit(b, packet + ipv6.HEADER_LENGTH, message, pseudoSum(b, packet, length));
  return ethernet.HEADER_LENGTH + ipv6.HEADER_LENGTH + length;
}

export interface NeighbourAnswer {
  readonly address: Address;
  readonly mac: ethernet.Mac;
  /** Whether it replaces what is known (RFC 4861 7.2.5); ARP always does. */
  readonly override: boolean;
}

/**
 * What the frame `b[at, end)` tells of its sender: any ARP packet does, and a neighbour advertisement.
 * @returns "none" when it is neither, undefined when it tells nothing or is not valid
 */
export function readNeighbourAnswer(
  b: Uint8Array,
  at: number,
  end: number,
): NeighbourAnswer | "none" | undefined {
  const packet = at + ethernet.HEADER_LENGTH;
  const etherType = ethernet.etherType(b, at);
  if (etherType === ethernet.ETHERTYPE.ARP) {
    const message = arp.parse(b, packet, end);
    if (message === undefined) return undefined;
    return told(message.senderProtocol, message.senderHardware, true);
  }
  const from = packet + ipv6.HEADER_LENGTH;
  if (
    etherType !== ethernet.ETHERTYPE.IPV6 ||
    from >= end ||
    ipv6.nextHeader(b, packet) !== PROTOCOL.ICMPV6 ||
    b[from] !== icmpv6.TYPE.NEIGHBOUR_ADVERTISEMENT
  )
    return "none";
  if (ipv6.checkLength(b, packet, end) === 0 || ipv6.hopLimit(b, packet) !== ndp.HOP_LIMIT) return undefined;
  const to = from + ipv6.payloadLength(b, packet);
  const message = ndp.parse(b, from, to);
  if (message?.linkAddress === undefined) return undefined;
  if (!icmpv6.verifyChecksum(b, from, to, pseudoSum(b, packet, to - from))) return undefined;
  return told(message.target, message.linkAddress, (message.flags & ndp.FLAGS.OVERRIDE) !== 0);
}

function told(address: Address, mac: ethernet.Mac, override: boolean): NeighbourAnswer | undefined {
  return (mac[0] & GROUP) !== 0 || mac.every((byte) => byte === 0) ? undefined : { address, mac, override };
}

/**
 * What a kernel tells itself of an IP packet that it cannot deliver because the neighbour does not answer: host-unreach, or
 * addr-unreach, from and to the packet's source (RFC 1122 2.3.2.2, RFC 4861 7.2.2).
 */
export function unreachableNeighbour(packet: Uint8Array): Uint8Array {
  if (packet[0] >> 4 === 4) {
    const error = new Uint8Array(ipv4.HEADER_LENGTH + icmp.HEADER_LENGTH + packet.length);
    const own = packet.slice(ipv4.SOURCE, ipv4.DESTINATION);
    ipv4.emit(error, 0, {
      tos: 0,
      totalLength: error.length,
      identification: 0,
      dontFragment: true,
      moreFragments: false,
      fragmentOffset: 0,
      ttl: OWN_TTL,
      protocol: PROTOCOL.ICMP,
      source: own,
      destination: own,
      options: new Uint8Array(0),
    });
    const what = { type: icmp.TYPE.DESTINATION_UNREACHABLE, code: icmp.CODE.HOST_UNREACHABLE };
    icmp.emitError(error, ipv4.HEADER_LENGTH, what, packet);
    return error;
  }
  const length = icmpv6.HEADER_LENGTH + packet.length;
  const error = new Uint8Array(ipv6.HEADER_LENGTH + length);
  const own = packet.slice(ipv6.SOURCE, ipv6.DESTINATION);
  ipv6.emit(error, 0, {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: length,
    nextHeader: PROTOCOL.ICMPV6,
    hopLimit: OWN_TTL,
    source: own,
    destination: own,
  });
  const what = { type: icmpv6.TYPE.DESTINATION_UNREACHABLE, code: icmpv6.CODE.ADDRESS_UNREACHABLE };
  icmpv6.emitError(error, ipv6.HEADER_LENGTH, what, packet, pseudoSum(error, 0, length));
  return error;
}
