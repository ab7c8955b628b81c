/**
 * Arithmetic on addresses as big-endian 32-bit words: one for IPv4, four for IPv6. `width` is that number of words.
 *
 * Order of such addresses: word-table.ts. An address in four words whatever its version: socket/table.ts.
 * Tested by test/scan/targets/space.test.ts.
 */
import { loadAddress } from "../../socket/table.ts";
import type { Address } from "../../wire/address.ts";
import type { AddressSpan } from "./address-range.ts";

/** ::ffff:0:0/96. Written in four words, these addresses would be IPv4 addresses (loadAddress). */
export const MAPPED: AddressSpan = {
  first: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0),
  last: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255),
};

/** Third word of an IPv4 address that is written in four. */
export const MAPPED_WORD = 0x0000_ffff;

/** Writes an address as one word or four. */
export function loadCompact(words: Uint32Array, to: number, address: Address): void {
  if (address.length === 16) loadAddress(words, to, address, 0, 16);
  else words[to] = (address[0] << 24) | (address[1] << 16) | (address[2] << 8) | address[3];
}

/** Goes to the next address (1) or the one before (-1), wrapping at both ends. */
export function step(words: Uint32Array, by: 1 | -1): void {
  const overflow = by === 1 ? 0 : 0xffff_ffff;
  for (let w = words.length - 1; w >= 0; w--) {
    words[w] += by;
    if (words[w] !== overflow) return;
  }
}

/** Whether the address in `b` comes right after the one at `a[at]`. */
export function follows(a: Uint32Array, at: number, b: Uint32Array, width: number): boolean {
  let carry = 1;
  for (let w = width - 1; w >= 0; w--) {
    const expected = (a[at + w] + carry) >>> 0;
    if (b[w] !== expected) return false;
    if (expected !== 0) carry = 0;
  }
  return carry === 0;
}

/** How far the address at `to[toAt]` is above the one at `from[fromAt]`; exact below 2^53. */
export function distance(
  from: Uint32Array,
  fromAt: number,
  to: Uint32Array,
  toAt: number,
  width: number,
): number {
  let sum = 0;
  for (let w = 0; w < width; w++) sum = sum * 2 ** 32 + (to[toAt + w] - from[fromAt + w]);
  return sum;
}

/** Addresses in the span at `words[at]`: its first address, then its last. */
export const hostsOf = (words: Uint32Array, at: number, width: number): number =>
  distance(words, at, words, at + width, width) + 1;
