/**
 * The connection to Redis or Valkey: where it is, whether its settings do, and what is said when it does not answer. Errors name the
 * host, never the password.
 *
 * What is kept there: registry.ts, coordinator.ts, courier.ts.
 */
import { Redis } from "ioredis";
import { ERROR_CODES, isSynprobeError, SynprobeError } from "../../errors.ts";
import { nowMs } from "../system/clock.ts";

/** Before every key, those of BullMQ too. */
export const PREFIX = "synprobe-fleet";
/** A command that has no answer for so long is given up, and its connection with it. */
const SILENT_MS = 10_000;
const CONNECT_MS = 5000;
const MOST_RETRY_MS = 2000;
/** Attempts at the start, after the first, which take a second together; and none when one that nobody answered took so long. */
const FIRST_TRIES = 3;
const FIRST_MS = 3000;

const fleetError = (message: string, cause?: unknown): SynprobeError =>
  new SynprobeError(ERROR_CODES.fleet, message, cause === undefined ? {} : { cause });

/** What a URL says. */
interface Place {
  readonly text: string;
  readonly isLocal: boolean;
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
}

/** @throws {SynprobeError} `ERR_USAGE` for what is no URL of Redis */
function readUrl(url: string): Place {
  try {
    // A socket has no host, and no URL has a password without one.
    const parsed = new URL(url.replace(/^(unix:\/\/[^/]*@)(?=\/)/, "$1localhost"));
    const { protocol, hostname, port, pathname, searchParams, username, password } = parsed;
    const isSocket = protocol === "unix:" && pathname.length > 1;
    const db = (isSocket ? "" : pathname.slice(1)) || (searchParams.get("db") ?? "0");
    const rest = {
      ...(username === "" ? {} : { username: decodeURIComponent(username) }),
      ...(password === "" ? {} : { password: decodeURIComponent(password) }),
      db: Number(db),
    };
    if (isSocket && DATABASE.test(db)) return { text: pathname, isLocal: true, ...rest };
    if (/^rediss?:$/.test(protocol) && hostname !== "" && DATABASE.test(db)) {
      const isLocal = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
      return { text: `${hostname}:${port || "6379"}`, isLocal, ...rest };
    }
  } catch {}
  throw new SynprobeError(
    ERROR_CODES.usage,
    "a fleet's URL is redis://HOST:PORT, rediss://HOST:PORT (TLS) or unix:///SOCKET, with user:password@ before the host or the socket if it needs one (a % in it is %25), and /NUMBER after the port, ?db=NUMBER after the socket, for another database than 0",
  );
}
const DATABASE = /^\d{1,9}$/;

/**
 * Where a URL leads, for people: host and port, or the socket's path.
 * @throws {SynprobeError} `ERR_USAGE` for what is no URL of Redis
 */
export function whereOf(url: string): Pick<Place, "text" | "isLocal"> {
  const { text, isLocal } = readUrl(url);
  return { text, isLocal };
}

/** What Redis says, for people: of a command that nobody has typed it makes two lines. */
export const reasonOf = (message: string): string =>
  message.startsWith("NOAUTH") ? "it asks for a password, which the URL does not have" : message;

/** @returns the error as a command tells it, where it is Redis's; otherwise as it is */
export const asFleetError = (url: string, error: unknown): unknown =>
  isTrouble(error) ? fleetError(`Redis at ${whereOf(url).text}: ${reasonOf(error.message)}`, error) : error;

/** How the start waits for an answer. */
export interface Opening {
  /** For a Redis that does not answer yet, as long as it takes; otherwise a few seconds. */
  readonly isPatient?: boolean;
  /** Settles when nobody waits any more. */
  readonly ended?: Promise<void>;
}

/**
 * Connects, and checks what must be so. A connection that breaks later comes back by itself; commands wait for it.
 * @param tell one line when it is away, and one when it is back
 * @throws {SynprobeError} `ERR_FLEET` when nobody answers, or not as is needed; `ERR_USAGE` for a bad URL
 */
