/**
 * A cell's results, from Redis into the run: looked through from end to end first, then handed on, so that they are taken whole or
 * not at all. One cell's are in memory at a time, packed, and are handed on as there is room for them.
 */
import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import {
  putPosition,
  RECORD_LENGTH,
  readRecord,
  recordState,
  recordWas,
} from "../../scan/probe/result-record.ts";
import { newVerdict } from "../../scan/probe/verdict.ts";
import { createPositionSet } from "../../scan/targets/positions.ts";
import type { Space } from "../../scan/targets/space.ts";
import { type EngineRunHooks, isWanted } from "../run/engine-run.ts";
import { type Chunk, unpackChunk } from "./chunk.ts";
import type { CutCell, Ledger } from "./ledger.ts";
import { foundKey, type Manifest } from "./registry.ts";

/** Packed results of one cell that are kept in memory, in bytes, at most. */
const MOST_BYTES = 1 << 28;

/** Anybody who can write to Redis may have done it: the cell may be probed again. */
export const CHANGED = "its results have changed on the way";

const verdict = newVerdict();

export interface ResultsOf {
  readonly redis: Redis;
  readonly space: Space;
  readonly ledger: Pick<Ledger, "holds">;
  /** The position of the space's first pair in the run: of several places each has the space to itself. */
  readonly first: number;
  readonly hooks: EngineRunHooks;
}

/**
 * A cell's results, packed, if they are all there: what its worker has signed, one result for each pair, and none of another cell.
 * @returns undefined when Redis has them no more, or what is wrong
 */
export async function fetchResults(
  { redis, space, ledger }: ResultsOf,
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
  const seen = createPositionSet();
  for (const packed of pieces) {
    const { records, count } = unpackChunk(packed);
    for (let i = 0; i < count; i++) {
      const { peer, port, was } = readRecord(records, i * RECORD_LENGTH, verdict);
      const index = space.indexOf(peer, 0, port);
      if (index < 0 || !ledger.holds(cell, index, peer, 0))
        return "there are results of pairs that are not in its cell";
      // Of one that corrects another the first is there already.
      if (seen.add(index) === (was !== null)) return "there are results that stand twice";
    }
  }
  return seen.size === cell.pairs ? pieces : `${seen.size} results for ${cell.pairs} pairs`;
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
    const { peer, port } = readRecord(records, at, verdict);
    // A worker counts the pairs of its cell.
    putPosition(records, at, first + space.indexOf(peer, 0, port));
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
