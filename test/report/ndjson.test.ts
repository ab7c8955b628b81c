import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createNdjsonReporter } from "../../src/report/ndjson.ts";
import { corrected, fault, hostileNames, interrupted, open, prohibited, silent, written } from "./samples.ts";

const lines = (text: string) => text.split("\n").slice(0, -1);

describe("NDJSON", () => {
  test("golden text: each line with its keys in their order", () => {
    const text = written(createNdjsonReporter, [open, prohibited, silent, corrected], {
      ...interrupted,
      sendErrors: { EPERM: 3 },
      faults: [fault],
    });
    expect(lines(text)).toEqual([
      '{"ip":"192.0.2.10","port":22,"proto":"tcp","state":"open","reason":"syn-ack","rtt_ms":0.213,"ttl":64,"tries":1,"host":"scanme.example","service":"ssh","ts":"2026-11-20T23:09:54.270Z"}',
      '{"ip":"192.0.2.20","port":80,"proto":"tcp","state":"filtered","reason":"host-unreach","rtt_ms":1203.512,"ttl":61,"tries":1,"responder":"192.0.2.254","service":"http","ts":"2026-11-20T23:09:54.300Z"}',
      '{"ip":"192.0.2.10","port":8081,"proto":"tcp","state":"filtered","reason":"no-response","rtt_ms":null,"ttl":null,"tries":3,"host":"scanme.example","ts":"2026-11-20T23:09:54.340Z"}',
      '{"ip":"192.0.2.10","port":8081,"proto":"tcp","state":"open","reason":"syn-ack","rtt_ms":3120.5,"ttl":52,"tries":3,"host":"scanme.example","late":true,"was":"filtered","ts":"2026-11-20T23:09:54.360Z"}',
      '{"type":"fault","target":"nosuch.example","code":"ERR_UNKNOWN_HOST","message":"nosuch.example: no such host; check the spelling"}',
      '{"type":"summary","hosts":3,"open":2,"closed":1,"filtered":1,"unfinished":2,"sent":1234,"retransmitted":2,"received":5,"late":1,"ignored":{"malformed":0,"bad_checksum":1,"wrong_ack":0,"odd_flags":0,"foreign":12,"fragment":0,"icmp_no_verdict":0,"duplicate":0},"receive_drops":0,"send_errors":{"EPERM":3},"faults":1,"interrupted":true,"elapsed_ms":120.457,"started_at":"2026-11-20T23:09:54.250Z","ts":"2026-11-20T23:09:54.370Z"}',
    ]);
  });

  test("a verdict with every key there is has them in the documented order", () => {
    const [line = ""] = lines(
      written(createNdjsonReporter, [
        {
          ...corrected,
          responder: "::1",
          service: "x",
          established: { ms: 1.23456, ending: "fin", banner: "hi" },
        },
      ]),
    );
    expect(JSON.parse(line)).toMatchObject({ established_ms: 1.235, ending: "fin", banner: "hi" });
    const order =
      "ip port proto state reason rtt_ms ttl tries host responder service late was established_ms ending banner ts";
    expect(Object.keys(JSON.parse(line))).toEqual(order.split(" "));
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
});
