/** Journals and records for tests. */
import type { JournalHeader } from "../../../src/runtime/journal/writer.ts";
import { putAnswer, putPeer, putVerdict, RECORD_LENGTH } from "../../../src/scan/probe/result-record.ts";

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
  putVerdict(b, at, position, 1.7e15 + position, "closed", "reset", 1);
  putPeer(b, at, 4, WORDS, 0, version);
  putAnswer(b, at, 1, 100 + (position % 1000), 64, false);
}

/** `count` records of the positions from `first` on. */
export function sampleRecords(first: number, count: number): Uint8Array {
  const b = new Uint8Array(count * RECORD_LENGTH);
  for (let i = 0; i < count; i++) putSample(b, i * RECORD_LENGTH, first + i);
  return b;
}
