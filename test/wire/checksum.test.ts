/** The Internet checksum: RFC 1071's example, the definition on any bytes, and both pseudo-headers. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { putU16, putU32, u16, u32 } from "../../src/wire/bytes.ts";
import { checksum, fold, pseudoSum4, pseudoSum6, sum, update16, update32 } from "../../src/wire/checksum.ts";
import { embed, guard, slowChecksum, slowSum } from "./oracle.ts";

describe("sum, fold and checksum", () => {
  it("gives RFC 1071's own example", () => {
    const b = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
    expect(sum(b, 0, 8)).toBe(0x2ddf0);
    expect(fold(0x2ddf0)).toBe(0xddf2);
    expect(checksum(b, 0, 8)).toBe(0x220d);
  });

  it("agrees with the definition on any bytes, at any place, odd lengths included, and reads no others", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 120 }),
        fc.nat(0xffff_ffff),
        fc.nat(3),
        (bytes, initial, offset) => {
          const [b, at, end] = embed(bytes, offset);
          const guarded = guard(b, at, end);
          expect(fold(sum(guarded, at, end, initial))).toBe(slowSum(bytes, initial));
          expect(checksum(guarded, at, end, initial)).toBe(slowChecksum(bytes, initial));
        },
      ),
    );
  });

  it("loses nothing over 64 KiB of ones on top of the largest initial sum", () => {
    const b = new Uint8Array(0x1_0000).fill(0xff);
    expect(sum(b, 0, b.length, 0xffff_ffff)).toBe(0xffff_ffff + 0x8000 * 0xffff);
    const uneven = new Uint8Array(0x1_0000).fill(0xff, 1);
    expect(fold(sum(uneven, 0, uneven.length, 0xffff_fffe))).toBe(slowSum(uneven, 0xffff_fffe));
  });

  it("folds every safe integer", () => {
    // 2^16 = 1 modulo 2^16 - 1: folding is the remainder, with 0xffff for a multiple that is not zero itself.
    const remainder = (s: number) => (s === 0 ? 0 : ((s - 1) % 0xffff) + 1);
    for (const s of [0, 1, 0xffff, 0x1_0000, 0x1_ffff, 0xffff_0000, 0xffff_ffff, 2 ** 32, 2 ** 32 + 1]) {
      expect(fold(s), `fold(${s})`).toBe(remainder(s));
    }
    fc.assert(
      fc.property(fc.maxSafeNat(), (s) => {
        expect(fold(s)).toBe(remainder(s));
      }),
    );
  });

  it("is zero over bytes that carry their checksum", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 60 }), (bytes) => {
        putU16(bytes, 0, 0);
        bytes[3] |= 1;
        putU16(bytes, 0, checksum(bytes, 0, bytes.length));
        expect(checksum(bytes, 0, bytes.length)).toBe(0);
      }),
    );
  });
});

describe("pseudo-headers", () => {
  const length = fc.nat(0xffff);

  it("sums the twelve bytes of RFC 9293 3.1", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 9, maxLength: 9 }),
        fc.nat(255),
        length,
        (b, protocol, length) => {
          const header = Uint8Array.of(
            ...b.subarray(5, 9),
            ...b.subarray(1, 5),
            0,
            protocol,
            length >>> 8,
            length,
          );
          expect(fold(pseudoSum4(b, 5, 1, protocol, length))).toBe(slowSum(header));
        },
      ),
    );
  });

  it("sums the forty bytes of RFC 8200 8.1", () => {
    const anyLength = fc.nat(0xffff_ffff);
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 35, maxLength: 35 }),
        fc.nat(255),
        anyLength,
        (b, protocol, length) => {
          const header = new Uint8Array(40);
          header.set(b.subarray(19, 35), 0);
          header.set(b.subarray(2, 18), 16);
          putU32(header, 32, length);
          header[39] = protocol;
          expect(fold(pseudoSum6(b, 19, 2, protocol, length))).toBe(slowSum(header));
        },
      ),
    );
  });
});

describe("incremental update", () => {
  it("gives RFC 1624's own example, which equation 2 of RFC 1141 gets wrong", () => {
    expect(update16(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
  });

  /**
   * A message of non-zero bytes somewhere, its checksum in the first word, and an even place for the change.
   */
  const message = fc
    .array(fc.oneof(fc.constant(0), fc.constant(0xff), fc.nat(255)), { minLength: 20, maxLength: 20 })
    .map((numbers) => {
      const b = Uint8Array.from(numbers);
      b[19] |= 1;
      putU16(b, 0, 0);
      putU16(b, 0, checksum(b, 0, b.length));
      return b;
    });
  const word = fc.oneof(fc.constant(0), fc.constant(0xffff), fc.nat(0xffff));
  const long = fc.oneof(
    fc.constant(0),
    fc.constant(0xffff_ffff),
    fc.constant(0x8000_0000),
    fc.nat(0xffff_ffff),
  );

  function recompute(b: Uint8Array): number {
    const copy = Uint8Array.from(b);
    putU16(copy, 0, 0);
    return slowChecksum(copy);
  }

  it("equals a full recomputation after a word changed", () => {
    fc.assert(
      fc.property(message, fc.integer({ min: 1, max: 8 }), word, (b, n, value) => {
        const updated = update16(u16(b, 0), u16(b, 2 * n), value);
        putU16(b, 2 * n, value);
        expect(updated).toBe(recompute(b));
      }),
      { numRuns: 1000 },
    );
  });

  it("equals a full recomputation after a 32-bit value changed", () => {
    fc.assert(
      fc.property(message, fc.integer({ min: 1, max: 7 }), long, (b, n, value) => {
        const updated = update32(u16(b, 0), u32(b, 2 * n), value);
        putU32(b, 2 * n, value);
        expect(updated).toBe(recompute(b));
      }),
      { numRuns: 1000 },
    );
  });

  it("takes values as signed as bit operations make them", () => {
    expect(update32(0x1234, 0xdeadbeef | 0, 0xcafebabe | 0)).toBe(update32(0x1234, 0xdeadbeef, 0xcafebabe));
  });

  it("still verifies where nothing but zeros is covered, though a recomputation would write 0xffff", () => {
    expect(checksum(new Uint8Array(2), 0, 2)).toBe(0xffff);
    expect(update16(0xffff, 0x0000, 0x0000)).toBe(0x0000);
    expect(update16(checksum(Uint8Array.of(0x12, 0x34), 0, 2), 0x1234, 0x0000)).toBe(0x0000);
  });
});
