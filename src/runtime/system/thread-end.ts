/**
 * What is to be done when a thread ends that is not the main one: sockets do not end with it, as they do with the process, and
 * koffi, told of a packet in a thread where JavaScript has ended, would end the process.
 */
import { isMainThread } from "node:worker_threads";
import { atExit } from "./exit-actions.ts";

/**
 * Does something when this thread ends by an exception or by `process.exit`, if it is another than the main one.
 * @returns forgets it
 */
export const atThreadEnd = (action: () => void): (() => void) => (isMainThread ? () => {} : atExit(action));
