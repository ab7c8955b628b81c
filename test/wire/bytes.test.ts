/** Big-endian integers, against DataView; and copies that share no memory. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { copy, putU16, putU32, u16, u32 } from "../../src/wire/bytes.ts";
import { dirty } from "./oracle.ts";

describe("big-endian integers", () => {
  it("puts the highest byte first", () => {
    const b = dirty(8);
    putU16(b, 1, 0x1234);
    putU32(b, 3, 0xfedcba98);
    expect([...b]).toEqual([0xa5, 0x12, 0x34, 0xfe, 0xdc, 0xba, 0x98, 0xa5]);
    expect(u16(b, 1)).toBe(0x1234);
    expect(u32(b, 3)).toBe(0xfedcba98);
  });

  it("agrees with DataView", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 8, maxLength: 8 }), fc.nat(4), (bytes, at) => {
        const view = new DataView(bytes.buffer);
        expect(u16(bytes, at)).toBe(view.getUint16(at));
        expect(u32(bytes, at)).toBe(view.getUint32(at));
      }),
    );
  });

  it("takes the low bits of what it writes, signed or not", () => {
    const b = dirty(6);
    putU16(b, 0, 0x1_2345);
    putU32(b, 2, -2);
    expect(u16(b, 0)).toBe(0x2345);
    expect(u32(b, 2)).toBe(0xfffffffe);
  });
});

describe("copy", () => {
  it("has memory of its own, also when it comes from a Buffer", () => {
    const buffer = Buffer.from([1, 2, 3, 4]);
    const bytes = copy(buffer, 1, 3);
    buffer.fill(0);
    expect(bytes).toEqual(Uint8Array.of(2, 3));
    expect(bytes.constructor).toBe(Uint8Array);
  });
});
