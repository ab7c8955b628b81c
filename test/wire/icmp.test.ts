/** ICMP errors, against real packets: the quoted probe is found, and nothing beyond the message is read. */
import { describe, expect, it } from "vitest";
import { formatAddress } from "../../src/wire/address.ts";
import * as icmp from "../../src/wire/icmp.ts";
import * as ipv4 from "../../src/wire/ipv4.ts";
import { newQuote } from "../../src/wire/quote.ts";
import { golden } from "../golden/golden.ts";
import { dirty, embed, guard, ICMP_LAYOUT, readFields, slowChecksum } from "./oracle.ts";

/** Where the ICMP message starts in the golden packets, and where the quote in it does. */
const AT = 20;
const QUOTE = AT + 8;

describe("icmp, against real packets", () => {
  it.each([
    ["host-unreach.ipv4", icmp.TYPE.DESTINATION_UNREACHABLE, icmp.CODE.HOST_UNREACHABLE, "host-unreach"],
    [
      "admin-prohibited.ipv4",
      icmp.TYPE.DESTINATION_UNREACHABLE,
      icmp.CODE.ADMIN_PROHIBITED,
      "admin-prohibited",
    ],
    ["port-unreach.ipv4", icmp.TYPE.DESTINATION_UNREACHABLE, icmp.CODE.PORT_UNREACHABLE, "port-unreach"],
    ["time-exceeded.ipv4", icmp.TYPE.TIME_EXCEEDED, icmp.TIME_EXCEEDED_CODE.IN_TRANSIT, "time-exceeded"],
  ])("knows %s", (name, type, code, text) => {
    const b = golden(name);
    const naive = readFields(b.subarray(AT), ICMP_LAYOUT);
    expect(icmp.checkLength(b, AT, b.length)).toBe(8);
    expect([icmp.type(b, AT), icmp.code(b, AT)]).toEqual([type, code]);
    expect([Number(naive.type), Number(naive.code)]).toEqual([type, code]);
    expect(icmp.rest(b, AT)).toBe(Number(naive.rest));
    expect(icmp.verifyChecksum(b, AT, b.length)).toBe(true);
    expect(icmp.codeName(type, code)).toBe(text);
  });

  it("reads the quote of a SYN", () => {
    const b = golden("host-unreach.ipv4");
    const quote = newQuote();
    expect(icmp.parseQuote(b, AT, b.length, quote)).toBe(true);
    expect(quote).toEqual({
      version: 4,
      protocol: 6,
      sourceAt: QUOTE + 12,
      destinationAt: QUOTE + 16,
      addressLength: 4,
      sourcePort: 35438,
      destinationPort: 80,
      sequence: 3968387513,
      transportAt: QUOTE + 20,
    });
    expect(formatAddress(b, quote.sourceAt, quote.addressLength)).toBe("192.0.2.1");
    expect(formatAddress(b, quote.destinationAt, quote.addressLength)).toBe("192.0.2.101");
  });

  it("reads the ports of a UDP datagram, and no sequence number", () => {
    const b = golden("port-unreach.ipv4");
    const quote = { ...newQuote(), sequence: 77 };
    expect(icmp.parseQuote(b, AT, b.length, quote)).toBe(true);
    expect(quote).toMatchObject({ protocol: 17, sourcePort: 34361, destinationPort: 9, sequence: 0 });
  });

  it("reads no ports out of other protocols", () => {
    const b = golden("host-unreach.ipv4");
    b[QUOTE + ipv4.PROTOCOL] = 47;
    const quote = { ...newQuote(), sourcePort: 7, destinationPort: 7, sequence: 7 };
    expect(icmp.parseQuote(b, AT, b.length, quote)).toBe(true);
    expect(quote).toMatchObject({ protocol: 47, sourcePort: 0, destinationPort: 0, sequence: 0 });
  });

  it("overwrites all of the quote before", () => {
    const b = golden("host-unreach.ipv4");
    const [fresh, stale] = [
      newQuote(),
      {
        version: 6 as const,
        protocol: 1,
        sourceAt: 1,
        destinationAt: 1,
        addressLength: 16 as const,
        sourcePort: 1,
        destinationPort: 1,
        sequence: 1,
        transportAt: 1,
      },
    ];
    icmp.parseQuote(b, AT, b.length, fresh);
    icmp.parseQuote(b, AT, b.length, stale);
    expect(stale).toEqual(fresh);
  });

  it("sees any flipped bit of the message by its checksum", () => {
    const b = golden("time-exceeded.ipv4");
    for (let bit = AT * 8; bit < b.length * 8; bit++) {
      b[bit >>> 3] ^= 0x80 >>> (bit & 7);
      expect(icmp.verifyChecksum(b, AT, b.length), `bit ${bit}`).toBe(false);
      b[bit >>> 3] ^= 0x80 >>> (bit & 7);
    }
  });
});

