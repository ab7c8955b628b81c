/** Journals and records for tests. */
import type { JournalHeader } from "../../../src/runtime/journal/writer.ts";
import { RECORD_LENGTH, writeRecord } from "../../../src/scan/probe/result-record.ts";
import { newVerdict } from "../../../src/scan/probe/verdict.ts";

export const HEADER: JournalHeader = {
  version: "0.1.0",
  createdMs: 1_700_000_000_000,
  targets: "d1gest",
  options: { "--seed": 7, "--max-retries": 3, "--complete": null, "--sequential": true },
  command: "synprobe -iL list.txt --seed 7",
};

/** Where the records of `sampleRecords` say that they were written, so that each can be told from any other. */
const WORDS = Uint32Array.of(0, 0, 0xffff, 0xc612_0000);

/** Writes one record: `version` tells several of one position apart, as their port. */
export function putSample(b: Uint8Array, at: number, position: number, version = 1): void {
  const verdict = { ...newVerdict(), peer: WORDS, port: version, position };
  const answer = {
    state: "closed",
    reason: "reset",
    tries: 1,
    answered: 1,
    rttUs: 100 + (position % 1000),
    ttl: 64,
  } as const;
  writeRecord(b, at, { ...verdict, ...answer, doubt: Number.NaN }, 1.7e15 + position);
}

/** `count` records of the positions from `first` on. */
export function sampleRecords(first: number, count: number): Uint8Array {
  const b = new Uint8Array(count * RECORD_LENGTH);
  for (let i = 0; i < count; i++) putSample(b, i * RECORD_LENGTH, first + i);
  return b;
}
