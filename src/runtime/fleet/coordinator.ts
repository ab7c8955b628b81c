/**
 * The coordinator's side of a run: an EngineRun as the main thread's engine or a pool of workers is, only that SYNs leave from other
 * machines. It says that it is there, looks who else is, and ends the run.
 *
 * What the queue is given: feed.ts. What comes back: completed.ts. The queue carries work and decides nothing; nothing counts on its
 * events, which are trimmed; all is looked up.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type Job, Queue } from "bullmq";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { newCounters } from "../../scan/engine/counters.ts";
import { addTotals, readTotals, type Totals } from "../results/totals.ts";
import type { EngineRun, EngineRunHooks } from "../run/engine-run.ts";
import { nowUs } from "../system/clock.ts";
import { createCompleted } from "./completed.ts";
import { type Coordinating, type Coordination, createFeed } from "./feed.ts";
import { type CutCell, FIRST_RATE, LAST_S } from "./ledger.ts";
import { isTrouble, PREFIX, reasonOf } from "./redis.ts";
import {
  findKeys,
  foundKey,
  isWorkerSigned,
  KEEP_S,
  keyOf,
  listWorkers,
  parseJson,
  queueName,
  RENEW_MS,
  renewRun,
} from "./registry.ts";

const LOOK_MS = 50;
/** How often what changes slowly is looked at: who is there, who refuses what, what is lost. */
const SURVEY_MS = 1000;
/** How long the queue may take to be emptied at the end, in milliseconds. */
const LAST_MS = 5000;
/** A time that does not keep the process from ending. */
const UNHELD = { ref: false };

export interface Coordinator extends EngineRun {
  /** Has pairs that were decided probed once more, before all others. */
  again(pairs: readonly number[]): void;
  /** Workers that are there, and how many pairs one of them is to look at again at a time. */
  readonly workers: number;
  readonly perLook: number;
}

/** A second look is so much work, in seconds, and so many pairs at least and at most. */
const LOOK_S = 10;
const [FEWEST_AGAIN, MOST_AGAIN] = [64, 1 << 14];

