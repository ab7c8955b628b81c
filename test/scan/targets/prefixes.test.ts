/** Spaces cut by prefix, against a list of all their pairs: each pair once, no host in two prefixes, none larger than it may be. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type AddressSpan,
  compareAddresses,
  formatSpan,
  intersection,
  networkOf,
} from "../../../src/scan/targets/address-range.ts";
import { cutByPrefix, type Prefixes } from "../../../src/scan/targets/prefixes.ts";
import type { Space } from "../../../src/scan/targets/space.ts";
import { createSpaceBuilder } from "../../../src/scan/targets/space-builder.ts";
import { ADDRESS_WORDS, addressText, loadAddress } from "../../../src/socket/table.ts";
import { type Address, formatAddress } from "../../../src/wire/address.ts";
import { everyday } from "../../everyday.ts";
import { address } from "../../sim/run.ts";

/** Where spaces lie: within and across /24 and /64, at the ends of both IP versions, across words of IPv6. */
const WORLDS = [
  "198.18.0.250",
  "198.18.1.0",
  "0.0.0.0",
  "255.255.255.200",
  "2001:db8::ffff:fffa",
  "2001:db8:0:1:ffff:ffff:ffff:fff8",
  "2001:db8:0:2::",
  "2001:db8:0:3::",
  "2001:db7:ffff:ffff:ffff:ffff:ffff:fff8",
  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00",
];

const addressIn = (world: string, offset: number): Address => above(address(world), offset);

function above(from: Address, offset: number): Address {
  const bytes = Uint8Array.from(from);
  let carry = offset;
  for (let i = bytes.length - 1; i >= 0; i--) {
    carry += bytes[i];
    bytes[i] = carry;
    carry >>= 8;
  }
  return bytes;
}

const piece = fc.record({
  world: fc.constantFrom(...WORLDS),
  offset: fc.nat(40),
  hosts: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 15 })),
  ports: fc.uniqueArray(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
});
const wish = fc.record({
  pieces: fc.array(piece, { minLength: 1, maxLength: 8 }),
  seed: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  most: fc.constantFrom(1, 2, 3, 7, 40, Number.POSITIVE_INFINITY),
});

function spaceOf(pieces: readonly (typeof piece extends fc.Arbitrary<infer P> ? P : never)[]): Space {
  const builder = createSpaceBuilder();
  for (const { world, offset, hosts, ports } of pieces) {
    const [first, last] = [addressIn(world, offset), addressIn(world, offset + hosts - 1)];
    builder.add(first, last, Uint16Array.from([...ports].sort((a, b) => a - b)));
  }
  return builder.build();
}

/** Every host of a prefix with its ports, one address after the other. */
function* hostsOf(cut: Prefixes, place: number): Generator<{ host: Address; ports: Iterable<number> }> {
  for (const { first, last, ports } of cut.at(place)) {
    for (let host = first; compareAddresses(host, last) <= 0; host = above(host, 1)) {
      yield { host, ports };
      if (compareAddresses(host, last) === 0) break;
    }
  }
}

const isWithin = (span: AddressSpan, network: AddressSpan): boolean => {
  const common = intersection(span, network);
  return common !== undefined && formatSpan(common) === formatSpan(span);
};

describe("a space cut by prefix", () => {
  it("has each pair once, no host in two prefixes, and no prefix that could have been smaller", () => {
    fc.assert(
      fc.property(wish, ({ pieces, seed, most }) => {
        const space = spaceOf(pieces);
        const cut = cutByPrefix(space, { seed, most });
        const places = new Map<string, number>();
        const seen = new Set<number>();
        const words = new Uint32Array(ADDRESS_WORDS);
        for (let place = 0; place < cut.count; place++) {
          const hosts = new Set<string>();
          let pairs = 0;
          for (const { host, ports } of hostsOf(cut, place)) {
            const text = formatAddress(host);
            loadAddress(words, 0, host, 0, host.length);
            for (const port of ports) {
              const index = space.indexOf(words, 0, port);
              if (index < 0 || seen.has(index)) throw new Error(`${text}:${port} is number ${index}`);
              seen.add(index);
              pairs++;
            }
            if ((places.get(text) ?? place) !== place) throw new Error(`${text} is in two prefixes`);
            places.set(text, place);
            hosts.add(text);
            if (cut.placeOf(words, 0) !== place) throw new Error(`${text} is not found at ${place}`);
          }
          const spans = cut.at(place);
          const [{ first }] = spans;
          const network = networkOf(first, first.length === 4 ? 24 : 64);
          const isSound =
            pairs === spans.reduce((sum, span) => sum + span.pairs, 0) &&
            (hosts.size === 1 || pairs <= most) &&
            spans.every((span) => isWithin(span, network));
          if (!isSound)
            throw new Error(`place ${place} has ${pairs} pairs in ${spans.map(formatSpan).join()}`);
        }
        expect(seen.size).toBe(space.total);
        expect(places.size).toBe(space.hosts);
      }),
      { numRuns: everyday(60, 10_000) },
    );
  }, 240_000);

  it("divides none that has no more pairs than it may, whatever its neighbours have", () => {
    const hosts = [1, 200].flatMap((host) =>
      ["198.18.0.0", "198.18.1.0"].map((world) => [world, host] as const),
    );
    const space = spaceOf(hosts.map(([world, offset]) => ({ world, offset, hosts: 1, ports: [80] })));
    expect(cutByPrefix(space, { seed: 1n, most: 2 }).count).toBe(2);
    expect(cutByPrefix(space, { seed: 1n, most: 1 }).count).toBe(4);
  });

  it("knows of an address that is in none of its prefixes", () => {
    const cut = cutByPrefix(spaceOf([{ world: "198.18.1.0", offset: 0, hosts: 9, ports: [2] }]), {
      seed: 1n,
      most: 100,
    });
    const words = new Uint32Array(ADDRESS_WORDS);
    for (const outside of ["198.18.0.255", "198.18.2.0", "2001:db8::1", "0.0.0.0"]) {
      const bytes = address(outside);
      loadAddress(words, 0, bytes, 0, bytes.length);
      expect(cut.placeOf(words, 0), addressText(words, 0)).toBe(-1);
    }
  });

  it("takes no memory for the prefixes of a large network, and has them in random order", () => {
    const builder = createSpaceBuilder();
    builder.add(address("0.0.0.0"), address("255.255.255.255"), Uint16Array.of(22, 80, 443));
    builder.add(address("2001:db8::"), address("2001:db8::ffff:ffff:ffff"), Uint16Array.of(22));
    const cut = cutByPrefix(builder.build(), { seed: 7n, most: 1e6 });
    // Of the IPv6 network, which is within one /64, prefixes of 2^19 addresses.
    expect(cut.count).toBe(2 ** 24 + 2 ** 29);
    const first = Array.from({ length: 64 }, (_, place) => formatAddress(cut.at(place)[0].first));
    expect(new Set(first).size).toBe(64);
    const apart = first.slice(1).filter((text, i) => !text.startsWith(first[i].slice(0, 20)));
    expect(apart.length).toBeGreaterThan(60);
  });

  it("never divides a prefix that must be one worker's", () => {
    const builder = createSpaceBuilder();
    builder.add(
      address("198.18.0.0"),
      address("198.18.1.255"),
      Uint16Array.from({ length: 5000 }, (_, i) => i + 1),
    );
    const space = builder.build();
    expect(cutByPrefix(space, { seed: 1n, most: Number.POSITIVE_INFINITY }).count).toBe(2);
    expect(cutByPrefix(space, { seed: 1n, most: 1e6 }).count).toBe(4);
  });
});
