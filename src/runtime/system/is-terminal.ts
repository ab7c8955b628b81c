/**
 * Whether a descriptor is a terminal. node:tty takes two milliseconds to load (the bundle loads it at the first call), and process.stdout
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
