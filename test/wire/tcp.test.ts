/** TCP headers, against real packets and a naive reader: parsed, written byte for byte, checksums and control bits. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fold } from "../../src/wire/checksum.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { fromHex, GOLDEN_NAMES, golden } from "../golden/golden.ts";
import { dirty, embed, guard, readFields, slowChecksum, TCP_LAYOUT, upperOf } from "./oracle.ts";

/** What another decoder reads in syn-ack.ipv4. */
const SYN_ACK: tcp.TcpHeader = {
  sourcePort: 80,
  destinationPort: 33518,
  sequence: 1460750125,
  acknowledgement: 207471956,
  dataOffset: 40,
  flags: tcp.FLAGS.SYN | tcp.FLAGS.ACK,
  window: 65160,
  checksum: 0xe306,
  urgentPointer: 0,
  options: fromHex("020405b4 0402 080a fa37a0bb a872abc4 01 03030a"),
};

describe("tcp, against real packets", () => {
  it("parses Linux's SYN-ACK", () => {
    const b = golden("syn-ack.ipv4");
    expect(tcp.checkLength(b, 20, b.length)).toBe(40);
    expect(tcp.parse(b, 20, b.length)).toEqual(SYN_ACK);
  });

  it("emits Linux's SYN-ACK, byte for byte", () => {
    const b = dirty(44);
    expect(tcp.emit(b, 2, SYN_ACK)).toBe(40);
    expect(b.subarray(2, 42)).toEqual(golden("syn-ack.ipv4").subarray(20));
    expect([b[1], b[42]]).toEqual([0xa5, 0xa5]);
  });

  it.each(GOLDEN_NAMES.filter((name) => /^(syn|rst|fin)/.test(name)))("knows the checksum of %s", (name) => {
    const b = golden(name);
    const { at, end, pseudoSum } = upperOf(b);
    const verdict = name.includes("offloaded") ? "offloaded" : "good";
    expect(tcp.verifyChecksum(b, at, end, pseudoSum)).toBe(verdict);
    const kernels = tcp.checksumField(b, at);
    tcp.fillChecksum(b, at, end, pseudoSum);
    expect(tcp.verifyChecksum(b, at, end, pseudoSum)).toBe("good");
    if (verdict === "good") expect(tcp.checksumField(b, at)).toBe(kernels);
  });

  it("sees any flipped bit of the segment by its checksum", () => {
    const b = golden("syn-ack.ipv6");
    const { at, end, pseudoSum } = upperOf(b);
    for (let bit = at * 8; bit < end * 8; bit++) {
      b[bit >>> 3] ^= 0x80 >>> (bit & 7);
      expect(tcp.verifyChecksum(b, at, end, pseudoSum), `bit ${bit}`).toBe("bad");
      b[bit >>> 3] ^= 0x80 >>> (bit & 7);
    }
  });

  it("does not take an offloaded checksum under another pseudo-header", () => {
    const b = golden("syn-offloaded.ipv4");
    const { at, end, pseudoSum } = upperOf(b);
    expect(tcp.verifyChecksum(b, at, end, pseudoSum + 1)).toBe("bad");
  });
});

describe("tcp fields", () => {
  it("are where RFC 9293 draws them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), (bytes) => {
        const naive = readFields(bytes, TCP_LAYOUT);
        const [b, at] = embed(bytes);
        expect(tcp.headerLength(b, at)).toBe(Number(naive.dataOffset) * 4);
        expect(tcp.sourcePort(b, at)).toBe(Number(naive.sourcePort));
        expect(tcp.destinationPort(b, at)).toBe(Number(naive.destinationPort));
        expect(tcp.sequence(b, at)).toBe(Number(naive.sequence));
        expect(tcp.acknowledgement(b, at)).toBe(Number(naive.acknowledgement));
        expect(tcp.flags(b, at)).toBe(Number(naive.flags));
        expect(tcp.window(b, at)).toBe(Number(naive.window));
        expect(tcp.checksumField(b, at)).toBe(Number(naive.checksum));
        expect(tcp.urgentPointer(b, at)).toBe(Number(naive.urgentPointer));
      }),
    );
  });

  it("name the control bits as tcpdump does", () => {
    expect(tcp.flagNames(0)).toBe("none");
    expect(tcp.flagNames(tcp.FLAGS.SYN)).toBe("SYN");
    expect(tcp.flagNames(tcp.FLAGS.SYN | tcp.FLAGS.ACK)).toBe("SYN,ACK");
    expect(tcp.flagNames(0x1ff)).toBe("FIN,SYN,RST,PSH,ACK,URG,ECE,CWR,AE");
  });

  it("have the AE bit apart from the other eight", () => {
    const b = dirty(20);
    tcp.emit(b, 0, { ...SYN_ACK, options: new Uint8Array(0), flags: tcp.FLAGS.AE });
    expect([b[tcp.DATA_OFFSET], b[tcp.CONTROL_BITS]]).toEqual([0x51, 0x00]);
  });
});

