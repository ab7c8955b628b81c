/**
 * Carries events out of the outbox: to a program (--exec) and to a web hook (--webhook), in their order, each again until it is
 * taken. After a crash an event may come twice, where the answer was lost with the process: its `id` says so.
 */
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import type { Outbox, ToldEvent } from "./events.ts";
import { createPause } from "./pause.ts";
import { slackText } from "./slack.ts";

/** What came of one try. `final` is a refusal that would only be repeated. */
export type Delivered =
  | { readonly kind: "taken" }
  | { readonly kind: "failed" | "final"; readonly error: string };

/** Who is told of events. */
export interface Receiver {
  /** Events of one round that are told at once, at most. */
  readonly most: number;
  /** @param events of one round, in their order; at least one */
  send(events: readonly ToldEvent[], signal: AbortSignal): Promise<Delivered>;
}

/** Of a message for people: what a round tells of a network that is away is one. */
const MOST_IN_MESSAGE = 1000;

/** A program or a receiver has this long, in milliseconds. */
const LIMIT_MS = 30_000;
/** How long a try that is under way has when the watch ends, in milliseconds. */
const LAST_MS = 1000;
/** The first wait after a failure, and the longest; each is twice the one before. */
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 300_000;
/** What it has written to standard error comes within this time of its end; whom it has started may hold that for ever. */
const LAST_WORDS_MS = 100;
/** What a program writes to standard error and we repeat of it, in bytes. */
const MOST_SAID = 200;

export const retryMs = (tries: number): number => Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** tries);

/**
 * A program's path: it is started for each event, without a shell and without arguments, with the event as one line of JSON on
 * standard input. Exit status 0 takes it.
 */
export const toProgram = (path: string): Receiver => ({
  most: 1,
  send: ([event], signal) =>
    new Promise((resolve) => {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
      const child = spawn(path, [], {
        stdio: ["pipe", "ignore", "pipe"],
        signal: limit,
        killSignal: "SIGKILL",
      });
      let said = "";
      child.stderr.on("data", (bytes: Buffer) => {
        if (said.length < MOST_SAID) said += bytes.toString("utf8").slice(0, MOST_SAID - said.length);
      });
      // It may end without reading.
      child.stdin.on("error", () => {});
      child.stdin.end(`${JSON.stringify(event)}\n`);
      child.on("error", (error) => resolve({ kind: "failed", error: error.message }));
      child.on("exit", () => setTimeout(() => child.stderr.destroy(), LAST_WORDS_MS));
      child.on("close", (status, name) =>
        resolve(
          status === 0
            ? { kind: "taken" }
            : { kind: "failed", error: `${name ?? `exit status ${status}`} ${said}`.trim() },
        ),
      );
    }),
});

/** Answers by which a receiver says that it will never take this; whoever else fails may do so again. */
const isRefusal = (status: number): boolean =>
  status >= 400 && status < 500 && status !== 408 && status !== 429;

export interface WebHook {
  /** http: or https:, in any spelling that URL takes; what is escaped in its user and password can be decoded. */
  readonly url: string;
  /** Signs bodies: `X-Synprobe-Signature: sha256=…`, HMAC as GitHub has it. */
  readonly key?: string;
  readonly format: "json" | "slack";
}

/** By node:http, as fetch refuses some ports, and URLs with a user and password: that is sent as Basic authentication. */
export const toWebHook = ({ url, key, format }: WebHook): Receiver => ({
  most: format === "slack" ? MOST_IN_MESSAGE : 1,
  send: (events, signal) =>
    new Promise((resolve) => {
      const [first] = events;
      const target = new URL(url);
      const body = JSON.stringify(format === "slack" ? { text: slackText(events) } : first);
      const request = (target.protocol === "https:" ? requestTls : requestPlain)(target, {
        method: "POST",
        agent: false,
        headers: {
          "content-type": "application/json",
          "x-synprobe-event": String(first.id),
          ...(key === undefined
            ? {}
            : { "x-synprobe-signature": `sha256=${createHmac("sha256", key).update(body).digest("hex")}` }),
        },
        signal: AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]),
      });
      request.on("response", (response) => {
        const { statusCode: status = 0 } = response;
        // What is said does not matter.
        response.destroy();
        const error = `HTTP status ${status}`;
        if (status >= 200 && status < 300) resolve({ kind: "taken" });
        else resolve({ kind: isRefusal(status) ? "final" : "failed", error });
      });
      request.on("error", (error: NodeJS.ErrnoException) => {
        const { cause } = error;
        const told = cause instanceof Error ? cause.message : error.message;
        // Of several addresses none of which answers there is no message.
        resolve({ kind: "failed", error: told || String(error.code) });
      });
      request.end(body);
    }),
});

export interface Carrier {
  /** There may be something new. */
  wake(): void;
  /** Begins no other try. One that is under way has a second; then it is given up, and the next watch tries again. */
  stop(): Promise<void>;
}

/** @param onFailure is told of every try that failed @param now milliseconds since the Unix epoch */
export function startCarrier(
  outbox: Outbox,
  { most, send }: Receiver,
  now: () => number,
  onFailure: (error: string, isFinal: boolean) => void,
): Carrier {
  const givingUp = new AbortController();
  let isStopping = false;
  const pause = createPause();
  const trySend: Receiver["send"] = async (events, signal) => {
    try {
      return await send(events, signal);
    } catch (error) {
      return { kind: "failed", error: String(error) };
    }
  };
  async function carryNext(): Promise<void> {
    const next = outbox.next(most);
    const wait = next === undefined ? LONGEST_RETRY_MS : next.atMs - now();
    // No longer than this: the clock that `atMs` is of may be set.
    if (next === undefined || wait > 0) return pause.wait(Math.min(wait, LONGEST_RETRY_MS));
    const { events, tries } = next;
    const delivered = await trySend(events, givingUp.signal);
    if (delivered.kind === "taken") outbox.done(events, now());
    else if (!givingUp.signal.aborted) {
      onFailure(delivered.error, delivered.kind === "final");
      if (delivered.kind === "final") outbox.done(events, now(), delivered.error);
      else outbox.failed(events, now() + retryMs(tries), delivered.error);
    }
  }
  async function carry(): Promise<void> {
    for (let faults = 0; !isStopping; )
      try {
        await carryNext();
        faults = 0;
      } catch (error) {
        // The store is busy or full. One that is lost ends the watch at its next round.
        onFailure(error instanceof Error ? error.message : String(error), false);
        if (!isStopping) await pause.wait(retryMs(faults++));
      }
  }
  const carried = carry();
  return {
    // One that waits for a retry goes on waiting.
    wake: pause.wake,
    stop: async () => {
      isStopping = true;
      pause.wake();
      const tooLong = setTimeout(() => givingUp.abort(), LAST_MS);
      await carried;
      clearTimeout(tooLong);
    },
  };
}
