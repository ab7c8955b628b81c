/** Lines of NDJSON as bytes: whatever is taken is written as of the result that would have been made of it. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { resultLine } from "../../../src/report/formats/ndjson.ts";
import { createPackedLines, LONGEST_LINE } from "../../../src/report/formats/ndjson-bytes.ts";
import { createNaming } from "../../../src/runtime/results/to-result.ts";
import { newVerdict, type Verdict } from "../../../src/scan/probe/verdict.ts";
import { parseServices } from "../../../src/scan/targets/services.ts";

const services = parseServices(
  `http 80/tcp\nodd"name\u202e 81/tcp\ndomän-中 83/tcp\n${"long".repeat(100)} 82/tcp\n`,
);
const naming = createNaming({ services, namesOf: () => [] });
const { takes, put } = createPackedLines(services.nameOf);

const answer: Verdict = {
  ...newVerdict(),
  peer: Uint32Array.of(0, 0, 0xffff, 0xc6120001),
  port: 80,
  state: "closed",
  reason: "reset",
  rttUs: 171.4,
  ttl: 64,
  tries: 1,
  answered: 1,
  doubt: Number.NaN,
};
const MS = Date.UTC(2026, 10, 29);

function lineOf(verdict: Verdict, timeUs: number, at = 0): string {
  const bytes = Buffer.alloc(at + LONGEST_LINE);
  return bytes.toString("utf8", at, put(bytes, at, verdict, timeUs));
}

test("a line of bytes is that of the result", () => {
  const answers = fc.record({
    address: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    port: fc.oneof(fc.constantFrom(80, 81, 83), fc.integer({ min: 1, max: 65_535 })),
    kind: fc.constantFrom(["open", "syn-ack"] as const, ["closed", "reset"] as const),
    rttUs: fc.oneof(fc.double({ min: 0, max: 3e4, noNaN: true }), fc.integer({ min: 0, max: 2 ** 31 - 1 })),
    ttl: fc.integer({ min: 1, max: 255 }),
    tries: fc.nat(255),
    answered: fc.integer({ min: 1, max: 255 }),
    timeUs: fc.oneof(fc.nat(5000), fc.integer({ min: 0, max: 2 ** 52 })),
    at: fc.nat(3),
  });
  fc.assert(
    fc.property(answers, ({ address, kind: [state, reason], timeUs, at, ...fields }) => {
      fc.pre(fields.port !== 82);
      const verdict = { ...answer, ...fields, state, reason, peer: Uint32Array.of(0, 0, 0xffff, address) };
      expect(takes(verdict)).toBe(true);
      expect(lineOf(verdict, MS * 1000 + timeUs, at)).toBe(resultLine(naming(verdict, MS * 1000 + timeUs)));
    }),
    { numRuns: 300 },
  );
});

test.each<readonly [why: string, fields: Partial<Verdict>]>([
  ["IPv6", { family: 6 }],
  ["a silent port", { state: "filtered", reason: "no-response", rttUs: Number.NaN, ttl: 0, answered: 0 }],
  ["filtered by the host itself", { state: "filtered", reason: "admin-prohibited" }],
  ["an ambiguous answer", { rttUs: Number.NaN }],
  ["a try that nobody knows", { answered: 0 }],
  ["no TTL", { ttl: 0 }],
  ["an endless round trip", { rttUs: 2 ** 31 }],
  ["a doubt", { doubt: 0.01 }],
  ["another's answer", { hasResponder: true }],
  ["a SYN-ACK's offer", { hasOffer: true }],
  ["a late answer", { late: true }],
  ["what may be forged", { doubtful: true }],
  ["the kernel's handshake", { connect: true }],
  ["a tarpit", { answersAll: true }],
  ["a correction", { was: "filtered" }],
  ["a service with a name as long as a line", { port: 82 }],
])("%s is left to results", (_, fields) => {
  expect(takes({ ...answer, ...fields })).toBe(false);
});
