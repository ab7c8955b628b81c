/**
 * The thread of a worker that talks to Redis: takes a cell, renews its lock and moves the fence as far as the lock is sure to last,
 * carries results. The main thread probes (work.ts): however busy that is, locks are renewed in time, and when they cannot be, the
 * fence stops it.
 *
 * A worker has some slots: when nearly all of a cell has been sent, the next one is taken into another, and the last tries of the first
 * do not keep it idle. Cells are asked for, not waited for: a blocking command that is left behind by a broken connection can park a
 * worker for good.
 */
import { createHash, randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import type { MessagePort } from "node:worker_threads";
import { type Job, UnrecoverableError, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { boottimeMs } from "../../link/sys/libc.ts";
import { moveFence } from "../system/fence.ts";
import { type Cell, jobOf, OTHER_KEY, openCell } from "./cell.ts";
import { type Chunk, packChunk } from "./chunk.ts";
import { isTrouble, openRedis, PREFIX, reasonOf } from "./redis.ts";
import {
  type FleetWorker,
  findKeys,
  foundKey,
  inTurn,
  isRunSigned,
  KEEP_RESULTS_S,
  KEEP_S,
  keyOf,
  listRuns,
  noteSurvival,
  queueName,
  type Run,
  renewWorker,
  signManifest,
  signWorker,
} from "./registry.ts";
import { createUnkept } from "./unkept.ts";

/** Structured-cloneable. */
export interface CourierTask {
  readonly kind: "fleet-courier";
  readonly url: string;
  readonly key: string;
  readonly worker: Pick<FleetWorker, "id" | "vantage" | "version">;
  /** The fence of the cell in each slot (system/fence.ts). */
  readonly fences: readonly SharedArrayBuffer[];
}

/** Of the cell in a slot. */
export type OfCell =
  /** Packed here, so that the thread that probes need not. */
  | { readonly kind: "chunk"; readonly chunk: Chunk }
  /** Plain counts, as readTotals reads them. */
  | { readonly kind: "progress"; readonly totals: object }
  /** Nearly all of it has been sent: the next may be taken. */
  | { readonly kind: "ending" }
  | CellOutcome;

type CellOutcome =
  | { readonly kind: "done"; readonly pairs: number; readonly elapsedMs: number; readonly totals: object }
  /** The cell is not probed here, or no further: for good, or not now. */
  | { readonly kind: "refused" | "unable"; readonly reason: string }
  | { readonly kind: "aborted" };

export type ToCourier =
  | (OfCell & { readonly slot: number })
  /** Take no further cell; with `now` hand back those under way. */
  | { readonly kind: "leave"; readonly now: boolean };

export type FromCourier =
  | { readonly kind: "cell"; readonly slot: number; readonly cell: Cell }
  /** The cell is another's: stop, and say "aborted". */
  | { readonly kind: "abort"; readonly slot: number }
  | { readonly kind: "carried"; readonly slot: number }
  | { readonly kind: "note"; readonly line: string }
  /** It is known to the fleet. */
  | { readonly kind: "there" }
  | { readonly kind: "left" };

const LOOK_MS = 250;
/** The same while results are being taken. */
const SOON_MS = 50;
/** How long leaving may take, in milliseconds. */
const LEAVE_MS = 1000;
/** A lock is renewed so many times while it lasts. */
const RENEWALS = 6;
/**
 * The part of a lock's time for which the fence holds: less than the last renewal gives, because Redis may lose what it had not
 * written, and then knows only of the renewal before; and less by the time that a batch takes.
 */
const SURE = 0.7;
/** A cell is given up when so many workers have died with it. */
const MOST_DEATHS = 3;
/** A cell that this worker refuses goes back for so long, in milliseconds; the coordinator ends it where this clock is ahead. */
const REFUSED_MS = 2000;

/** A cell's results wait at most until the next one's are there. */
const MOST_WAITING = 2;

interface Taken {
  readonly run: Run;
  readonly job: Job;
  readonly token: string;
  readonly sinceMs: number;
}

interface Slot {
  readonly number: number;
  readonly fence: SharedArrayBuffer;
  /** The cell that it has: its run and pairs. */
  has: { readonly run: string; readonly pairs: number } | undefined;
  /** It has none, or nearly all of it has been sent. */
  isEnding: boolean;
  /** Its cell has come to its end. */
  over: Promise<void>;
  onMessage(message: OfCell): void;
  /** Gives up its cell. */
  abandon(): void;
}

export async function runCourier(
  { url, key, worker, fences }: CourierTask,
  port: MessagePort,
): Promise<void> {
  const post = (message: FromCourier): void => port.postMessage(message);
  const note = (line: string): void => post({ kind: "note", line });
  const redis = await openRedis(url, note, { isPatient: true });
  const queues = new Map<string, Worker>();
  /** This worker's last cells of a run, until their results are taken. */
  const waiting = new Map<string, Set<Pick<Taken, "job" | "token">>>();
  const told = new Set<string>();
  const unkept = createUnkept();
  let presence: FleetWorker = { ...worker, cells: 0, signature: signWorker(key, worker.id) };
  let isKnown = false;
  /** The run whose cell was taken last. */
  let last = "";
  let leaving = false;
  let failure: { readonly error: unknown } | undefined;
  /** When the connection broke last. */
  let brokenMs = 0;
  const slots = fences.map(
    (fence, number): Slot => ({
      number,
      fence,
      has: undefined,
      isEnding: true,
      over: Promise.resolve(),
      onMessage: () => {},
      abandon: () => {},
    }),
  );
  /** Something has changed that the next cell may have waited for. */
  let wake = (): void => {};
  const tellOnce = (line: string): void => {
    if (!told.has(line)) note(line);
    told.add(line);
  };

  /** What Redis refuses; that it does not answer is said by openRedis. */
  const tellTrouble = (error: Error): void => {
    if (error.name === "ReplyError") tellOnce(`Redis: ${reasonOf(error.message)}`);
  };

  port.on("message", (message: ToCourier) => {
    if (message.kind !== "leave") return slots[message.slot].onMessage(message);
    leaving = true;
    wake();
    if (message.now) for (const slot of slots) slot.abandon();
  });

  // Redis may come back as it was before a cell was taken: nothing is sent until its lock is found to be there.
  redis.on("close", () => {
    brokenMs = boottimeMs();
    for (const { fence } of slots) moveFence(fence, 0);
  });

  /** What this worker is at. */
  const seen = (): FleetWorker => {
    const [first, ...others] = slots.flatMap(({ has }) => has ?? []);
    if (first === undefined) return presence;
    const same = others.filter(({ run }) => run === first.run);
    return { ...presence, run: first.run, pairs: same.reduce((sum, { pairs }) => sum + pairs, first.pairs) };
  };

  /** Whatever else happens, it is seen that this worker is there. */
  async function appear(): Promise<void> {
    while (!leaving || slots.some(({ has }) => has !== undefined)) {
      try {
        await renewWorker(redis, seen());
        if (!isKnown) post({ kind: "there" });
        isKnown = true;
        for (const { has, abandon } of slots)
          if (has !== undefined && (await redis.exists(keyOf("stop", has.run))) === 1) abandon();
        if (!leaving && (await redis.exists(keyOf("drain", worker.id))) === 1) {
          await redis.del(keyOf("drain", worker.id));
          note("told to leave when its cell is done");
          leaving = true;
        }
      } catch (error) {
        if (!isTrouble(error)) throw error;
        tellTrouble(error);
      }
      await pause(LOOK_MS * 2);
    }
  }

  function queueOf(run: Run): Worker {
    const known = queues.get(run.id);
    if (known?.opts.lockDuration === run.leaseMs) return known;
    // Of an earlier coordinator, with another lease: a lock must last as long as the fence reckons.
    known?.close(true).catch(tellTrouble);
    const queue = new Worker(queueName(run.id), null, {
      connection: redis,
      prefix: PREFIX,
      autorun: false,
      lockDuration: run.leaseMs,
      stalledInterval: Math.ceil(run.leaseMs / RENEWALS),
      // Deaths are counted here: BullMQ would fail the job without a word to the coordinator's books.
      maxStalledCount: 1e6,
    });
    queue.on("error", tellTrouble);
    queue.startStalledCheckTimer().catch(tellTrouble);
    queues.set(run.id, queue);
    return queue;
  }

  async function refuse(run: string, what: string, reason: string): Promise<void> {
    await redis.hset(keyOf("refused", run), `${what} ${worker.id}`, reason);
    await redis.expire(keyOf("refused", run), KEEP_S);
  }

  /** Whether a cell is completed by what this worker has found, and that has not been taken. */
  async function isWaiting(queue: Worker, { job, token }: Pick<Taken, "job" | "token">): Promise<boolean> {
    const manifest = await redis.hget(queue.toKey(job.id ?? ""), "returnvalue");
    return manifest?.includes(token) === true;
  }

  /**
   * Of how many cells of a run this worker's results have not been taken. The cells say so, not the results: those that no coordinator
   * wants stay behind when it dies, or leaves pairs out since.
   */
  async function countWaiting({ id: run }: Run, queue: Worker): Promise<number> {
    const cells = waiting.get(run) ?? new Set();
    for (const cell of cells) if (!(await isWaiting(queue, cell))) cells.delete(cell);
    if (cells.size === 0) waiting.delete(run);
    return cells.size;
  }

  /** The next cell of any run; undefined when there is none. */
  async function find(): Promise<Taken | undefined> {
    const runs = await listRuns(redis);
    for (const [id, queue] of queues) {
      if (runs.some((run) => run.id === id)) continue;
      queues.delete(id);
      waiting.delete(id);
      unkept.forget(id);
      await queue.close(true);
      // What a run has left whose coordinator died waits for --resume, but not for ever. Locks keep the time that they have.
      for (const each of await findKeys(redis, queue.toKey("*")))
        if ((await redis.ttl(each)) === -1) await redis.expire(each, KEEP_RESULTS_S);
      // A script of the queue's makes this key again when it comes after the run's end; of a queue that is in use there is more in it.
      const meta = queue.toKey("meta");
      const { version, concurrency } = await redis.hgetall(meta);
      if (version === undefined && concurrency === undefined) await redis.del(meta);
    }
    for (const run of inTurn(runs, last)) {
      if (run.from !== undefined && run.from !== worker.vantage) continue;
      if (!isRunSigned(key, run)) {
        tellOnce(`run ${run.id} of ${run.by} is not probed: ${OTHER_KEY}`);
        await refuse(run.id, "*", OTHER_KEY);
        continue;
      }
      const queue = queueOf(run);
      if ((await countWaiting(run, queue)) >= MOST_WAITING) continue;
      const token = randomUUID();
      const sinceMs = boottimeMs();
      const job: Job | undefined = await queue.getNextJob(token, { block: false });
      if (job === undefined) continue;
      last = run.id;
      return { run, job, token, sinceMs };
    }
    return undefined;
  }

  /** Carries a cell to its end, whatever that is. */
  async function carry(slot: Slot, { run, job, token, sinceMs }: Taken): Promise<void> {
    const { number, fence } = slot;
    const id = job.id ?? "";
    const handBack = (): Promise<void> => job.moveToDelayed(Date.now() + REFUSED_MS, token).catch(() => {});
    const survived = Number((await redis.hget(keyOf("survived", run.id), id)) ?? 0);
    const deaths = job.stalledCounter - survived;
    if (deaths >= MOST_DEATHS) {
      await job.moveToFailed(new UnrecoverableError(`${deaths} workers have died with it`), token);
      return;
    }
    if ((await redis.hexists(keyOf("refused", run.id), `${id} ${worker.id}`)) === 1) return handBack();
    const cell = openCell(job.data, key);
    if (typeof cell === "string" || cell.run !== run.id || jobOf(cell) !== id) {
      const reason = typeof cell === "string" ? cell : "it is another's";
      tellOnce(`a cell of run ${run.id} is not probed: ${reason}`);
      await refuse(run.id, id, reason);
      return handBack();
    }
    slot.has = { run: run.id, pairs: cell.pairs };
    const results = foundKey(run.id, id, token);
    const digest = createHash("sha256");
    let chunks = 0;
    let isHeld = true;
    let pushed: Promise<unknown> = Promise.resolve();
    const abandon = (): void => {
      isHeld = false;
      moveFence(fence, 0);
      post({ kind: "abort", slot: number });
    };
    slot.abandon = abandon;
    const outcome = new Promise<CellOutcome>((resolve) => {
      slot.onMessage = (message) => {
        if (message.kind === "chunk") {
          const packed = packChunk(message.chunk);
          digest.update(packed);
          const field = String(chunks++);
          // By its number: a command that is sent again after a broken connection changes nothing.
          pushed = pushed
            .then(() => redis.multi().hset(results, field, packed).expire(results, KEEP_RESULTS_S).exec())
            .then(() => post({ kind: "carried", slot: number }));
          pushed.catch(abandon);
        } else if (message.kind === "progress") {
          redis.hset(keyOf("progress", run.id), id, JSON.stringify(message.totals)).catch(() => {});
        } else if (message.kind === "ending") {
          slot.isEnding = true;
          wake();
        } else resolve(message);
      };
    });
    if (sinceMs > brokenMs) moveFence(fence, sinceMs + SURE * run.leaseMs);
    post({ kind: "cell", slot: number, cell });
    const over = new AbortController();
    let isLost = false;
    const renewing = renew(job, token, run, fence, over.signal).then((wasLost) => {
      isLost ||= wasLost;
      if (wasLost) abandon();
    });
    const end = await outcome;
    try {
      await pushed;
      if (end.kind === "done" && isHeld) {
        const said = { token, worker: worker.id, chunks, digest: digest.digest("hex") };
        const { pairs, elapsedMs, totals } = end;
        const manifest = signManifest(key, run.id, id, { ...said, pairs, elapsedMs, totals });
        await job.moveToCompleted(manifest, token, false).catch(async (error: unknown) => {
          // Sent again after a broken connection it finds no lock, because it was done the first time.
          if (!isTrouble(error) || !(await isWaiting(queueOf(run), { job, token }))) throw error;
        });
        waiting.set(run.id, (waiting.get(run.id) ?? new Set()).add({ job, token }));
        const rate = elapsedMs > 0 ? Math.round((pairs * 1000) / elapsedMs) : 0;
        presence = { ...presence, cells: presence.cells + 1, rate };
      } else {
        await redis.del(results);
        if (end.kind === "refused") await refuse(run.id, id, end.reason);
        if (end.kind === "refused" || end.kind === "unable") await handBack();
        else await job.moveToWait(token).catch(() => {});
      }
    } catch (error) {
      if (!isTrouble(error)) throw error;
      const full = unkept.count(run.id, id, error);
      isLost = full === undefined;
      // The lock is another's, or Redis has forgotten the cell: so does this worker.
      await redis.del(results).catch(() => {});
      if (full === undefined) return;
      tellOnce(`results of run ${run.id} are lost: ${full.lack}`);
      if (full.isLast) await refuse(run.id, id, full.lack).catch(tellTrouble);
      await handBack();
    } finally {
      over.abort();
      moveFence(fence, 0);
      slot.onMessage = () => {};
      slot.abandon = () => {};
      slot.has = undefined;
      await renewing;
      if (isLost) await noteSurvival(redis, run.id, id).catch(tellTrouble);
    }
  }

  /** @returns whether the lock was lost */
  async function renew(
    job: Job,
    token: string,
    { leaseMs }: Run,
    fence: SharedArrayBuffer,
    over: AbortSignal,
  ): Promise<boolean> {
    while (!over.aborted) {
      await pause(leaseMs / RENEWALS, undefined, { signal: over }).catch(() => {});
      if (over.aborted) return false;
      const askedMs = boottimeMs();
      try {
        if ((await job.extendLock(token, leaseMs)) !== 1) return !over.aborted;
        if (!over.aborted) moveFence(fence, askedMs + SURE * leaseMs);
      } catch (error) {
        if (!isTrouble(error)) throw error;
        if (/lock|Missing/i.test(error.message)) return !over.aborted;
      }
    }
    return false;
  }

  const appearing = appear();
  const tellOrFail = (error: unknown): void => {
    if (isTrouble(error)) tellOnce(`Redis: ${reasonOf(error.message)}`);
    else {
      failure = { error };
      leaving = true;
    }
  };
  while (!leaving) {
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const free = slots.find(({ has }) => has === undefined);
    try {
      const taken = free !== undefined && slots.every(({ isEnding }) => isEnding) ? await find() : undefined;
      if (free !== undefined && taken !== undefined) {
        free.isEnding = false;
        free.over = carry(free, taken)
          .catch(tellOrFail)
          .finally(() => {
            free.isEnding = true;
            wake();
          });
        continue;
      }
    } catch (error) {
      tellOrFail(error);
    }
    await Promise.race([woken, pause(waiting.size > 0 ? SOON_MS : LOOK_MS)]);
  }
  await Promise.all(slots.map(({ over }) => over));
  if (failure !== undefined) throw failure.error;
  await appearing;
  await leave(redis, queues, worker.id);
  post({ kind: "left" });
}

/** At the end; what cannot be removed in time expires. */
async function leave(redis: Redis, queues: ReadonlyMap<string, Worker>, id: string): Promise<void> {
  const closing = [...queues.values()].map((queue) => queue.close(true));
  const removal = Promise.all([redis.del(keyOf("worker", id)), ...closing]);
  await Promise.race([removal.catch(() => {}), pause(LEAVE_MS)]);
  redis.disconnect();
}
