/**
 * The main command: `synprobe host:port …`. Puts the steps in order: everything that can be wrong is found before the
 * first packet; privileges are needed once and dropped at once; what was found is printed whatever happens.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { CAPABILITIES } from "../../link/sys/capabilities.ts";
import { displayLength } from "../../report/escape.ts";
import { targetLabel } from "../../report/formats/table.ts";
import type { Reporter, RunInfo, RunSummary } from "../../report/reporter.ts";
import type { Plan } from "../../runtime/plan/plan.ts";
import { createNaming } from "../../runtime/results/to-result.ts";
import { chooseMeans, type ScanOptions } from "../../runtime/run/means.ts";
import { type OpenScan, openScan, type ScanHooks } from "../../runtime/run/scan.ts";
import { dropPrivileges, privilegeAdvice } from "../../runtime/system/privilege.ts";
import { createRandom } from "../../runtime/system/random.ts";
import { type KernelCounters, readCounters, readServices } from "../../runtime/system/system.ts";
import type { ScanSummary, TargetFault } from "../../scan/probe/result.ts";
import type { Services } from "../../scan/targets/services.ts";
import { storeAddress } from "../../socket/table.ts";
import { formatAddress } from "../../wire/address.ts";
import { EXIT, type ExitStatus, exitStatus } from "../exit.ts";
import type { TimedOptions } from "../options/table.ts";
import { type Interruption, watchSignals } from "./interruption.ts";
import {
  journalOptions,
  type OpenedJournal,
  openRunJournal,
  type Remembered,
  rememberRun,
} from "./journal.ts";
import { type Outputs, openOutputs } from "./outputs.ts";
import { packetTracer } from "./packet-trace.ts";
import type { Progress } from "./progress.ts";
import { describeLink, watchNames } from "./run-notes.ts";
import { planTargets } from "./targets.ts";
import { isOneTerminal, type Messages, openProgress, printResult, VERSION } from "./terminal.ts";

/** @returns the exit status. @throws {SynprobeError} for faults of the run as a whole */
export async function probe(
  words: readonly string[],
  options: TimedOptions,
  messages: Messages,
  argv: readonly string[],
): Promise<ExitStatus> {
  const services = readServices();
  const remembered = await rememberRun(options);
  try {
    return await plannedProbe(words, options, messages, argv, services, remembered);
  } finally {
    remembered.stored?.close();
  }
}

async function plannedProbe(
  words: readonly string[],
  options: TimedOptions,
  messages: Messages,
  argv: readonly string[],
  services: Services,
  remembered: Remembered,
): Promise<ExitStatus> {
  const { plan, untold } = await planTargets(words, options, services);
  tellPlan(plan, untold, options, messages);
  if (plan.space.total === 0) return emptyStatus(plan);
  const scanOptions = scanOptionsOf(options, services, remembered);
  if (options.dryRun === true) {
    const { viewPlan } = await import("./dry-run.ts");
    const { formatPlan, planJson } = await import("../../report/formats/plan-text.ts");
    const view = viewPlan(plan, scanOptions, chooseMeans(plan, scanOptions), options);
    printResult(options.outputJson === "-" ? planJson(view) : formatPlan(view));
    return statusOfFaults(plan.faults);
  }
  const interruption = watchSignals();
  try {
    const scan = await open(plan, scanOptions, argv);
    try {
      if (options.drop) {
        const { user } = dropPrivileges(completes(options) ? [CAPABILITIES.netAdmin] : []);
        if (options.verbose === true)
          messages.note(`privileges dropped${user === undefined ? "" : `: now user ${user}`}`);
      }
      describeLink(scan, scanOptions, options, messages);
      const progress = openProgress(messages.stderrColour, options.statsEvery);
      try {
        return await run(
          scan,
          plan,
          scanOptions,
          options,
          messages,
          argv,
          interruption,
          remembered,
          progress,
        );
      } finally {
        progress.done();
      }
    } finally {
      scan.close();
    }
  } finally {
    interruption.ignore();
  }
}

