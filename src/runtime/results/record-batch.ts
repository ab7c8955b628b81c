/**
 * Gathers verdicts into batches of records (scan/probe/result-record.ts), to be handed to another thread or to a file.
 */
import {
  putAnswer,
  putAnswersAll,
  putDoubt,
  putPeer,
  putResponder,
  putVerdict,
  putWas,
  RECORD_LENGTH,
} from "../../scan/probe/result-record.ts";
import type { Verdict } from "../../scan/probe/verdict.ts";
import { ADDRESS_WORDS, loadAddress } from "../../socket/table.ts";
import { wallMs } from "../system/clock.ts";

export interface BatchWriter {
  write(verdict: Verdict): void;
  /** Hands over what has been gathered. */
  flush(): void;
}

const BATCH = 1024;

/**
 * @param onBatch takes the first `count` records of `bytes`
 * @param memory `give`: `onBatch` owns `bytes` from then on; `reuse`: only until it returns
 */
export function createBatchWriter(
  onBatch: (bytes: Uint8Array<ArrayBuffer>, count: number) => void,
  memory: "give" | "reuse",
): BatchWriter {
  let bytes = new Uint8Array(BATCH * RECORD_LENGTH);
  let count = 0;
  const responder = new Uint32Array(ADDRESS_WORDS);
  function flush(): void {
    if (count === 0) return;
    onBatch(bytes, count);
    if (memory === "give") bytes = new Uint8Array(BATCH * RECORD_LENGTH);
    count = 0;
  }
  return {
    write: (verdict) => {
      const at = count * RECORD_LENGTH;
      const timeUs = wallMs(verdict.atUs) * 1000;
      putVerdict(bytes, at, verdict.position, timeUs, verdict.state, verdict.reason, verdict.tries);
      putPeer(bytes, at, verdict.family, verdict.peer, 0, verdict.port);
      putAnswer(
        bytes,
        at,
        verdict.answered,
        verdict.rttUs,
        verdict.ttl === 0 ? -1 : verdict.ttl,
        verdict.late,
      );
      if (verdict.responder !== null) {
        loadAddress(responder, 0, verdict.responder, 0, verdict.responder.length);
        putResponder(bytes, at, responder, 0);
      }
      if (verdict.doubt > 0) putDoubt(bytes, at, verdict.doubt);
      if (verdict.answersAll) putAnswersAll(bytes, at);
      if (verdict.was !== null) putWas(bytes, at, verdict.was);
      if (++count === BATCH) flush();
    },
    flush,
  };
}
