/** Results on their way: packed and unpacked they are the same, with what records have no room for; damage is noticed. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { packChunk, unpackChunk } from "../../../src/runtime/fleet/chunk.ts";
import type { Established } from "../../../src/scan/probe/result.ts";
import { RECORD_LENGTH, writeRecord } from "../../../src/scan/probe/result-record.ts";
import { newVerdict } from "../../../src/scan/probe/verdict.ts";

const records = (count: number): Uint8Array => {
  const bytes = new Uint8Array(count * RECORD_LENGTH);
  for (let i = 0; i < count; i++) {
    const verdict = { ...newVerdict(), position: i, port: 1 + (i % 65_535) };
    writeRecord(bytes, i * RECORD_LENGTH, verdict, 1e15 + i);
  }
  return bytes;
};
const ESTABLISHED: Established = { ms: 1.5, ending: "fin", banner: "SSH-2.0-x" };

it("keeps records and extras", () => {
  fc.assert(
    fc.property(fc.nat(50), fc.nat(50), (count, extra) => {
      const extras = new Map(extra < count ? [[extra, ESTABLISHED]] : []);
      // The memory may be larger than what is in use of it.
      const bytes = records(count + 3);
      const found = unpackChunk(packChunk({ records: bytes, count, extras }));
      expect(found.count).toBe(count);
      expect(Buffer.from(found.records)).toEqual(Buffer.from(bytes.subarray(0, count * RECORD_LENGTH)));
      expect([...found.extras]).toEqual([...extras]);
    }),
    { numRuns: 20 },
  );
});

it("takes far less room than the records", () => {
  const packed = packChunk({ records: records(10_000), count: 10_000, extras: new Map() });
  expect(packed.length).toBeLessThan((10_000 * RECORD_LENGTH) / 5);
});

it("refuses what is damaged", () => {
  const packed = packChunk({ records: records(5), count: 5, extras: new Map() });
  for (let length = 0; length < packed.length; length++)
    expect(() => unpackChunk(packed.subarray(0, length))).toThrow();
  const strange = records(5);
  strange.fill(0xa5, RECORD_LENGTH, 2 * RECORD_LENGTH);
  expect(() => unpackChunk(packChunk({ records: strange, count: 5, extras: new Map() }))).toThrow(
    /record 1 has no meaning/,
  );
});
