/**
 * A small TCP stack: the connections of this process, found by their local port, over links that they share. Packets in,
 * packets out, one timer for the earliest deadline.
 *
 * Turns of the event loop do all the work: what a user or a packet changes is marked, and the next turn sends what follows
 * from it. Not here: what a user sees of a connection (connection.ts), where links and ports come from and when they are
 * given back (process-stack.ts).
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import type { Link } from "../../link/link.ts";
import { type SendErrorVerdict, sendErrorVerdict } from "../../scan/probe/classify.ts";
import { createReplyDecoder } from "../../scan/probe/reply-decoder.ts";
import type { Reason } from "../../scan/probe/result.ts";
import { createBufferPool } from "../../socket/buffers.ts";
import { type ControlBlock, createControlBlock, resetFor } from "../../socket/control-block.ts";
import { createPortPool } from "../../socket/ports.ts";
import { type Ends, hasFlag, readSegment, type Segment, writePacket } from "../../socket/segment.ts";
import { seqAdd, seqDiff } from "../../socket/sequence.ts";
import { ADDRESS_WORDS, loadAddress, sameWords, storeAddress } from "../../socket/table.ts";
import { type Address, formatAddress } from "../../wire/address.ts";
import * as tcp from "../../wire/tcp.ts";
import { parseOptions, type TcpOption } from "../../wire/tcp-options.ts";
import { nowUs } from "../system/clock.ts";
import { type Connection, createStream, type Opened, type Stream } from "./connection.ts";

/** What the sockets of a link are bound to. */
export interface Binding {
  readonly family: 4 | 6;
  readonly interfaceName?: string;
  /** Index of the interface on which link-local addresses are meant. */
  readonly scope?: number;
  /** The source address that the user chose. */
  readonly source?: Address;
}