function scanOptionsOf(options: TimedOptions, services: Services, remembered: Remembered): ScanOptions {
  const random = createRandom();
  const workers = options.workers ?? remembered.workers;
  return {
    retries: options.retries,
    confidence: options.confidence,
    waitMs: options.waitMs,
    rate: options.rate,
    services,
    link: options.link,
    order: {
      seed: options.seed ?? remembered.seed ?? (BigInt(random(2 ** 32)) << 32n) | BigInt(random(2 ** 32)),
      sequential: options.sequential === true,
      ...(options.shard === undefined ? {} : { shard: options.shard }),
    },
    ...(workers === undefined ? {} : { workers }),
    ...(options.maxRatePerHost === undefined ? {} : { ratePerHost: options.maxRatePerHost }),
    ...(options.maxRatePerPrefix === undefined ? {} : { ratePerPrefix: options.maxRatePerPrefix }),
    ...(options.hostTimeout === undefined ? {} : { hostTimeoutMs: options.hostTimeout }),
    ...(options.sourcePort === undefined ? {} : { sourcePort: options.sourcePort }),
    ...(completes(options) ? { complete: { bannerMs: options.banner ?? 0 } } : {}),
    ...(options.packetTrace === true ? { onPacket: packetTracer() } : {}),
    ...(options.pcap === undefined ? {} : { capture: options.pcapAll === true ? "all" : "evidence" }),
  };
}

async function open(plan: Plan, options: ScanOptions, argv: readonly string[]): Promise<OpenScan> {
  try {
    return await openScan(plan, options);
  } catch (error) {
    if (error instanceof SynprobeError && error.code === ERROR_CODES.privilege) {
      throw new SynprobeError(
        ERROR_CODES.privilege,
        privilegeAdvice([...process.argv.slice(0, 2), ...argv]),
        {
          cause: error,
        },
      );
    }
    throw error;
  }
}

const completes = ({ complete, banner }: TimedOptions): boolean => complete === true || banner !== undefined;

const NO_ROOM = new Promise<void>(() => {});

/** How often the terminal's progress line, the outputs, and the journal, hear of a run, in milliseconds. */
const PROGRESS_MS = 200;
const REPORT_MS = 1000;
const JOURNAL_MS = 1000;

async function run(
  scan: OpenScan,
  plan: Plan,
  scanOptions: ScanOptions,
  options: TimedOptions,
  messages: Messages,
  argv: readonly string[],
  interruption: Interruption,
  remembered: Remembered,
  progress: Progress,
): Promise<ExitStatus> {
  const info = runInfo(plan, argv, (options.shard?.count ?? 1) > 1);
  const journal = await openRunJournal(
    options,
    plan,
    remembered,
    journalOptions(options, scanOptions.order.seed, scan.means.workers),
    scan.means.workers,
    createNaming({ services: scanOptions.services, nameOf: plan.nameOf }),
    argv,
  );
  let outputs: Outputs;
  try {
    outputs = await openOutputs(options, messages.stdoutColour, isOneTerminal() ? progress.above : String, {
      note: messages.note,
      isOver: () => interruption.signalled,
    });
  } catch (error) {
    await journal?.discard();
    throw error;
  }
  try {
    const { reporter } = outputs;
    reporter.start(info);
    for (const fault of plan.faults) reporter.fault(fault);
    await journal?.replay((result) => reporter.result(result), outputs.room);
    if (journal?.complete === true) {
      messages.note(`journal ${journal.journal.path} is of a complete run: nothing is probed again`);
    }
    let ended = false;
    const finish = (summary: RunSummary): void => {
      if (!ended) reporter.finish(summary);
      ended = true;
    };
    const before = readCounters();
    const names = watchNames(plan);
    const { summary, failure, heard } = await drive(
      scan,
      { ...reporter, finish },
      reporter.wants(info),
      outputs,
      interruption,
      journal,
      progress,
      names,
    );
    progress.done();
    const wasProbed = failure === undefined && journal?.complete !== true;
    const silence = heard || !wasProbed ? undefined : await explainSilence(scan, plan, summary, before);
    finish(silence === undefined ? summary : { ...summary, silence: silence.causes });
    await outputs.drained();
    const fatal = failure ?? outputs.failure();
    if (fatal !== undefined) throw fatal;
    if (silence !== undefined) messages.note(silence.lines);
    names.tell(messages);
    return finalStatus(summary, options, messages, interruption);
  } finally {
    await journal?.journal.close();
  }
}

