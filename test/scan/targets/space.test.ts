/** The probe space, against a list of all its pairs: each once, under a number that finds it again, in bounded memory. */
import { performance } from "node:perf_hooks";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SynprobeError } from "../../../src/errors.ts";
import { type AddressSpan, formatSpan, networkOf } from "../../../src/scan/targets/address-range.ts";
import { openSpace, type Pair, type Space } from "../../../src/scan/targets/space.ts";
import { createSpaceBuilder, type SpaceBuilder } from "../../../src/scan/targets/space-builder.ts";
import { ADDRESS_WORDS, loadAddress, storeAddress } from "../../../src/socket/table.ts";
import { type Address, formatAddress } from "../../../src/wire/address.ts";
import { everyday } from "../../everyday.ts";
import { address } from "../../sim/run.ts";

const ALL_PORTS = Uint16Array.from({ length: 65_535 }, (_, i) => i + 1);

const emptyPair = (): Pair => ({ words: new Uint32Array(ADDRESS_WORDS), port: 0 });
const textOf = ({ words, port }: Pair): string => {
  const mapped = words[0] === 0 && words[1] === 0 && words[2] === 0xffff;
  return `${formatAddress(storeAddress(words, 0, mapped ? 4 : 16))} ${port}`;
};
const pairAt = (space: Space, index: number): string => {
  const pair = emptyPair();
  space.pairAt(index, pair);
  return textOf(pair);
};
const wordsOf = (host: string): Uint32Array => {
  const words = new Uint32Array(ADDRESS_WORDS);
  const bytes = address(host);
  loadAddress(words, 0, bytes, 0, bytes.length);
  return words;
};
const indexOf = (space: Space, host: string, port: number): number => space.indexOf(wordsOf(host), 0, port);
const spaceOf = (fill: (builder: SpaceBuilder) => void): Space => {
  const builder = createSpaceBuilder();
  fill(builder);
  return builder.build();
};
const network = (text: string): AddressSpan => {
  const [host, length] = text.split("/");
  return networkOf(address(host), Number(length));
};
const add = (builder: SpaceBuilder, text: string, ...ports: number[]): void => {
  const { first, last } = network(text);
  builder.add(first, last, Uint16Array.from(ports));
};

/**
 * Small worlds of 24 addresses each where everything overlaps: in the middle of IPv4, at both of its ends, and in IPv6
 * across the borders of its words, at its end, and where the IPv4-mapped addresses begin.
 */
const WORLDS = [
  "198.18.0.240",
  "0.0.0.0",
  "255.255.255.232",
  "2001:db8::ffff:fff0",
  "2001:db8:0:0:ffff:ffff:ffff:fff4",
  "2001:db7:ffff:ffff:ffff:ffff:ffff:fff4",
  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffe8",
  "::fffe:ffff:fff4",
  "::ffff:ffff:fff4",
];
const WORLD_SIZE = 24;

function addressIn(world: string, offset: number): Address {
  const bytes = Uint8Array.from(address(world));
  let carry = offset;
  for (let i = bytes.length - 1; i >= 0; i--) {
    carry += bytes[i];
    bytes[i] = carry;
    carry >>= 8;
  }
  return bytes;
}

type Step =
  | { readonly kind: "add"; readonly from: number; readonly to: number; readonly ports: readonly number[] }
  | { readonly kind: "exclude"; readonly from: number; readonly to: number };

const place = fc.nat(WORLD_SIZE - 1);
const portList = fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("add" as const), from: place, to: place, ports: portList }),
  },
  {
    weight: 4,
    arbitrary: fc
      .record({ kind: fc.constant("add" as const), at: place, port: fc.integer({ min: 1, max: 5 }) })
      .map(({ kind, at, port }) => ({ kind, from: at, to: at, ports: [port] })),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("exclude" as const), from: place, to: place }) },
);
interface Wish {
  readonly world: string;
  readonly steps: readonly Step[];
  readonly badPorts: readonly number[];
}
const wish: fc.Arbitrary<Wish> = fc.record({
  world: fc.constantFrom(...WORLDS),
  steps: fc.array(step, { maxLength: 30 }),
  badPorts: fc.oneof(fc.constant([]), fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { maxLength: 2 })),
});

