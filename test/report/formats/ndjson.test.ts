/** NDJSON: one line a verdict, as it falls; any text and number comes back as it was. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createNdjsonReporter, jsonLine, resultLine } from "../../../src/report/formats/ndjson.ts";
import { ENDINGS, PORT_STATES, type PortResult } from "../../../src/scan/probe/result.ts";
import { COLUMN_LIST } from "../../../src/scan/probe/result-columns.ts";
import { hostileNames, open, silent, written } from "../samples.ts";

const lines = (text: string) => text.split("\n").slice(0, -1);

describe("NDJSON", () => {
  test("help names every key that a result can have", () => {
    const topic = readFileSync(new URL("../../../src/cli/help/topics/outputs.md", import.meta.url), "utf8");
    const keys = topic.split("\n").find((line) => line.startsWith("A result's line"));
    for (const { key } of COLUMN_LIST) expect(keys).toContain(`\`${key}\``);
  });

  test("writes each line as its verdict falls, in one piece", () => {
    const pieces: string[] = [];
    const reporter = createNdjsonReporter((text) => pieces.push(text));
    reporter.result(open);
    reporter.result(silent);
    expect(pieces).toHaveLength(2);
    for (const piece of pieces) expect(piece).toMatch(/^\{.*\}\n$/);
  });

  test("any text round-trips exactly, on one line, in printable characters", () => {
    const anyText = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
    );
    fc.assert(
      fc.property(anyText, anyText, (host, service) => {
        const text = written(createNdjsonReporter, [{ ...open, host, service }]);
        expect(lines(text)).toHaveLength(2);
        expect(text).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/u);
        const [first = ""] = lines(text);
        expect(JSON.parse(first)).toMatchObject({ host, service, ip: open.ip, port: open.port });
      }),
      { examples: hostileNames.map((name) => [name, name]) },
    );
  });

  test("numbers and flags round-trip for any result", () => {
    const anyResult = fc.record({
      port: fc.integer({ min: 1, max: 65535 }),
      rttMs: fc.option(fc.double({ min: 0, max: 9000, noNaN: true })),
      ttl: fc.option(fc.integer({ min: 0, max: 255 })),
      tries: fc.integer({ min: 0, max: 20 }),
    });
    fc.assert(
      fc.property(anyResult, (fields) => {
        const [line = ""] = lines(written(createNdjsonReporter, [{ ...open, ...fields }]));
        const read = JSON.parse(line);
        expect(read).toMatchObject({ port: fields.port, ttl: fields.ttl, tries: fields.tries });
        if (fields.rttMs === null) expect(read.rtt_ms).toBeNull();
        else expect(Math.abs(read.rtt_ms - fields.rttMs)).toBeLessThanOrEqual(0.0005 + 1e-9);
      }),
    );
  });

  test("writes what the column table says, whatever is known of a port", () => {
    const text = fc.string({ unit: "binary", maxLength: 12 });
    const word = fc.constantFrom("198.18.0.1", "2001:db8::1");
    const some = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined });
    const results = fc.record({
      ip: word,
      port: fc.integer({ min: 1, max: 65_535 }),
      state: fc.constantFrom(...PORT_STATES),
      reason: fc.constantFrom("syn-ack", "reset", "send-eperm"),
      rttMs: fc.option(fc.double({ min: 0.001, max: 1e5, noNaN: true })),
      ttl: fc.option(fc.integer({ min: 1, max: 255 })),
      tries: fc.nat(31),
      answered: some(fc.nat(31)),
      doubt: some(fc.double({ min: 0, max: 1, noNaN: true })),
      answersAll: some(fc.constant(true)),
      host: some(text),
      responder: some(word),
      service: some(text),
      late: some(fc.constant(true)),
      was: some(fc.constantFrom(...PORT_STATES)),
      established: some(
        fc.record({
          ms: fc.double({ min: 0, max: 1e5, noNaN: true }),
          ending: fc.constantFrom(...ENDINGS),
          banner: some(text),
        }),
      ),
      method: some(fc.constant("connect")),
      doubtful: some(fc.constant("zero-window")),
      window: some(fc.nat(65_535)),
      options: some(fc.constantFrom("mss 1460", "mss 1460,sackOK,TS,nop,wscale 7")),
      timeMs: fc.integer({ min: 0, max: 4e12 }),
      from: some(
        fc.array(
          fc.record({
            place: fc.constantFrom("fra", "lon"),
            state: fc.constantFrom(...PORT_STATES),
            reason: fc.constantFrom("syn-ack", "send-eperm"),
            rttMs: fc.option(fc.double({ min: 0.001, max: 9000, noNaN: true })),
            ttl: fc.option(fc.integer({ min: 1, max: 255 })),
            tries: fc.integer({ min: 0, max: 20 }),
            doubt: some(fc.double({ min: 0, max: 1, noNaN: true })),
          }),
        ),
      ),
      aliases: some(fc.array(fc.constantFrom("mail.example", "ünï.example"), { minLength: 1 })),
    } satisfies Record<keyof PortResult, unknown>);
    fc.assert(
      fc.property(results, (each) => {
        const result = each as PortResult;
        const columns = COLUMN_LIST.map(({ key, line }) => [key, line(result)]);
        expect(resultLine(result)).toBe(jsonLine({ type: "result", ...Object.fromEntries(columns) }));
      }),
    );
  });
});
