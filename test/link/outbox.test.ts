/** Two threads and an outbox between them. What is sent goes to a socket that refuses it: real frames are test/lab's. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import type { SentThird } from "../../src/link/link.ts";
import { closeOutbox, createOutboxMemory, type OutboxMemory, openOutbox } from "../../src/link/outbox.ts";
import { createFrameBatch, frameBatchLength } from "../../src/link/sys/packet-socket.ts";

const SLOT = 64;
const SLOTS = 12;
const MS = 1000;

let thread: Worker | undefined;
afterEach(async () => {
  await thread?.terminate();
});

/** Serves an outbox as runtime/run/sender.ts does. A worker thread does not inherit what makes Node read TypeScript. */
function serve(memory: OutboxMemory): Promise<unknown> {
  const module = new URL("../../src/link/outbox.ts", import.meta.url).href;
  const text = `import("tsx/esm/api").then(({ register }) => {
    register();
    return import(${JSON.stringify(module)});
  }).then(({ serveOutbox }) => serveOutbox(require("node:worker_threads").workerData, -1));`;
  thread = new Worker(text, { eval: true, workerData: memory });
  return once(thread, "exit");
}

function filled() {
  const memory = createOutboxMemory(frameBatchLength(SLOTS, SLOT));
  const batch = createFrameBatch(SLOTS, SLOT, new Uint8Array(memory.frames));
  batch.lengths.fill(SLOT);
  return { memory, batch, outbox: openOutbox(memory) };
}

/** The next third that is over; waits for it. */
function over(outbox: ReturnType<typeof openOutbox>): SentThird {
  for (;;) {
    const news = outbox.take();
    if (news?.isOver === true) return { ...news };
    if (news === undefined) outbox.wait(1000 * MS);
  }
}

async function untilFree(outbox: ReturnType<typeof openOutbox>): Promise<void> {
  while (!outbox.isFree()) await new Promise(setImmediate);
}

describe("an outbox", () => {
  it("takes nothing before somebody serves it", () => {
    expect(filled().outbox.isFree()).toBe(false);
  });

  it("is given two thirds in turn, and tells what became of each in order", async () => {
    const { memory, batch, outbox } = filled();
    void serve(memory);
    await untilFree(outbox);
    for (let round = 0; round < 50; round++) {
      const thirds = [0, 1].map(() => {
        const third = outbox.third();
        outbox.give(batch.messages(4 * third, 4), 4);
        return third;
      });
      expect([...thirds].sort()).toEqual([0, 1]);
      expect([outbox.isFree(), outbox.isBusy()]).toEqual([false, true]);
      for (const third of thirds) {
        const { sinceUs, untilUs, ...told } = over(outbox);
        // The socket is none: nothing was taken.
        expect(told).toMatchObject({ third, count: 4, sent: 0, isOver: true });
        expect(sinceUs).toBeGreaterThanOrEqual(untilUs);
        expect(untilUs).toBeGreaterThanOrEqual(0);
      }
      expect([outbox.isFree(), outbox.isBusy()]).toEqual([true, false]);
    }
  });

  it("tells of each third first once, and over once", async () => {
    const { memory, batch, outbox } = filled();
    void serve(memory);
    await untilFree(outbox);
    let first = 0;
    let ended = 0;
    for (let given = 0; ended < 1000; ) {
      if (given < 1000 && outbox.isFree()) {
        outbox.give(batch.messages(4 * outbox.third(), 4), 4);
        given++;
      }
      const news = outbox.take();
      if (news === undefined) continue;
      if (news.isFirst) first++;
      if (news.isOver) ended++;
      expect(first - ended).toBeGreaterThanOrEqual(0);
    }
    expect(first).toBe(1000);
    expect(outbox.take()).toBeUndefined();
  });

  it.each(["while it waits", "before it starts"])("lets its thread go when it is closed %s", async (when) => {
    const { memory, outbox } = filled();
    if (when === "before it starts") outbox.close();
    const exit = serve(memory);
    if (when === "while it waits") {
      await untilFree(outbox);
      outbox.close();
    }
    expect(await exit).toEqual([0]);
    // As often as there are owners.
    closeOutbox(memory);
  });

  it("closes although its thread is no more, and nothing that was given will be sent", async () => {
    const { memory, batch, outbox } = filled();
    void serve(memory);
    await untilFree(outbox);
    await thread?.terminate();
    outbox.give(batch.messages(0, 4), 4);
    outbox.close();
    expect(outbox.take()).toBeUndefined();
  });
});
