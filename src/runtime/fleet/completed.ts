/**
 * What comes back from the queue: cells that are completed, whose results are taken (take.ts) while the ledger has them under way, and
 * never again.
 *
 * Tested by test/runtime/fleet/completed.test.ts and test/lab/fleet.test.ts.
 */
import type { Job } from "bullmq";
import { addTotals, noTotals, readTotals, type Totals } from "../results/totals.ts";
import type { EngineRunHooks } from "../run/engine-run.ts";
import type { Coordinating, Feed } from "./feed.ts";
import type { CutCell } from "./ledger.ts";
import { foundKey, keyOf, type Manifest, readManifest } from "./registry.ts";
import { CHANGED, fetchResults, takeResults } from "./take.ts";

export interface Completed {
  /** Counts of all that was taken. */
  readonly totals: Totals;
  /** Pairs a second of one worker, by the cells that were taken last; undefined before the first. */
  readonly pairsPerSecond: number | undefined;
  /**
   * Takes a completed cell and removes it.
   * @param meanwhile called when it is known how fast it was: its worker is to have another one before this one is looked through
   */
  take(id: string, meanwhile: () => Promise<void>): Promise<void>;
}

/** A cell whose results do not reach this process as they were signed is probed again so often. */
const MOST_CHANGES = 2;

/** @param onTaken called with a cell whose results are the run's now */
export function createCompleted(
  { redis, run, key, ledger, space, queue, among, isOver }: Coordinating,
  { add, setAside }: Feed,
  hooks: EngineRunHooks,
  onTaken: (id: string) => void,
): Completed {
  const taken: Totals = noTotals();
  let perSecond: number | undefined;
  /** How often a cell's results were not what its worker has signed. */
  const changes = new Map<string, number>();

  async function take(id: string, meanwhile: () => Promise<void>): Promise<void> {
    const job: Job | undefined = await queue.getJob(id);
    if (job === undefined) return;
    const cell = ledger.underWay.get(id);
    const said = readManifest(job.returnvalue, key, run.id, id);
    // A few pairs here and there say nothing of a rate.
    if (said !== undefined && said.elapsedMs > 0 && cell !== undefined && cell.again === undefined) {
      const seen = (said.pairs * 1000) / said.elapsedMs;
      perSecond = ((perSecond ?? seen) + seen) / 2;
    }
    await meanwhile();
    // Taken already, or of a cell that an earlier coordinator had.
    const isTaken = cell === undefined || (await takeCell(id, cell, said));
    if (isOver()) return;
    await job.remove();
    if (said !== undefined) await redis.del(foundKey(run.id, id, said.token));
    if (!isTaken) await add(cell);
  }

  /** @returns false when the cell is to be probed again */
  async function takeCell(id: string, cell: CutCell, said: Manifest | undefined): Promise<boolean> {
    const totals = said === undefined ? undefined : readTotals(said.totals);
    if (said === undefined || totals === undefined) {
      setAside(id, cell, "its results are not signed with this run's key");
      return true;
    }
    const of = { space, redis, ledger, first: among.first, hooks };
    const found = await fetchResults(of, run.id, id, cell, said);
    if (isOver()) return true;
    const isChanged = found === CHANGED && countChange(id) <= MOST_CHANGES;
    if (found === undefined || isChanged) return false;
    if (typeof found === "string") {
      setAside(id, cell, `${said.worker}: ${found}`);
      return true;
    }
    // The run may have ended, and its last cells be taken, while this one was looked through.
    if (!ledger.close(id)) return true;
    onTaken(id);
    // Rates are not a sum over time.
    const { path, receiveDrops } = totals;
    addTotals(taken, { ...totals, path: { ...path, rate: 0 } }, receiveDrops);
    await takeResults(of, found);
    await redis.hdel(keyOf("progress", run.id), id);
    return true;
  }

  function countChange(id: string): number {
    const count = (changes.get(id) ?? 0) + 1;
    changes.set(id, count);
    return count;
  }

  return {
    totals: taken,
    get pairsPerSecond() {
      return perSecond;
    },
    take,
  };
}
