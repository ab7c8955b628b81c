/** IPv4 headers, against real packets and a naive reader: parsed, written byte for byte, refused when cut off. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as ipv4 from "../../src/wire/ipv4.ts";
import { golden } from "../golden/golden.ts";
import { dirty, embed, guard, IPV4_LAYOUT, readFields } from "./oracle.ts";

const options = fc.nat(10).chain((words) => fc.uint8Array({ minLength: words * 4, maxLength: words * 4 }));
const quad = fc.uint8Array({ minLength: 4, maxLength: 4 });
const header: fc.Arbitrary<ipv4.Ipv4Header> = fc.record({
  tos: fc.nat(255),
  totalLength: fc.integer({ min: 60, max: 100 }),
  identification: fc.nat(0xffff),
  dontFragment: fc.boolean(),
  moreFragments: fc.boolean(),
  fragmentOffset: fc.nat(0x1fff).map((units) => units * 8),
  ttl: fc.nat(255),
  protocol: fc.nat(255),
  source: quad,
  destination: quad,
  options,
});

const PLAIN: ipv4.Ipv4Header = {
  tos: 0,
  totalLength: 44,
  identification: 0x2e58,
  dontFragment: false,
  moreFragments: false,
  fragmentOffset: 0,
  ttl: 52,
  protocol: 6,
  source: Uint8Array.of(192, 0, 2, 1),
  destination: Uint8Array.of(192, 0, 2, 2),
  options: new Uint8Array(0),
};

describe("ipv4, against real packets", () => {
  it("parses the header of nmap's SYN", () => {
    const b = golden("syn-nmap.ipv4");
    expect(ipv4.checkLength(b, 0, b.length)).toBe(20);
    expect(ipv4.parse(b, 0, b.length)).toEqual(PLAIN);
    expect(ipv4.verifyChecksum(b, 0)).toBe(true);
  });

  it("emits the header of nmap's SYN, byte for byte", () => {
    const b = dirty(24);
    expect(ipv4.emit(b, 2, PLAIN)).toBe(20);
    expect(b.subarray(2, 22)).toEqual(golden("syn-nmap.ipv4").subarray(0, 20));
    expect([b[1], b[22]]).toEqual([0xa5, 0xa5]);
  });

  it("knows a header with options", () => {
    const b = golden("syn-ack-record-route.ipv4");
    expect(ipv4.checkLength(b, 0, b.length)).toBe(60);
    expect(ipv4.totalLength(b, 0)).toBe(84);
    expect(ipv4.dontFragment(b, 0)).toBe(true);
    expect(ipv4.parse(b, 0, b.length)?.options).toEqual(b.subarray(20, 60));
    expect(ipv4.verifyChecksum(b, 0)).toBe(true);
  });

  it("sees any flipped bit of the header by its checksum", () => {
    const b = golden("syn-ack-record-route.ipv4");
    for (let bit = 8; bit < 60 * 8; bit++) {
      b[bit >>> 3] ^= 0x80 >>> (bit & 7);
      expect(ipv4.verifyChecksum(b, 0), `bit ${bit}`).toBe(false);
      b[bit >>> 3] ^= 0x80 >>> (bit & 7);
    }
  });
});

describe("ipv4 fields", () => {
  it("are where RFC 791 draws them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), (bytes) => {
        const naive = readFields(bytes, IPV4_LAYOUT);
        const [b, at] = embed(bytes);
        expect(ipv4.headerLength(b, at)).toBe(Number(naive.ihl) * 4);
        expect(b[at + ipv4.TOS]).toBe(Number(naive.tos));
        expect(ipv4.totalLength(b, at)).toBe(Number(naive.totalLength));
        expect(ipv4.identification(b, at)).toBe(Number(naive.identification));
        expect(ipv4.dontFragment(b, at)).toBe(naive.dontFragment === 1n);
        expect(ipv4.isFragment(b, at)).toBe(naive.moreFragments === 1n || naive.fragmentOffset !== 0n);
        expect(ipv4.fragmentOffset(b, at)).toBe(Number(naive.fragmentOffset) * 8);
        expect(ipv4.ttl(b, at)).toBe(Number(naive.ttl));
        expect(ipv4.protocol(b, at)).toBe(Number(naive.protocol));
      }),
    );
  });

  it("a packet with DF alone is no fragment; with MF, or an offset, it is", () => {
    const b = dirty(20);
    ipv4.emit(b, 0, { ...PLAIN, dontFragment: true });
    expect(ipv4.isFragment(b, 0)).toBe(false);
    ipv4.emit(b, 0, { ...PLAIN, moreFragments: true });
    expect(ipv4.isFragment(b, 0)).toBe(true);
    ipv4.emit(b, 0, { ...PLAIN, fragmentOffset: 8 });
    expect(ipv4.isFragment(b, 0)).toBe(true);
  });
});

describe("ipv4 round trip", () => {
  it("parses what it emitted, and sets every byte", () => {
    fc.assert(
      fc.property(header, (h) => {
        const b = dirty(100);
        const length = ipv4.emit(b, 0, h);
        expect(length).toBe(ipv4.bufferLength(h));
        expect(ipv4.parse(b, 0, b.length)).toEqual(h);
        expect(ipv4.verifyChecksum(b, 0)).toBe(true);
        const clean = new Uint8Array(100);
        ipv4.emit(clean, 0, h);
        expect(b.subarray(0, length)).toEqual(clean.subarray(0, length));
      }),
    );
  });

  it("pads options with zeros", () => {
    const b = dirty(28);
    expect(ipv4.emit(b, 0, { ...PLAIN, options: Uint8Array.of(1, 1, 1, 1, 1) })).toBe(28);
    expect(b[0]).toBe(0x47);
    expect([...b.subarray(20)]).toEqual([1, 1, 1, 1, 1, 0, 0, 0]);
  });

  it("throws on options that no header holds", () => {
    expect(() => ipv4.emit(dirty(80), 0, { ...PLAIN, options: new Uint8Array(41) })).toThrow(RangeError);
  });

  it("leaves the flags alone when the fragment offset is out of range", () => {
    const b = dirty(20);
    ipv4.emit(b, 0, { ...PLAIN, fragmentOffset: 0xe000 * 8 });
    expect(ipv4.dontFragment(b, 0)).toBe(false);
    expect(ipv4.isFragment(b, 0)).toBe(false);
  });

  it("parses into memory of its own", () => {
    const b = Buffer.from(golden("syn-ack-record-route.ipv4"));
    const h = ipv4.parse(b, 0, b.length);
    const before = structuredClone(h);
    b.fill(0);
    expect(h).toEqual(before);
  });
});

describe("ipv4 refuses", () => {
  it("a packet cut off at any length, reading nothing beyond", () => {
    for (const name of ["syn-nmap.ipv4", "syn-ack-record-route.ipv4", "host-unreach.ipv4"]) {
      const bytes = golden(name);
      for (let length = 0; length <= bytes.length; length++) {
        const [b, at] = embed(bytes);
        const whole = length === bytes.length;
        const seen = guard(b, at, at + length);
        const headerLength = ipv4.headerLength(bytes, 0);
        expect(ipv4.checkLength(seen, at, at + length), `${name} at ${length}`).toBe(
          whole ? headerLength : 0,
        );
        expect(ipv4.checkHeader(seen, at, at + length)).toBe(length >= headerLength ? headerLength : 0);
        expect(ipv4.parse(seen, at, at + length) !== undefined).toBe(whole);
      }
    }
  });

  it.each([
    ["another version", 0, 0x65],
    ["an IHL below 5", 0, 0x44],
    ["an IHL beyond the packet", 0, 0x4f],
    ["a total length below the header", 3, 19],
    ["a total length beyond the packet", 3, 45],
  ])("%s", (_what, offset, value) => {
    const b = golden("syn-nmap.ipv4");
    b[offset] = value;
    expect(ipv4.checkLength(b, 0, b.length)).toBe(0);
    expect(ipv4.parse(b, 0, b.length)).toBeUndefined();
  });

  it("no Ethernet padding after the packet", () => {
    const b = new Uint8Array(60);
    b.set(golden("syn-nmap.ipv4"));
    expect(ipv4.checkLength(b, 0, b.length)).toBe(20);
  });
});
