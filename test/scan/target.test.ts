import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SynprobeError } from "../../src/errors.ts";
import { parsePorts } from "../../src/scan/port-list.ts";
import { parseServices } from "../../src/scan/services.ts";
import { parseTarget, parseTargetList } from "../../src/scan/target.ts";
import { formatAddress } from "../../src/wire/address.ts";

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
function complaint(text: string): [code: string, message: string] {
  try {
    parseTarget(text, services);
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
  ])("%s", (text, expected) => {
    expect(read(text)).toEqual(expected);
  });

  it.each([
    ["", "ERR_TARGET_SYNTAX", /empty/],
    [":80", "ERR_TARGET_SYNTAX", /host is missing/],
    ["192.0.2.1:", "ERR_PORT", /no port/],
    ["192.0.2.1:0", "ERR_PORT", /port 0 is out of range: ports are 1 to 65535/],
    ["192.0.2.1:65536", "ERR_PORT", /port 65536 is out of range/],
    ["192.0.2.1:99999999999999999999", "ERR_PORT", /out of range/],
    ["192.0.2.1:80-22", "ERR_PORT", /reversed: write 22-80/],
    ["192.0.2.1:22,,80", "ERR_PORT", /empty port/],
    ["192.0.2.1:0-5", "ERR_PORT", /port 0 is out of range/],
    ["192.0.2.1:nosuch", "ERR_PORT", /no TCP service named "nosuch"/],
    ["192.0.2.1:domain", "ERR_PORT", /no TCP service named "domain"/],
    ["192.0.2.1:-1-5", "ERR_PORT", /no TCP service/],
    ["192.0.2.256:80", "ERR_TARGET_SYNTAX", /not an IPv4 address/],
    ["192.0.2:80", "ERR_TARGET_SYNTAX", /not an IPv4 address/],
    ["192.0.2.01:80", "ERR_TARGET_SYNTAX", /not an IPv4 address/],
    ["192.0.2.0/24:80", "ERR_TARGET_SYNTAX", /networks are not supported/],
    ["2001:db8::10:443:x", "ERR_TARGET_SYNTAX", /brackets/],
    ["[2001:db8::10:443", "ERR_TARGET_SYNTAX", /never closed/],
    ["[2001:db8::10]443", "ERR_TARGET_SYNTAX", /only :port may follow/],
    ["[192.0.2.1]:80", "ERR_TARGET_SYNTAX", /brackets are for IPv6/],
    ["[2001:db8::zz]:80", "ERR_TARGET_SYNTAX", /not an IPv6 address/],
    ["192.0.2.1%eth0:80", "ERR_TARGET_SYNTAX", /zone/],
    ["http://example.test", "ERR_TARGET_SYNTAX", /URLs are not targets/],
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
            const { ports } = parseTarget(text, services);
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

describe("ports", () => {
  it.each([
    ["-", 65_535, 1, 65_535],
    ["1-65535", 65_535, 1, 65_535],
    ["-1023", 1023, 1, 1023],
    ["60000-", 5536, 60_000, 65_535],
    ["1,2,3-5,4-6", 6, 1, 6],
  ])("%s", (text, count, first, last) => {
    const ports = parsePorts(text, services);
    expect([ports.length, ports[0], ports[ports.length - 1]]).toEqual([count, first, last]);
  });
});

describe("a list", () => {
  const parse = (text: string) => {
    const errors: string[] = [];
    const targets = parseTargetList(text, "hosts.txt", services, (error) => errors.push(error.message));
    return { targets: targets.map(({ text, origin }) => `${origin} ${text}`), errors };
  };

  it("has one or more targets a line, comments and blank lines", () => {
    expect(parse("# head\n192.0.2.1:22\n\n  192.0.2.2:80\t192.0.2.3:81 # why\n").targets).toEqual([
      "hosts.txt:2 192.0.2.1:22",
      "hosts.txt:4 192.0.2.2:80",
      "hosts.txt:4 192.0.2.3:81",
    ]);
  });

  it("tolerates CRLF, a byte order mark and a missing last line end", () => {
    expect(parse("\uFEFF192.0.2.1:22\r\n192.0.2.2:80").targets).toEqual([
      "hosts.txt:1 192.0.2.1:22",
      "hosts.txt:2 192.0.2.2:80",
    ]);
  });

  it("reports each bad target with file and line, and keeps the good ones", () => {
    const { targets, errors } = parse("192.0.2.1:22\n192.0.2.1:0\nx:y\n192.0.2.2:80\n");
    expect(targets).toEqual(["hosts.txt:1 192.0.2.1:22", "hosts.txt:4 192.0.2.2:80"]);
    expect(errors).toEqual([
      'hosts.txt:2: target "192.0.2.1:0": port 0 is out of range: ports are 1 to 65535',
      expect.stringMatching(/^hosts\.txt:3: target "x:y": no TCP service named "y"/),
    ]);
  });
});
