/**
 * The journal's file format: a sequence of blocks, each with a checksum, so that a torn or damaged one is recognised.
 *
 *      0        4        8 9      12                20
 *      +--------+--------+-+------+-----------------+---------------
 *      | "SPJ1" | CRC-32 |T|length|     synced      | payload …
 *      +--------+--------+-+------+-----------------+---------------
 *                        |<------- covered by the CRC ----------- …
 *
 *   T       type: one of BLOCKS        length  of the payload, below 2^24
 *   synced  how much of the file was on disk when this block was made, in bytes from its start
 *
 * Big-endian. No I/O here. The first block is the header, and "1" is the format's version. Payloads are written by writer.ts
 * and read by reader.ts.
 *
 * `synced` tells two kinds of bad block apart. After a power failure any mixture of the unsynced pages may be on disk: a bad
 * block there is a torn end, whatever follows it. But if a later block says that the bad one had been synced, the disk has lost
 * data, and results with it.
 */
import { RECORD_LENGTH } from "../../scan/probe/result-record.ts";
import { crc32 } from "../../wire/crc32.ts";

export const BLOCKS = {
  /** JSON: a JournalHeader. First, and once. */
  header: 1,
  /** Records (scan/probe/result-record.ts). */
  results: 2,
  /** One record, then JSON: what the record has no room for. */
  annotated: 3,
  /** JSON: a Checkpoint. */
  checkpoint: 4,
  /** JSON: the last Checkpoint of a complete run. */
  end: 5,
} as const;
export type BlockType = (typeof BLOCKS)[keyof typeof BLOCKS];

/** Bytes before the payload. */
export const HEAD_LENGTH = 20;
export const MAX_PAYLOAD = 2 ** 24 - 1;
/** The magic without its version. */
export const MAGIC = Buffer.from("SPJ");
export const FORMAT = "1";
const MAGIC_1 = Buffer.concat([MAGIC, Buffer.from(FORMAT)]);
const CRC = 4;
const COVERED = 8;
const TYPE = 8;
const LENGTH = 9;
const SYNCED = 12;

/** Writes the head at `at`, for `length` bytes of payload that are already behind it. */
export function sealBlock(b: Buffer, at: number, type: BlockType, length: number, synced: number): void {
  b.set(MAGIC_1, at);
  b[at + TYPE] = type;
  b.writeUIntBE(length, at + LENGTH, 3);
  b.writeBigUInt64BE(BigInt(synced), at + SYNCED);
  b.writeUInt32BE(crc32(b, at + COVERED, at + HEAD_LENGTH + length), at + CRC);
}

/** Length of the block whose head is at `at`, head included. */
export const blockLength = (b: Buffer, at: number): number => HEAD_LENGTH + b.readUIntBE(at + LENGTH, 3);

/** A good block. */
export interface Block {
  readonly type: BlockType;
  readonly synced: number;
  /**
   * The payload is `[from, to)` of `bytes`; its records end at `records`. Valid until the reader is asked for another block.
   */
  readonly bytes: Buffer;
  readonly from: number;
  readonly records: number;
  readonly to: number;
  /** Where this block and the next begin in the file. */
  readonly at: number;
  readonly next: number;
}

export interface BlockReader {
  /** The block that begins at `at` in the file; undefined when it is not a good one. */
  block(at: number): Block | undefined;
  /** Where the next block may begin, from `at` on; -1 when nowhere. */
  find(at: number): number;
}

/** The file is read in pieces of this size. */
const WINDOW = 1 << 20;

/** Reads up to `length` bytes of the file at `at` into `b[offset]`. @returns how many; 0 at the file's end */
export type ReadAt = (b: Buffer, offset: number, length: number, at: number) => number;

/** @param size the file's length; it is read in pieces, in bounded memory */
export function createBlockReader(readAt: ReadAt, size: number): BlockReader {
  let window = Buffer.allocUnsafe(WINDOW);
  let base = 0;
  let held = 0;

  /** Makes the window hold `[at, at + length)` of the file; false when the file is shorter. */
  function load(at: number, length: number): boolean {
    if (at >= base && at + length <= base + held) return true;
    if (at + length > size) return false;
    if (length > window.length) window = Buffer.allocUnsafe(length);
    base = at;
    held = 0;
    const wanted = Math.min(window.length, size - at);
    while (held < wanted) {
      const count = readAt(window, held, wanted - held, at + held);
      if (count === 0) break;
      held += count;
    }
    return held >= length;
  }

  return {
    block: (at) => {
      if (!load(at, HEAD_LENGTH) || !load(at, blockLength(window, at - base))) return undefined;
      const head = at - base;
      const from = head + HEAD_LENGTH;
      const to = head + blockLength(window, head);
      if (window.compare(MAGIC_1, 0, MAGIC_1.length, head, head + MAGIC_1.length) !== 0) return undefined;
      if (window.readUInt32BE(head + CRC) !== crc32(window, head + COVERED, to)) return undefined;
      const type = window[head + TYPE] as BlockType;
      // A check sum proves that nothing broke, not who wrote it.
      if (type === BLOCKS.results && (to - from) % RECORD_LENGTH !== 0) return undefined;
      if (type === BLOCKS.annotated && to - from < RECORD_LENGTH) return undefined;
      const synced = Number(window.readBigUInt64BE(head + SYNCED));
      const records = type === BLOCKS.results ? to : type === BLOCKS.annotated ? from + RECORD_LENGTH : from;
      return { type, synced, bytes: window, from, records, to, at, next: at + to - head };
    },
    find: (at) => {
      for (let from = at; load(from, MAGIC_1.length); from = base + held - MAGIC_1.length + 1) {
        const found = window.subarray(0, held).indexOf(MAGIC_1, from - base);
        if (found >= 0) return base + found;
      }
      return -1;
    },
  };
}
