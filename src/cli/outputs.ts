/**
 * Where results go: opens the files and streams that the options name, before the first packet, and puts a reporter on
 * each. How text reaches a descriptor is writer.ts's business.
 */
import { type BigIntStats, constants, fstatSync, ftruncateSync, openSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import { createNdjsonReporter } from "../report/ndjson.ts";
import type { Reporter, Sink } from "../report/reporter.ts";
import { createTableReporter } from "../report/table.ts";
import { combine } from "../report/tee.ts";
import type { ProbeOptions } from "./options.ts";
import { usage } from "./options.ts";
import { createWriter, errorCode, type Writer } from "./writer.ts";

export interface Outputs {
  readonly reporter: Reporter;
  /** Set when writing failed; the run cannot go on. */
  readonly failure: () => SynprobeError | undefined;
  /**
   * Calls `handler` once, when going on makes no sense: writing failed, or the reader of standard output went away and no
   * file is left to write.
   */
  onBroken(handler: () => void): void;
  /** Settles when everything written has been taken. */
  drained(): Promise<void>;
  /** Undefined, or when too much waits to be taken, a promise that settles when it has been. */
  room(): Promise<void> | undefined;
}

const STDOUT = 1;
/** So many characters may wait before `room` says that it is enough. */
const MOST_HELD = 1 << 24;

/**
 * @param above puts text above the progress line when standard output is the same terminal
 * @throws {SynprobeError} `ERR_OUTPUT` for a file that cannot be opened, `ERR_USAGE` for two formats on one stream, or one on a
 *   file that the run reads, or its journal; no file has lost anything then
 */
export async function openOutputs(
  options: ProbeOptions,
  colour: boolean,
  above: (text: string) => string,
): Promise<Outputs> {
  let failure: SynprobeError | undefined;
  let living = 0;
  let onBroken: (() => void) | undefined;
  const writers: Writer[] = [];
  const needed = filesInUse(options);
  const files: number[] = [];
  const open = (path: string): Sink => {
    const fd = path === "-" ? STDOUT : openFile(path);
    const file = identify(() => fstatSync(fd, { bigint: true }));
    const use = file === undefined ? undefined : needed.get(file);
    if (use !== undefined) {
      throw usage(`results cannot go to ${path === "-" ? "standard output" : path}: ${use}`);
    }
    if (file !== undefined && fd !== STDOUT) files.push(fd);
    if (file !== undefined) needed.set(file, "another format goes there, give each its own file");
    // One that is broken says no more; the others do not suffer for it.
    const writer = createWriter(fd, (code) => {
      living--;
      if (fd !== STDOUT || code !== "EPIPE") failure ??= cannotWrite(path, code);
      if (failure !== undefined || living === 0) onBroken?.();
    });
    living++;
    writers.push(writer);
    return fd === STDOUT ? (text) => writer.write(above(text)) : writer.write;
  };

  const show = options.show === undefined ? {} : { show: options.show };
  const wanted: [path: string | undefined, create: (sink: Sink) => Reporter | Promise<Reporter>][] = [
    [options.outputJson, createNdjsonReporter],
    [options.outputXml, async (sink) => (await import("../report/nmap-xml.ts")).createNmapXmlReporter(sink)],
    [options.outputNormal, (sink) => createTableReporter(sink, { color: false, verbose: true, ...show })],
    [
      options.outputGrepable,
      async (sink) => (await import("../report/grepable.ts")).createGrepableReporter(sink),
    ],
  ];
  const paths = wanted.flatMap(([path]) => (path === undefined ? [] : [path]));
  const full = paths.map((path) => (path === "-" ? path : resolve(path)));
  const twice = paths.find((_, i) => full.indexOf(full[i]) !== i);
  if (twice !== undefined) {
    throw usage(
      twice === "-"
        ? "only one format can go to standard output (-): give the others a file"
        : `two formats cannot share the file ${twice}: give each its own`,
    );
  }
  const reporters: Reporter[] = [];
  for (const [path, create] of wanted) if (path !== undefined) reporters.push(await create(open(path)));
  // The table for people, unless a format for programs has taken standard output.
  if (!paths.includes("-")) {
    reporters.unshift(
      createTableReporter(open("-"), {
        color: colour,
        verbose: options.verbose === true,
        ...show,
        ...(process.stdout.columns > 0 ? { width: process.stdout.columns } : {}),
      }),
    );
  }
  for (const fd of files) ftruncateSync(fd);
  let emptied: Promise<void> | undefined;
  const drained = async (): Promise<void> => {
    for (const writer of writers) await writer.drained();
  };
  return {
    reporter: combine(reporters),
    failure: () => failure,
    onBroken: (handler) => {
      onBroken = handler;
      if (failure !== undefined || living === 0) handler();
    },
    drained,
    room: () => {
      let held = 0;
      for (const writer of writers) held += writer.held();
      if (emptied === undefined && held >= MOST_HELD) {
        emptied = drained().then(() => {
          emptied = undefined;
        });
      }
      return emptied;
    },
  };
}

/** Which file it is, whatever its name; undefined for what is no regular file. */
function identify(look: () => BigIntStats): string | undefined {
  try {
    const stat = look();
    return stat.isFile() ? `${stat.dev}:${stat.ino}` : undefined;
  } catch {
    return undefined;
  }
}

/** What the run reads, and its journal: the files, and what they are for. */
function filesInUse({ journal, resume, inputList, excludeFile }: ProbeOptions): Map<string, string> {
  const files = new Map<string, string>();
  const add = (path: string | undefined, use: string): void => {
    if (path === undefined) return;
    const file = identify(() =>
      path === "-" ? fstatSync(0, { bigint: true }) : statSync(path, { bigint: true }),
    );
    if (file !== undefined) files.set(file, use);
  };
  add(inputList, "it is the list of targets");
  for (const file of excludeFile ?? []) add(file, "it is the list of what is excluded");
  add(journal ?? resume, "it is the journal");
  return files;
}

/** What is in it is left there for now. */
function openFile(path: string): number {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_CREAT);
  } catch (error) {
    throw cannotWrite(path, errorCode(error));
  }
}

function cannotWrite(path: string, code: string): SynprobeError {
  const where = path === "-" ? "standard output" : `output file ${path}`;
  const why: Readonly<Record<string, string>> = {
    EACCES: "permission denied (under sudo, files are opened as the invoking user; --no-drop keeps root)",
    ENOENT: "its directory does not exist",
    EISDIR: "it is a directory",
    ENOSPC: "the disk is full",
    EROFS: "the file system is read-only",
  };
  return new SynprobeError(ERROR_CODES.output, `cannot write ${where}: ${why[code] ?? code}`);
}
