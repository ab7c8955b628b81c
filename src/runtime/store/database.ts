/**
 * Opens a store: finds SQLite, checks whose file it is, brings older versions up to date. Its errors in words.
 *
 * SQLite comes with libsql, whose binaries are packages of the registry, so that Node 20 has it as well as later ones; it is an
 * optional dependency and loaded here alone. What the tables mean is in schema.ts.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync, type Stats, statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { loadOwn } from "../../link/sys/own-module.ts";
import { errorCode, reasonOf } from "../system/file-errors.ts";
import { asInvoker } from "../system/invoker.ts";
import { APPLICATION_ID, MIGRATIONS, NAMES_OF_HOSTS, WITHOUT_NAMES } from "./schema.ts";

export type SqlValue = string | number | null;
export type Row = Readonly<Record<string, SqlValue>>;

/** A prepared statement, as better-sqlite3 and libsql have it. */
interface SqliteStatement {
  run(...values: readonly SqlValue[]): { readonly changes: number; readonly lastInsertRowid: number };
  get(...values: readonly SqlValue[]): Row | undefined;
  all(...values: readonly SqlValue[]): Row[];
  iterate(...values: readonly SqlValue[]): IterableIterator<Row>;
}

export interface Statement extends SqliteStatement {
  /** Each row as its columns, in their order: for many rows. */
  columns(...values: readonly SqlValue[]): IterableIterator<readonly (SqlValue | Uint8Array)[]>;
}

interface Sqlite {
  exec(sql: string): void;
  prepare(sql: string): SqliteStatement & {
    /** From then on rows are lists of their columns. */
    raw(): { iterate(...values: readonly SqlValue[]): IterableIterator<(SqlValue | Uint8Array)[]> };
  };
  close(): void;
}

export interface Store {
  readonly path: string;
  /** @throws {SynprobeError} `ERR_STORE`, as every use of a statement does */
  prepare(sql: string): Statement;
  /** Does all of it or nothing. @throws {SynprobeError} `ERR_STORE`, or what `act` throws */
  transaction<T>(act: () => T): T;
  close(): void;
}

/** How long another process may write before this one gives up, in milliseconds. */
const BUSY_MS = 10_000;
const MAGIC = "SQLite format 3\0";

export const storeError = (message: string, cause?: unknown): SynprobeError =>
  new SynprobeError(ERROR_CODES.store, message, { cause });

/**
 * A descriptor of every store that this process has opened, by its file, which is not closed any more. SQLite's locks are the process's,
 * end when any descriptor of the file is closed, and last longer than a store: libsql closes it once its statements are collected. A
 * store that is looked at meanwhile would lose them, and another process take its log away with all that is in it. The process's, as
 * commands are bundled apart, and each bundle has this file.
 */
const OPENED = Symbol.for("synprobe stores that were opened");
const shared = globalThis as { [OPENED]?: Map<string, number> };
shared[OPENED] ??= new Map();
const opened = shared[OPENED];

/** Stores that are in no folder any more, as where another took the place of one: nobody else can open them, and they take up the disk. */
function closeRemoved(): void {
  for (const [file, fd] of opened) {
    if (fstatSync(fd).nlink > 0) continue;
    opened.delete(file);
    closeSync(fd);
  }
}

const wasOpened = (path: string): boolean => opened.has(identityOf(path) ?? NO_FILE);
const keepOpen = (fd: number): void => void opened.set(fileOf(fstatSync(fd)), fd);

