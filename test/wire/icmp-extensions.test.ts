/** Label stacks behind the quote of an ICMP error: read as RFC 4950 draws them, written and read back, and never read from garbage. */
import { describe, expect, it } from "vitest";
import { putU32 } from "../../src/wire/bytes.ts";
import * as icmp from "../../src/wire/icmp.ts";
import { mplsLabels, quoteEnd, withMplsLabels } from "../../src/wire/icmp-extensions.ts";
import { guard } from "./oracle.ts";

const LABELS = [
  { label: 16_004, trafficClass: 5, ttl: 1 },
  { label: 0xf_ffff, trafficClass: 0, ttl: 255 },
];

function message(version: 4 | 6, quoted: Uint8Array, labels = LABELS): Uint8Array {
  const { body, rest } = withMplsLabels(quoted, version, labels);
  const b = new Uint8Array(icmp.HEADER_LENGTH + body.length);
  b[0] = version === 4 ? icmp.TYPE.TIME_EXCEEDED : 3;
  putU32(b, icmp.REST, rest);
  b.set(body, icmp.HEADER_LENGTH);
  return b;
}

describe.each([4, 6] as const)("the label stack of IPv%i", (version) => {
  it.each([1, 44, 64, 128, 200])("comes back with a quote of %i bytes", (length) => {
    const quoted = new Uint8Array(length).fill(0xa5);
    const b = message(version, quoted);
    expect(mplsLabels(b, 0, b.length, version)).toEqual(LABELS);
    expect(quoteEnd(b, 0, b.length, version)).toBe(8 + Math.max(128, Math.ceil(length / 8) * 8));
    expect(b.slice(8, 8 + length)).toEqual(quoted);
  });

  it("is none when it is cut at any length or a byte of it is changed, and nothing is read beyond", () => {
    const b = message(version, new Uint8Array(44));
    for (let end = 8; end < b.length; end++) {
      expect(mplsLabels(guard(b, 0, end), 0, end, version), `${end}`).toEqual([]);
    }
    for (let at = 8 + 128; at < b.length; at++) {
      const changed = b.slice();
      changed[at] ^= 0x55;
      expect(mplsLabels(changed, 0, changed.length, version), `${at}`).toEqual([]);
    }
  });

  it("needs no checksum where a length is told", () => {
    const b = message(version, new Uint8Array(44));
    b.fill(0, 8 + 128 + 2, 8 + 128 + 4);
    expect(mplsLabels(b, 0, b.length, version)).toEqual(LABELS);
  });

  it("is found behind 128 bytes where no length is told, by its checksum", () => {
    const b = message(version, new Uint8Array(44));
    putU32(b, icmp.REST, 0);
    expect(mplsLabels(b, 0, b.length, version)).toEqual(LABELS);
    b[8 + 128 + 2] = 0;
    b[8 + 128 + 3] = 0;
    expect(mplsLabels(b, 0, b.length, version)).toEqual([]);
  });
});

it("stands where RFC 4884 and 4950 draw it", () => {
  const b = message(4, new Uint8Array(28), [{ label: 0x12345, trafficClass: 3, ttl: 7 }]);
  expect(b[5]).toBe(32);
  const hex = Buffer.from(b.subarray(8 + 128)).toString("hex");
  expect(hex.slice(0, 4)).toBe("2000");
  expect(hex.slice(8)).toBe("00080101" + "12345707");
});
