/**
 * libc, called through koffi: the few system calls that Node and the raw-socket package do not offer.
 *
 * One of the two files that import koffi or raw-socket (with raw-socket.ts). Nothing here knows a protocol: callers get
 * file descriptors, byte buffers and `errno` names. Linux only; loading this file elsewhere is a caller's mistake, which
 * runtime/system/platform.ts prevents with a clear error.
 */
import { arch, endianness } from "node:os";
import koffi from "koffi";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { letReactionsRun } from "./reactions.ts";

const lib = koffi.load(null);

/** The C functions, typed. Each returns -1 on failure, with the cause in `errno()`. */
export const libc = {
  socket: lib.func("int socket(int, int, int)") as (domain: number, type: number, protocol: number) => number,
  bind: lib.func("int bind(int, void*, uint32_t)") as (
    fd: number,
    name: Uint8Array,
    length: number,
  ) => number,
  connect: lib.func("int connect(int, void*, uint32_t)") as (
    fd: number,
    name: Uint8Array,
    length: number,
  ) => number,
  close: lib.func("int close(int)") as (fd: number) => number,
  _exit: lib.func("void _exit(int)") as (status: number) => void,
  flock: lib.func("int flock(int, int)") as (fd: number, operation: number) => number,
  fcntl: lib.func("int fcntl(int, int, int)") as (fd: number, command: number, value: number) => number,
  send: lib.func("int64_t send(int, void*, size_t, int)") as (
    fd: number,
    bytes: Uint8Array,
    length: number,
    flags: number,
  ) => number,
  recv: lib.func("int64_t recv(int, void*, size_t, int)") as (
    fd: number,
    bytes: Uint8Array,
    length: number,
    flags: number,
  ) => number,
  sendmmsg: lib.func("int sendmmsg(int, void*, uint32_t, int)") as (
    fd: number,
    messages: bigint,
    count: number,
    flags: number,
  ) => number,
  recvmmsg: lib.func("int recvmmsg(int, void*, uint32_t, int, void*)") as (
    fd: number,
    messages: bigint,
    count: number,
    flags: number,
    timeout: null,
  ) => number,
  getsockopt: lib.func("int getsockopt(int, int, int, void*, void*)") as (
    fd: number,
    level: number,
    option: number,
    value: Uint8Array,
    length: Uint8Array,
  ) => number,
  setsockopt: lib.func("int setsockopt(int, int, int, void*, uint32_t)") as (
    fd: number,
    level: number,
    option: number,
    value: Uint8Array,
    length: number,
  ) => number,
  mmap: lib.func("intptr_t mmap(void*, size_t, int, int, int, long)") as (
    at: null,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ) => number | bigint,
  munmap: lib.func("int munmap(void*, size_t)") as (at: bigint, length: number) => number,
  ppoll: lib.func("int ppoll(void*, unsigned long, void*, void*)") as (
    fds: Uint8Array,
    count: number,
    timeout: Uint8Array | null,
    signals: null,
  ) => number,
  clockGettime: lib.func("int clock_gettime(int, void*)") as (clock: number, timespec: Uint8Array) => number,
  setpgid: lib.func("int setpgid(int, int)") as (pid: number, group: number) => number,
  tcsetpgrp: lib.func("int tcsetpgrp(int, int)") as (fd: number, group: number) => number,
  signal: lib.func("intptr_t signal(int, intptr_t)") as (signal: number, handler: number) => number | bigint,
  sigaction: lib.func("int sigaction(int, void*, void*)") as (
    signal: number,
    action: null,
    old: Uint8Array,
  ) => number,
  capset: lib.func("int capset(void*, void*)") as (header: Uint8Array, data: Uint8Array) => number,
  syscall: lib.func("int64_t syscall(int64_t, int64_t, void*, uint32_t)") as (
    number: number,
    command: number,
    attributes: Uint8Array,
    length: number,
  ) => number,
  /** Calls by number that libc has no function for, or does not let through. */
  systemCall: lib.func("int64_t syscall(int64_t, int64_t, int64_t, int64_t, int64_t)") as (
    number: number,
    a: number | bigint,
    b: number,
    c: number,
    d: number,
  ) => number,
  signalAction: lib.func("int64_t syscall(int64_t, int64_t, void*, void*, int64_t)") as (
    number: number,
    signal: number,
    action: Uint8Array,
    before: Uint8Array,
    length: number,
  ) => number,
  prctl: lib.func("int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)") as (
    option: number,
    a: number,
    b: number,
    c: number,
    d: number,
  ) => number,
} as const;

