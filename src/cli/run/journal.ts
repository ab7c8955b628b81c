/**
 * `--journal` and `--resume`: which options must stay the same for a run to continue, and its earlier results read back.
 */

import { unlinkSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { BOUNDS } from "../../runtime/api/option-bounds.ts";
import { openJournal, type Past, type Replayed, type StoredJournal } from "../../runtime/journal/reader.ts";
import {
  createJournal,
  type Excluded,
  type Journal,
  type JournalHeader,
  type JournalOptions,
  journalError,
} from "../../runtime/journal/writer.ts";
import { type Exclusions, outsideOf } from "../../runtime/plan/exclusions.ts";
import type { Plan } from "../../runtime/plan/plan.ts";
import type { Tell, ToResult } from "../../runtime/results/to-result.ts";
import { noTotals, readTotals, type Totals } from "../../runtime/results/totals.ts";
import type { PastRun } from "../../runtime/run/running-scan.ts";
import type { OpenScan } from "../../runtime/run/scan.ts";
import type { ScanOptions } from "../../runtime/run/scan-options.ts";
import { asInvoker } from "../../runtime/system/invoker.ts";
import { ENDINGS, type Established, type PortResult } from "../../scan/probe/result.ts";
import { readRecord } from "../../scan/probe/result-record.ts";
import { newVerdict } from "../../scan/probe/verdict.ts";
import { formatSpan } from "../../scan/targets/address-range.ts";
import { type AnyTargetSpec, parseTargets } from "../../scan/targets/grammar.ts";
import { createOrder, type OrderOptions } from "../../scan/targets/permutation.ts";
import type { Services } from "../../scan/targets/services.ts";
import type { Space } from "../../scan/targets/space.ts";
import type { ProbeOptions } from "../options/probe-options.ts";
import { usage } from "../options/spec.ts";
import { shownArgs } from "../shown-args.ts";
import { VERSION } from "./terminal.ts";

/** Options that were left to chance or to the machine, as a journal's run had them. */
export interface Remembered {
  readonly stored?: StoredJournal;
  readonly seed?: bigint;
  readonly workers?: number;
  /** What was excluded when it began, if the journal says, and what has been since. */
  readonly excluded?: { readonly began?: Exclusions; readonly since: Exclusions };
}

/** Opens the journal to continue, while the invoking user's permissions can still be checked. */
export async function rememberRun(options: ProbeOptions, services: Services): Promise<Remembered> {
  const { resume, journal } = options;
  if (resume !== undefined && journal !== undefined) throw usage("--journal and --resume exclude each other");
  if (resume === undefined) return {};
  const stored = await asInvoker(options.drop, () => openJournal(resume));
  try {
    const { excluded } = stored.header;
    const { seed, workers } = stored.header.options;
    if (
      !/^\d{1,20}$/.test(String(seed)) ||
      !(Number.isInteger(workers) && Number(workers) >= 1 && Number(workers) <= BOUNDS.workers[1])
    )
      throw strange(resume, "its options");
    const since = await stored.excluded(workerOf(Number(workers)));
    return {
      stored,
      seed: BigInt(String(seed)),
      workers: Number(workers),
      excluded: {
        ...(excluded === undefined ? {} : { began: toExclusions(resume, excluded, services) }),
        since: toExclusions(resume, since, services),
      },
    };
  } catch (error) {
    stored.close();
    throw error;
  }
}

/** Which of so many workers probes a position: the index of its mark in a checkpoint. */
const workerOf =
  (workers: number) =>
  (position: number): number =>
    position % workers;

function toExclusions(path: string, { hosts, ports }: Excluded, services: Services): Exclusions {
  const spans = hosts.flatMap((text) => {
    let spec: AnyTargetSpec | undefined;
    try {
      spec = parseTargets(text, services);
    } catch {}
    if (spec?.ports !== undefined || spec === undefined || spec.host.kind === "name")
      throw strange(path, "what it excludes");
    const { host } = spec;
    return host.kind === "range" ? [...host.spans] : [{ first: host.address, last: host.address }];
  });
  return { hosts: spans, ports: Uint16Array.from(ports) };
}

/**
 * The command line of a journal's run, word by word, and the directory that its files' names are relative to.
 * @param isNamed targets are given: a journal that does not have it is no error then
 * @throws {SynprobeError} `ERR_JOURNAL`
 */
export async function recallCommand(
  path: string,
  drop: boolean,
  isNamed: boolean,
): Promise<{ readonly argv: readonly string[]; readonly directory: string } | undefined> {
  const stored = await asInvoker(drop, () => openJournal(path));
  stored.close();
  const { argv, directory, version } = stored.header;
  if (argv !== undefined && directory !== undefined) return { argv, directory };
  if (isNamed) return undefined;
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
/** Pairs looked at in one turn. */
const LOOK_TURN = 1 << 16;

/** Hosts that one block of a journal names as excluded. */
const MOST_EXCLUDED = 100_000;

/** The run that a journal is opened for. */
export interface JournalledRun {
  readonly options: ProbeOptions;
  readonly scanOptions: Pick<ScanOptions, "order">;
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
export async function openRunJournal(run: JournalledRun): Promise<OpenedJournal | undefined> {
  const { options, plan, remembered, settings, workers, argv } = run;
  const { stored } = remembered;
  const identity = () => ({ targets: plan.space.fingerprint(), options: settings });
  if (stored !== undefined) {
    const past = await stored.resume(identity(), workerOf(workers));
    if (plan.within !== undefined && !past.complete) await keepExcluded(past, stored.header, run);
    return {
      journal: past.journal,
      complete: past.complete,
      cut: past.cut,
      discard: past.journal.close,
      ...(await takeUp(past, stored, run)),
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
    ...excludedAtFirst(plan),
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

/** For the header of a new journal: nothing when it is more than a block has room for. */
function excludedAtFirst({ excluded: { hosts, ports } }: Plan): Pick<JournalHeader, "excluded"> {
  const named = new Set<string>();
  for (const span of hosts) {
    if (named.size === MOST_EXCLUDED) return {};
    named.add(formatSpan(span));
  }
  return { excluded: { hosts: [...named], ports: [...ports] } };
}

/** Writes down what is excluded from now on, before anything is probed. */
async function keepExcluded(
  { journal, excluded, checkpoint }: Past,
  { excluded: began }: JournalHeader,
  { plan, workers }: JournalledRun,
): Promise<void> {
  const known = new Set<string | number>(
    [began, excluded].flatMap((each) => [...(each?.hosts ?? []), ...(each?.ports ?? [])]),
  );
  const ports = [...plan.excluded.ports].filter((port) => !known.has(port));
  const hosts: string[] = [];
  for (const span of plan.excluded.hosts) {
    const text = formatSpan(span);
    if (known.has(text)) continue;
    known.add(text);
    hosts.push(text);
  }
  const { marks, totals } = checkpoint ?? { marks: startMarks(workers), totals: {} };
  if (ports.length > 0) journal.checkpoint({ marks, totals, excluded: { hosts: [], ports } });
  for (let i = 0; i < hosts.length; i += MOST_EXCLUDED)
    journal.checkpoint({ marks, totals, excluded: { hosts: hosts.slice(i, i + MOST_EXCLUDED), ports: [] } });
  await journal.flush();
}

const startMarks = (workers: number): number[] => Array.from({ length: workers }, () => 0);

async function takeUp(
  past: Past,
  stored: StoredJournal,
  { plan, scanOptions, workers, toResult, recall }: JournalledRun,
): Promise<Pick<OpenedJournal, "past" | "replay">> {
  const { path } = past.journal;
  const { marks = startMarks(workers), totals: counts = {} } = past.checkpoint ?? {};
  const totals = readTotals(counts);
  if (totals === undefined || marks.length !== workers)
    throw strange(path, "the counts of its last checkpoint");
  // States and reasons are counted anew: results that came after the last checkpoint are in the file as well.
  const verdict = newVerdict();
  const { outside, ...found } = await countPast(past, plan.within);
  const excluded = (await countOutside(plan, scanOptions.order)) - outside;
  return {
    past: {
      marks,
      above: past.above,
      decided: past.decided,
      ...(excluded === 0 ? {} : { excluded }),
      totals: { ...totals, ...found },
      startedMs: stored.header.createdMs,
    },
    replay: (onResult, room) =>
      each(
        past,
        ({ bytes, at, extra }) => {
          if (extra !== undefined && !isEstablished(extra)) throw strange(path, "its handshakes");
          if (recall !== undefined) {
            const tell: Tell = (seen, established, from) =>
              onResult(toResult(seen, seen.atUs, established, from));
            if (!recall(bytes, at, extra, past.complete, tell)) throw strange(path, "its results");
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

/** @returns also how many are not within the plan any more */
async function countPast(
  past: Past,
  within: Space | undefined,
): Promise<Pick<Totals, "decided" | "states" | "reasons"> & { readonly outside: number }> {
  const sum = noTotals();
  const verdict = newVerdict();
  let outside = 0;
  await each(past, ({ bytes, at }) => {
    const { state, reason, peer, port } = readRecord(bytes, at, verdict);
    if (within !== undefined && within.indexOf(peer, 0, port) < 0) outside++;
    sum.decided++;
    sum.states[state]++;
    sum.reasons[state][reason] = (sum.reasons[state][reason] ?? 0) + 1;
  });
  return { decided: sum.decided, states: sum.states, reasons: sum.reasons, outside };
}

/** Pairs of the run that are not within its plan any more. */
async function countOutside(plan: Plan, options: OrderOptions): Promise<number> {
  const { space, within } = plan;
  if (within === undefined) return 0;
  const order = createOrder(space.total, options);
  if (order.count === space.total) return space.total - within.total;
  // Nothing but a look at each says which are a shard's.
  const isOutside = outsideOf(plan);
  let outside = 0;
  for (let place = 0; place < order.count; place++) {
    if (isOutside(order.indexAt(place))) outside++;
    if (place % LOOK_TURN === 0) await turn();
  }
  return outside;
}
