/**
 * Who is there: the runs and the workers of a fleet, as keys of Redis that expire unless they are renewed, so that whoever has died is
 * gone without anybody's doing. Times are Redis's and durations: no machine's clock is compared with another's.
 *
 *     run:ID       a run, its coordinator renews it        stop:ID    it is to end
 *     worker:ID    a worker, it renews itself              drain:ID   it is to finish its cell and leave
 *     ended:ID     it was stopped, and nobody probes its cells any more
 *     refused:RUN  why a worker does not probe a cell      progress:RUN  counts of cells under way
 *     survived:RUN how often a cell's worker was found alive after its lock had run out
 *     found:…      results of a cell that nobody has taken
 */
import type { Redis } from "ioredis";
import * as v from "valibot";
import { isSigned, sign } from "./cell.ts";
import { PREFIX } from "./redis.ts";

/** Between two renewals of a run's or a worker's key, and how long it lasts without. */
export const RENEW_MS = 3000;
const LASTS_MS = 12_000;
/** How long what nobody takes is kept, in seconds: a week of results, a day of the rest. */
export const KEEP_RESULTS_S = 7 * 86_400;
export const KEEP_S = 86_400;

const RunShape = v.object({
  id: v.string(),
  /** Who coordinates it: a random word of the process, and what people call it. */
  token: v.string(),
  by: v.string(),
  /** The only vantage that may probe it. */
  from: v.optional(v.string()),
  /** Pairs of all, and those taken. */
  pairs: v.number(),
  decided: v.number(),
  /** How long a worker may keep a cell without renewing its lock, in milliseconds. */
  leaseMs: v.pipe(v.number(), v.minValue(1000)),
  signature: v.string(),
});
export type Run = v.InferOutput<typeof RunShape>;

const WorkerShape = v.object({
  id: v.string(),
  vantage: v.string(),
  version: v.string(),
  /** What it is at, if anything: a run and pairs of its cell. */
  run: v.optional(v.string()),
  pairs: v.optional(v.number()),
  /** Cells it has probed, and pairs a second of the last one. */
  cells: v.number(),
  rate: v.optional(v.number()),
  /** Of its name: it has the key. Those of an earlier version may have it. */
  signature: v.optional(v.string()),
});
export type FleetWorker = v.InferOutput<typeof WorkerShape>;

type RunTerms = Pick<Run, "id" | "leaseMs" | "from">;
const termsOf = ({ id, leaseMs, from = "" }: RunTerms): string[] => ["run", id, String(leaseMs), from];
export const signRun = (key: string, run: RunTerms): string => sign(key, ...termsOf(run));
export const isRunSigned = (key: string, run: Run): boolean => isSigned(run.signature, key, ...termsOf(run));

export const signWorker = (key: string, id: string): string => sign(key, "worker", id);
export const isWorkerSigned = (key: string, { id, signature }: FleetWorker): boolean =>
  signature === undefined || isSigned(signature, key, "worker", id);

export const keyOf = (
  kind: "run" | "worker" | "stop" | "ended" | "drain" | "refused" | "progress" | "survived",
  id: string,
): string => `${PREFIX}:${kind}:${id}`;
/** The results of one attempt at a cell. */
export const foundKey = (run: string, job: string, token: string): string =>
  `${PREFIX}:found:${run}:${job}:${token}`;
export const queueName = (run: string): string => `run-${run}`;

/** Makes a run's key. @returns false when another coordinator has it */
export async function claimRun(redis: Redis, run: Run): Promise<boolean> {
  return (await redis.set(keyOf("run", run.id), JSON.stringify(run), "PX", LASTS_MS, "NX")) !== null;
}

/** Renews a run's key. @returns false when another coordinator has it */
export async function renewRun(redis: Redis, run: Run): Promise<boolean> {
  const known = read(RunShape, await redis.get(keyOf("run", run.id)));
  if (known !== undefined && known.token !== run.token) return false;
  await redis.set(keyOf("run", run.id), JSON.stringify(run), "PX", LASTS_MS);
  return true;
}

