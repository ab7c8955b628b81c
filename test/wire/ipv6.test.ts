/** IPv6 headers, against real packets and a naive reader; the walk through extension headers and its limits. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createReplyDecoder } from "../../src/scan/probe/reply-decoder.ts";
import { storeAddress } from "../../src/socket/table.ts";
import { pseudoSum6 } from "../../src/wire/checksum.ts";
import { describePacket } from "../../src/wire/describe.ts";
import * as ipv6 from "../../src/wire/ipv6.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { fromHex, golden } from "../golden/golden.ts";
import { dirty, embed, guard, IPV6_LAYOUT, readFields } from "./oracle.ts";

const SYN: ipv6.Ipv6Header = {
  trafficClass: 0,
  flowLabel: 0x44718,
  payloadLength: 40,
  nextHeader: 6,
  hopLimit: 64,
  source: fromHex("2001 0db8 0000 0000 0000 0000 0000 0001"),
  destination: fromHex("2001 0db8 0000 0000 0000 0000 0000 0002"),
};

function upper(): ipv6.Upper {
  return { protocol: -1, at: -1, fragment: false, sourceAt: -1, destinationAt: -1 };
}

/** A packet whose payload is `payload`, its first header of the kind `nextHeader`. */
function packet(nextHeader: number, payload: Uint8Array): Uint8Array {
  const b = dirty(40 + payload.length);
  ipv6.emit(b, 0, { ...SYN, nextHeader, payloadLength: payload.length });
  b.set(payload, 40);
  return b;
}

describe("ipv6, against real packets", () => {
  it("parses the header of Linux's SYN", () => {
    const b = golden("syn.ipv6");
    expect(ipv6.checkLength(b, 0, b.length)).toBe(40);
    expect(ipv6.parse(b, 0, b.length)).toEqual(SYN);
  });

  it("emits the header of Linux's SYN, byte for byte", () => {
    const b = dirty(44);
    expect(ipv6.emit(b, 2, SYN)).toBe(40);
    expect(ipv6.bufferLength(SYN)).toBe(40);
    expect(b.subarray(2, 42)).toEqual(golden("syn.ipv6").subarray(0, 40));
    expect([b[1], b[42]]).toEqual([0xa5, 0xa5]);
  });

  it.each([
    ["syn.ipv6", 6, 40],
    ["syn-destination-options.ipv6", 6, 48],
    ["mld-report.ipv6", 58, 48],
  ])("finds the upper layer of %s", (name, protocol, at) => {
    const b = golden(name);
    const found = upper();
    expect(ipv6.walk(b, 0, b.length, found)).toBe(true);
    expect(found).toEqual({
      protocol,
      at,
      fragment: false,
      sourceAt: ipv6.SOURCE,
      destinationAt: ipv6.DESTINATION,
    });
  });
});

describe("ipv6 fields", () => {
  it("are where RFC 8200 draws them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 40, maxLength: 40 }), (bytes) => {
        bytes[0] = 0x60 | (bytes[0] & 0x0f);
        bytes[4] = 0;
        const naive = readFields(bytes, IPV6_LAYOUT);
        const b = new Uint8Array(300);
        b.set(bytes, 3);
        const h = ipv6.parse(b, 3, 300);
        const hex = (address: Uint8Array = new Uint8Array()) =>
          BigInt(`0x0${Buffer.from(address).toString("hex")}`);
        expect(h?.trafficClass).toBe(Number(naive.trafficClass));
        expect(h?.flowLabel).toBe(Number(naive.flowLabel));
        expect(h?.payloadLength).toBe(Number(naive.payloadLength));
        expect(ipv6.payloadLength(b, 3)).toBe(Number(naive.payloadLength));
        expect(h?.nextHeader).toBe(Number(naive.nextHeader));
        expect(ipv6.nextHeader(b, 3)).toBe(Number(naive.nextHeader));
        expect(h?.hopLimit).toBe(Number(naive.hopLimit));
        expect(ipv6.hopLimit(b, 3)).toBe(Number(naive.hopLimit));
        expect(hex(h?.source)).toBe(naive.source);
        expect(hex(h?.destination)).toBe(naive.destination);
      }),
    );
  });

  it("round trip through a dirty buffer", () => {
    const sixteen = fc.uint8Array({ minLength: 16, maxLength: 16 });
    const header: fc.Arbitrary<ipv6.Ipv6Header> = fc.record({
      trafficClass: fc.nat(255),
      flowLabel: fc.nat(0xfffff),
      payloadLength: fc.nat(60),
      nextHeader: fc.nat(255),
      hopLimit: fc.nat(255),
      source: sixteen,
      destination: sixteen,
    });
    fc.assert(
      fc.property(header, (h) => {
        const b = dirty(100);
        ipv6.emit(b, 0, h);
        expect(ipv6.parse(b, 0, b.length)).toEqual(h);
      }),
    );
  });
});

