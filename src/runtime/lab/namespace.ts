/**
 * Runs a command in a network namespace of its own. Nothing is left of it when the command ends, however it ends.
 *
 * Node is multi-threaded, so it cannot enter a namespace itself: it starts a child under unshare(1). Four processes:
 *
 *     this one, outside     waits; passes on signals and the exit status
 *     unshare               waits for the next, which dies with it (--kill-child)
 *     inside                the first process of a process namespace; the lab's (lab.ts)
 *     the command           and whatever it starts
 *
 * The namespaces have neither names nor files, so they end with their processes. When `inside` dies, the kernel kills everything
 * in its process namespace. `inside` dies when unshare does, and ends when the socket to this process, its lifeline, closes.
 */
import { type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { Socket } from "node:net";
import { constants } from "node:os";
import { delimiter, join } from "node:path";
import type { Writable } from "node:stream";
import { isatty } from "node:tty";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { leadForeground, setForeground } from "../../link/sys/terminal.ts";
import { readFile } from "../system/system.ts";

/** The lifeline's descriptor in `inside`. */
const LIFELINE = 3;
/** The descriptor, inside, of the file that `runInNamespaces` hands on. */
export const HANDED_ON = 4;
const NAMESPACES = ["--net", "--pid", "--fork", "--kill-child"] as const;
/** An ordinary user is root of the new user namespace, and so of the other ones. */
const AS_USER = ["--user", "--map-root-user"] as const;
/** Makes /proc show the namespace's own processes. Some containers forbid it, and most programs do not need it. */
const OWN_PROC = ["--mount-proc"] as const;

/**
 * The options with which unshare(1) can make the namespaces on this system.
 * @throws {SynprobeError} `ERR_PRIVILEGE` when this system does not let this user have any
 */
export function findNamespaces(): readonly string[] {
  const ways = process.geteuid?.() === 0 ? [[], AS_USER] : [AS_USER];
  let refused: SpawnSyncReturns<string> | undefined;
  for (const way of ways) {
    for (const proc of [OWN_PROC, []]) {
      const options = [...way, ...NAMESPACES, ...proc];
      const tried = spawnSync("unshare", [...options, "true"], { encoding: "utf8" });
      if (tried.status === 0) return options;
      refused = tried;
    }
  }
  throw new SynprobeError(
    ERROR_CODES.privilege,
    `the lab cannot have a network namespace: ${whyRefused(refused)}`,
  );
}

/** The sysctls that can forbid namespaces to ordinary users: the name, its forbidding value, and an allowing one. */
const SWITCHES = [
  ["user.max_user_namespaces", "0", "15000"],
  ["kernel.unprivileged_userns_clone", "0", "1"],
  ["kernel.apparmor_restrict_unprivileged_userns", "1", "0"],
] as const;

function whyRefused(tried: SpawnSyncReturns<string> | undefined): string {
  if (tried?.error !== undefined) return "the unshare command is missing; install util-linux";
  for (const [name, forbidding, allowing] of SWITCHES) {
    if (readFile(`/proc/sys/${name.replaceAll(".", "/")}`)?.trim() === forbidding) {
      return `users may not create namespaces here (${name} is ${forbidding}); run it with sudo, or: sudo sysctl ${name}=${allowing}`;
    }
  }
  const said = (tried?.stderr ?? "").trim().split("\n")[0];
  return `${said}; run it with sudo; in a container, start that with --privileged or --security-opt seccomp=unconfined`;
}

/** Signals that are passed on. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** The exit status that a shell would report. */
export const statusOf = (status: number | null, signal: NodeJS.Signals | null): number =>
  status ?? 128 + (signal === null ? 0 : constants.signals[signal]);

/**
 * Runs `inside`, a node program with its arguments, in new namespaces, with this process's standard streams.
 * @param message returned by `openLifeline` there: any value that JSON can hold
 * @param handOn a descriptor that it has as `HANDED_ON`
 * @returns its exit status, 128 and the signal's number when a signal ended it
 */
export async function runInNamespaces(
  namespaces: readonly string[],
  inside: readonly string[],
  message: unknown,
  handOn?: number,
): Promise<number> {
  const { group, isForeground } = terminalGroup();
  const status = await runChild(namespaces, inside, message, handOn);
  // A shell may leave the terminal to a process group that has ended.
  if (isForeground && !terminalGroup().isForeground) setForeground(group);
  return status;
}

function runChild(
  namespaces: readonly string[],
  inside: readonly string[],
  message: unknown,
  handOn: number | undefined,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn("unshare", [...namespaces, process.execPath, ...process.execArgv, ...inside], {
      stdio: ["inherit", "inherit", "inherit", "pipe", ...(handOn === undefined ? [] : [handOn])],
    });
    const lifeline = child.stdio[LIFELINE] as Writable;
    // A child that has ended needs no more messages.
    lifeline.on("error", () => {});
    const send = (value: unknown): void => void lifeline.write(`${JSON.stringify(value)}\n`);
    const forward = (signal: NodeJS.Signals): void => {
      // The terminal has sent Ctrl-C to the whole group already.
      if (signal !== "SIGINT" || !terminalGroup().isForeground) send(signal);
    };
    for (const signal of SIGNALS) process.on(signal, forward);
    const end = (): void => {
      for (const signal of SIGNALS) process.off(signal, forward);
      lifeline.destroy();
    };
    child.on("error", (error) => {
      end();
      reject(new SynprobeError(ERROR_CODES.system, `cannot start unshare: ${error.message}`));
    });
    child.on("exit", (status, signal) => {
      end();
      resolve(statusOf(status, signal));
    });
    send(message);
  });
}

