/** Addresses in order of value. */
import { describe, expect, test } from "vitest";
import { compareKeys, sortKey } from "../../src/report/addresses.ts";

describe("addresses", () => {
  test("are in order: IPv4 by value, then IPv6 by value, then anything else", () => {
    const sorted = ["0.0.0.0", "9.255.0.1", "10.0.0.2", "192.0.2.20", "192.0.2.100", "255.255.255.255"];
    sorted.push("::1", "2001:db8::2", "2001:db8::10", "fe80::1", "no address");
    const mixed = [...sorted].sort();
    expect(mixed).not.toEqual(sorted);
    expect(mixed.sort((a, b) => compareKeys(sortKey(a), sortKey(b)))).toEqual(sorted);
  });
});
