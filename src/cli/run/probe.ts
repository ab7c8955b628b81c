/**
 * The main command: `synprobe host:port …`, from the command line to the open scan. Everything that can be wrong is found
 * before the first packet; privileges are needed once and dropped at once. The run itself is run.ts's business.
 */
import { CAPABILITIES, type Capability } from "../../link/sys/capabilities.ts";
import type { Why } from "../../runtime/path/why.ts";
import type { Plan } from "../../runtime/plan/plan.ts";
import { type OpenScan, openScan, planMeans } from "../../runtime/run/scan.ts";
import { offersAll, type ScanOptions } from "../../runtime/run/scan-options.ts";
import { isPiped } from "../../runtime/system/is-terminal.ts";
import { type Dropped, dropPrivileges } from "../../runtime/system/privilege.ts";
import { randomSeed } from "../../runtime/system/random.ts";
import { readServices } from "../../runtime/system/system.ts";
import { withAdvice } from "../advice.ts";
import { loadApart } from "../apart.ts";
import { EXIT, type ExitStatus } from "../exit.ts";
import { type TimedOptions, usage } from "../options/table.ts";
import type { Invocation, Purpose } from "./context.ts";
import { keepIgnoredSignals, watchSignals } from "./interruption.ts";
import { rememberRun } from "./journal.ts";
import { packetTracer } from "./packet-trace.ts";
import { runScan } from "./run.ts";
import { statusOfFaults } from "./status.ts";
import { planTargets, ratePerHost, refuseEmpty } from "./targets.ts";
import { type Messages, openProgress, printResult } from "./terminal.ts";

/** Time after which a run says that it waits for standard input, in milliseconds. */
const STDIN_MS = 1000;

/** @returns the exit status. @throws {SynprobeError} for faults of the run as a whole */
export async function probe(
  words: readonly string[],
  options: TimedOptions,
  messages: Messages,
  argv: readonly string[],
  purpose?: Purpose,
): Promise<ExitStatus> {
  keepIgnoredSignals();
  const services = readServices();
  const remembered = await rememberRun(options, services);
  const { inputList, inputResults } = options;
  if (options.fleet !== undefined) refuseWithFleet(options);
  const hasTargets = words.length > 0 || purpose?.addTargets !== undefined;
  const piped = !hasTargets && inputList === undefined && inputResults === undefined && isPiped();
  const given = piped ? { ...options, inputList: "-" } : options;
  try {
    const asked = purpose === undefined ? {} : { purpose };
    return await plannedProbe({ words, options: given, messages, argv, services, remembered, ...asked });
  } finally {
    remembered.stored?.close();
  }
}

async function plannedProbe(invocation: Invocation): Promise<ExitStatus> {
  const { words, options, messages, argv, services, purpose, remembered } = invocation;
  // Nobody is left to wait for what they do not know of.
  const waiting = setTimeout(() => {
    if (options.inputList === "-") messages.note("reading targets from standard input");
  }, STDIN_MS);
  const asked = [words, options, services, purpose, messages.note, remembered.excluded] as const;
  const { plan, untold } = await planTargets(...asked).finally(() => clearTimeout(waiting));
  tellPlan(plan, untold, options, messages);
  if (plan.space.total === 0) return emptyStatus(plan);
  purpose?.planned(plan);
  const scanOptions = scanOptionsOf(invocation);
  if (options.dryRun === true) {
    const { viewPlan } = await import("./dry-run.ts");
    const { formatPlan, planJson } = await import("../../report/formats/plan-text.ts");
    const view = viewPlan(plan, scanOptions, planMeans(plan, scanOptions), options);
    printResult(options.outputJson === "-" ? planJson(view) : formatPlan(view));
    return plan.faults.length > 0 ? EXIT.partial : EXIT.complete;
  }
  const interruption = watchSignals();
  try {
    const open = (): Promise<OpenScan> =>
      options.fleet === undefined
        ? openScan(plan, scanOptions)
        : loadApart<typeof import("./fleet-run.ts")>("fleet-run").openFleetRun(plan, scanOptions, {
            ...options,
            fleet: options.fleet,
            ended: new Promise((resolve) => interruption.onSignal(resolve)),
            note: messages.note,
          });
    const first = await withAdvice(argv, completes(options), open, packetOptions(options)).catch(
      (error: unknown) => {
        // A fleet that was still waited for.
        if (options.fleet === undefined || !interruption.signalled) throw error;
        return undefined;
      },
    );
    if (first === undefined) return interruption.status ?? EXIT.interrupted;
    let scan = first;
    let why: Why | undefined;
    try {
      why = await withAdvice(
        argv,
        completes(options),
        () => openWhy(plan, options, minimalOf(scanOptions, first), first.means.link === "packet"),
        packetOptions(options),
      );
      if (options.drop) {
        const { user } = dropNeedless(invocation, plan, first);
        if (options.verbose === true)
          messages.note(`privileges dropped${user === undefined ? "" : `: now user ${user}`}`);
      }
      if (plan.pending !== undefined) {
        scan = (await import("../../runtime/run/late-names.ts")).scanLateNames(first, plan, async (next) => {
          tellPlan(next, 0, options, messages);
          if (next.space.total === 0) return undefined;
          const opened = await openScan(next, { ...scanOptions, follows: true });
          if (options.drop) dropNeedless(invocation, next, opened);
          await opened.settle?.();
          return opened;
        });
      }
      const progress = openProgress(messages.stderrColour, options.statsEvery);
      try {
        const asked = why === undefined ? {} : { why };
        return await runScan({ ...invocation, plan, scan, scanOptions, interruption, progress, ...asked });
      } finally {
        progress.done();
      }
    } finally {
      why?.close();
      scan.close();
    }
  } finally {
    interruption.ignore();
  }
}

