/**
 * Writes text to a descriptor, in order, without ever making the process deaf: a reader that stalls must not keep a signal
 * from being heard.
 *
 * Regular files are written at once, so that whatever happens to the process, what was found is in the file. Pipes and
 * terminals may block: they are written one piece at a time in the background, and what they have not taken yet waits here.
 */
import { fstatSync, write, writeSync } from "node:fs";

export interface Writer {
  write(text: string): void;
  /** Settles when everything written so far has been taken, or can't be any more. */
  drained(): Promise<void>;
}

/** A descriptor that another program made non-blocking is tried again after this long. */
const RETRY_MS = 10;

/** @param onError called once, with the errno name; nothing is written after that */
export function createWriter(fd: number, onError: (code: string) => void): Writer {
  return fstatSync(fd).isFile() ? createFileWriter(fd, onError) : createStreamWriter(fd, onError);
}

/** Writes once a turn of the event loop, however many lines come in it; that is all that a killed process can lose. */
function createFileWriter(fd: number, onError: (code: string) => void): Writer {
  let waiting: string[] = [];
  let broken = false;
  function flush(): void {
    const text = waiting.join("");
    waiting = [];
    if (broken || text === "") return;
    try {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    } catch (error) {
      broken = true;
      onError(errorCode(error));
    }
  }
  return {
    write: (text) => {
      if (waiting.push(text) === 1) setImmediate(flush);
    },
    drained: () => {
      flush();
      return Promise.resolve();
    },
  };
}

function createStreamWriter(fd: number, onError: (code: string) => void): Writer {
  let waiting: string[] = [];
  let current: Buffer | undefined;
  let broken = false;
  let idle: (() => void)[] = [];

  function next(): void {
    if (waiting.length > 0 && !broken) {
      current = Buffer.from(waiting.join(""));
      waiting = [];
      push(current, 0);
      return;
    }
    current = undefined;
    for (const resolve of idle) resolve();
    idle = [];
  }

  function push(bytes: Buffer, at: number): void {
    write(fd, bytes, at, (error, count) => {
      if (error === null) {
        if (at + count < bytes.length) push(bytes, at + count);
        else next();
      } else if (error.code === "EAGAIN") setTimeout(push, RETRY_MS, bytes, at);
      else {
        broken = true;
        onError(errorCode(error));
        next();
      }
    });
  }

  return {
    write: (text) => {
      if (broken) return;
      waiting.push(text);
      if (current === undefined) next();
    },
    drained: () => (current === undefined ? Promise.resolve() : new Promise((resolve) => idle.push(resolve))),
  };
}

export const errorCode = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : String(error);
