/** Targets as text: what each way to write them means, and one clear error for everything else. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SynprobeError } from "../../../src/errors.ts";
import { formatSpan } from "../../../src/scan/targets/address-range.ts";
import { parseTarget, parseTargets } from "../../../src/scan/targets/grammar.ts";
import { parseServices } from "../../../src/scan/targets/services.ts";
import { formatAddress } from "../../../src/wire/address.ts";

const services = parseServices(
  "ssh 22/tcp\nhttp 80/tcp www\nhttps 443/tcp\nhttp-alt 8080/tcp\ndomain 53/udp\n",
);

/** What a target says, in plain values. */
function read(text: string): unknown[] {
  const { host, ports } = parseTarget(text, services);
  const where =
    host.kind === "name"
      ? host.name
      : formatAddress(host.address) + (host.zone === undefined ? "" : `%${host.zone}`);
  return ports === undefined ? [host.kind, where] : [host.kind, where, [...ports]];
}

/** The error a text gives. */
function complaint(text: string, parse = parseTargets): [code: string, message: string] {
  try {
    parse(text, services);
  } catch (error) {
    if (error instanceof SynprobeError) return [error.code, error.message];
    throw error;
  }
  throw new Error(`"${text}" was accepted`);
}

describe("a target", () => {
  it.each([
    ["192.0.2.1:22", ["address", "192.0.2.1", [22]]],
    ["192.0.2.1", ["address", "192.0.2.1"]],
    ["192.0.2.1:22,80,8000-8003", ["address", "192.0.2.1", [22, 80, 8000, 8001, 8002, 8003]]],
    ["192.0.2.1:80,22,80", ["address", "192.0.2.1", [22, 80]]],
    ["[2001:db8::10]:443", ["address", "2001:db8::10", [443]]],
    ["[2001:DB8:0:0::10]", ["address", "2001:db8::10"]],
    ["2001:db8::10", ["address", "2001:db8::10"]],
    ["::1", ["address", "::1"]],
    ["[fe80::1%eth0]:22", ["address", "fe80::1%eth0", [22]]],
    ["fe80::1%eth0.100", ["address", "fe80::1%eth0.100"]],
    ["example.test:https", ["name", "example.test", [443]]],
    ["example.test:www,ssh,http-alt", ["name", "example.test", [22, 80, 8080]]],
    ["Example.TEST.:80", ["name", "example.test", [80]]],
    ["localhost", ["name", "localhost"]],
    ["_srv.example.test:1", ["name", "_srv.example.test", [1]]],
    ["b\u00fccher.test:80", ["name", "xn--bcher-kva.test", [80]]],
    ["1and1.test:80", ["name", "1and1.test", [80]]],
    ["https://example.test:8443/a?b=c:d#e", ["name", "example.test", [8443]]],
    ["HTTPS://example.test", ["name", "example.test", [443]]],
    ["ssh://me:secret@192.0.2.1/", ["address", "192.0.2.1", [22]]],
    ["http://[2001:db8::10]:81", ["address", "2001:db8::10", [81]]],
    ["http://[fe80::1%25eth0]/x", ["address", "fe80::1%eth0", [80]]],
    ["http://[fe80::1%eth0]:81", ["address", "fe80::1%eth0", [81]]],
    ["http://192.0.2.1/24", ["address", "192.0.2.1", [80]]],
  ])("%s", (text, expected) => {
    expect(read(text)).toEqual(expected);
  });

  it.each([
    ["", "ERR_TARGET_SYNTAX", /empty/],
    [":http", "ERR_TARGET_SYNTAX", /host is missing/],
    [":80", "ERR_TARGET_SYNTAX", /host is missing: ports are written behind it, host:80$/],
    ["22,80-90", "ERR_TARGET_SYNTAX", /host is missing: .*, host:22,80-90$/],
    ["443,", "ERR_TARGET_SYNTAX", /host:443,$/],
    ["-", "ERR_TARGET_SYNTAX", /a range is written without blanks: address-address$/],
    ["3323068417", "ERR_TARGET_SYNTAX", /not an IPv4 address/],
    ["22:80", "ERR_TARGET_SYNTAX", /"22" is not an IPv4 address/],
    ["192.0.2.1:", "ERR_PORT", /no port/],
    ["192.0.2.1:0", "ERR_PORT", /port 0 is out of range: ports are 1 to 65535/],
    ["192.0.2.1:65536", "ERR_PORT", /port 65536 is out of range/],
    ["192.0.2.1:99999999999999999999", "ERR_PORT", /out of range/],
    ["192.0.2.1:80-22", "ERR_PORT", /reversed: write 22-80/],
    ["192.0.2.1:22,,80", "ERR_PORT", /empty port/],
    ["192.0.2.1:0-5", "ERR_PORT", /the range 0-5 begins with port 0, which is none: write 1-5$/],
    ["192.0.2.1:nosuch", "ERR_PORT", /no TCP service named "nosuch"/],
    ["192.0.2.1:domain", "ERR_PORT", /no TCP service named "domain"/],
    ["192.0.2.1:-1-5", "ERR_PORT", /no TCP service/],
    ["192.0.2.256:80", "ERR_TARGET_SYNTAX", /not an IPv4 address/],
    ["192.0.2:80", "ERR_TARGET_SYNTAX", /not an IPv4 address/],
    ["192.0.2.01:80", "ERR_TARGET_SYNTAX", /not an IPv4 address/],
    ["2001:db8::10:443:x", "ERR_TARGET_SYNTAX", /brackets/],
    ["[2001:db8::10:443", "ERR_TARGET_SYNTAX", /never closed/],
    ["[2001:db8::10]443", "ERR_TARGET_SYNTAX", /only :port may follow/],
    ["[192.0.2.1]:80", "ERR_TARGET_SYNTAX", /brackets are for IPv6/],
    ["[2001:db8::zz]:80", "ERR_TARGET_SYNTAX", /not an IPv6 address/],
    ["192.0.2.1%eth0:80", "ERR_TARGET_SYNTAX", /zone/],
    ["fe80::1%eth0:80", "ERR_TARGET_SYNTAX", /with a port, write the address in brackets/],
    ["http://", "ERR_TARGET_SYNTAX", /it is empty/],
    [
      "198.18.0.1,443",
      "ERR_TARGET_SYNTAX",
      /443 is not a number .*: write 198\.18\.0\.1:443 if it is the port/,
    ],
    ["nosuch://example.test", "ERR_PORT", /no TCP service named "nosuch"/],
    ["http://example.test:0/", "ERR_PORT", /port 0/],
    ["exa mple.test:80", "ERR_TARGET_SYNTAX", /neither an address nor a host name/],
    ["-x.test:80", "ERR_TARGET_SYNTAX", /neither an address nor a host name/],
    ["a..test:80", "ERR_TARGET_SYNTAX", /neither an address nor a host name/],
    [`${"a".repeat(64)}.test:80`, "ERR_TARGET_SYNTAX", /neither an address nor a host name/],
    [`${"abcdefg.".repeat(32)}test:80`, "ERR_TARGET_SYNTAX", /neither an address nor a host name/],
  ])("%j is refused with what to do", (text, code, message) => {
    const [actualCode, actualMessage] = complaint(text);
    expect(actualCode).toBe(code);
    expect(actualMessage).toMatch(message);
    expect(actualMessage).toContain(`target "${text}"`);
    expect(actualMessage.split("\n")).toHaveLength(1);
  });

  it("of any text is a target or one clear error", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(..."0123456789abf:.[]%-,/x") })),
        (text) => {
          try {
            const { ports } = parseTargets(text, services);
            if (ports !== undefined)
              expect(ports.every((port, i) => i === 0 || ports[i - 1] < port)).toBe(true);
          } catch (error) {
            expect(error).toBeInstanceOf(SynprobeError);
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
});

