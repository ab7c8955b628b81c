/** ARP, against real packets: parsed, written byte for byte, refused when cut off. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as arp from "../../src/wire/arp.ts";
import { fromHex } from "../golden/golden.ts";
import { dirty, embed, guard, readFields } from "./oracle.ts";

const LAYOUT = {
  hardwareType: 16,
  protocolType: 16,
  hardwareLength: 8,
  protocolLength: 8,
  operation: 16,
  senderHardware: 48,
  senderProtocol: 32,
  targetHardware: 48,
  targetProtocol: 32,
} as const;

/** Linux 6.18 on a veth pair. tshark: "Who has 192.0.2.2? Tell 192.0.2.1" */
const REQUEST = fromHex("0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000202");
/** And its answer. tshark: "192.0.2.2 is at 02:00:00:00:00:02" */
const REPLY = fromHex("0001 0800 06 04 0002 020000000002 c0000202 020000000001 c0000201");

const mac = (last: number): Uint8Array => Uint8Array.of(2, 0, 0, 0, 0, last);
const ip = (last: number): Uint8Array => Uint8Array.of(192, 0, 2, last);

describe("arp, against real packets", () => {
  it("reads a request", () => {
    expect(arp.parse(REQUEST, 0, REQUEST.length)).toEqual({
      operation: arp.OPERATION.REQUEST,
      senderHardware: mac(1),
      senderProtocol: ip(1),
      targetHardware: new Uint8Array(6),
      targetProtocol: ip(2),
    });
  });

  it("reads and writes a reply, byte for byte", () => {
    const reply = {
      operation: arp.OPERATION.REPLY,
      senderHardware: mac(2),
      senderProtocol: ip(2),
      targetHardware: mac(1),
      targetProtocol: ip(1),
    };
    expect(arp.parse(REPLY, 0, REPLY.length)).toEqual(reply);
    const b = dirty(30);
    expect(arp.emit(b, 1, reply)).toBe(28);
    expect(arp.bufferLength(reply)).toBe(28);
    expect(b).toEqual(Uint8Array.of(0xa5, ...REPLY, 0xa5));
  });
});

describe("checkLength", () => {
  it("takes 28 bytes, padding after them, and no fewer, and reads nothing beyond", () => {
    const [b, at, end] = embed(REQUEST);
    for (let cut = at; cut <= end + 5; cut++) {
      expect(arp.checkLength(guard(b, at, cut), at, cut)).toBe(cut - at >= 28 ? 28 : 0);
      expect(arp.parse(b, at, cut) === undefined).toBe(cut - at < 28);
    }
  });

  it.each([
    ["other hardware", 1, 6],
    ["another protocol", 2, 0x86],
    ["long hardware addresses", 4, 8],
    ["long protocol addresses", 5, 16],
  ])("refuses %s", (_what, offset, value) => {
    const b = REQUEST.slice();
    b[offset] = value;
    expect(arp.checkLength(b, 0, b.length)).toBe(0);
  });
});

it("comes back as it went out, every field where the naive reader finds it", () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  fc.assert(
    fc.property(
      fc.record({
        operation: fc.integer({ min: 0, max: 0xffff }),
        senderHardware: bytes(6),
        senderProtocol: bytes(4),
        targetHardware: bytes(6),
        targetProtocol: bytes(4),
      }),
      (packet) => {
        const b = dirty(28);
        arp.emit(b, 0, packet);
        expect(arp.parse(b, 0, 28)).toEqual(packet);
        const naive = readFields(b, LAYOUT);
        expect(Number(naive.operation)).toBe(packet.operation);
        for (const name of [
          "senderHardware",
          "senderProtocol",
          "targetHardware",
          "targetProtocol",
        ] as const) {
          expect(naive[name]).toBe(BigInt(`0x${Buffer.from(packet[name]).toString("hex")}`));
        }
      },
    ),
  );
});
