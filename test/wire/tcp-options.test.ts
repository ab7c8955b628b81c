/** TCP options, against real packets: parsed, written, unknown ones kept, cut off anywhere. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { emitOptions, optionsLength, parseOptions, type TcpOption } from "../../src/wire/tcp-options.ts";
import { fromHex, golden } from "../golden/golden.ts";
import { dirty, embed, guard } from "./oracle.ts";

function parse(hex: string) {
  const [b, at, end] = embed(fromHex(hex));
  return parseOptions(guard(b, at, end), at, end);
}

const LINUX: TcpOption[] = [
  { kind: "mss", value: 1460 },
  { kind: "sack-permitted" },
  { kind: "timestamps", value: 4197949627, echo: 2826087364 },
  { kind: "nop" },
  { kind: "window-scale", shift: 10 },
];

describe("tcp options, against real packets", () => {
  it("parses those of Linux's SYN-ACK", () => {
    const b = golden("syn-ack.ipv4");
    expect(parseOptions(b, 40, b.length)).toEqual({ options: LINUX, malformed: false });
  });

  it("emits those of Linux's SYN-ACK, byte for byte", () => {
    const b = dirty(24);
    expect(emitOptions(b, 2, LINUX)).toBe(20);
    expect(b.subarray(2, 22)).toEqual(golden("syn-ack.ipv4").subarray(40));
    expect([b[1], b[22]]).toEqual([0xa5, 0xa5]);
  });

  it("parses those of an established connection", () => {
    const b = golden("fin-ack.ipv4");
    const timestamps: TcpOption = { kind: "timestamps", value: 2826087364, echo: 4197949627 };
    expect(parseOptions(b, 40, b.length).options).toEqual([{ kind: "nop" }, { kind: "nop" }, timestamps]);
  });
});

describe("parseOptions", () => {
  it("ends at the end-of-list option, whatever follows", () => {
    expect(parse("01 00 ff ff")).toEqual({ options: [{ kind: "nop" }], malformed: false });
    expect(parse("")).toEqual({ options: [], malformed: false });
  });

  it("reads SACK blocks (RFC 2018 3)", () => {
    expect(parse("0101 0512 00000001 fffffffe 80000000 80000001").options.at(2)).toEqual({
      kind: "sack",
      blocks: [
        { left: 1, right: 0xfffffffe },
        { left: 0x80000000, right: 0x80000001 },
      ],
    });
  });

  it("keeps what it does not know: TCP Fast Open, MD5, experiments", () => {
    expect(parse("2202 fd04beef 0101").options).toEqual([
      { kind: "unknown", code: 34, data: new Uint8Array(0) },
      { kind: "unknown", code: 253, data: Uint8Array.of(0xbe, 0xef) },
      { kind: "nop" },
      { kind: "nop" },
    ]);
    expect(parse("2202 fd04beef 0101").malformed).toBe(false);
  });

  it.each([
    ["MSS", "0203ff", 2],
    ["window scale", "0304ffff", 3],
    ["SACK permitted", "0403ff", 4],
    ["SACK without a block", "0502", 5],
    ["SACK with half a block", "0506ffffffff", 5],
    ["timestamps", "0806ffffffff", 8],
  ])("keeps a known kind of the wrong length as it is, and goes on: %s", (_kind, hex, code) => {
    expect(parse(`${hex} 03 03 07`)).toEqual({
      options: [
        { kind: "unknown", code, data: fromHex(hex).subarray(2) },
        { kind: "window-scale", shift: 7 },
      ],
      malformed: true,
    });
  });

  it.each([
    ["a length of 0", "01 0200 05b4"],
    ["a length of 1", "01 0201 05b4"],
    ["a length beyond the header", "01 0205 05b4"],
    ["no length", "01 02"],
  ])("stops at %s, and keeps what came before", (_what, hex) => {
    expect(parse(hex)).toEqual({ options: [{ kind: "nop" }], malformed: true });
  });

  it("keeps a prefix of the options at any cut", () => {
    const bytes = golden("syn-ack.ipv4").subarray(40);
    const wholeAt = [0, 4, 6, 16, 17, 20];
    for (let cut = 0; cut <= bytes.length; cut++) {
      const [b, at] = embed(bytes);
      const { options, malformed } = parseOptions(guard(b, at, at + cut), at, at + cut);
      const whole = wholeAt.filter((end) => end > 0 && end <= cut).length;
      expect(options, `cut at ${cut}`).toEqual(LINUX.slice(0, whole));
      expect(malformed, `cut at ${cut}`).toBe(!wholeAt.includes(cut));
    }
  });

  it("records any bytes, up to where they stop making sense, so that emitting gives them back", () => {
    const byte = fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 5, 8, 10, 18), fc.nat(255));
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 60 }), (numbers) => {
        const [b, at, end] = embed(Uint8Array.from(numbers));
        const { options } = parseOptions(guard(b, at, end), at, end);
        const again = dirty(optionsLength(options));
        const length = emitOptions(again, 0, options);
        for (let i = 0; i < length; i++) {
          const isPadding = i >= length - 3 && again[i] === 0;
          if (!isPadding) expect(again[i], `byte ${i}`).toBe(numbers[i]);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe("options round trip", () => {
  const u32 = fc.nat(0xffff_ffff);
  const option: fc.Arbitrary<TcpOption> = fc.oneof(
    fc.record({ kind: fc.constant("mss" as const), value: fc.nat(0xffff) }),
    fc.record({ kind: fc.constant("window-scale" as const), shift: fc.nat(255) }),
    fc.record({ kind: fc.constant("sack-permitted" as const) }),
    fc.record({
      kind: fc.constant("sack" as const),
      blocks: fc.array(fc.record({ left: u32, right: u32 }), { minLength: 1, maxLength: 4 }),
    }),
    fc.record({ kind: fc.constant("timestamps" as const), value: u32, echo: u32 }),
    fc.record({ kind: fc.constant("nop" as const) }),
    fc.record({
      kind: fc.constant("unknown" as const),
      code: fc.integer({ min: 9, max: 255 }),
      data: fc.uint8Array({ maxLength: 12 }),
    }),
  );

  it("parses what it emitted, padded with zeros to a multiple of 4", () => {
    fc.assert(
      fc.property(fc.array(option, { maxLength: 6 }), (options) => {
        const length = optionsLength(options);
        const b = dirty(length + 4);
        expect(length % 4).toBe(0);
        expect(emitOptions(b, 0, options)).toBe(length);
        expect(parseOptions(b, 0, length)).toEqual({ options, malformed: false });
        expect(b[length]).toBe(0xa5);
      }),
    );
  });

  it("parses unknown data into memory of its own", () => {
    const b = Buffer.from([253, 4, 0xbe, 0xef]);
    const { options } = parseOptions(b, 0, 4);
    b.fill(0);
    expect(options).toEqual([{ kind: "unknown", code: 253, data: Uint8Array.of(0xbe, 0xef) }]);
  });
});