/** The spans a range names, and its ports. */
function spansOf(text: string): unknown[] {
  const { host, ports } = parseTargets(text, services);
  if (host.kind !== "range") throw new Error(`${text} is no range`);
  const spans = [...host.spans].map(formatSpan);
  return ports === undefined ? [spans] : [spans, [...ports]];
}

describe("a range", () => {
  it.each([
    ["198.18.0.0/15", [["198.18.0.0/15"]]],
    ["198.18.0.0/15:80,443", [["198.18.0.0/15"], [80, 443]]],
    ["198.18.0.5/24", [["198.18.0.0/24"]]],
    ["198.18.0.5/32:80", [["198.18.0.5"], [80]]],
    ["198.18.0.5/0", [["0.0.0.0/0"]]],
    ["198.18.0.255/23", [["198.18.0.0/23"]]],
    ["2001:db8::/120", [["2001:db8::/120"]]],
    ["[2001:db8::/120]:443", [["2001:db8::/120"], [443]]],
    ["[2001:db8::ff/125]", [["2001:db8::f8/125"]]],
    ["198.18.0.1-198.18.0.40", [["198.18.0.1-198.18.0.40"]]],
    ["198.18.0.1-40", [["198.18.0.1-198.18.0.40"]]],
    ["198.18.0.1-198.18.0.1:T:22", [["198.18.0.1"], [22]]],
    ["[2001:db8::1-2001:db8::40]:443", [["2001:db8::1-2001:db8::40"], [443]]],
    ["2001:db8::1-2001:db8::40", [["2001:db8::1-2001:db8::40"]]],
    ["198.18.1-3.*", [["198.18.1.0-198.18.3.255"]]],
    ["198.*.*.*", [["198.0.0.0/8"]]],
    ["*.*.*.*", [["0.0.0.0/0"]]],
    ["198.18,19.0-255.0-255:80", [["198.18.0.0/15"], [80]]],
    [
      "198.18.0-1.1,5,9-12:22",
      [
        [
          "198.18.0.1",
          "198.18.0.5",
          "198.18.0.9-198.18.0.12",
          "198.18.1.1",
          "198.18.1.5",
          "198.18.1.9-198.18.1.12",
        ],
        [22],
      ],
    ],
    ["198.18.0.9-12,5,1,2-4", [["198.18.0.1-198.18.0.5", "198.18.0.9-198.18.0.12"]]],
  ])("%s", (text, expected) => {
    expect(spansOf(text)).toEqual(expected);
  });

  it("of octets makes its spans anew each time", () => {
    const { host } = parseTargets("198.18.0-1.1", services);
    if (host.kind !== "range") throw new Error("no range");
    expect([...host.spans]).toEqual([...host.spans]);
    expect([...host.spans]).toHaveLength(2);
  });

  it.each([
    ["198.18.0.0/33", /after "\/" is a number from 0 to 32, not "33": write 198\.18\.0\.0\/24/],
    ["198.18.0.0/", /a number from 0 to 32, not ""/],
    ["198.18.0.0/0024", /a number from 0 to 32, not "0024"/],
    ["198.18.0.0/255.255.0.0", /a number from 0 to 32, not "255\.255\.0\.0"/],
    ["198.18.0.0/-1", /a number from 0 to 32/],
    ["2001:db8::/129", /a number from 0 to 128, not "129": write 2001:db8::\/120/],
    ["2001:db8::/120:443", /in brackets: \[address\/length\]:port/],
    ["[2001:db8::]/120:443", /inside the brackets/],
    ["/", /the address before "\/" is missing/],
    ["/24", /the address before "\/" is missing/],
    ["198.18/15", /"198\.18" is not an address/],
    ["a.test/24", /"a\.test" is not an address: a network is written address\/length/],
    ["[198.18.0.0/24]:80", /brackets are for IPv6/],
    ["[fe80::/64%eth0]:1", /a range has no zone/],
    ["fe80::1%eth0-fe80::9%eth0", /a range has no zone/],
    ["198.18.0.1-", /the range 1- lacks an end: write 1-255/],
    ["198.18.-9.1", /the range -9 lacks an end: write 0-9/],
    ["198.18.0.-", /the range - lacks an end: write 0-255/],
    ["198.18.0.40-1", /the range 40-1 is reversed: write 1-40/],
    ["198.18.0.1-2-3", /"1-2-3" is not a range of numbers/],
    ["198.18.0.1,,3", /"" is not a range of numbers/],
    ["198.18.0.1-256", /"256" is not a number from 0 to 255/],
    ["198.18.0.01-5", /"01" is not a number from 0 to 255/],
    ["198.18.0.1*", /"1\*" is not a number/],
    ["198.18.0.40-198.18.0.1", /reversed: write 198\.18\.0\.1-198\.18\.0\.40/],
    ["198.18.0.1-198.18.0.400", /"198\.18\.0\.400" is not an address/],
    ["198.18.0.1-198.18.1", /"198\.18\.1" is not an address/],
    ["[2001:db8::1-40]", /"40" is not an address: a range is written address-address/],
    ["[2001:db8::9-2001:db8::1]", /reversed: write 2001:db8::1-2001:db8::9/],
    ["[2001:db8::9-198.18.0.1]", /of the same IP version/],
    ["198.18.0.1,198.18.0.2", /separate targets by spaces/],
    ["198.18.*", /write four numbers/],
    ["*.*.*.1-3", /it makes 16,777,216 separate ranges, and 1,048,576 is the most/],
  ])("%s is refused with what to do", (text, message) => {
    expect(complaint(text)).toEqual(["ERR_TARGET_SYNTAX", expect.stringMatching(message)]);
  });

  it("is refused where one host is wanted", () => {
    for (const text of ["198.18.0.0/24:80", "198.18.0.1-2", "[2001:db8::/120]:1"])
      expect(complaint(text, parseTarget)[1]).toMatch(/a single host is wanted here/);
  });

  it("of octets names what its numbers say", () => {
    const octet = fc.uniqueArray(fc.nat(255), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(fc.tuple(octet, octet, octet, octet), (octets) => {
        const named = new Set<string>();
        for (const a of octets[0])
          for (const b of octets[1])
            for (const c of octets[2]) for (const d of octets[3]) named.add(`${a}.${b}.${c}.${d}`);
        const { host } = parseTargets(octets.map((list) => list.join()).join("."), services);
        // One number for each octet is a plain address.
        const spans =
          host.kind === "range"
            ? [...host.spans]
            : host.kind === "address"
              ? [{ first: host.address, last: host.address }]
              : [];
        const found = spans.flatMap(({ first, last }) =>
          Array.from({ length: last[3] - first[3] + 1 }, (_, i) =>
            formatAddress(Uint8Array.of(first[0], first[1], first[2], first[3] + i)),
          ),
        );
        expect(found).toHaveLength(named.size);
        expect(new Set(found)).toEqual(named);
      }),
    );
  });
});

describe("a very long target", () => {
  it("is quoted by its beginning", () => {
    const [, message] = complaint(`198.18.0.1:${"1,".repeat(100_000)}x`);
    expect(message.length).toBeLessThan(300);
    const [, name] = complaint("x".repeat(200_000));
    expect(name.length).toBeLessThan(300);
  });
});