function fill(builder: SpaceBuilder, { world, steps, badPorts }: Wish): void {
  for (const { kind, from, to, ...rest } of steps) {
    const first = addressIn(world, Math.min(from, to));
    const last = addressIn(world, Math.max(from, to));
    if (kind === "exclude") builder.exclude(first, last);
    else if ("ports" in rest) builder.add(first, last, Uint16Array.from(rest.ports).sort());
  }
  builder.excludePorts(Uint16Array.from(badPorts).sort());
}

/** The same by brute force: every pair as text, and where it is. */
function bruteForce({ world, steps, badPorts }: Wish): Map<string, { offset: number; port: number }> {
  const wanted = new Map<string, { offset: number; port: number }>();
  for (let offset = 0; offset < WORLD_SIZE; offset++) {
    const covers = steps.filter(
      ({ from, to }) => offset >= Math.min(from, to) && offset <= Math.max(from, to),
    );
    const host = addressIn(world, offset);
    const mapped = host.length === 16 && formatAddress(host).startsWith("::ffff:");
    if (mapped || covers.some(({ kind }) => kind === "exclude")) continue;
    for (const cover of covers) {
      if (cover.kind !== "add") continue;
      for (const port of cover.ports)
        if (!badPorts.includes(port)) wanted.set(`${formatAddress(host)} ${port}`, { offset, port });
    }
  }
  return wanted;
}

