/**
 * What was found and is in no file: under `--show` a file has only some states, and its summary has counted the others.
 *
 * Not here: what the page's lists and pictures leave out themselves; each says so.
 * Tested by test/report/html/left-out.test.ts.
 */
import { count, digits } from "../figures.ts";
import type { RecordedRun, RecordedState } from "../read/recorded.ts";

/** How many ports of a state the run found that its file has not. */
function leftOut({ summary }: RecordedRun, state: string): number {
  if (summary?.shown === undefined || summary.shown.includes(state)) return 0;
  return Object.values(summary.reasons?.[state] ?? {}).reduce((sum, ports) => sum + ports, 0);
}

const allLeftOut = (run: RecordedRun): number =>
  ["open", "closed", "filtered"].reduce((sum, state) => sum + leftOut(run, state), 0);

/** Whether a file has not all that was found. */
export const isLeftOut = (runs: readonly RecordedRun[]): boolean => runs.some((run) => allLeftOut(run) > 0);

/**
 * A number of ports with those that are in no file. Of several runs they may be the same ports, so that nobody knows it.
 * @param state all states when undefined
 */
export function withLeftOut(runs: readonly RecordedRun[], ports: number, state?: RecordedState): string {
  const more = runs.map((run) => (state === undefined ? allLeftOut(run) : leftOut(run, state)));
  if (more.every((each) => each === 0)) return digits(ports);
  return runs.length === 1 ? digits(ports + more[0]) : "–";
}

/** What the page says of a run whose file has not all that it found. */
export function leftOutRemarks(run: RecordedRun): { readonly kind: "warn"; readonly text: string }[] {
  const parts = ["open", "closed", "filtered"]
    .map((state) => ({ state, ports: leftOut(run, state) }))
    .filter(({ ports }) => ports > 0)
    .map(({ state, ports }) => count(ports, `${state} port`));
  if (parts.length === 0) return [];
  const text = `The file has not all that was found (--show): ${parts.join(" and ")} are in no list and no picture below. With --show-files all they would be.`;
  return [{ kind: "warn", text }];
}
