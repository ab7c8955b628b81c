/**
 * Writes text and bytes to a descriptor, in order, without ever blocking the process: a stalled reader must not delay
 * the handling of signals.
 *
 * Regular files are written at once, so that results are in the file whatever happens to the process. Pipes and terminals
 * may be full: what they do not take at the turn's end is written one piece at a time in the background, and the rest waits here.
 * The caller bounds it by asking `held`.
 */
import { constants, fstatSync, openSync, write, writeSync } from "node:fs";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { Fill } from "../../report/reporter.ts";
import { errorCode, reasonOf } from "../../runtime/system/file-errors.ts";

export interface Writer {
  write(text: string): void;
  /** Without it, only text is taken. */
  readonly fill?: Fill;
  /** The caller may reuse the bytes when it returns. */
  writeBytes(bytes: Uint8Array): void;
  /** Number of bytes not written yet. */
  held(): number;
  /** Settles when everything so far has been written, or never can be. */
  drained(): Promise<void>;
  /** Gives up what has not been written: nothing is after it, and the process may end. */
  abandon(): void;
}

/** A full descriptor that is non-blocking is tried again after 1 ms, which keeps up with any reader, and after this long at most. */
const LONGEST_RETRY_MS = 16;
/** Bytes that text is put together in; after so many a file is written without waiting for the end of the turn. */
const PIECE = 1 << 16;

/** @param onError called once, with the errno name; nothing is written after that */
export function createWriter(fd: number, onError: (code: string) => void): Writer {
  return fstatSync(fd).isFile() ? createFileWriter(fd, onError) : createStreamWriter(fd, onError);
}

/** Bytes of a UTF-16 unit in UTF-8, at most. */
const WIDEST_UNIT = 3;

/** Writes once a turn of the event loop, or sooner when there is much: a killed process loses no more than that. */
function createFileWriter(fd: number, onError: (code: string) => void): Writer {
  // Bytes at once: text that is put together first is copied twice more, and lives for longer than the collector likes.
  const piece = Buffer.allocUnsafeSlow(PIECE);
  let filled = 0;
  let turnsEnd: NodeJS.Immediate | undefined;
  let broken = false;
  function flush(): void {
    clearImmediate(turnsEnd);
    turnsEnd = undefined;
    writeNow(piece.subarray(0, filled));
    filled = 0;
  }
  function writeNow(bytes: Uint8Array): void {
    try {
      for (let at = 0; at < bytes.length && !broken; ) at += writeSync(fd, bytes, at);
    } catch (error) {
      broken = true;
      onError(errorCode(error));
    }
  }
  function writeBytes(bytes: Uint8Array): void {
    flush();
    writeNow(bytes);
  }
  return {
    write: (text) => {
      if (text.length * WIDEST_UNIT > piece.length - filled) {
        if (text.length * WIDEST_UNIT > piece.length) return writeBytes(Buffer.from(text));
        flush();
      }
      filled += piece.write(text, filled);
      turnsEnd ??= setImmediate(flush);
    },
    fill: (most, put) => {
      if (most > piece.length - filled) flush();
      filled = put(piece, filled);
      turnsEnd ??= setImmediate(flush);
    },
    writeBytes,
    held: () => filled,
    drained: () => {
      flush();
      return Promise.resolve();
    },
    // A file takes everything at once.
    abandon: flush,
  };
}

/**
 * A standard stream's pipe or terminal once more, so that writing it never blocks: this process alone sees that, and nothing of
 * Node's streams has to be loaded. Undefined where it cannot be opened, such as for a socket.
 */
function reopen(fd: number): number | undefined {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return undefined;
  }
}

function createStreamWriter(given: number, onError: (code: string) => void): Writer {
  const isStandard = given === 1 || given === 2;
  const opened = isStandard ? reopen(given) : undefined;
  const fd = opened ?? given;
  // Node makes non-blocking what it has opened as a stream: a write that blocked in the background would keep the process from ending.
  if (opened === undefined && isStandard) void (given === 1 ? process.stdout : process.stderr);
  /** Full pieces, and bytes as they came; the piece that is being filled comes after them. */
  let waiting: Buffer[] = [];
  // As for files: text that waits is bytes.
  let piece = Buffer.allocUnsafeSlow(PIECE);
  let filled = 0;
  let held = 0;
  let busy = false;
  let broken = false;
  let idle: (() => void)[] = [];

  function endPiece(): void {
    if (filled === 0) return;
    waiting.push(piece.subarray(0, filled));
    piece = Buffer.allocUnsafeSlow(PIECE);
    filled = 0;
  }

  function next(): void {
    while (waiting.length > 0 || filled > 0) {
      const isFilling = waiting.length === 0;
      const bytes = waiting.shift() ?? piece.subarray(0, filled);
      if (isFilling) filled = 0;
      const at = writeNow(bytes);
      if (at < bytes.length) {
        push(isFilling ? Buffer.from(bytes) : bytes, at);
        return;
      }
      held -= bytes.length;
    }
    busy = false;
    for (const resolve of idle) resolve();
    idle = [];
  }

  function abandon(): void {
    broken = true;
    waiting = [];
    filled = 0;
    held = 0;
  }

  /** Without the threads of libuv's pool, which take long to make. @returns how much it took; errors are left to `push` */
  function writeNow(bytes: Buffer): number {
    if (opened === undefined) return 0;
    try {
      return writeSync(fd, bytes);
    } catch {
      return 0;
    }
  }

  function begin(): void {
    if (busy) return;
    busy = true;
    setImmediate(next);
  }

  function push(bytes: Buffer, at: number, retryMs = 1): void {
    if (broken) {
      next();
      return;
    }
    write(fd, bytes, at, (error, count) => {
      if (broken) next();
      else if (error === null && at + count < bytes.length) push(bytes, at + count);
      else if (error?.code === "EAGAIN") {
        setTimeout(push, retryMs, bytes, at, Math.min(2 * retryMs, LONGEST_RETRY_MS));
      } else {
        held -= bytes.length;
        if (error !== null) {
          abandon();
          onError(errorCode(error));
        }
        next();
      }
    });
  }

  function writeBytes(bytes: Uint8Array): void {
    if (broken) return;
    endPiece();
    waiting.push(Buffer.from(bytes));
    held += bytes.length;
    begin();
  }

  return {
    write: (text) => {
      if (broken) return;
      if (text.length * WIDEST_UNIT > piece.length) return writeBytes(Buffer.from(text));
      if (text.length * WIDEST_UNIT > piece.length - filled) endPiece();
      const length = piece.write(text, filled);
      filled += length;
      held += length;
      begin();
    },
    fill: (most, put) => {
      if (broken) return;
      if (most > piece.length - filled) endPiece();
      const end = put(piece, filled);
      held += end - filled;
      filled = end;
      begin();
    },
    writeBytes,
    held: () => held,
    drained: () => (busy ? new Promise((resolve) => idle.push(resolve)) : Promise.resolve()),
    abandon,
  };
}

/** The error for a file, or standard output, that cannot be written. @param code the system's, such as `ENOSPC` */
export function cannotWrite(path: string, code: string): SynprobeError {
  const where = path === "-" ? "standard output" : `output file ${path}`;
  return new SynprobeError(ERROR_CODES.output, `cannot write ${where}: ${reasonOf(code)}`);
}

/** Does what opens or writes a file, at once. @throws {SynprobeError} `ERR_OUTPUT` that says why it cannot */
export function writing<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof SynprobeError) throw error;
    throw cannotWrite(path, errorCode(error));
  }
}
