/** Records: their bytes, that verdicts come back from them, and that no column writes where another does. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { REASONS } from "../../../src/scan/probe/record-codes.ts";
import { PORT_STATES, type Reason } from "../../../src/scan/probe/result.ts";
import { COLUMN_LIST } from "../../../src/scan/probe/result-columns.ts";
import {
  isRecord,
  loadPeer,
  RECORD_LENGTH,
  readRecord,
  recordPort,
  recordPosition,
  recordState,
  recordWas,
  writeRecord,
} from "../../../src/scan/probe/result-record.ts";
import { newVerdict, type Verdict } from "../../../src/scan/probe/verdict.ts";
import { loadAddress } from "../../../src/socket/table.ts";
import { parseAddress } from "../../../src/wire/address.ts";
import { fromHex } from "../../golden/golden.ts";

function wordsOf(bytes: Uint8Array): Uint32Array {
  const words = new Uint32Array(4);
  loadAddress(words, 0, bytes, 0, bytes.length);
  return words;
}

function address(text: string): Uint32Array {
  const bytes = parseAddress(text);
  if (bytes === undefined) throw new Error(text);
  return wordsOf(bytes);
}

/** A record in memory that was not clean, between two bytes that it must not touch. */
function written(verdict: Verdict): Uint8Array {
  const b = new Uint8Array(RECORD_LENGTH + 2).fill(0xa5);
  writeRecord(b, 1, verdict, verdict.atUs);
  expect([b[0], b[RECORD_LENGTH + 1]]).toEqual([0xa5, 0xa5]);
  return b.subarray(1, RECORD_LENGTH + 1);
}

const REFUSED: Verdict = {
  ...newVerdict(),
  position: 0x1f_0203_0405_0607,
  atUs: 0x5_fedc_ba98_7654,
  peer: address("192.0.2.10"),
  port: 0x1f90,
  state: "filtered",
  reason: "host-prohibited",
  rttUs: 0x0102_0304,
  ttl: 61,
  tries: 3,
  answered: 2,
  late: true,
  doubt: Number.NaN,
  was: "filtered",
  responder: address("192.0.2.1"),
  hasResponder: true,
};

const UNSENT: Verdict = {
  ...newVerdict(),
  atUs: 1,
  peer: address("2001:db8::10"),
  family: 6,
  port: 443,
  reason: "send-enotrecoverable",
  rttUs: Number.NaN,
  doubt: Number.NaN,
};

const OPEN: Verdict = {
  ...UNSENT,
  peer: address("::ffff:192.0.2.10"),
  state: "open",
  reason: "syn-ack",
  rttUs: 1,
  ttl: 1,
  tries: 1,
  answered: 1,
};

const SILENT: Verdict = {
  ...UNSENT,
  peer: address("198.18.0.1"),
  family: 4,
  reason: "no-response",
  tries: 3,
  doubt: 2 ** -20,
};

const OFFERING: Verdict = {
  ...OPEN,
  hasOffer: true,
  responder: Uint32Array.of(0xfe88_05b4, 0x0702_0408, 0x0103_0000, 0),
};

const TARPIT: Verdict = { ...OPEN, answersAll: true };

