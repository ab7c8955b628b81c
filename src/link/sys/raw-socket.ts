/**
 * One raw IP socket: opened, polled and closed by the raw-socket package; its descriptor found, so that libc.ts can do
 * what the package cannot (errno, batches, ancillary data, time stamps). Where the package is not built, or built for another Node,
 * libc does everything. See native-notes/raw-socket.md.
 *
 * Nothing here builds or reads a packet.
 */
import { EventEmitter } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { errno, libc, nativeMemory, systemError, watchReadable } from "./libc.ts";
import { familyNumber, SO_COOKIE, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_RAW, SOL_SOCKET } from "./linux.ts";
import { loadOwn } from "./own-module.ts";
import { letReactionsRun } from "./reactions.ts";

/**
 * What we use of raw-socket 1.8.1: its native object, which it ships no types for. The package's own JavaScript would read one packet
 * at a time, and loads node:net, which takes longer than a probe of loopback.
 */
interface PackageSocket {
  on(event: "recvReady", handler: () => void): void;
  on(event: "error", handler: (error: Error) => void): void;
  removeAllListeners(event: "recvReady"): void;
  getOption(level: number, option: number, value: Uint8Array, length: number): number;
  pause(recv: boolean, send: boolean): void;
  close(): void;
}

interface RawSocketPackage {
  readonly SocketWrap: {
    new (protocol: number, addressFamily: number): PackageSocket;
    readonly prototype: object;
  };
}

const BINARY = "raw-socket/build/Release/raw.node";

const F_SETFD = 2;
const FD_CLOEXEC = 1;

/** IP protocol numbers a raw socket is opened for. `raw` sends whole packets and never receives (raw(7)). */
export const PROTOCOLS = { icmp: 1, tcp: 6, icmpv6: 58, raw: 255 } as const;
export type Protocol = (typeof PROTOCOLS)[keyof typeof PROTOCOLS];

export interface RawSocket {
  readonly fd: number;
  /** Calls `handler`, and none that was given before, whenever packets wait to be read. */
  onReadable(handler: () => void): void;
  /** Calls `handler` when polling failed; the socket is closed by then. */
  onError(handler: (error: Error) => void): void;
  close(): void;
}

/**
 * Opens a non-blocking raw socket that is not inherited by child processes.
 * @throws {SynprobeError} `ERR_PRIVILEGE` without CAP_NET_RAW; `ERR_NO_SOURCE` when the kernel lacks the address family.
 */
export function openRawSocket(family: 4 | 6, protocol: Protocol): RawSocket {
  const loaded = load();
  if (loaded === undefined) return openByLibc(family, protocol);
  const socket = create(loaded, family, protocol);
  const fd = descriptorOf(socket);
  libc.fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (protocol === PROTOCOLS.raw) socket.pause(true, true);
  let failed: ((error: Error) => void) | undefined;
  socket.on("error", (error) => {
    socket.close();
    failed?.(error);
    letReactionsRun();
  });
  return {
    fd,
    onReadable: (handler) => {
      socket.removeAllListeners("recvReady");
      socket.on("recvReady", () => {
        handler();
        letReactionsRun();
      });
    },
    onError: (handler) => {
      failed = handler;
    },
    close: () => socket.close(),
  };
}

/** Sets an integer or structured socket option. @throws {SynprobeError} `ERR_SYSTEM` with the errno's name. */
export function setOption(fd: number, level: number, option: number, value: number | Uint8Array): void {
  if (!trySetOption(fd, level, option, value)) throw systemError(`setsockopt(${level}, ${option})`);
}

/** The same for an option that the system may refuse: false then, with the cause in `errno()`. */
export function trySetOption(fd: number, level: number, option: number, value: number | Uint8Array): boolean {
  const bytes = typeof value === "number" ? new Uint8Array(Int32Array.of(value).buffer) : value;
  return libc.setsockopt(fd, level, option, bytes, bytes.length) === 0;
}

/** Reads a structured socket option; undefined when the system refuses or has less than `length` bytes of it. */
export function getOptionBytes(
  fd: number,
  level: number,
  option: number,
  length: number,
): Uint8Array<ArrayBuffer> | undefined {
  const value = nativeMemory(length);
  const size = Int32Array.of(length);
  const done = libc.getsockopt(fd, level, option, value, new Uint8Array(size.buffer));
  return done === 0 && size[0] === length ? value : undefined;
}

/** Reads an integer socket option; undefined when the system refuses. */
export function getOption(fd: number, level: number, option: number): number | undefined {
  const value = Int32Array.of(0);
  const length = Int32Array.of(4);
  const done = libc.getsockopt(
    fd,
    level,
    option,
    new Uint8Array(value.buffer),
    new Uint8Array(length.buffer),
  );
  return done === 0 ? value[0] : undefined;
}

