/**
 * Which results an output has: `--show`, `--show-files`, and what counts without them: of the table all in a small run, else open
 * ports; of files every result.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { PORT_STATES, type PortResult, type PortState } from "../../scan/probe/result.ts";
import type { Reporter, RunInfo } from "../reporter.ts";

/** A run of at most this many pairs prints every result by default: they fit on a screen. */
export const SMALL_RUN = 50;

/**
 * Reads states with commas between them, or `all`.
 * @param option its name, for the error
 * @throws {SynprobeError} `ERR_USAGE`
 */
export function parseShow(option: string, text: string): readonly PortState[] {
  const words = text.split(",");
  const unknown = words.find((word) => word !== "all" && !PORT_STATES.some((state) => state === word));
  if (unknown !== undefined) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      `${option} takes open, closed, filtered or all, with commas between them, not "${unknown.slice(0, 60)}"`,
    );
  }
  return words.includes("all") ? PORT_STATES : PORT_STATES.filter((state) => words.includes(state));
}

/** The states to print: those of `--show`; by default all in a small run, else open ports only. */
export function shownStates(run: RunInfo, show?: readonly PortState[]): readonly PortState[] {
  return show ?? (run.pairs <= SMALL_RUN ? PORT_STATES : ["open"]);
}

/** Whether a result is one of those states, from some place, or corrects one. */
export const isShown = (
  { state, was, from }: Pick<PortResult, "state" | "was" | "from">,
  states: readonly PortState[],
): boolean =>
  states.includes(state) ||
  (was !== undefined && states.includes(was)) ||
  (from?.some((each) => states.includes(each.state)) ?? false);

/** The same reporter, given only results of those states; the totals are of all. */
export const showOnly = (reporter: Reporter, states: readonly PortState[] = PORT_STATES): Reporter => ({
  ...reporter,
  wants: (run) => reporter.wants(run).filter((state) => states.includes(state)),
  takes: (packed) => states.includes(packed.state) && reporter.takes?.(packed) === true,
  result: (result) => {
    if (isShown(result, states)) reporter.result(result);
  },
});
