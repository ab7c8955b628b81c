/**
 * Spans of addresses: from one address to another of the same IP version, both included. Networks are spans, and so are
 * the parts of an octet range.
 *
 * Reading spans from text: grammar.ts. Merging them: merge-spans.ts.
 */
import { type Address, formatAddress } from "../../wire/address.ts";

export interface AddressSpan {
  readonly first: Address;
  /** Of the same length as `first`, and not below it. */
  readonly last: Address;
}

/** Order of two addresses of the same length: negative, 0 or positive. */
export function compareAddresses(a: Address, b: Address): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}

/** How many addresses a span has: exact up to 2^53. */
export function countAddresses({ first, last }: AddressSpan): number {
  let count = 0;
  for (let i = 0; i < first.length; i++) count = count * 256 + last[i] - first[i];
  return count + 1;
}

/** What two spans have in common; undefined for nothing. */
export function intersection(a: AddressSpan, b: AddressSpan): AddressSpan | undefined {
  if (a.first.length !== b.first.length) return undefined;
  const first = compareAddresses(a.first, b.first) >= 0 ? a.first : b.first;
  const last = compareAddresses(a.last, b.last) <= 0 ? a.last : b.last;
  return compareAddresses(first, last) <= 0 ? { first, last } : undefined;
}

/** The network of `length` leading bits (0-32 or 0-128) that an address belongs to. */
export function networkOf(address: Address, length: number): AddressSpan {
  const first = Uint8Array.from(address);
  const last = Uint8Array.from(address);
  for (let i = 0; i < address.length; i++) {
    const hostBits = 0xff >>> Math.min(Math.max(length - 8 * i, 0), 8);
    first[i] &= ~hostBits;
    last[i] |= hostBits;
  }
  return { first, last };
}

/** One address as itself, a network as address/length, anything else as first-last. */
export function formatSpan({ first, last }: AddressSpan): string {
  let length = 0;
  while (length < 8 * first.length && bit(first, length) === bit(last, length)) length++;
  if (length === 8 * first.length) return formatAddress(first);
  const network = networkOf(first, length);
  const whole = compareAddresses(network.first, first) === 0 && compareAddresses(network.last, last) === 0;
  return whole ? `${formatAddress(first)}/${length}` : `${formatAddress(first)}-${formatAddress(last)}`;
}

const bit = (address: Address, at: number): number => (address[at >> 3] >> (7 - (at & 7))) & 1;
