/**
 * The sender thread: sends the batches that another thread fills (link/outbox.ts), and does nothing else. It needs no privileges,
 * as workers do not, and ends when the link is closed.
 */
import { workerData } from "node:worker_threads";
import { serveOutbox } from "../../link/outbox.ts";
import type { SenderTask } from "./worker-pool.ts";

const { outbox, socket } = workerData as SenderTask;
serveOutbox(outbox, socket);
