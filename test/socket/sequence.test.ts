/** Sequence numbers: arithmetic and order modulo 2^32, across the edge. */
import { describe, expect, it } from "vitest";
import { seqAdd, seqDiff, seqLess, seqLessEqual } from "../../src/socket/sequence.ts";

describe("sequence numbers", () => {
  it("wrap around at 2^32", () => {
    expect(seqAdd(0xffff_ffff, 1)).toBe(0);
    expect(seqAdd(0x8000_0000, 0x8000_0000)).toBe(0);
    expect(seqDiff(0, 0xffff_ffff)).toBe(1);
    expect(seqDiff(0xffff_ffff, 0)).toBe(-1);
  });
  it("compare across the edge", () => {
    expect(seqLess(0xffff_fff0, 0x10)).toBe(true);
    expect(seqLess(0x10, 0xffff_fff0)).toBe(false);
    expect(seqLess(5, 5)).toBe(false);
    expect(seqLessEqual(5, 5)).toBe(true);
    expect(seqLessEqual(6, 5)).toBe(false);
    expect(seqLessEqual(0xffff_fff0, 0x10)).toBe(true);
    expect(seqLessEqual(0x10, 0xffff_fff0)).toBe(false);
  });
});
