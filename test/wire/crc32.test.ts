/** CRC-32, against its check value and its definition. */
import * as zlib from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32 } from "../../src/wire/crc32.ts";

/** Bit by bit, as IEEE 802.3 §3.2.9 describes it. */
function oracle(bytes: Uint8Array): number {
  let c = 0xffff_ffff;
  for (const byte of bytes) {
    c ^= byte;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb8_8320 : c >>> 1;
  }
  return ~c >>> 0;
}

describe("CRC-32", () => {
  it("has the check value of the catalogues", () => {
    const digits = new TextEncoder().encode("123456789");
    expect(crc32(digits, 0, digits.length)).toBe(0xcbf4_3926);
    expect(crc32(digits, 4, 4)).toBe(0);
  });

  it("agrees with the definition, of any part of any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), fc.nat(200), (bytes, a, b) => {
        const [at, end] = [a, b].map((i) => Math.min(i, bytes.length)).sort((x, y) => x - y);
        expect(crc32(bytes, at, end)).toBe(oracle(bytes.subarray(at, end)));
      }),
    );
  });

  it.skipIf(!("crc32" in zlib))("agrees with zlib's", () => {
    const bytes = new Uint8Array(100_003).map((_, i) => i * 7 + (i >> 8));
    expect(crc32(bytes, 0, bytes.length)).toBe("crc32" in zlib && zlib.crc32(bytes));
  });
});
