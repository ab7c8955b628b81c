/**
 * What is to be done when a thread ends that is not the main one: sockets do not end with it, as they do with the process, and
 * koffi, told of a packet in a thread where JavaScript has ended, would end the process.
 */
import { isMainThread } from "node:worker_threads";

const actions = new Set<() => void>();
function doAll(): void {
  for (const action of actions) action();
}

/**
 * Does something when this thread ends by an exception or by `process.exit`, if it is another than the main one. Not when it is
 * terminated from outside: no JavaScript runs in it after that.
 * @returns forgets it
 */
export function atThreadEnd(action: () => void): () => void {
  if (isMainThread) return () => {};
  if (actions.size === 0) process.on("exit", doAll);
  actions.add(action);
  return () => {
    if (actions.delete(action) && actions.size === 0) process.off("exit", doAll);
  };
}
