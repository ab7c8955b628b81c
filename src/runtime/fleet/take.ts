/**
 * A cell's results, from Redis into the run: looked through from end to end first, then handed on, so that they are taken whole or
 * not at all. One cell's are in memory at a time, packed, and are handed on as there is room for them.
 */
import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import {
  loadPeer,
  putPosition,
  RECORD_LENGTH,
  readRecord,
  recordPort,
  recordState,
  recordWas,
} from "../../scan/probe/result-record.ts";
import { newVerdict } from "../../scan/probe/verdict.ts";
import type { Space } from "../../scan/targets/space.ts";
import { ADDRESS_WORDS } from "../../socket/table.ts";
import { type EngineRunHooks, isWanted } from "../run/engine-run.ts";
import { type Chunk, unpackChunk } from "./chunk.ts";
import type { CutCell, Ledger } from "./ledger.ts";
import { foundKey, type Manifest } from "./registry.ts";

/** Packed results of one cell that are kept in memory, in bytes, at most. */
const MOST_BYTES = 1 << 28;

/** Anybody who can write to Redis may have done it: the cell may be probed again. */
export const CHANGED = "its results have changed on the way";

const verdict = newVerdict();
const peer = new Uint32Array(ADDRESS_WORDS);

export interface ResultsOf {
  readonly redis: Redis;
  readonly space: Space;
  readonly ledger: Pick<Ledger, "numbers">;
  /** The position of the space's first pair in the run: of several places each has the space to itself. */
  readonly first: number;
  readonly hooks: EngineRunHooks;
}

/**
 * A cell's results, packed, if they are all there: what its worker has signed, one result for each pair, and none of another cell.
 * @returns the pieces that somebody wants; undefined when Redis has them no more, or what is wrong
 */
export async function fetchResults(
  { redis, space, ledger, hooks }: ResultsOf,
  run: string,
  job: string,
  cell: CutCell,
  said: Manifest,
): Promise<readonly Buffer[] | string | undefined> {
  const pieces: Buffer[] = [];
  const digest = createHash("sha256");
  for (let bytes = 0; pieces.length < said.chunks; ) {
    const packed = await redis.hgetBuffer(foundKey(run, job, said.token), String(pieces.length));
    if (packed === null) return undefined;
    bytes += packed.length;
    if (bytes > MOST_BYTES) return "its results are too large";
    pieces.push(packed);
    digest.update(packed);
  }
  // Until here anybody may have written them.
  if (digest.digest("hex") !== said.digest) return CHANGED;
  const roll = createRoll(ledger.numbers(cell), cell.pairs);
  const wanted: Buffer[] = [];
  for (const packed of pieces) {
    const chunk = readChunk(packed);
    if (chunk === undefined) return "its results are packed as this version does not read them";
    const { records, count } = chunk;
    let isAnyWanted = hooks.keepsRecords;
    for (let i = 0; i < count; i++) {
      const at = i * RECORD_LENGTH;
      loadPeer(records, at, peer);
      const row = roll.rowOf(space.indexOf(peer, 0, recordPort(records, at)));
      if (row < 0) return "there are results of pairs that are not in its cell";
      const was = recordWas(records, at);
      // Of one that corrects another the first is there already.
      if (roll.tick(row) === (was !== null)) return "there are results that stand twice";
      isAnyWanted ||= isWanted(hooks.wants, recordState(records, at), was);
    }
    if (isAnyWanted) wanted.push(packed);
  }
  return roll.ticked === cell.pairs ? wanted : `${roll.ticked} results for ${cell.pairs} pairs`;
}

/** @returns undefined for one of another version: it is signed, and may be anything */
function readChunk(packed: Buffer): Chunk | undefined {
  try {
    return unpackChunk(packed);
  } catch {
    return undefined;
  }
}

/** The pairs of a cell, to be ticked off: each has a row. */
function createRoll(ranges: ReturnType<Ledger["numbers"]>, pairs: number) {
  const from = Float64Array.from(ranges, ([first]) => first);
  const to = Float64Array.from(ranges, ([, end]) => end);
  const before = new Float64Array(ranges.length);
  for (let i = 1; i < ranges.length; i++) before[i] = before[i - 1] + to[i - 1] - from[i - 1];
  const isTicked = new Uint8Array(pairs);
  let ticked = 0;
  return {
    get ticked() {
      return ticked;
    },
    /** @returns -1 for the number of a pair of none of them */
    rowOf: (number: number): number => {
      let low = 0;
      for (let high = from.length; high - low > 1; ) {
        const middle = (low + high) >>> 1;
        if (from[middle] <= number) low = middle;
        else high = middle;
      }
      return from[low] <= number && number < to[low] ? before[low] + number - from[low] : -1;
    },
    /** @returns false when it was ticked off already */
    tick: (row: number): boolean => {
      if (isTicked[row] === 1) return false;
      isTicked[row] = 1;
      ticked++;
      return true;
    },
  };
}

/** Hands a cell's results on, as those of an engine in this process. */
export async function takeResults(of: ResultsOf, pieces: readonly Buffer[]): Promise<void> {
  for (const packed of pieces) {
    handOn(of, unpackChunk(packed));
    await of.hooks.room();
  }
}

function handOn({ space, first, hooks }: ResultsOf, { records, count, extras }: Chunk): void {
  for (let i = 0; i < count; i++) {
    const at = i * RECORD_LENGTH;
    loadPeer(records, at, peer);
    // A worker counts the pairs of its cell.
    putPosition(records, at, first + space.indexOf(peer, 0, recordPort(records, at)));
  }
  if (hooks.keepsRecords) {
    let from = 0;
    for (let i = 0; i <= count; i++) {
      const extra = extras.get(i);
      if (i < count && extra === undefined) continue;
      if (i > from) hooks.onRecords(records.subarray(from * RECORD_LENGTH), i - from);
      if (extra !== undefined) hooks.onRecords(records.subarray(i * RECORD_LENGTH), 1, extra);
      from = i + 1;
    }
  }
  for (let i = 0; i < count; i++) {
    const at = i * RECORD_LENGTH;
    if (!isWanted(hooks.wants, recordState(records, at), recordWas(records, at))) continue;
    const read = readRecord(records, at, verdict);
    hooks.onResult(read, read.atUs, extras.get(i));
  }
}
