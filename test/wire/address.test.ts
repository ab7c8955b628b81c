/** Addresses as text, against node:net and the URL parser: read, written, and told apart by kind. */
import { isIPv4, isIPv6 } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Address,
  formatAddress,
  ipv4Text,
  isLimitedBroadcast,
  isLinkLocal,
  isLoopback,
  isMulticast,
  isReserved,
  isUnspecified,
  isV4Mapped,
  parseAddress,
  sameAddress,
} from "../../src/wire/address.ts";

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}

/** The platform's own reading of an IPv6 address: canonical, but without the mixed notation. */
function urlHost(text: string): string {
  return new URL(`http://[${text}]/`).hostname.slice(1, -1);
}

describe("parseAddress", () => {
  it("reads a dotted quad", () => {
    expect(parseAddress("192.0.2.1")).toEqual(Uint8Array.of(192, 0, 2, 1));
    expect(parseAddress("0.0.0.0")).toEqual(new Uint8Array(4));
    expect(parseAddress("255.255.255.255")).toEqual(new Uint8Array(4).fill(255));
  });

  it.each([
    ...["", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.256", "1.2.3.1000"],
    ...["01.2.3.4", "1.2.3.00", "0x1.2.3.4", "1.2.3.4 ", " 1.2.3.4", "-1.2.3.4", "1.2.3.4/24", "1.2.3.٤"],
  ])("refuses %j", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it.each([
    ["::", "00000000000000000000000000000000"],
    ["::1", "00000000000000000000000000000001"],
    ["2001:DB8::8:800:200c:417A", "20010db80000000000080800200c417a"],
    ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
    ["1:2:3:4:5:6:7::", "00010002000300040005000600070000"],
    ["::2:3:4:5:6:7:8", "00000002000300040005000600070008"],
    ["::ffff:192.0.2.1", "00000000000000000000ffffc0000201"],
    ["64:ff9b::192.0.2.33", "0064ff9b0000000000000000c0000221"],
    ["1:2:3:4:5:6:1.2.3.4", "00010002000300040005000601020304"],
    ["ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "f".repeat(32)],
  ])("reads %s", (text, hex) => {
    expect(Buffer.from(address(text)).toString("hex")).toBe(hex);
  });

  it.each([
    ...[":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "1:2:3:4::5:6:7:8"],
    ...[":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:", "::12345", "::g", "fe80::1%eth0", "[::1]", "::1/128", ":: 1"],
    ...["::1.2.3", "::1.2.3.256", "::1.2.3.04", "1.2.3.4::", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "::-1"],
    `${"0:".repeat(1e5)}:1`,
  ])("refuses %.40j", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it("accepts what node:net accepts, and nothing else", () => {
    const soup = fc.string({
      unit: fc.constantFrom("0", "1", "2", "5", "a", "F", ".", ":", "::"),
      maxLength: 24,
    });
    const almost = fc
      .tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(45), fc.constantFrom("", "0", ":", ".", "1", "::"))
      .map(([text, at, extra]) => text.slice(0, at) + extra + text.slice(at + 1));
    fc.assert(
      fc.property(fc.oneof(soup, almost, fc.ipV4(), fc.ipV6()), (text) => {
        expect(parseAddress(text) !== undefined).toBe(isIPv4(text) || isIPv6(text));
      }),
      { numRuns: 5000 },
    );
  });

  it("reads the bytes that the URL parser reads", () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const groups = Buffer.from(address(text)).toString("hex").match(/..../g) ?? [];
        expect(urlHost(text)).toBe(urlHost(groups.join(":")));
      }),
    );
  });
});