describe("parseQuote", () => {
  it("takes eight transport bytes and no fewer, and reads nothing beyond", () => {
    const [b, start, end] = embed(golden("host-unreach.ipv4"));
    const at = start + AT;
    for (let cut = at; cut <= end; cut++) {
      const length = cut - at;
      const seen = guard(b, at, cut);
      expect(icmp.checkLength(seen, at, cut)).toBe(length >= 8 ? 8 : 0);
      expect(icmp.parseQuote(seen, at, cut, newQuote()), `${length} bytes`).toBe(length >= 8 + 20 + 8);
    }
  });

  it("steps over the options of the quoted header", () => {
    const packet = golden("syn-ack-record-route.ipv4");
    const b = dirty(8 + 68);
    icmp.emitError(b, 0, { type: 3, code: 1 }, packet.subarray(0, 68));
    const quote = newQuote();
    expect(icmp.parseQuote(b, 0, b.length, quote)).toBe(true);
    expect(quote).toMatchObject({ sourcePort: 80, destinationPort: 41445, sequence: 835437964 });
    expect(icmp.parseQuote(b, 0, b.length - 1, quote)).toBe(false);
  });

  it.each([
    ["a router's total length for what it cut off", ipv4.TOTAL_LENGTH, 0xff, true],
    ["a stale header checksum", ipv4.CHECKSUM, 0xff, true],
    ["DF", ipv4.FRAGMENT, 0x40, true],
    ["a first fragment", ipv4.FRAGMENT, 0x20, false],
    ["a later fragment", ipv4.FRAGMENT + 1, 0x01, false],
    ["another version", ipv4.VERSION_IHL, 0x65, false],
    ["an IHL below 5", ipv4.VERSION_IHL, 0x44, false],
  ])("%s", (_what, offset, value, readable) => {
    const b = golden("host-unreach.ipv4");
    b[QUOTE + offset] = value;
    expect(icmp.parseQuote(b, AT, b.length, newQuote())).toBe(readable);
  });

  it("finds quotes in errors only", () => {
    const b = golden("host-unreach.ipv4");
    const quoting: number[] = [];
    for (let type = 0; type <= 255; type++) {
      b[AT] = type;
      if (icmp.parseQuote(b, AT, b.length, newQuote())) quoting.push(type);
    }
    expect(quoting).toEqual([3, 4, 5, 11, 12]);
  });
});

describe("emitError", () => {
  it("writes what a router wrote, byte for byte", () => {
    const real = golden("host-unreach.ipv4");
    const b = dirty(real.length - AT + 2);
    const length = icmp.emitError(b, 1, { type: 3, code: 1 }, real.subarray(QUOTE));
    expect(length).toBe(real.length - AT);
    expect(b.subarray(1, 1 + length)).toEqual(real.subarray(AT));
    expect([b[0], b[1 + length]]).toEqual([0xa5, 0xa5]);
  });

  it("carries the second word", () => {
    const b = dirty(8);
    expect(icmp.emitError(b, 0, { type: 3, code: 4, rest: 1400 }, new Uint8Array(0))).toBe(8);
    expect(icmp.rest(b, 0)).toBe(1400);
    expect(slowChecksum(b)).toBe(0);
  });
});

describe("codeName", () => {
  it("names the sixteen ways of being unreachable (RFC 792, RFC 1122, RFC 1812)", () => {
    expect(Array.from({ length: 17 }, (_, code) => icmp.codeName(3, code))).toEqual([
      "net-unreach",
      "host-unreach",
      "proto-unreach",
      "port-unreach",
      "fragmentation-needed",
      "source-route-failed",
      "net-unknown",
      "host-unknown",
      "host-isolated",
      "net-prohibited",
      "host-prohibited",
      "net-unreach-for-tos",
      "host-unreach-for-tos",
      "admin-prohibited",
      "precedence-violation",
      "precedence-cutoff",
      "unreach-code-16",
    ]);
  });

  it.each([
    [0, 0, "echo-reply"],
    [4, 0, "source-quench"],
    [5, 1, "redirect"],
    [8, 0, "echo-request"],
    [11, 1, "reassembly-time-exceeded"],
    [11, 9, "time-exceeded"],
    [12, 0, "param-problem"],
    [40, 2, "type-40-code-2"],
  ])("type %i code %i: %s", (type, code, name) => {
    expect(icmp.codeName(type, code)).toBe(name);
  });
});