/** A connection that is wanted. */
export interface Wanted {
  /** Names the peer in messages. */
  readonly label: string;
  readonly local: Address;
  readonly peer: Address;
  readonly peerPort: number;
  readonly ttl: number;
  /** MSS to announce and to keep to, in bytes. */
  readonly mss: number;
  /** Bytes of each buffer, at most 65,535. */
  readonly bufferLength: number;
  /** How long the handshake may take, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** What is known of an attempt that failed: the `cause` of its error. */
export interface FailedAttempt {
  /** `send-*` when this machine's kernel did not send. */
  readonly reason: Reason;
  /** SYNs sent. */
  readonly attempts: number;
  /** From connect to the end, in milliseconds. */
  readonly elapsedMs: number;
  /** TTL or hop limit of a RST. */
  readonly ttl?: number;
  /** Sender of an ICMP error. */
  readonly responder?: string;
}

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
/** Retransmissions before a peer is given up: about 8 minutes of silence (RFC 9293 §3.8.3: at least 100 s). */
const RETRIES = 15;
/** SYNs stop when the time for the handshake is over, not by number. */
const SYN_RETRIES = 1000;
/** setTimeout's limit is 2^31 - 1 ms; far deadlines are looked at again after this long. */
const LONGEST_SLEEP_MS = 60_000;
const NEVER = Number.POSITIVE_INFINITY;
const NO_TEXT = new Uint8Array(0);
const { SYN, ACK } = tcp.FLAGS;

interface SharedLink {
  readonly link: Link;
  /** Whose packet each slot of the batch holds. */
  readonly owners: (Entry | undefined)[];
  /** Slots filled. */
  filled: number;
}

/** A handshake under way. */
interface Opening {
  readonly wanted: Wanted;
  readonly startedUs: number;
  readonly deadlineUs: number;
  attempts: number;
  /** When the last SYN left. */
  sentUs: number;
  /** errno of the last SYN that did not. */
  refusal: string;
  /** The peer's last segment. */
  answer: { atUs: number; ttl: number; window: number; options: readonly TcpOption[] };
  resolve(connection: Connection): void;
  reject(reason: unknown): void;
}

interface Entry {
  readonly shared: SharedLink;
  readonly ends: Ends;
  readonly localWords: Uint32Array;
  readonly peerWords: Uint32Array;
  readonly bufferLength: number;
  readonly block: ControlBlock;
  readonly stream: Stream;
  opening: Opening | undefined;
  /** Right edge of the window that the peer knows of. */
  announced: number;
  /** Counted in `live`. */
  live: boolean;
}

export function createStack(options: StackOptions): Stack {
  const { random } = options;
  const ports = createPortPool(options.ports.first, options.ports.last, random);
  const pool = createBufferPool(NEVER);
  const decoder = createReplyDecoder();
  const { reply } = decoder;
  const links = new Map<string, SharedLink>();
  /** By local port: no two connections share one. */
  const entries = new Map<number, Entry>();
  /** Our addresses that connections have had: what comes to others is none of ours. */
  const locals = new Map<string, number>();
  /** What this turn has to look at. */
  const touched = new Set<Entry>();
  const readable = new Set<SharedLink>();
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
      for (const shared of readable) {
        if (shared.link.drain()) readable.delete(shared);
      }
      if (readable.size > 0) schedule();
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
    for (const shared of links.values()) readable.add(shared);
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
    for (const shared of links.values()) sendBatch(shared);
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

  function collect(entry: Entry): void {
    const { block, bufferLength } = entry;
    const now = nowUs();
    for (let next = block.pollSegment(now); next !== undefined; next = block.pollSegment(now)) {
      put(entry.shared, entry.ends, next, entry);
    }
    if (!block.state.startsWith("FIN-WAIT") && block.state !== "ESTABLISHED") return;
    // The peer hears of room once it is worth it (RFC 9293 §3.8.6.2.2): read at last, not only when the window was shut.
    const { sndNxt, rcvNxt, rcvWnd } = block.view();
    if (seqDiff(seqAdd(rcvNxt, rcvWnd), entry.announced) >= bufferLength / 2) {
      const update = { sequence: sndNxt, acknowledgement: rcvNxt, flags: ACK, window: rcvWnd, text: NO_TEXT };
      put(entry.shared, entry.ends, update, entry);
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

  // --- sending -----------------------------------------------------------------------------------------------------

  function put(shared: SharedLink, ends: Ends, segment: Segment, owner?: Entry): void {
    const { batch } = shared.link;
    const slot = shared.filled++;
    shared.owners[slot] = owner;
    batch.lengths[slot] = writePacket(batch.data, slot * batch.slotLength + batch.offset, ends, segment);
    if (owner !== undefined) {
      if (hasFlag(segment, ACK)) owner.announced = seqAdd(segment.acknowledgement, segment.window);
      if (owner.opening !== undefined && hasFlag(segment, SYN)) owner.opening.attempts++;
    }
    if (shared.filled === batch.slots) sendBatch(shared);
  }

  function sendBatch(shared: SharedLink): void {
    const { link, owners, filled } = shared;
    shared.filled = 0;
    for (let done = 0; done < filled; ) {
      const us = nowUs();
      const taken = link.send(done, filled - done);
      for (let slot = done; slot < done + taken; slot++) {
        const opening = owners[slot]?.opening;
        if (opening !== undefined) opening.sentUs = us;
      }
      done += taken;
      if (taken > 0) continue;
      const family = owners[done]?.ends.local.length === 16 ? 6 : 4;
      const verdict = sendErrorVerdict(link.sendError, family);
      // As good as lost: timers send again. Where there is no room for one there is none for the rest.
      if (verdict === "again") return;
      refuse(owners[done++], link.sendError, verdict);
    }
  }

  function refuse(owner: Entry | undefined, errno: string, verdict: SendErrorVerdict): void {
    const opening = owner?.opening;
    if (owner === undefined || opening === undefined) return;
    opening.attempts--;
    opening.refusal = errno;
    if (verdict === "never") {
      fail(owner, opening, `send-${errno.toLowerCase()}`);
      touch(owner);
    }
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
      const { answer } = opening;
      const options = hasFlag(segment, SYN)
        ? parseOptions(
            b,
            reply.segmentAt + tcp.OPTIONS,
            reply.segmentAt + tcp.headerLength(b, reply.segmentAt),
          ).options
        : answer.options;
      opening.answer = { atUs, ttl: reply.ttl, window: segment.window, options };
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
    for (const reset of resetFor(segment)) put(shared, ends, reset);
  }

  // --- handshakes --------------------------------------------------------------------------------------------------

  function open(binding: Binding, wanted: Wanted): Promise<Connection> {
    try {
      wanted.signal?.throwIfAborted();
      const shared = linkFor(binding);
      const localPort = takePort();
      return new Promise((...settle) => begin(shared, localPort, wanted, ...settle));
    } catch (error) {
      if (live === 0) options.onIdle();
      return Promise.reject(error);
    }
  }

  function begin(
    shared: SharedLink,
    localPort: number,
    wanted: Wanted,
    resolve: (connection: Connection) => void,
    reject: (reason: unknown) => void,
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
    });
    const interrupt = (): void => {
      opening.reject(signal?.reason);
      block.abort();
      touch(entry);
    };
    const decided = (): void => {
      entry.opening = undefined;
      signal?.removeEventListener("abort", interrupt);
    };
    const opening: Opening = {
      wanted,
      startedUs,
      deadlineUs: startedUs + wanted.timeoutMs * 1000,
      attempts: 0,
      sentUs: startedUs,
      refusal: "",
      answer: { atUs: startedUs, ttl: 0, window: 0, options: [] },
      resolve: (connection) => {
        decided();
        resolve(connection);
      },
      reject: (reason) => {
        decided();
        reject(reason);
      },
    };
    const entry: Entry = {
      shared,
      ends: { local, peer, localPort, peerPort, ttl },
      localWords: words(local),
      peerWords: words(peer),
      bufferLength,
      block,
      stream: createStream(block, wanted.label, () => touch(entry)),
      opening,
      announced: 0,
      live: true,
    };
    signal?.addEventListener("abort", interrupt, { once: true });
    locals.set(formatAddress(local), ttl);
    entries.set(localPort, entry);
    live++;
    block.open(startedUs);
    touch(entry);
  }

  function establish(entry: Entry, opening: Opening): void {
    const { ends, block, stream } = entry;
    const { attempts, sentUs, answer } = opening;
    const { peerMss, iss, irs } = block.view();
    const opened: Opened = {
      local: { ip: formatAddress(ends.local), port: ends.localPort },
      remote: { ip: formatAddress(ends.peer), port: ends.peerPort },
      rttMs: attempts === 1 ? Math.max(0, answer.atUs - sentUs) / 1000 : null,
      attempts,
      mss: peerMss,
      window: answer.window,
      options: answer.options,
      ttl: answer.ttl,
      iss,
      irs,
    };
    opening.resolve({
      opened,
      get state() {
        return block.state;
      },
      read: stream.read,
      write: stream.write,
      close: stream.close,
      abort: stream.abort,
      [Symbol.asyncDispose]: stream.close,
    });
  }

  function giveUp(entry: Entry, opening: Opening): void {
    const { refusal } = opening;
    fail(entry, opening, refusal === "" ? "no-response" : `send-${refusal.toLowerCase()}`);
  }

  function fail(entry: Entry, opening: Opening, reason: Reason, responder?: string): void {
    const { wanted, attempts, answer } = opening;
    const elapsedMs = (nowUs() - opening.startedUs) / 1000;
    const cause: FailedAttempt = {
      reason,
      attempts,
      elapsedMs,
      ...(reason === "reset" ? { ttl: answer.ttl } : {}),
      ...(responder === undefined ? {} : { responder }),
    };
    const { code, message } = explain(wanted, cause);
    opening.reject(new SynprobeError(code, `${wanted.label} ${message}`, { cause }));
    entry.block.abort();
  }

  // --- links and ports ---------------------------------------------------------------------------------------------

  function linkFor(binding: Binding): SharedLink {
    const { family, interfaceName, scope, source } = binding;
    const key = [family, interfaceName, scope, source && formatAddress(source)].join(" ");
    const known = links.get(key);
    if (known !== undefined) return known;
    const link = options.openLink(binding);
    const shared: SharedLink = { link, owners: [], filled: 0 };
    links.set(key, shared);
    link.listen(
      (b, at, end, ageUs) => handlePacket(shared, b, at, end, nowUs() - ageUs),
      () => {
        readable.add(shared);
        schedule();
      },
      collapse,
    );
    return shared;
  }

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
        put(shared, ends, next);
      }
    }
    for (const shared of links.values()) {
      sendBatch(shared);
      shared.link.close();
    }
    entries.clear();
    links.clear();
    readable.clear();
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

/** An attempt's failure, for a person. */
function explain(
  { local, timeoutMs }: Wanted,
  { reason, attempts, elapsedMs, responder }: FailedAttempt,
): Pick<SynprobeError, "code" | "message"> {
  const tries = attempts === 1 ? "1 SYN" : `${attempts} SYNs`;
  if (reason === "reset") {
    return {
      code: ERROR_CODES.refused,
      message: `refused the connection: RST after ${elapsedMs.toFixed(1)} ms, ${tries} sent`,
    };
  }
  if (reason === "no-response") {
    return {
      code: ERROR_CODES.timedOut,
      message: `did not answer within ${timeoutMs / 1000} s, ${tries} sent: it is down, or something on the way drops them`,
    };
  }
  const who = responder === formatAddress(local) ? "this machine's own kernel" : responder;
  return {
    code: ERROR_CODES.unreachable,
    message:
      who === undefined
        ? `cannot be reached: this machine refuses to send to it (${reason.slice("send-".length).toUpperCase()})`
        : `cannot be reached: ${reason}, says ${who}`,
  };
}
