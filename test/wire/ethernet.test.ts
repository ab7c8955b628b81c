/** Ethernet headers and hardware addresses: there and back, and refused when cut off. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as ethernet from "../../src/wire/ethernet.ts";
import { dirty, embed, guard } from "./oracle.ts";

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/\s/g, ""), "hex"));

/** ARP request as a kernel broadcast it, IPv6 behind a customer tag, IPv4 behind a service and a customer tag. */
const PLAIN = hex("ffffffffffff 3a1691b4ceb3 0806 0001080006040001");
const TAGGED = hex("3333ff000010 3a1691b4ceb3 8100 6005 86dd 60000000");
const TWICE = hex("6ac00467f8b9 3a1691b4ceb3 88a8 0064 8100 2005 0800 45000028");

const mac = fc.uint8Array({ minLength: 6, maxLength: 6 });
const header: fc.Arbitrary<ethernet.EthernetHeader> = fc.record({
  destination: mac,
  source: mac,
  etherType: fc.nat(0xffff).filter((type) => type !== 0x8100 && type !== 0x88a8),
});

describe("ethernet headers", () => {
  it.each([
    ["without tags", PLAIN, 14, ethernet.ETHERTYPE.ARP],
    ["with one tag", TAGGED, 18, ethernet.ETHERTYPE.IPV6],
    ["with two tags", TWICE, 22, ethernet.ETHERTYPE.IPV4],
  ])("are read %s", (_what, bytes, length, etherType) => {
    const [b, at, end] = embed(bytes);
    expect(ethernet.checkLength(guard(b, at, end), at, end)).toBe(length);
    expect(ethernet.etherType(b, at, length)).toBe(etherType);
    expect(ethernet.parse(b, at, end)).toEqual({
      destination: bytes.slice(0, 6),
      source: bytes.slice(6, 12),
      etherType,
    });
  });

  it("come back from what was written, every byte set", () => {
    fc.assert(
      fc.property(header, (h) => {
        const b = dirty(20);
        expect(ethernet.emit(b, 3, h)).toBe(ethernet.bufferLength(h));
        expect(ethernet.parse(b, 3, 20)).toEqual(h);
        expect([...b.subarray(0, 3), ...b.subarray(17)]).toEqual(new Array(6).fill(0xa5));
      }),
    );
    const b = dirty(14);
    ethernet.emit(b, 0, {
      destination: PLAIN.subarray(0, 6),
      source: PLAIN.subarray(6, 12),
      etherType: ethernet.ETHERTYPE.ARP,
    });
    expect(b).toEqual(PLAIN.subarray(0, 14));
  });

  it("cut off at any length are refused, reading nothing beyond", () => {
    for (const [bytes, whole] of [
      [PLAIN, 14],
      [TAGGED, 18],
      [TWICE, 22],
    ] as const) {
      for (let length = 0; length <= bytes.length; length++) {
        const [b, at] = embed(bytes);
        const expected = length >= whole ? whole : 0;
        expect(ethernet.checkLength(guard(b, at, at + length), at, at + length)).toBe(expected);
        expect(ethernet.parse(b, at, at + length) === undefined).toBe(expected === 0);
      }
    }
  });

  it("parse into memory of their own", () => {
    const b = Buffer.from(PLAIN);
    const h = ethernet.parse(b, 0, b.length);
    b.fill(0);
    expect(h?.source).toEqual(PLAIN.subarray(6, 12));
  });
});

describe("hardware addresses", () => {
  it("come back from their text", () => {
    fc.assert(
      fc.property(mac, (bytes) => {
        const text = ethernet.formatMac(bytes);
        expect(text).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
        expect(ethernet.parseMac(text)).toEqual(bytes);
        expect(ethernet.parseMac(text.toUpperCase().replaceAll(":", "-"))).toEqual(bytes);
      }),
    );
    expect(ethernet.formatMac(PLAIN, 6)).toBe("3a:16:91:b4:ce:b3");
  });

  it.each([
    "",
    "02:00:5e:00:53",
    "02:00:5e:00:53:01:02",
    "02-00:5e:00:53:01",
    "2:0:5e:0:53:1",
    "02:00:5e:00:53:0g",
  ])("are not what %j spells", (text) => {
    expect(ethernet.parseMac(text)).toBeUndefined();
  });
});