/** Why nobody answered; undefined when somebody did. Costs a run that was answered nothing. */
async function explainSilence({ means }: OpenScan, plan: Plan, summary: ScanSummary, before: KernelCounters) {
  if (summary.open + summary.closed > 0 || summary.filtered === 0) return undefined;
  const [{ gatherNoAnswerFacts }, { judgeNoAnswers, noAnswerLines }] = await Promise.all([
    import("../../runtime/diagnose/no-answers-facts.ts"),
    import("../../runtime/diagnose/no-answers.ts"),
  ]);
  const causes = judgeNoAnswers(summary, gatherNoAnswerFacts(plan, means, before));
  return causes.length === 0 ? undefined : { causes, lines: noAnswerLines(causes) };
}

/**
 * Runs the scan, with journal, progress and outputs around it. The reporter's `finish` counts once.
 * @returns also when the run has failed: with the failure, what was found until then, and whether any result that was wanted
 *   rests on a packet from outside
 */
async function drive(
  scan: OpenScan,
  reporter: Reporter,
  wants: ScanHooks["wants"],
  outputs: Outputs,
  interruption: Interruption,
  opened: OpenedJournal | undefined,
  progress: Progress,
  names: ReturnType<typeof watchNames>,
): Promise<{ readonly summary: ScanSummary; readonly failure: unknown; readonly heard: boolean }> {
  const journal = opened?.complete === true ? undefined : opened?.journal;
  let heard = false;
  const stopped = interruption.signalled;
  let failure: unknown;
  let flushAt = performance.now() + JOURNAL_MS;
  const running = scan.run(
    {
      wants,
      // Who has said stop before the run began, while a pipe was waited for, wants nothing sent.
      room: () => (stopped ? NO_ROOM : outputs.room()),
      onResult: (result) => {
        // This machine's own words have none.
        heard ||= result.ttl !== null;
        names.see(result);
        reporter.result(result);
      },
      ...(outputs.capture === undefined ? {} : { onCapture: outputs.capture }),
      ...(journal === undefined
        ? {}
        : {
            onRecords: (bytes, count, established) =>
              journal.results(
                bytes,
                count,
                established === undefined ? undefined : new Map([[0, established]]),
              ),
            onCheckpoint: (marks, totals) => {
              if (performance.now() < flushAt || failure !== undefined) return;
              flushAt = performance.now() + JOURNAL_MS;
              journal.checkpoint({ marks, totals });
              journal.flush().catch((error: unknown) => {
                failure ??= error;
                running.kill();
              });
            },
          }),
    },
    opened?.past,
  );
  outputs.onBroken(() => running.kill());
  interruption.onSignal(() => running.stop());
  // Files are whole even when nobody waits for the end.
  interruption.onExit(() => {
    reporter.finish(running.summary());
    outputs.flushFiles();
  });
  let reportAt = performance.now() + REPORT_MS;
  const looking = setInterval(() => {
    const seen = running.progress();
    progress.update(seen);
    if (performance.now() < reportAt) return;
    reportAt += REPORT_MS;
    reporter.progress?.(seen);
  }, PROGRESS_MS);
  await running.finished
    .catch((error: unknown) => {
      failure ??= error;
      // Nothing runs any more; the summary shall say that it was cut short.
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
    // After a failure the marks may cover results that never came: the checkpoint before stands.
    await journal?.flush();
  } catch (error) {
    failure ??= error;
  }
  return { summary, failure, heard };
}

function finalStatus(
  summary: ScanSummary,
  options: TimedOptions,
  messages: Messages,
  interruption: Interruption,
): ExitStatus {
  // Cut short by a signal, or because the reader of the results went away.
  if (interruption.signalled || summary.unfinished > 0) {
    const journal = options.journal ?? options.resume;
    if (journal !== undefined)
      messages.note(`--resume ${journal}, with the same targets and options, goes on`);
    return EXIT.interrupted;
  }
  const refusals = Object.keys(summary.sendErrors);
  if (summary.sent === 0 && refusals.length > 0) {
    messages.error(
      `nothing could be sent: the kernel says ${refusals.join(", ")}; "synprobe doctor TARGET" shows the way`,
    );
    return EXIT.network;
  }
  const faulty = statusOfFaults(summary.faults);
  if (faulty !== EXIT.complete) return faulty;
  const allOpen = summary.closed + summary.filtered + summary.unfinished === 0;
  return options.requireOpen === true && !allOpen ? EXIT.notOpen : EXIT.complete;
}

/** What is wrong with the targets, and what of them is left out. */
function tellPlan(plan: Plan, untold: number, options: TimedOptions, messages: Messages): void {
  for (const fault of plan.faults) messages.error(fault.message);
  if (untold > 0) messages.error(`… and ${untold} more bad targets in ${options.inputList}`);
  const leftOut = new Map<string, number>();
  for (const { why } of plan.leftOut) leftOut.set(why, (leftOut.get(why) ?? 0) + 1);
  for (const [why, times] of leftOut) {
    messages.note(`left out, as nothing there can answer: ${why}${times > 1 ? ` (${times} times)` : ""}`);
  }
  for (const warning of plan.warnings) messages.note(warning);
  if (completes(options) && plan.paths.some(({ toSelf }) => toSelf === true)) {
    messages.note(
      "handshakes with this machine's own addresses are not completed: there the kernel's RST cannot be held back",
    );
  }
}

function emptyStatus(plan: Plan): ExitStatus {
  const status = statusOfFaults(plan.faults);
  if (status !== EXIT.complete) return status;
  throw new SynprobeError(
    ERROR_CODES.noTargets,
    "nothing is left to probe: every target or port is excluded",
  );
}

/** The status of the gravest fault: usage before network. */
function statusOfFaults(faults: readonly TargetFault[]): ExitStatus {
  let gravest: ExitStatus | undefined;
  for (const { code } of faults) {
    const status = exitStatus(code as Parameters<typeof exitStatus>[0]);
    if (gravest === undefined || status < gravest) gravest = status;
  }
  return gravest ?? EXIT.complete;
}

function runInfo(plan: Plan, argv: readonly string[], isShard: boolean): RunInfo {
  const { space } = plan;
  const width = widestLabel(plan);
  return {
    args: argv,
    version: VERSION,
    startedMs: Date.now(),
    pairs: space.total,
    hosts: space.hosts,
    // Only some formats ask, and to gather them takes a moment.
    get ports() {
      return space.ports();
    },
    ...(isShard ? { isShard } : {}),
    ...(width === undefined ? {} : { targetWidth: width }),
  };
}

/** Runs of more pairs than this are not gone through for the widest label. */
const MOST_LABELS = 4096;

function widestLabel({ space, nameOf }: Plan): number | undefined {
  if (space.total > MOST_LABELS) return undefined;
  const pair = { words: new Uint32Array(4), port: 0 };
  let widest = 0;
  for (let i = 0; i < space.total; i++) {
    space.pairAt(i, pair);
    const v4 = pair.words[0] === 0 && pair.words[1] === 0 && pair.words[2] === 0xffff;
    const ip = formatAddress(storeAddress(pair.words, 0, v4 ? 4 : 16));
    const host = nameOf(ip, pair.port);
    const label = targetLabel({ ...(host === undefined ? {} : { host }), ip, port: pair.port });
    widest = Math.max(widest, displayLength(label));
  }
  return widest;
}
