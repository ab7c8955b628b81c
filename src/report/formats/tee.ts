/**
 * Several formats at once: a reporter that forwards every call to others, in the order given.
 */
import { PORT_STATES } from "../../scan/probe/result.ts";
import type { Reporter } from "../reporter.ts";

/** A reporter that forwards each call to all `reporters`. There may be none. */
export function combine(reporters: readonly Reporter[]): Reporter {
  return {
    wants(run) {
      const wanted = new Set(reporters.flatMap((reporter) => reporter.wants(run)));
      return PORT_STATES.filter((state) => wanted.has(state));
    },
    start(run) {
      for (const reporter of reporters) reporter.start(run);
    },
    result(result) {
      for (const reporter of reporters) reporter.result(result);
    },
    takes: (packed) => reporters.every((reporter) => reporter.takes?.(packed) === true),
    packed(packed, timeUs) {
      for (const reporter of reporters) reporter.packed?.(packed, timeUs);
    },
    fault(fault) {
      for (const reporter of reporters) reporter.fault(fault);
    },
    progress(progress) {
      for (const reporter of reporters) reporter.progress?.(progress);
    },
    tick() {
      for (const reporter of reporters) reporter.tick?.();
    },
    *rest() {
      for (const reporter of reporters) if (reporter.rest !== undefined) yield* reporter.rest();
    },
    finish(summary) {
      for (const reporter of reporters) reporter.finish(summary);
    },
  };
}
