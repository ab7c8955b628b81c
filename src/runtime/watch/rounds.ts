/**
 * One round of a watch: a scan, and probing again what it found different, until the detector is content. Time and scans are
 * passed in; who is told is events.ts's business.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { hasFailed, type PortResult, pairKey, pairOf, type ScanSummary } from "../../scan/probe/result.ts";
import type { ChangeDetector, Verdict } from "./change-detector.ts";
import { type EndedRound, namesOf } from "./events.ts";

/** Scans all targets, or only some pairs of an earlier scan again; undefined when the watch is to end before it began. */
export type Rescan = (
  onResult: (result: PortResult) => void,
  only?: readonly { readonly ip: string; readonly port: number }[],
) => Promise<ScanSummary | undefined>;

export interface RoundMeans {
  readonly scan: Rescan;
  /** Settles after so many milliseconds; sooner, and with false, when the watch is to end. */
  sleep(ms: number): Promise<boolean>;
  /** Milliseconds since the Unix epoch, by the clock that results have. */
  now(): number;
  /** What made the run, as the store has it. */
  readonly source: string;
}

export interface FinishedRound extends EndedRound {
  /** Of the whole scan, without confirmations. */
  readonly summary: ScanSummary;
  /** Results of the ports that could not be probed, by their keys: only who they are tells anything. */
  readonly missed: ReadonlyMap<string, PortResult>;
}

const verdictOf = ({ state, reason, doubt }: PortResult): Verdict => ({
  state,
  reason,
  ...(doubt === undefined ? {} : { doubt }),
});

/**
 * @returns undefined when the watch is to end before the scan began
 * @throws {SynprobeError} when a scan fails, or none of its ports could be probed
 */
export async function runRound(
  detector: ChangeDetector,
  means: RoundMeans,
): Promise<FinishedRound | undefined> {
  const results = new Map<string, PortResult>();
  const failures = new Map<string, number>();
  const missed = new Map<string, PortResult>();
  detector.begin();
  const summary = await means.scan((result) => {
    // Says nothing of the port, which stays as it was.
    if (hasFailed(result.reason)) {
      failures.set(result.reason, (failures.get(result.reason) ?? 0) + 1);
      missed.set(pairKey(result), result);
      detector.missed(pairKey(result), namesOf(result));
      return;
    }
    results.set(pairKey(result), result);
    detector.seen(pairKey(result), verdictOf(result), namesOf(result));
  });
  if (summary === undefined) return undefined;
  let interrupted = summary.interrupted || summary.unfinished > 0;
  if (!interrupted && results.size === 0 && failures.size > 0)
    throw new SynprobeError(
      ERROR_CODES.noRoute,
      `no port could be probed: ${[...failures.keys()].join(", ")}`,
    );
  while (!interrupted) {
    const { keys, waitMs } = detector.suspects();
    if (keys.length === 0) break;
    interrupted = !(await means.sleep(waitMs));
    if (interrupted) break;
    const newest = new Map<string, PortResult>();
    const again = await means.scan((result) => {
      if (!hasFailed(result.reason)) newest.set(pairKey(result), result);
    }, keys.map(pairOf));
    for (const [key, result] of newest) {
      // Only targets have names.
      const { host } = results.get(key) ?? {};
      results.set(key, host === undefined ? result : { ...result, host });
      detector.again(key, verdictOf(result));
    }
    interrupted = again?.interrupted ?? true;
  }
  const endedMs = means.now();
  const round = detector.end(endedMs);
  // By all looks together: the last alone may say little, as when nothing answered it.
  for (const [key, { state, doubt }] of round.verdicts) {
    const result = results.get(key);
    if (result?.state === state && doubt !== undefined) results.set(key, { ...result, doubt });
  }
  const { path } = summary;
  return {
    summary,
    results,
    failures,
    missed,
    round,
    run: {
      startedMs: summary.startedMs,
      endedMs,
      source: means.source,
      ending: interrupted ? "interrupted" : "complete",
      ...(path === undefined ? {} : { loss: path.loss.round }),
    },
  };
}
