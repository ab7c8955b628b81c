/**
 * `--store FILE`: a scan's results put into the history of runs. Bundled apart (build/bundle.ts): few runs need it, and what it
 * loads is large. What a store is: runtime/store. Tested by test/runtime/store/store-reporter.test.ts.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { commandLine } from "../../report/formats/nmap.ts";
import type { Reporter } from "../../report/reporter.ts";
import { PORT_STATES, type PortResult, type ScanSummary } from "../../scan/probe/result.ts";
import { refuseAhead } from "./ahead.ts";
import { openStore } from "./database.ts";
import { createRecorder } from "./record.ts";

/** How a run ended, as the store has it. */
const endingOf = ({ interrupted, unfinished }: ScanSummary): "complete" | "interrupted" =>
  interrupted || unfinished > 0 ? "interrupted" : "complete";

/**
 * Opens the store before the first packet; the run is written at its end, in one transaction.
 * @param asItCounts a result as it counts beside earlier ones (runtime/results/own-failures.ts)
 * @param onError is told what keeps it from being written
 * @throws {SynprobeError} `ERR_STORE` when it cannot be opened, or is ahead of the clock
 */
export function createStoreReporter(
  path: string,
  asItCounts: (result: PortResult) => PortResult,
  onError: (error: SynprobeError) => void,
): Reporter {
  const store = openStore(path, true);
  try {
    refuseAhead(store, Date.now());
  } catch (error) {
    store.close();
    throw error;
  }
  const recorder = createRecorder(store);
  let source = "synprobe";
  let begunMs = Number.POSITIVE_INFINITY;
  return {
    wants: () => PORT_STATES,
    start(run) {
      // As in nmap's formats, by which an imported file is known for this run's.
      source = commandLine(run);
      begunMs = run.startedMs;
    },
    result: (result) => recorder.add({ ...asItCounts(result), proto: "tcp" }),
    fault() {},
    finish(summary) {
      const { elapsedMs, path: findings } = summary;
      const endedMs = summary.startedMs + elapsedMs;
      try {
        recorder.commit({
          // The first SYN leaves a moment after the files' beginning, in another second perhaps. What is resumed began before.
          startedMs: Math.min(begunMs, summary.startedMs),
          endedMs,
          source,
          ending: endingOf(summary),
          ...(findings === undefined ? {} : { loss: findings.loss.round }),
        });
      } catch (error) {
        onError(error instanceof SynprobeError ? error : new SynprobeError(ERROR_CODES.store, String(error)));
      } finally {
        store.close();
      }
    },
  };
}
