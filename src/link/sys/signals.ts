/**
 * Signals that the process was started with ignored: by nohup, or by a shell for `command &`. Node gives each its default back before
 * any JavaScript runs, so nobody can ask for it. What is left is the trace of Node's call: execve(2) clears the flags and the restorer
 * of every disposition, and C libraries set SA_RESTORER in each that they change.
 *
 * To be asked before the program itself watches the signal. glibc on arm64 sets no such flag, but passes a restorer nevertheless: what
 * its stack has there. With Node 20, 22 and 24 and glibc 2.36 and 2.41 that was never 0. Where there is neither, no signal is found.
 */
import { constants } from "node:os";
import { LITTLE_ENDIAN, libc, nativeMemory, POINTER_SIZE } from "./libc.ts";

/** struct sigaction of glibc and musl on Linux: the handler, 1024 bits of a mask, flags, padding, and the restorer. */
const FLAGS_AT = POINTER_SIZE + 128;
const RESTORER_AT = FLAGS_AT + POINTER_SIZE;
const SIGACTION_LENGTH = RESTORER_AT + POINTER_SIZE;
/** asm/signal.h */
const SA_RESTORER = 0x0400_0000;
const SIG_DFL = 0;

/** Whether Node found a signal ignored when it started. Only for signals that Node does not watch itself: not SIGINT, SIGTERM. */
export function wasIgnored(signal: "SIGHUP" | "SIGQUIT"): boolean {
  const old = nativeMemory(SIGACTION_LENGTH);
  if (libc.sigaction(constants.signals[signal], null, old) !== 0) return false;
  const isDefault = old.subarray(0, POINTER_SIZE).every((byte) => byte === SIG_DFL);
  const flags = new DataView(old.buffer).getUint32(FLAGS_AT, LITTLE_ENDIAN);
  const hasRestorer = (flags & SA_RESTORER) !== 0 || old.subarray(RESTORER_AT).some((byte) => byte !== 0);
  return isDefault && hasRestorer;
}