/** Numbers of system calls that libc has no function for (asm/unistd.h); other processors do without. */
const SYSTEM_CALLS: Readonly<Record<string, { readonly bpf: number } | undefined>> = {
  x64: { bpf: 321 },
  arm64: { bpf: 280 },
};

/** @returns -1 on failure, also where the call's number is not known */
export function systemCall(name: "bpf", command: number, attributes: Uint8Array, length: number): number {
  const number = SYSTEM_CALLS[arch()]?.[name];
  return number === undefined ? -1 : Number(libc.syscall(number, command, attributes, length));
}

/** The same in a thread of the pool. */
export async function systemCallInPool(...[name, ...args]: Parameters<typeof systemCall>): Promise<number> {
  const number = SYSTEM_CALLS[arch()]?.[name];
  return number === undefined ? -1 : (await inPool(libc.syscall, number, ...args)).value;
}

/** Size of a pointer, `size_t` and `long` in bytes. */
export const POINTER_SIZE = koffi.sizeof("void*");
export const LITTLE_ENDIAN = endianness() === "LE";

/** Address of a buffer's first byte. The buffer must own memory outside the JavaScript heap: see `nativeMemory`. */
export const addressOf = (bytes: Uint8Array): bigint => koffi.address(bytes);

/**
 * Memory whose address stays put for as long as it is referenced: V8 may move the contents of small typed arrays that
 * it allocates itself, but never the backing store of an explicit ArrayBuffer.
 */
