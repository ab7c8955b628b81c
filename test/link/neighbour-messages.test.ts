/** link/neighbour-messages: the frames that ask, what is believed of those that answer, and the error for those that do not. */
import { describe, expect, it } from "vitest";
import { createLinkLayer } from "../../src/lab/link-layer.ts";
import {
  emitSolicitation,
  readNeighbourAnswer,
  unreachableNeighbour,
} from "../../src/link/neighbour-messages.ts";
import { createReplyDecoder } from "../../src/scan/probe/reply-decoder.ts";
import { writePacket } from "../../src/socket/segment.ts";
import { formatAddress } from "../../src/wire/address.ts";
import * as arp from "../../src/wire/arp.ts";
import * as ethernet from "../../src/wire/ethernet.ts";
import { address } from "../sim/run.ts";

const OURS = Uint8Array.of(2, 0, 0x5e, 0, 0x53, 1);
const THEIRS = Uint8Array.of(2, 0, 0x5e, 0, 0x53, 2);
const PAIRS = [
  ["192.0.2.1", "198.18.0.7"],
  ["2001:db8::1", "2001:db8::a:b0c:d0e"],
] as const;

/** What the lab's link answers, which has one address. */
function answerOf(source: string, target: string): Uint8Array {
  const link = createLinkLayer({
    mac: THEIRS,
    gateways: [],
    network: {
      serves: (wanted) => formatAddress(wanted) === target,
      handlePacket: () => {
        throw new Error("it is no question");
      },
      pollTransmit: () => 0,
    },
  });
  const frame = new Uint8Array(128).fill(0xa5);
  const length = emitSolicitation(frame, 3, OURS, address(source), address(target));
  link.handleFrame(frame, 3, 3 + length, 0);
  const answer = new Uint8Array(128).fill(0xa5);
  return answer.subarray(0, link.pollTransmit(0, answer, 0));
}

describe("questions and answers between neighbours", () => {
  it.each(PAIRS)("from %s: %s answers, and is understood", (source, target) => {
    const answer = answerOf(source, target);
    const told = readNeighbourAnswer(answer, 0, answer.length);
    expect(told).toEqual({ address: address(target), mac: THEIRS, override: true });
    for (let length = ethernet.HEADER_LENGTH; length < answer.length; length++) {
      const cut = readNeighbourAnswer(answer, 0, length);
      expect(cut === undefined || cut === "none").toBe(true);
    }
  });

  it("a multicast question: to the solicited node, whose frame's address is made of the last bytes", () => {
    const frame = new Uint8Array(128);
    emitSolicitation(frame, 0, OURS, address(PAIRS[1][0]), address(PAIRS[1][1]));
    expect(ethernet.formatMac(frame)).toBe("33:33:ff:0c:0d:0e");
    expect(formatAddress(frame, 14 + 24, 16)).toBe("ff02::1:ff0c:d0e");
  });

  it("an advertisement from beyond a router, or with a wrong checksum, tells nothing", () => {
    const answer = answerOf(...PAIRS[1]);
    const changed = (at: number, by: number): unknown =>
      readNeighbourAnswer(answer.with(at, answer[at] ^ by), 0, answer.length);
    expect(changed(14 + 7, 1)).toBeUndefined();
    expect(changed(14 + 40 + 2, 1)).toBeUndefined();
    expect(changed(answer.length - 1, 1)).toBeUndefined();
    // A solicitation is none.
    expect(changed(14 + 40, 136 ^ 135)).toBe("none");
  });

  it.each([
    ["no address", new Uint8Array(6)],
    ["a group of stations", Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
  ])("%s is nobody's hardware address", (_, mac) => {
    const frame = new Uint8Array(60);
    ethernet.emit(frame, 0, { destination: OURS, source: THEIRS, etherType: ethernet.ETHERTYPE.ARP });
    const reply = {
      operation: arp.OPERATION.REPLY,
      senderHardware: mac,
      senderProtocol: address("198.18.0.7"),
      targetHardware: OURS,
      targetProtocol: address("192.0.2.1"),
    };
    arp.emit(frame, ethernet.HEADER_LENGTH, reply);
    expect(readNeighbourAnswer(frame, 0, frame.length)).toBeUndefined();
    arp.emit(frame, ethernet.HEADER_LENGTH, { ...reply, senderHardware: THEIRS });
    expect(readNeighbourAnswer(frame, 0, frame.length)).toMatchObject({ mac: THEIRS });
  });

  it.each([
    [...PAIRS[0], "host-unreach"],
    [...PAIRS[1], "addr-unreach"],
  ] as const)("of a packet from %s to %s that cannot be delivered", (source, target, reason) => {
    const packet = new Uint8Array(128);
    const ends = { local: address(source), peer: address(target), localPort: 61_000, peerPort: 80, ttl: 64 };
    const syn = { flags: 2, sequence: 7, acknowledgement: 0, window: 1, text: new Uint8Array(0) };
    const error = unreachableNeighbour(packet.subarray(0, writePacket(packet, 0, ends, syn)));
    const decoder = createReplyDecoder();
    expect(decoder.decode(error, 0, error.length)).toBe("icmp-error");
    const { reply } = decoder;
    expect(reply).toMatchObject({ reason, localPort: 61_000, peerPort: 80 });
    expect(formatAddress(error, reply.responderAt, reply.responderLength)).toBe(source);
    expect(readNeighbourAnswer(new Uint8Array([...new Uint8Array(12), 8, 0, ...error]), 0, 100)).toBe("none");
  });
});
