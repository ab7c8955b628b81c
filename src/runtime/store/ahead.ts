/**
 * A store that is ahead of the clock: what is found now would lie before what it has already. Each result would then begin an interval of
 * its own, and a watch that is started anew would tell the same change again. Tested by test/runtime/store/ahead.test.ts.
 */
import { duration, utc } from "../../report/figures.ts";
import { type Store, storeError } from "./database.ts";
import { num } from "./record.ts";

/** How far the clock of the machine that made a run may be ahead of this one's, in milliseconds. */
export const SKEW_MS = 600_000;

/** Before the first packet: nobody could use what comes after. @throws {SynprobeError} `ERR_STORE` for a store that is ahead */
export function refuseAhead(store: Store, nowMs: number): void {
  // Of the intervals, not the runs: those of files that say less than they have, and of resumed runs, may end before their results.
  // No index has their ends, and a million takes 40 ms.
  const newestMs = num(store.prepare("SELECT max(last_ms) AS ms FROM intervals").get(), "ms");
  if (newestMs <= nowMs + SKEW_MS) return;
  throw storeError(
    `store ${store.path} has results of ${utc(newestMs)} UTC, which is yet to come: this machine's clock is behind (it says ${utc(nowMs)} UTC), or an earlier run's was ahead. Put the clock right, or give a new store: no run can be taken out of this one, which takes further ones from that time on`,
  );
}

/**
 * For a process that keeps its time when the clock is set back (system/clock.ts): says so, once for each time that it is.
 * @returns takes the time that the process keeps, and the clock's, whenever it is to look
 */
export function createSetBack(tell: (message: string) => void): (keptMs: number, nowMs: number) => void {
  let isTold = false;
  return (keptMs, nowMs) => {
    const isBack = keptMs > nowMs + SKEW_MS;
    if (isBack && !isTold)
      tell(
        `the clock has been set back by ${duration(keptMs - nowMs)}, to ${utc(nowMs)} UTC: this watch goes on by the time from before, so that its store is in order. If that was wrong, the store has results that are yet to come, and no other run takes it before then: end the watch and start it with a new store`,
      );
    isTold = isBack;
  };
}
