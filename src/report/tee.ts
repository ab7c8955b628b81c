/**
 * Several formats at once: one reporter that passes everything on to others, in the order given.
 */
import type { Reporter } from "./reporter.ts";

/** A reporter that hands each call to every one of `reporters`; none at all is allowed and says nothing. */
export function combine(reporters: readonly Reporter[]): Reporter {
  return {
    start(run) {
      for (const reporter of reporters) reporter.start(run);
    },
    result(result) {
      for (const reporter of reporters) reporter.result(result);
    },
    fault(fault) {
      for (const reporter of reporters) reporter.fault(fault);
    },
    finish(summary) {
      for (const reporter of reporters) reporter.finish(summary);
    },
  };
}
