/** The lab's link: who is answered to ARP and neighbour discovery, and how packets get in and out of frames. */
import { describe, expect, it } from "vitest";
import { createLinkLayer } from "../../src/lab/link-layer.ts";
import { type Address, formatAddress, parseAddress } from "../../src/wire/address.ts";
import * as arp from "../../src/wire/arp.ts";
import { pseudoSum6 } from "../../src/wire/checksum.ts";
import * as ethernet from "../../src/wire/ethernet.ts";
import { TYPE, verifyChecksum } from "../../src/wire/icmpv6.ts";
import * as ipv6 from "../../src/wire/ipv6.ts";
import * as ndp from "../../src/wire/ndp.ts";
import { PROTOCOL } from "../../src/wire/protocol.ts";
import { golden } from "../golden/golden.ts";
import { dirty, embed, guard } from "../wire/oracle.ts";

const LAB_MAC = Uint8Array.of(2, 0, 0, 0, 0, 0xfe);
const PROBER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const OTHER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 7);
const BROADCAST = new Uint8Array(6).fill(0xff);
const HOST4 = "192.0.2.33";
const HOST6 = "2001:db8::33";

const address = (text: string): Address => {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
};

/** A link layer over a network that serves two hosts, takes notes, and gives what a test has put in `due`. */
function createBed() {
  const taken: { packet: Uint8Array; us: number }[] = [];
  const due: Uint8Array[] = [];
  const layer = createLinkLayer({
    mac: LAB_MAC,
    gateways: [address("192.0.2.254"), address("2001:db8::fe")],
    network: {
      serves: (asked) => [HOST4, HOST6].includes(formatAddress(asked)),
      handlePacket: (b, at, end, us) => void taken.push({ packet: b.slice(at, end), us }),
      pollTransmit: (_us, out, at) => {
        const packet = due.shift();
        if (packet === undefined) return 0;
        out.set(packet, at);
        return packet.length;
      },
    },
  });
  return {
    taken,
    due,
    announce: layer.announce,
    take: (frame: Uint8Array, us = 0): void => {
      const [b, at, end] = embed(frame);
      layer.handleFrame(b, at, end, us);
    },
    /** The next frame that goes to the prober; undefined when there is none. */
    give: (): Uint8Array | undefined => {
      const out = dirty(3 + 1514);
      const length = layer.pollTransmit(0, out, 3);
      expect(out.subarray(0, 3)).toEqual(dirty(3));
      return length === 0 ? undefined : out.slice(3, 3 + length);
    },
  };
}

function frame(
  destination: Uint8Array,
  source: Uint8Array,
  etherType: number,
  payload: Uint8Array,
): Uint8Array {
  const b = dirty(ethernet.HEADER_LENGTH + payload.length);
  b.set(payload, ethernet.emit(b, 0, { destination, source, etherType }));
  return b;
}

const fromProber = (etherType: number, payload: Uint8Array, destination = BROADCAST): Uint8Array =>
  frame(destination, PROBER_MAC, etherType, payload);

function arpRequest(
  target: string,
  sender = "192.0.2.1",
  operation: number = arp.OPERATION.REQUEST,
): Uint8Array {
  const b = dirty(arp.PACKET_LENGTH);
  arp.emit(b, 0, {
    operation,
    senderHardware: PROBER_MAC,
    senderProtocol: address(sender),
    targetHardware: new Uint8Array(6),
    targetProtocol: address(target),
  });
  return fromProber(ethernet.ETHERTYPE.ARP, b);
}

function solicitation(target: string, sender = "2001:db8::1", hopLimit = 255): Uint8Array {
  const message = {
    type: TYPE.NEIGHBOUR_SOLICITATION,
    flags: 0,
    target: address(target),
    linkAddress: PROBER_MAC,
  };
  const length = ndp.bufferLength(message);
  const b = dirty(ipv6.HEADER_LENGTH + length);
  ipv6.emit(b, 0, {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: length,
    nextHeader: PROTOCOL.ICMPV6,
    hopLimit,
    source: address(sender),
    destination: address("ff02::1:ff00:33"),
  });
  const pseudoSum = pseudoSum6(b, ipv6.SOURCE, ipv6.DESTINATION, PROTOCOL.ICMPV6, length);
  ndp.emit(b, ipv6.HEADER_LENGTH, message, pseudoSum);
  return fromProber(ethernet.ETHERTYPE.IPV6, b, Uint8Array.of(0x33, 0x33, 0xff, 0, 0, 0x33));
}

