/**
 * Writes the journal: what a run has found, in a file that survives a killed process, a power failure and a full disk, so that
 * `--resume` can continue. reader.ts reads it; blocks.ts has the format.
 *
 * Blocks are only appended. They are gathered in memory, and written and synced when a megabyte is full or once a second. A killed
 * process loses what was not written, a power failure what was not synced; in both cases only the end.
 *
 * The file has mode 0600 and is locked by flock(2), which ends with the process and asks for the file to be open: no other user can
 * hold it. Not every network file system has such locks, so each write also checks that the file is as it was left.
 */
import {
  closeSync,
  constants,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { RECORD_LENGTH } from "../../scan/probe/result-record.ts";
import { errorCode, reasonOf } from "../system/file-errors.ts";
import { lockFile } from "../system/file-lock.ts";
import { BLOCKS, type BlockType, blockLength, HEAD_LENGTH, MAGIC, MAX_PAYLOAD, sealBlock } from "./blocks.ts";

/** What was left out of the targets. */
export interface Excluded {
  /** Addresses, networks and ranges, as text. */
  readonly hosts: readonly string[];
  readonly ports: readonly number[];
}

/** Which run a journal is of. */
export interface JournalHeader {
  /** Version of the synprobe that began it. */
  readonly version: string;
  /** Milliseconds since the Unix epoch. */
  readonly createdMs: number;
  /** A digest of all targets. With the same digest and options, each position is the same pair. */
  readonly targets: string;
  /** Every option that changes order or results, by its name on the command line; null when not given. */
  readonly options: JournalOptions;
  /** The command line, for people. */
  readonly command: string;
  /** The same word by word, and where it was given: --resume goes on with it. Journals of version 0.1 do not have them. */
  readonly argv?: readonly string[];
  readonly directory?: string;
  /** What `targets` is without; absent where nobody knows, and in journals of version 0.1. */
  readonly excluded?: Excluded;
}

export type JournalOptions = Readonly<Record<string, string | number | boolean | null>>;

/** How far a run is. */
export interface Checkpoint {
  /**
   * For each worker the lowest position that may still need probing: everything below is decided, and its records were
   * appended before this checkpoint. Marks only rise.
   */
  readonly marks: readonly number[];
  /** Running totals, or whatever else the caller needs to resume: anything that JSON can hold. */
  readonly totals: object;
  /** What has been excluded since the run began and was in no checkpoint before. */
  readonly excluded?: Excluded;
}

/** Methods that append throw `ERR_JOURNAL` once writing has failed: the run cannot continue. */
export interface Journal {
  readonly path: string;
  /**
   * Appends `count` records (scan/probe/result-record.ts), which are copied.
   * @param extras by the record's number in `bytes`, from 0: data without room in a record, anything that JSON can hold
   */
  results(bytes: Uint8Array, count: number, extras?: ReadonlyMap<number, object>): void;
  checkpoint(checkpoint: Checkpoint): void;
  /** Writes what is buffered and syncs the file, without blocking. Call it once a second. Rejects with `ERR_JOURNAL`. */
  flush(): Promise<void>;
  /** The same, synchronously. */
  flushSync(): void;
  /** Marks the run as complete, and flushes the file. */
  finish(checkpoint: Checkpoint): Promise<void>;
  /** Closes the file. What has not been flushed is lost. */
  close(): Promise<void>;
}

/** An open and locked journal file. */
export interface JournalFile {
  readonly path: string;
  readonly fd: number;
  /** Unlocks and closes it; may be called more than once. */
  close(): void;
}

const MODE = 0o600;
/** Blocks are gathered up to this size. */
const BUFFER_LENGTH = 1 << 20;
/** Most bytes of records in one block; a torn block loses all of them. */
const MAX_RESULTS = 1024 * RECORD_LENGTH;

/**
 * Creates a journal and syncs its header.
 * @throws {SynprobeError} `ERR_JOURNAL` when the file exists or cannot be created
 */
export async function createJournal(path: string, header: JournalHeader): Promise<Journal> {
  let fd: number;
  try {
    fd = openSync(path, "wx", MODE);
  } catch (error) {
    throw journalError(
      errorCode(error) === "EEXIST"
        ? isJournal(path)
          ? `journal ${path} exists already: --resume ${path} continues its run; a new run needs another name`
          : `${path} exists already and is no journal: it is left alone, --journal takes the name of a new file`
        : `cannot create journal ${path}: ${reasonOf(errorCode(error))}`,
      error,
    );
  }
  let file: JournalFile | undefined;
  try {
    file = lockJournal(path, fd);
    const journal = appendTo(file, 0);
    journal.appendBlock(BLOCKS.header, toJson(header));
    journal.flushSync();
    syncDirectory(dirname(path));
    return journal;
  } catch (error) {
    file?.close();
    // Nothing is in it, and the next attempt must not find it in the way.
    unlinkSync(path);
    throw error;
  }
}

/** Whether a file begins like a journal. */
function isJournal(path: string): boolean {
  const start = Buffer.alloc(MAGIC.length);
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      readSync(fd, start, 0, start.length, 0);
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
  return start.equals(MAGIC);
}

/**
 * Locks an open file.
 * @throws {SynprobeError} `ERR_JOURNAL` when another process has locked it; the file is closed then
 */
export function lockJournal(path: string, fd: number): JournalFile {
  let open = true;
  const close = (): void => {
    if (open) closeSync(fd);
    open = false;
  };
  const fault = lockFile(fd, "wait until it has ended");
  if (fault !== undefined) {
    close();
    throw journalError(`journal ${path} ${fault}`);
  }
  return { path, fd, close };
}

/** @param end the file's length; everything before it is synced */
export function appendTo(
  file: JournalFile,
  end: number,
): Journal & { appendBlock(type: BlockType, payload: Buffer): void } {
  const { path, fd } = file;
  let buffer = Buffer.allocUnsafe(BUFFER_LENGTH);
  /** Bytes in `buffer`: whole blocks, then perhaps an unfinished block of results, from `growing` on. */
  let filled = 0;
  let growing = -1;
  let written = end;
  let synced = end;
  let syncing: Promise<void> | undefined;
  let failure: SynprobeError | undefined;

  function fail(why: string, cause?: unknown): never {
    failure ??= journalError(`cannot write journal ${path}: ${why}`, cause);
    throw failure;
  }

  const stop = (error: unknown): never =>
    fail(`${reasonOf(errorCode(error))}; put that right, then continue with --resume ${path}`, error);

  function sealGrowing(): void {
    if (growing < 0) return;
    sealBlock(buffer, growing, BLOCKS.results, filled - growing - HEAD_LENGTH, synced);
    growing = -1;
  }

  /** Makes room for a block of `length` bytes. */
  function makeRoom(length: number): void {
    if (failure !== undefined) throw failure;
    sealGrowing();
    if (filled + length > buffer.length) writeOut();
    if (length > buffer.length) buffer = Buffer.allocUnsafe(length);
  }

  function results(bytes: Uint8Array, count: number, extras?: ReadonlyMap<number, object>): void {
    if (failure !== undefined) throw failure;
    let first = 0;
    for (let i = 0; extras !== undefined && extras.size > 0 && i < count; i++) {
      const extra = extras.get(i);
      if (extra === undefined) continue;
      appendRecords(bytes, first * RECORD_LENGTH, i * RECORD_LENGTH);
      const record = bytes.subarray(i * RECORD_LENGTH, (i + 1) * RECORD_LENGTH);
      appendBlock(BLOCKS.annotated, Buffer.concat([record, toJson(extra)]));
      first = i + 1;
    }
    appendRecords(bytes, first * RECORD_LENGTH, count * RECORD_LENGTH);
  }

  function appendRecords(bytes: Uint8Array, at: number, end: number): void {
    for (let from = at; from < end; ) {
      if (growing < 0 || filled === growing + HEAD_LENGTH + MAX_RESULTS) {
        makeRoom(HEAD_LENGTH + MAX_RESULTS);
        growing = filled;
        filled += HEAD_LENGTH;
      }
      const length = Math.min(growing + HEAD_LENGTH + MAX_RESULTS - filled, end - from);
      buffer.set(bytes.subarray(from, from + length), filled);
      filled += length;
      from += length;
    }
  }

  function appendBlock(type: BlockType, payload: Buffer): void {
    if (payload.length > MAX_PAYLOAD) {
      throw new RangeError(`${payload.length} bytes in one block of a journal`);
    }
    makeRoom(HEAD_LENGTH + payload.length);
    buffer.set(payload, filled + HEAD_LENGTH);
    sealBlock(buffer, filled, type, payload.length, synced);
    filled += HEAD_LENGTH + payload.length;
  }

  function writeOut(): void {
    if (failure !== undefined) throw failure;
    sealGrowing();
    if (filled === 0) return;
    const { size, nlink } = fstatSync(fd);
    if (nlink === 0) fail("somebody has deleted it");
    if (size !== written) fail("somebody else has written to it");
    let done = 0;
    try {
      while (done < filled) done += writeSync(fd, buffer, done, filled - done, written + done);
    } catch (error) {
      cutAfter(written + wholeBlocks(done));
      stop(error);
    }
    written += filled;
    filled = 0;
  }

  /** How much of the first `done` bytes of the buffer are whole blocks. */
  function wholeBlocks(done: number): number {
    let whole = 0;
    while (whole + HEAD_LENGTH <= done && whole + blockLength(buffer, whole) <= done) {
      whole += blockLength(buffer, whole);
    }
    return whole;
  }

  /** Cuts the file after its last whole block and syncs it. If even this fails, --resume cuts it. */
  function cutAfter(length: number): void {
    try {
      ftruncateSync(fd, length);
      fdatasyncSync(fd);
    } catch {}
  }

  async function flush(): Promise<void> {
    writeOut();
    // One sync at a time: a call that comes meanwhile needs another, or finds that one of the others has done it.
    while (syncing !== undefined) await syncing.catch(() => {});
    if (failure !== undefined) throw failure;
    if (synced === written) return;
    syncing = sync();
    await syncing;
  }

  function sync(): Promise<void> {
    const upTo = written;
    return new Promise<void>((resolve, reject) => {
      fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
    })
      .then(() => {
        synced = Math.max(synced, upTo);
      }, stop)
      .finally(() => {
        syncing = undefined;
      });
  }

  function flushSync(): void {
    writeOut();
    try {
      fdatasyncSync(fd);
    } catch (error) {
      stop(error);
    }
    synced = written;
  }

  return {
    path,
    appendBlock,
    results,
    checkpoint: (checkpoint) => appendBlock(BLOCKS.checkpoint, toJson(checkpoint)),
    flush,
    flushSync,
    finish: async (checkpoint) => {
      appendBlock(BLOCKS.end, toJson(checkpoint));
      await flush();
    },
    close: async () => {
      failure ??= journalError(`journal ${path} is closed`);
      // The descriptor must not be reused for another file while the kernel syncs it.
      await syncing?.catch(() => {});
      file.close();
    },
  };
}

const toJson = (value: object): Buffer => Buffer.from(JSON.stringify(value));

/** A new file's name is on disk only when its directory is synced. */
function syncDirectory(path: string): void {
  try {
    const fd = openSync(path, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // A directory that cannot be opened cannot be synced: the kernel then writes the name within half a minute.
  }
}

export const journalError = (message: string, cause?: unknown): SynprobeError =>
  new SynprobeError(ERROR_CODES.journal, message, cause === undefined ? {} : { cause });