export async function openRedis(
  url: string,
  tell: (line: string) => void,
  { isPatient = false, ended }: Opening = {},
): Promise<Redis> {
  const { text, db, username, password } = readUrl(url);
  const sinceMs = nowMs();
  let reason = "";
  let isOpen = false;
  let isAway = false;
  const options = {
    lazyConnect: true,
    maxRetriesPerRequest: null,
    connectTimeout: CONNECT_MS,
    socketTimeout: SILENT_MS,
    // It has become another's replica, and where the URL leads may be the new one. The command fails, so that this is said.
    reconnectOnError: ({ message }: Error) => message.includes("READONLY"),
    retryStrategy: (times: number) =>
      isOpen || isPatient || (times <= FIRST_TRIES && nowMs() - sinceMs < FIRST_MS)
        ? Math.min(50 * 2 ** times, MOST_RETRY_MS)
        : null,
  };
  const account = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
  const client = url.startsWith("unix:")
    ? new Redis({ ...options, ...account, db, path: text })
    : new Redis(url, options);
  client.on("error", (error: Error) => {
    reason = reasonOf(error.message);
    // What Redis itself says at the start ends it.
    if (isAway || !(isOpen || (isPatient && error.name !== "ReplyError"))) return;
    isAway = true;
    tell(`no answer from Redis at ${text} (${reason}): waiting until it is back`);
  });
  client.on("ready", () => {
    if (isAway) tell(`Redis at ${text} is back`);
    isAway = false;
  });
  let isClosed = false;
  // By itself, after the last attempt.
  client.on("end", () => {
    isClosed = true;
  });
  const disconnect = (): void => {
    // A second time would keep the process for two seconds, in which ioredis waits for an end that has been.
    if (!isClosed) client.disconnect();
    isClosed = true;
  };
  try {
    // The first attempt may fail; those after it count too.
    client.connect().catch(() => {});
    void ended?.then(() => isOpen || disconnect());
    await checkSettings(client, text);
    // Where there is no such database the client goes on in the first one, and with another fleet.
    if (db !== 0) await client.select(db);
  } catch (error) {
    disconnect();
    if (isSynprobeError(error)) throw error;
    const why = reason || reasonOf(error instanceof Error ? error.message : String(error));
    const todo = /ECONNREFUSED|ENOENT/.test(why) ? "; start Redis or Valkey there, or mend the URL" : "";
    throw fleetError(`no fleet at ${text}: ${why}${todo}`, error);
  }
  isOpen = true;
  return client;
}

/** Redis 6.2 has what BullMQ needs. */
const OLDEST = [6, 2];

async function checkSettings(client: Redis, where: string): Promise<void> {
  const info = `${await client.info("server")}\n${await client.info("memory")}`;
  const field = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1] ?? "";
  const [major, minor] = field("redis_version").split(".").map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
    throw fleetError(
      `Redis at ${where} is version ${major}.${minor}: a fleet needs ${OLDEST.join(".")} or later`,
    );
  const policy = field("maxmemory_policy");
  if (policy !== "" && policy !== "noeviction") {
    throw fleetError(
      `Redis at ${where} may drop a fleet's work when memory is short (maxmemory-policy ${policy}): set "maxmemory-policy noeviction"`,
    );
  }
}

/** What to do when Redis has no memory for what it was given; undefined for another error. Of a transaction its first error says so. */
export function lackOfMemory(error: Error): string | undefined {
  const { previousErrors = [] } = error as { readonly previousErrors?: readonly Error[] };
  const isLack = [error, ...previousErrors].some(({ message }) =>
    /\bOOM command not allowed\b/.test(message),
  );
  return isLack ? "Redis has no memory for them: raise its maxmemory" : undefined;
}

/** Names of ioredis's errors. */
const REDIS_ERRORS = new Set(["ReplyError", "AbortError", "MaxRetriesPerRequestError"]);

/** Whether an error is Redis's, the queue's or the way's there, and may be gone when it is tried again. */
export function isTrouble(error: unknown): error is Error {
  if (!(error instanceof Error) || isSynprobeError(error)) return false;
  const { code } = error as { readonly code?: unknown };
  // BullMQ's own have numbers.
  if (typeof code === "number" || /^E[A-Z]+$/.test(String(code))) return true;
  return (
    REDIS_ERRORS.has(error.name) ||
    /^(Connection|Socket|Command|Missing|Could not|Job \S+ could not)\b/.test(error.message)
  );
}
