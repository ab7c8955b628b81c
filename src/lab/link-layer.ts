/**
 * The link of the lab: Ethernet between the prober's interface and a simulated network. It answers ARP
 * and neighbour discovery for the network's addresses; IP packets leave their frames on the way in and are framed on the way out.
 *
 * One hardware address serves the router and every host on the link. There is one prober: frames go to the sender of the
 * last IP packet. Not modelled: tags, other multicast than neighbour discovery's, router advertisements.
 */
import { type Address, isUnspecified, sameAddress } from "../wire/address.ts";
import * as arp from "../wire/arp.ts";
import { putU16 } from "../wire/bytes.ts";
import { pseudoSum6 } from "../wire/checksum.ts";
import * as ethernet from "../wire/ethernet.ts";
import { TYPE, type, verifyChecksum } from "../wire/icmpv6.ts";
import * as ipv6 from "../wire/ipv6.ts";
import * as ndp from "../wire/ndp.ts";
import { PROTOCOL } from "../wire/protocol.ts";
import type { LabNetwork } from "./network.ts";

export interface LinkLayerOptions {
  /** Source of the lab's frames, and destination of frames to it. */
  readonly mac: ethernet.Mac;
  /** The prober's gateways, one per IP version: the lab answers for them as for its hosts. */
  readonly gateways: readonly Address[];
  readonly network: Pick<LabNetwork, "handlePacket" | "pollTransmit" | "serves">;
}

export interface LinkLayer {
  /** Takes a frame from the prober, `bytes[at, end)`, that arrived at `nowUs`. */
  handleFrame(bytes: Uint8Array, at: number, end: number, nowUs: number): void;
  /** Queues an announcement of `address` to all on the link (RFC 5227 §3): something that a quiet network always has. */
  announce(address: Address): void;
  /** Writes the next frame due at `nowUs` at `out[at]`, at most 1514 bytes. @returns its length, 0 when there is none */
  pollTransmit(nowUs: number, out: Uint8Array, at: number): number;
}

/** Capacity of the queue of ARP and neighbour discovery answers. A dropped one is asked for again. */
const ANSWERS = 64;
/** The longest: an advertisement with its option. */
const ANSWER_LENGTH = ethernet.HEADER_LENGTH + ipv6.HEADER_LENGTH + ndp.HEADER_LENGTH + 8;

/** Of the pseudo-header of the IPv6 packet at `at` with `length` bytes of ICMPv6. */
const pseudoSum = (b: Uint8Array, at: number, length: number): number =>
  pseudoSum6(b, at + ipv6.SOURCE, at + ipv6.DESTINATION, PROTOCOL.ICMPV6, length);

