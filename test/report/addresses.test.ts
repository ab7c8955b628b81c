/** Addresses in order of value. */
import { describe, expect, test } from "vitest";
import { addressKey, compareAddresses, ipv4Value } from "../../src/report/addresses.ts";

describe("addresses", () => {
  test("are in order: IPv4 by value, then IPv6 by value", () => {
    const sorted = ["0.0.0.0", "9.255.0.1", "10.0.0.2", "192.0.2.20", "192.0.2.100", "255.255.255.255"];
    sorted.push("::1", "2001:db8::2", "2001:db8::10", "fe80::1");
    const mixed = [...sorted].sort();
    expect(mixed).not.toEqual(sorted);
    expect(mixed.sort((a, b) => compareAddresses(addressKey(a), addressKey(b)))).toEqual(sorted);
    expect(ipv4Value("198.18.0.1")).toBe(0xc6120001);
    expect(ipv4Value("2001:db8::1")).toBe(-1);
  });
});
