/**
 * The threads of runs, each used for one task after another. What koffi sets aside for a thread that loads it (3 MB of addresses,
 * tens of kB of memory) is not given back when the thread ends, so a process that scans for months must not start one for each
 * run. There are as many as ever worked at the same time; those without a task keep no process alive, and end none when they die.
 *
 * Not here: what a thread does (worker.ts, sender.ts), and what is done when one dies (worker-pool.ts). Tested by
 * test/runtime/run/thread-pool.test.ts, test/lab/library.test.ts and test/lab/soak.test.ts.
 */
import { parentPort, Worker } from "node:worker_threads";
import { readWallClock } from "../system/clock.ts";
import { collectGarbage } from "../system/garbage.ts";
import { threadBegins, threadIsDone } from "../system/threads.ts";

/** The files of threads, beside this one. */
type Name = "worker" | "sender";

/** The ending of their names; a bundle has its own (build/bundle.ts). */
declare const THREAD_SUFFIX: string | undefined;
const SUFFIX = typeof THREAD_SUFFIX === "undefined" ? ".js" : THREAD_SUFFIX;

const idle: Record<Name, Worker[]> = { worker: [], sender: [] };

/** A thread that begins with the task, as the process's own: `keepThread` when it is done with it. */
export function startThread(name: Name, task: unknown): Worker {
  const thread = idle[name].pop() ?? createThread(name);
  deafen(thread);
  threadBegins();
  // Until it is kept.
  thread.once("exit", threadIsDone);
  thread.ref();
  // Not as workerData, which a thread keeps for ever.
  thread.postMessage(task);
  return thread;
}

/** Has a thread start now that a task will soon be for. It keeps no process alive meanwhile. */
export function warmThread(name: Name): void {
  if (idle[name].length === 0) wait(name, createThread(name));
}

// Node would make streams of the process's own for both, which takes 10 ms, and threads write nothing. Whoever reads them keeps the
// process alive.
const createThread = (name: Name): Worker =>
  new Worker(new URL(`./${name}${SUFFIX}`, import.meta.url), { stdout: true, stderr: true });

/** Keeps a thread that has said that it is done, for the next task. It is heard no more. */
export function keepThread(name: Name, thread: Worker): void {
  deafen(thread);
  threadIsDone();
  wait(name, thread);
}

function wait(name: Name, thread: Worker): void {
  // An error that nobody hears would be the process's.
  thread.on("error", () => {});
  thread.once("exit", () => {
    idle[name] = idle[name].filter((each) => each !== thread);
  });
  thread.unref();
  idle[name].push(thread);
}

function deafen(thread: Worker): void {
  for (const event of ["message", "error", "exit"]) thread.removeAllListeners(event);
}

/** The thread's own side: works on each task that comes. */
export function serveTasks<Task>(work: (task: Task) => void): void {
  parentPort?.on("message", (task: Task) => {
    readWallClock();
    work(task);
    // A thread without work collects no garbage, and would keep the tables of its last run.
    setImmediate(collectGarbage);
  });
}
