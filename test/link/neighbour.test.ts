/** The neighbour table: what of it is the kernel's, what is remembered, and when somebody is asked again. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createHops, type NextHopRange } from "../../src/link/hops.ts";
import { createNeighbourTable, type Neighbour, type NeighbourState } from "../../src/link/neighbour.ts";
import { ADDRESS_WORDS, loadAddress } from "../../src/socket/table.ts";
import type { Address } from "../../src/wire/address.ts";
import { formatMac } from "../../src/wire/ethernet.ts";
import { address } from "../sim/run.ts";

const MAC_A = Uint8Array.of(2, 0, 0x5e, 0, 0x53, 1);
const MAC_B = Uint8Array.of(2, 0, 0x5e, 0, 0x53, 2);
const SECOND = 1e6;

const words = (of: Address): Uint32Array => {
  const loaded = new Uint32Array(ADDRESS_WORDS);
  loadAddress(loaded, 0, of, 0, of.length);
  return loaded;
};
const entry = (host: string, state: NeighbourState, mac?: Uint8Array): Neighbour => ({
  address: address(host),
  state,
  ...(mac === undefined ? {} : { mac }),
});

type Table = ReturnType<typeof createNeighbourTable>;
/** The hardware address that frames for a host would bear; undefined when it has to be asked for first. */
function macOf(table: Table, host: Address): string | undefined {
  const row = table.find(words(host), 0);
  if (row < 0 || !table.isUsable(row)) return undefined;
  const out = new Uint8Array(8);
  table.putMac(row, out, 1);
  return formatMac(out, 1);
}

describe("the neighbour table", () => {
  const host = address("198.18.0.9");

  it.each([
    ["reachable", true, false],
    ["delay", true, false],
    ["probe", true, false],
    ["permanent", true, false],
    ["stale", true, true],
    ["incomplete", false, false],
    ["failed", false, false],
  ] as const)("what the kernel knows, %s: usable: %s, to be asked: %s", (state, usable, stale) => {
    const table = createNeighbourTable({ reachableUs: 30 * SECOND });
    table.learn([entry("198.18.0.9", state, MAC_A)], 0);
    expect(macOf(table, host)).toBe(usable ? formatMac(MAC_A) : undefined);
    const row = table.find(words(host), 0);
    if (usable) expect(table.isStale(row)).toBe(stale);
    else expect(row).toBe(-1);
  });

  it("an entry is used until it is old, then used and asked for once, and again when it is old again", () => {
    const table = createNeighbourTable({ reachableUs: 30 * SECOND });
    const hear = (atUs: number): void => table.hear(words(host), 0, MAC_A, true, atUs);
    hear(0);
    const row = table.find(words(host), 0);
    for (const start of [0, 100 * SECOND]) {
      hear(start);
      table.age(start + 30 * SECOND);
      expect(table.isStale(row)).toBe(false);
      table.age(start + 31 * SECOND);
      expect([table.isStale(row), table.isUsable(row)]).toEqual([true, true]);
      table.asking(row);
      table.age(start + 40 * SECOND);
      expect([table.isStale(row), table.isUsable(row)]).toEqual([false, true]);
    }
    table.failed(row);
    expect(macOf(table, host)).toBeUndefined();
    hear(200 * SECOND);
    expect(macOf(table, host)).toBe(formatMac(MAC_A));
  });

  it("a permanent entry is what the user says, for ever", () => {
    const table = createNeighbourTable({ reachableUs: 30 * SECOND });
    table.learn([entry("198.18.0.9", "permanent", MAC_A)], 0);
    table.age(1000 * SECOND);
    table.hear(words(host), 0, MAC_B, true, 1001 * SECOND);
    table.age(2000 * SECOND);
    expect(macOf(table, host)).toBe(formatMac(MAC_A));
    expect(table.isStale(table.find(words(host), 0))).toBe(false);
  });

  it.each([
    ["another hardware address is taken", true, 2 * SECOND, MAC_B],
    ["but not within a second: two hosts have the address", true, 0.9 * SECOND, MAC_A],
    ["and not without the override flag", false, 2 * SECOND, MAC_A],
  ] as const)("%s", (_, override, atUs, expected) => {
    const table = createNeighbourTable({ reachableUs: 30 * SECOND });
    table.hear(words(host), 0, MAC_A, true, 0);
    table.hear(words(host), 0, MAC_B, override, atUs);
    expect(macOf(table, host)).toBe(formatMac(expected));
  });

  it("an answer without the override flag confirms what is known, and is taken where nothing is", () => {
    const table = createNeighbourTable({ reachableUs: 30 * SECOND });
    const hear = (mac: Uint8Array, atUs: number): void => table.hear(words(host), 0, mac, false, atUs);
    hear(MAC_A, 0);
    const row = table.find(words(host), 0);
    table.age(31 * SECOND);
    expect(table.isStale(row)).toBe(true);
    hear(MAC_A, 31 * SECOND);
    expect(table.isStale(row)).toBe(false);
    table.failed(row);
    hear(MAC_B, 32 * SECOND);
    expect(macOf(table, host)).toBe(formatMac(MAC_B));
  });

  it("holds as many as a link has, IPv4 and IPv6, as a Map would", () => {
    const hosts = fc.oneof(
      fc.nat(0xffff).map((n) => Uint8Array.of(198, 18, n >> 8, n & 0xff)),
      fc.nat(0xffff).map((n) => Uint8Array.from([...address("2001:db8::").slice(0, 14), n >> 8, n & 0xff])),
    );
    const macs = fc.uint8Array({ minLength: 6, maxLength: 6 });
    const dumps = fc.array(fc.array(fc.tuple(hosts, macs), { maxLength: 600 }), { maxLength: 4 });
    fc.assert(
      fc.property(dumps, hosts, (learned, stranger) => {
        const table = createNeighbourTable({ reachableUs: 30 * SECOND });
        const oracle = new Map<string, string>();
        learned.forEach((dump, i) => {
          table.learn(
            dump.map(([address, mac]) => ({ address, state: "reachable", mac })),
            i,
          );
          for (const [address, mac] of dump) oracle.set(address.join(), formatMac(mac));
        });
        for (const [host] of learned.flat()) expect(macOf(table, host)).toBe(oracle.get(host.join()));
        expect(macOf(table, stranger)).toBe(oracle.get(stranger.join()));
      }),
      { numRuns: 30 },
    );
  });

  it("starts afresh rather than grow without end", () => {
    const table = createNeighbourTable({ reachableUs: 30 * SECOND });
    const many = Array.from({ length: 70_000 }, (_, n) => ({
      address: Uint8Array.of(10, n >> 16, n >> 8, n),
      state: "reachable" as const,
      mac: Uint8Array.of(2, 0, 0, n >> 16, n >> 8, n),
    }));
    table.learn(many, 0);
    expect(macOf(table, many[0].address)).toBeUndefined();
    expect(macOf(table, many[69_999].address)).toBe(formatMac(many[69_999].mac));
  });
});