/** This process's group, and whether it is the terminal's foreground group, which gets Ctrl-C. */
function terminalGroup(): { readonly group: number; readonly isForeground: boolean } {
  // proc_pid_stat(5), after the name in parentheses: state, parent, group, session, terminal, the terminal's group.
  const [, , group, , , foreground] = (readFile("/proc/self/stat") ?? "").replace(/^.*\) /s, "").split(" ");
  return { group: Number(group), isForeground: group !== undefined && group === foreground };
}

function takeSocket(): Socket {
  try {
    return new Socket({ fd: LIFELINE });
  } catch (cause) {
    throw new SynprobeError(ERROR_CODES.usage, "this is for synprobe itself to start: use synprobe lab", {
      cause,
    });
  }
}

/** The inside's end of the lifeline. */
export interface Lifeline {
  /** What `runInNamespaces` was given. */
  readonly message: Promise<unknown>;
  /** Sets the handler of the signals that are passed on; it also gets those that have come already. */
  onSignal(handler: (signal: NodeJS.Signals) => void): void;
  close(): void;
}

/**
 * Opens the lifeline; `onEnd` is called when the process outside has ended.
 * @throws {SynprobeError} `ERR_USAGE` when there is none: this process was started by hand
 */
export function openLifeline(onEnd: () => void): Lifeline {
  const socket = takeSocket().setEncoding("utf8");
  const early: NodeJS.Signals[] = [];
  let handler = (signal: NodeJS.Signals): void => void early.push(signal);
  let text = "";
  let isFirst = true;
  let closed = false;
  const message = new Promise<unknown>((resolve) => {
    socket.on("data", (chunk) => {
      const lines = (text + chunk).split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        const value: unknown = JSON.parse(line);
        if (isFirst) resolve(value);
        else handler(value as NodeJS.Signals);
        isFirst = false;
      }
    });
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    if (!closed) onEnd();
  });
  return {
    message,
    onSignal: (wanted) => {
      handler = wanted;
      for (const signal of early.splice(0)) wanted(signal);
    },
    close: () => {
      closed = true;
      socket.destroy();
    },
  };
}

/** For a shell: makes the foreground group one that the shell can see, and so restore when it ends. */
export function prepareForShell(): void {
  if (isatty(0)) leadForeground(process.pid);
}

/**
 * Runs a command inside, with this process's standard streams, and passes on to it what the lifeline brings.
 * @returns its exit status, or as a shell has it: 126 and 127 for one that cannot be started, 128 and the signal's number
 */
export function runCommand(
  [program, ...args]: readonly [string, ...string[]],
  environment: Readonly<Record<string, string>>,
  lifeline: Lifeline,
): Promise<{ readonly status: number; readonly problem?: string }> {
  return new Promise((resolve) => {
    if (program === "") {
      resolve({ status: 127, problem: 'cannot start "": a program has a name' });
      return;
    }
    const child = spawn(program, args, { stdio: "inherit", env: { ...process.env, ...environment } });
    lifeline.onSignal((signal) => void child.kill(signal));
    child.on("exit", (status, signal) => resolve({ status: statusOf(status, signal) }));
    child.on("error", (error: NodeJS.ErrnoException) => {
      // execvp(3) also fails with EACCES when one folder of PATH cannot be searched and no other has the program.
      const missing = error.code === "ENOENT" || (error.code === "EACCES" && !isAnywhere(program));
      const why = missing
        ? "there is no such program"
        : error.code === "EACCES"
          ? "permission denied: it is a directory, or not executable"
          : error.code;
      const problem = `cannot start ${program}: ${why}`;
      resolve({ status: missing ? 127 : 126, problem });
    });
  });
}

/** Whether a shell would find a file of that name. */
function isAnywhere(program: string): boolean {
  if (program.includes("/")) return true;
  const { PATH = "" } = process.env;
  return PATH.split(delimiter).some((folder) => existsSync(join(folder || ".", program)));
}
