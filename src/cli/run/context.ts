/** What the steps of one run have in common, as one argument. */

import type { Reporter, RunSummary, Sink } from "../../report/reporter.ts";
import type { Why } from "../../runtime/path/why.ts";
import type { Plan, Planner } from "../../runtime/plan/plan.ts";
import type { RunningScan } from "../../runtime/run/running-scan.ts";
import type { OpenScan } from "../../runtime/run/scan.ts";
import type { ScanOptions } from "../../runtime/run/scan-options.ts";
import type { PortResult } from "../../scan/probe/result.ts";
import type { Verdict } from "../../scan/probe/verdict.ts";
import type { Services } from "../../scan/targets/services.ts";
import type { ExitStatus } from "../exit.ts";
import type { TimedOptions } from "../options/table.ts";
import type { Interruption } from "./interruption.ts";
import type { Remembered } from "./journal.ts";
import type { Progress } from "./progress.ts";
import type { Messages } from "./terminal.ts";

/**
 * What a command that makes a scan for an end of its own, as `check` does, has in the place of the main command's. The run is the
 * same.
 */
export interface Purpose {
  /** Adds the targets; without it the words of the command line are. */
  addTargets?(planner: Planner): void;
  /** Is told what will be probed, before anything is. */
  planned(plan: Plan): void;
  /** What standard output has in the place of the table. */
  createReporter(write: Sink, colour: boolean): Reporter;
  /** Takes a verdict for which no result has to be made, when nothing else wants results. @returns whether it did */
  passes?(verdict: Verdict): boolean;
  /** After the run: ports that are to be probed once more, by their last results. */
  again?(): readonly PortResult[];
  /** The status of a run that came to its end and of which nothing worse is to be said. */
  status?(): ExitStatus;
}

/** What is known before anything is planned. */
export interface Invocation {
  /** Targets, as they were written. */
  readonly words: readonly string[];
  readonly options: TimedOptions;
  readonly messages: Messages;
  /** The whole command line, without node and script. */
  readonly argv: readonly string[];
  readonly services: Services;
  readonly remembered: Remembered;
  /** Of a command that makes a scan for an end of its own. */
  readonly purpose?: Purpose;
}

/** A planned run whose sockets are open. */
export interface RunContext extends Invocation {
  readonly plan: Plan;
  readonly scan: OpenScan;
  readonly scanOptions: ScanOptions;
  readonly interruption: Interruption;
  readonly progress: Progress;
  /** Under --why. */
  readonly why?: Why;
}

/** Sets what a second signal does: it ends the run, if one goes on, and says what has come of it. */
export type AtOnce = (summary: () => RunSummary, running?: RunningScan) => void;
