/** What the steps of one run have in common, as one argument. */
import type { Why } from "../../runtime/path/why.ts";
import type { Plan } from "../../runtime/plan/plan.ts";
import type { OpenScan } from "../../runtime/run/scan.ts";
import type { ScanOptions } from "../../runtime/run/scan-options.ts";
import type { Services } from "../../scan/targets/services.ts";
import type { TimedOptions } from "../options/table.ts";
import type { Interruption } from "./interruption.ts";
import type { Remembered } from "./journal.ts";
import type { Progress } from "./progress.ts";
import type { Messages } from "./terminal.ts";

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