export function createLinkLayer({ mac, gateways, network }: LinkLayerOptions): LinkLayer {
  const prober = new Uint8Array(ethernet.MAC_LENGTH).fill(0xff);
  const answers = new Uint8Array(ANSWERS * ANSWER_LENGTH);
  const answerLengths = new Uint8Array(ANSWERS);
  let firstAnswer = 0;
  let answerCount = 0;

  const isGateway = (address: Address): boolean =>
    gateways.some(
      (gateway) => gateway.length === address.length && sameAddress(gateway, 0, address, 0, address.length),
    );
  const answersFor = (address: Address): boolean => isGateway(address) || network.serves(address);

  /** Queues an answer. @param write puts it in place and returns its length */
  function answer(write: (at: number) => number): void {
    if (answerCount === ANSWERS) return;
    const slot = (firstAnswer + answerCount++) % ANSWERS;
    answerLengths[slot] = write(slot * ANSWER_LENGTH);
  }

  function announce(address: Address): void {
    answer((start) => {
      const everybody = new Uint8Array(ethernet.MAC_LENGTH).fill(0xff);
      const header = { destination: everybody, source: mac, etherType: ethernet.ETHERTYPE.ARP };
      const packet = start + ethernet.emit(answers, start, header);
      const request = {
        operation: arp.OPERATION.REQUEST,
        senderHardware: mac,
        senderProtocol: address,
        targetHardware: new Uint8Array(ethernet.MAC_LENGTH),
        targetProtocol: address,
      };
      return ethernet.HEADER_LENGTH + arp.emit(answers, packet, request);
    });
  }

  function handleArp(b: Uint8Array, at: number, end: number): void {
    const request = arp.parse(b, at, end);
    if (request === undefined || request.operation !== arp.OPERATION.REQUEST) return;
    const { senderHardware, senderProtocol, targetProtocol } = request;
    // ARP probes and announcements get no answer (RFC 5227 2.1).
    if (isUnspecified(senderProtocol) || sameAddress(senderProtocol, 0, targetProtocol, 0, 4)) return;
    if (!answersFor(targetProtocol)) return;
    answer((start) => {
      const header = { destination: senderHardware, source: mac, etherType: ethernet.ETHERTYPE.ARP };
      const packet = start + ethernet.emit(answers, start, header);
      const reply = {
        operation: arp.OPERATION.REPLY,
        senderHardware: mac,
        senderProtocol: targetProtocol,
        targetHardware: senderHardware,
        targetProtocol: senderProtocol,
      };
      return ethernet.HEADER_LENGTH + arp.emit(answers, packet, reply);
    });
  }

  /** Answers the solicitation in the frame at `at`. @returns false when it is none */
  function handleSolicitation(b: Uint8Array, at: number, end: number): boolean {
    const packet = at + ethernet.HEADER_LENGTH;
    if (ipv6.checkLength(b, packet, end) === 0 || ipv6.nextHeader(b, packet) !== PROTOCOL.ICMPV6)
      return false;
    const from = packet + ipv6.HEADER_LENGTH;
    const to = from + ipv6.payloadLength(b, packet);
    if (ndp.checkLength(b, from, to) === 0 || type(b, from) !== TYPE.NEIGHBOUR_SOLICITATION) return false;
    if (
      ipv6.hopLimit(b, packet) !== ndp.HOP_LIMIT ||
      !verifyChecksum(b, from, to, pseudoSum(b, packet, to - from))
    )
      return true;
    const target = b.slice(from + ndp.TARGET, from + ndp.OPTIONS);
    const asker = b.slice(packet + ipv6.SOURCE, packet + ipv6.DESTINATION);
    // From "::" it is duplicate address detection, which gets no answer.
    if (!isUnspecified(asker) && answersFor(target)) {
      advertise(target, asker, b.slice(at + ethernet.SOURCE, at + ethernet.ETHERTYPE_AT));
    }
    return true;
  }

  function advertise(target: Address, asker: Address, askerMac: ethernet.Mac): void {
    const message = {
      type: TYPE.NEIGHBOUR_ADVERTISEMENT,
      flags: ndp.FLAGS.SOLICITED + ndp.FLAGS.OVERRIDE + (isGateway(target) ? ndp.FLAGS.ROUTER : 0),
      target,
      linkAddress: mac,
    };
    const length = ndp.bufferLength(message);
    answer((start) => {
      const header = { destination: askerMac, source: mac, etherType: ethernet.ETHERTYPE.IPV6 };
      const packet = start + ethernet.emit(answers, start, header);
      const text =
        packet +
        ipv6.emit(answers, packet, {
          trafficClass: 0,
          flowLabel: 0,
          payloadLength: length,
          nextHeader: PROTOCOL.ICMPV6,
          hopLimit: ndp.HOP_LIMIT,
          source: target,
          destination: asker,
        });
      return text - start + ndp.emit(answers, text, message, pseudoSum(answers, packet, length));
    });
  }

  return {
    announce,
    handleFrame: (b, at, end, nowUs) => {
      if (at + ethernet.HEADER_LENGTH > end) return;
      const packet = at + ethernet.HEADER_LENGTH;
      const etherType = ethernet.etherType(b, at);
      if (etherType === ethernet.ETHERTYPE.ARP) return handleArp(b, packet, end);
      const isIpv6 = etherType === ethernet.ETHERTYPE.IPV6;
      if (!isIpv6 && etherType !== ethernet.ETHERTYPE.IPV4) return;
      if (isIpv6 && handleSolicitation(b, at, end)) return;
      if (!sameAddress(b, at + ethernet.DESTINATION, mac, 0, ethernet.MAC_LENGTH)) return;
      for (let i = 0; i < ethernet.MAC_LENGTH; i++) prober[i] = b[at + ethernet.SOURCE + i];
      network.handlePacket(b, packet, end, nowUs);
    },
    pollTransmit: (nowUs, out, at) => {
      if (answerCount > 0) {
        const start = firstAnswer * ANSWER_LENGTH;
        const length = answerLengths[firstAnswer];
        out.set(answers.subarray(start, start + length), at);
        firstAnswer = (firstAnswer + 1) % ANSWERS;
        answerCount--;
        return length;
      }
      const packet = at + ethernet.HEADER_LENGTH;
      const length = network.pollTransmit(nowUs, out, packet);
      if (length === 0) return 0;
      for (let i = 0; i < ethernet.MAC_LENGTH; i++) {
        out[at + ethernet.DESTINATION + i] = prober[i];
        out[at + ethernet.SOURCE + i] = mac[i];
      }
      const isIpv4 = out[packet] >>> 4 === 4;
      putU16(out, at + ethernet.ETHERTYPE_AT, isIpv4 ? ethernet.ETHERTYPE.IPV4 : ethernet.ETHERTYPE.IPV6);
      return ethernet.HEADER_LENGTH + length;
    },
  };
}
