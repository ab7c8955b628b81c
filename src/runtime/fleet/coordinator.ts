/**
 * The coordinator's side of a run: an EngineRun as the main thread's engine or a pool of workers is, only that SYNs leave from other
 * machines. It keeps the queue short of cells, takes what comes back, and adds again what was lost.
 *
 * The queue carries work and decides nothing: a cell's results are taken (take.ts) while the ledger has it under way, and then never
 * again. Nothing counts on the queue's events, which are trimmed; all is looked up.
 */
import { setTimeout as pause } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { type Job, Queue } from "bullmq";
import type { Redis } from "ioredis";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { newCounters } from "../../scan/engine/counters.ts";
import { formatSpan } from "../../scan/targets/address-range.ts";
import type { Space } from "../../scan/targets/space.ts";
import { addTotals, noTotals, readTotals, type Totals } from "../results/totals.ts";
import type { EngineRun, EngineRunHooks } from "../run/engine-run.ts";
import { nowUs } from "../system/clock.ts";
import { type Cell, type CellSettings, jobOf, openCell, sealCell, targetsOf } from "./cell.ts";
import { type CutCell, cellSize, type Ledger } from "./ledger.ts";
import { isTrouble, PREFIX } from "./redis.ts";
import {
  findKeys,
  foundKey,
  KEEP_S,
  keyOf,
  listWorkers,
  parseJson,
  queueName,
  RENEW_MS,
  type Run,
  readManifest,
  renewRun,
} from "./registry.ts";
import { CHANGED, fetchResults, takeResults } from "./take.ts";

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
  note(line: string): void;
}

const LOOK_MS = 50;
/** How often what changes slowly is looked at: who is there, who refuses what, what is lost. */
const SURVEY_MS = 1000;
/** The pairs a second that the first cells reckon with. */
const FIRST_RATE = 1000;
/** Cells under way for each worker: one that it has, and one that waits. */
const CELLS_PER_WORKER = 2;
/** How long the queue may take to be emptied at the end, in milliseconds. */
const LAST_MS = 5000;
/** A cell whose results do not reach this process as they were signed is probed again so often. */
const MOST_CHANGES = 2;
/** A time that does not keep the process from ending. */
const UNHELD = { ref: false };
/** Prefixes that are named of a cell that is set aside. */
const MOST_NAMED = 4;