describe("tcp round trip", () => {
  const header: fc.Arbitrary<tcp.TcpHeader> = fc.nat(10).chain((words) =>
    fc.record({
      sourcePort: fc.nat(0xffff),
      destinationPort: fc.nat(0xffff),
      sequence: fc.nat(0xffff_ffff),
      acknowledgement: fc.nat(0xffff_ffff),
      dataOffset: fc.constant(20 + words * 4),
      flags: fc.nat(0x1ff),
      window: fc.nat(0xffff),
      checksum: fc.nat(0xffff),
      urgentPointer: fc.nat(0xffff),
      options: fc.uint8Array({ minLength: words * 4, maxLength: words * 4 }),
    }),
  );

  it("parses what it emitted, and sets every byte", () => {
    fc.assert(
      fc.property(header, (h) => {
        const b = dirty(60);
        const length = tcp.emit(b, 0, h);
        expect(length).toBe(tcp.bufferLength(h));
        expect(tcp.parse(b, 0, b.length)).toEqual(h);
        const clean = new Uint8Array(60);
        tcp.emit(clean, 0, h);
        expect(b.subarray(0, length)).toEqual(clean.subarray(0, length));
      }),
    );
  });

  it("fills in the checksum of the definition, over data of any length", () => {
    fc.assert(
      fc.property(header, fc.uint8Array({ maxLength: 9 }), fc.nat(0xffff_ffff), (h, data, pseudoSum) => {
        const b = dirty(80);
        const end = tcp.emit(b, 3, h) + 3 + data.length;
        b.set(data, end - data.length);
        tcp.fillChecksum(b, 3, end, pseudoSum);
        const zeroed = Uint8Array.from(b.subarray(3, end));
        zeroed.fill(0, tcp.CHECKSUM, tcp.CHECKSUM + 2);
        expect(tcp.checksumField(b, 3)).toBe(slowChecksum(zeroed, pseudoSum));
        expect(tcp.verifyChecksum(b, 3, end, pseudoSum)).toBe("good");
        expect(b[end]).toBe(0xa5);
      }),
    );
  });

  it("tells offloaded by the folded pseudo-header sum alone", () => {
    fc.assert(
      fc.property(header, fc.integer({ min: 1, max: 0xffff_ffff }), (h, pseudoSum) => {
        const b = dirty(60);
        const end = tcp.emit(b, 0, { ...h, checksum: fold(pseudoSum) });
        expect(["good", "offloaded"]).toContain(tcp.verifyChecksum(b, 0, end, pseudoSum));
      }),
    );
  });

  it("pads options with zeros and takes the data offset from them", () => {
    const b = dirty(28);
    const h = { ...SYN_ACK, dataOffset: 60, options: Uint8Array.of(1, 1, 1, 1, 1) };
    expect(tcp.emit(b, 0, h)).toBe(28);
    expect(b[tcp.DATA_OFFSET]).toBe(0x70);
    expect([...b.subarray(20)]).toEqual([1, 1, 1, 1, 1, 0, 0, 0]);
  });

  it("throws on options that no header holds", () => {
    expect(() => tcp.emit(dirty(80), 0, { ...SYN_ACK, options: new Uint8Array(41) })).toThrow(RangeError);
  });

  it("parses into memory of its own", () => {
    const b = Buffer.from(golden("syn-ack.ipv4"));
    const h = tcp.parse(b, 20, b.length);
    b.fill(0);
    expect(h).toEqual(SYN_ACK);
  });
});

describe("tcp refuses", () => {
  it("a header cut off at any length, reading nothing beyond", () => {
    const bytes = golden("syn-ack.ipv4").subarray(20);
    for (let length = 0; length <= bytes.length; length++) {
      const [b, at] = embed(bytes);
      const seen = guard(b, at, at + length);
      const whole = length === bytes.length;
      expect(tcp.checkLength(seen, at, at + length), `at ${length}`).toBe(whole ? 40 : 0);
      expect(tcp.parse(seen, at, at + length) !== undefined).toBe(whole);
    }
  });

  it.each([
    ["below 5", 0x40, 0],
    ["5", 0x50, 20],
    ["10", 0xa0, 40],
    ["beyond the segment", 0xb0, 0],
  ])("or not: a data offset %s", (_what, byte, length) => {
    const b = golden("syn-ack.ipv4");
    b[20 + tcp.DATA_OFFSET] = byte;
    expect(tcp.checkLength(b, 20, b.length)).toBe(length);
  });

  it("no combination of control bits", () => {
    const b = golden("syn-ack.ipv4");
    for (let flags = 0; flags <= 0x1ff; flags++) {
      b[20 + tcp.DATA_OFFSET] = 0xa0 | (flags >>> 8);
      b[20 + tcp.CONTROL_BITS] = flags;
      expect(tcp.parse(b, 20, b.length)?.flags).toBe(flags);
    }
  });
});
