/**
 * A small TCP stack: the connections of this process, found by their local port, over links that they share. Packets in,
 * packets out, one timer for the earliest deadline.
 *
 * Turns of the event loop do all the work: what a user or a packet changes is marked, and the next turn sends what follows
 * from it. Not here: what a user sees of a connection (connection.ts) and of a handshake (handshake.ts), how packets leave
 * (shared-links.ts), where links and ports come from and when they are given back (process-stack.ts).
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import type { Link } from "../../link/link.ts";
import type { SendErrorVerdict } from "../../scan/probe/classify.ts";
import { createReplyDecoder } from "../../scan/probe/reply-decoder.ts";
import type { Reason } from "../../scan/probe/result.ts";
import { createBufferPool } from "../../socket/buffers.ts";
import type { ControlBlock } from "../../socket/connection.ts";
import { createControlBlock, DEFAULT_MSS } from "../../socket/control-block.ts";
import { createPortPool } from "../../socket/ports.ts";
import { type Ends, hasFlag, readSegment, resetFor } from "../../socket/segment.ts";
import { ADDRESS_WORDS, loadAddress, sameWords, storeAddress } from "../../socket/table.ts";
import { type Address, formatAddress } from "../../wire/address.ts";
import * as tcp from "../../wire/tcp.ts";
import { parseOptions } from "../../wire/tcp-options.ts";
import { onAbort } from "../system/arguments.ts";
import { nowUs } from "../system/clock.ts";
import { type Connection, createStream, type Stream } from "./connection.ts";
import { createOpening, failureOf, type Opening, openedBy, takeAnswer, type Wanted } from "./handshake.ts";
import { type Binding, createSharedLinks, type Sender, type SharedLink } from "./shared-links.ts";

export interface StackOptions {
  /** Source ports, for which the kernel's RST is held back: one for each connection. */
  readonly ports: PortRange;
  /** @throws {SynprobeError} as openRawIp does */
  openLink(binding: Binding): Link;
  readonly random: (below: number) => number;
  /** Called whenever there is no connection any more that somebody could wait for: none, or all in TIME-WAIT. */
  onIdle(): void;
}

export interface Stack {
  /** Connections, those in TIME-WAIT aside. */
  readonly live: number;
  /** @throws {SynprobeError} `ERR_REFUSED`, `ERR_TIMED_OUT`, `ERR_UNREACHABLE`, `ERR_NO_SOURCE`, as openLink; the signal's reason */
  open(binding: Binding, wanted: Wanted): Promise<Connection>;
  /** Resets every connection and closes the links; at once. */
  close(): void;
}

/** RFC 9293 wants 2 min; but ports come round slowly, and ISNs are random. TIME-WAIT is twice this, in microseconds. */
const MSL_US = 1_000_000;
/** Retransmissions before a peer is given up: about 11 minutes of silence (RFC 9293 §3.8.3: at least 100 s). */
const RETRIES = 15;
/** SYNs stop when the time for the handshake is over, not by number. */
const SYN_RETRIES = 1000;
/** setTimeout's limit is 2^31 - 1 ms; far deadlines are looked at again after this long. */
const LONGEST_SLEEP_MS = 60_000;
const NEVER = Number.POSITIVE_INFINITY;
const { SYN } = tcp.FLAGS;

interface Entry {
  readonly shared: SharedLink;
  readonly ends: Ends;
  readonly localWords: Uint32Array;
  readonly peerWords: Uint32Array;
  readonly block: ControlBlock;
  readonly stream: Stream;
  readonly sender: Sender;
  opening: Opening | undefined;
  /** Counted in `live`. */
  live: boolean;
}

