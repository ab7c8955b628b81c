/**
 * A connection as its user has it: promises to read, write and close, over the control block that does the talking.
 *
 * Not here: packets, deadlines' timers and the handshake (user-space-tcp.ts), and TCP itself (socket/control-block.ts).
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { ControlBlock, TcpState } from "../../socket/connection.ts";
import type { TcpOption } from "../../wire/tcp-options.ts";

export interface Endpoint {
  /** Canonical text, without a zone. */
  readonly ip: string;
  readonly port: number;
}

/** The evidence of a handshake. */
export interface Opened {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /**
   * From the SYN to its answer, in milliseconds; null when more than one SYN was sent, as which of them was answered can't be
   * told (Karn).
   */
  readonly rttMs: number | null;
  /** SYNs sent. */
  readonly attempts: number;
  /** The largest segment that the peer takes, in bytes; 536 when it named none (RFC 9293 §3.7.1). */
  readonly mss: number;
  /** The peer's first window, in bytes. */
  readonly window: number;
  /** The options of the peer's SYN as they came, those that are not made use of too: only MSS is. */
  readonly options: readonly TcpOption[];
  /** TTL or hop limit of the answer. */
  readonly ttl: number;
  /** Initial sequence numbers: ours, and the peer's (RFC 9293 §3.3.1). */
  readonly iss: number;
  readonly irs: number;
}

/** An open connection. It holds until it is closed or aborted here, or reset by the peer; there is no idle timeout. */
export interface Connection {
  readonly opened: Opened;
  /** RFC 9293 §3.3.2. */
  readonly state: TcpState;
  /**
   * The next bytes in order, as soon as there are any; undefined after the peer's FIN. Who does not read stops the peer: its
   * window shuts, and opens again with the next read.
   * @param max most bytes wanted, 1 or more; as many as there are by default
   * @throws {SynprobeError} `ERR_CONNECTION_RESET`, `ERR_TIMED_OUT` (after what had arrived has been read), `ERR_CLOSED`,
   *   `ERR_USAGE`
   */
  read(max?: number): Promise<Uint8Array | undefined>;
  /**
   * Resolves when all bytes are in the send buffer; until then they must not be changed.
   * @throws {SynprobeError} `ERR_CONNECTION_RESET`, `ERR_TIMED_OUT`, `ERR_CLOSED`, `ERR_USAGE`
   */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Sends FIN after everything written, and resolves when the peer has sent its own. What still arrives can be read meanwhile.
   * Once the peer has kept us waiting for 60 s, with nothing of ours under way and nothing read here, the connection is reset.
   * What is under way is sent again for as long as ever: minutes, before a peer that is silent is given up.
   * @throws {SynprobeError} `ERR_TIMED_OUT`; or how the connection had ended before, unless a read or write has told that
   */
  close(): Promise<void>;
  /** Sends RST instead of FIN, and forgets what was not sent or not read. Reads and writes that wait, and all later ones, reject with `ERR_CLOSED`. */
  abort(): void;
  /** Closes, and reads no more: a peer whose words were not read, or who says more, gets RST (RFC 9293 §3.6.1). */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The stack's side of a connection. */
export interface Stream extends Pick<Connection, "read" | "write" | "close" | "abort"> {
  dispose(): Promise<void>;
  /** Does what can be done now: call it when the control block may have changed. */
  advance(nowUs: number): void;
  /** When to call it at the latest. */
  readonly deadlineUs: number;
  /** Ends the connection for a reason that the control block does not know. */
  fail(error: SynprobeError): void;
}

/** How long a close waits for the peer's user, in microseconds. How long for the network, the control block says. */
const CLOSE_US = 60_000_000;
const NOTHING = new Uint8Array(0);
const NEVER = Number.POSITIVE_INFINITY;

const usage = (message: string): SynprobeError => new SynprobeError(ERROR_CODES.usage, message);

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: SynprobeError): void;
}

/**
 * @param label names the peer in messages
 * @param changed is called when the user has changed something: `advance` is due, and maybe there is something to send
 */