describe("a space", () => {
  it("has exactly the pairs that were asked for, each once, and knows where each is", () => {
    fc.assert(
      fc.property(wish, (asked) => {
        const wanted = bruteForce(asked);
        const builder = createSpaceBuilder();
        fill(builder, asked);
        const builtSpans = builder.spans();
        const space = builder.build();
        expect(space.total).toBe(wanted.size);
        const found = new Set<string>();
        const pair = emptyPair();
        const misplaced: number[] = [];
        for (let index = 0; index < space.total; index++) {
          space.pairAt(index, pair);
          found.add(textOf(pair));
          if (space.indexOf(pair.words, 0, pair.port) !== index) misplaced.push(index);
        }
        expect(misplaced).toEqual([]);
        const ports = new Set([...wanted.values()].map(({ port }) => port));
        expect(space.ports()).toEqual([...ports].sort((a, b) => a - b));
        expect([...found].sort()).toEqual([...wanted.keys()].sort());
        const foreign: string[] = [];
        const hosts = new Set([...wanted.keys()].map((pair) => pair.split(" ")[0]));
        for (let offset = 0; offset < WORLD_SIZE; offset++) {
          const host = formatAddress(addressIn(asked.world, offset));
          const isMapped = host.startsWith("::ffff:");
          if (!isMapped && space.hasHost(wordsOf(host), 0) !== hosts.has(host)) foreign.push(host);
          for (let port = 1; port <= 5; port++) {
            const known = wanted.has(`${host} ${port}`) || isMapped;
            if (!known && indexOf(space, host, port) !== -1) foreign.push(`${host} ${port}`);
          }
        }
        expect(foreign).toEqual([]);
        // The spans: every wanted address, in runs as long as they can be.
        const offsets = [...new Set([...wanted.values()].map(({ offset }) => offset))].sort((a, b) => a - b);
        expect(space.hosts).toBe(offsets.length);
        const runs = offsets
          .filter((offset) => !offsets.includes(offset - 1))
          .map((first) => {
            let last = first;
            while (offsets.includes(last + 1)) last++;
            return formatSpan({ first: addressIn(asked.world, first), last: addressIn(asked.world, last) });
          });
        expect(builtSpans.map(formatSpan)).toEqual(runs);
      }),
      { numRuns: everyday(60, 500) },
    );
  });

  it("is the same, number by number, however its pairs were named", () => {
    fc.assert(
      fc.property(wish, wish, (asked, other) => {
        const space = spaceOf((builder) => fill(builder, asked));
        const wanted = bruteForce(asked);
        const singly = spaceOf((builder) => {
          for (const { offset, port } of [...wanted.values()].reverse()) {
            const host = addressIn(asked.world, offset);
            builder.add(host, host, Uint16Array.of(port));
          }
        });
        expect(singly.fingerprint()).toBe(space.fingerprint());
        const listed = (one: Space) => Array.from({ length: one.total }, (_, index) => pairAt(one, index));
        expect(listed(singly)).toEqual(listed(space));
        const same =
          wanted.size === bruteForce(other).size &&
          [...bruteForce(other).keys()].every((pair) => wanted.has(pair));
        const another = spaceOf((builder) => fill(builder, other));
        expect(another.fingerprint() === space.fingerprint()).toBe(same);
      }),
    );
  });

  it("may be looked at for its spans and then be added to", () => {
    fc.assert(
      fc.property(wish, (asked) => {
        const builder = createSpaceBuilder();
        const half = asked.steps.length >> 1;
        fill(builder, { ...asked, steps: asked.steps.slice(0, half), badPorts: [] });
        builder.spans();
        fill(builder, { ...asked, steps: asked.steps.slice(half) });
        const whole = spaceOf((other) => fill(other, asked));
        expect(builder.build().fingerprint()).toBe(whole.fingerprint());
      }),
    );
  });

  it("has both IP versions side by side", () => {
    const builder = createSpaceBuilder();
    add(builder, "2001:db8::/126", 443);
    add(builder, "198.18.0.0/31", 80, 443);
    add(builder, "198.18.0.9/32", 22);
    builder.addPair(0xc612_0009, 23);
    builder.addPair(0xc612_000b, 23);
    expect(builder.spans().map(formatSpan)).toEqual([
      "198.18.0.0/31",
      "198.18.0.9",
      "198.18.0.11",
      "2001:db8::/126",
    ]);
    const space = builder.build();
    expect(Array.from({ length: space.total }, (_, i) => pairAt(space, i))).toEqual([
      "198.18.0.0 80",
      "198.18.0.0 443",
      "198.18.0.1 80",
      "198.18.0.1 443",
      "198.18.0.9 22",
      "198.18.0.9 23",
      "198.18.0.11 23",
      "2001:db8:: 443",
      "2001:db8::1 443",
      "2001:db8::2 443",
      "2001:db8::3 443",
    ]);
    expect(space.hosts).toBe(8);
  });

  it("opens in another thread over the same memory", () => {
    const space = spaceOf((builder) => {
      add(builder, "198.18.0.0/16", 80, 443);
      add(builder, "2001:db8::/112", 22);
      builder.addPair(0xc613_0001, 23);
    });
    const shared = space.share();
    const copy = structuredClone(shared);
    expect(copy.ports.buffer).toBeInstanceOf(SharedArrayBuffer);
    copy.ports[0] = 81;
    expect(pairAt(space, 0)).toBe("198.18.0.0 81");
    copy.ports[0] = 80;
    const other = openSpace(copy);
    expect(other.fingerprint()).toBe(space.fingerprint());
    for (const index of [0, 1, 131_071, 131_072, 131_073, space.total - 1])
      expect(pairAt(other, index)).toBe(pairAt(space, index));
  });

  it("of nothing is empty", () => {
    const space = spaceOf((builder) => {
      builder.add(address("198.18.0.1"), address("198.18.0.1"), new Uint16Array(0));
      add(builder, "198.18.0.0/24", 80);
      builder.exclude(address("0.0.0.0"), address("255.255.255.255"));
      // What looks like IPv4 in IPv6 is nobody's.
      add(builder, "::ffff:198.18.0.0/120", 80);
    });
    expect([space.total, space.hosts, indexOf(space, "198.18.0.1", 80)]).toEqual([0, 0, -1]);
  });

  it("refuses what is no span", () => {
    const builder = createSpaceBuilder();
    const ports = Uint16Array.of(80);
    expect(() => builder.add(address("198.18.0.2"), address("198.18.0.1"), ports)).toThrow(RangeError);
    expect(() => builder.add(address("198.18.0.2"), address("2001:db8::1"), ports)).toThrow(RangeError);
  });
});

