/** ICMPv6 errors, against real packets: the quoted probe is found behind any headers, and written as routers write it. */
import { describe, expect, it } from "vitest";
import { formatAddress } from "../../src/wire/address.ts";
import * as icmpv6 from "../../src/wire/icmpv6.ts";
import * as ipv6 from "../../src/wire/ipv6.ts";
import { newQuote } from "../../src/wire/quote.ts";
import { fromHex, golden } from "../golden/golden.ts";
import { dirty, embed, guard, ICMP_LAYOUT, readFields, slowChecksum, upperOf } from "./oracle.ts";

/** Where the ICMPv6 message starts in the golden packets, and where the quote in it does. */
const AT = 40;
const QUOTE = AT + 8;

/** An error message that quotes `quoted`. */
function errorAbout(quoted: Uint8Array): Uint8Array {
  const b = dirty(8 + quoted.length);
  icmpv6.emitError(b, 0, { type: 1, code: 0 }, quoted, 0);
  return b;
}

describe("icmpv6, against real packets", () => {
  it.each([
    ["no-route.ipv6", icmpv6.TYPE.DESTINATION_UNREACHABLE, icmpv6.CODE.NO_ROUTE, "no-route"],
    [
      "admin-prohibited.ipv6",
      icmpv6.TYPE.DESTINATION_UNREACHABLE,
      icmpv6.CODE.ADMIN_PROHIBITED,
      "admin-prohibited",
    ],
    [
      "addr-unreach.ipv6",
      icmpv6.TYPE.DESTINATION_UNREACHABLE,
      icmpv6.CODE.ADDRESS_UNREACHABLE,
      "addr-unreach",
    ],
    ["port-unreach.ipv6", icmpv6.TYPE.DESTINATION_UNREACHABLE, icmpv6.CODE.PORT_UNREACHABLE, "port-unreach"],
    ["time-exceeded.ipv6", icmpv6.TYPE.TIME_EXCEEDED, icmpv6.TIME_EXCEEDED_CODE.IN_TRANSIT, "time-exceeded"],
    ["mld-report.ipv6", 143, 0, "type-143-code-0"],
  ])("knows %s", (name, type, code, text) => {
    const b = golden(name);
    const { at, end, pseudoSum } = upperOf(b);
    const naive = readFields(b.subarray(at), ICMP_LAYOUT);
    expect(icmpv6.checkLength(b, at, end)).toBe(8);
    expect([icmpv6.type(b, at), icmpv6.code(b, at)]).toEqual([type, code]);
    expect([Number(naive.type), Number(naive.code)]).toEqual([type, code]);
    expect(icmpv6.rest(b, at)).toBe(Number(naive.rest));
    expect(icmpv6.verifyChecksum(b, at, end, pseudoSum)).toBe(true);
    expect(icmpv6.verifyChecksum(b, at, end, pseudoSum + 1)).toBe(false);
    expect(icmpv6.codeName(type, code)).toBe(text);
  });

  it("reads the quote of a SYN", () => {
    const b = golden("addr-unreach.ipv6");
    const quote = newQuote();
    expect(icmpv6.parseQuote(b, AT, b.length, quote)).toBe(true);
    expect(quote).toEqual({
      version: 6,
      protocol: 6,
      sourceAt: QUOTE + 8,
      destinationAt: QUOTE + 24,
      addressLength: 16,
      sourcePort: 45448,
      destinationPort: 80,
      sequence: 2018264038,
      transportAt: 88,
    });
    expect(formatAddress(b, quote.sourceAt, quote.addressLength)).toBe("2001:db8::1");
    expect(formatAddress(b, quote.destinationAt, quote.addressLength)).toBe("2001:db8::104");
  });

  it("steps over the extension headers of the quoted packet", () => {
    const b = golden("admin-prohibited-destination-options.ipv6");
    const quote = newQuote();
    expect(icmpv6.parseQuote(b, AT, b.length, quote)).toBe(true);
    expect(quote).toMatchObject({
      protocol: 6,
      sourcePort: 42124,
      destinationPort: 80,
      sequence: 4115156903,
    });
  });

  it("reads the ports of a UDP datagram, and no sequence number", () => {
    const b = golden("port-unreach.ipv6");
    const quote = { ...newQuote(), sequence: 77 };
    expect(icmpv6.parseQuote(b, AT, b.length, quote)).toBe(true);
    expect(quote).toMatchObject({ protocol: 17, sourcePort: 43205, destinationPort: 9, sequence: 0 });
  });
});

