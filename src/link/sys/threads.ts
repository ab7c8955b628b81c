/**
 * Gives up the capabilities of all other threads of this process, which capset(2) and prctl(2) do not reach: Node's own are there
 * before any JavaScript runs. A signal interrupts each thread, and its handler makes the calls, as libcap's libpsx and the C
 * library's setuid(3) do it. No function of the C library could be the handler, so it is a few instructions in a page of memory.
 *
 * Only for x86-64 and arm64, the processors on which it has been tried; see native-notes/capabilities.md for the others.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { arch } from "node:os";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { libc, nativeMemory, systemError, viewOf } from "./libc.ts";

/** How a processor is told to move a number to a register, and to call the kernel. */
interface Processor {
  readonly calls: Readonly<
    Record<"mprotect" | "rtSigaction" | "rtSigreturn" | "capset" | "prctl" | "tgkill", number>
  >;
  /** Registers of a system call, by the number that the encoding has for them: its own number, and its arguments in order. */
  readonly numberIn: number;
  readonly argumentsIn: readonly number[];
  /** Sets all 64 bits of a register. */
  move(register: number, value: bigint): number[];
  readonly systemCall: readonly number[];
  readonly return: readonly number[];
}

const u32 = (value: number): number[] => [...new Uint8Array(Uint32Array.of(value).buffer)];
const u64 = (value: bigint): number[] => [...new Uint8Array(BigUint64Array.of(value).buffer)];

const PROCESSORS: Readonly<Record<string, Processor | undefined>> = {
  x64: {
    // asm/unistd_64.h
    calls: { mprotect: 10, rtSigaction: 13, rtSigreturn: 15, capset: 126, prctl: 157, tgkill: 234 },
    // syscall(2): rax; rdi, rsi, rdx, r10, r8.
    numberIn: 0,
    argumentsIn: [7, 6, 2, 10, 8],
    // mov register, value
    move: (register, value) => [0x48 | (register >> 3), 0xb8 | (register & 7), ...u64(value)],
    systemCall: [0x0f, 0x05],
    return: [0xc3],
  },
  arm64: {
    // asm-generic/unistd.h
    calls: { mprotect: 226, rtSigaction: 134, rtSigreturn: 139, capset: 91, prctl: 167, tgkill: 131 },
    // syscall(2): x8; x0 to x4.
    numberIn: 8,
    argumentsIn: [0, 1, 2, 3, 4],
    // movk register, 16 bits of the value, lsl 0, 16, 32 and 48
    move: (register, value) =>
      [0, 1, 2, 3].flatMap((part) =>
        u32(0xf280_0000 | (part << 21) | (Number((value >> BigInt(16 * part)) & 0xffffn) << 5) | register),
      ),
    // svc #0
    systemCall: u32(0xd400_0001),
    // ret
    return: u32(0xd65f_03c0),
  },
};

/** Bytes of memory that the handler is given; the kernel makes whole pages of them, of 4, 16 or 64 KiB. */
const LENGTH = 4096;
const PROT_READ = 1;
const PROT_WRITE = 2;
const PROT_EXEC = 4;
const MAP_PRIVATE = 2;
const MAP_ANONYMOUS = 32;
const SA_RESTORER = 0x0400_0000;
const SA_RESTART = 0x1000_0000;
/** The C library's own for setuid(3): the only one that no thread can block. */
const SIGNAL = 33;
const SIGSET_BYTES = 8;

const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
const CAPABILITY_VERSION_3 = 0x20080522;

/** Where the page has what capset(2) reads, and what the handler returns to. */
const HEADER_AT = 1024;
const SETS_AT = 1040;
const RETURN_AT = 512;
/** Looks at the threads before it is a failure; each is interrupted within microseconds of being scheduled. */
const MOST_LOOKS = 10_000;
const LOOK_MS = 0.2;

/** `number(...values)`, the number a system call's. */
const call = (processor: Processor, number: number, ...values: readonly (number | bigint)[]): number[] => [
  ...values.flatMap((value, i) => processor.move(processor.argumentsIn[i], BigInt(value))),
  ...processor.move(processor.numberIn, BigInt(number)),
  ...processor.systemCall,
];

