/**
 * The sender thread: sends the batches that another thread fills (link/outbox.ts), and does nothing else. It needs no privileges,
 * as workers do not, and is done when the link is closed.
 */
import { parentPort } from "node:worker_threads";
import { serveOutbox } from "../../link/outbox.ts";
import { serveTasks } from "./thread-pool.ts";
import type { SenderTask } from "./worker-pool.ts";

serveTasks(({ outbox, socket }: SenderTask) => {
  serveOutbox(outbox, socket);
  parentPort?.postMessage("done");
});
