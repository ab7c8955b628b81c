/** A watch's events on standard output: bounded in memory whatever its reader does, all of them, in order, each once. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createEventOutput } from "../../../src/cli/commands/event-output.ts";
import type { Writer } from "../../../src/cli/run/writer.ts";
import { openStore, type Store } from "../../../src/runtime/store/database.ts";
import { readEvents, type ToldEvent } from "../../../src/runtime/watch/events.ts";
import { linesOf } from "../process.ts";

let folder = "";
let store: Store;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-events-"));
  store = openStore(join(folder, "h.db"), true);
  store.prepare("INSERT INTO hosts (ip) VALUES ('192.0.2.1')").run();
  store.prepare("INSERT INTO ports (host, proto, port) VALUES (1, 'tcp', 22)").run();
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

/** Puts a round's events into the store. */
function round(count: number): readonly ToldEvent[] {
  const add = store.prepare(
    "INSERT INTO events (at_ms, kind, port, old_state, state, reason, doubt) VALUES (0, 'changed', 1, 'open', 'closed', 'reset', 0)",
  );
  const ids = store.transaction(() => Array.from({ length: count }, () => Number(add.run().lastInsertRowid)));
  return ids.length === 0 ? [] : readEvents(store, ids[0], ids[ids.length - 1]);
}

/** A pipe whose reader takes what there is when it is told to. */
function pipe() {
  let taken = "";
  let waiting = "";
  let most = 0;
  let idle: (() => void)[] = [];
  const writer: Writer = {
    write(text) {
      waiting += text;
      most = Math.max(most, waiting.length);
    },
    writeBytes() {},
    held: () => waiting.length,
    drained: () => (waiting === "" ? Promise.resolve() : new Promise((resolve) => idle.push(resolve))),
    abandon() {
      waiting = "";
    },
  };
  return {
    writer,
    most: () => most,
    ids: () => linesOf(taken).map((line): number => JSON.parse(line).id),
    take() {
      taken += waiting;
      waiting = "";
      for (const resolve of idle) resolve();
      idle = [];
    },
  };
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

describe("events on standard output", () => {
  const open = () => {
    const { writer, ...reader } = pipe();
    const stalls: number[] = [];
    const output = createEventOutput(
      store,
      writer,
      (text) => text,
      (first) => stalls.push(first),
    );
    return { output, reader, stalls };
  };

  it("take no more memory than a quarter of a million characters and a page, and are all there when the reader goes on", async () => {
    const { output, reader, stalls } = open();
    for (let i = 0; i < 8; i++) output.tell(round(1000));
    output.tell([]);
    expect(reader.most()).toBeGreaterThan(200_000);
    expect(reader.most()).toBeLessThan(350_000);
    // Said once, at the first round that finds them waiting.
    expect(stalls).toEqual([expect.any(Number)]);
    for (let turns = 0; !output.isTaken(); turns++) {
      expect(turns).toBeLessThan(100);
      reader.take();
      await new Promise(setImmediate);
    }
    expect(reader.ids()).toEqual(upTo(8000));
    expect(reader.most()).toBeLessThan(350_000);
    expect(await output.end()).toBeUndefined();
  });

  it("that could not be read for a time, as a store may be busy, are told with the next round's", async () => {
    const { writer, ...reader } = pipe();
    let isBusy = false;
    const prepare: Store["prepare"] = (sql) => {
      if (isBusy) throw new Error("busy");
      return store.prepare(sql);
    };
    const output = createEventOutput(
      { ...store, prepare },
      writer,
      (text) => text,
      () => {},
    );
    for (let i = 0; i < 3; i++) output.tell(round(1000));
    isBusy = true;
    const told = round(1);
    reader.take();
    await new Promise(setImmediate);
    expect(() => output.tell(told)).toThrow("busy");
    isBusy = false;
    output.tell([]);
    for (let turns = 0; !output.isTaken(); turns++) {
      expect(turns).toBeLessThan(100);
      reader.take();
      await new Promise(setImmediate);
    }
    expect(reader.ids()).toEqual(upTo(3001));
  });

  it("are told to a reader that takes all, with no word of a stall", async () => {
    const { output, reader, stalls } = open();
    for (const count of [3, 0, 2]) {
      output.tell(round(count));
      reader.take();
    }
    expect(reader.ids()).toEqual([1, 2, 3, 4, 5]);
    expect(stalls).toEqual([]);
    expect(await output.end()).toBeUndefined();
  });
});
