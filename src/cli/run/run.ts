/**
 * From an open scan to its exit status: journal, outputs, progress and signals around the run. What comes before, from the
 * command line to the open scan, is probe.ts's business.
 */

import { setTimeout as pause } from "node:timers/promises";
import { displayLength } from "../../report/escape.ts";
import { digits } from "../../report/figures.ts";
import { targetLabel } from "../../report/formats/table.ts";
import type { Reporter, RunInfo, RunSummary } from "../../report/reporter.ts";
import type { Explained } from "../../runtime/path/why.ts";
import type { Plan } from "../../runtime/plan/plan.ts";
import { createOwnFailures } from "../../runtime/results/own-failures.ts";
import { createNaming } from "../../runtime/results/to-result.ts";
import type { ScanHooks } from "../../runtime/run/running-scan.ts";
import { nowMs } from "../../runtime/system/clock.ts";
import { type KernelCounters, readCounters } from "../../runtime/system/counters.ts";
import { PORT_STATES, type RateDecision, type ScanSummary } from "../../scan/probe/result.ts";
import { storeAddress } from "../../socket/table.ts";
import { type Address, formatAddress } from "../../wire/address.ts";
import { afterSending, type ExitStatus } from "../exit.ts";
import { shownArgs } from "../shown-args.ts";
import type { AtOnce, RunContext } from "./context.ts";
import { journalOptions, type OpenedJournal, openRunJournal } from "./journal.ts";
import { type Outputs, openOutputs } from "./outputs.ts";
import { rateChangeLine } from "./rate-changes.ts";
import { describeLink, watchNames } from "./run-notes.ts";
import { finalStatus } from "./status.ts";
import { DEFAULT_TOP_PORTS } from "./targets.ts";
import { isOneTerminal, VERSION } from "./terminal.ts";

const NO_ROOM = new Promise<void>(() => {});

/** How long what a second signal does may take, in milliseconds. */
const AT_ONCE_MS = 1000;

/** How often progress goes to the terminal's line, outputs are told that time passes, and journals are synced, in milliseconds. */
const PROGRESS_MS = 200;
const TICK_MS = 1000;
const JOURNAL_MS = 1000;

/**
 * Runs an open scan to its end, whatever ends it.
 * @returns the exit status. @throws {SynprobeError} when the run, its journal or its outputs fail
 */
export async function runScan(context: RunContext): Promise<ExitStatus> {
  const { scan, plan, scanOptions, options, messages, interruption, progress } = context;
  const info = runInfo(context);
  const openJournal = () =>
    openRunJournal({
      ...context,
      settings: journalOptions(options, scanOptions.order.seed, scan.means.workers),
      workers: scan.means.workers,
      recall: scan.recall,
      toResult: createNaming({ services: scanOptions.services, namesOf: plan.namesOf }),
    });
  let journal = await openJournal();
  let outputs: Outputs;
  try {
    outputs = await openOutputs(
      options,
      messages.stdoutColour,
      isOneTerminal() ? progress.above : String,
      {
        note: messages.note,
        isOver: () => interruption.signalled,
        asItCounts: createOwnFailures(plan.hops),
      },
      context.purpose,
    );
  } catch (error) {
    await journal?.discard();
    throw error;
  }
  const { reporter } = outputs;
  let sent = 0;
  let hasBegun = false;
  /** What there is to say at any moment of the run. */
  let known: (() => RunSummary) | undefined;
  let ended = false;
  const finish = (summary: RunSummary): void => {
    if (ended) return;
    ended = true;
    // No line is to be drawn below the summary.
    progress.done();
    reporter.finish(summary);
  };
  try {
    const { workers } = scan.means;
    // What cannot be written has been said before the first packet.
    if (!interruption.signalled && journal?.complete !== true) await scan.settle?.();
    if (scan.means.workers !== workers && journal !== undefined) {
      const before = journal;
      journal = undefined;
      await before.discard();
      journal = await openJournal();
    }
    describeLink(scan, context);
    reporter.start(info);
    for (const fault of plan.faults) reporter.fault(fault);
    await journal?.replay((result) => {
      context.why?.see(result);
      reporter.result(result);
    }, outputs.room);
    if (journal !== undefined && journal.cut > 0) {
      messages.note(
        `journal ${journal.journal.path}: its last ${journal.cut} bytes were torn or damaged; what they held is probed again`,
      );
    }
    if (journal?.complete === true) {
      messages.note(`journal ${journal.journal.path} is of a complete run: nothing is probed again`);
    }
    hasBegun = true;
    const atOnce: AtOnce = (summary, running) => {
      known = summary;
      interruption.onExit(async () => {
        const over = pause(AT_ONCE_MS);
        running?.kill();
        // What the engines hand over at their end is counted.
        await Promise.race([running?.finished.catch(() => {}), over]);
        finish(summary());
        // Files are complete even then.
        outputs.flushFiles();
        await Promise.race([outputs.drained(), over]);
      });
    };
    const before = readCounters();
    const names = watchNames(context.plan, context.purpose?.status !== undefined);
    const driven = await drive(context, {
      outputs,
      reporter,
      atOnce,
      wants: context.why === undefined ? reporter.wants(info) : PORT_STATES,
      journal,
      names,
    });
    const { failure, heard } = driven;
    sent = driven.summary.sent;
    progress.done();
    const wasProbed = failure === undefined && journal?.complete !== true;
    const summary =
      wasProbed && context.purpose?.again !== undefined
        ? await (await import("./second-look.ts")).lookAgain(context, driven.summary, atOnce, (result) => {
            names.see(result);
            context.why?.see(result);
            reporter.result(result);
          })
        : driven.summary;
    atOnce(() => summary);
    const silence =
      heard || !wasProbed ? undefined : await explainSilence(context, { ...driven, summary }, before);
    const { where, ways, failure: whyFailure } = await explainFiltered(context, wasProbed);
    await outputs.rest();
    finish({
      ...summary,
      ...(silence === undefined ? {} : { silence: silence.causes }),
      ...(where.length === 0 ? {} : { where, ways }),
    });
    await outputs.drained();
    const fatal = failure ?? outputs.failure() ?? whyFailure;
    if (fatal !== undefined) throw fatal;
    if (silence !== undefined) messages.note(silence.lines);
    names.tell(messages);
    return finalStatus(summary, context, outputs.isReaderGone());
  } catch (error) {
    // What went wrong counts, not what that leaves behind.
    if (!hasBegun) await journal?.discard().catch(() => {});
    // What explains the results may fail: they are written all the same.
    if (known !== undefined) {
      finish(known());
      await outputs.drained();
    }
    throw afterSending(error, sent);
  } finally {
    await journal?.journal.close();
  }
}

