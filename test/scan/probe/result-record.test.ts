/** A result as 64 bytes: their places, and that all of it comes back. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PORT_STATES, type Reason } from "../../../src/scan/probe/result.ts";
import {
  putAnswer,
  putAnswersAll,
  putDoubt,
  putPeer,
  putResponder,
  putVerdict,
  putWas,
  REASONS,
  RECORD_LENGTH,
  type ResultRecord,
  readRecord,
  recordPosition,
  recordState,
  recordWas,
} from "../../../src/scan/probe/result-record.ts";
import { loadAddress } from "../../../src/socket/table.ts";
import { parseAddress } from "../../../src/wire/address.ts";
import { fromHex } from "../../golden/golden.ts";

function address(text: string): Uint8Array {
  const bytes = parseAddress(text);
  if (bytes === undefined) throw new Error(text);
  return bytes;
}

function wordsOf(bytes: Uint8Array): Uint32Array {
  const words = new Uint32Array(6);
  loadAddress(words, 2, bytes, 0, bytes.length);
  return words;
}

/** Writes a record as the engine does, at `at`. */
function write(b: Uint8Array, at: number, record: ResultRecord): void {
  putVerdict(b, at, record.position, record.timeUs, record.state, record.reason, record.tries);
  putPeer(b, at, record.peer.length === 4 ? 4 : 6, wordsOf(record.peer), 2, record.port);
  putAnswer(b, at, record.answered, record.rttUs ?? 0, record.ttl ?? -1, record.late);
  if (record.was !== null) putWas(b, at, record.was);
  if (record.doubt !== null) putDoubt(b, at, record.doubt);
  if (record.answersAll) putAnswersAll(b, at);
  if (record.responder !== null) putResponder(b, at, wordsOf(record.responder), 2);
}

/** A record in memory that was not clean, between two bytes that it must not touch. */
function written(record: ResultRecord): Uint8Array {
  const b = new Uint8Array(RECORD_LENGTH + 2).fill(0xa5);
  write(b, 1, record);
  expect([b[0], b[RECORD_LENGTH + 1]]).toEqual([0xa5, 0xa5]);
  return b.subarray(1, RECORD_LENGTH + 1);
}

const REFUSED: ResultRecord = {
  position: 0x1f_0203_0405_0607,
  timeUs: 0x5_fedc_ba98_7654,
  peer: address("192.0.2.10"),
  port: 0x1f90,
  state: "filtered",
  reason: "host-prohibited",
  rttUs: 0x0102_0304,
  ttl: 61,
  tries: 3,
  answered: 2,
  late: true,
  doubt: null,
  answersAll: false,
  was: "filtered",
  responder: address("192.0.2.1"),
};

const UNSENT: ResultRecord = {
  position: 0,
  timeUs: 1,
  peer: address("2001:db8::10"),
  port: 443,
  state: "filtered",
  reason: "send-enotrecoverable",
  rttUs: null,
  ttl: null,
  tries: 0,
  answered: 0,
  late: false,
  doubt: null,
  answersAll: false,
  was: null,
  responder: null,
};

const OPEN: ResultRecord = {
  ...UNSENT,
  peer: address("::ffff:192.0.2.10"),
  state: "open",
  reason: "syn-ack",
  rttUs: 1,
  ttl: 0,
  tries: 1,
  answered: 1,
};

const SILENT: ResultRecord = {
  ...UNSENT,
  peer: address("198.18.0.1"),
  reason: "no-response",
  ttl: null,
  tries: 3,
  doubt: 2 ** -20,
};

const TARPIT: ResultRecord = { ...OPEN, answersAll: true };

/** Journals on users' disks hold these bytes: when one of them must change, the journal's format gets a new number. */
const GOLDEN: readonly [what: string, record: ResultRecord, hex: string][] = [
  [
    "an ICMP error, late, after another verdict",
    REFUSED,
    `001f0203 04050607  0005fedc ba987654
     00000000 00000000  0000ffff c000020a
     00000000 00000000  0000ffff c0000201
     01020304 1f90 00ef 02 09 3d 03 00000000`,
  ],
  [
    "a probe that could not be sent",
    UNSENT,
    `00000000 00000000  00000000 00000001
     20010db8 00000000  00000000 00000010
     656e6f74 7265636f  76657261 626c6500
     00000000 01bb 0013 00 ff 00 00 00000000`,
  ],
  [
    "an open port, TTL 0, of an IPv4-mapped IPv6 address",
    OPEN,
    `00000000 00000000  00000000 00000001
     00000000 00000000  0000ffff c000020a
     00000000 00000000  00000000 00000000
     00000001 01bb 0091 01 00 00 01 00000000`,
  ],
  [
    "a silent port",
    SILENT,
    `00000000 00000000  00000000 00000001
     00000000 00000000  0000ffff c6120001
     00000000 00000000  00000000 00000000
     00000000 01bb 0003 00 03 00 03 35800000`,
  ],
  [
    "an open port of a tarpit",
    TARPIT,
    `00000000 00000000  00000000 00000001
     00000000 00000000  0000ffff c000020a
     00000000 00000000  00000000 00000000
     00000001 01bb 0191 01 00 00 01 00000000`,
  ],
];

