/**
 * Where results go: opens the files and streams that the options name, before the first packet, and puts a reporter on
 * each. How text reaches a descriptor is writer.ts's business.
 */
import { type BigIntStats, constants, fstatSync, ftruncateSync, openSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { setTimeout as pause, setImmediate as turn } from "node:timers/promises";
import type { SynprobeError } from "../../errors.ts";
import { escapeOutput } from "../../report/escape.ts";
import type { Spill } from "../../report/formats/host-order.ts";
import { createTableReporter } from "../../report/formats/table.ts";
import { combine } from "../../report/formats/tee.ts";
import type { Reporter } from "../../report/reporter.ts";
import { errorCode } from "../../runtime/system/file-errors.ts";
import { isTerminal } from "../../runtime/system/is-terminal.ts";
import type { PortResult } from "../../scan/probe/result.ts";
import { pcapngStart } from "../../wire/pcapng.ts";
import { loadApart } from "../apart.ts";
import { type ProbeOptions, usage } from "../options/table.ts";
import type { Purpose } from "./context.ts";
import { tableOptions, wantedFiles } from "./formats.ts";
import { openSpill } from "./spill.ts";
import { VERSION } from "./terminal.ts";
import { cannotWrite, createWriter, type Writer } from "./writer.ts";

export interface Outputs {
  readonly reporter: Reporter;
  /** No file wants results. */
  readonly isAlone: boolean;
  /** Set when writing failed; the run cannot continue. */
  readonly failure: () => SynprobeError | undefined;
  /** Whether the reader of standard output has left before it was handed everything. */
  readonly isReaderGone: () => boolean;
  /**
   * Calls `handler` once, when continuing is pointless: writing failed, or standard output was closed and no file is left to
   * write.
   */
  onBroken(handler: () => void): void;
  /** Settles when the reporters have written what they held back, before `finish`; signals are heard meanwhile. */
  rest(): Promise<void>;
  /** Settles when everything written has been taken. */
  drained(): Promise<void>;
  /** Writes pending output to files at once; output for pipes and terminals is dropped. */
  flushFiles(): void;
  /** With `--pcap`: takes blocks of the capture; the caller may reuse them when it returns. */
  readonly capture?: (blocks: Uint8Array) => void;
  /** A promise that settles when the pending output has been taken, if there is too much of it; else undefined. */
  room(): Promise<void> | undefined;
}

const STDOUT = 1;
/** What a write says when nobody reads standard output any more: a pipe whose reader has ended, a terminal that is closed. */
const READER_GONE = "EPIPE";
const TERMINAL_GONE = "EIO";
/** Bytes that may wait to be written before `room` asks for a pause. */
const MOST_HELD = 1 << 24;

/** Interval between attempts to open a pipe without a reader, in milliseconds. */
const READER_MS = 50;

/** How the opening of outputs talks to the user while it waits. */
export interface Waiting {
  note(message: string): void;
  /** The user has asked for the end: what cannot be opened at once is left out. */
  isOver(): boolean;
  /** A result as it counts beside earlier ones (runtime/results/own-failures.ts). */
  asItCounts(result: PortResult): PortResult;
}

/**
 * Opens what the options name. A pipe without a reader is waited for, until `waiting` says that it is over.
 *
 * @param above puts text above the progress line when standard output is the same terminal
 * @throws {SynprobeError} `ERR_OUTPUT` for a file that cannot be opened, `ERR_USAGE` for two formats on one stream, or one on a
 *   file that the run reads, or its journal; no file has lost anything then
 */
export async function openOutputs(
  options: ProbeOptions,
  colour: boolean,
  above: (text: string) => string,
  waiting: Waiting,
  purpose?: Purpose,
): Promise<Outputs> {
  const toTerminal = isTerminal(STDOUT);
  let failure: SynprobeError | undefined;
  let readerGone = false;
  let living = 0;
  let onBroken: (() => void) | undefined;
  const writers: Writer[] = [];
  const reporters: Reporter[] = [];
  if (options.store !== undefined) {
    const { createStoreReporter } =
      loadApart<typeof import("../../runtime/store/store-reporter.ts")>("store-reporter");
    reporters.push(
      createStoreReporter(options.store, waiting.asItCounts, (error) => {
        failure ??= error;
      }),
    );
  }
  const needed = filesInUse(options);
  const files: number[] = [];
  const open = async (path: string): Promise<Writer | undefined> => {
    const fd = path === "-" ? STDOUT : await openFile(path, waiting);
    if (fd === undefined) return undefined;
    const file = identify(() => fstatSync(fd, { bigint: true }));
    const use = file === undefined ? undefined : needed.get(file);
    if (use !== undefined) {
      throw usage(`results cannot go to ${path === "-" ? "standard output" : path}: ${use}`);
    }
    if (file !== undefined && fd !== STDOUT) files.push(fd);
    if (file !== undefined) needed.set(file, "another format goes there, give each its own file");
    const gone = isTerminal(fd) ? TERMINAL_GONE : READER_GONE;
    // A broken output ends; the others go on.
    const writer = createWriter(fd, (code) => {
      living--;
      // Who lets go of a terminal has the results elsewhere, if they go anywhere else.
      if (fd === STDOUT && code === gone) readerGone = code === READER_GONE || living === 0;
      else failure ??= cannotWrite(path, code);
      if (failure !== undefined || living === 0) onBroken?.();
    });
    living++;
    writers.push(writer);
    if (fd !== STDOUT || !toTerminal) return writer;
    const { fill: _, ...shown } = writer;
    return { ...shown, write: (text) => writer.write(above(escapeOutput(text))) };
  };

  const wanted = wantedFiles(options);
  const paths = wanted.map(({ path }) => path);
  if (options.outputAll === "-" || options.outputAll === "") {
    throw usage("-oA takes the beginning of file names, such as scan for scan.xml, scan.nmap …");
  }
  const full = paths.map((path) => (path === "-" ? path : resolve(path)));
  // Nothing is lost where everything is.
  const twice = paths.find((_, i) => full.indexOf(full[i]) !== i && full[i] !== "/dev/null");
  if (twice !== undefined) {
    throw usage(
      twice === "-"
        ? "only one format can go to standard output (-): give the others a file"
        : `two formats cannot share the file ${twice}: give each its own`,
    );
  }
  if (purpose !== undefined && paths.includes("-"))
    throw usage("what was found about the ports has standard output (-): give the results a file");
  const createSpill = (): Spill =>
    openSpill((path, code) => {
      failure ??= cannotWrite(path, code);
      onBroken?.();
    });
  let capture: Writer | undefined;
  for (const { format, path } of wanted) {
    const writer = await open(path);
    if (writer === undefined) continue;
    const reporter = await format.createReporter?.(writer.write, options, createSpill, writer.fill);
    if (reporter === undefined) capture = writer;
    else reporters.push(reporter);
  }
  // The table, unless another format has standard output.
  const stdout = paths.includes("-") ? undefined : await open("-");
  if (stdout !== undefined && purpose !== undefined)
    reporters.unshift(purpose.createReporter(stdout.write, colour));
  else if (stdout !== undefined) {
    reporters.unshift(
      createTableReporter(stdout.write, {
        color: colour,
        verbose: options.verbose === true,
        fill: stdout.fill,
        order: toTerminal ? "again" : isFile(STDOUT) ? "sorted" : "found",
        createSpill,
        ...tableOptions(options),
        ...(toTerminal && process.stdout.columns > 0 ? { width: process.stdout.columns } : {}),
      }),
    );
  }
  for (const fd of files) ftruncateSync(fd);
  capture?.writeBytes(pcapngStart(`synprobe ${VERSION}`));
  let emptied: Promise<void> | undefined;
  const drained = async (): Promise<void> => {
    for (const writer of writers) await writer.drained();
  };
  const reporter = combine(reporters);
  const room = (): Promise<void> | undefined => {
    let held = 0;
    for (const writer of writers) held += writer.held();
    if (emptied === undefined && held >= MOST_HELD) {
      emptied = drained().then(() => {
        emptied = undefined;
      });
    }
    return emptied;
  };
  return {
    reporter,
    isAlone: reporters.length === 1 && stdout !== undefined,
    failure: () => failure,
    isReaderGone: () => readerGone,
    onBroken: (handler) => {
      onBroken = handler;
      if (failure !== undefined || living === 0) handler();
    },
    rest: async () => {
      for (const _ of reporter.rest?.() ?? []) await (room() ?? turn());
    },
    drained,
    flushFiles: () => {
      // For files `drained` writes everything before it returns.
      for (const writer of writers) void writer.drained();
    },
    ...(capture === undefined ? {} : { capture: capture.writeBytes }),
    room,
  };
}

const isFile = (fd: number): boolean => fstatSync(fd).isFile();

/** The identity of a regular file, whatever its name; undefined for anything else. */
function identify(look: () => BigIntStats): string | undefined {
  try {
    const stat = look();
    return stat.isFile() ? `${stat.dev}:${stat.ino}` : undefined;
  } catch {
    return undefined;
  }
}

/** What the run reads, and its journal: the files, and what they are for. */
function filesInUse({
  journal,
  resume,
  inputList,
  inputResults,
  excludeFile,
  store,
}: ProbeOptions): Map<string, string> {
  const files = new Map<string, string>();
  const add = (path: string | undefined, use: string): void => {
    if (path === undefined) return;
    const file = identify(() =>
      path === "-" ? fstatSync(0, { bigint: true }) : statSync(path, { bigint: true }),
    );
    if (file !== undefined) files.set(file, use);
  };
  add(inputList, "it is the list of targets");
  add(inputResults, "its results are the targets");
  for (const file of excludeFile ?? []) add(file, "it is the list of what is excluded");
  add(journal ?? resume, "it is the journal");
  add(store, "it is the store");
  return files;
}

/**
 * Opens a file without truncating it yet.
 * @returns undefined for a pipe that still has no reader when `isOver`
 */
async function openFile(path: string, { note, isOver }: Waiting): Promise<number | undefined> {
  for (let told = false; ; told = true) {
    try {
      // Opening a pipe without a reader would block the whole process, signals too.
      return openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_NONBLOCK);
    } catch (error) {
      if (errorCode(error) !== "ENXIO" || !statSync(path).isFIFO()) throw cannotWrite(path, errorCode(error));
    }
    if (isOver()) return undefined;
    if (!told) note(`waiting for a reader of the pipe ${path}: nothing is sent before`);
    await pause(READER_MS);
  }
}
