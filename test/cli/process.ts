/**
 * Whole processes for tests: started, watched, signalled, waited for. Nothing here knows a namespace; a command that is
 * to run in one starts with `inNamespace(…)` (test/lab/netns.ts).
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout, with a slash at its end. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** What users start, as package.json names it and `npm run build` makes it. */
export const MAIN = join(ROOT, JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).bin.synprobe);

/** The command line of synprobe, as a user's shell would start it. */
export function synprobe(...args: string[]): string[] {
  if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing: npm run build`);
  return [process.execPath, MAIN, ...args];
}

/** Closes what whoever started the tests has left open, in a shell: node passes on what has a high number. */
const CLOSE = 'for fd in $(ls /proc/$$/fd); do [ "$fd" -le 2 ] || eval "exec $fd>&-"; done';
let ofNode: number | undefined;

/** How many files Node itself has open: three more since version 22, whose libuv has an io_uring in each event loop. */
function filesOfNode(): number {
  const count = 'require("node:fs").readdirSync("/proc/self/fd").length - 1';
  const argv = ["--norc", "-c", `${CLOSE}; exec "$@"`, "bash", process.execPath, "-p", count];
  ofNode ??= Number(execFileSync("bash", argv, { encoding: "utf8" }));
  return ofNode;
}

/** The same command with room for so many open files beside those of Node itself. */
export function withFiles(spare: number, argv: readonly string[]): string[] {
  return ["bash", "--norc", "-c", `${CLOSE}; ulimit -n ${filesOfNode() + spare}; exec "$@"`, "bash", ...argv];
}

export interface Finished {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Added to an environment that is otherwise the same for every test: no colours, nothing of the caller's. */
  readonly env?: Readonly<Record<string, string>>;
  /** What standard input says; closed when absent. */
  readonly input?: string;
  /** Milliseconds after which the process is killed, and the test with it. */
  readonly limitMs?: number;
}

export interface Running {
  readonly pid: number;
  /** Resolves as soon as the stream's text so far matches; rejects when the process ends before. */
  until(stream: "stdout" | "stderr", pattern: RegExp): Promise<string>;
  kill(signal: NodeJS.Signals): void;
  /** Stops reading standard output, as a pager that is quit does. */
  closeStdout(): void;
  readonly finished: Promise<Finished>;
}

const { PATH: callers = "", SYNPROBE_COVERAGE: covered } = process.env;
/** The environment of every process that a test starts; under `npm run coverage` it leaves behind what ran of it. */
export const ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: `${callers}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`,
  LANG: "C.UTF-8",
  TERM: "xterm",
  ...(covered === undefined ? {} : { NODE_V8_COVERAGE: covered }),
};

export function start(argv: readonly string[], { env, input, limitMs = 40_000 }: RunOptions = {}): Running {
  const [command = "", ...args] = argv;
  const child = spawn(command, args, {
    env: { ...ENVIRONMENT, ...env },
    stdio: "pipe",
  });
  const text = { stdout: "", stderr: "" };
  const watchers = new Set<() => void>();
  let ended: Finished | undefined;
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (chunk: string) => {
      text[stream] += chunk;
      for (const watcher of watchers) watcher();
    });
  }
  child.stdin.on("error", () => {});
  child.stdin.end(input ?? "");
  const finished = ending(child, limitMs, argv, text).then((result) => {
    ended = result;
    for (const watcher of watchers) watcher();
    return result;
  });
  // Whoever awaits it still sees a rejection; nobody has to.
  finished.catch(() => {});
  return {
    pid: child.pid ?? 0,
    finished,
    kill: (signal) => void child.kill(signal),
    closeStdout: () => void child.stdout.destroy(),
    until: (stream, pattern) =>
      new Promise((resolve, reject) => {
        function look(): void {
          if (pattern.test(text[stream])) resolve(text[stream]);
          else if (ended === undefined) return;
          else reject(new Error(`${argv.join(" ")} ended without ${pattern}:\n${JSON.stringify(ended)}`));
          watchers.delete(look);
        }
        watchers.add(look);
        look();
      }),
  };
}

function ending(
  child: ChildProcess,
  limitMs: number,
  argv: readonly string[],
  text: { readonly stdout: string; readonly stderr: string },
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`${argv.join(" ")} ran for more than ${limitMs} ms:\n${text.stdout}\n${text.stderr}`));
    }, limitMs);
    child.on("error", (error) => {
      clearTimeout(limit);
      reject(error);
    });
    child.on("close", (status, signal) => {
      clearTimeout(limit);
      resolve({ status, signal, ...text });
    });
  });
}

/** Runs a command to its end. */
export function run(argv: readonly string[], options?: RunOptions): Promise<Finished> {
  return start(argv, options).finished;
}

/** The lines of a text, without the empty one after the last. */
export function linesOf(text: string): string[] {
  return text === "" ? [] : text.replace(/\n$/, "").split("\n");
}