describe("ipv6 refuses", () => {
  it("a packet cut off at any length, reading nothing beyond", () => {
    const bytes = golden("syn-destination-options.ipv6");
    for (let length = 0; length <= bytes.length; length++) {
      const [b, at] = embed(bytes);
      const seen = guard(b, at, at + length);
      const whole = length === bytes.length;
      expect(ipv6.checkLength(seen, at, at + length), `at ${length}`).toBe(whole ? 40 : 0);
      expect(ipv6.checkHeader(seen, at, at + length)).toBe(length >= 40 ? 40 : 0);
      expect(ipv6.parse(seen, at, at + length) !== undefined).toBe(whole);
      expect(ipv6.walk(seen, at, at + length, upper()), `walk at ${length}`).toBe(length >= 48);
    }
  });

  it("another version", () => {
    const b = golden("syn.ipv6");
    b[0] = 0x40;
    expect(ipv6.checkLength(b, 0, b.length)).toBe(0);
  });

  it("no bytes after the payload", () => {
    const b = new Uint8Array(90);
    b.set(golden("syn.ipv6"));
    expect(ipv6.checkLength(b, 0, b.length)).toBe(40);
  });
});

describe("walk", () => {
  // Each names the next in its first byte; bytes that no length or offset is in are ff.
  const HOP_BY_HOP = "2b 00 ffff ffffffff"; // then routing
  const ROUTING = "2c 01 ffff ffffffff ffffffff ffffffff"; // (1 + 1) * 8 bytes, then fragment
  const ATOMIC = "33 ff 0000 ffffffff"; // always 8 bytes, then AH
  const AH = "3c 04 ffff ffffffff ffffffff ffffffff ffffffff ffffffff"; // (4 + 2) * 4 bytes, then the next
  const DESTINATION_OPTIONS = "06 00 ffff ffffffff"; // then TCP

  it("steps over one header of each kind", () => {
    const chain = fromHex(HOP_BY_HOP + ROUTING + ATOMIC + AH + DESTINATION_OPTIONS);
    const b = packet(0, Uint8Array.of(...chain, 0xaa));
    const found = upper();
    expect(ipv6.walk(b, 0, b.length, found)).toBe(true);
    expect(found).toMatchObject({ protocol: 6, at: 40 + 8 + 16 + 8 + 24 + 8, fragment: false });
  });

  it("is refused wherever the chain is cut, and reads nothing beyond the cut", () => {
    const chain = fromHex(HOP_BY_HOP + ROUTING + ATOMIC + AH + DESTINATION_OPTIONS);
    const [b, at, end] = embed(packet(0, chain));
    for (let cut = at; cut <= end; cut++) {
      expect(ipv6.walk(guard(b, at, cut), at, cut, upper()), `cut at ${cut - at}`).toBe(cut === end);
    }
  });

  it.each([
    ["TCP", 6],
    ["ESP", 50],
    ["ICMPv6", 58],
    ["no next header", 59],
    ["an experiment", 253],
  ])("takes %s for the upper layer", (_name, protocol) => {
    const found = upper();
    expect(ipv6.walk(packet(protocol, new Uint8Array(8)), 0, 48, found)).toBe(true);
    expect(found).toMatchObject({ protocol, at: 40, fragment: false });
  });

  it.each([
    ["atomic", "0000", false, 58, 56],
    ["atomic, reserved bits set", "0006", false, 58, 56],
    ["the first", "0001", true, 58, 56],
    ["a later one", "0009", true, 60, 48],
    ["the last", "0008", true, 60, 48],
  ])("fragment: %s", (_which, offsetAndFlags, fragment, protocol, at) => {
    const b = packet(44, fromHex(`3c 00 ${offsetAndFlags} 12345678  3a 00 01 04 00000000`));
    const found = upper();
    expect(ipv6.walk(b, 0, b.length, found)).toBe(true);
    expect(found).toMatchObject({ protocol, at, fragment });
  });

  it.each([
    ["none", 6, "", -1],
    ["the first", 44, "06 00 0000 00000001", 40],
    [
      "behind options of 8 and of 16 bytes",
      60,
      "3c 00 0000 00000000 2c 01 0000 00000000 00000000 00000000 06 00 0000 00000001",
      64,
    ],
    ["cut off", 60, "2c 00 0000 00000000 06 00 0000", -1],
  ])("fragment header: %s", (_which, first, headers, at) => {
    const b = packet(first, fromHex(headers));
    expect(ipv6.fragmentHeaderAt(b, 0, b.length)).toBe(at);
  });

  it("does not remember the fragment before", () => {
    const found: ipv6.Upper = { ...ipv6.newUpper(), fragment: true };
    expect(ipv6.walk(packet(6, new Uint8Array(0)), 0, 40, found)).toBe(true);
    expect(found.fragment).toBe(false);
  });

  it("takes any number of headers, and none that is cut off", () => {
    const chain = (headers: number) => {
      const payload = new Uint8Array(headers * 8);
      for (let i = 0; i < headers; i++) payload[i * 8] = i === headers - 1 ? 6 : 60;
      return packet(60, payload);
    };
    for (const headers of [8, 9, 180]) {
      expect(ipv6.walk(chain(headers), 0, 40 + 8 * headers, upper())).toBe(true);
      expect(ipv6.walk(chain(headers), 0, 39 + 8 * headers, upper())).toBe(false);
    }
  });
});

