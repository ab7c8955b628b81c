/**
 * A thread that sends what another one fills (link/outbox.ts), and nothing else. It starts without privileges, as workers do,
 * and ends when the link that fills is closed.
 */
import { workerData } from "node:worker_threads";
import { serveOutbox } from "../../link/outbox.ts";
import type { SenderTask } from "./worker-pool.ts";

const { outbox, socket } = workerData as SenderTask;
serveOutbox(outbox, socket);