describe("ARP", () => {
  it.each([HOST4, "192.0.2.254"])("is answered for %s", (target) => {
    const bed = createBed();
    bed.take(arpRequest(target));
    const answer = bed.give() ?? new Uint8Array(0);
    expect(ethernet.parse(answer, 0, answer.length)).toEqual({
      destination: PROBER_MAC,
      source: LAB_MAC,
      etherType: ethernet.ETHERTYPE.ARP,
    });
    expect(arp.parse(answer, ethernet.HEADER_LENGTH, answer.length)).toEqual({
      operation: arp.OPERATION.REPLY,
      senderHardware: LAB_MAC,
      senderProtocol: address(target),
      targetHardware: PROBER_MAC,
      targetProtocol: address("192.0.2.1"),
    });
    expect(bed.give()).toBeUndefined();
  });

  it.each([
    ["an address that nobody has", arpRequest("192.0.2.34")],
    ["a probe for an address (RFC 5227)", arpRequest(HOST4, "0.0.0.0")],
    ["the announcement of an address", arpRequest(HOST4, HOST4)],
    ["a reply", arpRequest(HOST4, "192.0.2.1", arp.OPERATION.REPLY)],
    ["a request that is cut off", arpRequest(HOST4).subarray(0, 41)],
  ])("is not answered for %s", (_what, request) => {
    const bed = createBed();
    bed.take(request);
    expect(bed.give()).toBeUndefined();
    expect(bed.taken).toEqual([]);
  });

  it("is answered in order, and a flood of requests as far as there is room", () => {
    const bed = createBed();
    for (let i = 0; i < 100; i++) bed.take(arpRequest(i === 1 ? "192.0.2.254" : HOST4));
    const answers = Array.from({ length: 100 }, bed.give).filter((answer) => answer !== undefined);
    expect(answers).toHaveLength(64);
    expect(answers.map((answer) => answer[31])).toEqual([33, 254, ...new Array(62).fill(33)]);
    bed.take(arpRequest(HOST4));
    expect(bed.give()).toEqual(answers[0]);
  });
});

describe("neighbour discovery", () => {
  it.each([
    [HOST6, ndp.FLAGS.SOLICITED + ndp.FLAGS.OVERRIDE],
    ["2001:db8::fe", ndp.FLAGS.SOLICITED + ndp.FLAGS.OVERRIDE + ndp.FLAGS.ROUTER],
  ])("is answered for %s", (target, flags) => {
    const bed = createBed();
    bed.take(solicitation(target));
    const answer = bed.give() ?? new Uint8Array(0);
    expect(ethernet.parse(answer, 0, answer.length)).toEqual({
      destination: PROBER_MAC,
      source: LAB_MAC,
      etherType: ethernet.ETHERTYPE.IPV6,
    });
    const packet = answer.subarray(ethernet.HEADER_LENGTH);
    expect(ipv6.parse(packet, 0, packet.length)).toMatchObject({
      hopLimit: 255,
      source: address(target),
      destination: address("2001:db8::1"),
    });
    const length = packet.length - ipv6.HEADER_LENGTH;
    const pseudoSum = pseudoSum6(packet, ipv6.SOURCE, ipv6.DESTINATION, PROTOCOL.ICMPV6, length);
    expect(verifyChecksum(packet, ipv6.HEADER_LENGTH, packet.length, pseudoSum)).toBe(true);
    expect(ndp.parse(packet, ipv6.HEADER_LENGTH, packet.length)).toEqual({
      type: TYPE.NEIGHBOUR_ADVERTISEMENT,
      flags,
      target: address(target),
      linkAddress: LAB_MAC,
    });
    expect(bed.taken).toEqual([]);
  });

  const wrongSum = solicitation(HOST6);
  wrongSum[ethernet.HEADER_LENGTH + ipv6.HEADER_LENGTH + 2] ^= 1;
  it.each([
    ["an address that nobody has", solicitation("2001:db8::34")],
    ["duplicate address detection", solicitation(HOST6, "::")],
    ["a message from beyond the link", solicitation(HOST6, "2001:db8::1", 254)],
    ["a wrong checksum", wrongSum],
    ["a message that is cut off", solicitation(HOST6).subarray(0, 80)],
  ])("is not answered for %s", (_what, request) => {
    const bed = createBed();
    bed.take(request);
    expect(bed.give()).toBeUndefined();
    expect(bed.taken).toEqual([]);
  });
});