export const nativeMemory = (length: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(new ArrayBuffer(length));

/** A view of native memory, without a copy. The memory must not be unmapped while the view is in use. */
export const viewOf = (address: bigint, length: number): ArrayBuffer => koffi.view(address, length);

/** Writes a pointer into a structure. */
export function putPointer(view: DataView, at: number, value: bigint): void {
  if (POINTER_SIZE === 8) view.setBigUint64(at, value, LITTLE_ENDIAN);
  else view.setUint32(at, Number(value), LITTLE_ENDIAN);
}

/** Writes a `size_t` or `long` below 2^32 into a structure. */
export function putSize(view: DataView, at: number, value: number): void {
  if (POINTER_SIZE === 8) view.setUint32(at + (LITTLE_ENDIAN ? 4 : 0), 0, LITTLE_ENDIAN);
  view.setUint32(at + (POINTER_SIZE === 8 && !LITTLE_ENDIAN ? 4 : 0), value, LITTLE_ENDIAN);
}

/**
 * Calls `onReadable` from this thread's event loop whenever `fd` can be read, and keeps the loop alive until the function
 * returned is called. An error on the descriptor ends libuv's polling of it: `onError` is called, then polling starts again.
 */
export function watchReadable(fd: number, onReadable: () => void, onError: () => void): () => void {
  // The types of koffi 3.3 say that the callback gets the events alone; a status comes first (src/uv.cc, OnPoll).
  const callback = (status: unknown): void => {
    if (typeof status === "number" && status < 0) {
      onError();
      if (watching) handle.start({ readable: true }, callback);
    }
    if (watching) onReadable();
    letReactionsRun();
  };
  let watching = true;
  const handle = koffi.node.poll(fd, { readable: true }, callback);
  return () => {
    if (watching) handle.close();
    watching = false;
  };
}

/** What a call has returned, and the errno name of what it failed of. */
export interface Outcome {
  readonly value: number;
  readonly cause: string;
}

/**
 * Makes a call in a thread of the pool; the event loop lives until it is done. Where the kernel takes many milliseconds, waiting until
 * no processor uses something any more, such waits overlap in threads. Where no thread takes it, this one makes it. Buffers have to be
 * `nativeMemory`, and are kept until then.
 */
export function inPool<Args extends unknown[]>(
  call: (...args: Args) => number,
  ...args: Args
): Promise<Outcome> {
  const { async: begin } = call as unknown as {
    async(...all: [...Args, (error: Error | null, value: number) => void]): void;
  };
  const outcomeOf = (value: number): Outcome => ({ value: Number(value), cause: value < 0 ? errno() : "" });
  return new Promise((resolve, reject) => {
    try {
      begin(...args, (error, value) => (error === null ? resolve(outcomeOf(value)) : reject(error)));
    } catch {
      // Too many are under way.
      resolve(outcomeOf(call(...args)));
    }
  });
}

/** Closes descriptors all at once in threads of the pool. */
export function closeSoon(fds: readonly number[]): void {
  for (const fd of fds) void inPool(libc.close, fd);
}

const errnoNames = new Map<number, string>(
  Object.entries(koffi.os.errno).map(([name, number]) => [number, name] as const),
);
// Where two names share a number, the better known.
for (const name of ["EAGAIN", "EOPNOTSUPP", "EDEADLK"]) {
  const number = koffi.os.errno[name];
  if (number !== undefined) errnoNames.set(number, name);
}

/** The errno name (`"EPERM"`) of the last failed call of this thread. */
export const errno = (): string => errnoName(koffi.errno());

/** The name of an errno number; `"E123"` for one that has none. */
export const errnoName = (number: number): string => errnoNames.get(number) ?? `E${number}`;

/** The error for an unexpected failure of a call. */
export const systemError = (call: string, name = errno()): SynprobeError =>
  name === "EMFILE" || name === "ENFILE"
    ? new SynprobeError(
        ERROR_CODES.platform,
        `${call} failed: ${name}: too many open files; raise "ulimit -n"`,
      )
    : new SynprobeError(ERROR_CODES.system, `${call} failed: ${name}`);

const CLOCK_REALTIME = 0;
const CLOCK_MONOTONIC = 1;
const CLOCK_BOOTTIME = 7;
/** A greater age means that the clock was set, not that the packet waited; in microseconds. */
const LONGEST_WAIT_US = 60e6;
const timespec = nativeMemory(16);
const timespecView = new DataView(timespec.buffer);

/** Reads a `struct timespec` in microseconds; exact below 2^53 µs. */
export function timespecUs(view: DataView, at: number): number {
  const long = POINTER_SIZE === 8 ? 8 : 4;
  const seconds = long === 8 ? Number(view.getBigInt64(at, LITTLE_ENDIAN)) : view.getInt32(at, LITTLE_ENDIAN);
  return seconds * 1e6 + view.getInt32(at + long + (LITTLE_ENDIAN ? 0 : long - 4), LITTLE_ENDIAN) / 1e3;
}

/** The wall clock in microseconds since the Unix epoch: the clock of the kernel's packet time stamps. */
export function realtimeUs(): number {
  libc.clockGettime(CLOCK_REALTIME, timespec);
  return timespecUs(timespecView, 0);
}

/**
 * How long before `nowUs` of the same clock a packet with this stamp arrived, in whole microseconds; 0 when unknown.
 * An integer: V8 would allocate a fraction each time it is passed on.
 */
export function ageOf(stampUs: number, nowUs: number): number {
  const age = nowUs - stampUs;
  return stampUs > 0 && Math.abs(age) < LONGEST_WAIT_US ? age | 0 : 0;
}

/** Microseconds of the monotonic clock, from an arbitrary start. */
export function monotonicUs(): number {
  libc.clockGettime(CLOCK_MONOTONIC, timespec);
  return timespecUs(timespecView, 0);
}

/** Milliseconds since the machine started, those in which it was suspended too (clock_gettime(2), CLOCK_BOOTTIME). */
export function boottimeMs(): number {
  libc.clockGettime(CLOCK_BOOTTIME, timespec);
  return timespecUs(timespecView, 0) / 1000;
}
