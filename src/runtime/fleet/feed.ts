/**
 * What the queue is given: cells, cut as they are wanted, those of an earlier coordinator, those that were lost; and which are set aside
 * because nobody probes them.
 *
 * How large a cell is: ledger.ts. What comes back: completed.ts.
 * Tested by test/runtime/fleet/feed.test.ts, queue.test.ts there and test/lab/fleet.test.ts.
 */
import { setTimeout as pause } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { Job, Queue } from "bullmq";
import type { Redis } from "ioredis";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { MOST_RATE } from "../../scan/engine/timing-templates.ts";
import { formatSpan } from "../../scan/targets/address-range.ts";
import type { Space } from "../../scan/targets/space.ts";
import { nowUs } from "../system/clock.ts";
import { type Cell, type CellSettings, jobOf, openCell, sealCell, targetsOf } from "./cell.ts";
import { busyWorkers, CELL_S, type CutCell, cellSize, type Ledger } from "./ledger.ts";
import { isTrouble } from "./redis.ts";
import { keyOf, type Run } from "./registry.ts";

/** What a place is told of the others, where a run has several (places.ts). */
export interface Among {
  /** The position of its first pair. */
  readonly first: number;
  /** How much work a cell may be, in seconds. */
  readonly cellS: number;
  /** It is so far ahead of another that it waits. */
  isAhead(): boolean;
  /** It may get more to do, though it has no pair left. */
  isAwaited(): boolean;
  /** Nobody takes a second look at these pairs. */
  setAside(pairs: ReadonlySet<number>): void;
}

/** Of a run that has one. */
export const ALONE: Among = {
  first: 0,
  cellS: CELL_S,
  isAhead: () => false,
  isAwaited: () => false,
  setAside: () => {},
};

export interface Coordination {
  readonly redis: Redis;
  readonly run: Run;
  readonly key: string;
  readonly ledger: Ledger;
  readonly space: Space;
  /** Without the bounds of the rate, which follow from these. */
  readonly settings: Omit<CellSettings, "minRate" | "maxRate">;
  readonly rate: { readonly minimum: number; readonly maximum: number };
  /** An earlier coordinator's cells may be under way, and those whose jobs are gone still be probed. */
  readonly isResumed: boolean;
  readonly among: Among;
  note(line: string): void;
}

/** What the coordinator's parts share. */
export interface Coordinating extends Coordination {
  readonly queue: Queue;
  /** Settles when the run is to end. */
  readonly ended: Promise<void>;
  isOver(): boolean;
  /** Says it, unless it was said last. */
  tell(line: string): void;
}

/** How far the workers are. */
export interface Pace {
  /** Pairs a second of one worker; undefined until one has told. */
  readonly perSecond: number | undefined;
  /** Cells under way that are probed. */
  readonly completed: ReadonlySet<string>;
  /** When cells under way were begun, in milliseconds of the monotonic clock, of those that have told. */
  readonly begunMs: ReadonlyMap<string, number>;
}

export interface Feed {
  /** Cells of an earlier coordinator: those that are whole go on, the rest of the queue is removed. */
  adopt(): Promise<void>;
  /**
   * Keeps the queue short of cells, and never empty.
   * @param workers that are there
   */
  topUp(workers: number, pace: Pace): Promise<void>;
  /** Adds a cell; a second look goes before all others. */
  add(cell: CutCell): Promise<void>;
  /**
   * Sets aside what all workers refuse: those that are there, and those that may come back.
   * @throws {SynprobeError} `ERR_FLEET` when that is the run
   */
  readRefusals(there: readonly string[]): Promise<void>;
  setAside(id: string, cell: CutCell, why: string): void;
  endDelays(): Promise<void>;
  addLost(): Promise<void>;
}

/** Cells under way for each worker: one that it has, and one that waits, which is cut when it is known how fast they are. */
const CELLS_PER_WORKER = 2;
/** What BullMQ keeps of a queue as long as it is there. */
const LISTS = ["wait", "paused", "active", "delayed", "completed", "failed", "meta"];
/** Prefixes that are named of a cell that is set aside. */
const MOST_NAMED = 4;
/** A worker that was there so short a time ago, in microseconds, may come back, by another name too: its machine starts again. */
const BACK_US = 300_000_000;

