/**
 * libc, called through koffi: the few system calls that Node and the raw-socket package do not offer.
 *
 * One of the two files that import koffi or raw-socket (with raw-socket.ts). Nothing here knows a protocol: callers get
 * file descriptors, byte buffers and `errno` names. Linux only; loading this file elsewhere is a caller's mistake, which
 * runtime/platform.ts prevents with a clear error.
 */
import { endianness } from "node:os";
import koffi from "koffi";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";

const lib = koffi.load(null);

/** The C functions, typed. Each returns -1 on failure, with the cause in `errno()`. */
export const libc = {
  socket: lib.func("int socket(int, int, int)") as (domain: number, type: number, protocol: number) => number,
  bind: lib.func("int bind(int, void*, uint32_t)") as (
    fd: number,
    name: Uint8Array,
    length: number,
  ) => number,
  close: lib.func("int close(int)") as (fd: number) => number,
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
  clockGettime: lib.func("int clock_gettime(int, void*)") as (clock: number, timespec: Uint8Array) => number,
  capset: lib.func("int capset(void*, void*)") as (header: Uint8Array, data: Uint8Array) => number,
  prctl: lib.func("int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)") as (
    option: number,
    a: number,
    b: number,
    c: number,
    d: number,
  ) => number,
} as const;

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

const errnoNames = new Map<number, string>(
  Object.entries(koffi.os.errno).map(([name, number]) => [number, name] as const),
);
// Where two names share a number, the one people know.
for (const name of ["EAGAIN", "EOPNOTSUPP", "EDEADLK"]) {
  const number = koffi.os.errno[name];
  if (number !== undefined) errnoNames.set(number, name);
}

/** The errno name (`"EPERM"`) of the last failed call of this thread. */
export const errno = (): string => errnoName(koffi.errno());

/** The name of an errno number; `"E123"` for one that has none. */
export const errnoName = (number: number): string => errnoNames.get(number) ?? `E${number}`;

/** The error for a call that failed in a way no caller foresaw. */
export const systemError = (call: string, name = errno()): SynprobeError =>
  new SynprobeError(ERROR_CODES.system, `${call} failed: ${name}`);

const CLOCK_REALTIME = 0;
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
