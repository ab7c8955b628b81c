/** Addresses from which no answer can come: the same as those that a single target is refused for. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { unprobeable } from "../../../src/runtime/plan/reachability.ts";
import { compareAddresses, formatSpan } from "../../../src/scan/targets/address-range.ts";
import { RESERVED, reservedWithin } from "../../../src/scan/targets/reserved.ts";
import { parseAddress } from "../../../src/wire/address.ts";
import { address } from "../../sim/run.ts";

const within = (first: string, last = first) =>
  reservedWithin({ first: address(first), last: address(last) }).map(
    ({ span, why }) => `${formatSpan(span)} ${why}`,
  );

describe("reserved addresses", () => {
  it("are those within the span, and say why", () => {
    expect(within("0.0.0.0", "255.255.255.255")).toEqual([
      "0.0.0.0/8 reserved (0.0.0.0/8)",
      "224.0.0.0/4 multicast (224.0.0.0/4)",
      "240.0.0.0/4 reserved (240.0.0.0/4)",
    ]);
    expect(within("223.255.0.0", "224.0.0.255")).toEqual(["224.0.0.0/24 multicast (224.0.0.0/4)"]);
    expect(within("198.18.0.0", "198.19.255.255")).toEqual([]);
    expect(within("::", "::ffff:198.18.0.1")).toEqual([
      ":: the unspecified address (::)",
      "::ffff:0.0.0.0-::ffff:198.18.0.1 IPv4-mapped, never on a wire (::ffff:0:0/96)",
    ]);
    expect(within("2001:db8::", "2001:db8::ff")).toEqual([]);
    expect(within("ff02::1")).toEqual(["ff02::1 multicast (ff00::/8)"]);
  });

  it("are those that a single target is refused for", () => {
    // The ends of each span, their neighbours outside, and anything else.
    const edges = RESERVED.flatMap(({ span }) => [span.first, span.last]);
    const neighbours = edges.flatMap((edge) =>
      [-1, 1].map((by) => {
        const next = Uint8Array.from(edge);
        for (let i = next.length - 1; i >= 0; i--) {
          next[i] += by;
          if (next[i] !== (by === 1 ? 0 : 255)) break;
        }
        return next;
      }),
    );
    const bytes = fc.oneof(
      fc.constantFrom(...edges, ...neighbours),
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
    );
    fc.assert(
      fc.property(bytes, (one) => {
        const found = reservedWithin({ first: one, last: one });
        expect(found.length > 0).toBe(unprobeable(one) !== undefined);
      }),
      { numRuns: 2000 },
    );
  });

  it("are listed disjoint and ascending", () => {
    for (const [i, { span }] of RESERVED.entries()) {
      expect(compareAddresses(span.first, span.last)).toBeLessThanOrEqual(0);
      const before = RESERVED[i - 1]?.span.last;
      if (before?.length === span.first.length) expect(compareAddresses(before, span.first)).toBeLessThan(0);
    }
    expect(parseAddress("0.0.0.0")).toEqual(RESERVED[0].span.first);
  });
});