/** Where SYNs to filtered ports stop, under --why. */
async function explainFiltered({ why, interruption }: RunContext, wasProbed: boolean): Promise<Explained> {
  if (why === undefined || !wasProbed || interruption.signalled) return { where: [], ways: [] };
  interruption.onSignal(why.stop);
  return why.explain();
}

/** Why nothing answered; undefined when something did. Looks only then. */
async function explainSilence(
  { scan, plan }: RunContext,
  { summary, unresolved }: Driven,
  before: KernelCounters,
) {
  // Of a fleet's ways nothing is known here.
  if (summary.open + summary.closed > 0 || summary.filtered === 0 || scan.means.link === "fleet")
    return undefined;
  const [{ gatherNoAnswerFacts }, { judgeNoAnswers, noAnswerLines }] = await Promise.all([
    import("../../runtime/diagnose/no-answers-facts.ts"),
    import("../../runtime/diagnose/no-answers.ts"),
  ]);
  const causes = judgeNoAnswers(summary, gatherNoAnswerFacts(plan, scan.means, unresolved, before));
  return causes.length === 0 ? undefined : { causes, lines: noAnswerLines(causes) };
}

/** Where the results of a scan go. */
interface Destinations {
  readonly outputs: Outputs;
  readonly reporter: Reporter;
  readonly atOnce: AtOnce;
  readonly wants: ScanHooks["wants"];
  readonly journal: OpenedJournal | undefined;
  readonly names: ReturnType<typeof watchNames>;
}

interface Driven {
  readonly summary: ScanSummary;
  /** What ended the run early, if anything did; the summary says what was found until then. */
  readonly failure: unknown;
  /** Whether any result that was wanted rests on a packet from outside. */
  readonly heard: boolean;
  /** Neighbours that have not answered; undefined when the kernel asked them. */
  readonly unresolved: readonly Address[] | undefined;
}