export function createStack(options: StackOptions): Stack {
  const { random } = options;
  const ports = createPortPool(options.ports.first, options.ports.last, random);
  const pool = createBufferPool(NEVER);
  const decoder = createReplyDecoder();
  const { reply } = decoder;
  const links = createSharedLinks({
    openLink: options.openLink,
    onPacket: handlePacket,
    onReadable: schedule,
    onError: collapse,
  });
  /** By local port: no two connections share one. */
  const entries = new Map<number, Entry>();
  /** Our addresses that connections have had: what comes to others is none of ours. */
  const locals = new Map<string, number>();
  /** What this turn has to look at. */
  const touched = new Set<Entry>();
  let live = 0;
  let scheduled = false;
  let timer: NodeJS.Timeout | undefined;
  let wakeAt = NEVER;
  /** The timer has fired, and deadlines are to be looked at as soon as everything that waits is read. */
  let due = false;

  // --- turns -------------------------------------------------------------------------------------------------------

  function schedule(): void {
    // Not at once: a callback of the raw-socket package does not run what promises have waiting.
    if (!scheduled) setImmediate(turn);
    scheduled = true;
  }

  function touch(entry: Entry): void {
    touched.add(entry);
    schedule();
  }

  function turn(): void {
    scheduled = false;
    try {
      if (!links.drain()) schedule();
      else if (due) passDeadlines();
      flush();
    } catch (error) {
      collapse(error);
    }
  }

  function wake(): void {
    timer = undefined;
    wakeAt = NEVER;
    due = true;
    // After a stall the answers are in the socket already: no deadline passes before they are read.
    links.suspectAll();
    turn();
  }

  const deadlineOf = ({ opening, stream }: Entry): number =>
    Math.min(stream.deadlineUs, opening?.deadlineUs ?? NEVER);

  function passDeadlines(): void {
    due = false;
    const now = nowUs();
    for (const entry of entries.values()) {
      const deadline = deadlineOf(entry);
      if (deadline > now) {
        wakeBy(deadline);
        continue;
      }
      if (entry.opening !== undefined && entry.opening.deadlineUs <= now) giveUp(entry, entry.opening);
      else entry.block.handleTimeout(now);
      touched.add(entry);
    }
  }

  /** An earlier deadline moves the timer; one that has moved on lets it fire in vain. */
  function wakeBy(deadline: number): void {
    if (deadline >= wakeAt) return;
    wakeAt = deadline;
    clearTimeout(timer);
    const sleepMs = Math.max(0, Math.ceil((deadline - nowUs()) / 1000));
    timer = setTimeout(wake, Math.min(sleepMs, LONGEST_SLEEP_MS));
  }

  /** Sends what follows from everything that has changed. */
  function flush(): void {
    for (const entry of touched) {
      touched.delete(entry);
      if (entries.get(entry.ends.localPort) !== entry) {
        // It is over, but its user still reads.
        entry.stream.advance(nowUs());
        continue;
      }
      progress(entry);
      collect(entry);
      settle(entry);
    }
    links.flush();
  }

  function progress(entry: Entry): void {
    const { opening, block, stream } = entry;
    if (opening !== undefined) {
      const event = block.pollEvent();
      if (event === "established") establish(entry, opening);
      else if (event === "refused") fail(entry, opening, "reset");
      if (entry.opening !== undefined) return;
    }
    stream.advance(nowUs());
  }

  function collect({ block, opening, shared, ends, sender }: Entry): void {
    const now = nowUs();
    for (let next = block.pollSegment(now); next !== undefined; next = block.pollSegment(now)) {
      links.put(shared, ends, next, sender);
      if (opening !== undefined && hasFlag(next, SYN)) opening.attempts++;
    }
  }

  /** After everything is sent: is it over, or nearly? */
  function settle(entry: Entry): void {
    const { state } = entry.block;
    if (state === "CLOSED") remove(entry);
    else {
      wakeBy(deadlineOf(entry));
      if (state === "TIME-WAIT") retire(entry);
    }
  }

  function remove(entry: Entry): void {
    entries.delete(entry.ends.localPort);
    ports.giveBack(entry.ends.localPort);
    retire(entry);
  }

  function retire(entry: Entry): void {
    if (!entry.live) return;
    entry.live = false;
    live--;
    if (live === 0) options.onIdle();
  }

  // --- receiving ---------------------------------------------------------------------------------------------------

  function handlePacket(shared: SharedLink, b: Uint8Array, at: number, end: number, us: number): void {
    const decoded = decoder.decode(b, at, end);
    if (decoded !== "segment" && decoded !== "icmp-error") return;
    const entry = entries.get(reply.localPort);
    const known =
      entry !== undefined &&
      reply.peerPort === entry.ends.peerPort &&
      sameWords(reply.peer, 0, entry.peerWords, 0) &&
      sameWords(reply.local, 0, entry.localWords, 0);
    if (!known) {
      if (decoded === "segment") refuseStray(shared, b, b[at] >> 4 === 4 ? 4 : 16);
      return;
    }
    // Two links may hear the same packet: one bound to an interface, and one to none.
    if (entry.shared !== shared) return;
    touched.add(entry);
    if (decoded === "segment") takeSegment(entry, b, us);
    else if (entry.opening !== undefined) takeIcmp(entry, entry.opening, b);
  }

  function takeSegment({ block, opening }: Entry, b: Uint8Array, atUs: number): void {
    const segment = readSegment(b, reply.segmentAt, reply.segmentEnd);
    if (segment === undefined) return;
    if (opening !== undefined) {
      const first = reply.segmentAt + tcp.OPTIONS;
      const end = reply.segmentAt + tcp.headerLength(b, reply.segmentAt);
      const options = hasFlag(segment, SYN) ? parseOptions(b, first, end).options : undefined;
      takeAnswer(opening, segment, atUs, reply.ttl, options);
    }
    block.handleSegment(segment, atUs);
  }

  function takeIcmp(entry: Entry, opening: Opening, b: Uint8Array): void {
    if (reply.reason === undefined || reply.sequence !== entry.block.view().iss) return;
    const responder = formatAddress(b, reply.responderAt, reply.responderLength);
    fail(entry, opening, reply.reason, responder);
  }

  /** A segment to a port of ours with no such connection gets the RST that the kernel is kept from sending (§3.10.7.1). */
  function refuseStray(shared: SharedLink, b: Uint8Array, length: 4 | 16): void {
    const local = storeAddress(reply.local, 0, length);
    const ttl = locals.get(formatAddress(local));
    const segment = readSegment(b, reply.segmentAt, reply.segmentEnd);
    if (ttl === undefined || segment === undefined) return;
    const peer = storeAddress(reply.peer, 0, length);
    const ends: Ends = { local, peer, localPort: reply.localPort, peerPort: reply.peerPort, ttl };
    for (const reset of resetFor(segment)) links.put(shared, ends, reset);
  }

  // --- handshakes --------------------------------------------------------------------------------------------------

  function open(binding: Binding, wanted: Wanted): Promise<Connection> {
    try {
      wanted.signal?.throwIfAborted();
      const shared = links.linkFor(binding);
      const localPort = takePort();
      return new Promise((resolve, reject) => begin(shared, localPort, wanted, { resolve, reject }));
    } catch (error) {
      if (live === 0) options.onIdle();
      return Promise.reject(error);
    }
  }

  function begin(
    shared: SharedLink,
    localPort: number,
    wanted: Wanted,
    settle: Pick<Opening, "resolve" | "reject">,
  ): void {
    const { local, peer, peerPort, ttl, mss, bufferLength, signal } = wanted;
    const startedUs = nowUs();
    const block = createControlBlock({
      iss: random(2 ** 32),
      mss,
      pool,
      bufferLength,
      synRetries: SYN_RETRIES,
      retries: RETRIES,
      mslUs: MSL_US,
      defaultMss: DEFAULT_MSS[shared.family],
    });
    const interrupt = (): void => {
      opening.reject(signal?.reason);
      block.abort();
      touch(entry);
    };
    let leaveSignal = (): void => {};
    const opening = createOpening(wanted, startedUs, settle, () => {
      entry.opening = undefined;
      leaveSignal();
    });
    const entry: Entry = {
      shared,
      ends: { local, peer, localPort, peerPort, ttl },
      localWords: words(local),
      peerWords: words(peer),
      block,
      stream: createStream(block, wanted.label, () => touch(entry)),
      sender: {
        sent: (us) => {
          const { opening } = entry;
          if (opening === undefined) return;
          opening.sentUs = us;
          opening.refusal = "";
        },
        refused: (errno, verdict) => refused(entry, errno, verdict),
      },
      opening,
      live: true,
    };
    leaveSignal = onAbort(signal, interrupt);
    locals.set(formatAddress(local), ttl);
    entries.set(localPort, entry);
    live++;
    block.open(startedUs);
    touch(entry);
  }

  function establish({ ends, block, stream }: Entry, opening: Opening): void {
    opening.resolve({
      opened: openedBy(opening, ends, block.view()),
      get state() {
        return block.state;
      },
      read: stream.read,
      write: stream.write,
      close: stream.close,
      abort: stream.abort,
      [Symbol.asyncDispose]: stream.dispose,
    });
  }

  function refused(entry: Entry, errno: string, verdict: Exclude<SendErrorVerdict, "again">): void {
    const { opening } = entry;
    if (opening === undefined) return;
    opening.attempts--;
    const isAgain = opening.refusal === errno;
    opening.refusal = errno;
    // A firewall's rule refuses the next SYN, too; a limit or a full table of connections seldom does.
    if (verdict !== "never" && !(verdict === "forbidden" && isAgain)) return;
    fail(entry, opening, `send-${errno.toLowerCase()}`);
    touch(entry);
  }

  function giveUp(entry: Entry, opening: Opening): void {
    const { refusal } = opening;
    fail(entry, opening, refusal === "" ? "no-response" : `send-${refusal.toLowerCase()}`);
  }

  function fail({ block }: Entry, opening: Opening, reason: Reason, responder?: string): void {
    opening.reject(failureOf(opening, reason, nowUs(), responder));
    block.abort();
  }

  // --- ports -------------------------------------------------------------------------------------------------------

  /** @throws {SynprobeError} `ERR_NO_SOURCE` when every port has a connection */
  function takePort(): number {
    if (ports.available === 0) {
      for (const entry of entries.values()) {
        if (entry.live) continue;
        remove(entry);
        break;
      }
    }
    const port = ports.take(0);
    if (port !== 0) return port;
    throw new SynprobeError(
      ERROR_CODES.noSource,
      `${entries.size} connections are open, and there is no source port for one more: close some first`,
    );
  }

  // --- the end -----------------------------------------------------------------------------------------------------

  /** A link has become unusable, or we have made a mistake: no connection outlives it. */
  function collapse(error: unknown): void {
    const reason =
      error instanceof SynprobeError
        ? error
        : new SynprobeError(ERROR_CODES.system, `the link failed: ${error}`, { cause: error });
    for (const entry of entries.values()) {
      entry.opening?.reject(reason);
      entry.stream.fail(reason);
      entry.stream.advance(nowUs());
    }
    close();
    options.onIdle();
  }

  function close(): void {
    clearTimeout(timer);
    for (const { block, shared, ends } of entries.values()) {
      block.abort();
      for (let next = block.pollSegment(0); next !== undefined; next = block.pollSegment(0)) {
        links.put(shared, ends, next);
      }
    }
    links.close();
    entries.clear();
    live = 0;
  }

  return {
    get live() {
      return live;
    },
    open,
    close,
  };
}

function words(address: Address): Uint32Array {
  const found = new Uint32Array(ADDRESS_WORDS);
  loadAddress(found, 0, address, 0, address.length);
  return found;
}
