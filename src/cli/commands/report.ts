/**
 * `synprobe report FILE… -o report.html`: one page of HTML from the results of one or more runs.
 */
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { isSynprobeError } from "../../errors.ts";
import { size } from "../../report/figures.ts";
import { createGathering } from "../../report/html/digest.ts";
import { renderPage } from "../../report/html/page.ts";
import type { RecordedRun } from "../../report/read/recorded.ts";
import { readRun } from "../../runtime/results/result-files.ts";
import { asInvoker } from "../../runtime/system/invoker.ts";
import { EXIT, type ExitStatus } from "../exit.ts";
import { usage } from "../options/table.ts";
import { type Messages, printExactly, printResult, VERSION } from "../run/terminal.ts";
import { writing } from "../run/writer.ts";
import { noteEnding } from "./diff.ts";

/** Parsed options, by commander's names. */
export interface ReportOptions {
  readonly output: string;
  readonly title?: string;
}

/** A file that the build puts beside this command (build/bundle.ts). */
const asset = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`./${name}`, import.meta.url)), "utf8");

/** @throws {SynprobeError} `ERR_RESULTS` for a file that cannot be read or understood, `ERR_OUTPUT` for the page */
export async function report(
  files: readonly string[],
  { output, title }: ReportOptions,
  messages: Messages,
): Promise<ExitStatus> {
  if (files.filter((file) => file === "-").length > 1)
    throw usage("standard input (-) can be read only once");
  const same = files.find((file) => file !== "-" && output !== "-" && resolve(file) === resolve(output));
  if (same !== undefined) throw usage(`the page cannot go to ${output}: it is one of the files to read`);
  const gathering = createGathering();
  const runs: RecordedRun[] = [];
  const wrong: string[] = [];
  for (const file of files) {
    try {
      const run = await readRun(file, gathering.next());
      noteEnding(run, messages);
      runs.push(run);
    } catch (error) {
      if (files.length === 1 || !isSynprobeError(error)) throw error;
      // All of them are told at once. A page without them would not show what it lacks.
      messages.error(error.message);
      wrong.push(file);
    }
  }
  if (wrong.length > 0)
    throw usage(`no page is made: ${wrong.length} of ${files.length} files could not be read`);
  const digest = gathering.digest(runs);
  const page = renderPage(digest, {
    title: title ?? titleOf(runs, digest.rows.hosts),
    version: VERSION,
    madeMs: Date.now(),
    script: asset("table.js").trim(),
    style: asset("page.css").trim(),
  });
  if (output === "-") (process.stdout.isTTY === true ? printResult : printExactly)(page);
  else {
    writePage(output, page);
    messages.note(`${output}: ${size(Buffer.byteLength(page))}, opens in any browser and loads nothing`);
  }
  return EXIT.complete;
}

/** The command line, where the file has it; else what was probed. @param hosts sorted addresses, names behind them */
function titleOf([{ command, format }, ...others]: readonly RecordedRun[], hosts: readonly string[]): string {
  if (command !== undefined && format !== "store" && others.length === 0) return command;
  const [first, last] = [hosts.at(0), hosts.at(-1)].map((host) => host?.split(" ", 1)[0]);
  const targets = first === undefined ? "no host" : first === last ? first : `${first} to ${last}`;
  return `Ports of ${targets}`;
}

/** Waits until it is written, whatever it is: a pipe, too. */
function writePage(path: string, page: string): void {
  writing(path, () =>
    asInvoker(true, () => {
      const older = lstatSync(path, { throwIfNoEntry: false });
      const isPlain = older?.isFile() === true && older.nlink === 1 && older.uid === process.geteuid?.();
      if (older === undefined || !isPlain || !replace(path, page, older)) writeFileSync(path, page);
    }),
  );
}

/**
 * Writes the page beside the older one, which stays whole until this one is: for who reads it meanwhile, and on a full disk.
 * @returns false where no file may be made beside it, or take its place, as of one that is mounted
 * @throws where the older one may not be written, as without this
 */
function replace(path: string, page: string, older: Stats): boolean {
  closeSync(openSync(path, "a"));
  const unfinished = `${path}.${process.pid}`;
  let fd: number;
  try {
    fd = openSync(unfinished, "wx", 0o600);
  } catch {
    return false;
  }
  try {
    writeFileSync(fd, page);
    return takesPlace(fd, unfinished, path, older);
  } finally {
    closeSync(fd);
    rmSync(unfinished, { force: true });
  }
}

function takesPlace(fd: number, unfinished: string, path: string, { uid, gid, mode }: Stats): boolean {
  try {
    if (fstatSync(fd).gid !== gid) fchownSync(fd, uid, gid);
    fchmodSync(fd, mode);
    renameSync(unfinished, path);
    return true;
  } catch {
    return false;
  }
}
