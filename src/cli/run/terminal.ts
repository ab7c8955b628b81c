/**
 * What the commands know of the terminal: colour or not, and where messages that are not results go.
 */
import { closeSync, fstatSync, openSync, writeSync } from "node:fs";
import { createColors } from "picocolors";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { escapeOutput, escapeText } from "../../report/escape.ts";
import { count } from "../../report/figures.ts";
import { nowMs } from "../../runtime/system/clock.ts";
import { errorCode, reasonOf } from "../../runtime/system/file-errors.ts";
import { isTerminal } from "../../runtime/system/is-terminal.ts";
import { lookups } from "../../runtime/system/system.ts";
import { threadsAreDone } from "../../runtime/system/threads.ts";
import { hasLoadedApart } from "../apart.ts";
import { EXIT } from "../exit.ts";
import { createProgress, mayDraw, type Progress } from "./progress.ts";
import { createWriter, type Writer } from "./writer.ts";

/** The package's version; a test holds it against package.json. */
export const VERSION = "0.2.0";

export interface Messages {
  /** Colour on standard output, and on standard error. */
  readonly stdoutColour: boolean;
  readonly stderrColour: boolean;
  /** An error, on standard error: what is wrong and what to do. */
  error(message: string): void;
  /** A remark, on standard error. */
  note(message: string): void;
}

/** What holds for the process as a whole, whatever it does. */
export function setUpProcess(): void {
  // Node would open its debugger, to which any user of this machine could connect, and run code as this one.
  process.on("SIGUSR1", () => {});
  process.on("exit", releaseClosedTerminals);
}

/**
 * Puts /dev/null in the place of standard streams whose terminal has been closed, as a last step. Node aborts at its end when it cannot
 * give a terminal its modes back (ResetStdio in src/node.cc), but leaves alone what is not that terminal any more.
 */
function releaseClosedTerminals(): void {
  for (const fd of [0, 1, 2]) {
    try {
      // No open terminal, so a closed one, or /dev/null already.
      if (isTerminal(fd) || !fstatSync(fd).isCharacterDevice()) continue;
      closeSync(fd);
      // Takes the lowest descriptor that is free: this one.
      openSync("/dev/null", "r+");
    } catch {
      // Whatever cannot be replaced stays.
    }
  }
}

/** https://no-color.org: any value but the empty one. FORCE_COLOR overrides, for pagers. */
function wantsColour(isTerminal: boolean, env: NodeJS.ProcessEnv): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = env;
  if (NO_COLOR !== undefined && NO_COLOR !== "") return false;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== "" && FORCE_COLOR !== "0") return true;
  return isTerminal && TERM !== "dumb";
}

/** Never notified: waiting on it is a blocking pause. */
const PAUSE = new Int32Array(new SharedArrayBuffer(4));
const RETRY_MS = 1;

/** A terminal that is closed is none any more. */
const WAS_TERMINAL = isTerminal(1);

/**
 * Writes a result to standard output, without anything that a terminal would obey. That nobody reads it is no error: the command goes
 * on, and only its exit status says so.
 * @throws {SynprobeError} `ERR_OUTPUT` when it cannot be written
 */
export const printResult = (text: string): void => printExactly(escapeOutput(text));

/** The same for what no terminal is to show, to the byte. */
export function printExactly(text: string | Uint8Array): void {
  const bytes = typeof text === "string" ? Buffer.from(text) : text;
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      const code = errorCode(error);
      if (code === "EPIPE" || (code === "EIO" && WAS_TERMINAL)) {
        // Here, as parts that are bundled apart have a copy of this module.
        process.exitCode = EXIT.readerGone;
        return;
      }
      if (code !== "EAGAIN")
        throw new SynprobeError(ERROR_CODES.output, `cannot write standard output: ${reasonOf(code)}`);
      // Node makes pipes non-blocking: this one is full because its reader is slow.
      Atomics.wait(PAUSE, 0, 0, RETRY_MS);
    }
  }
}

/**
 * Ends the process when its messages are written. By itself Node would wait for look-ups of names that nobody waits for any more, for
 * half a minute if the name server is dead, and take its heap apart, which is a thirtieth of a probe's time.
 */
export async function endProcess(): Promise<void> {
  // libsql puts a store's files in order only when Node ends by itself.
  if (hasLoadedApart() && lookups.underWay === 0) return;
  await errors?.drained();
  await threadsAreDone();
  process.exit();
}

/** From so many bytes on that a reader of standard error has not taken, messages are left out. */
const MOST_HELD = 1 << 20;
let errors: Writer | undefined;
let leftOut = 0;
let above: Progress["above"] | undefined;

/** Writes to standard error, in order with everything else there; a reader that stalls is told how much it has missed. */
export function writeError(text: string): void {
  writeAsItIs(above === undefined ? text : above(text));
}

function writeAsItIs(text: string): void {
  try {
    errors ??= createWriter(2, () => {});
  } catch {
    // Standard error is closed.
    return;
  }
  if (errors.held() > MOST_HELD) {
    leftOut++;
    return;
  }
  if (leftOut > 0)
    errors.write(`synprobe: ${count(leftOut, "message")} left out here: nobody read standard error\n`);
  leftOut = 0;
  errors.write(text);
}

/**
 * A run's progress on standard error: a line at the bottom where it is a terminal, and plain lines where the user wants
 * them. Messages stand above the line from here on; what goes to standard output must too, if `isOneTerminal`.
 *
 * @param statsEveryMs time between two plain lines, in milliseconds
 */
export function openProgress(colour: boolean, statsEveryMs?: number): Progress {
  const progress = createProgress({
    write: writeAsItIs,
    live: mayDraw(isTerminal(2), process.env),
    colour,
    columns: () => process.stderr.columns || 80,
    now: nowMs,
    ...(statsEveryMs === undefined ? {} : { statsEveryMs }),
  });
  above = progress.above;
  return progress;
}

/** Whether standard output and standard error are the same terminal. */
export function isOneTerminal(): boolean {
  if (!isTerminal(1) || !isTerminal(2)) return false;
  return fstatSync(1).rdev === fstatSync(2).rdev;
}

export function createMessages(): Messages {
  const stdoutColour = wantsColour(isTerminal(1), process.env);
  const stderrColour = wantsColour(isTerminal(2), process.env);
  const colors = createColors(stderrColour);
  const write = (label: string, message: string): void => {
    // Each line by itself: escaping must not swallow the line ends of our own messages.
    const [first, ...rest] = message.split("\n").map((line) => escapeText(line, 1000));
    writeError([`${label}${first}`, ...rest, ""].join("\n"));
  };
  return {
    stdoutColour,
    stderrColour,
    error: (message) => write(`${colors.red("synprobe:")} `, message),
    note: (message) => write(`${colors.dim("synprobe:")} `, message),
  };
}