/** The handler for a page at `base`; registers are the interrupted thread's again when it returns. */
const handler = (processor: Processor, base: bigint): number[] => [
  ...call(processor, processor.calls.prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0),
  ...call(processor, processor.calls.capset, base + BigInt(HEADER_AT), base + BigInt(SETS_AT)),
  ...call(processor, processor.calls.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
  ...processor.return,
];

/**
 * Leaves the other threads no capability, and no way to new ones.
 * @throws {SynprobeError} `ERR_SYSTEM` when a thread still has one after two seconds
 */
export function dropInOtherThreads(): void {
  const processor = PROCESSORS[arch()];
  if (processor === undefined || !existsSync("/proc/self/task")) return;
  const { calls } = processor;
  const base = libc.mmap(null, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (BigInt(base) < 0n) throw systemError("mmap");
  const address = BigInt(base);
  const page = new Uint8Array(viewOf(address, LENGTH));
  page.set(handler(processor, address));
  page.set(call(processor, calls.rtSigreturn), RETURN_AT);
  // The sets after the header stay empty.
  page.set(u32(CAPABILITY_VERSION_3), HEADER_AT);
  // Of arm64 the instruction cache as well: the kernel brings it up to date as it makes a page executable.
  if (libc.systemCall(calls.mprotect, address, LENGTH, PROT_READ | PROT_EXEC, 0) < 0)
    throw systemError("mprotect");
  // struct sigaction, the kernel's of both: handler, flags, what the handler returns to, mask.
  const action = nativeMemory(32);
  action.set(u64(address), 0);
  action.set(u64(BigInt(SA_RESTORER | SA_RESTART)), 8);
  action.set(u64(address + BigInt(RETURN_AT)), 16);
  const before = nativeMemory(32);
  if (libc.signalAction(calls.rtSigaction, SIGNAL, action, before, SIGSET_BYTES) < 0)
    throw systemError("rt_sigaction");
  try {
    interruptAll(calls.tgkill);
  } finally {
    libc.signalAction(calls.rtSigaction, SIGNAL, before, nativeMemory(32), SIGSET_BYTES);
  }
  // The page stays: a thread shows that it has given up its capabilities before it has returned from the handler.
}

/** Until none has anything left: one that begins meanwhile has what its maker had. */
function interruptAll(tgkill: number): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const told = new Set<number>();
  for (let look = 0; look < MOST_LOOKS; look++) {
    const { main, others } = threads();
    const left = others.filter(({ hasPower }) => hasPower);
    if (left.length === 0) return;
    for (const { id } of left.filter((each) => !told.has(each.id))) {
      told.add(id);
      libc.systemCall(tgkill, main, id, SIGNAL, 0);
    }
    if (look > 0) Atomics.wait(pause, 0, 0, LOOK_MS);
  }
  throw new SynprobeError(ERROR_CODES.system, "a thread of this process keeps its capabilities");
}

interface Thread {
  readonly id: number;
  /** A capability, or a way to have one by execve(2). */
  readonly hasPower: boolean;
}

function threads(): { readonly main: number; readonly others: readonly Thread[] } {
  const status = (path: string): string => {
    try {
      // In one call into Node, as no other encoding is.
      return readFileSync(`/proc/self/${path}`, "utf8");
    } catch {
      // It has ended.
      return "";
    }
  };
  const main = idOf(status("status"));
  const found = readdirSync("/proc/self/task").map((name) => status(`task/${name}/status`));
  const others = found
    .filter((text) => text !== "" && idOf(text) !== main)
    .map((text) => ({
      id: idOf(text),
      hasPower: /^Cap(Eff|Prm|Amb):\s*0*[1-9a-f]/m.test(text) || /^NoNewPrivs:\s*0/m.test(text),
    }));
  return { main, others };
}

/** In this process's own namespace, the innermost, whichever /proc is of. */
const idOf = (status: string): number =>
  Number(/^NSpid:.*?(\d+)$/m.exec(status)?.[1] ?? /^Pid:\s*(\d+)/m.exec(status)?.[1]);
