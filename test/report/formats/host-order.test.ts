/** Results in order of address and port, held or spilled: against a plain sort, over more results than one sorted run has. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MOST_HELD, orderByHost, type Spill } from "../../../src/report/formats/host-order.ts";
import type { PortResult } from "../../../src/scan/probe/result.ts";
import { closed, full, hostileNames, memorySpill, open, silent } from "../samples.ts";

function sorted(pairs: number, results: readonly PortResult[], createSpill?: () => Spill) {
  const order = orderByHost(pairs, createSpill);
  for (const result of results) order.add(result);
  return [...order.sorted()].filter((result) => result !== undefined);
}

const kept = ({
  established,
  rttMs: _r,
  tries: _t,
  answered: _a,
  doubt: _d,
  late: _l,
  was: _w,
  window: _n,
  options: _o,
  ...rest
}: PortResult) => ({
  ...rest,
  ...(established?.banner === undefined ? {} : { banner: established.banner }),
});

describe("results in order", () => {
  test("a small run and a spilled one say the same, with all that the formats need", () => {
    const names = hostileNames.map(
      (host, i): PortResult => ({ ...open, host, service: host, port: i + 100 }),
    );
    const results = [full, silent, ...names, { ...closed, ip: "::1" }, { ...closed, ip: "198.18.0.9" }];
    const small = sorted(results.length, results);
    expect(sorted(MOST_HELD + 1, results, () => memorySpill())).toEqual(small);
    expect(small).toHaveLength(results.length);
    for (const result of results) expect(small).toContainEqual(kept(result));
    expect(small.slice(-2).map(({ ip }) => ip)).toEqual(["::1", "2001:db8::10"]);
  });

  test("of a pair the last result stands, in whichever sorted run it is", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3), fc.nat(3)), { maxLength: 60 }), (pairs) => {
        const results = pairs.map(([host, port], i) => ({
          ...open,
          ip: `198.18.0.${host}`,
          port: port + 1,
          timeMs: i,
        }));
        const last = new Map(results.map((result) => [`${result.ip}:${result.port}`, result.timeMs]));
        const found = sorted(MOST_HELD + 1, results, () => memorySpill());
        expect(found.map(({ ip, port, timeMs }) => [`${ip}:${port}`, timeMs])).toEqual(
          [...last].sort(([a], [b]) => (a < b ? -1 : 1)),
        );
      }),
    );
  });

  test("many sorted runs, in no order, corrected in the end", () => {
    const count = 2 * MOST_HELD + 12_345;
    const result = (i: number, timeMs: number): PortResult => {
      const host = (i * 7919) % count;
      return { ...closed, ip: `198.${18 + (host >> 16)}.${(host >> 8) & 255}.${host & 255}`, timeMs };
    };
    const results = Array.from({ length: count }, (_, i) => result(i, 1));
    results.push(result(5, 2), result(count - 1, 2));
    const found = sorted(count, results, () => memorySpill());
    expect(found).toHaveLength(count);
    expect(found.filter(({ timeMs }) => timeMs === 2)).toHaveLength(2);
    const value = (ip: string): number => ip.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);
    for (let i = 1; i < found.length; i++) {
      if (value(found[i - 1].ip) >= value(found[i].ip))
        throw new Error(`${found[i - 1].ip} before ${found[i].ip}`);
    }
  });

  // 30,000 of them take four megabytes: some fit, most, or all but one.
  test.each([0, 1 << 17, 1 << 21, 3_900_000])("a spill with room for %d bytes loses no result", (most) => {
    const results = Array.from(
      { length: 30_000 },
      (_, i): PortResult => ({ ...open, port: 30_000 - i, timeMs: i }),
    );
    results.push(...results.slice(0, 10).map((result) => ({ ...result, timeMs: -1 })));
    const spill = memorySpill(most);
    const found = sorted(MOST_HELD + 1, results, () => spill);
    expect(found).toEqual(sorted(results.length, results));
    // Sorting takes no room that the results did not.
    expect(spill.size()).toBeLessThanOrEqual(most);
  });

  test("results that a spill cannot be written over with are held", () => {
    const results = Array.from({ length: 30_000 }, (_, i): PortResult => ({ ...open, port: 30_000 - i }));
    const spill = memorySpill();
    let end = 0;
    const once: Spill = {
      ...spill,
      write: (bytes, at) => {
        const isNew = at === end;
        if (isNew) end += bytes.length;
        // What was there is lost.
        return spill.write(isNew ? bytes : bytes.fill(0), at) && isNew;
      },
    };
    expect(sorted(MOST_HELD + 1, results, () => once)).toEqual(sorted(results.length, results));
  });

  test("a spill that cannot be read ends the results, not the program", () => {
    expect(sorted(MOST_HELD + 1, [open], () => ({ write: () => true, read: () => 0 }))).toEqual([]);
  });
});