describe("parseQuote", () => {
  it.each([
    ["no-route.ipv6", 40],
    ["admin-prohibited-destination-options.ipv6", 48],
  ])("takes eight transport bytes of %s and no fewer, and reads nothing beyond", (name, headers) => {
    const [b, start, end] = embed(golden(name));
    const at = start + AT;
    for (let cut = at; cut <= end; cut++) {
      const length = cut - at;
      const seen = guard(b, at, cut);
      expect(icmpv6.checkLength(seen, at, cut)).toBe(length >= 8 ? 8 : 0);
      expect(icmpv6.parseQuote(seen, at, cut, newQuote()), `${length} bytes`).toBe(length >= 8 + headers + 8);
    }
  });

  it.each([
    ["a payload length for what was cut off", ipv6.PAYLOAD_LENGTH, 0xff, true],
    ["another version", 0, 0x45, false],
  ])("%s", (_what, offset, value, readable) => {
    const b = golden("no-route.ipv6");
    b[QUOTE + offset] = value;
    expect(icmpv6.parseQuote(b, AT, b.length, newQuote())).toBe(readable);
  });

  it.each([
    ["an atomic fragment", "06 00 0000 12345678", true],
    ["a first fragment", "06 00 0001 12345678", false],
    ["a later fragment", "06 00 0008 12345678", false],
    ["an extension header that is cut off", "06 02 0000 12345678", false],
  ])("%s", (_what, extension, readable) => {
    const syn = golden("syn.ipv6");
    const quoted = Uint8Array.of(...syn.subarray(0, 40), ...fromHex(extension), ...syn.subarray(40, 48));
    quoted[ipv6.NEXT_HEADER] = 44;
    const b = errorAbout(quoted);
    if (extension.startsWith("06 02")) b[8 + ipv6.NEXT_HEADER] = 60;
    expect(icmpv6.parseQuote(b, 0, b.length, newQuote())).toBe(readable);
  });

  it("finds quotes in errors only", () => {
    const b = golden("no-route.ipv6");
    const quoting: number[] = [];
    for (let type = 0; type <= 255; type++) {
      b[AT] = type;
      if (icmpv6.parseQuote(b, AT, b.length, newQuote())) quoting.push(type);
    }
    expect(quoting).toEqual([1, 2, 3, 4]);
  });
});

describe("emitError", () => {
  it("writes what a router wrote, byte for byte", () => {
    const real = golden("addr-unreach.ipv6");
    const { pseudoSum } = upperOf(real);
    const b = dirty(real.length - AT + 2);
    const length = icmpv6.emitError(b, 1, { type: 1, code: 3 }, real.subarray(QUOTE), pseudoSum);
    expect(length).toBe(real.length - AT);
    expect(b.subarray(1, 1 + length)).toEqual(real.subarray(AT));
    expect([b[0], b[1 + length]]).toEqual([0xa5, 0xa5]);
  });

  it("carries the second word", () => {
    const b = dirty(8);
    expect(icmpv6.emitError(b, 0, { type: 2, code: 0, rest: 1280 }, new Uint8Array(0), 77)).toBe(8);
    expect(icmpv6.rest(b, 0)).toBe(1280);
    expect(slowChecksum(b, 77)).toBe(0);
  });
});

describe("codeName", () => {
  it("names the seven ways of being unreachable (RFC 4443 3.1)", () => {
    expect(Array.from({ length: 8 }, (_, code) => icmpv6.codeName(1, code))).toEqual([
      "no-route",
      "admin-prohibited",
      "beyond-scope",
      "addr-unreach",
      "port-unreach",
      "policy-fail",
      "reject-route",
      "unreach-code-7",
    ]);
  });

  it.each([
    [2, 0, "packet-too-big"],
    [3, 1, "reassembly-time-exceeded"],
    [4, icmpv6.PARAMETER_PROBLEM_CODE.NEXT_HEADER, "param-problem"],
    [128, 0, "echo-request"],
    [129, 0, "echo-reply"],
    [133, 0, "router-solicitation"],
    [134, 0, "router-advertisement"],
    [135, 0, "neighbour-solicitation"],
    [136, 0, "neighbour-advertisement"],
    [137, 0, "redirect"],
    [200, 3, "type-200-code-3"],
  ])("type %i code %i: %s", (type, code, name) => {
    expect(icmpv6.codeName(type, code)).toBe(name);
  });

  it("has the codes of a parameter problem by RFC 4443 3.4", () => {
    expect(icmpv6.PARAMETER_PROBLEM_CODE).toEqual({ HEADER_FIELD: 0, NEXT_HEADER: 1, OPTION: 2 });
  });
});
