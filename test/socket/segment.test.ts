/** Segments as packets: every field and both checksums as the codecs of wire/ read them, and back. */
import { describe, expect, it } from "vitest";
import {
  describeSegment,
  readSegment,
  type Segment,
  segmentLength,
  writePacket,
} from "../../src/socket/segment.ts";
import { pseudoSum4, pseudoSum6 } from "../../src/wire/checksum.ts";
import * as ipv4 from "../../src/wire/ipv4.ts";
import * as ipv6 from "../../src/wire/ipv6.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { address } from "../sim/run.ts";

const { SYN, ACK, FIN, RST, PSH } = tcp.FLAGS;
const AT = 5;
const TEXT = Uint8Array.of(1, 2, 3, 4, 5);
const SEGMENT: Segment = {
  sequence: 0xfedc_ba98,
  acknowledgement: 0x8765_4321,
  flags: PSH | ACK,
  window: 0xabcd,
  text: TEXT,
};
const PORTS = { localPort: 61_234, peerPort: 443, ttl: 57 };
const V4 = { ...PORTS, local: address("192.0.2.1"), peer: address("198.18.0.9") };
const V6 = { ...PORTS, local: address("2001:db8::1"), peer: address("2001:db8:1::9") };

/** Into memory that is full of something else. */
function written(ends: typeof V4, segment: Segment): [b: Uint8Array, end: number] {
  const b = new Uint8Array(200).fill(0xa5);
  const end = AT + writePacket(b, AT, ends, segment);
  expect([...b.subarray(0, AT), ...b.subarray(end)].every((byte) => byte === 0xa5)).toBe(true);
  return [b, end];
}

const NONE: Segment = { sequence: 0, acknowledgement: 0, flags: 0, window: 0, text: new Uint8Array(0) };

describe("a segment", () => {
  it("takes a sequence number for each byte, one for SYN and one for FIN", () => {
    const { SYN, FIN, ACK, PSH } = tcp.FLAGS;
    for (const [flags, bytes, length] of [
      [ACK, 0, 0],
      [SYN, 0, 1],
      [FIN | ACK, 0, 1],
      [PSH | FIN | ACK, 5, 6],
      [SYN | FIN, 3, 5],
    ])
      expect(segmentLength({ ...NONE, flags, text: new Uint8Array(bytes) })).toBe(length);
  });

  it("as an IPv4 packet", () => {
    const [b, end] = written(V4, SEGMENT);
    expect(end - AT).toBe(20 + 20 + TEXT.length);
    expect(ipv4.parse(b, AT, end)).toMatchObject({
      tos: 0,
      identification: 0,
      dontFragment: true,
      moreFragments: false,
      fragmentOffset: 0,
      ttl: 57,
      protocol: 6,
      source: V4.local,
      destination: V4.peer,
      totalLength: end - AT,
    });
    expect(ipv4.verifyChecksum(b, AT)).toBe(true);
    const at = AT + 20;
    const pseudo = pseudoSum4(b, AT + ipv4.SOURCE, AT + ipv4.DESTINATION, 6, end - at);
    expect(tcp.verifyChecksum(b, at, end, pseudo)).toBe(tcp.CHECKSUM_VERDICT.good);
    expect(tcp.parse(b, at, end)).toMatchObject({
      sourcePort: 61_234,
      destinationPort: 443,
      urgentPointer: 0,
      dataOffset: 20,
    });
    expect(readSegment(b, at, end)).toEqual(SEGMENT);
  });

  it("as an IPv6 packet", () => {
    const [b, end] = written(V6, SEGMENT);
    expect(end - AT).toBe(40 + 20 + TEXT.length);
    expect(ipv6.parse(b, AT, end)).toMatchObject({
      trafficClass: 0,
      flowLabel: 0,
      payloadLength: 20 + TEXT.length,
      nextHeader: 6,
      hopLimit: 57,
      source: V6.local,
      destination: V6.peer,
    });
    const at = AT + 40;
    const pseudo = pseudoSum6(b, AT + ipv6.SOURCE, AT + ipv6.DESTINATION, 6, end - at);
    expect(tcp.verifyChecksum(b, at, end, pseudo)).toBe(tcp.CHECKSUM_VERDICT.good);
    expect(readSegment(b, at, end)).toEqual(SEGMENT);
  });

  it.each([
    ["with an MSS", { ...SEGMENT, flags: SYN, mss: 1460, text: new Uint8Array(0) }],
    ["with an MSS and text", { ...SEGMENT, flags: SYN | ACK, mss: 536 }],
    ["without text", { ...SEGMENT, flags: RST, text: new Uint8Array(0) }],
  ])("%s comes back as it was", (_what, segment) => {
    const [b, end] = written(V4, segment);
    expect(readSegment(b, AT + 20, end)).toEqual(segment);
  });

  it("has the MSS of the MSS option, not another's value, and none without", () => {
    const header = { ...PORTS, sequence: 1, acknowledgement: 2, flags: SYN, window: 3 };
    const withOptions = (...options: number[]): Segment | undefined => {
      const b = new Uint8Array(20 + options.length);
      tcp.emit(b, 0, {
        ...header,
        sourcePort: 1,
        destinationPort: 2,
        urgentPointer: 0,
        checksum: 0,
        options: Uint8Array.from(options),
        dataOffset: b.length,
      });
      return readSegment(b, 0, b.length);
    };
    // Window scale 7, then MSS 1400.
    expect(withOptions(3, 3, 7, 2, 4, 1400 >> 8, 1400 & 255, 0)?.mss).toBe(1400);
    expect(withOptions(3, 3, 7, 0)).not.toHaveProperty("mss");
  });

  it("that is cut off is none", () => {
    const [b, end] = written(V4, SEGMENT);
    for (let cut = AT + 20; cut < AT + 40; cut++) expect(readSegment(b, AT + 20, cut)).toBeUndefined();
    expect(readSegment(b, AT + 20, end - 1)?.text).toEqual(TEXT.subarray(0, -1));
  });

  it.each([
    [SEGMENT, `PSH,ACK seq=${0xfedc_ba98} ack=${0x8765_4321} win=${0xabcd} len=5`],
    [{ ...SEGMENT, flags: SYN | FIN, text: new Uint8Array(0) }, `SYN,FIN seq=${0xfedc_ba98} win=${0xabcd}`],
    [{ ...SEGMENT, flags: 0, text: new Uint8Array(0) }, `none seq=${0xfedc_ba98} win=${0xabcd}`],
  ])("is described", (segment, words) => {
    expect(describeSegment(segment)).toBe(words);
  });
});
