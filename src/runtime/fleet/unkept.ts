/** Cells whose results Redis has no memory for: without an end their hosts would be probed again and again. */
import { lackOfMemory } from "./redis.ts";

/** So often such a cell is probed. */
const MOST_UNKEPT = 3;

export interface Unkept {
  /**
   * Counts it.
   * @returns what Redis lacks, and whether the cell is not to be probed here any more; undefined for an error that says nothing of it
   */
  count(
    run: string,
    id: string,
    error: Error,
  ): { readonly lack: string; readonly isLast: boolean } | undefined;
  /** The run is over. */
  forget(run: string): void;
}

export function createUnkept(): Unkept {
  const runs = new Map<string, Map<string, number>>();
  return {
    count: (run, id, error) => {
      const lack = lackOfMemory(error);
      if (lack === undefined) return undefined;
      const counts = runs.get(run) ?? new Map<string, number>();
      const count = (counts.get(id) ?? 0) + 1;
      runs.set(run, counts.set(id, count));
      return { lack, isLast: count >= MOST_UNKEPT };
    },
    forget: (run) => void runs.delete(run),
  };
}