it("the field that names a header is in the fixed header, or in the extension header before it", () => {
  // Hop-by-hop options, destination options of 16 bytes, TCP.
  const b = packet(
    0,
    Uint8Array.of(...fromHex("3c 00 01 04 00000000  06 01 01 0c 0000 0000 0000 0000 0000 0000"), 1),
  );
  const field = (header: number): number => ipv6.nextHeaderFieldBefore(b, 0, header);
  expect([field(40), field(48), field(64)]).toEqual([6, 40, 48]);
  expect([field(40), field(48), field(64)].map((at) => b[at])).toEqual([0, 60, 6]);
});

/** RFC 8200 8.1, RFC 6275 6.3: Linux's own SYN, checksum and all, on a way that the fixed header does not tell of. */
describe("the addresses of the pseudo-header", () => {
  const linux = golden("syn.ipv6");
  const home = "20010db8 00000000 00000000 00000001";
  const final = "20010db8 00000000 00000000 00000002";
  const elsewhere = "20010db8 00990000 00000000 00000099";

  /** The SYN behind one extension header, with another source or destination in the fixed one. */
  function behind(protocol: number, extension: string, replaced: "source" | "destination"): Uint8Array {
    const header = fromHex(extension);
    const b = packet(protocol, Uint8Array.of(...header, ...linux.subarray(40)));
    b.set(fromHex(elsewhere), replaced === "source" ? ipv6.SOURCE : ipv6.DESTINATION);
    return b;
  }
  const checksumIn = (b: Uint8Array): string => {
    const { at, protocol, sourceAt, destinationAt } = walked(b);
    return tcp.verifyChecksum(
      b,
      at,
      b.length,
      pseudoSum6(b, sourceAt, destinationAt, protocol, b.length - at),
    );
  };
  const walked = (b: Uint8Array): ipv6.Upper => {
    const found = upper();
    expect(ipv6.walk(b, 0, b.length, found)).toBe(true);
    return found;
  };

  it.each([
    ["a Home Address option", 60, `06 02 01 02 0000  c9 10 ${home}`, "source"],
    ["a Home Address option before all others", 60, `06 02 c9 10 ${home} 01 02 0000`, "source"],
    [
      "a Home Address option behind single bytes of padding",
      60,
      `06 02 00 00 00 00  c9 10 ${home}`,
      "source",
    ],
    [
      "a source route, one segment left of two",
      43,
      `06 04 00 01 00000000 ${elsewhere} ${final}`,
      "destination",
    ],
    ["a mobile's routing header", 43, `06 02 02 01 00000000 ${final}`, "destination"],
    [
      "a segment routing header, first segment last",
      43,
      `06 04 04 01 01000000 ${final} ${elsewhere}`,
      "destination",
    ],
  ] as const)("with %s", (_name, protocol, extension, replaced) => {
    const b = behind(protocol, extension, replaced);
    expect(checksumIn(b)).toBe("good");
    expect(describePacket(b, 0, b.length)).not.toMatch(/bad/);
    // What stands in the fixed header has no part in it.
    b[(replaced === "source" ? ipv6.SOURCE : ipv6.DESTINATION) + 3] ^= 1;
    expect(checksumIn(b)).toBe("good");
  });

  it.each([
    ["no segments left", 43, `06 02 00 00 00000000 ${elsewhere}`],
    ["a type whose addresses are not known", 43, `06 02 fd 01 00000000 ${elsewhere}`],
    ["a routing header too short for an address", 43, "06 01 00 01 00000000 00000000 00000000"],
    ["a Home Address option of another length", 60, `06 02 c9 0f ${home} 0000 0000`],
    ["an option that is cut off", 60, "06 00 01 02 0000 c9 10"],
  ])("with %s: those of the fixed header", (_name, protocol, extension) => {
    const b = packet(protocol, Uint8Array.of(...fromHex(extension), ...linux.subarray(40)));
    expect(walked(b)).toMatchObject({ sourceAt: ipv6.SOURCE, destinationAt: ipv6.DESTINATION });
  });

  it("are the peer's and ours for whoever waits for an answer", () => {
    const { decode, reply } = createReplyDecoder();
    const b = behind(60, `06 02 01 02 0000  c9 10 ${home}`, "source");
    expect(decode(b, 0, b.length)).toBe("segment");
    expect([storeAddress(reply.peer, 0, 16), storeAddress(reply.local, 0, 16)]).toEqual([
      fromHex(home),
      fromHex(final),
    ]);
  });
});