const fixedReason = fc.constantFrom(...REASONS);
const sendReason = fc.stringMatching(/^[a-z0-9]{1,16}$/).map((errno): Reason => `send-${errno}`);

const anyRecord: fc.Arbitrary<ResultRecord> = fc
  .record({
    family: fc.constantFrom(4, 16),
    addresses: fc.tuple(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.option(fc.uint8Array({ minLength: 16, maxLength: 16 })),
    ),
    rest: fc.record({
      position: fc.maxSafeNat(),
      timeUs: fc.maxSafeNat(),
      port: fc.integer({ min: 1, max: 65_535 }),
      state: fc.constantFrom(...PORT_STATES),
      reason: fc.oneof(fixedReason, sendReason),
      rttUs: fc.option(fc.integer({ min: 1, max: 2 ** 32 - 1 })),
      ttl: fc.option(fc.nat(255)),
      tries: fc.nat(255),
      answered: fc.nat(255),
      late: fc.boolean(),
      doubt: fc.option(fc.float({ min: Math.fround(2 ** -149), max: 1, noNaN: true })),
      answersAll: fc.boolean(),
      was: fc.option(fc.constantFrom(...PORT_STATES)),
    }),
  })
  .map(({ family, addresses: [peer, responder], rest }) => ({
    ...rest,
    peer: peer.slice(0, family),
    // The errno name stands where the responder would.
    responder: responder === null || rest.reason.startsWith("send-") ? null : responder.slice(0, family),
  }));

describe("a record", () => {
  it.each(GOLDEN)("of %s has these bytes", (_what, record, hex) => {
    expect(written(record)).toEqual(fromHex(hex));
    expect(readRecord(fromHex(hex), 0)).toEqual(record);
  });

  it("comes back as it was written, wherever it stands", () => {
    fc.assert(
      fc.property(anyRecord, fc.nat(70), (record, at) => {
        const b = new Uint8Array(at + RECORD_LENGTH).fill(0xa5);
        write(b, at, record);
        expect(readRecord(b, at)).toEqual(record);
        expect([recordPosition(b, at), recordState(b, at), recordWas(b, at)]).toEqual([
          record.position,
          record.state,
          record.was,
        ]);
        expect(written(record)).toEqual(b.subarray(at));
      }),
    );
  });

  it("keeps its addresses when its memory is used again", () => {
    const b = written(REFUSED);
    const record = readRecord(b, 0);
    b.fill(0);
    expect(record).toEqual(REFUSED);
  });

  it("has codes for reasons that never change", () => {
    expect(Object.fromEntries(REASONS.map((reason, code) => [code, reason]))).toEqual({
      0: "syn-ack",
      1: "split-handshake-syn",
      2: "reset",
      3: "no-response",
      4: "net-unreach",
      5: "host-unreach",
      6: "proto-unreach",
      7: "port-unreach",
      8: "net-prohibited",
      9: "host-prohibited",
      10: "admin-prohibited",
      11: "time-exceeded",
      12: "no-route",
      13: "beyond-scope",
      14: "addr-unreach",
      15: "policy-fail",
      16: "reject-route",
      17: "param-problem",
      18: "host-timeout",
      19: "unproved-reset",
      20: "unproved-syn",
    });
  });

  it("rounds round trips to whole microseconds, and never to none", () => {
    const rtt = (rttUs: number): number | null => readRecord(written({ ...OPEN, rttUs }), 0).rttUs;
    expect([0.01, 1.4, 1.5, 2 ** 32, Number.POSITIVE_INFINITY].map(rtt)).toEqual([
      1,
      1,
      2,
      2 ** 32 - 1,
      2 ** 32 - 1,
    ]);
  });

  it("drops what is below a microsecond, and cuts an errno name that has no room", () => {
    const record = readRecord(
      written({ ...UNSENT, timeUs: 1.7e15 + 0.75, reason: "send-0123456789abcdefg" }),
      0,
    );
    expect(record).toMatchObject({ timeUs: 1.7e15, reason: "send-0123456789abcdef" });
  });

  it("with a state or reason of another version is refused", () => {
    const state = written(OPEN);
    state[55] &= ~3;
    expect(() => readRecord(state, 0)).toThrow(new RangeError("a record with state 0"));
    const reason = written(OPEN);
    reason[57] = REASONS.length;
    expect(() => readRecord(reason, 0)).toThrow(new RangeError(`a record with reason ${REASONS.length}`));
  });
});
