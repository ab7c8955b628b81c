/**
 * Addresses from which no TCP answer can come, as spans: they are left out of ranges.
 *
 * runtime/plan/reachability.ts judges a single address, with the same outcome. Broadcast addresses of local networks are not
 * here: only the kernel's routes know them.
 */
import { type AddressSpan, intersection, networkOf } from "./address-range.ts";

export interface Reserved {
  readonly span: AddressSpan;
  /** For a person, after "left out": `multicast (224.0.0.0/4)`. */
  readonly why: string;
}

const v4 = (first: number, length: number): AddressSpan => networkOf(Uint8Array.of(first, 0, 0, 0), length);

function v6(bytes: readonly number[], length: number): AddressSpan {
  const address = new Uint8Array(16);
  address.set(bytes);
  return networkOf(address, length);
}

/** Disjoint, ascending within each family. */
export const RESERVED: readonly Reserved[] = [
  { span: v4(0, 8), why: "reserved (0.0.0.0/8)" }, // RFC 1122 §3.2.1.3
  { span: v4(224, 4), why: "multicast (224.0.0.0/4)" }, // RFC 5771
  { span: v4(240, 4), why: "reserved (240.0.0.0/4)" }, // RFC 1112 §4, and RFC 919's 255.255.255.255
  { span: v6([], 128), why: "the unspecified address (::)" }, // RFC 4291 §2.5.2
  {
    span: v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 96),
    why: "IPv4-mapped, never on a wire (::ffff:0:0/96)", // RFC 4291 §2.5.5.2
  },
  { span: v6([0xff], 8), why: "multicast (ff00::/8)" }, // RFC 4291 §2.7
];

/** The parts of a span that cannot answer, ascending. */
export function reservedWithin(span: AddressSpan): Reserved[] {
  return RESERVED.flatMap(({ span: reserved, why }) => {
    const part = intersection(reserved, span);
    return part === undefined ? [] : [{ span: part, why }];
  });
}
