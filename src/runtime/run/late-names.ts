/**
 * A scan some of whose names are still looked up when it begins: what is known is probed first, and what is found meanwhile after it, in
 * rounds with a plan each. They are one run to whoever looks on: its totals are those of all.
 *
 * Not here: what belongs to which round (plan/plan.ts). Tested by test/lab/names.test.ts too.
 */
import type { ScanSummary, TargetFault } from "../../scan/probe/result.ts";
import { createPositionSet } from "../../scan/targets/positions.ts";
import type { Plan } from "../plan/plan.ts";
import type { RunningScan, ScanHooks } from "./running-scan.ts";
import type { OpenScan } from "./scan.ts";

/**
 * @param first the open scan of `firstPlan`
 * @param open opens the scan of a later plan; also told of one without pairs, for which it opens nothing
 */
export function scanLateNames(
  first: OpenScan,
  firstPlan: Plan,
  open: (plan: Plan) => Promise<OpenScan | undefined>,
): OpenScan {
  let scan = first;
  let plan = firstPlan;
  return {
    get means() {
      return first.means;
    },
    get receiveBuffer() {
      return first.receiveBuffer;
    },
    settle: async () => first.settle?.(),
    close: () => scan.close(),
    run,
  };

  function run(hooks: ScanHooks): RunningScan {
    let running = scan.run(hooks);
    let isStopped = false;
    let stopWaiting = (): void => {};
    const stopped = new Promise<undefined>((resolve) => {
      stopWaiting = () => {
        isStopped = true;
        resolve(undefined);
      };
    });
    const faults: TargetFault[] = [...plan.faults];
    let pairs = 0;
    let hosts = 0;
    /** Pairs of a plan whose scan is being opened. */
    let ahead = 0;

    async function followNames(): Promise<void> {
      await running.finished;
      if (plan.pending === undefined || isStopped) return;
      const next = await Promise.race([plan.pending.next(), stopped]);
      if (next === undefined) return;
      pairs += plan.space.total;
      hosts += plan.space.hosts - plan.knownHosts;
      plan = next;
      ahead = next.space.total;
      faults.push(...next.faults);
      hooks.onFaults?.(next.faults);
      const opened = await open(next);
      if (opened === undefined) return;
      scan = opened;
      if (isStopped) return;
      const { startedMs, ...findings } = running.summary();
      const totals = running.totals();
      running = scan.run(hooks, {
        marks: Array.from({ length: scan.means.workers }, () => 0),
        above: createPositionSet(),
        decided: 0,
        totals,
        startedMs,
        before: { pairs, hosts: hosts - next.knownHosts, findings },
      });
      ahead = 0;
      await followNames();
    }

    const summary = (): ScanSummary => {
      const known = running.summary();
      return { ...known, unfinished: known.unfinished + ahead + (plan.pending?.pairs ?? 0), faults };
    };
    return {
      finished: followNames().then(summary),
      summary,
      progress: () => {
        const known = running.progress();
        const total = known.total + ahead + (plan.pending?.pairs ?? 0);
        return {
          ...known,
          total,
          ...(plan.pending === undefined ? {} : { lookingUp: plan.pending.unresolved() }),
        };
      },
      marks: () => running.marks(),
      totals: () => running.totals(),
      unresolved: () => running.unresolved(),
      stop: () => {
        stopWaiting();
        running.stop();
      },
      kill: () => {
        stopWaiting();
        running.kill();
      },
    };
  }
}
