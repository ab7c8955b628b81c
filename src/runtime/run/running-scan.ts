/**
 * A scan while it runs: adds the engines' reports to what a journal remembers, and makes results, progress and the summary of
 * them. The same wherever the engines run (engine-run.ts).
 */
import type {
  Established,
  PortResult,
  PortState,
  RateDecision,
  ScanProgress,
  ScanSummary,
  TargetFault,
} from "../../scan/probe/result.ts";
import type { Verdict } from "../../scan/probe/verdict.ts";
import { createOrder } from "../../scan/targets/permutation.ts";
import type { PositionSet } from "../../scan/targets/positions.ts";
import type { Address } from "../../wire/address.ts";
import type { Plan } from "../plan/plan.ts";
import { type Findings, longestHeldUp, mergeFindings } from "../results/findings.ts";
import { createNaming } from "../results/to-result.ts";
import { addTotals, lossSoFar, noTotals, pathFindings, type Totals } from "../results/totals.ts";
import { nowUs, readWallClock, wallMs } from "../system/clock.ts";
import type { EngineRun, EngineRunHooks } from "./engine-run.ts";
import type { Means } from "./means.ts";
import { type ScanOptions, whyNoControls } from "./scan-options.ts";

export interface ScanHooks {
  /** The states, or states corrected, that `onResult` wants; all when there is a journal. */
  readonly wants: readonly PortState[];
  onResult(result: PortResult): void;
  /** A quick look at a verdict that is wanted: when it says true, no result is made of it. */
  passes?(verdict: Verdict): boolean;
  /** The same of whoever takes the verdict itself, in `onResult`'s place. @param timeUs when it fell, in microseconds since the Unix epoch */
  takes?(verdict: Verdict, timeUs: number): boolean;
  /** Every result as a record, before `onResult` gets it, with what a record has no room for. */
  onRecords?(bytes: Uint8Array, count: number, established?: Established): void;
  /** With `capture`: whole blocks of a pcapng file, to be written after its start (wire/pcapng.ts). Valid until it returns. */
  onCapture?(blocks: Uint8Array): void;
  /** Changes of the rate, oldest first for each worker; told about every 200 ms. */
  onRateChanges?(decisions: readonly RateDecision[]): void;
  /** Targets that turned out to be wrong while the run goes on. */
  onFaults?(faults: readonly TargetFault[]): void;
  /** About every 200 ms: every result up to here has been handed over. */
  onCheckpoint?(marks: readonly number[], totals: Totals): void;
  /** Undefined, or a promise that settles when there is room for more results. No probe is sent until then. */
  room?(): Promise<void> | undefined;
}

/** What is known of a run that is resumed. */
export interface PastRun {
  readonly marks: readonly number[];
  /** Decided positions that the marks do not cover. */
  readonly above: PositionSet;
  /** Pairs decided. */
  readonly decided: number;
  /** Pairs of the run that are not decided and not within the plan any more. */
  readonly excluded?: number;
  readonly totals: Totals;
  readonly startedMs: number;
  /** What the totals tell of targets that are not in this plan. */
  readonly before?: { readonly pairs: number; readonly hosts: number; readonly findings: Findings };
}

export interface RunningScan {
  /** Settles with the totals, also after `stop`; the links are closed then. Rejects when a link or worker died. */
  readonly finished: Promise<ScanSummary>;
  /** What is known so far; when `finished` has settled, either way, the end. */
  summary(): ScanSummary;
  progress(): ScanProgress;
  /** How far each worker is, and the totals so far: for a journal's last checkpoint. */
  marks(): readonly number[];
  totals(): Totals;
  /** Neighbours that have not answered ARP or neighbour discovery; undefined when the kernel asked them (raw-ip). */
  unresolved(): readonly Address[] | undefined;
  /** Stops sending; what is under way may still be answered for half a second or a second. Results that fall are still handed over. */
  stop(): void;
  /** Ends at once. */
  kill(): void;
}

/** What every part of a scan is told, before it runs … */
export interface ScanContext {
  readonly plan: Plan;
  readonly options: ScanOptions;
  readonly means: Means;
}

/** … and when it runs. */
export interface RunContext extends ScanContext {
  readonly hooks: ScanHooks;
  readonly past: PastRun | undefined;
}

/**
 * Starts the engines and keeps the books.
 * @param start starts the engines with the hooks that it is given
 * @param close closes the link when the engines have ended; workers close their own
 */
