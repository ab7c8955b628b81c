/**
 * Which results the table prints: `--show`, and what stands when it is not given. The formats for programs know nothing
 * of it: they carry every state.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { PORT_STATES, type PortState } from "../../scan/probe/result.ts";
import type { RunInfo } from "../reporter.ts";

/** A run of at most this many pairs has every result printed: they fit a screen. */
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

/** What is printed of a run: what `--show` asks for; without it everything in a small run, else the open ports. */
export function shownStates(run: RunInfo, show?: readonly PortState[]): readonly PortState[] {
  return show ?? (run.pairs <= SMALL_RUN ? PORT_STATES : ["open"]);
}