/** @param hooks the scan's */
export function startCoordinator(coordination: Coordination, hooks: EngineRunHooks): Coordinator {
  const { redis, run, key, ledger, among, note } = coordination;
  const queue = new Queue(queueName(run.id), { connection: redis, prefix: PREFIX });
  queue.on("error", () => {});
  /** Counts of cells under way, as their workers tell them. */
  const partly = new Map<string, Totals>();
  /** When they were begun, in milliseconds of this clock: the earliest that what they tell comes to. */
  const begunMs = new Map<string, number>();
  /** Second looks that are not in the queue yet. */
  const looks: CutCell[] = [];
  let stopping = false;
  let over = false;
  let end: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let lastRate = 0;
  let workers = 0;
  let surveyAt = 0;
  let renewAt = 0;
  const nowMs = (): number => nowUs() / 1000;
  let told = "";
  const tell = (line: string): void => {
    if (line !== told) note(line);
    told = line;
  };

  const coordinating: Coordinating = {
    ...coordination,
    queue,
    ended,
    isOver: () => over,
    tell,
  };
  const feed = createFeed(coordinating);
  const completed = createCompleted(coordinating, feed, hooks, (id) => partly.delete(id));

  async function renew(): Promise<void> {
    renewAt = nowMs() + RENEW_MS;
    if (!(await renewRun(redis, { ...run, decided: Math.min(completed.totals.decided, run.pairs) })))
      throw new SynprobeError(ERROR_CODES.fleet, `run ${run.id} has been taken over by another coordinator`);
    if ((await redis.exists(keyOf("stop", run.id))) === 1 && !stopping) {
      note(`run ${run.id} was told to stop`);
      stopping = true;
    }
  }

  async function turn(): Promise<void> {
    if (nowMs() >= renewAt) await renew();
    await takeAll();
    if (nowMs() >= surveyAt) {
      surveyAt = nowMs() + SURVEY_MS;
      await survey();
    } else if (isNearEnd()) await readProgress();
    for (; looks.length > 0; looks.shift()) await feed.add(looks[0]);
    await topUp([]);
    hooks.onReport();
  }

  /** How large the next cells are to be follows from how far the workers are. */
  function isNearEnd(): boolean {
    const each = perSecond();
    return each === undefined || (ledger.left > 0 && ledger.left < 2 * LAST_S * workers * each);
  }

  /** Pairs a second of one worker: until a cell is taken, by what is told of those under way. Of silent ones that is nothing. */
  function perSecond(): number | undefined {
    if (completed.pairsPerSecond !== undefined || partly.size === 0) return completed.pairsPerSecond;
    const sum = (count: (of: Totals) => number): number =>
      [...partly.values()].reduce((all, each) => all + count(each), 0);
    const seen = (sum(({ decided }) => decided) * 1000) / sum(({ elapsedMs }) => elapsedMs);
    return seen > 0 ? seen : FIRST_RATE;
  }

  /** Takes what is completed. Workers have other cells meanwhile. */
  async function takeAll(): Promise<void> {
    const ids = await queue.getRanges(["completed"], 0, -1);
    for (const id of ids) {
      if (over) return;
      await completed.take(id, () => topUp(ids));
    }
  }

  /** @param ids of completed cells */
  async function topUp(ids: readonly string[]): Promise<void> {
    const completed = new Set(ids.filter((id) => ledger.underWay.has(id)));
    if (!stopping) await feed.topUp(workers, { perSecond: perSecond(), completed, begunMs });
  }

  async function survey(): Promise<void> {
    const there = await listWorkers(redis);
    const able = there.filter(({ vantage }) => run.from === undefined || vantage === run.from);
    workers = able.filter((worker) => isWorkerSigned(key, worker)).length;
    if (able.length === 0 && ledger.underWay.size + ledger.left > 0) {
      const where = run.from === undefined ? "" : ` at ${run.from}`;
      tell(`no worker${where} is there: waiting for one ("synprobe worker" starts it)`);
    }
    await feed.readRefusals(able.map(({ id }) => id));
    for (const id of await queue.getRanges(["failed"], 0, -1)) {
      const job: Job | undefined = await queue.getJob(id);
      const cell = ledger.underWay.get(id);
      if (cell !== undefined) feed.setAside(id, cell, job?.failedReason ?? "it failed");
      await job?.remove();
    }
    await readProgress();
    await feed.endDelays();
    await feed.addLost();
  }

  async function readProgress(): Promise<void> {
    const counts = await redis.hgetall(keyOf("progress", run.id));
    partly.clear();
    for (const id of begunMs.keys()) if (!ledger.underWay.has(id)) begunMs.delete(id);
    for (const id of ledger.underWay.keys()) {
      const totals = readTotals(parseJson(counts[id]));
      if (totals === undefined) continue;
      partly.set(id, totals);
      const sinceMs = nowMs() - totals.elapsedMs;
      begunMs.set(id, Math.min(sinceMs, begunMs.get(id) ?? sinceMs));
    }
  }

  async function coordinate(): Promise<void> {
    let isAdopted = false;
    while (!over) {
      try {
        if (!isAdopted) await feed.adopt();
        isAdopted = true;
        await turn();
        if (stopping || (ledger.left + ledger.underWay.size === 0 && !among.isAwaited())) return;
      } catch (error) {
        if (!isTrouble(error)) throw error;
        tell(`Redis: ${reasonOf(error.message)}`);
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
      await takeAll();
      partly.clear();
      hooks.onReport();
      await queue.obliterate({ force: true });
      if (stopping && isQuiet) await redis.set(keyOf("ended", run.id), "1", "EX", KEEP_S);
      // Pieces of results of those who died.
      const pieces = await findKeys(redis, foundKey(run.id, "*", "*"));
      await redis.del(
        ...pieces,
        queue.toKey("meta"),
        ...(
          ["run", "refused", "progress", "survived", ...(stopping ? [] : (["stop"] as const))] as const
        ).map((kind) => keyOf(kind, run.id)),
      );
    } catch (error) {
      if (!isTrouble(error)) throw error;
    }
  }

  const work = async (): Promise<void> => {
    // A turn may take longer than the run's key lasts: results wait for room, Redis is far away. What is wrong the next turn says.
    const renewing = setInterval(() => {
      renew().catch(() => {
        renewAt = 0;
      });
    }, RENEW_MS);
    try {
      // Redis may be away, and the run ends all the same.
      const last = ended.then(() => pause(over ? 0 : LAST_MS, undefined, UNHELD));
      await Promise.race([coordinate(), last]).finally(() => clearInterval(renewing));
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
      const underWay = over ? [] : [...partly.values()];
      for (const each of [completed.totals, ...underWay]) addTotals(sum, each, each.receiveDrops);
      if (underWay.length > 0) lastRate = sum.path.rate;
      sum.path.rate = lastRate;
      return [{ counts: { ...sum, started }, inFlight: 0, receiveDrops: sum.receiveDrops, mark: 0 }];
    },
    get workers() {
      return workers;
    },
    get perLook() {
      const each = Math.min(perSecond() ?? FIRST_RATE, coordination.rate.maximum / Math.max(1, workers));
      return Math.max(FEWEST_AGAIN, Math.min(MOST_AGAIN, Math.floor(LOOK_S * each)));
    },
    again: (pairs) => {
      looks.push(ledger.again(pairs));
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