describe("formatAddress", () => {
  it.each([
    // RFC 5952 section 4, rule by rule
    ["2001:0db8:0000:0000:0000:0000:0002:0001", "2001:db8::2:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:DB8::ABCD", "2001:db8::abcd"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["1:0:0:0:0:0:0:0", "1::"],
    ["0:1:2:3:4:5:6:7", "0:1:2:3:4:5:6:7"],
    ["0:0:2:3:4:5:0:0", "::2:3:4:5:0:0"],
    ["::ffff:c000:0201", "::ffff:192.0.2.1"],
    ["::fffe:c000:0201", "::fffe:c000:201"],
    ["192.0.2.1", "192.0.2.1"],
  ])("writes %s as %s", (text, canonical) => {
    expect(formatAddress(address(text))).toBe(canonical);
  });

  it("reads a part of a packet", () => {
    const b = Uint8Array.of(9, 192, 0, 2, 1, 9);
    expect(formatAddress(b, 1, 4)).toBe("192.0.2.1");
  });

  it("writes what the URL parser writes", () => {
    const word = fc.oneof(
      fc.constant("0"),
      fc.nat(0xffff).map((n) => n.toString(16)),
    );
    fc.assert(
      fc.property(fc.array(word, { minLength: 8, maxLength: 8 }), (groups) => {
        const b = address(groups.join(":"));
        fc.pre(!isV4Mapped(b));
        expect(formatAddress(b)).toBe(urlHost(groups.join(":")));
      }),
    );
  });

  it("is undone by parseAddress", () => {
    const zeros = fc.oneof(fc.constant(0), fc.nat(255));
    const bytes = fc.oneof(
      fc.array(zeros, { minLength: 4, maxLength: 4 }),
      fc.array(zeros, { minLength: 16, maxLength: 16 }),
    );
    fc.assert(
      fc.property(bytes, (numbers) => {
        expect([...address(formatAddress(Uint8Array.from(numbers)))]).toEqual(numbers);
      }),
    );
  });
});

describe("sameAddress", () => {
  it("compares the bytes named and no others", () => {
    const a = Uint8Array.of(0, 192, 0, 2, 1);
    const b = Uint8Array.of(192, 0, 2, 1, 7);
    expect(sameAddress(a, 1, b, 0, 4)).toBe(true);
    expect(sameAddress(a, 0, b, 0, 4)).toBe(false);
    for (let i = 0; i < 4; i++) {
      const other = Uint8Array.of(192, 0, 2, 1);
      other[i] ^= 1;
      expect(sameAddress(a, 1, other, 0, 4)).toBe(false);
    }
  });
});

describe("address blocks", () => {
  const QUESTIONS = {
    isMulticast,
    isLimitedBroadcast,
    isUnspecified,
    isLoopback,
    isLinkLocal,
    isReserved,
    isV4Mapped,
  };

  it.each<[string, (keyof typeof QUESTIONS)[]]>([
    ["0.0.0.0", ["isUnspecified", "isReserved"]],
    ["0.255.255.255", ["isReserved"]],
    ["1.0.0.0", []],
    ["126.255.255.255", []],
    ["127.0.0.0", ["isLoopback"]],
    ["127.255.255.255", ["isLoopback"]],
    ["128.0.0.0", []],
    ["169.253.255.255", []],
    ["169.254.0.0", ["isLinkLocal"]],
    ["169.255.0.0", []],
    ["192.0.2.255", []],
    ["223.255.255.255", []],
    ["224.0.0.0", ["isMulticast"]],
    ["239.255.255.255", ["isMulticast"]],
    ["240.0.0.0", ["isReserved"]],
    ["255.255.255.254", ["isReserved"]],
    ["255.255.255.255", ["isLimitedBroadcast"]],
    ["::", ["isUnspecified"]],
    ["::1", ["isLoopback"]],
    ["::2", []],
    ["1::1", []],
    ["100::1", []],
    ["7f00::", []],
    ["e000::", []],
    ["fe7f::", []],
    ["fe80::", ["isLinkLocal"]],
    ["febf::1", ["isLinkLocal"]],
    ["fec0::", []],
    ["feff::", []],
    ["ff00::", ["isMulticast"]],
    ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ["isMulticast"]],
    ["::ffff:127.0.0.1", ["isV4Mapped"]],
    ["::fffe:127.0.0.1", []],
    ["::ff:7f00:1", []],
    ["::ff00:7f00:1", []],
    ["1::ffff:127.0.0.1", []],
    ["a9fe::", []],
    ["2001:db8::1", []],
  ])("%s: %j", (text, names) => {
    const answers = Object.entries(QUESTIONS).filter(([, question]) => question(address(text)));
    expect(answers.map(([name]) => name).sort()).toEqual([...names].sort());
  });
});

it("an IPv4 address as a number is the same text", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), (bytes) => {
      const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
      expect(ipv4Text(number)).toBe(bytes.join("."));
    }),
  );
});
