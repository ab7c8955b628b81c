/**
 * Whether a descriptor is a terminal, or may bring input. node:tty takes two milliseconds to load (the bundle loads it at the first call), and process.stdout
 * one more: for files, pipes and /dev/null neither is needed.
 * Tested by test/cli/start.test.ts and test/cli/terminal.test.ts.
 */
import { fstatSync, statSync } from "node:fs";
import { isatty } from "node:tty";

export function isTerminal(fd: number): boolean {
  try {
    const stat = fstatSync(fd);
    return stat.isCharacterDevice() && stat.rdev !== statSync("/dev/null").rdev && isatty(fd);
  } catch {
    return false;
  }
}

/** Whether standard input may bring targets: a pipe, a socket or a file, not a terminal or /dev/null. */
export function isPiped(): boolean {
  try {
    const stat = fstatSync(0);
    return stat.isFIFO() || stat.isSocket() || stat.isFile();
  } catch {
    return false;
  }
}
