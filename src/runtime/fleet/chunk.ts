/**
 * Results of a cell on their way from a worker to the coordinator: the journal's records, in order, compressed piece by piece, with
 * what records have no room for.
 *
 *     raw DEFLATE of   4 bytes, big-endian: length of the JSON   JSON: [record, Established] pairs   records, 64 bytes each
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import type { Established } from "../../scan/probe/result.ts";
import { isRecord, RECORD_LENGTH } from "../../scan/probe/result-record.ts";

export interface Chunk {
  readonly records: Uint8Array;
  readonly count: number;
  /** By the record's number in this chunk. */
  readonly extras: ReadonlyMap<number, Established>;
}

/** Records in a chunk, at most. */
export const MOST_RECORDS = 1 << 14;
const HEAD = 4;
/** No chunk is larger when it is unpacked, in bytes: records, and a banner of 1024 bytes, escaped, for each. */
const MOST_BYTES = HEAD + MOST_RECORDS * (RECORD_LENGTH + 4400);

export function packChunk({ records, count, extras }: Chunk): Buffer {
  const json = Buffer.from(JSON.stringify([...extras]));
  const head = Buffer.alloc(HEAD);
  head.writeUInt32BE(json.length);
  return deflateRawSync(Buffer.concat([head, json, records.subarray(0, count * RECORD_LENGTH)]), {
    level: 1,
  });
}

/** @throws {Error} for what no version like this one has packed */
export function unpackChunk(packed: Uint8Array): Chunk {
  const bytes = inflateRawSync(packed, { maxOutputLength: MOST_BYTES });
  const from = HEAD + bytes.readUInt32BE(0);
  const records = bytes.subarray(from);
  const count = records.length / RECORD_LENGTH;
  if (!Number.isInteger(count)) throw new RangeError(`${records.length} bytes of records`);
  for (let i = 0; i < count; i++)
    if (!isRecord(records, i * RECORD_LENGTH)) throw new RangeError(`record ${i} has no meaning`);
  return { records, count, extras: new Map(JSON.parse(bytes.toString("utf8", HEAD, from))) };
}