export function startScan(
  { plan, options, means, hooks, past }: RunContext,
  start: (hooks: EngineRunHooks) => EngineRun,
  close = (): void => {},
): RunningScan {
  readWallClock();
  const startUs = nowUs();
  const startedMs = past?.startedMs ?? wallMs(startUs);
  const toResult = createNaming({ services: options.services, namesOf: plan.namesOf });
  const count = createOrder(plan.space.total, options.order).count;
  const { pairs = 0, hosts = 0, findings = {} } = past?.before ?? {};
  const excluded = past?.excluded ?? 0;
  const total = pairs + count - excluded;
  let interrupted = false;

  const engines = start({
    onRecords: (bytes, count, established) => hooks.onRecords?.(bytes, count, established),
    onResult: (verdict, timeUs, established, from) => {
      // Of several places more is to be looked at than one verdict.
      if (from === undefined && hooks.passes?.(verdict) === true) return;
      if (from === undefined && established === undefined && hooks.takes?.(verdict, timeUs) === true) return;
      hooks.onResult(toResult(verdict, timeUs, established, from));
    },
    onCapture: (blocks) => hooks.onCapture?.(blocks),
    onRateChanges: (decisions) => hooks.onRateChanges?.(decisions),
    onReport: () => hooks.onCheckpoint?.(marks(), totals()),
    keepsRecords: hooks.onRecords !== undefined,
    wants: hooks.wants,
    room: () => hooks.room?.(),
  });

  /** JSON has no Infinity: a worker that is done stands at the end. */
  const ports = means.link === "fleet" ? undefined : means.ports;
  const isWithoutControls = whyNoControls(options, ports) !== undefined;
  const marks = (): number[] => engines.reports().map(({ mark }) => Math.min(mark, count));

  function totals(): Totals {
    const sum = past === undefined ? noTotals() : structuredClone(past.totals);
    // A rate is no sum over time: the last part of the run that sent anything has found it.
    const { sent, path } = sum;
    const rateBefore = path.rate;
    path.rate = 0;
    for (const { counts, receiveDrops } of engines.reports()) addTotals(sum, counts, receiveDrops);
    if (sum.sent === sent) path.rate = rateBefore;
    sum.sent += means.compared?.sent ?? 0;
    sum.elapsedMs = Math.round(sum.elapsedMs * 1000 + nowUs() - startUs) / 1000;
    return sum;
  }

  function summary(): ScanSummary {
    const sum = totals();
    return {
      hosts: hosts + plan.space.hosts,
      open: sum.states.open,
      closed: sum.states.closed,
      filtered: sum.states.filtered,
      reasons: sum.reasons,
      unfinished: total - sum.decided,
      ...(excluded === 0 ? {} : { excluded }),
      sent: sum.sent,
      retransmitted: sum.retransmitted,
      ...(isWithoutControls ? {} : { controls: sum.path.controlProbes }),
      received: sum.received,
      late: sum.late,
      ignored: sum.ignored,
      receiveDrops: sum.receiveDrops,
      sendErrors: sum.sendErrors,
      // Of a path on which nothing answered nothing is known.
      ...(sum.states.open + sum.states.closed > 0 ? { path: pathFindings(sum) } : {}),
      ...mergeFindings([findings, ...engines.reports(true)]),
      faults: plan.faults,
      interrupted,
      elapsedMs: sum.elapsedMs,
      startedMs,
    };
  }

  return {
    finished: engines.finished.finally(close).then(summary),
    summary,
    marks,
    totals,
    unresolved: () =>
      means.link === "packet"
        ? engines.reports(true).flatMap(({ unresolved = [] }) => unresolved)
        : undefined,
    progress: () => {
      const sum = totals();
      return {
        elapsedMs: sum.elapsedMs,
        total,
        decided: sum.decided,
        open: sum.states.open,
        closed: sum.states.closed,
        filtered: sum.states.filtered,
        sent: sum.sent,
        retransmitted: sum.retransmitted,
        received: sum.received,
        receiveDrops: sum.receiveDrops,
        sendErrors: Object.values(sum.sendErrors).reduce((a, b) => a + b, 0),
        inFlight: engines.reports().reduce((all, { inFlight }) => all + inFlight, 0),
        workers: means.workers,
        ...longestHeldUp(engines.reports().map(({ heldUp }) => (heldUp === undefined ? {} : { heldUp }))),
        rate: sum.path.rate,
        loss: lossSoFar(sum),
        rates: engines.reports().flatMap(({ rate }) => (rate === undefined ? [] : [rate])),
      };
    },
    stop: () => {
      interrupted = true;
      engines.stop();
    },
    kill: () => {
      interrupted = true;
      engines.kill();
    },
  };
}
