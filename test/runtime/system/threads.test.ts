/** What the process waits for before it ends. */
import { expect, it } from "vitest";
import { threadBegins, threadIsDone, threadsAreDone } from "../../../src/runtime/system/threads.ts";

it("is every thread that is at work, and nothing where none is", async () => {
  expect(threadsAreDone()).toBeUndefined();
  threadBegins();
  threadBegins();
  let isOver = false;
  const over = threadsAreDone()?.then(() => {
    isOver = true;
  });
  threadIsDone();
  await Promise.resolve();
  expect([isOver, threadsAreDone() === undefined]).toEqual([false, false]);
  threadIsDone();
  await over;
  expect([isOver, threadsAreDone()]).toEqual([true, undefined]);
});
