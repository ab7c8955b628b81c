/** Ranges of addresses: the network of a prefix against one that is counted out in bits, and how a range is written. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareAddresses, formatSpan, networkOf } from "../../../src/scan/targets/address-range.ts";
import { address } from "../../sim/run.ts";

const bitsOf = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(2).padStart(8, "0")).join("");
const anyAddress = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);

describe("a network", () => {
  it("has the address's first bits, and then all zeros to all ones", () => {
    fc.assert(
      fc.property(anyAddress, fc.nat(128), (host, number) => {
        const width = 8 * host.length;
        const length = number % (width + 1);
        const before = Uint8Array.from(host);
        const { first, last } = networkOf(host, length);
        const kept = bitsOf(host).slice(0, length);
        expect(bitsOf(first)).toBe(kept.padEnd(width, "0"));
        expect(bitsOf(last)).toBe(kept.padEnd(width, "1"));
        expect(host).toEqual(before);
      }),
    );
  });
});

describe("a range is written", () => {
  it.each([
    ["192.0.2.7", "192.0.2.7", "192.0.2.7"],
    ["192.0.2.0", "192.0.2.255", "192.0.2.0/24"],
    ["192.0.2.6", "192.0.2.7", "192.0.2.6/31"],
    // As large as a network, but it begins at none.
    ["192.0.2.7", "192.0.2.8", "192.0.2.7-192.0.2.8"],
    ["192.0.2.0", "192.0.2.254", "192.0.2.0-192.0.2.254"],
    ["192.0.2.1", "192.0.2.255", "192.0.2.1-192.0.2.255"],
    ["0.0.0.0", "255.255.255.255", "0.0.0.0/0"],
    ["2001:db8::", "2001:db8::ffff", "2001:db8::/112"],
    ["2001:db8::1", "2001:db8::2", "2001:db8::1-2001:db8::2"],
    ["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"],
  ])("%s to %s: %s", (first, last, text) => {
    expect(formatSpan({ first: address(first), last: address(last) })).toBe(text);
  });
});

it("addresses are in order of their bytes, unsigned", () => {
  const sorted = ["0.0.0.1", "1.0.0.0", "127.255.255.255", "128.0.0.0", "255.0.0.0"].map(address);
  for (const [i, one] of sorted.entries()) {
    for (const [j, other] of sorted.entries()) {
      expect(Math.sign(compareAddresses(one, other))).toBe(Math.sign(i - j));
    }
  }
});