/** Journals on users' disks hold these bytes: when one of them must change, the journal's format gets a new number. */
const GOLDEN: readonly [what: string, verdict: Verdict, hex: string][] = [
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
    "an open port of an IPv4-mapped IPv6 address",
    OPEN,
    `00000000 00000000  00000000 00000001
     00000000 00000000  0000ffff c000020a
     00000000 00000000  00000000 00000000
     00000001 01bb 0091 01 00 01 01 00000000`,
  ],
  [
    "an open port and what it offers",
    OFFERING,
    `00000000 00000000  00000000 00000001
     00000000 00000000  0000ffff c000020a
     fe8805b4 07020408  01030000 00000000
     00000001 01bb 0891 01 00 01 01 00000000`,
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
     00000001 01bb 0191 01 00 01 01 00000000`,
  ],
];

const fixedReason = fc.constantFrom(...REASONS);
const sendReason = fc.stringMatching(/^[a-z0-9]{1,16}$/).map((errno): Reason => `send-${errno}`);

const anyVerdict: fc.Arbitrary<Verdict> = fc
  .record({
    isIpv6: fc.boolean(),
    addresses: fc.tuple(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.option(fc.uint8Array({ minLength: 16, maxLength: 16 })),
    ),
    rest: fc.record({
      position: fc.maxSafeNat(),
      atUs: fc.maxSafeNat(),
      port: fc.integer({ min: 1, max: 65_535 }),
      state: fc.constantFrom(...PORT_STATES),
      reason: fc.oneof(fixedReason, sendReason),
      rttUs: fc.oneof(fc.constant(Number.NaN), fc.integer({ min: 1, max: 2 ** 32 - 1 })),
      ttl: fc.nat(255),
      tries: fc.nat(255),
      answered: fc.nat(255),
      late: fc.boolean(),
      doubt: fc.oneof(
        fc.constant(Number.NaN),
        fc.float({ min: Math.fround(2 ** -149), max: 1, noNaN: true }),
      ),
      answersAll: fc.boolean(),
      doubtful: fc.boolean(),
      was: fc.option(fc.constantFrom(...PORT_STATES)),
    }),
    offer: fc.option(fc.uint32Array({ minLength: 4, maxLength: 4 })),
  })
  .map(({ isIpv6, addresses: [peer, responder], rest, offer }): Verdict => {
    const words = (bytes: Uint8Array): Uint32Array => wordsOf(bytes.subarray(0, isIpv6 ? 16 : 4));
    // The errno name stands where the responder would.
    const isSent = !rest.reason.startsWith("send-");
    const hasResponder = responder !== null && isSent;
    const hasOffer = offer !== null && !hasResponder && isSent;
    return {
      ...newVerdict(),
      ...rest,
      peer: words(peer),
      family: isIpv6 ? 6 : 4,
      ...(hasResponder ? { responder: words(responder), hasResponder } : {}),
      ...(hasOffer ? { responder: offer, hasOffer } : {}),
    };
  });

describe("a record", () => {
  it.each(GOLDEN)("of %s has these bytes", (_what, verdict, hex) => {
    expect(written(verdict)).toEqual(fromHex(hex));
    expect(readRecord(fromHex(hex), 0)).toEqual(verdict);
  });

  it("comes back as it was written, wherever it stands", () => {
    fc.assert(
      fc.property(anyVerdict, fc.nat(70), (verdict, at) => {
        const b = new Uint8Array(at + RECORD_LENGTH).fill(0xa5);
        writeRecord(b, at, verdict, verdict.atUs);
        expect(readRecord(b, at)).toEqual(verdict);
        expect([recordPosition(b, at), recordState(b, at), recordWas(b, at)]).toEqual([
          verdict.position,
          verdict.state,
          verdict.was,
        ]);
        expect(written(verdict)).toEqual(b.subarray(at));
        const peer = new Uint32Array(4);
        loadPeer(b, at, peer);
        expect([peer, recordPort(b, at)]).toEqual([verdict.peer, verdict.port]);
      }),
    );
  });

  it("is read into a verdict that held another one", () => {
    fc.assert(
      fc.property(anyVerdict, anyVerdict, (before, verdict) => {
        const draft = newVerdict();
        readRecord(written(before), 0, draft);
        const again = readRecord(written(verdict), 0, draft);
        expect(again).toBe(draft);
        const { responder: _, ...rest } = verdict;
        expect(again).toMatchObject(rest);
        if (verdict.hasResponder) expect(again.responder).toEqual(verdict.responder);
      }),
    );
  });

  it("keeps its addresses when its memory is used again", () => {
    const b = written(REFUSED);
    const verdict = readRecord(b, 0);
    b.fill(0);
    expect(verdict).toEqual(REFUSED);
  });

  it("has a place of its own for each column, as large as it says", () => {
    const owner = new Map<string, string>();
    const claim = (place: string, key: string): void => {
      expect([place, owner.get(place)]).toEqual([place, undefined]);
      owner.set(place, key);
    };
    for (const { key, record } of COLUMN_LIST) {
      const [first, length] = record?.bytes ?? [0, 0];
      for (let i = 0; i < length; i++) claim(`byte ${first + i}`, key);
      for (let bit = 1; bit < 0x1_0000; bit *= 2)
        if (((record?.marks ?? 0) & bit) !== 0) claim(`mark ${bit}`, key);
    }
    fc.assert(
      fc.property(anyVerdict, (verdict) => {
        for (const { key, record } of COLUMN_LIST) {
          const b = new Uint8Array(RECORD_LENGTH);
          record?.put(b, 0, verdict);
          for (let i = 0; i < RECORD_LENGTH; i++) {
            const isErrno = key === "reason" && verdict.reason.startsWith("send-") && i >= 32 && i < 48;
            const isOffer = key === "window" && verdict.hasOffer && i >= 32 && i < 48;
            if (b[i] === 0 || i === 54 || i === 55 || isErrno || isOffer) continue;
            expect(owner.get(`byte ${i}`)).toBe(key);
          }
          expect(((b[54] << 8) | b[55]) & ~(record?.marks ?? 0)).toBe(0);
        }
      }),
    );
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
      21: "conn-refused",
    });
  });

  it("rounds round trips to whole microseconds, and never to none", () => {
    const rtt = (rttUs: number): number => readRecord(written({ ...OPEN, rttUs }), 0).rttUs;
    expect([0.01, 1.4, 1.5, 2 ** 32, Number.POSITIVE_INFINITY].map(rtt)).toEqual([
      1,
      1,
      2,
      2 ** 32 - 1,
      2 ** 32 - 1,
    ]);
  });

  it("drops what is below a microsecond, and cuts an errno name that has no room", () => {
    const verdict = readRecord(
      written({ ...UNSENT, atUs: 1.7e15 + 0.75, reason: "send-0123456789abcdefg" }),
      0,
    );
    expect(verdict).toMatchObject({ atUs: 1.7e15, reason: "send-0123456789abcdef" });
  });

  it("with a state or reason of another version is refused", () => {
    const state = written(OPEN);
    state[55] &= ~3;
    expect(() => readRecord(state, 0)).toThrow(new RangeError("a record with state 0"));
    const reason = written(OPEN);
    reason[57] = REASONS.length;
    expect(() => readRecord(reason, 0)).toThrow(new RangeError(`a record with reason ${REASONS.length}`));
  });

  it("has a meaning when this version can have written it, whatever its bytes are", () => {
    /** As it is read. */
    const isReadable = (b: Uint8Array): boolean => {
      try {
        const { position, atUs, port, doubt, reason } = readRecord(b, 0);
        return (
          Number.isSafeInteger(position) &&
          Number.isSafeInteger(atUs) &&
          port > 0 &&
          (doubt <= 1 || new DataView(b.buffer, b.byteOffset).getUint32(60) === 0) &&
          !(doubt < 0 || Object.is(doubt, -0)) &&
          (!reason.startsWith("send-") || /^send-[a-z0-9]+$/.test(reason))
        );
      } catch {
        return false;
      }
    };
    const byte = fc.record({
      at: fc.constantFrom(0, 1, 2, 8, 9, 10, 32, 33, 47, 52, 53, 54, 55, 57, 60, 61, 62, 63),
      value: fc.oneof(fc.nat(255), fc.constantFrom(0, 0x1f, 0x20, 0x3f, 0x7f, 0x80, REASONS.length, 255)),
    });
    let [kept, lost] = [0, 0];
    fc.assert(
      fc.property(anyVerdict, fc.array(byte, { maxLength: 4 }), (verdict, changes) => {
        const b = Uint8Array.from(written({ ...verdict, port: verdict.port || 1 }));
        for (const { at, value } of changes) b[at] = value;
        expect(isRecord(b, 0)).toBe(isReadable(b));
        if (isReadable(b)) kept++;
        else lost++;
      }),
      { numRuns: 1000 },
    );
    expect(kept).toBeGreaterThan(100);
    expect(lost).toBeGreaterThan(100);
  });
});
