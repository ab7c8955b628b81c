/**
 * Engines running over links, as the rest of the program sees them: in the main thread (main-thread.ts) or in workers
 * (worker-pool.ts). Types, and the one question that both ask of every verdict.
 */
import type { EngineCounters } from "../../scan/engine/counters.ts";
import type {
  Established,
  LimitedHost,
  LossBurstFindings,
  PortState,
  RateDecision,
  RateMetrics,
  ScanProgress,
  TimedOutage,
} from "../../scan/probe/result.ts";
import type { Verdict } from "../../scan/probe/verdict.ts";
import type { Address } from "../../wire/address.ts";
import type { SeenFrom } from "../results/to-result.ts";

/** How far one engine is. */
export interface EngineReport {
  readonly counts: Readonly<EngineCounters>;
  readonly inFlight: number;
  readonly receiveDrops: number;
  readonly heldUp?: ScanProgress["heldUp"];
  /** Every position of its share below this one is decided; Infinity when all are. */
  readonly mark: number;
  /** Neighbours that have not answered ARP or neighbour discovery: of a packet link, in its last report. */
  readonly unresolved?: readonly Address[];
  /** What was found out about hosts and about the path: in its last report. */
  readonly rstLimited?: readonly LimitedHost[];
  readonly outages?: readonly TimedOutage[];
  readonly bursts?: LossBurstFindings;
  /** How it finds its rate; absent before its first report. */
  readonly rate?: RateMetrics;
}

export interface EngineRun {
  /** Settles when everything is decided or the run was stopped; rejects when a link or a worker died. */
  readonly finished: Promise<void>;
  /**
   * The last report of each engine.
   * @param isLast of one in this thread, with what it has found out about hosts and the path, which takes a look at each host
   */
  reports(isLast?: boolean): readonly EngineReport[];
  /** Sends nothing new, waits a little for answers, ends. */
  stop(): void;
  /** Ends at once. */
  kill(): void;
}

export interface EngineRunHooks {
  /** Whether `onRecords` is to be called. */
  readonly keepsRecords: boolean;
  /** States that `onResult` wants. */
  readonly wants: readonly PortState[];
  /** Records, before `onResult` gets them. With `established`: one record, and what it has no room for. */
  onRecords(bytes: Uint8Array, count: number, established?: Established): void;
  /**
   * A verdict that is wanted, valid until this returns; it fell at `timeUs`, in microseconds since the Unix epoch.
   * @param from of a run from several places: what each has found
   */
  onResult(verdict: Verdict, timeUs: number, established?: Established, from?: readonly SeenFrom[]): void;
  /** Blocks of a pcapng file. */
  onCapture(blocks: Uint8Array): void;
  /** Changes of an engine's rate, oldest first. */
  onRateChanges(decisions: readonly RateDecision[]): void;
  /** Every result that the reports count has been handed over. */
  onReport(): void;
  /** Undefined, or a promise that settles when there is room for more results. No probe is sent until then. */
  room(): Promise<void> | undefined;
}

/** Whether a verdict is wanted: for its state, or for the one that it corrects. */
export const isWanted = (wants: readonly PortState[], state: PortState, was: PortState | null): boolean =>
  wants.includes(state) || (was !== null && wants.includes(was));
