/**
 * A run from several places (`--from fra,lon`): as many coordinators as there are places, each with all of the space, a queue and a
 * ledger of its own, and what they take put together (join.ts). It decides who may be ahead of whom, and who looks again at what.
 *
 * Workers know nothing of it: to them each place is a run. Tested by test/lab/fleet.test.ts and test/sim/places.test.ts.
 */
import { newCounters } from "../../scan/engine/counters.ts";
import { RECORD_LENGTH } from "../../scan/probe/result-record.ts";
import type { Tell } from "../results/to-result.ts";
import { addTotals, noTotals } from "../results/totals.ts";
import { type EngineRun, type EngineRunHooks, isWanted } from "../run/engine-run.ts";
import type { Coordinator } from "./coordinator.ts";
import type { Among } from "./feed.ts";
import type { Join } from "./join.ts";
import type { Ledger } from "./ledger.ts";

/**
 * A place is so far ahead of another at most: what it has found is held, this many bytes of records, and as many beside them. As much
 * may wait for a second look: where places differ in everything, first looks are faster.
 */
const MOST_HELD = 1 << 26;
/**
 * How much work a cell is, in seconds: less than of a run from one place, because a second look waits for the cell that is under way,
 * and all places are to have it within a minute.
 */
const CELL_S = 20;

/** Pairs that are passed on at a time, so that outputs take them as they can. */
const MOST_SETTLED = 1 << 14;

export interface Places {
  readonly join: Join;
  /** Of each place. */
  readonly ledgers: readonly Ledger[];
  /** Pairs of the space. */
  readonly pairs: number;
  nowMs(): number;
  /** Starts the coordinator of a place. */
  start(place: number, among: Among, hooks: EngineRunHooks): Coordinator;
}

export function startPlaces(places: Places, hooks: EngineRunHooks): EngineRun {
  const { join, ledgers, pairs, nowMs } = places;
  const mostAhead = MOST_HELD / (RECORD_LENGTH * ledgers.length);
  let isEnding = false;
  const isOver = ({ left, underWay }: Ledger): boolean => left + underWay.size === 0;

  const tell: Tell = (verdict, established, from) => {
    if (from.some((each) => isWanted(hooks.wants, each.verdict.state, null)))
      hooks.onResult(verdict, verdict.atUs, established, from);
  };

  const amongOf = (place: number): Among => ({
    first: place * pairs,
    cellS: CELL_S,
    isAhead: () => {
      const { left } = ledgers[place];
      return join.backlog > mostAhead || ledgers.some(({ over }) => pairs - left - over > mostAhead);
    },
    isAwaited: () => !isEnding && (join.isWaiting || !ledgers.every(isOver)),
    setAside: (given) => join.giveUp(place, given),
  });

  const hooksOf = (place: number): EngineRunHooks => ({
    ...hooks,
    keepsRecords: true,
    wants: [],
    onRecords: (bytes, count, established) => {
      if (hooks.keepsRecords) hooks.onRecords(bytes, count, established);
      for (let i = 0; i < count; i++) join.take(bytes, i * RECORD_LENGTH, established);
    },
    onReport: () => {
      if (hooks.room() === undefined) join.settle(place, nowMs(), tell, MOST_SETTLED);
      if (!isEnding) lookAgain();
      hooks.onReport();
    },
  });

  const coordinators = ledgers.map((_, place) => places.start(place, amongOf(place), hooksOf(place)));

  function lookAgain(): void {
    const most = Math.min(...coordinators.map(({ perLook }) => perLook));
    const workers = Math.min(...coordinators.map((each) => each.workers));
    for (;;) {
      const next = join.again({
        most,
        underWay: most * Math.max(1, workers),
        nowMs: nowMs(),
        networkOf: ledgers[0].prefixOf,
        isFree: (network) => ledgers.every(({ isFree }) => isFree(network)),
      });
      if (next.length === 0) return;
      for (const { again } of coordinators) again(next);
    }
  }

  const stop = (): void => {
    isEnding = true;
    for (const each of coordinators) each.stop();
  };

  async function work(): Promise<void> {
    const ends = coordinators.map(({ finished }) =>
      // Whatever ends one place ends the run.
      finished.finally(() => {
        if (join.isWaiting || !ledgers.every(isOver)) stop();
      }),
    );
    const failed = (await Promise.allSettled(ends)).find(({ status }) => status === "rejected");
    for (const place of ledgers.keys()) join.settle(place, nowMs(), tell);
    join.rest(tell);
    hooks.onReport();
    if (failed?.status === "rejected") throw failed.reason;
  }

  return {
    finished: work(),
    reports: () => {
      const { started, ...counts } = newCounters();
      const sum = { ...noTotals(), ...counts };
      for (const report of coordinators.flatMap((each) => each.reports()))
        addTotals(sum, report.counts, report.receiveDrops);
      // What one place heard is not missed, however silent it is from another, and a second look replaces the first.
      const { doubts, silentTries, ...told } = join.totals;
      const { path } = sum;
      path.doubts = Math.min(path.doubts, doubts);
      path.burstDoubts = Math.min(path.burstDoubts, path.doubts);
      path.silentTries = Math.min(path.silentTries, silentTries);
      return [{ counts: { ...sum, ...told, started }, inFlight: 0, receiveDrops: sum.receiveDrops, mark: 0 }];
    },
    stop,
    kill: () => {
      isEnding = true;
      for (const each of coordinators) each.kill();
    },
  };
}