/** The package's texts for these errors, from strerror(3). */
const WORDS: Readonly<Record<string, string>> = {
  EPERM: "Operation not permitted",
  EACCES: "Permission denied",
  EAFNOSUPPORT: "Address family not supported by protocol",
};

/** The same without the package. */
function openByLibc(family: 4 | 6, protocol: Protocol): RawSocket {
  const type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd = libc.socket(familyNumber(family), type, protocol);
  if (fd < 0) {
    const name = errno();
    const cause = new Error(WORDS[name] ?? name);
    if (name === "EPERM" || name === "EACCES") throw notAllowed(cause);
    if (name === "EAFNOSUPPORT") throw noFamily(family, cause);
    throw systemError(`socket(raw IPv${family})`, name);
  }
  let failed: ((error: Error) => void) | undefined;
  let readable: (() => void) | undefined;
  let endWatch: (() => void) | undefined;
  let open = true;
  const close = (): void => {
    if (!open) return;
    open = false;
    endWatch?.();
    libc.close(fd);
  };
  return {
    fd,
    onReadable: (handler) => {
      readable = handler;
      endWatch ??= watchReadable(
        fd,
        () => readable?.(),
        () => {
          close();
          failed?.(new Error("polling a raw socket failed"));
        },
      );
    },
    onError: (handler) => {
      failed = handler;
    },
    close,
  };
}

const notAllowed = (cause: unknown): SynprobeError =>
  new SynprobeError(ERROR_CODES.privilege, "raw sockets are not allowed to this process", { cause });
const noFamily = (family: 4 | 6, cause: unknown): SynprobeError =>
  new SynprobeError(ERROR_CODES.noSource, `this system has no IPv${family}`, { cause });

function create(loaded: RawSocketPackage, family: 4 | 6, protocol: Protocol): PackageSocket {
  try {
    return new loaded.SocketWrap(protocol, family === 4 ? 1 : 2);
  } catch (cause) {
    // The package reports strerror(3) text only.
    const text = cause instanceof Error ? cause.message : String(cause);
    if (/not permitted|permission denied/i.test(text)) throw notAllowed(cause);
    if (/address family/i.test(text)) throw noFamily(family, cause);
    if (/too many open files/i.test(text)) throw systemError(`opening a raw IPv${family} socket`, "EMFILE");
    throw new SynprobeError(ERROR_CODES.system, `cannot open a raw IPv${family} socket: ${text}`, { cause });
  }
}

/** Whether this process may open raw sockets. */
export function mayOpenRawSockets(): boolean {
  for (const family of [4, 6] as const) {
    const fd = libc.socket(familyNumber(family), SOCK_RAW | SOCK_CLOEXEC, PROTOCOLS.tcp);
    if (fd >= 0) {
      libc.close(fd);
      return true;
    }
  }
  return false;
}

/** Undefined where it does not load; null before it has been tried. */
let found: RawSocketPackage | undefined | null = null;

function load(): RawSocketPackage | undefined {
  if (found !== null) return found;
  // It polls on the main thread's loop, and would call into another thread's JavaScript from there.
  if (!isMainThread()) return undefined;
  try {
    found = loadOwn(BINARY) as RawSocketPackage;
    // It calls `emit` for what happens, and leaves it to JavaScript to have one.
    Object.assign(found.SocketWrap.prototype, EventEmitter.prototype);
  } catch {
    found = undefined;
  }
  return found;
}

/** Node's main thread is the process's first. Its own `isMainThread` would load streams: 2 ms of a probe's 50. */
function isMainThread(): boolean {
  try {
    const [pid, , thread] = readlinkSync("/proc/thread-self").split("/");
    return pid === thread;
  } catch {
    return true;
  }
}

/** Finds the package's descriptor by the socket's cookie, a number that no other socket of this system ever has. */
function descriptorOf(socket: PackageSocket): number {
  const wanted = Buffer.alloc(8);
  socket.getOption(SOL_SOCKET, SO_COOKIE, wanted, wanted.length);
  const cookie = nativeMemory(8);
  const length = nativeMemory(4);
  // The youngest descriptor is most often the last: look from there.
  for (const fd of descriptors()) {
    new DataView(length.buffer).setUint32(0, 8, true);
    if (libc.getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, length) === 0 && wanted.equals(cookie)) return fd;
  }
  const name = errno();
  socket.close();
  throw systemError("finding the raw socket's descriptor", name);
}

/** This process's descriptors, the youngest first. */
function descriptors(): number[] {
  try {
    return readdirSync("/proc/self/fd")
      .map(Number)
      .sort((a, b) => b - a);
  } catch {
    // Without /proc: the range that a newly started process uses.
    return Array.from({ length: 256 }, (_, i) => 255 - i);
  }
}
