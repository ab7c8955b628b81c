/** Threads between two runs. At work they are tested in test/lab/library.test.ts and test/lab/soak.test.ts. */
import { EventEmitter, once } from "node:events";
import { Worker } from "node:worker_threads";
import { afterEach, expect, it, vi } from "vitest";

const GARBAGE = "../../../src/runtime/system/garbage.ts";
const threads: Worker[] = [];
const makeThread = (code: string): Worker => {
  const thread = new Worker(code, { eval: true });
  threads.push(thread);
  return thread;
};
afterEach(async () => {
  vi.doUnmock("node:worker_threads");
  vi.doUnmock(GARBAGE);
  // Other files share this process, and are not to find what was loaded with it.
  vi.resetModules();
  for (const thread of threads.splice(0)) await thread.terminate();
});

/** A pool with no threads yet. */
async function freshPool() {
  vi.resetModules();
  return await import("../../../src/runtime/run/thread-pool.ts");
}

it("does without a thread that dies while it has nothing to do, and the process goes on", async () => {
  const { keepThread, startThread } = await freshPool();
  const dying = makeThread(
    `require("node:worker_threads").parentPort.on("message", () => { throw new Error("no memory"); });`,
  );
  const unheard: unknown[] = [];
  const hear = (error: unknown): void => void unheard.push(error);
  process.prependListener("uncaughtException", hear);
  try {
    keepThread("sender", dying);
    dying.postMessage("");
    // Not `once`, which hears errors as well.
    await new Promise((resolve) => dying.on("exit", resolve));
    expect(unheard).toEqual([]);
  } finally {
    process.removeListener("uncaughtException", hear);
  }
  const another = startThread("sender", {});
  threads.push(another);
  expect(another).not.toBe(dying);
  // Sources have no sender.js beside them.
  await expect(once(another, "exit")).rejects.toThrow(/sender\.js/);
});

it("gives a thread each task as a message, and tells the run that has it when it dies", async () => {
  const { keepThread, startThread } = await freshPool();
  const thread = makeThread(
    `const { parentPort } = require("node:worker_threads");
    parentPort.on("message", (task) => { if (task === "die") throw new Error(task); parentPort.postMessage(task); });`,
  );
  keepThread("worker", thread);
  expect(startThread("worker", "first")).toBe(thread);
  expect(await once(thread, "message")).toEqual(["first"]);
  keepThread("worker", thread);
  expect(startThread("worker", "die")).toBe(thread);
  await expect(once(thread, "exit")).rejects.toThrow("die");
});

it("starts a thread before there is a task for it, and takes that one for the next", async () => {
  const made: EventEmitter[] = [];
  const posted: unknown[] = [];
  let isAwaited = true;
  class FakeWorker extends EventEmitter {
    constructor() {
      super();
      made.push(this);
    }
    postMessage = (task: unknown): void => void posted.push(task);
    ref(): void {
      isAwaited = true;
    }
    unref(): void {
      isAwaited = false;
    }
  }
  vi.doMock("node:worker_threads", async (original) => ({
    ...(await original<typeof import("node:worker_threads")>()),
    Worker: FakeWorker,
  }));
  const { startThread, warmThread } = await freshPool();
  warmThread("sender");
  warmThread("sender");
  expect(made).toHaveLength(1);
  // Nothing waits for it, and it may die.
  expect(isAwaited).toBe(false);
  expect(made[0].emit("error", new Error("no memory"))).toBe(true);
  expect(startThread("sender", "first")).toBe(made[0]);
  expect([posted, isAwaited]).toEqual([["first"], true]);
  expect(startThread("sender", "second")).toBe(made[1]);
  warmThread("sender");
  expect(made).toHaveLength(3);
  made[2].emit("exit", 1);
  expect(startThread("sender", "third")).toBe(made[3]);
});

it("leaves no task with a thread for ever, as workerData does", async () => {
  const made: unknown[][] = [];
  const posted: unknown[] = [];
  vi.doMock("node:worker_threads", async (original) => ({
    ...(await original<typeof import("node:worker_threads")>()),
    Worker: class {
      constructor(...args: unknown[]) {
        made.push(args);
      }
      postMessage = (task: unknown): void => void posted.push(task);
      removeAllListeners(): void {}
      once(): void {}
      ref(): void {}
    },
  }));
  const { startThread } = await freshPool();
  startThread("worker", "task");
  expect(made).toEqual([[expect.any(URL), { stdout: true, stderr: true }]]);
  expect(posted).toEqual(["task"]);
});

it("collects what each task has left, when it is over", async () => {
  const parentPort = new EventEmitter();
  const done: string[] = [];
  vi.doMock("node:worker_threads", () => ({ parentPort }));
  vi.doMock(GARBAGE, () => ({ collectGarbage: () => void done.push("collected") }));
  const { serveTasks } = await freshPool();
  serveTasks((task: string) => void done.push(task));
  for (const task of ["first", "second"]) {
    parentPort.emit("message", task);
    // What the task's own frames still hold could not be collected.
    expect(done.splice(0)).toEqual([task]);
    await vi.waitUntil(() => done.length > 0, 20_000);
    expect(done.splice(0)).toEqual(["collected"]);
  }
});
