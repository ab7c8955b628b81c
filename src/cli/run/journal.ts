/**
 * `--journal` and `--resume`: which options must stay the same for a run to continue, and its earlier results read back.
 */

import { unlinkSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { BOUNDS } from "../../runtime/api/option-bounds.ts";
import { openJournal, type Past, type Replayed, type StoredJournal } from "../../runtime/journal/reader.ts";
import {
  createJournal,
  type Journal,
  type JournalOptions,
  journalError,
} from "../../runtime/journal/writer.ts";
import type { Plan } from "../../runtime/plan/plan.ts";
import type { ToResult } from "../../runtime/results/to-result.ts";
import { noTotals, readTotals, type Totals } from "../../runtime/results/totals.ts";
import type { PastRun } from "../../runtime/run/running-scan.ts";
import type { OpenScan } from "../../runtime/run/scan.ts";
import { asInvoker } from "../../runtime/system/invoker.ts";
import { ENDINGS, type Established, type PortResult } from "../../scan/probe/result.ts";
import { readRecord } from "../../scan/probe/result-record.ts";
import { newVerdict } from "../../scan/probe/verdict.ts";
import type { ProbeOptions } from "../options/probe-options.ts";
import { usage } from "../options/spec.ts";
import { shownArgs } from "../shown-args.ts";
import { VERSION } from "./terminal.ts";

/** Options that were left to chance or to the machine, as a journal's run had them. */
export interface Remembered {
  readonly stored?: StoredJournal;
  readonly seed?: bigint;
  readonly workers?: number;
}

/** Opens the journal to continue, while the invoking user's permissions can still be checked. */
export async function rememberRun(options: ProbeOptions): Promise<Remembered> {
  const { resume, journal } = options;
  if (resume !== undefined && journal !== undefined) throw usage("--journal and --resume exclude each other");
  if (resume === undefined) return {};
  const stored = await asInvoker(options.drop, () => openJournal(resume));
  const { seed, workers } = stored.header.options;
  if (
    !/^\d{1,20}$/.test(String(seed)) ||
    !(Number.isInteger(workers) && Number(workers) >= 1 && Number(workers) <= BOUNDS.workers[1])
  ) {
    stored.close();
    throw strange(resume, "its options");
  }
  return { stored, seed: BigInt(String(seed)), workers: Number(workers) };
}

/**
 * The command line of a journal's run, word by word, and the directory that its files' names are relative to.
 * @throws {SynprobeError} `ERR_JOURNAL`, also for one that does not have it
 */
export async function recallCommand(
  path: string,
  drop: boolean,
): Promise<{ readonly argv: readonly string[]; readonly directory: string }> {
  const stored = await asInvoker(drop, () => openJournal(path));
  stored.close();
  const { argv, directory, version } = stored.header;
  if (argv !== undefined && directory !== undefined) return { argv, directory };
  throw journalError(
    `journal ${path} is of synprobe ${version}, which did not keep the command line: give --resume the same targets and options`,
  );
}

/** A check sum proves that nothing broke, not who wrote it. */
const strange = (path: string, what: string): Error =>
  journalError(`journal ${path} was not written by synprobe: ${what} make no sense`);

/** What shapes the order and the results of a run. */
export function journalOptions(options: ProbeOptions, seed: bigint, workers: number): JournalOptions {
  return {
    seed: String(seed),
    workers,
    sequential: options.sequential === true,
    shard: options.shard === undefined ? null : `${options.shard.index + 1}/${options.shard.count}`,
    retries: options.retries,
    timeout: options.timeout ?? null,
    timing: options.timing ?? null,
    confidence: options.confidence,
    "host-timeout": options.hostTimeout ?? null,
    complete: options.complete === true || options.banner !== undefined,
    banner: options.banner ?? null,
    ttl: options.ttl,
    "source-port": options.sourcePort ?? null,
    // Positions are others then.
    fleet: options.fleet === undefined ? null : true,
    from: options.from === undefined || options.from.length === 1 ? null : options.from.join(","),
  };
}

export interface OpenedJournal {
  readonly journal: Journal;
  /** Of a run that continues. */
  readonly past?: PastRun;
  /**
   * Hands over the earlier results, each pair once. Every few thousand results it yields to other events and waits for
   * `room`.
   */
  replay(onResult: (result: PortResult) => void, room: () => Promise<void> | undefined): Promise<void>;
  /** The run was finished: nothing is left to probe or write. */
  readonly complete: boolean;
  /** Bytes at its end that were torn, and are no part of it any more. */
  readonly cut: number;
  /** Closes the journal of a run that could not start, and deletes a new one, so that the next attempt can create it. */
  discard(): Promise<void>;
}

/** Earlier results handled in one turn of the event loop. */
const TURN = 4096;

/** The run that a journal is opened for. */
export interface JournalledRun {
  readonly options: ProbeOptions;
  readonly plan: Plan;
  readonly remembered: Remembered;
  readonly settings: JournalOptions;
  readonly workers: number;
  /** Puts a record into words. */
  readonly toResult: ToResult;
  readonly argv: readonly string[];
  /** Of a run from several places (OpenScan). */
  readonly recall?: OpenScan["recall"];
}

/**
 * Creates the journal of a new run, or continues an old one.
 * @throws {SynprobeError} `ERR_JOURNAL`
 */
export async function openRunJournal({
  options,
  plan,
  remembered: { stored },
  settings,
  workers,
  toResult,
  argv,
  recall,
}: JournalledRun): Promise<OpenedJournal | undefined> {
  const identity = () => ({ targets: plan.space.fingerprint(), options: settings });
  if (stored !== undefined) {
    const past = await stored.resume(identity(), (position) => position % workers);
    return {
      journal: past.journal,
      complete: past.complete,
      cut: past.cut,
      discard: past.journal.close,
      ...(await takeUp(past, stored, { workers, toResult, recall })),
    };
  }
  if (options.journal === undefined) return undefined;
  const path = options.journal;
  const journal = await createJournal(path, {
    version: VERSION,
    createdMs: Date.now(),
    command: ["synprobe", ...shownArgs(argv)].join(" "),
    argv,
    directory: process.cwd(),
    ...identity(),
  });
  return {
    journal,
    complete: false,
    cut: 0,
    replay: () => Promise.resolve(),
    discard: async () => {
      await journal.close();
      unlinkSync(path);
    },
  };
}

async function takeUp(
  past: Past,
  stored: StoredJournal,
  { workers, toResult, recall }: Pick<JournalledRun, "workers" | "toResult" | "recall">,
): Promise<Pick<OpenedJournal, "past" | "replay">> {
  const { path } = past.journal;
  const { marks = Array.from({ length: workers }, () => 0), totals: counts = {} } = past.checkpoint ?? {};
  const totals = readTotals(counts);
  if (totals === undefined || marks.length !== workers)
    throw strange(path, "the counts of its last checkpoint");
  // States and reasons are counted anew: results that came after the last checkpoint are in the file as well.
  const verdict = newVerdict();
  const counted: Totals = { ...totals, ...(await countPast(past)) };
  return {
    past: {
      marks,
      above: past.above,
      decided: past.decided,
      totals: counted,
      startedMs: stored.header.createdMs,
    },
    replay: (onResult, room) =>
      each(
        past,
        ({ bytes, at, extra }) => {
          if (extra !== undefined && !isEstablished(extra)) throw strange(path, "its handshakes");
          if (recall !== undefined) {
            recall(bytes, at, extra, past.complete, (seen, established, from) =>
              onResult(toResult(seen, seen.atUs, established, from)),
            );
            return;
          }
          readRecord(bytes, at, verdict);
          onResult(toResult(verdict, verdict.atUs, extra));
        },
        room,
      ),
  };
}

const isEstablished = (value: object): value is Established => {
  const { ms, ending, banner } = value as { readonly [K in keyof Established]?: unknown };
  return (
    typeof ms === "number" &&
    ENDINGS.some((each) => each === ending) &&
    // Printable ASCII, as toEstablished makes it.
    (banner === undefined || (typeof banner === "string" && /^[ -~]*$/.test(banner)))
  );
};

async function each(
  past: Past,
  onResult: (result: Replayed) => void,
  room?: () => Promise<void> | undefined,
): Promise<void> {
  let count = 0;
  for (const result of past.replay()) {
    onResult(result);
    if (++count % TURN !== 0) continue;
    await turn();
    await room?.();
  }
}

async function countPast(past: Past): Promise<Pick<Totals, "decided" | "states" | "reasons">> {
  const sum = noTotals();
  const verdict = newVerdict();
  await each(past, ({ bytes, at }) => {
    const { state, reason } = readRecord(bytes, at, verdict);
    sum.decided++;
    sum.states[state]++;
    sum.reasons[state][reason] = (sum.reasons[state][reason] ?? 0) + 1;
  });
  return { decided: sum.decided, states: sum.states, reasons: sum.reasons };
}