/** Runs the scan, with journal, progress and outputs around it. */
async function drive(
  {
    scan,
    plan,
    interruption,
    progress,
    why,
    purpose,
    options: { statsEvery, veryVerbose },
    messages,
  }: RunContext,
  { outputs, reporter, wants, journal: opened, names, atOnce }: Destinations,
): Promise<Driven> {
  const journal = opened?.complete === true ? undefined : opened?.journal;
  let heard = false;
  // Where nobody else wants to see results.
  const passes =
    outputs.isAlone && opened === undefined && why === undefined && plan.otherAddresses.size === 0
      ? purpose?.passes
      : undefined;
  const stopped = interruption.signalled;
  let failure: unknown;
  /** Changes of the rate that no output has been told yet. */
  let decisions: RateDecision[] = [];
  let flushAt = nowMs() + JOURNAL_MS;
  const giveUp = (error: unknown): void => {
    failure ??= error;
    running.kill();
  };
  /** Once the journal has failed it takes nothing more; outputs still take what has been decided. */
  const keep = (work: () => void): void => {
    if (failure !== undefined) return;
    try {
      work();
    } catch (error) {
      giveUp(error);
    }
  };
  const running = scan.run(
    {
      wants,
      // After a stop before the run began, while it waited for a pipe's reader, nothing is to be sent.
      room: () => (stopped ? NO_ROOM : outputs.room()),
      onResult: (result) => {
        // Results that this machine itself decided have neither.
        heard ||= result.ttl !== null || result.rttMs !== null;
        names.see(result);
        why?.see(result);
        reporter.result(result);
      },
      ...(passes === undefined
        ? {}
        : {
            passes: (verdict) => {
              if (!passes(verdict)) return false;
              heard ||= verdict.ttl > 0 || verdict.rttUs >= 0;
              return true;
            },
          }),
      takes: (verdict, timeUs) => {
        if (why !== undefined || plan.names.size > 0 || reporter.takes?.(verdict) !== true) return false;
        heard ||= verdict.ttl > 0 || verdict.rttUs >= 0;
        reporter.packed?.(verdict, timeUs);
        return true;
      },
      onFaults: (faults) => {
        for (const fault of faults) reporter.fault(fault);
      },
      ...(outputs.capture === undefined ? {} : { onCapture: outputs.capture }),
      onRateChanges: (changes) => {
        if (veryVerbose === true) {
          for (const change of changes) messages.note(rateChangeLine(change, scan.means.workers));
        }
        if (statsEvery !== undefined) decisions.push(...changes);
      },
      ...(journal === undefined
        ? {}
        : {
            onRecords: (bytes, count, established) =>
              keep(() =>
                journal.results(
                  bytes,
                  count,
                  established === undefined ? undefined : new Map([[0, established]]),
                ),
              ),
            onCheckpoint: (marks, totals) => {
              if (nowMs() < flushAt) return;
              flushAt = nowMs() + JOURNAL_MS;
              keep(() => {
                journal.checkpoint({ marks, totals });
                journal.flush().catch(giveUp);
              });
            },
          }),
    },
    opened?.past,
  );
  outputs.onBroken(() => running.kill());
  interruption.onSignal(() => running.stop());
  atOnce(running.summary, running);
  let tickAt = nowMs() + TICK_MS;
  let statsAt = nowMs() + (statsEvery ?? Number.POSITIVE_INFINITY);
  const looking = setInterval(() => {
    const seen = running.progress();
    progress.update(seen);
    const now = nowMs();
    if (now >= tickAt) {
      tickAt = now + TICK_MS;
      reporter.tick?.();
    }
    if (now >= statsAt) {
      statsAt = now + (statsEvery ?? 0);
      reporter.progress?.({ ...seen, decisions });
      decisions = [];
    }
  }, PROGRESS_MS);
  await running.finished
    .catch((error: unknown) => {
      failure ??= error;
      // Nothing runs any more. The summary has to say that the run was cut short.
      running.kill();
    })
    .finally(() => clearInterval(looking));
  const summary = running.summary();
  try {
    if (failure === undefined) {
      const last = { marks: running.marks(), totals: running.totals() };
      if (summary.unfinished === 0) await journal?.finish(last);
      else journal?.checkpoint(last);
    }
    // After a failure the marks may cover results that never came: the previous checkpoint stays.
    await journal?.flush();
  } catch (error) {
    failure ??= error;
  }
  return { summary, failure, heard, unresolved: running.unresolved() };
}

function runInfo({ plan, argv, options, scan, scanOptions }: RunContext): RunInfo {
  const { space, pending } = plan;
  const isShard = (options.shard?.count ?? 1) > 1;
  const width = widestLabel(plan);
  return {
    args: shownArgs(argv),
    version: VERSION,
    startedMs: Date.now(),
    pairs: space.total + (pending?.pairs ?? 0),
    serviceOf: scanOptions.services.nameOf,
    ...(pending === undefined ? { hosts: space.hosts } : {}),
    // Only some formats ask, and gathering them takes a moment.
    get ports() {
      if (pending === undefined) return space.ports();
      return [...new Set([...space.ports(), ...pending.ports])].sort((a, b) => a - b);
    },
    ...(isShard ? { isShard } : {}),
    ...(scan.means.link === "connect" ? { scanType: "connect" } : {}),
    ...(width === undefined ? {} : { targetWidth: width }),
    ...(plan.portless && options.ports === undefined && options.topPorts === undefined
      ? {
          note: `no port given: the ${digits(DEFAULT_TOP_PORTS)} most often open (--top-ports ${DEFAULT_TOP_PORTS})`,
        }
      : {}),
  };
}

/** Runs of more pairs than this are not searched for the widest label. */
const MOST_LABELS = 4096;

function widestLabel({ space, namesOf, pending }: Plan): number | undefined {
  if (space.total > MOST_LABELS || pending !== undefined) return undefined;
  const pair = { words: new Uint32Array(4), port: 0 };
  let widest = 0;
  for (let i = 0; i < space.total; i++) {
    space.pairAt(i, pair);
    const v4 = pair.words[0] === 0 && pair.words[1] === 0 && pair.words[2] === 0xffff;
    const ip = formatAddress(storeAddress(pair.words, 0, v4 ? 4 : 16));
    const [host] = namesOf(ip, pair.port);
    const label = targetLabel({ ...(host === undefined ? {} : { host }), ip, port: pair.port });
    widest = Math.max(widest, displayLength(label));
  }
  return widest;
}
