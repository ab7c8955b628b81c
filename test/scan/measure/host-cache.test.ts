/** The cache of hosts, compared with a Map. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createHostCache, createHostFetch, loadPrefix, MARKS } from "../../../src/scan/measure/host-cache.ts";
import { hashAddress, loadAddress } from "../../../src/socket/table.ts";
import { address } from "../../sim/run.ts";

const host = (n: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, 0xc612_0000 + n);
const words = (text: string): Uint32Array => {
  const out = new Uint32Array(4);
  const parsed = address(text);
  loadAddress(out, 0, parsed, 0, parsed.length);
  return out;
};

describe("the cache of hosts", () => {
  it("agrees with a Map that forgets the least recently used, where all share one set", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(7), { maxLength: 60 }), (asked) => {
        const hosts = createHostCache(1, 1, 4);
        /** What was written to each host, in order of use, the oldest first. */
        const oracle = new Map<number, number>();
        const likely = new Int32Array(1);
        asked.forEach((n, i) => {
          // Where to look first, as it was for the one before, or for this one.
          if (i % 3 !== 0) createHostFetch(hosts)(host(n), 1, likely);
          const entry = hosts.entryOf(host(n), 0, i * 10, likely[0]);
          const known = oracle.get(n);
          oracle.delete(n);
          if (known === undefined && oracle.size === 4) {
            const [oldest] = oracle.keys();
            oracle.delete(oldest);
          }
          expect(hosts.answered[entry], `${n} at ${i}`).toBe(known ?? 0);
          expect(hosts.srtt[entry]).toBe(known ?? 0);
          hosts.answered[entry] = i + 1;
          hosts.srtt[entry] = i + 1;
          oracle.set(n, i + 1);
        });
      }),
    );
  });

  it("makes room in other sets, too, when all entries are in use", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { maxLength: 200 }), (asked) => {
        const hosts = createHostCache(9, 1, 4);
        /** The host of each entry, and what was written to it. */
        const owners = new Map<number, { n: number; written: number }>();
        const likely = new Int32Array(64);
        asked.forEach((n, i) => {
          // Of a batch, entries change hands until the last is asked for.
          if (i % 64 === 0) {
            const batch = asked.slice(i, i + 64);
            createHostFetch(hosts)(
              Uint32Array.from(batch.flatMap((m) => [...host(m)])),
              batch.length,
              likely,
            );
          }
          const known = [...owners].find(([, owner]) => owner.n === n);
          const entry = hosts.entryOf(host(n), 0, i * 10, likely[i % 64]);
          expect(entry).toBeLessThan(hosts.end);
          if (known !== undefined) expect(entry, `${n} at ${i}`).toBe(known[0]);
          expect(hosts.answered[entry]).toBe(known?.[1].written ?? 0);
          expect(hosts.holds(entry, host(n), 0)).toBe(true);
          hosts.answered[entry] = i + 1;
          owners.set(entry, { n, written: i + 1 });
          expect(owners.size).toBeLessThanOrEqual(9);
        });
      }),
    );
  });

  it("loses no entry, however many hosts come and go", () => {
    const hosts = createHostCache(9, 1, 4);
    for (let n = 0; n < 1000; n++) hosts.entryOf(host(n), 0, n);
    const entries = Array.from({ length: 1000 }, (_, n) => hosts.entryOf(host(n), 0, 1000 + n));
    expect(new Set(entries).size).toBe(9);
  });

  it("keeps an entry for each host, whatever is written to the others, while there is room", () => {
    const hosts = createHostCache(1 << 15, 1);
    const entries = Array.from({ length: 1000 }, (_, n) => hosts.entryOf(host(n), 0, n));
    expect(new Set(entries).size).toBe(1000);
    for (let n = 0; n < 1000; n++) {
      hosts.lost[entries[n]] = n;
      hosts.sentMs[entries[n]] = n;
    }
    for (let n = 999; n >= 0; n--) {
      const entry = hosts.entryOf(host(n), 0, 2000);
      expect([entry, hosts.lost[entry], hosts.sentMs[entry]]).toEqual([entries[n], n, n]);
      expect(hosts.holds(entry, host(n), 0)).toBe(true);
    }
  });

  it("tells when an entry has changed hands, and hands it over empty", () => {
    const hosts = createHostCache(1, 1, 4);
    const first = hosts.entryOf(host(0), 0, 0);
    const numbers = [hosts.srtt, hosts.rttvar, hosts.baseRtt];
    const sums = [hosts.answered, hosts.lost, hosts.open, hosts.closed];
    for (const each of [...numbers, ...sums]) each[first] = 7;
    hosts.marks[first] = MARKS.limited | MARKS.tarpit;
    hosts.firstMs[first] = 7;
    hosts.sentMs[first] = 7;
    for (let n = 1; n <= 3; n++) hosts.entryOf(host(n), 0, n * 1000);
    expect(hosts.holds(first, host(0), 0)).toBe(true);
    const next = hosts.entryOf(host(4), 0, 4000);
    expect(next).toBe(first);
    expect(hosts.holds(first, host(0), 0)).toBe(false);
    expect(hosts.holds(first, host(4), 0)).toBe(true);
    expect([...numbers, ...sums, hosts.marks].map((each) => each[next])).toEqual(Array(8).fill(0));
    expect([hosts.firstMs[next], hosts.sentMs[next]]).toEqual([-Infinity, -Infinity]);
  });

  it("reads an address at any index of an array", () => {
    const hosts = createHostCache(1000, 1);
    const many = Uint32Array.of(9, ...host(1), ...host(2));
    expect(hosts.entryOf(many, 5, 0)).toBe(hosts.entryOf(host(2), 0, 1));
    expect(hosts.holds(hosts.entryOf(many, 1, 2), many, 1)).toBe(true);
  });
});

describe("the seed of a run", () => {
  /** Seven addresses that share a set of a small cache (256 sets of four) when the seed is 1. */
  const chosen = Array.from({ length: 1 << 14 }, (_, n) => host(n))
    .filter((each) => (hashAddress(1, each, 0) & 0xff) === 0)
    .slice(0, 7);
  const remembered = (seed: number): number => {
    const hosts = createHostCache(100, seed);
    const entries = chosen.map((each, i) => hosts.entryOf(each, 0, i));
    return chosen.filter((each, i) => hosts.holds(entries[i], each, 0)).length;
  };

  it("decides which addresses share a set: collisions chosen for one seed are none for others", () => {
    expect(chosen).toHaveLength(7);
    expect(remembered(1)).toBe(4);
    for (let seed = 2; seed < 100; seed++) expect(remembered(seed * 0x9e37), `seed ${seed}`).toBe(7);
  });
});

it("prefixes are /24 of IPv4 and /64 of IPv6", () => {
  const prefixOf = (text: string): Uint32Array => {
    const out = new Uint32Array(4).fill(0xa5a5_a5a5);
    loadPrefix(out, words(text), 0);
    return out;
  };
  expect(prefixOf("198.18.5.77")).toEqual(words("198.18.5.0"));
  expect(prefixOf("255.255.255.255")).toEqual(words("255.255.255.0"));
  expect(prefixOf("198.18.6.77")).not.toEqual(prefixOf("198.18.5.77"));
  expect(prefixOf("2001:db8:1:2:3:4:5:6")).toEqual(words("2001:db8:1:2::"));
  // The end of this IPv6 address only looks like IPv4's prefix.
  expect(prefixOf("::1:198.18.5.77")).toEqual(words("::"));
});
