/**
 * Collects verdicts into batches of records, for another thread or for a file.
 */
import { RECORD_LENGTH, writeRecord } from "../../scan/probe/result-record.ts";
import type { Verdict } from "../../scan/probe/verdict.ts";
import { wallUs } from "../system/clock.ts";

export interface BatchWriter {
  write(verdict: Verdict): void;
  /** Hands over what has been collected. */
  flush(): void;
}

const BATCH = 1024;

/**
 * @param onBatch takes the first `count` records of `bytes`
 * @param memory `give`: `onBatch` may keep `bytes`, and the next batch has new memory; `reuse`: valid until `onBatch` returns
 */
export function createBatchWriter(
  onBatch: (bytes: Uint8Array<ArrayBuffer>, count: number) => void,
  memory: "give" | "reuse",
): BatchWriter {
  let bytes = new Uint8Array(BATCH * RECORD_LENGTH);
  let count = 0;
  function flush(): void {
    if (count === 0) return;
    onBatch(bytes, count);
    if (memory === "give") bytes = new Uint8Array(BATCH * RECORD_LENGTH);
    count = 0;
  }
  return {
    write: (verdict) => {
      writeRecord(bytes, count * RECORD_LENGTH, verdict, wallUs(verdict.atUs));
      if (++count === BATCH) flush();
    },
    flush,
  };
}
