/**
 * Slow, obvious doubles of the codecs, and a buffer that bites: what the fast versions are held against.
 */
import { pseudoSum4, pseudoSum6 } from "../../src/wire/checksum.ts";
import * as ipv4 from "../../src/wire/ipv4.ts";
import * as ipv6 from "../../src/wire/ipv6.ts";

/** Header fields by name and width in bits, in the order of the RFC's diagram. */
export type Layout<Name extends string> = Readonly<Record<Name, number>>;

export const IPV4_LAYOUT = {
  version: 4,
  ihl: 4,
  tos: 8,
  totalLength: 16,
  identification: 16,
  reserved: 1,
  dontFragment: 1,
  moreFragments: 1,
  fragmentOffset: 13,
  ttl: 8,
  protocol: 8,
  checksum: 16,
  source: 32,
  destination: 32,
} as const;

export const IPV6_LAYOUT = {
  version: 4,
  trafficClass: 8,
  flowLabel: 20,
  payloadLength: 16,
  nextHeader: 8,
  hopLimit: 8,
  source: 128,
  destination: 128,
} as const;

export const TCP_LAYOUT = {
  sourcePort: 16,
  destinationPort: 16,
  sequence: 32,
  acknowledgement: 32,
  dataOffset: 4,
  reserved: 3,
  flags: 9,
  window: 16,
  checksum: 16,
  urgentPointer: 16,
} as const;

export const ICMP_LAYOUT = { type: 8, code: 8, checksum: 16, rest: 32 } as const;

/** The fields of the header that starts at byte 0, cut out of a string of ones and zeros. */
export function readFields<Name extends string>(b: Uint8Array, layout: Layout<Name>): Record<Name, bigint> {
  const bits = Array.from(b, (byte) => byte.toString(2).padStart(8, "0")).join("");
  const values = {} as Record<Name, bigint>;
  let at = 0;
  for (const [name, width] of Object.entries(layout) as [Name, number][]) {
    values[name] = BigInt(`0b${bits.slice(at, at + width)}`);
    at += width;
  }
  return values;
}

/**
 * RFC 1071 by the definition: the one's-complement sum of 16-bit words, bit by bit, before the complement.
 */
export function slowSum(bytes: Uint8Array, initial = 0): number {
  const words: bigint[] = [BigInt(initial)];
  for (let i = 0; i < bytes.length; i += 2) {
    const low = i + 1 < bytes.length ? BigInt(bytes[i + 1]) : 0n;
    words.push((BigInt(bytes[i]) << 8n) + low);
  }
  return Number(words.reduce((total, word) => onesComplementAdd(total, word), 0n));
}

function onesComplementAdd(a: bigint, b: bigint): bigint {
  let total = a + b;
  while (total >> 16n !== 0n) total = (total & 0xffffn) + (total >> 16n);
  return total;
}

/** The checksum by the definition. */
export function slowChecksum(bytes: Uint8Array, initial = 0): number {
  return 0xffff - slowSum(bytes, initial);
}

/** A buffer of `length` bytes in which an unset byte shows. */
export function dirty(length: number): Uint8Array {
  return new Uint8Array(length).fill(0xa5);
}

/** `bytes` in the middle of a dirty buffer: [buffer, at, end]. */
export function embed(bytes: Uint8Array, at = 3): [Uint8Array, number, number] {
  const b = dirty(at + bytes.length + 5);
  b.set(bytes, at);
  return [b, at, at + bytes.length];
}

/** The same buffer, but reading a byte outside `[at, end)` throws. */
export function guard(b: Uint8Array, at: number, end: number): Uint8Array {
  const check = (from: number, to: number) => {
    if (from < at || to > end) throw new Error(`read of [${from}, ${to}) outside [${at}, ${end})`);
  };
  return new Proxy(b, {
    get(target, key) {
      if (typeof key === "string" && /^\d+$/.test(key)) check(Number(key), Number(key) + 1);
      if (key === "subarray") {
        return (from: number, to: number) => {
          check(from, to);
          return target.subarray(from, to);
        };
      }
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value === "function") throw new Error(`unguarded method ${String(key)}`);
      return value;
    },
  });
}

/** Where the upper layer of a whole packet at byte 0 is, and its pseudo-header's sum. */
export function upperOf(b: Uint8Array): { protocol: number; at: number; end: number; pseudoSum: number } {
  if (b[0] >>> 4 === 4) {
    const at = ipv4.checkLength(b, 0, b.length);
    const protocol = ipv4.protocol(b, 0);
    const pseudoSum = pseudoSum4(b, ipv4.SOURCE, ipv4.DESTINATION, protocol, b.length - at);
    return { protocol, at, end: b.length, pseudoSum };
  }
  const upper = ipv6.newUpper();
  ipv6.walk(b, 0, b.length, upper);
  const { protocol, at } = upper;
  const pseudoSum = pseudoSum6(b, ipv6.SOURCE, ipv6.DESTINATION, protocol, b.length - at);
  return { protocol, at, end: b.length, pseudoSum };
}
