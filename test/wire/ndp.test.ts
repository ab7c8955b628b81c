/** Neighbour discovery, against real packets: parsed, written, cut off at any length. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../src/wire/address.ts";
import { TYPE, verifyChecksum } from "../../src/wire/icmpv6.ts";
import * as ndp from "../../src/wire/ndp.ts";
import { fromHex } from "../golden/golden.ts";
import { dirty, embed, guard, slowChecksum, upperOf } from "./oracle.ts";

/** Linux 6.18 on a veth pair. tshark: "Neighbor Solicitation for 2001:db8::2 from 02:00:00:00:00:01" */
const SOLICITATION =
  fromHex(`60000000 0020 3a ff 20010db8000000000000000000000001 ff0200000000000000000001ff000002
  87 00 1c27 00000000 20010db8000000000000000000000002 0101 020000000001`);
/** And its answer. tshark: "Neighbor Advertisement 2001:db8::2 (sol, ovr) is at 02:00:00:00:00:02" */
const ADVERTISEMENT =
  fromHex(`60000000 0020 3a ff 20010db8000000000000000000000002 20010db8000000000000000000000001
  88 00 8a71 60000000 20010db8000000000000000000000002 0201 020000000002`);
/** Duplicate address detection: a nonce (RFC 3971 5.3.2), no link-layer address. */
const DETECTION =
  fromHex(`60000000 0020 3a ff 00000000000000000000000000000000 ff0200000000000000000001ff000002
  87 00 261a 00000000 fe8000000000000000 00 00fffe000002 0e01 73a24520903d`);
const AT = 40;

const target = parseAddress("2001:db8::2") ?? new Uint8Array(0);
const mac = (last: number): Uint8Array => Uint8Array.of(2, 0, 0, 0, 0, last);

describe("ndp, against real packets", () => {
  it.each([
    [
      "a solicitation",
      SOLICITATION,
      { type: TYPE.NEIGHBOUR_SOLICITATION, flags: 0, target, linkAddress: mac(1) },
    ],
    [
      "an advertisement",
      ADVERTISEMENT,
      {
        type: TYPE.NEIGHBOUR_ADVERTISEMENT,
        flags: ndp.FLAGS.SOLICITED + ndp.FLAGS.OVERRIDE,
        target,
        linkAddress: mac(2),
      },
    ],
  ] as const)("reads and writes %s, byte for byte", (_what, packet, message) => {
    expect(ndp.parse(packet, AT, packet.length)).toEqual(message);
    const { pseudoSum } = upperOf(packet);
    expect(verifyChecksum(packet, AT, packet.length, pseudoSum)).toBe(true);
    const b = dirty(34);
    expect(ndp.bufferLength(message)).toBe(32);
    expect(ndp.emit(b, 1, message, pseudoSum)).toBe(32);
    expect(b).toEqual(Uint8Array.of(0xa5, ...packet.subarray(AT), 0xa5));
  });

  it("steps over options it does not know", () => {
    expect(ndp.checkLength(DETECTION, AT, DETECTION.length)).toBe(24);
    expect(ndp.parse(DETECTION, AT, DETECTION.length)?.linkAddress).toBeUndefined();
  });
});

describe("checkLength", () => {
  it("takes whole options only, and reads nothing beyond", () => {
    const [b, at, end] = embed(SOLICITATION.subarray(AT));
    for (let cut = at; cut <= end; cut++) {
      const whole = cut - at === 24 || cut - at === 32;
      expect(ndp.checkLength(guard(b, at, cut), at, cut), `${cut - at} bytes`).toBe(whole ? 24 : 0);
      expect(ndp.parse(b, at, cut) === undefined).toBe(!whole);
    }
  });

  it.each([
    ["another type", 0, 134],
    ["a code", 1, 1],
    ["an option without length", 25, 0],
    ["an option that is longer than the message", 25, 2],
  ])("refuses %s", (_what, offset, value) => {
    const b = SOLICITATION.slice(AT);
    b[offset] = value;
    expect(ndp.checkLength(b, 0, b.length)).toBe(0);
  });
});

describe("linkAddressAt", () => {
  const withOptions = (hex: string): Uint8Array =>
    Uint8Array.of(...SOLICITATION.subarray(AT, AT + 24), ...fromHex(hex));

  it.each([
    ["after another option", "0e01 000000000000 0101 020000000007", 34],
    ["the first of two", "0101 020000000007 0101 020000000008", 26],
    ["of another kind", "0201 020000000007", -1],
    ["of another length", "0102 0200000000070000000000000000", -1],
    ["none", "", -1],
  ])("%s", (_what, options, expected) => {
    const b = withOptions(options);
    expect(ndp.checkLength(b, 0, b.length)).toBe(24);
    expect(ndp.linkAddressAt(b, 0, b.length, ndp.OPTION.SOURCE_LINK_ADDRESS)).toBe(expected);
  });
});

it("comes back as it went out, with a right checksum", () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  fc.assert(
    fc.property(
      fc.constantFrom(TYPE.NEIGHBOUR_SOLICITATION, TYPE.NEIGHBOUR_ADVERTISEMENT),
      fc.integer({ min: 0, max: 0xffff_ffff }),
      bytes(16),
      fc.option(bytes(6), { nil: undefined }),
      fc.integer({ min: 0, max: 0xf_ffff }),
      (type, flags, target, linkAddress, pseudoSum) => {
        const message = { type, flags, target, ...(linkAddress === undefined ? {} : { linkAddress }) };
        const length = ndp.bufferLength(message);
        const b = dirty(length);
        expect(ndp.emit(b, 0, message, pseudoSum)).toBe(length);
        expect(ndp.parse(b, 0, length)).toEqual(message);
        expect(slowChecksum(b, pseudoSum)).toBe(0);
      },
    ),
  );
});