describe("IP packets", () => {
  it.each([
    ["syn.ipv4", ethernet.ETHERTYPE.IPV4],
    ["syn.ipv6", ethernet.ETHERTYPE.IPV6],
    ["port-unreach.ipv6", ethernet.ETHERTYPE.IPV6],
  ])("%s goes in with its time, and comes out to whoever spoke last", (name, etherType) => {
    const bed = createBed();
    const packet = golden(name);
    bed.take(frame(LAB_MAC, PROBER_MAC, etherType, packet), 7);
    expect(bed.taken).toEqual([{ packet, us: 7 }]);
    bed.due.push(packet);
    expect(bed.give()).toEqual(frame(PROBER_MAC, LAB_MAC, etherType, packet));
    bed.take(frame(LAB_MAC, OTHER_MAC, etherType, packet));
    bed.due.push(packet);
    expect(bed.give()).toEqual(frame(OTHER_MAC, LAB_MAC, etherType, packet));
  });

  it("for others, and other protocols, stay out", () => {
    const bed = createBed();
    const packet = golden("syn.ipv4");
    for (const destination of [BROADCAST, OTHER_MAC]) {
      bed.take(fromProber(ethernet.ETHERTYPE.IPV4, packet, destination));
    }
    bed.take(fromProber(0x88cc, packet, LAB_MAC));
    expect(bed.taken).toEqual([]);
  });

  it("wait for answers to ARP, which are asked for only once", () => {
    const bed = createBed();
    bed.due.push(golden("syn-ack.ipv4"));
    bed.take(arpRequest(HOST4));
    expect([bed.give(), bed.give(), bed.give()].map((b) => b && ethernet.etherType(b, 0))).toEqual([
      ethernet.ETHERTYPE.ARP,
      ethernet.ETHERTYPE.IPV4,
      undefined,
    ]);
  });
});

it("reads nothing beyond a frame, wherever it is cut", () => {
  const layer = createLinkLayer({
    mac: LAB_MAC,
    gateways: [],
    network: { serves: () => false, handlePacket: () => {}, pollTransmit: () => 0 },
  });
  for (const whole of [
    arpRequest(HOST4),
    solicitation(HOST6),
    frame(LAB_MAC, PROBER_MAC, ethernet.ETHERTYPE.IPV6, golden("port-unreach.ipv6")),
  ]) {
    const [b, at, end] = embed(whole);
    for (let cut = at; cut < end; cut++) layer.handleFrame(guard(b, at, cut), at, cut, 0);
  }
});

it("announces an address to all, as machines on a link do from time to time", () => {
  const bed = createBed();
  bed.announce(address("192.0.2.253"));
  const sent = bed.give() ?? new Uint8Array(0);
  expect(ethernet.etherType(sent, 0)).toBe(ethernet.ETHERTYPE.ARP);
  expect(sent.subarray(ethernet.DESTINATION, 6)).toEqual(BROADCAST);
  // RFC 5227 §3: sender and target are the same, so that nobody answers.
  expect(arp.parse(sent, ethernet.HEADER_LENGTH, sent.length)).toMatchObject({
    operation: arp.OPERATION.REQUEST,
    senderHardware: LAB_MAC,
    senderProtocol: address("192.0.2.253"),
    targetProtocol: address("192.0.2.253"),
  });
  expect(bed.give()).toBeUndefined();
});
