/**
 * Bytes that nobody sane would send: real packets with bytes changed, inserted, cut off, and pure noise.
 * Every entry point must come back, within its bounds, and read nothing outside `[at, end)`.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describePacket } from "../../src/wire/describe.ts";
import * as icmp from "../../src/wire/icmp.ts";
import * as icmpv6 from "../../src/wire/icmpv6.ts";
import * as ipv4 from "../../src/wire/ipv4.ts";
import * as ipv6 from "../../src/wire/ipv6.ts";
import { newQuote } from "../../src/wire/quote.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { parseOptions } from "../../src/wire/tcp-options.ts";
import { GOLDEN_NAMES, golden } from "../golden/golden.ts";
import { embed, guard } from "./oracle.ts";

const PACKETS = GOLDEN_NAMES.map(golden);
/** The longest line: 40 bytes of options, all of them NOP, between two IPv6 endpoints. */
const LONGEST_LINE = 400;

const byte = fc.oneof(fc.constantFrom(0, 1, 4, 5, 6, 44, 58, 60, 0x45, 0x60, 0xff), fc.nat(255));
const change = fc.tuple(fc.nat(160), byte);
const mutant = fc
  .tuple(fc.constantFrom(...PACKETS), fc.array(change, { maxLength: 6 }), fc.option(fc.nat(160)))
  .map(([packet, changes, cut]) => {
    const b = Uint8Array.from(packet);
    for (const [at, value] of changes) b[at % b.length] = value;
    return cut === null ? b : b.subarray(0, cut);
  });
const noise = fc
  .tuple(byte, fc.uint8Array({ maxLength: 120 }))
  .map(([first, rest]) => Uint8Array.of(first, ...rest));
const hostile = fc.oneof({ weight: 3, arbitrary: mutant }, noise);

/** Runs `test` on hostile bytes in a buffer that does not let itself be read elsewhere. */
function withHostile(test: (b: Uint8Array, at: number, end: number) => void): void {
  fc.assert(
    fc.property(hostile, (bytes) => {
      const [b, at, end] = embed(bytes);
      test(guard(b, at, end), at, end);
    }),
    { numRuns: 2000 },
  );
}

describe("hostile bytes", () => {
  it("describePacket: one short line of printable ASCII", () => {
    withHostile((b, at, end) => {
      const line = describePacket(b, at, end);
      expect(line).toMatch(/^[\x20-\x7e]+$/);
      expect(line).not.toMatch(/undefined|NaN|null/);
      expect(line.length).toBeLessThan(LONGEST_LINE);
    });
  });

  it("describePacket: every golden packet at every length", () => {
    for (const packet of PACKETS) {
      for (let length = 0; length <= packet.length; length++) {
        const [b, at] = embed(packet);
        const line = describePacket(guard(b, at, at + length), at, at + length);
        expect(line).toMatch(length === 0 ? /^empty/ : length < packet.length ? / ?truncated / : /ttl|hlim/);
      }
    }
  });

  it("checkLength and parse: refused, or within the bytes", () => {
    withHostile((b, at, end) => {
      for (const codec of [ipv4, ipv6, tcp]) {
        const length = codec.checkLength(b, at, end);
        expect(at + length).toBeLessThanOrEqual(end);
        expect(codec.parse(b, at, end) !== undefined).toBe(length !== 0);
      }
      if (ipv4.checkLength(b, at, end) !== 0) ipv4.verifyChecksum(b, at);
      expect(["good", "offloaded", "bad"]).toContain(
        tcp.checkLength(b, at, end) === 0 ? "bad" : tcp.verifyChecksum(b, at, end, 0),
      );
    });
  });

  it("walk: refused, or an upper layer within the bytes", () => {
    const upper = ipv6.newUpper();
    withHostile((b, at, end) => {
      if (!ipv6.walk(b, at, end, upper)) return;
      expect(upper.at).toBeGreaterThanOrEqual(at + ipv6.HEADER_LENGTH);
      expect(upper.at).toBeLessThanOrEqual(end);
      expect(upper.protocol).toBeLessThanOrEqual(255);
    });
  });

  it("parseQuote: refused, or addresses within the bytes", () => {
    const quote = newQuote();
    withHostile((b, at, end) => {
      for (const [parseQuote, header] of [
        [icmp.parseQuote, 20],
        [icmpv6.parseQuote, 40],
      ] as const) {
        if (!parseQuote(b, at + header, end, quote)) continue;
        expect(quote.sourceAt).toBeGreaterThan(at + header);
        expect(quote.destinationAt + quote.addressLength).toBeLessThan(end);
        expect(quote.sequence).toBeGreaterThanOrEqual(0);
        expect(Number.isInteger(quote.sourcePort + quote.destinationPort + quote.sequence)).toBe(true);
      }
    });
  });

  it("parseOptions: no more options than bytes", () => {
    withHostile((b, at, end) => {
      expect(parseOptions(b, at, end).options.length).toBeLessThanOrEqual(end - at);
    });
  });

  it("the mutants get past the first checks often enough to count", () => {
    const seen = { packet: 0, walk: 0, quote: 0 };
    const upper = ipv6.newUpper();
    for (const bytes of fc.sample(hostile, { seed: 1, numRuns: 1000 })) {
      if (ipv4.checkLength(bytes, 0, bytes.length) !== 0) seen.packet++;
      if (ipv6.walk(bytes, 0, bytes.length, upper)) seen.walk++;
      if (icmp.parseQuote(bytes, 20, bytes.length, newQuote())) seen.quote++;
    }
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(30);
  });
});