describe("next hops", () => {
  const range = (first: string, last: string, gateway?: string): NextHopRange => ({
    first: address(first),
    last: address(last),
    ...(gateway === undefined ? {} : { gateway: address(gateway) }),
  });

  it("are found as by looking through all ranges", () => {
    const cuts = fc.uniqueArray(fc.nat(0xffff), { minLength: 2, maxLength: 40 });
    const wanted = fc.array(fc.tuple(fc.boolean(), fc.nat(0xffff)), { maxLength: 60 });
    const v4 = (n: number): Address => Uint8Array.of(198, 18, n >> 8, n & 0xff);
    const v6 = (n: number): Address => {
      const bytes = new Uint8Array(16);
      // The number stands in two words, so that both are compared.
      bytes.set([0x20, 1, 0x0d, 0xb8, 0, 0, 0, n >> 8]);
      bytes[8] = n & 0xff;
      return bytes;
    };
    fc.assert(
      fc.property(cuts, wanted, (points, asked) => {
        points.sort((a, b) => a - b);
        const pairs = points.flatMap((from, i) =>
          i % 2 === 1 ? [] : [[from, points[i + 1] ?? from] as const],
        );
        const routes = pairs.flatMap(([from, to]) => [
          { first: v4(from), last: v4(to) },
          { first: v6(from), last: v6(to) },
        ]);
        const hops = createHops(routes);
        for (const [six, n] of asked) {
          const bytes = six ? v6(n) : v4(n);
          const held = pairs.findIndex(([from, to]) => from <= n && n <= to);
          const found = hops.locate(Uint8Array.from([0xa5, ...bytes]), 1, six ? 16 : 4);
          // IPv4 sorts before 2001:db8::/32, as ::ffff:0:0/96 does.
          expect(found).toBe(held < 0 ? -1 : held + (six ? pairs.length : 0));
        }
      }),
    );
  });

  it("are the gateway's neighbour or the destination's own, and new when the table is", () => {
    const hops = createHops([
      range("198.18.0.0", "198.18.0.255", "192.0.2.10"),
      range("192.0.2.0", "192.0.2.255"),
    ]);
    const table = createNeighbourTable({ reachableUs: 30 * SECOND });
    const through = (host: string): number => {
      const found = hops.locate(address(host), 0, 4);
      return hops.neighbour(found, table);
    };
    expect([through("198.18.0.7"), through("192.0.2.7")]).toEqual([-1, -1]);
    table.learn([entry("192.0.2.7", "reachable", MAC_A)], 0);
    expect([through("198.18.0.7"), through("192.0.2.7")]).toEqual([-1, 0]);
    table.learn([entry("192.0.2.10", "reachable", MAC_B)], 1);
    expect([through("198.18.0.7"), through("192.0.2.7"), through("192.0.2.8")]).toEqual([1, 0, -1]);
  });

  it("may not overlap; with none, nothing is found", () => {
    expect(() => createHops([range("198.18.0.0", "198.18.0.9"), range("198.18.0.9", "198.18.0.20")])).toThrow(
      RangeError,
    );
    expect(createHops([]).locate(address("198.18.0.1"), 0, 4)).toBe(-1);
  });
});
