/**
 * A file that one process at a time has, by flock(2): that ends with the process, and asks for the file to be open.
 * Tested by test/runtime/journal/writer.test.ts and test/lab/watch.test.ts.
 */
import { fstatSync, readFileSync } from "node:fs";
import { errno, libc } from "../../link/sys/libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Locks an open file until it is closed.
 * @param advice what to do while another process has it
 * @returns undefined when it is locked now; else what is said of the file
 */
export function lockFile(fd: number, advice: string): string | undefined {
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return undefined;
  const name = errno();
  if (name !== "EAGAIN") return `cannot be locked: ${name}`;
  const { ino } = fstatSync(fd);
  // Of file systems in layers the device is another there.
  const [, pid = "0"] = new RegExp(`FLOCK .* (\\d+) \\S+:${ino} `).exec(locks()) ?? [];
  return `is in use by another synprobe${pid === "0" ? "" : `, process ${pid}`}: ${advice}`;
}

/** proc_locks(5). */
function locks(): string {
  try {
    return readFileSync("/proc/locks", "utf8");
  } catch {
    return "";
  }
}
