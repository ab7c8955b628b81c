/**
 * The one interface behind which every output format lives, one file per format.
 *
 * A reporter turns results into text, in the order they come, and hands the text to a sink. It opens no file, reads
 * no clock and knows no terminal: cli/ gives it a sink, the colour decision and the run's description.
 */
import type { PortResult, PortState, ScanProgress, ScanSummary, TargetFault } from "../scan/probe/result.ts";

/** Takes finished text. May buffer; never throws (the owner of the file watches for write errors). */
export type Sink = (text: string) => void;

/** What every format may say about the run as a whole. */
export interface RunInfo {
  /** The command line as given, without the program's own name, for formats that record it. */
  readonly args: readonly string[];
  readonly version: string;
  /** Start, in milliseconds since the Unix epoch. */
  readonly startedMs: number;
  /** Number of (address, port) pairs planned. */
  readonly pairs: number;
  /** Distinct addresses planned, when they are known beforehand; of all shards together. */
  readonly hosts?: number;
  /** Only a part of the planned pairs is this run's (`--shard`): some of the hosts may have none in it. */
  readonly isShard?: true;
  /** Distinct ports planned, ascending, for formats that record the scanned set (nmap XML). */
  readonly ports: readonly number[];
  /** Columns that the widest target label needs (`targetLabel` in formats/table.ts), when the targets are known beforehand. */
  readonly targetWidth?: number;
}

/** Stable words for programs. */
export const SILENCE_CODES = [
  "interface",
  "route",
  "source",
  "neighbour",
  "conntrack",
  "firewall-out",
  "refused",
  "not-sent",
  "rp-filter",
  "firewall-in",
  "receive-buffer",
  "unproved",
  "all-silent",
] as const;

/** Why nothing answered, as far as it can be seen from the machine that probed. */
export interface NoAnswerCause {
  readonly code: (typeof SILENCE_CODES)[number];
  /** One line for a person: what was seen, and what to do. */
  readonly text: string;
}

/** How a run ended; with `silence`, most likely cause first, when nobody answered it. */
export interface RunSummary extends ScanSummary {
  readonly silence?: readonly NoAnswerCause[];
}

export interface Reporter {
  /**
   * The results that this reporter must be given in such a run: those whose state, or the state that they correct, is
   * among these. Others may be given too; those that are not are still counted in the summary.
   */
  wants(run: RunInfo): readonly PortState[];
  /** Called once, before the first result. */
  start(run: RunInfo): void;
  /** Called for each verdict as it falls; a result with `was` corrects an earlier one. */
  result(result: PortResult): void;
  /** Called for each target that cannot be probed. */
  fault(fault: TargetFault): void;
  /** Called about once a second, and not at all in a run that lasts no second. */
  progress?(progress: ScanProgress): void;
  /** Called once, at the end or on interruption; everything not yet written must be handed to the sink. */
  finish(summary: RunSummary): void;
}