export function createStream(block: ControlBlock, label: string, changed: () => void): Stream {
  const readers: (Waiting<Uint8Array | undefined> & { readonly max: number })[] = [];
  const writers: (Waiting<void> & { readonly bytes: Uint8Array; done: number })[] = [];
  /** Out of the control block, not read yet. */
  let rest: Uint8Array = NOTHING;
  let taken = 0;
  let peerClosed = false;
  /** Nothing more will come or go. */
  let over = false;
  let failure: SynprobeError | undefined;
  /** Some read or write has rejected with `failure`. */
  let told = false;
  let closing: Promise<void> | undefined;
  let closer: (Waiting<void> & { acknowledged: number; taken: number }) | undefined;
  let closeBy = NEVER;

  function end(error?: SynprobeError): void {
    over = true;
    failure ??= error;
  }

  function takeEvents(): void {
    for (let event = block.pollEvent(); event !== undefined; event = block.pollEvent()) {
      if (event === "peer-closed") peerClosed = true;
      else if (event === "closed") end();
      else if (event === "reset") {
        end(new SynprobeError(ERROR_CODES.connectionReset, `${label} reset the connection`));
      } else if (event === "timed-out") {
        end(
          new SynprobeError(
            ERROR_CODES.timedOut,
            `${label} no longer answers: nothing was acknowledged, however often it was sent`,
          ),
        );
      }
    }
  }

  /** Why nothing can be read or written any more. */
  function reason(): SynprobeError {
    if (failure === undefined) {
      return new SynprobeError(ERROR_CODES.closed, `the connection to ${label} was closed at this end`);
    }
    told = true;
    return failure;
  }

  /** Up to `max` bytes. The control block is emptied at once: the window opens wide, or not at all (RFC 9293 §3.8.6.2.2). */
  function take(max: number): Uint8Array {
    if (rest.length === 0) rest = block.read(NEVER);
    const bytes = rest.subarray(0, max);
    rest = rest.subarray(bytes.length);
    taken += bytes.length;
    return bytes;
  }

  function serveReaders(): void {
    for (let [reader] = readers; reader !== undefined; [reader] = readers) {
      const bytes = take(reader.max);
      if (bytes.length > 0) reader.resolve(bytes);
      else if (peerClosed && failure === undefined) reader.resolve(undefined);
      else if (over) reader.reject(reason());
      else return;
      readers.shift();
    }
  }

  function serveWriters(): void {
    for (let [writer] = writers; writer !== undefined; [writer] = writers) {
      if (over) writer.reject(reason());
      else {
        writer.done += block.write(writer.bytes.subarray(writer.done));
        if (writer.done < writer.bytes.length) return;
        writer.resolve();
      }
      writers.shift();
    }
  }

  /** FIN when everything is written; gives up when nothing moves any more. */
  function proceedToClose(nowUs: number): void {
    if (closer === undefined) return;
    if (!over && writers.length === 0) {
      block.close();
      // A close with text that nobody will read is a reset: over at once.
      takeEvents();
    }
    if (!over) {
      const { sndUna, sndWnd } = block.view();
      // Its timer is on: something is to go again, and the peer has room for it.
      const underWay = block.pollTimeout() < NEVER && sndWnd > 0;
      if (closeBy === NEVER || underWay || closer.acknowledged !== sndUna || closer.taken !== taken) {
        closer.acknowledged = sndUna;
        closer.taken = taken;
        closeBy = nowUs + CLOSE_US;
      } else if (nowUs >= closeBy) {
        const unread = rest.length + block.view().readable > 0 ? ", and what it sent was not read" : "";
        block.abort();
        end(
          new SynprobeError(
            ERROR_CODES.timedOut,
            `${label} did not close within ${CLOSE_US / 1e6} s${unread}: the connection was reset`,
          ),
        );
      }
      if (!over) return;
    }
    if (failure === undefined) closer.resolve();
    else closer.reject(failure);
    closer = undefined;
    closeBy = NEVER;
  }

  function advance(nowUs: number): void {
    takeEvents();
    serveWriters();
    proceedToClose(nowUs);
    serveReaders();
    // The close that was given up has ended what still waits.
    if (over) serveWriters();
  }

  function close(): Promise<void> {
    closing ??= new Promise((resolve, reject) => {
      if (over && (failure === undefined || told)) resolve();
      else {
        closer = { resolve, reject, acknowledged: 0, taken };
        changed();
      }
    });
    return closing;
  }

  function abort(): void {
    if (over) return;
    block.abort();
    // Forgotten too: what had arrived, and that it was all.
    block.read(NEVER);
    rest = NOTHING;
    peerClosed = false;
    end();
    changed();
  }

  return {
    advance,
    get deadlineUs() {
      return Math.min(block.pollTimeout(), closeBy);
    },
    fail: (error) => {
      block.abort();
      end(error);
      changed();
    },
    read: (max = NEVER) => {
      if (!(max >= 1)) return Promise.reject(usage(`read takes 1 byte or more, not ${max}`));
      return new Promise((resolve, reject) => {
        const before = taken;
        readers.push({ max, resolve, reject });
        serveReaders();
        if (taken > before) changed();
      });
    },
    write: (bytes) =>
      new Promise((resolve, reject) => {
        if (!(bytes instanceof Uint8Array)) throw usage("write takes a Uint8Array");
        if (closing !== undefined && failure === undefined) {
          reject(reason());
          return;
        }
        writers.push({ bytes, done: 0, resolve, reject });
        serveWriters();
        changed();
      }),
    close,
    dispose: () => {
      block.stopReading();
      // Acknowledged, but read by nobody, and of no use to a peer that is done.
      if (rest.length > 0 && !over) abort();
      return close();
    },
    abort,
  };
}
