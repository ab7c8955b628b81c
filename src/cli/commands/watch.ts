/**
 * `synprobe watch`: the loop around rounds, with its clock and its signals, and everything that is told: events on standard
 * output, to a program, to a web hook; metrics; the service manager. What a change is: runtime/watch/change-detector.ts.
 */

import { accessSync, closeSync, constants, openSync, readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { Cron } from "croner";
import { ERROR_CODES, isSynprobeError, SynprobeError } from "../../errors.ts";
import { escapeOutput } from "../../report/escape.ts";
import { count, duration, utc } from "../../report/figures.ts";
import { createSetBack, refuseAhead } from "../../runtime/store/ahead.ts";
import { mayPass, openStore, type Store } from "../../runtime/store/database.ts";
import { nowMs, nowUs, wallMs } from "../../runtime/system/clock.ts";
import { reasonOf } from "../../runtime/system/file-errors.ts";
import { lockFile } from "../../runtime/system/file-lock.ts";
import { asInvoker } from "../../runtime/system/invoker.ts";
import { readServices } from "../../runtime/system/system.ts";
import {
  type ChangeDetector,
  confirmAfterMs,
  createChangeDetector,
} from "../../runtime/watch/change-detector.ts";
import {
  type Carrier,
  type Receiver,
  startCarrier,
  toProgram,
  toWebHook,
} from "../../runtime/watch/deliver.ts";
import { commitRound, countWaiting, openOutbox, restore } from "../../runtime/watch/events.ts";
import {
  createMetrics,
  type MetricsAddress,
  parseMetricsAddress,
  serveMetrics,
} from "../../runtime/watch/metrics.ts";
import { createPause } from "../../runtime/watch/pause.ts";
import { openPolicy, type WatchedPolicy } from "../../runtime/watch/policy.ts";
import { runRound } from "../../runtime/watch/rounds.ts";
import { gapsOf, nextDue, waitUntil } from "../../runtime/watch/schedule.ts";
import { openService } from "../../runtime/watch/service.ts";
import { EXIT, type ExitStatus, errorStatus } from "../exit.ts";
import { refuseTargets } from "../options/spec.ts";
import { type TimedOptions, usage } from "../options/table.ts";
import { type Interruption, watchSignals } from "../run/interruption.ts";
import type { Messages } from "../run/terminal.ts";
import { createWriter } from "../run/writer.ts";
import { shownArgs } from "../shown-args.ts";
import { createEventOutput } from "./event-output.ts";
import type { Rescanning } from "./rescan.ts";

/** Parsed options, by commander's names. */
export interface WatchOptions extends TimedOptions {
  /** Whether an option stands on the command line itself, by commander's name. */
  readonly given: (name: string) => boolean;
  /** Milliseconds. */
  readonly every?: number;
  readonly cron?: string;
  /** Milliseconds. */
  readonly confirm?: number;
  readonly rounds?: number;
  readonly exec?: string;
  readonly webhook?: string;
  readonly webhookKey?: string;
  readonly notifyFormat: "json" | "slack";
  readonly metrics?: string;
  readonly metricsPorts: number;
}

/** A flapping port's penalty decays by half in so many rounds. */
const HALF_LIFE_ROUNDS = 4;

/** @throws {SynprobeError} for whatever keeps the first round from being made */
export async function watch(
  words: readonly string[],
  options: WatchOptions,
  messages: Messages,
  argv: readonly string[],
  createRescan: (interruption: Interruption, policy: WatchedPolicy | undefined) => Rescanning,
): Promise<ExitStatus> {
  const { store: path } = options;
  if (path === undefined) throw usage("a watch keeps its history in a store: --store FILE");
  const schedule = scheduleOf(options);
  const receivers = receiversOf(options);
  const address = options.metrics === undefined ? undefined : parseMetricsAddress(options.metrics);
  const file = words.find((word) => POLICY.test(word));
  if (file !== undefined && words.length > 1)
    throw usage(`a watch takes one policy, or targets: ${file} does not stand beside others`);
  if (file !== undefined) refuseTargets(options.given, "without a policy a watch takes it");
  const policy =
    file === undefined ? undefined : await openPolicy(file, readServices(), options.drop, messages.note);
  const interruption = watchSignals(false);
  const sleep = createSleep(interruption);
  process.on("SIGHUP", sleep.reload);
  const service = await openService();
  let rescan: Rescanning | undefined;
  try {
    rescan = createRescan(interruption, policy);
    await rescan.ready();
    // Privileges may not have been dropped, with which no file is to be made and no receiver's program started.
    if (interruption.signalled) return interruption.status ?? EXIT.complete;
    const store = openStore(path, true);
    // Closed after the store: SQLite's own locks, which are the process's, end when any descriptor of the file is closed.
    const lock = openSync(path, "r");
    try {
      const fault = lockFile(lock, "end that, or give each watch a store of its own");
      if (fault !== undefined) throw new SynprobeError(ERROR_CODES.store, `store ${path} ${fault}`);
      refuseAhead(store, Date.now());
      const status = await loop(options, messages, argv, {
        interruption,
        sleep,
        rescan,
        store,
        schedule,
        receivers,
        policy,
        address,
        service,
      });
      tellWaiting(store, [...receivers.keys()], messages);
      service.tell("STOPPING=1");
      return status;
    } finally {
      store.close();
      closeSync(lock);
    }
  } finally {
    // Whatever keeps the first scan from being made, its sockets would keep the process.
    await rescan?.close();
    process.off("SIGHUP", sleep.reload);
    interruption.ignore();
  }
}

/** A policy's name, as no host is called. */
const POLICY = /\.(?:ya?ml|json)$/;

interface Parts {
  readonly policy: WatchedPolicy | undefined;
  readonly interruption: Interruption;
  readonly sleep: ReturnType<typeof createSleep>;
  readonly rescan: Rescanning;
  readonly store: Store;
  /** When the next round begins, after one that began at a time; how far apart they are at least, and on the mean. */
  readonly schedule: { readonly next: (afterMs: number) => number } & ReturnType<typeof gapsOf>;
  readonly receivers: ReadonlyMap<string, Receiver>;
  readonly address: MetricsAddress | undefined;
  readonly service: Awaited<ReturnType<typeof openService>>;
}

async function loop(
  options: WatchOptions,
  messages: Messages,
  argv: readonly string[],
  { interruption, sleep, rescan, store, schedule, receivers, address, service, policy }: Parts,
): Promise<ExitStatus> {
  // As results have it: what a store has is in order, whatever is done to the clock.
  const now = (): number => wallMs(nowUs());
  const detectorOfStore = (): ChangeDetector => {
    const made = createChangeDetector({
      confirmMs: options.confirm ?? confirmAfterMs(schedule.leastMs),
      halfLifeMs: HALF_LIFE_ROUNDS * schedule.meanMs,
    });
    restore(store, made, now());
    return made;
  };
  let detector = detectorOfStore();
  const outboxes = [...receivers].map(([target, receiver]) => ({
    target,
    receiver,
    outbox: openOutbox(store, target),
  }));
  const pending = (): number => outboxes.reduce((sum, { outbox }) => sum + outbox.pending(), 0);
  const metrics = createMetrics(options.metricsPorts, pending, policy !== undefined);
  let healthy = true;
  const served = address === undefined ? undefined : await serveMetrics(address, metrics, () => healthy);
  if (served !== undefined) messages.note(`metrics at ${served.url}`);
  const carriers = outboxes.map(
    ({ target, receiver, outbox }): Carrier =>
      startCarrier(outbox, receiver, Date.now, (error, isFinal) =>
        messages.error(`--${target}: ${error}${isFinal ? "; given up" : "; tried again"}`),
      ),
  );
  const means = {
    scan: rescan.scan,
    sleep: sleep.for,
    now,
    source: ["synprobe", ...shownArgs(argv)].join(" "),
  };
  const isTerminal = process.stdout.isTTY === true;
  let fault: string | undefined;
  const told = createEventOutput(
    store,
    createWriter(1, (code) => {
      fault = code;
      // Noticed now, not when the next scan is due.
      sleep.reload();
    }),
    isTerminal ? escapeOutput : (text) => text,
    (first) =>
      messages.note(
        `nobody reads standard output: events from ${first} on wait in the store until it is read`,
      ),
  );
  /** Whether nobody reads the events any more. @throws {SynprobeError} `ERR_OUTPUT` when they cannot be written for another reason */
  const isReaderGone = (): boolean => {
    if (fault === undefined || fault === (isTerminal ? "EIO" : "EPIPE")) return fault !== undefined;
    throw new SynprobeError(ERROR_CODES.output, `cannot write standard output: ${reasonOf(fault)}`);
  };
  const lookForSetBack = createSetBack(messages.error);
  let toldFailures = "";
  /** Once, not every time. */
  const tellFailures = (failures: ReadonlyMap<string, number>): void => {
    const reasons = [...failures.keys()].sort().join(", ");
    const ports = [...failures.values()].reduce((sum, n) => sum + n, 0);
    if (reasons !== toldFailures && ports > 0)
      messages.error(`${count(ports, "port")} could not be probed and stay as they were: ${reasons}`);
    toldFailures = reasons;
  };
  try {
    service.tell("READY=1", "STATUS=first scan");
    for (let round = 1, dueMs = Date.now(); ; round++) {
      const startedMs = Date.now();
      lookForSetBack(now(), startedMs);
      let failure: ExitStatus | undefined;
      try {
        const finished = await runRound(detector, means);
        if (finished === undefined) return interruption.status ?? EXIT.complete;
        const committed = commitRound(store, detector, finished, [...receivers.keys()], policy);
        const { events } = committed;
        told.tell(events);
        for (const carrier of carriers) carrier.wake();
        metrics.round(finished, committed);
        healthy = true;
        tellFailures(finished.failures);
        const { verdicts, transient, unsettled } = finished.round;
        const { faults } = finished.summary;
        if (faults.length > 0) failure = EXIT.partial;
        const words = `${count(verdicts.size, "port")}, ${count(events.length, "event")}, ${count(transient, "difference")} not confirmed${unsettled > 0 ? `, ${unsettled} unsettled` : ""}${faults.length > 0 ? `, ${count(faults.length, "target")} not probed` : ""}`;
        service.tell(`STATUS=scan of ${utc(startedMs)} UTC: ${words}`);
        if (options.verbose === true)
          messages.note(`scan of ${utc(startedMs)} UTC: ${words}, ${duration(Date.now() - startedMs)}`);
      } catch (error) {
        // A name that does not resolve, a network that is away, or a full disk may be right in an hour. A store that is lost is not.
        if (!isSynprobeError(error) || round === 1) throw error;
        if (error.code === "ERR_STORE") {
          if (!mayPass(error)) throw error;
          // What this round has found is not told: the next one finds it again, held against what the store has.
          detector = detectorOfStore();
        }
        healthy = false;
        failure = errorStatus(error);
        metrics.failed();
        messages.error(`scan of ${utc(startedMs)} UTC failed: ${error.message}`);
        service.tell(`STATUS=scan of ${utc(startedMs)} UTC failed`);
      }
      if (interruption.signalled) return interruption.status ?? EXIT.complete;
      if (round === options.rounds) {
        await drain(outboxes, sleep.for);
        while (!told.isTaken() && (await sleep.for(10)));
        if (isReaderGone()) return EXIT.readerGone;
        return interruption.status ?? failure ?? EXIT.complete;
      }
      // SIGHUP may have begun this one before it was due.
      const firstMs = schedule.next(Math.min(dueMs, startedMs));
      const due = nextDue(schedule.next, firstMs, Date.now());
      ({ dueMs } = due);
      metrics.skipped(due.missed);
      if (due.missed > 0)
        messages.note(
          `${due.isCounted ? "" : "more than "}${count(due.missed, "scan")} due from ${utc(firstMs)} UTC on left out: the one before took too long, or the machine slept`,
        );
      if (!(await sleep.until(dueMs))) return interruption.status ?? EXIT.complete;
      if (isReaderGone()) return EXIT.readerGone;
    }
  } finally {
    sleep.end();
    const untaken = await told.end();
    if (untaken !== undefined)
      messages.note(
        `standard output was not read to its end: events from ${untaken} on may not have reached it; the store has them`,
      );
    await Promise.all(carriers.map((carrier) => carrier.stop()));
    served?.server.close();
    served?.server.closeAllConnections();
  }
}

/** @param targets options by which events are carried: exec, webhook */
function tellWaiting(store: Store, targets: readonly string[], messages: Messages): void {
  const waiting = targets.flatMap((target) => {
    const events = countWaiting(store, target);
    return events === 0 ? [] : [`${count(events, "event")} for --${target}`];
  });
  if (waiting.length > 0)
    messages.note(
      `not delivered yet: ${waiting.join(", ")}; the next watch on this store that has the option tries at once`,
    );
}

/** After the last round of --rounds: every receiver has one chance to take what is left. */
async function drain(
  outboxes: readonly { readonly outbox: ReturnType<typeof openOutbox> }[],
  sleep: (ms: number) => Promise<boolean>,
): Promise<void> {
  const isUntried = ({ outbox }: (typeof outboxes)[number]): boolean => outbox.next()?.tries === 0;
  while (outboxes.some(isUntried) && (await sleep(50)));
}

/**
 * Sleeps that signals end; SIGHUP ends the wait for the next round alone, the one under way or else the one to come, as all that a
 * watch reads is read anew by that.
 */
function createSleep(interruption: Interruption) {
  const { wait, wake } = createPause();
  const pause = (ms: number): Promise<void> => {
    const waited = wait(ms);
    interruption.onSignal(wake);
    return waited;
  };
  let isReload = false;
  let isWaiting = false;
  const reload = (): void => {
    isReload = true;
    if (isWaiting) wake();
  };
  return {
    for: async (ms: number): Promise<boolean> => {
      if (!interruption.signalled) await pause(ms);
      return !interruption.signalled;
    },
    until: async (atMs: number): Promise<boolean> => {
      isWaiting = true;
      await waitUntil(atMs, pause, () => interruption.signalled || isReload, {
        wall: Date.now,
        steady: nowMs,
      });
      isWaiting = false;
      isReload = false;
      return !interruption.signalled;
    },
    reload,
    end: () => interruption.onSignal(() => {}),
  };
}

/** @throws {SynprobeError} `ERR_USAGE` */
function scheduleOf({ every, cron }: WatchOptions): Parts["schedule"] {
  if ((every === undefined) === (cron === undefined))
    throw usage("a watch needs one of --every 6h and --cron '17 * * * *'");
  if (every !== undefined) return { next: (afterMs) => afterMs + every, leastMs: every, meanMs: every };
  let pattern: Cron;
  try {
    pattern = new Cron(cron ?? "");
  } catch (error) {
    throw usage(`--cron "${cron}": ${error instanceof Error ? error.message : error}`);
  }
  const after = (ms: number): number | undefined => pattern.nextRun(new Date(ms))?.getTime();
  const next = (afterMs: number): number => {
    const ms = after(afterMs);
    if (ms === undefined) throw usage(`--cron "${cron}" never comes again`);
    return ms;
  };
  next(Date.now());
  return { next, ...gapsOf(after, Date.now()) };
}

/** Everything that can be wrong with where events go shows before the first packet. @throws {SynprobeError} `ERR_USAGE` */
function receiversOf({
  exec,
  webhook,
  webhookKey,
  notifyFormat,
  drop,
}: WatchOptions): ReadonlyMap<string, Receiver> {
  const receivers = new Map<string, Receiver>();
  if (exec !== undefined) {
    try {
      asInvoker(drop, () => {
        if (!statSync(exec).isFile()) throw new TypeError("no program");
        accessSync(exec, constants.X_OK);
      });
    } catch {
      throw usage(
        `--exec ${exec}: there is no such program, or it may not be run; it takes a file's name alone`,
      );
    }
    // A name without a slash would be looked for in PATH.
    receivers.set("exec", toProgram(resolve(exec)));
  }
  if (webhook === undefined) return receivers;
  checkWebHook(webhook);
  let key: string | undefined;
  try {
    if (webhookKey !== undefined) key = asInvoker(drop, () => readFileSync(webhookKey, "utf8")).trim();
  } catch {
    throw usage(`--webhook-key ${webhookKey}: the file cannot be read`);
  }
  if (key === "") throw usage(`--webhook-key ${webhookKey}: the file is empty`);
  receivers.set(
    "webhook",
    toWebHook({ url: webhook, format: notifyFormat, ...(key === undefined ? {} : { key }) }),
  );
  return receivers;
}

/** @throws {SynprobeError} `ERR_USAGE`, without the URL, whose parts are secrets */
function checkWebHook(text: string): void {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw usage("--webhook takes a URL that begins with http:// or https://");
  const { port, username, password } = new URL(text);
  if (port === "0") throw usage("--webhook: nobody listens on port 0");
  try {
    decodeURIComponent(username + password);
  } catch {
    throw usage("--webhook: a % in its user or password is written %25");
  }
}