export function createFeed(coordinating: Coordinating): Feed {
  const { redis, run, key, ledger, rate, queue, ended, among, note, tell, isOver } = coordinating;
  const isCapped = rate.maximum < MOST_RATE;
  /** Cells that are probed at a time, among which the rate is divided. */
  let slots = 0;
  /** Workers of an earlier coordinator may still be at cells that are not adopted. */
  let others = false;
  /** How long they may be, in milliseconds. */
  let quietMs = run.leaseMs;
  /** Cells that were delayed at the last survey. */
  let delayed: ReadonlySet<string> = new Set();
  /** Since when jobs of cells under way have been gone, in milliseconds of the monotonic clock. */
  const gone = new Map<string, number>();
  /** When each worker was there last, in microseconds of the monotonic clock. */
  const seenUs = new Map<string, number>();

  async function adopt(): Promise<void> {
    // Refusals were of what an earlier coordinator has asked for, and of its key.
    await redis.del(keyOf("stop", run.id), keyOf("refused", run.id));
    if (ledger.left === 0 && !among.isAwaited()) return;
    const jobs = await queue.getJobs(["waiting", "active", "delayed", "completed", "failed"]);
    const isEnded = (await redis.del(keyOf("ended", run.id))) === 1;
    others ||= coordinating.isResumed && jobs.length === 0 && !isEnded;
    if (!isCapped) await queue.removeGlobalConcurrency();
    else if (jobs.length > 0) slots = (await queue.getGlobalConcurrency()) ?? 0;
    for (const job of jobs) {
      const id = job.id ?? "";
      // Adopted before Redis went away in the middle of this.
      if (ledger.underWay.has(id)) continue;
      const cell = openCell(job.data, key);
      const goesOn =
        coordinating.isResumed &&
        typeof cell !== "string" &&
        jobOf(cell) === id &&
        ((await job.isCompleted()) || isOfNow(cell.settings));
      if (goesOn && ledger.adopt(cell)) continue;
      others ||= await job.isActive();
      // An earlier coordinator may have given a longer lease.
      quietMs = Math.max(quietMs, await redis.pttl(`${queue.toKey(id)}:lock`));
      // Its worker stops when it cannot renew the lock; a cell that stayed would be another worker's when it is found stalled.
      // One that was taken since it was looked at has a lock, too.
      if ((await redis.del(`${queue.toKey(id)}:lock`)) === 1) others = true;
      await job.remove();
    }
    if (ledger.underWay.size === 0) slots = 0;
    if (!others) return;
    note(
      `cells of this run may still be under way: going on when they cannot be any more, in ${Math.ceil(quietMs / 1000)} s`,
    );
    await Promise.race([pause(quietMs), ended]);
  }

  /** A worker that refuses a cell delays it by its own clock, which may be far ahead. */
  async function endDelays(): Promise<void> {
    const ids = await queue.getRanges(["delayed"], 0, -1);
    for (const id of ids) {
      const job: Job | undefined = delayed.has(id) ? await queue.getJob(id) : undefined;
      // A worker may have been faster.
      await job?.promote().catch((error: unknown) => {
        if (!isTrouble(error)) throw error;
      });
    }
    delayed = new Set(ids);
  }

  async function readRefusals(there: readonly string[]): Promise<void> {
    const refusals = Object.entries(await redis.hgetall(keyOf("refused", run.id)));
    const reasonOf = new Map(refusals);
    const nowAtUs = nowUs();
    for (const worker of there) seenUs.set(worker, nowAtUs);
    for (const [worker, atUs] of seenUs) if (nowAtUs - atUs > BACK_US) seenUs.delete(worker);
    if (there.length === 0) return;
    const reason = (what: string, worker: string): string | undefined =>
      reasonOf.get(`* ${worker}`) ?? reasonOf.get(`${what} ${worker}`);
    /** Workers that do not refuse it: undefined when one of them is there. */
    const awaitedFor = (what: string): readonly string[] | undefined => {
      const others = [...seenUs.keys()].filter((worker) => reason(what, worker) === undefined);
      return others.some((worker) => there.includes(worker)) ? undefined : others;
    };
    const awaited = awaitedFor("*");
    if (awaited?.length === 0)
      throw new SynprobeError(ERROR_CODES.fleet, `no worker takes this run: ${reason("*", there[0])}`);
    const late = new Set(awaited);
    for (const [id, cell] of ledger.underWay) {
      const others = awaitedFor(id);
      if (others === undefined) continue;
      for (const worker of others) late.add(worker);
      if (others.length > 0) continue;
      const job: Job | undefined = await queue.getJob(id);
      // Somebody has it after all.
      if ((await job?.isActive()) === true) continue;
      const able = there.find((worker) => !reasonOf.has(`* ${worker}`)) ?? there[0];
      setAside(id, cell, reason(id, able) ?? "");
      await job?.remove();
    }
    if (late.size > 0)
      tell(
        `the workers that are there refuse some of it: waiting whether ${[...late].join(", ")} comes back`,
      );
  }

  function setAside(id: string, cell: CutCell, why: string): void {
    const spans = ledger.spans(cell);
    const named = [...new Set(spans.map(formatSpan))];
    const more = named.length > MOST_NAMED ? ` and ${named.length - MOST_NAMED} more` : "";
    ledger.close(id);
    if (cell.again !== undefined) among.setAside(cell.again.pairs);
    note(
      `not probed${cell.again === undefined ? "" : " again"}: ${cell.pairs} pairs in ${named.slice(0, MOST_NAMED).join(", ")}${more}: ${why}`,
    );
  }

  /** Redis was emptied, or has forgotten what it had not written: whoever may have the cell is done with it one lease later. */
  async function addLost(): Promise<void> {
    await limit();
    await persist();
    const cells = [...ledger.underWay];
    const isLost = await Promise.all(cells.map(([id]) => isNowhere(id)));
    for (const [i, [id, cell]] of cells.entries()) {
      if (!isLost[i]) {
        gone.delete(id);
        continue;
      }
      // Whoever has it still is not to renew its lock.
      await redis.del(queue.toKey(id), `${queue.toKey(id)}:lock`);
      const since = gone.get(id) ?? nowUs() / 1000;
      gone.set(id, since);
      if (nowUs() / 1000 - since < run.leaseMs) continue;
      gone.delete(id);
      tell("cells that Redis has lost are added again");
      await add(cell);
    }
  }

  /** A job that is in no list is nobody's, though its data be there. */
  async function isNowhere(id: string): Promise<boolean> {
    const [exists, state] = await Promise.all([redis.exists(queue.toKey(id)), queue.getJobState(id)]);
    return exists === 0 || state === "unknown";
  }

  /** Workers have what is the queue's expire when they find no run that it belongs to: its coordinator may have been away. */
  async function persist(): Promise<void> {
    const names = [...LISTS, ...ledger.underWay.keys()];
    await Promise.all(names.map((name) => redis.persist(queue.toKey(name))));
  }

  async function topUp(workers: number, pace: Pace): Promise<void> {
    if (workers === 0) return;
    if (!isCapped) slots = workers;
    else if (slots === 0) slots = workers;
    const { perSecond, completed } = pace;
    const wanted = (perSecond === undefined ? 1 : CELLS_PER_WORKER) * slots;
    const isShort = (): boolean => ledger.underWay.size - completed.size < wanted;
    while (ledger.left > 0 && isShort() && !among.isAhead() && !isOver()) {
      const { left } = ledger;
      const busyS = perSecond === undefined ? undefined : busyWith(perSecond, pace);
      const most = rate.maximum / slots;
      const size = cellSize({ left, workers: slots, perSecond, busyS, cellS: among.cellS, most });
      const cell = ledger.cut(size);
      if (cell === undefined) return;
      await add(cell);
    }
  }

  function busyWith(perSecond: number, { completed, begunMs }: Pace): number[] {
    const begun: number[] = [];
    const waiting: number[] = [];
    for (const [id, { pairs }] of ledger.underWay) {
      if (completed.has(id)) continue;
      const sinceMs = begunMs.get(id);
      const workS = pairs / perSecond;
      if (sinceMs === undefined) waiting.push(workS);
      else begun.push(Math.max(0, workS - (nowUs() / 1000 - sinceMs) / 1000));
    }
    return busyWorkers(slots, begun, waiting);
  }

  /** The rate is divided among so many cells at a time, and no more are probed. Redis may forget it, and new cells not wait for those that are lost. */
  async function limit(): Promise<void> {
    if (isCapped && slots > 0) await queue.setGlobalConcurrency(slots);
  }

  /** Whether a cell would be probed as one that is added now. */
  function isOfNow(settings: CellSettings): boolean {
    // Without a most, nobody has written down among how many workers the least is divided.
    const minRate = slots === 0 ? Math.min(settings.minRate, rate.minimum) : rate.minimum / slots;
    return isDeepStrictEqual(settings, { ...settingsNow(), minRate });
  }

  function settingsNow(): CellSettings {
    return {
      ...coordinating.settings,
      minRate: rate.minimum / Math.max(slots, 1),
      ...(isCapped ? { maxRate: rate.maximum / slots } : {}),
    };
  }

  async function add(cut: CutCell): Promise<void> {
    await limit();
    const { from, to, pairs } = cut;
    const cell: Cell = {
      run: run.id,
      from,
      to,
      pairs,
      targets: targetsOf(ledger.spans(cut)),
      settings: settingsNow(),
    };
    await queue.add("cell", sealCell(cell, key), { jobId: jobOf(cut), lifo: cut.again !== undefined });
  }

  return { adopt, topUp, add, readRefusals, setAside, endDelays, addLost };
}
