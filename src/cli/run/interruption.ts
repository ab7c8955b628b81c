/**
 * SIGINT, SIGTERM and SIGHUP: the first asks for an orderly end, the second ends at once. Watched from before anything is
 * taken that must be given back. A signal that was ignored when the program started (nohup; a shell's `command &`) stays ignored.
 */
import { libc } from "../../link/sys/libc.ts";
import { wasIgnored } from "../../link/sys/signals.ts";
import { isTerminal } from "../../runtime/system/is-terminal.ts";
import { lookups } from "../../runtime/system/system.ts";
import { threadsAreDone } from "../../runtime/system/threads.ts";
import { EXIT, type ExitStatus } from "../exit.ts";

export interface Interruption {
  readonly signalled: boolean;
  /** The exit status that stands for the last signal; undefined before any. */
  readonly status: ExitStatus | undefined;
  /** Calls `handler` at the first signal, even if that has already come. */
  onSignal(handler: () => void): void;
  /** Calls `handler` at the second signal; the process ends when it is done, which is to be at once. */
  onExit(handler: () => void | Promise<void>): void;
  /** Restores the default handling of signals. */
  ignore(): void;
}

const STATUS = { SIGINT: EXIT.interrupted, SIGTERM: EXIT.terminated, SIGHUP: EXIT.hungUp } as const;
type Signal = keyof typeof STATUS;

let watched: readonly Signal[] | undefined;

/**
 * Keeps ignored what was ignored when the program started, for as long as it runs; to be called before it does anything that takes time.
 * A shell that ignores SIGINT for a command in the background ignores SIGQUIT too, and gives it no terminal to read (POSIX, Shell
 * Command Language, 2.9.3 and 2.12): that is where it shows, as Node watches SIGINT itself.
 * @returns the signals that are to be watched
 */
export function keepIgnoredSignals(): readonly Signal[] {
  if (watched !== undefined) return watched;
  // exit(3) would wait for libuv's threads, and those for the name server.
  process.on("exit", (code) => lookups.underWay > 0 && libc._exit(code));
  const ignored = new Set<Signal>();
  if (wasIgnored("SIGHUP")) ignored.add("SIGHUP");
  if (wasIgnored("SIGQUIT") && !isTerminal(0)) ignored.add("SIGINT");
  // Node has given them their default back, which is to end the process.
  for (const signal of ignored) process.on(signal, () => {});
  watched = (["SIGINT", "SIGTERM", "SIGHUP"] as const).filter((signal) => !ignored.has(signal));
  return watched;
}

/** @param hangUpEnds whether SIGHUP is one of them; a service is told by it to read its files anew */
export function watchSignals(hangUpEnds = true): Interruption {
  const signals = keepIgnoredSignals().filter((signal) => hangUpEnds || signal !== "SIGHUP");
  let status: ExitStatus | undefined;
  let handler: (() => void) | undefined;
  let lastWords: (() => void | Promise<void>) | undefined;
  const end = async (): Promise<void> => {
    try {
      await lastWords?.();
    } finally {
      await threadsAreDone();
      process.exit(status);
    }
  };
  const onSignal = (signal: Signal): void => {
    const isFirst = status === undefined;
    status = STATUS[signal];
    if (isFirst) handler?.();
    else void end();
  };
  for (const signal of signals) process.on(signal, onSignal);
  return {
    get signalled() {
      return status !== undefined;
    },
    get status() {
      return status;
    },
    onSignal: (wanted) => {
      handler = wanted;
      if (status !== undefined) wanted();
    },
    onExit: (wanted) => {
      lastWords = wanted;
    },
    ignore: () => {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}
