/** What a SYN+ACK offers comes back from sixteen bytes as it was sent, whatever else its options are, and no byte beyond them is read. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { offerIn, takeOffer } from "../../../src/scan/probe/offer.ts";
import { fromHex } from "../../golden/golden.ts";

/** A header with these options, between bytes that are not its own. */
function segment(window: number, options: Uint8Array): Uint8Array {
  const length = 20 + Math.ceil(options.length / 4) * 4;
  const b = new Uint8Array(length + 2).fill(0x02);
  b.fill(0, 1, length + 1);
  b[1 + 12] = (length / 4) << 4;
  b[1 + 14] = window >> 8;
  b[1 + 15] = window & 0xff;
  b.set(options, 21);
  return b;
}

function offer(window: number, options: Uint8Array): ReturnType<typeof offerIn> {
  const words = new Uint32Array(4).fill(0xa5a5_a5a5);
  takeOffer(segment(window, options), 1, words);
  return offerIn(words);
}

it.each([
  ["Linux", 65_160, "0204 05b4 0402 080a 00000001 00000002 01 0303 07", "mss 1460,sackOK,TS,nop,wscale 7"],
  ["Windows", 65_535, "0204 05b4 01 0303 08 01 01 0402", "mss 1460,nop,wscale 8,nop,nop,sackOK"],
  [
    "macOS",
    65_535,
    "0204 05b4 01 0303 06 01 01 080a 00000001 00000002 0402 0000",
    "mss 1460,nop,wscale 6,nop,nop,TS,sackOK",
  ],
  ["one without options", 0, "", ""],
  ["one with an unknown option", 1, "2202 0204 0218", "34,mss 536"],
  ["one that is cut off", 1, "0402 0209 05b4", "sackOK"],
  ["a length of nothing", 1, "0402 0800 0101", "sackOK"],
  ["no-operations alone, of which eleven are kept", 1, "01".repeat(40), Array(11).fill("nop").join(",")],
])("of %s", (_what, window, options, said) => {
  expect(offer(window, fromHex(options))).toEqual({ window, options: said });
});

it("is the same whatever stands behind it, and never throws", () => {
  fc.assert(
    fc.property(
      fc.nat(65_535),
      fc.uint8Array({ maxLength: 40 }),
      fc.uint8Array({ minLength: 8, maxLength: 8 }),
      (window, options, behind) => {
        const alone = segment(window, options).slice(0, -1);
        const followed = Uint8Array.of(...alone, ...behind);
        const [a, b] = [alone, followed].map((bytes) => {
          const words = new Uint32Array(4);
          takeOffer(bytes, 1, words);
          return words;
        });
        expect(a).toEqual(b);
        expect(offerIn(a).window).toBe(window);
        expect(offerIn(a).options).toMatch(/^([\w ]+(,|$)){0,11}$/);
      },
    ),
  );
});