describe("a large space", () => {
  it("of billions of pairs is a row", () => {
    const space = spaceOf((builder) => {
      const { first, last } = network("198.18.0.0/15");
      builder.add(first, last, ALL_PORTS);
    });
    expect(space.total).toBe(131_072 * 65_535);
    expect(pairAt(space, 0)).toBe("198.18.0.0 1");
    expect(pairAt(space, space.total - 1)).toBe("198.19.255.255 65535");
    expect(indexOf(space, "198.19.0.0", 443)).toBe(65_536 * 65_535 + 442);
    expect(pairAt(space, 65_536 * 65_535 + 442)).toBe("198.19.0.0 443");
  });

  it("is exact up to its limit", () => {
    // 2^37 addresses with 65,535 ports are just below 2^53.
    const space = spaceOf((builder) => {
      const { first, last } = network("2001:db8::/91");
      builder.add(first, last, ALL_PORTS);
    });
    expect(space.total).toBe(2 ** 37 * 65_535);
    expect(pairAt(space, space.total - 1)).toBe("2001:db8::1f:ffff:ffff 65535");
    const pair = emptyPair();
    fc.assert(
      fc.property(fc.maxSafeInteger(), (number) => {
        const index = Math.abs(number) % space.total;
        space.pairAt(index, pair);
        expect(space.indexOf(pair.words, 0, pair.port)).toBe(index);
      }),
    );
  });

  it.each(["2001:db8::/90", "2001:db8::/32", "::/0"])(
    "beyond its limit is refused: all ports of %s",
    (text) => {
      const { first, last } = network(text);
      let refusal: unknown;
      try {
        spaceOf((builder) => builder.add(first, last, ALL_PORTS));
      } catch (error) {
        refusal = error;
      }
      expect(refusal).toBeInstanceOf(SynprobeError);
      expect(refusal).toMatchObject({
        code: "ERR_USAGE",
        message: expect.stringMatching(/^the targets make \S+e\+\d+ pairs/),
      });
    },
  );

  it("of a hundred thousand networks with ports of their own is built in a moment", () => {
    const started = performance.now();
    const space = spaceOf((builder) => {
      // A /8 with every port by itself, and another with networks within networks.
      for (let port = 1; port <= 40_000; port++) add(builder, "10.0.0.0/8", port);
      for (let i = 0; i < 60_000; i++) {
        const host = Math.imul(i, 0x9e37_79b1) >>> 8;
        const at = `11.${host >> 16}.${(host >> 8) & 255}.${host & 255}`;
        add(builder, `${at}/${9 + (i % 24)}`, 1 + (i % 1000), 50_000);
      }
    });
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(space.hosts).toBe(2 ** 25);
    expect(indexOf(space, "10.1.2.3", 40_000)).toBeGreaterThan(0);
    expect(indexOf(space, "10.1.2.3", 50_000)).toBe(-1);
    expect(indexOf(space, "11.1.2.3", 50_000)).toBeGreaterThan(0);
  });

  it("of a hundred thousand hosts in any order, with one port or several, has each pair once", () => {
    const builder = createSpaceBuilder();
    const wanted = new Set<number>();
    const several = [Uint16Array.of(80, 443), Uint16Array.of(2, 80)];
    for (let i = 0; i < 100_000; i++) {
      const offset = Math.imul(i, 0x9e37_79b1) >>> 14;
      const ports = i % 3 === 0 ? several[i & 1] : Uint16Array.of(1 + (i % 3));
      const host = addressIn("198.16.0.0", offset);
      if (ports.length > 1 || i % 2 === 0) builder.add(host, host, ports);
      else builder.addPair(0xc610_0000 + offset, ports[0]);
      for (const port of ports) wanted.add(offset * 65_536 + port);
      // Looking in between sorts what there is.
      if (i === 50_000) expect(builder.spans().length).toBeGreaterThan(10_000);
    }
    const space = builder.build();
    expect(space.total).toBe(wanted.size);
    const pair = emptyPair();
    let misplaced = 0;
    for (let index = 0; index < space.total; index++) {
      space.pairAt(index, pair);
      wanted.delete((pair.words[3] - 0xc610_0000) * 65_536 + pair.port);
      if (space.indexOf(pair.words, 0, pair.port) !== index) misplaced++;
    }
    expect([wanted.size, misplaced]).toEqual([0, 0]);
  });

  it("may be cut while its spans are looked at", () => {
    const builder = createSpaceBuilder();
    add(builder, "198.18.0.0/24", 80);
    add(builder, "198.18.2.0/24", 80, 443);
    builder.eachSpan(({ first }) => builder.exclude(first, first));
    expect(builder.spans().map(formatSpan)).toEqual(["198.18.0.1-198.18.0.255", "198.18.2.1-198.18.2.255"]);
  });

  it("keeps its numbers exact up to the last of nearly 2^53 addresses", () => {
    const builder = createSpaceBuilder();
    const { first, last } = networkOf(address("2001:db8:0:0:ffff::"), 76);
    first[15] = 0xfd;
    builder.add(first, last, Uint16Array.of(443));
    const space = builder.build();
    expect(space.total).toBe(2 ** 52 - 0xfd);
    const pair = emptyPair();
    for (let i = 1; i <= 2000; i++) {
      space.pairAt(space.total - i, pair);
      expect(space.indexOf(pair.words, 0, pair.port)).toBe(space.total - i);
    }
  });
});

