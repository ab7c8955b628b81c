/**
 * Which way packets are lost. An open port whose SYN arrived and whose SYN-ACK was lost repeats it a second later (RFC 6298 §2.1): of
 * the SYNs that went unanswered the share that is heard of so tells out from back (runtime/results/totals.ts).
 *
 * Only those count that a repeat had the time to tell of; of a run that ends sooner nothing is known. A sample is enough, so memory is
 * bounded. Not here: what is lost of a round trip (loss-ledger.ts).
 * Tested by test/sim/lab-scan.test.ts and test/scan/engine/engine.test.ts.
 */
import type { SocketTable } from "../../socket/table.ts";

/** When a repeated SYN-ACK comes at the earliest, in microseconds after the SYN. */
const REPEAT_US = 900_000;
/** When it has come, in microseconds after the answer to a later SYN. */
const WAIT_US = 1_300_000;
/** SYNs that are waited for at a time. */
const PLACES = 1024;
const FATE = { unknown: 0, arrived: 1, answered: 2 } as const;
/** The last answers of any host, a power of two: where all of them are late, a queue delays them. */
const RECENT = 16;

export interface SynAckRepeats {
  /**
   * An answer came to the SYN that left at `times[i]`: to be called for each, as they are compared. (Times as arguments would be
   * allocated.)
   * @param srtt by host; 0 where it is not known, and nothing can be said
   * @returns whether it came so much later than the host's round trip is long, and than others' answers come, that a SYN-ACK must be
   * a repeated one
   */
  isRepeated(
    srtt: Float32Array,
    host: number,
    times: Float64Array,
    i: number,
    nowUs: number,
    ageUs: number,
  ): boolean;
  /**
   * A SYN to a port that turned out open went unanswered. Where an answer took so long that a repeated SYN-ACK could have been it, those
   * that arrived would be missing: these are counted apart.
   * @param column where the table has its sequence number, by which an answer is known when the row is another's, and its time. (Numbers as
   * arguments would be allocated.)
   */
  lost(table: Pick<SocketTable, "iss" | "sentAt">, column: number, nowUs: number, ageUs: number): void;
  /** A further SYN-ACK to one of this run's SYNs. */
  heard(iss: number, atUs: number): void;
  /** Counts those that have been waited for. */
  expire(nowUs: number): void;
}

/** Whether a SYN-ACK that came so long after its SYN, which was taken for lost, may be a late one: then nothing was lost. */
export const isLate = (rttUs: number): boolean => rttUs <= REPEAT_US;

/** @param counts to which those that have been waited for are added */
export function createSynAckRepeats(counts: {
  openLost: number;
  openArrived: number;
  openUnclear: number;
}): SynAckRepeats {
  const isses = new Uint32Array(PLACES);
  const sent = new Float64Array(PLACES);
  const due = new Float64Array(PLACES);
  const fates = new Uint8Array(PLACES);
  const places = new Map<number, number>();
  const recent = new Float64Array(RECENT).fill(Number.POSITIVE_INFINITY);
  let answers = 0;
  let first = 0;
  let end = 0;

  return {
    isRepeated: (srtt, host, times, i, nowUs, ageUs) => {
      const rttUs = nowUs - ageUs - times[i];
      recent[answers++ & (RECENT - 1)] = rttUs;
      if (!(srtt[host] > 0 && rttUs > srtt[host] + REPEAT_US)) return false;
      let least = rttUs;
      for (let k = 0; k < RECENT; k++) if (recent[k] < least) least = recent[k];
      return rttUs > least + REPEAT_US;
    },
    lost: ({ iss, sentAt }, column, nowUs, ageUs) => {
      if (end - first === PLACES) return;
      if (!isLate(nowUs - ageUs - sentAt[column])) {
        counts.openUnclear++;
        return;
      }
      const place = end++ % PLACES;
      isses[place] = iss[column];
      sent[place] = sentAt[column];
      due[place] = nowUs - ageUs + WAIT_US;
      fates[place] = FATE.unknown;
      places.set(isses[place], place);
    },
    heard: (iss, atUs) => {
      const place = places.get(iss >>> 0);
      if (place !== undefined && fates[place] === FATE.unknown)
        fates[place] = isLate(atUs - sent[place]) ? FATE.answered : FATE.arrived;
    },
    expire: (nowUs) => {
      for (; first < end && due[first % PLACES] <= nowUs; first++) {
        const place = first % PLACES;
        if (places.get(isses[place]) === place) places.delete(isses[place]);
        if (fates[place] === FATE.answered) continue;
        counts.openLost++;
        if (fates[place] === FATE.arrived) counts.openArrived++;
      }
    },
  };
}
