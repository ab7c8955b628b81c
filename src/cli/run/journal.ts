/**
 * `--journal` and `--resume`: which options must stay the same for a run to continue, and its earlier results read back.
 */
import { unlinkSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { openJournal, type Past, type Replayed, type StoredJournal } from "../../runtime/journal/reader.ts";
import { createJournal, type Journal, type JournalOptions } from "../../runtime/journal/writer.ts";
import type { Plan } from "../../runtime/plan/plan.ts";
import { noTotals, type Totals } from "../../runtime/results/totals.ts";
import type { PastRun } from "../../runtime/run/scan.ts";
import { asInvoker } from "../../runtime/system/privilege.ts";
import type { Established, PortResult } from "../../scan/probe/result.ts";
import { readRecord } from "../../scan/probe/result-record.ts";
import { type ProbeOptions, usage } from "../options/table.ts";
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
  return {
    stored,
    ...(typeof seed === "string" ? { seed: BigInt(seed) } : {}),
    ...(typeof workers === "number" ? { workers } : {}),
  };
}

/** The options that affect the order and the results of a run. */
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
  /** Turns a record into a result. */
  readonly toResult: (record: ReturnType<typeof readRecord>, established?: Established) => PortResult;
  readonly argv: readonly string[];
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
}: JournalledRun): Promise<OpenedJournal | undefined> {
  const identity = () => ({ targets: plan.space.fingerprint(), options: settings });
  if (stored !== undefined) {
    const past = await stored.resume(identity(), (position) => position % workers);
    return {
      journal: past.journal,
      complete: past.complete,
      discard: past.journal.close,
      ...(await takeUp(past, stored, workers, toResult)),
    };
  }
  if (options.journal === undefined) return undefined;
  const path = options.journal;
  const journal = await createJournal(path, {
    version: VERSION,
    createdMs: Date.now(),
    command: ["synprobe", ...argv].join(" "),
    ...identity(),
  });
  return {
    journal,
    complete: false,
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
  workers: number,
  toResult: JournalledRun["toResult"],
): Promise<Pick<OpenedJournal, "past" | "replay">> {
  const totals = (past.checkpoint?.totals as Totals | undefined) ?? noTotals();
  // States and reasons are counted again: the file also has results from after the last checkpoint.
  const counted: Totals = { ...noTotals(), ...totals, ...(await countPast(past)) };
  return {
    past: {
      marks: past.checkpoint?.marks ?? Array.from({ length: workers }, () => 0),
      above: past.above,
      decided: past.decided,
      totals: counted,
      startedMs: stored.header.createdMs,
    },
    replay: (onResult, room) =>
      each(
        past,
        ({ bytes, at, extra }) => onResult(toResult(readRecord(bytes, at), extra as Established | undefined)),
        room,
      ),
  };
}

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
  await each(past, ({ bytes, at }) => {
    const { state, reason } = readRecord(bytes, at);
    sum.decided++;
    sum.states[state]++;
    sum.reasons[state][reason] = (sum.reasons[state][reason] ?? 0) + 1;
  });
  return { decided: sum.decided, states: sum.states, reasons: sum.reasons };
}
