/** The library's queue of results: in order, bounded, and whoever waits is told of the end. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { createResultQueue } from "../../../src/runtime/results/result-queue.ts";

const item = (value: unknown): object => ({ done: false, value });
const END = { done: true, value: undefined };

describe("a queue of results", () => {
  it("gives each reader the next one, whether it waits or they do", async () => {
    const { push, end, iterator } = createResultQueue<number>(4, async () => {});
    const early = [iterator.next(), iterator.next()];
    for (const n of [1, 2, 3, 4]) push(n);
    const late = [iterator.next(), iterator.next(), iterator.next(), iterator.next()];
    end();
    push(5);
    expect(await Promise.all([...early, ...late])).toEqual([item(1), item(2), item(3), item(4), END, END]);
  });

  it("has no room from so many on until half of them have been taken, however many come meanwhile", async () => {
    const { push, room, iterator } = createResultQueue<number>(4, async () => {});
    for (const n of [1, 2, 3]) push(n);
    expect(room()).toBeUndefined();
    push(4);
    const full = room();
    expect(full).toBeInstanceOf(Promise);
    push(5);
    let isSettled = false;
    full?.then(() => {
      isSettled = true;
    });
    for (const n of [1, 2]) expect(await iterator.next()).toEqual(item(n));
    expect(isSettled).toBe(false);
    expect(room()).toBe(full);
    expect(await iterator.next()).toEqual(item(3));
    await full;
    expect(room()).toBeUndefined();
    for (const n of [4, 5]) expect(await iterator.next()).toEqual(item(n));
  });

  it("lets go of what a slow reader has taken, though it never catches up", async () => {
    setFlagsFromString("--expose-gc");
    const { push, iterator } = createResultQueue<object>(4, async () => {});
    let kept: WeakRef<object> | undefined;
    for (let n = 0; n < 8; n++) {
      const object = { n };
      if (n === 0) kept = new WeakRef(object);
      push(object);
    }
    for (let n = 0; n < 7; n++) expect(await iterator.next()).toEqual(item({ n }));
    // A weak reference holds what it refers to until the end of the turn.
    await new Promise(setImmediate);
    runInNewContext("gc")();
    expect(kept?.deref()).toBeUndefined();
  });

  it("throws a failure once, after what waits", async () => {
    const { push, end, iterator } = createResultQueue<number>(4, async () => {});
    push(1);
    end({ error: new RangeError("broken") });
    end();
    expect(await iterator.next()).toEqual(item(1));
    await expect(iterator.next()).rejects.toThrow("broken");
    expect(await iterator.next()).toEqual(END);
  });

  it("drops what waits, makes room and frees who waits when its reader leaves", async () => {
    let left = 0;
    const { push, room, iterator } = createResultQueue<number>(1, async () => {
      left++;
    });
    const pending = iterator.next();
    expect(await iterator.return()).toEqual(END);
    expect(await pending).toEqual(END);
    push(1);
    expect(room()).toBeUndefined();
    await expect(iterator.throw(new RangeError("mine"))).rejects.toThrow("mine");
    expect(left).toBe(2);
    const other = createResultQueue<number>(1, async () => {});
    other.push(1);
    const full = other.room();
    await other.iterator.return();
    await full;
    expect(await other.iterator.next()).toEqual(END);
  });
});
