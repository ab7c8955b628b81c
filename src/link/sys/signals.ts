/**
 * Signals that the process was started with ignored: by nohup, or by a shell for `command &`. Node gives each its default back before
 * any JavaScript runs, so nobody can ask for it. What is left is the trace of Node's call: execve(2) clears the flags of every
 * disposition, and C libraries set SA_RESTORER in each that they change.
 *
 * To be asked before the program itself watches the signal. Where the C library sets no such flag (glibc on arm64), no signal
 * is found.
 */
import { constants } from "node:os";
import { LITTLE_ENDIAN, libc, nativeMemory, POINTER_SIZE } from "./libc.ts";

/** struct sigaction of glibc and musl on Linux: the handler, 1024 bits of a mask, flags, padding, and the restorer. */
const FLAGS_AT = POINTER_SIZE + 128;
const SIGACTION_LENGTH = POINTER_SIZE + 128 + 2 * POINTER_SIZE;
/** asm/signal.h */
const SA_RESTORER = 0x0400_0000;
const SIG_DFL = 0;

/** Whether Node found a signal ignored when it started. Only for signals that Node does not watch itself: not SIGINT, SIGTERM. */
export function wasIgnored(signal: "SIGHUP" | "SIGQUIT"): boolean {
  const old = nativeMemory(SIGACTION_LENGTH);
  if (libc.sigaction(constants.signals[signal], null, old) !== 0) return false;
  const isDefault = old.subarray(0, POINTER_SIZE).every((byte) => byte === SIG_DFL);
  const flags = new DataView(old.buffer).getUint32(FLAGS_AT, LITTLE_ENDIAN);
  return isDefault && (flags & SA_RESTORER) !== 0;
}