/** @param hooks the scan's */
export function startCoordinator(coordination: Coordination, hooks: EngineRunHooks): EngineRun {
  const { redis, run, key, ledger, space, rate, note } = coordination;
  const queue = new Queue(queueName(run.id), { connection: redis, prefix: PREFIX });
  queue.on("error", () => {});
  const taken: Totals = noTotals();
  /** Counts of cells under way, as their workers tell them. */
  const partly = new Map<string, Totals>();
  let stopping = false;
  let over = false;
  let end: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let lastRate = 0;
  let slots = 0;
  let workers = 0;
  let pairsPerSecond = FIRST_RATE;
  let surveyAt = 0;
  let renewAt = 0;
  /** Workers of an earlier coordinator may still be at cells that are not adopted. */
  let others = false;
  /** How long they may be, in milliseconds. */
  let quietMs = run.leaseMs;
  /** How often a cell's results were not what its worker has signed. */
  const changes = new Map<string, number>();
  /** Cells that were delayed at the last survey. */
  let delayed: ReadonlySet<string> = new Set();
  /** Since when jobs of cells under way have been gone, in milliseconds of the monotonic clock. */
  const gone = new Map<string, number>();
  const nowMs = (): number => nowUs() / 1000;
  let told = "";
  const tell = (line: string): void => {
    if (line !== told) note(line);
    told = line;
  };

  /** Cells of an earlier coordinator: those that are whole go on, the rest of the queue is removed. */
  async function adopt(): Promise<void> {
    await redis.del(keyOf("stop", run.id));
    if (ledger.left === 0) return;
    const jobs = await queue.getJobs(["waiting", "active", "delayed", "completed", "failed"]);
    const isEnded = (await redis.del(keyOf("ended", run.id))) === 1;
    others ||= coordination.isResumed && jobs.length === 0 && !isEnded;
    if (jobs.length > 0) slots = (await queue.getGlobalConcurrency()) ?? 0;
    for (const job of jobs) {
      const id = job.id ?? "";
      // Adopted before Redis went away in the middle of this.
      if (ledger.underWay.has(id)) continue;
      const cell = openCell(job.data, key);
      const goesOn =
        coordination.isResumed &&
        typeof cell !== "string" &&
        jobOf(cell) === id &&
        ((await job.isCompleted()) || isOfNow(cell.settings));
      if (goesOn && ledger.adopt(cell)) continue;
      others ||= await job.isActive();
      // An earlier coordinator may have given a longer lease.
      quietMs = Math.max(quietMs, await redis.pttl(`${queue.toKey(id)}:lock`));
      // Its worker stops when it cannot renew the lock; a cell that stayed would be another worker's when it is found stalled.
      await redis.del(`${queue.toKey(id)}:lock`);
      await job.remove();
    }
    if (ledger.underWay.size === 0) slots = 0;
    if (!others) return;
    note(
      `cells of this run may still be under way: going on when they cannot be any more, in ${Math.ceil(quietMs / 1000)} s`,
    );
    await keeping(Promise.race([pause(quietMs), ended]));
  }

  async function renew(): Promise<void> {
    renewAt = nowMs() + RENEW_MS;
    if (!(await renewRun(redis, { ...run, decided: taken.decided })))
      throw new SynprobeError(ERROR_CODES.fleet, `run ${run.id} has been taken over by another coordinator`);
    if ((await redis.exists(keyOf("stop", run.id))) === 1 && !stopping) {
      note(`run ${run.id} was told to stop`);
      stopping = true;
    }
  }

  /** Waits for what may take longer than the run's key lasts. */
  async function keeping(wait: Promise<void>): Promise<void> {
    // What is wrong here is wrong in the next turn too, which says so.
    const renewing = setInterval(() => void renew().catch(() => {}), RENEW_MS);
    try {
      await wait;
    } finally {
      clearInterval(renewing);
    }
  }

  async function turn(): Promise<void> {
    if (nowMs() >= renewAt) await renew();
    await takeCompleted();
    if (nowMs() >= surveyAt) {
      surveyAt = nowMs() + SURVEY_MS;
      await survey();
    }
    if (!stopping) await topUp();
    hooks.onReport();
  }

  async function takeCompleted(): Promise<void> {
    for (const id of await queue.getRanges(["completed"], 0, -1)) {
      if (over) return;
      const job: Job | undefined = await queue.getJob(id);
      if (job === undefined) continue;
      const cell = ledger.underWay.get(id);
      const said = readManifest(job.returnvalue, key, run.id, id);
      // Taken already, or of a cell that an earlier coordinator had.
      const isTaken = cell === undefined || (await takeCell(id, cell, said));
      if (over) return;
      await job.remove();
      if (said !== undefined) await redis.del(foundKey(run.id, id, said.token));
      if (!isTaken) await add(cell);
    }
  }

  /** @returns false when the cell is to be probed again */
  async function takeCell(
    id: string,
    cell: CutCell,
    said: ReturnType<typeof readManifest>,
  ): Promise<boolean> {
    const totals = said === undefined ? undefined : readTotals(said.totals);
    if (said === undefined || totals === undefined) {
      setAside(id, cell, "its results are not signed with this run's key");
      return true;
    }
    const of = { space, redis, ledger, hooks };
    const found = await fetchResults(of, run.id, id, cell, said);
    if (over) return true;
    const isChanged = found === CHANGED && countChange(id) <= MOST_CHANGES;
    if (found === undefined || isChanged) return false;
    if (typeof found === "string") {
      setAside(id, cell, `${said.worker}: ${found}`);
      return true;
    }
    ledger.close(id);
    partly.delete(id);
    // Rates are not a sum over time.
    const { path, receiveDrops } = totals;
    addTotals(taken, { ...totals, path: { ...path, rate: 0 } }, receiveDrops);
    await keeping(takeResults(of, found));
    await redis.hdel(keyOf("progress", run.id), id);
    if (said.elapsedMs > 0) {
      const seen = (said.pairs * 1000) / said.elapsedMs;
      pairsPerSecond = (pairsPerSecond + seen) / 2;
    }
    return true;
  }

  function countChange(id: string): number {
    const count = (changes.get(id) ?? 0) + 1;
    changes.set(id, count);
    return count;
  }

  async function survey(): Promise<void> {
    const there = await listWorkers(redis);
    const able = there.filter(({ vantage }) => run.from === undefined || vantage === run.from);
    workers = able.length;
    if (workers === 0 && ledger.underWay.size + ledger.left > 0) {
      const where = run.from === undefined ? "" : ` at ${run.from}`;
      tell(`no worker${where} is there: waiting for one ("synprobe worker" starts it)`);
    }
    await readRefusals(able.map(({ id }) => id));
    for (const id of await queue.getRanges(["failed"], 0, -1)) {
      const job: Job | undefined = await queue.getJob(id);
      const cell = ledger.underWay.get(id);
      if (cell !== undefined) setAside(id, cell, job?.failedReason ?? "it failed");
      await job?.remove();
    }
    const counts = await redis.hgetall(keyOf("progress", run.id));
    partly.clear();
    for (const id of ledger.underWay.keys()) {
      const totals = readTotals(parseJson(counts[id]));
      if (totals !== undefined) partly.set(id, totals);
    }
    await endDelays();
    await addLost();
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

  /** A cell that every worker refuses is set aside. */
  async function readRefusals(able: readonly string[]): Promise<void> {
    const refusals = Object.entries(await redis.hgetall(keyOf("refused", run.id)));
    const reasonOf = new Map(refusals);
    const allRefuse = (what: string): boolean =>
      able.length > 0 && able.every((worker) => reasonOf.has(`${what} ${worker}`));
    for (const [id, cell] of ledger.underWay) {
      if (!allRefuse(id)) continue;
      const job: Job | undefined = await queue.getJob(id);
      // Somebody has it after all.
      if ((await job?.isActive()) === true) continue;
      setAside(id, cell, reasonOf.get(`${id} ${able[0]}`) ?? "");
      await job?.remove();
    }
    if (allRefuse("*"))
      throw new SynprobeError(ERROR_CODES.fleet, `no worker takes this run: ${reasonOf.get(`* ${able[0]}`)}`);
  }

  function setAside(id: string, cell: CutCell, why: string): void {
    const spans = ledger.spans(cell);
    const named = [...new Set(spans.map(formatSpan))];
    const more = named.length > MOST_NAMED ? ` and ${named.length - MOST_NAMED} more` : "";
    ledger.close(id);
    note(`not probed: ${cell.pairs} pairs in ${named.slice(0, MOST_NAMED).join(", ")}${more}: ${why}`);
  }

  /** Redis was emptied, or has forgotten what it had not written: whoever may have the cell is done with it one lease later. */
  async function addLost(): Promise<void> {
    for (const [id, cell] of ledger.underWay) {
      if ((await redis.exists(queue.toKey(id))) === 1) {
        gone.delete(id);
        continue;
      }
      const since = gone.get(id) ?? nowMs();
      gone.set(id, since);
      if (nowMs() - since < run.leaseMs) continue;
      gone.delete(id);
      tell("cells that Redis has lost are added again");
      await limit();
      await add(cell);
    }
  }

  async function topUp(): Promise<void> {
    if (workers === 0) return;
    if (slots === 0 || rate.maximum === Number.POSITIVE_INFINITY) {
      slots = workers;
      await limit();
    }
    while (ledger.left > 0 && ledger.underWay.size < CELLS_PER_WORKER * slots && !over) {
      const each = Math.min(pairsPerSecond, rate.maximum / slots);
      const cell = ledger.cut(cellSize(ledger.left, slots, each));
      if (cell === undefined) return;
      await add(cell);
    }
  }

  /** The rate is divided among so many cells at a time, and no more are probed. */
  async function limit(): Promise<void> {
    if (rate.maximum < Number.POSITIVE_INFINITY && slots > 0) await queue.setGlobalConcurrency(slots);
  }

  /** Whether a cell would be probed as one that is added now. */
  function isOfNow(settings: CellSettings): boolean {
    // Without a most, nobody has written down among how many workers the least is divided.
    const minRate = slots === 0 ? Math.min(settings.minRate, rate.minimum) : rate.minimum / slots;
    return isDeepStrictEqual(settings, { ...settingsNow(), minRate });
  }

  function settingsNow(): CellSettings {
    return {
      ...coordination.settings,
      minRate: rate.minimum / Math.max(slots, 1),
      ...(rate.maximum === Number.POSITIVE_INFINITY ? {} : { maxRate: rate.maximum / slots }),
    };
  }

  async function add(cut: CutCell): Promise<void> {
    const cell: Cell = {
      run: run.id,
      ...cut,
      targets: targetsOf(ledger.spans(cut)),
      settings: settingsNow(),
    };
    await queue.add("cell", sealCell(cell, key), { jobId: jobOf(cut) });
  }

  async function coordinate(): Promise<void> {
    let isAdopted = false;
    while (!over) {
      try {
        if (!isAdopted) await adopt();
        isAdopted = true;
        await turn();
        if (stopping || ledger.left + ledger.underWay.size === 0) return;
      } catch (error) {
        if (!isTrouble(error)) throw error;
        tell(`Redis: ${error.message}`);
      }
      await Promise.race([pause(LOOK_MS), ended]);
    }
  }

  /** Has workers hand back what they have. @returns whether all did, so that nothing is probed any more */
  async function recall(): Promise<boolean> {
    await redis.set(keyOf("stop", run.id), "1", "PX", run.leaseMs);
    await redis.del(keyOf("run", run.id));
    const untilMs = nowMs() + LAST_MS / 2;
    while ((await queue.getActiveCount()) > 0) {
      if (nowMs() > untilMs) return false;
      await pause(LOOK_MS);
    }
    return true;
  }

  /** Takes what has come, and removes what was this run's. Workers find out when they renew a lock. */
  async function close(): Promise<void> {
    try {
      const isQuiet = stopping ? await recall() : true;
      if (!over) await takeCompleted();
      partly.clear();
      hooks.onReport();
      await queue.obliterate({ force: true });
      if (stopping && isQuiet) await redis.set(keyOf("ended", run.id), "1", "EX", KEEP_S);
      // Pieces of results of those who died.
      const pieces = await findKeys(redis, foundKey(run.id, "*", "*"));
      await redis.del(
        ...pieces,
        queue.toKey("meta"),
        ...(["run", "refused", "progress", ...(stopping ? [] : (["stop"] as const))] as const).map((kind) =>
          keyOf(kind, run.id),
        ),
      );
    } catch (error) {
      if (!isTrouble(error)) throw error;
    }
  }

  const work = async (): Promise<void> => {
    try {
      // Redis may be away, and the run ends all the same.
      await Promise.race([coordinate(), ended.then(() => pause(over ? 0 : LAST_MS, undefined, UNHELD))]);
      await Promise.race([close(), pause(LAST_MS, undefined, UNHELD)]);
    } finally {
      over = true;
      partly.clear();
    }
  };

  return {
    finished: work(),
    reports: () => {
      const { started, ...counts } = newCounters();
      const sum: Totals = { ...counts, receiveDrops: 0, elapsedMs: 0 };
      for (const each of [taken, ...partly.values()]) addTotals(sum, each, each.receiveDrops);
      if (partly.size > 0) lastRate = sum.path.rate;
      sum.path.rate = lastRate;
      return [{ counts: { ...sum, started }, inFlight: 0, receiveDrops: sum.receiveDrops, mark: 0 }];
    },
    stop: () => {
      stopping = true;
      end();
    },
    kill: () => {
      over = true;
      end();
    },
  };
}