export function scanOptionsOf({
  options,
  services,
  remembered,
}: Pick<Invocation, "options" | "services" | "remembered">): ScanOptions {
  const workers = options.workers ?? remembered.workers;
  return {
    retries: options.retries,
    confidence: options.confidence,
    verify: options.verify,
    waitMs: options.waitMs,
    rate: options.rate,
    services,
    link: options.link,
    controls: options.controls,
    syn: options.syn,
    order: {
      seed: options.seed ?? remembered.seed ?? randomSeed(),
      // A fleet's order is that of its cells; positions are the numbers of the pairs.
      sequential: options.sequential === true || options.fleet !== undefined,
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

/** Drops every capability for which a run over links of its own has no use when its sockets are open. */
function dropNeedless({ options, purpose }: Invocation, { pending }: Plan, { means }: OpenScan): Dropped {
  const later: Capability[] = [];
  if (completes(options)) later.push(CAPABILITIES.netAdmin);
  if (purpose?.again !== undefined || pending !== undefined) later.push(CAPABILITIES.netRaw);
  return dropPrivileges(means.link === "connect" ? [] : later);
}

/** What only packets that leave from here can do. @throws {SynprobeError} `ERR_USAGE` */
function refuseWithFleet(options: TimedOptions): void {
  const here: Readonly<Record<string, unknown>> = {
    "--dry-run": options.dryRun,
    "--interface": options.interface,
    "--link": options.link === "auto" ? undefined : options.link,
    "--packet-trace": options.packetTrace,
    "--pcap": options.pcap,
    "--sequential": options.sequential,
    "--shard": options.shard,
    "--source-ip": options.sourceIp,
    "--source-port": options.sourcePort,
    "--why": options.why,
    "--workers": options.workers,
  };
  const given = Object.keys(here).filter((name) => here[name] !== undefined && here[name] !== false);
  if (given.length > 0)
    throw usage(
      `with --fleet packets leave from its workers, in the order of its cells: drop ${given.join(", ")}`,
    );
}

/** What a run is to be told for SYNs that offer MSS alone, where its own offer more: the kernel's always do. */
function minimalOf(options: ScanOptions, { means }: OpenScan): string | undefined {
  if (means.link === "connect") return "--link syn --syn minimal";
  return offersAll(options) ? "--syn minimal" : undefined;
}

/** Its sockets are opened while that is still allowed; its code is loaded only when it is asked for. */
async function openWhy(
  plan: Plan,
  options: TimedOptions,
  minimal: string | undefined,
  byFrames: boolean,
): Promise<Why | undefined> {
  const { why, whyLimit, rate } = options;
  if (why !== true) return undefined;
  const module = await import("../../runtime/path/why.ts");
  return module.openWhy(plan, {
    limit: whyLimit,
    minimal,
    byFrames,
    rate: ratePerHost({ ...options, maxRate: rate.maximum }),
  });
}

/** Options for which the kernel's own handshakes will not do, where they would otherwise. */
function packetOptions({ link, why, sourcePort, pcap, packetTrace }: TimedOptions): string[] {
  const asked = { "--why": why, "-g": sourcePort, "--pcap": pcap, "--packet-trace": packetTrace };
  if (link !== "auto" && link !== "connect") return [];
  return Object.entries(asked).flatMap(([name, value]) => (value ? [name] : []));
}

const completes = ({ complete, banner }: TimedOptions): boolean => complete === true || banner !== undefined;

/** Says what is wrong with the targets, and which of them are left out. */
function tellPlan(plan: Plan, untold: number, options: TimedOptions, messages: Messages): void {
  for (const fault of plan.faults) messages.error(fault.message);
  if (untold > 0) messages.error(`… and ${untold} more bad targets in ${options.inputList}`);
  const leftOut = new Map<string, number>();
  for (const { why } of plan.leftOut) leftOut.set(why, (leftOut.get(why) ?? 0) + 1);
  for (const [why, times] of leftOut) {
    messages.note(`left out, as nothing there can answer: ${why}${times > 1 ? ` (${times} times)` : ""}`);
  }
  for (const warning of plan.warnings) messages.note(warning);
}

function emptyStatus(plan: Plan): ExitStatus {
  refuseEmpty(plan);
  return statusOfFaults(plan.faults);
}