describe("a builder that builds another space", () => {
  // More rows than a chunk holds, not in order, so that they are sorted in place.
  const fill = (builder: SpaceBuilder): void => {
    for (let i = 0; i < 20_000; i++) builder.addPair(0xc612_0000 + ((i * 7919) & 0x1ffff), 1 + (i % 3));
    for (let i = 0; i < 20_000; i++)
      builder.add(Uint8Array.of(10, 0, i >> 8, i), Uint8Array.of(10, 0, i >> 8, i), Uint16Array.of(22, 80));
    for (let i = 0; i < 9000; i++) {
      const host = address(`2001:db8::${((i * 7919) & 0xffff).toString(16)}`);
      builder.add(host, host, Uint16Array.of(443));
    }
  };

  it("leaves the first as it is, and has what it would have had at once", () => {
    const builder = createSpaceBuilder();
    fill(builder);
    const first = builder.build("another");
    const before = first.fingerprint();
    const last = network("198.18.0.0/17");
    builder.exclude(last.first, last.last);
    const second = builder.build();
    expect(first.fingerprint()).toBe(before);
    expect(before).toBe(spaceOf(fill).fingerprint());
    const atOnce = spaceOf((other) => {
      fill(other);
      other.exclude(last.first, last.last);
    });
    expect([second.total, second.fingerprint()]).toEqual([atOnce.total, atOnce.fingerprint()]);
    expect(second.total).toBeLessThan(first.total);
  });

  it("is over with the last: its memory is that space's", () => {
    const builder = createSpaceBuilder();
    fill(builder);
    builder.build();
    expect(() => builder.build()).toThrow("built already");
  });
});