export async function renewWorker(redis: Redis, worker: FleetWorker): Promise<void> {
  await redis.set(keyOf("worker", worker.id), JSON.stringify(worker), "PX", LASTS_MS);
}

/** Has a worker leave when its cell is done, or a run end. */
export async function askToEnd(redis: Redis, kind: "run" | "worker", id: string): Promise<void> {
  await redis.set(keyOf(kind === "run" ? "stop" : "drain", id), "1", "EX", KEEP_S);
}

/** A lock that ran out while Redis was away, or its worker was stopped, is no worker's death. */
export async function noteSurvival(redis: Redis, run: string, cell: string): Promise<void> {
  await redis.hincrby(keyOf("survived", run), cell, 1);
  await redis.expire(keyOf("survived", run), KEEP_S);
}

/** How long ago it was renewed, in milliseconds. */
export async function lastSeenMs(redis: Redis, kind: "run" | "worker", id: string): Promise<number> {
  return LASTS_MS - (await redis.pttl(keyOf(kind, id)));
}

export const listRuns = (redis: Redis): Promise<Run[]> => list(redis, "run", RunShape);
export const listWorkers = (redis: Redis): Promise<FleetWorker[]> => list(redis, "worker", WorkerShape);

/** The same runs, from the one after that which was served last, so that none takes all workers. @param runs in order of their names */
export function inTurn(runs: readonly Run[], last: string): readonly Run[] {
  const isBefore = ({ id }: Run): boolean => id <= last;
  return [...runs.filter((run) => !isBefore(run)), ...runs.filter(isBefore)];
}

async function list<T>(
  redis: Redis,
  kind: "run" | "worker",
  shape: v.GenericSchema<unknown, T>,
): Promise<T[]> {
  const keys = await findKeys(redis, keyOf(kind, "*"));
  if (keys.length === 0) return [];
  const texts = await redis.mget(keys);
  return texts.flatMap((text) => read(shape, text) ?? []);
}

/** Keys that fit a pattern, in order. */
export async function findKeys(redis: Redis, pattern: string): Promise<string[]> {
  const keys = new Set<string>();
  let cursor = "0";
  do {
    const [next, found] = await redis.scan(cursor, "MATCH", pattern, "COUNT", 1000);
    for (const key of found) keys.add(key);
    cursor = next;
  } while (cursor !== "0");
  return [...keys].sort();
}

function read<T>(shape: v.GenericSchema<unknown, T>, text: string | null): T | undefined {
  const parsed = v.safeParse(shape, parseJson(text));
  return parsed.success ? parsed.output : undefined;
}

/** What a key holds; undefined for text that is no JSON. */
export function parseJson(text: string | null | undefined): unknown {
  try {
    return JSON.parse(text ?? "null");
  } catch {
    return undefined;
  }
}

/** What a worker says when it has probed a cell: a job's return value. */
const ManifestShape = v.object({
  token: v.string(),
  worker: v.string(),
  chunks: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  pairs: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  elapsedMs: v.pipe(v.number(), v.minValue(0)),
  totals: v.unknown(),
  /** SHA-256 of all chunks. */
  digest: v.string(),
  signature: v.string(),
});
export type Manifest = v.InferOutput<typeof ManifestShape>;

const saidBy = (
  run: string,
  job: string,
  { token, worker, digest, chunks, pairs, elapsedMs, totals }: Omit<Manifest, "signature">,
): string[] => ["found", run, job, token, worker, digest, JSON.stringify([chunks, pairs, elapsedMs, totals])];
export const signManifest = (
  key: string,
  run: string,
  job: string,
  said: Omit<Manifest, "signature">,
): Manifest => ({
  ...said,
  signature: sign(key, ...saidBy(run, job, said)),
});

/** @returns undefined for one that nobody with the key has made */
export function readManifest(value: unknown, key: string, run: string, job: string): Manifest | undefined {
  const parsed = v.safeParse(ManifestShape, value);
  if (!parsed.success) return undefined;
  return isSigned(parsed.output.signature, key, ...saidBy(run, job, parsed.output))
    ? parsed.output
    : undefined;
}
