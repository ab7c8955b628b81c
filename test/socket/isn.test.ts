/** The ISN hash: the published vectors, and that every bit of the 4-tuple and the key counts. */
import { describe, expect, it } from "vitest";
import { createIsnHash } from "../../src/socket/isn.ts";

const KEY = Uint8Array.from({ length: 8 }, (_, i) => i);

describe("the ISN hash", () => {
  it("is HalfSipHash-2-4: the published vector for a message of 36 bytes", () => {
    // Aumasson and Bernstein, vectors_hsip32[36]: key 00…07, message 00…23 (hex), output e7 5c c6 ec.
    const message = new DataView(Uint8Array.from({ length: 36 }, (_, i) => i).buffer);
    const words = Uint32Array.from({ length: 8 }, (_, i) => message.getUint32(4 * i, true));
    const last = message.getUint32(32, true);
    expect(createIsnHash(KEY)(words, 0, words, 4, last >>> 16, last & 0xffff) >>> 0).toBe(0xecc65ce7);
  });

  it("depends on every part of the 4-tuple and on the key", () => {
    const local = Uint32Array.of(0, 0, 0xffff, 0xc6120001);
    const peer = Uint32Array.of(0, 0, 0xffff, 0xc6120002);
    const hash = createIsnHash(KEY);
    const base = hash(local, 0, peer, 0, 61_000, 80);
    const others = new Set([base]);
    for (let bit = 0; bit < 128; bit++) {
      const changed = peer.slice();
      changed[bit >> 5] ^= 1 << (bit & 31);
      others.add(hash(local, 0, changed, 0, 61_000, 80));
      const changedLocal = local.slice();
      changedLocal[bit >> 5] ^= 1 << (bit & 31);
      others.add(hash(changedLocal, 0, peer, 0, 61_000, 80));
    }
    for (let bit = 0; bit < 16; bit++) {
      others.add(hash(local, 0, peer, 0, 61_000 ^ (1 << bit), 80));
      others.add(hash(local, 0, peer, 0, 61_000, 80 ^ (1 << bit)));
    }
    others.add(createIsnHash(Uint8Array.from(KEY, (b) => b ^ 1))(local, 0, peer, 0, 61_000, 80));
    expect(others.size).toBe(1 + 256 + 32 + 1);
    expect(hash(local, 0, peer, 0, 61_000, 80)).toBe(base);
  });

  it("is the same whatever was hashed before, also where only one word of an address differs", () => {
    const hash = createIsnHash(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    const first = [Uint32Array.of(1, 2, 3, 4), Uint32Array.of(5, 6, 7, 8)];
    for (let word = 0; word < 8; word++) {
      const other = first.map((address) => address.slice());
      other[word >> 2][word & 3] ^= 0x10;
      for (const [local, peer] of [first, other, first]) {
        const fresh = createIsnHash(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
        expect(hash(local, 0, peer, 0, 61_000, 80)).toBe(fresh(local, 0, peer, 0, 61_000, 80));
      }
    }
  });

  it("spreads over all 32 bits", () => {
    const hash = createIsnHash(KEY);
    const words = new Uint32Array(4);
    const ones = new Uint32Array(32);
    const samples = 20_000;
    for (let i = 0; i < samples; i++) {
      words[3] = i;
      const value = hash(words, 0, words, 0, 61_000, 80);
      for (let bit = 0; bit < 32; bit++) ones[bit] += (value >>> bit) & 1;
    }
    // Each bit is set in half of the samples; 5 standard deviations are 354.
    for (const count of ones) expect(Math.abs(count - samples / 2)).toBeLessThan(354);
  });

  it.each([7, 9])("refuses a key of %i bytes", (length) => {
    expect(() => createIsnHash(new Uint8Array(length))).toThrow("the ISN key has 8 bytes");
  });
});
