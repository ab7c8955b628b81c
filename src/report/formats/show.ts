/**
 * Which results the table prints: `--show` and its default. It does not concern the formats for programs, which have every
 * state.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { PORT_STATES, type PortState } from "../../scan/probe/result.ts";
import type { RunInfo } from "../reporter.ts";

/** A run of at most this many pairs prints every result by default: they fit on a screen. */
export const SMALL_RUN = 50;

/**
 * Reads `--show`: states with commas between them, or `all`.
 * @throws {SynprobeError} `ERR_USAGE`
 */
export function parseShow(text: string): readonly PortState[] {
  const words = text.split(",");
  const unknown = words.find((word) => word !== "all" && !PORT_STATES.some((state) => state === word));
  if (unknown !== undefined) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      `--show takes open, closed, filtered or all, with commas between them, not "${unknown.slice(0, 60)}"`,
    );
  }
  return words.includes("all") ? PORT_STATES : PORT_STATES.filter((state) => words.includes(state));
}

/** The states to print: those of `--show`; by default all in a small run, else open ports only. */
export function shownStates(run: RunInfo, show?: readonly PortState[]): readonly PortState[] {
  return show ?? (run.pairs <= SMALL_RUN ? PORT_STATES : ["open"]);
}
