/**
 * Reads a run's journal (written by writer.ts) to resume it: whether the journal is of the same run, what is decided, how far
 * the workers were, and every result once more, as the outputs are written anew.
 *
 * A torn end is cut off; damage before it is an error. Files may be larger than memory: they are read in pieces, and only
 * exceptions are remembered (positions above the workers' marks, positions with several results).
 */
import { fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { isRecord, RECORD_LENGTH, recordPosition } from "../../scan/probe/result-record.ts";
import { MAX_PORT } from "../../scan/targets/port-list.ts";
import { createPositionSet, type PositionSet } from "../../scan/targets/positions.ts";
import { errorCode, reasonOf } from "../system/file-errors.ts";
import {
  BLOCKS,
  type Block,
  type BlockReader,
  createBlockReader,
  FORMAT,
  MAGIC,
  type ReadAt,
} from "./blocks.ts";
import {
  appendTo,
  type Checkpoint,
  type Excluded,
  type Journal,
  type JournalFile,
  type JournalHeader,
  journalError,
  lockJournal,
} from "./writer.ts";

/** A journal that this process has opened and locked. Only its header has been read. */
export interface StoredJournal {
  readonly header: JournalHeader;
  /**
   * What was excluded after the run began. Reads all of the file, once for this and `resume`; closes it when that fails.
   * @param workerOf as that of `resume`
   * @throws {SynprobeError} `ERR_JOURNAL` when it is damaged
   */
  excluded(workerOf: (position: number) => number): Promise<Excluded>;
  /**
   * Reads all of it; closes it when that fails.
   * @param run the run that is to be resumed
   * @param workerOf the index into a checkpoint's marks of the worker that probes a position
   * @throws {SynprobeError} `ERR_JOURNAL` when the journal is of another run, or damaged
   */
  resume(run: SameRun, workerOf: (position: number) => number): Promise<Past>;
  /** For a journal that is not resumed. */
  close(): void;
}

/** What must be the same for a run to be resumed. */
export type SameRun = Pick<JournalHeader, "targets" | "options">;

export interface Past {
  /** Appends to it. */
  readonly journal: Journal;
  /** The last checkpoint, with the highest marks of all; undefined when the run ended before its first. */
  readonly checkpoint: Checkpoint | undefined;
  /** The run was complete: nothing is left to probe. */
  readonly complete: boolean;
  /** Positions that have a result. */
  readonly decided: number;
  /** Those of them that the last checkpoint's marks do not cover. */
  readonly above: PositionSet;
  /** What has been excluded since the run began. */
  readonly excluded: Excluded;
  /** Bytes of a torn end that were cut off. */
  readonly cut: number;
  /**
   * Every decided position once, with the last of its records, in the file's order. Each is valid until the next step.
   * @throws {SynprobeError} `ERR_JOURNAL` when the file cannot be read any more
   */
  replay(): Generator<Readonly<Replayed>, void>;
}

/** One recorded result: a record at `bytes[at]`, and the extra that was appended with it. */
export interface Replayed {
  bytes: Uint8Array;
  at: number;
  extra: object | undefined;
}

/** Bytes read before other events are handled: some ten milliseconds. */
const TURN = 1 << 24;
/** Covered positions are removed from the set when it has grown by this many, and to twice its size. */
const PRUNE_AFTER = 1 << 20;

/**
 * Opens a journal to resume its run.
 * @throws {SynprobeError} `ERR_JOURNAL` when it does not exist, is not a journal, has another format, or is locked by another process
 */
export async function openJournal(path: string): Promise<StoredJournal> {
  let fd: number;
  try {
    fd = openSync(path, "r+");
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    throw journalError(
      missing
        ? `there is no journal ${path}: --journal ${path} starts one`
        : `cannot open journal ${path}: ${reasonOf(errorCode(error))}`,
      error,
    );
  }
  const file = lockJournal(path, fd);
  try {
    const header = readHeader(file);
    let reading: Promise<Found> | undefined;
    const orClose = async <T>(work: () => Promise<T>): Promise<T> => {
      try {
        return await work();
      } catch (error) {
        file.close();
        throw error;
      }
    };
    const found = (workerOf: (position: number) => number): Promise<Found> => {
      reading ??= readPast(file, workerOf);
      return reading;
    };
    return {
      header,
      close: file.close,
      excluded: (workerOf) => orClose(async () => (await found(workerOf)).excluded),
      resume: (run, workerOf) =>
        orClose(async () => {
          refuseOther(path, header, run);
          return takeUp(file, await found(workerOf));
        }),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

function readerOf({ path, fd }: JournalFile): ReadAt {
  return (b, offset, length, at) => {
    try {
      return readSync(fd, b, offset, length, at);
    } catch (error) {
      throw journalError(`cannot read journal ${path}: ${reasonOf(errorCode(error))}`, error);
    }
  };
}

/**
 * What a block says in JSON, after its records, if it has the shape that this program writes. A check sum proves that nothing
 * broke, not who wrote it.
 * @throws {SynprobeError} `ERR_JOURNAL`
 */
function read<T>(path: string, { bytes, records, to, at }: Block, is: (value: unknown) => value is T): T {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString("utf8", records, to));
  } catch {}
  if (is(value)) return value;
  throw meaningless(path, at);
}

const meaningless = (path: string, at: number): Error =>
  journalError(`journal ${path} was not written by synprobe: the block at byte ${at} has no meaning`);

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isHeader = (value: unknown): value is JournalHeader => {
  if (!isObject(value)) return false;
  const { version, createdMs, targets, command, options, argv = [], directory = "", excluded } = value;
  return (
    typeof version === "string" &&
    // The range of Date (ECMA-262 §21.4.1.1).
    typeof createdMs === "number" &&
    Math.abs(createdMs) <= 8.64e15 &&
    typeof targets === "string" &&
    typeof command === "string" &&
    Array.isArray(argv) &&
    argv.every((word) => typeof word === "string") &&
    typeof directory === "string" &&
    (excluded === undefined || isExcluded(excluded)) &&
    isObject(options) &&
    Object.values(options).every((each) => each === null || /^(string|number|boolean)$/.test(typeof each))
  );
};

const isCheckpoint = (value: unknown): value is Checkpoint => {
  if (!isObject(value)) return false;
  const { marks, totals, excluded } = value;
  return (
    isObject(totals) &&
    Array.isArray(marks) &&
    marks.every((mark) => Number.isSafeInteger(mark) && mark >= 0) &&
    (excluded === undefined || isExcluded(excluded))
  );
};

const isExcluded = (value: unknown): value is Excluded => {
  if (!isObject(value)) return false;
  const { hosts, ports } = value;
  return (
    Array.isArray(hosts) &&
    hosts.every((host) => typeof host === "string") &&
    Array.isArray(ports) &&
    ports.every((port) => Number.isInteger(port) && port >= 1 && port <= MAX_PORT)
  );
};

function readHeader(file: JournalFile): JournalHeader {
  const { path, fd } = file;
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw journalError(`${path} is not a synprobe journal`);
  const reader = createBlockReader(readerOf(file), stat.size);
  const first = reader.block(0);
  if (first?.type === BLOCKS.header) return read(path, first, isHeader);
  const start = Buffer.alloc(MAGIC.length + 1);
  const length = readerOf(file)(start, 0, start.length, 0);
  if (!start.subarray(0, Math.min(length, MAGIC.length)).equals(MAGIC.subarray(0, length))) {
    throw journalError(`${path} is not a synprobe journal`);
  }
  const format = start.toString("latin1", MAGIC.length);
  if (length === start.length && format !== FORMAT) {
    throw journalError(
      `journal ${path} has format ${format}, and this synprobe reads format ${FORMAT}: resume it with the version that made it`,
    );
  }
  refuseDamage(path, reader, 0);
  const what = stat.size === 0 ? "is empty" : "breaks off within its first block";
  throw journalError(
    `journal ${path} ${what}: there is nothing to resume; remove it and start again with --journal`,
  );
}

/** @throws {SynprobeError} `ERR_JOURNAL` naming every option that differs, with both values */
function refuseOther(path: string, header: JournalHeader, run: SameRun): void {
  const names = new Set([...Object.keys(header.options), ...Object.keys(run.options)]);
  const differing = [...names].flatMap((name) => {
    const was = header.options[name] ?? null;
    const is = run.options[name] ?? null;
    return was === is ? [] : [`${name} was ${spell(was)} and is ${spell(is)}`];
  });
  if (differing.length > 0) {
    throw journalError(
      `journal ${path} is of a run with other options: ${differing.join(", ")}; resume with the same, or start a new journal`,
    );
  }
  if (header.targets !== run.targets) {
    throw journalError(
      `journal ${path} is of a run over other targets: resume with the same, or start a new journal; it was begun by: ${header.command}`,
    );
  }
}

const spell = (value: string | number | boolean | null): string =>
  value === null || value === false ? "not given" : value === true ? "given" : String(value);

/** What a journal holds, before anything is written to it. */
interface Found extends Omit<Past, "journal" | "replay"> {
  /** Where its good blocks end. */
  readonly end: number;
  /** For positions with several records, where the last one is: the offset of its block in the file, plus its own in the payload. */
  readonly repeated: ReadonlyMap<number, number>;
}

async function readPast(file: JournalFile, workerOf: (position: number) => number): Promise<Found> {
  const { path, fd } = file;
  const { size } = fstatSync(fd);
  const excluded = { hosts: [] as string[], ports: [] as number[] };
  const reader = createBlockReader(readerOf(file), size);
  let checkpoint: Checkpoint | undefined;
  let complete = false;
  let decided = 0;
  const isCovered = (position: number): boolean => position < (checkpoint?.marks[workerOf(position)] ?? 0);
  let above = createPositionSet();
  let pruneAt = PRUNE_AFTER;
  const repeated = new Map<number, number>();

  let at = 0;
  let turnAt = TURN;
  for (let block = reader.block(0); block !== undefined; block = reader.block(at)) {
    complete = block.type === BLOCKS.end;
    for (let i = block.from; i < block.records; i += RECORD_LENGTH) {
      if (!isRecord(block.bytes, i)) throw meaningless(path, block.at);
      const position = recordPosition(block.bytes, i);
      // Records that a mark covers come before the mark.
      if (!isCovered(position) && above.add(position)) decided++;
      else repeated.set(position, at + i - block.from);
    }
    if (block.type === BLOCKS.checkpoint || block.type === BLOCKS.end) {
      const found = read(path, block, isCheckpoint);
      checkpoint = onwards(found, checkpoint?.marks);
      for (const host of found.excluded?.hosts ?? []) excluded.hosts.push(host);
      for (const port of found.excluded?.ports ?? []) excluded.ports.push(port);
      if (above.size >= pruneAt) {
        above = uncovered(above, isCovered);
        pruneAt = PRUNE_AFTER + 2 * above.size;
      }
    }
    at = block.next;
    if (at >= turnAt) {
      turnAt = at + TURN;
      await turn();
    }
  }
  if (at < size) refuseDamage(path, reader, at);
  return {
    checkpoint,
    complete,
    decided,
    above: uncovered(above, isCovered),
    excluded,
    cut: size - at,
    end: at,
    repeated,
  };
}

function takeUp(file: JournalFile, { end, repeated, ...found }: Found): Past {
  const { path, fd } = file;
  try {
    if (found.cut > 0) ftruncateSync(fd, end);
    fdatasyncSync(fd);
  } catch (error) {
    throw journalError(`cannot write journal ${path}: ${reasonOf(errorCode(error))}`, error);
  }
  return { ...found, journal: appendTo(file, end), replay: () => replay(file, end, repeated) };
}

/** A checkpoint whose marks are at least the earlier ones: a resumed run may report before its workers have begun. */
const onwards = ({ marks, totals }: Checkpoint, before: readonly number[] = []): Checkpoint => ({
  marks: marks.map((mark, worker) => Math.max(mark, before[worker] ?? 0)),
  totals,
});

function uncovered(positions: PositionSet, isCovered: (position: number) => boolean): PositionSet {
  const kept = createPositionSet();
  positions.forEach((position) => {
    if (!isCovered(position)) kept.add(position);
  });
  return kept;
}

/**
 * Tells a torn end from damage: see blocks.ts.
 * @param at where a bad block begins
 * @throws {SynprobeError} `ERR_JOURNAL` when that block had been on the disk
 */
function refuseDamage(path: string, reader: BlockReader, at: number): void {
  for (let from = reader.find(at + 1); from >= 0; ) {
    const block = reader.block(from);
    if (block !== undefined && block.synced > at) {
      const way =
        at === 0
          ? "remove it and start again with --journal"
          : `give up what follows with "truncate -s ${at} ${path}" and resume`;
      throw journalError(
        `journal ${path} is damaged at byte ${at}, with good results after it: the file was edited or its disk is failing; ` +
          `restore a copy, or ${way}`,
      );
    }
    from = reader.find(block?.next ?? from + 1);
  }
}

function* replay(
  file: JournalFile,
  end: number,
  repeated: ReadonlyMap<number, number>,
): Generator<Replayed, void> {
  const reader = createBlockReader(readerOf(file), end);
  const replayed: Replayed = { bytes: new Uint8Array(0), at: 0, extra: undefined };
  for (let at = 0; at < end; ) {
    const block = reader.block(at);
    if (block === undefined) {
      throw journalError(`journal ${file.path} has changed at byte ${at} while it was read`);
    }
    for (let i = block.from; i < block.records; i += RECORD_LENGTH) {
      const last = repeated.get(recordPosition(block.bytes, i));
      if (last !== undefined && last !== at + i - block.from) continue;
      replayed.bytes = block.bytes;
      replayed.at = i;
      replayed.extra = block.type === BLOCKS.annotated ? read(file.path, block, isObject) : undefined;
      yield replayed;
    }
    at = block.next;
  }
}