/** Whether a file is one of SQLite's; false for what cannot be read, and for pipes, whose first bytes nobody could read again. */
export function isSqlite(path: string, drop = false): boolean {
  try {
    if (!asInvoker(drop, () => statSync(path)).isFile()) return false;
    if (wasOpened(path)) return true;
    const fd = asInvoker(drop, () => openSync(path, "r"));
    try {
      const head = Buffer.alloc(MAGIC.length);
      return readSync(fd, head) === head.length && head.toString("latin1") === MAGIC;
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}

/** Error codes of SQLite that say what is wrong with the place, not with us. */
const REASONS: Readonly<Record<string, string>> = {
  SQLITE_FULL: "the disk is full",
  SQLITE_READONLY: "it, or its directory, is read-only",
  SQLITE_BUSY: "another process is writing to it",
  SQLITE_NOTADB: "it is no store of synprobe",
  SQLITE_CORRUPT: "it is damaged",
};

/** Results of SQLite for which libsql has no name, by their lowest byte (https://www.sqlite.org/rescode.html). */
const PRIMARY: Readonly<Record<number, string>> = {
  5: "SQLITE_BUSY",
  8: "SQLITE_READONLY",
  11: "SQLITE_CORRUPT",
  13: "SQLITE_FULL",
  26: "SQLITE_NOTADB",
};

/** SQLite's name for what is wrong. */
function codeOf(error: unknown): string {
  const said = errorCode(error);
  const number = Number(/^UNKNOWN_SQLITE_ERROR_(\d+)/.exec(said)?.[1]);
  return PRIMARY[number & 0xff] ?? said;
}

/** Whether a store's error may pass by itself, as a full disk does: what was to be written is not, and the store is as it was. */
export const mayPass = ({ code, cause }: SynprobeError): boolean =>
  code === ERROR_CODES.store && /^SQLITE_(?:FULL|BUSY|IOERR)/.test(codeOf(cause));

/** `SQLITE_IOERR_WRITE` and the like are a full disk or quota, as often as not: what SQLite says itself stands beside. */
function why(error: unknown): string {
  const code = codeOf(error);
  const known = Object.keys(REASONS).find((each) => code.startsWith(each));
  return known === undefined
    ? `${code} ${error instanceof Error ? error.message : ""}`.trim()
    : REASONS[known];
}

const NO_FILE = "none";
const fileOf = ({ dev, ino }: Stats): string => `${dev}:${ino}`;

/** Which file a path leads to; undefined where that cannot be known, as without the permissions that it was opened with. */
function identityOf(path: string): string | undefined {
  try {
    return fileOf(statSync(path));
  } catch (error) {
    return errorCode(error) === "ENOENT" ? NO_FILE : undefined;
  }
}

function loadSqlite(): new (
  path: string,
  options: { readonly timeout: number; readonly readonly?: true },
) => Sqlite {
  try {
    return loadOwn("libsql") as ReturnType<typeof loadSqlite>;
  } catch (error) {
    throw storeError(
      "a store needs the optional package libsql, which is not installed or has no binary for this machine: install synprobe with its optional packages (npm install --include=optional)",
      error,
    );
  }
}

/**
 * Opens a store, and creates it where there is none.
 * @param create make the file where there is none; without it, that is an error
 * @throws {SynprobeError} `ERR_STORE`
 */
export function openStore(path: string, create: boolean): Store {
  const failed = (error: unknown): SynprobeError =>
    error instanceof SynprobeError
      ? error
      : storeError(`store ${path}${hasClosedLog(path, error) ? CLOSED_LOG : `: ${why(error)}`}`, error);
  const fd = checkFile(path, create);
  const Database = loadSqlite();
  const openIt = (isReadOnly: boolean): Sqlite => {
    const sqlite = isReadOnly
      ? new Database(readOnlyName(path), { timeout: BUSY_MS, readonly: true })
      : new Database(path, { timeout: BUSY_MS });
    try {
      prepareFile(sqlite, path, !isReadOnly);
      return sqlite;
    } catch (error) {
      sqlite.close();
      throw error;
    }
  };
  let sqlite: Sqlite;
  /** What the file was when it was opened as one that does not change. */
  let unchanged: string | undefined;
  try {
    try {
      sqlite = openIt(false);
    } catch (error) {
      if (create || why(error) !== REASONS["SQLITE_READONLY"]) throw error;
      unchanged = stampOf(path);
      sqlite = openIt(true);
    }
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    throw failed(error);
  }
  const identity = identityOf(path);
  closeRemoved();
  if (fd !== undefined) keepOpen(fd);
  const guard = <T>(act: () => T): T => {
    try {
      return act();
    } catch (error) {
      throw failed(error);
    }
  };
  return {
    path,
    close: () => {
      sqlite.close();
      if (unchanged !== undefined && unchanged !== stampOf(path))
        throw storeError(
          `store ${path} was written to while it was read: what was told may be wrong, ask again`,
        );
    },
    prepare(sql) {
      const statement = guard(() => sqlite.prepare(sql));
      // Each step may fail.
      function* guarded<Each>(iterate: () => Iterable<Each>): Generator<Each> {
        try {
          yield* iterate();
        } catch (error) {
          throw failed(error);
        }
      }
      return {
        run: (...values) => guard(() => statement.run(...values)),
        get: (...values) => guard(() => statement.get(...values)),
        all: (...values) => guard(() => statement.all(...values)),
        iterate: (...values) => guarded(() => statement.iterate(...values)),
        columns: (...values) =>
          guarded(() =>
            sqlite
              .prepare(sql)
              .raw()
              .iterate(...values),
          ),
      };
    },
    transaction: (act) =>
      guard(() => {
        // SQLite would go on with a file that nobody finds any more.
        const now = identityOf(path);
        if (now !== undefined && identity !== undefined && now !== identity)
          throw storeError(`store ${path} has been moved, removed or replaced since it was opened`);
        sqlite.exec("BEGIN IMMEDIATE");
        try {
          const done = act();
          sqlite.exec("COMMIT");
          return done;
        } catch (error) {
          // After a full disk SQLite may have rolled back already.
          try {
            sqlite.exec("ROLLBACK");
          } catch {}
          throw error;
        }
      }),
  };
}

/**
 * Whether a store has a log beside it that nobody has open, as of a writer that was killed, and which cannot be read: SQLite makes a file
 * beside it first, and says only that it cannot open one.
 */
const hasClosedLog = (path: string, error: unknown): boolean =>
  codeOf(error).startsWith("SQLITE_CANTOPEN") && existsSync(`${path}-wal`) && !existsSync(`${path}-shm`);

const CLOSED_LOG =
  " was not closed by its last writer, and has a log beside it (its name and -wal) that cannot be read where nothing may be written: copy both files to a directory that you may write to, and use that store";

/**
 * What a store is opened by that may not be written. Readers share memory in a file beside it, which SQLite makes where nobody has:
 * it does without where it is told that the store does not change, and where there is no log beside it nobody is changing it.
 */
const readOnlyName = (path: string): string =>
  existsSync(`${path}-wal`) ? path : `${pathToFileURL(path).href}?immutable=1`;

/** Is another when somebody has begun to write, or has written. */
function stampOf(path: string): string {
  const { mtimeMs, size } = statSync(path);
  return `${mtimeMs} ${size} ${existsSync(`${path}-wal`)}`;
}

/** SQLite's own messages do not say why a file cannot be opened. @returns its descriptor, unless this process has one already */
function checkFile(path: string, create: boolean): number | undefined {
  let fd: number | undefined;
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    if (!create && found === undefined)
      throw storeError(`there is no store ${path}: --store on a scan, or history import, makes one`);
    // Whoever opens a pipe waits for its other end.
    if (found?.isFile() === false)
      throw storeError(
        `cannot open the store ${path}: it is ${found.isDirectory() ? "a directory" : "a pipe or a device, and no file"}`,
      );
    if (wasOpened(path)) return undefined;
    fd = openSync(path, create ? "a+" : "r");
    if (statSync(path).size > 0 && !isSqlite(path)) throw storeError(`${path} is no store of synprobe`);
    return fd;
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    if (error instanceof SynprobeError) throw error;
    throw storeError(`cannot open the store ${path}: ${reasonOf(errorCode(error))}`, error);
  }
}

function prepareFile(sqlite: Sqlite, path: string, mayWrite: boolean): void {
  const pragma = (name: string): number => Number(sqlite.prepare(`PRAGMA ${name}`).get()?.[name]);
  const version = pragma("user_version");
  if (pragma("application_id") !== APPLICATION_ID) {
    const others = sqlite.prepare("SELECT name FROM sqlite_master").get();
    if (others !== undefined) throw storeError(`${path} is a database of another program`);
  }
  if (version > MIGRATIONS.length)
    throw storeError(
      `store ${path} was written by a later version of synprobe: it needs that, or a later one`,
    );
  if (!mayWrite && version === WITHOUT_NAMES) sqlite.exec(NAMES_OF_HOSTS);
  else if (!mayWrite && version < MIGRATIONS.length)
    throw storeError(
      `store ${path} was written by an earlier version of synprobe, and nobody may bring it up to date: it, or its directory, is read-only`,
    );
  if (!mayWrite) return;
  // Readers and one writer do not wait for each other; what is committed survives a power failure: others may have been told of it.
  sqlite.exec(
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF",
  );
  if (version === MIGRATIONS.length) return;
  // Another process may have been first meanwhile.
  sqlite.exec("BEGIN IMMEDIATE");
  try {
    for (const sql of MIGRATIONS.slice(pragma("user_version"))) sqlite.exec(sql);
    sqlite.exec(
      `PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`,
    );
  } catch (error) {
    try {
      sqlite.exec("ROLLBACK");
    } catch {}
    throw error;
  }
}
