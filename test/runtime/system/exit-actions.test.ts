/** What is done at the end of a thread, in which order, and how often. */
import { expect, it } from "vitest";
import { atExit } from "../../../src/runtime/system/exit-actions.ts";

it("does what was opened last first, once, and not what has been forgotten, with one listener for all", () => {
  const before = process.listeners("exit");
  const done: string[] = [];
  const forgetSockets = atExit(() => done.push("sockets"));
  for (let i = 0; i < 20; i++) atExit(() => done.push("forgotten"))();
  atExit(() => {
    forgetSockets();
    done.push("sockets by their owner");
  });
  const forgetRule = atExit(() => done.push("rule"));
  const [listener, ...others] = process.listeners("exit");
  expect(others).toEqual(before);
  listener(0);
  expect(done).toEqual(["rule", "sockets by their owner"]);
  forgetRule();
  atExit(() => {})();
  expect(process.listeners("exit")).toEqual(before);
});
