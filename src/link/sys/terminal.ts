/**
 * The foreground process group: the one that gets the signals of a terminal's keys and may read from it
 * (credentials(7), tcsetpgrp(3)). A shell in a process namespace of its own can neither see nor restore a group outside.
 */
import { constants } from "node:os";
import { libc } from "./libc.ts";

const STDIN = 0;
const SIG_IGN = 1;

/** Makes the group the terminal's foreground, when standard input is a terminal of this session; else does nothing. */
export function setForeground(group: number): void {
  // Asking from the background would stop this process. Its children do not inherit this: libuv resets it.
  libc.signal(constants.signals.SIGTTOU, SIG_IGN);
  libc.tcsetpgrp(STDIN, group);
}

/** Moves this process to a group of its own, and that to the terminal's foreground. */
export function leadForeground(pid: number): void {
  if (libc.setpgid(0, 0) === 0) setForeground(pid);
}
