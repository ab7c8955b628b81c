/**
 * The control block of one connection and its state machine (RFC 9293 §3.3.1, §3.3.2, §3.10), active and passive open.
 * Sans-I/O: segments, user calls and times go in; segments, events and the next deadline come out.
 *
 * Reads along §3.10.7: `handleSegment` takes the checks in the RFC's order, each in a function of its own. RST and SYN
 * in a synchronized state follow RFC 5961 (challenge ACK), timeouts RFC 6298.
 *
 * Deliberately not here: congestion control (at most one window is in flight), window scaling, SACK, time stamps, urgent
 * data, Nagle; listening sockets and their queues (lab/), and what a segment looks like on the wire (wire/tcp.ts).
 */
import { FLAGS } from "../wire/tcp.ts";
import { type BufferPool, createReceiveBuffer, createSendBuffer } from "./buffers.ts";
import { createRetransmissionTimeout, RTO_DEFAULTS, type RtoOptions } from "./rto.ts";
import { hasFlag, type Segment, segmentLength } from "./segment.ts";
import { seqAdd, seqDiff, seqLess, seqLessEqual } from "./sequence.ts";

const { SYN, ACK, RST, FIN, PSH } = FLAGS;

/** RFC 9293 §3.3.2. */
export const TCP_STATES = [
  "CLOSED",
  "LISTEN",
  "SYN-SENT",
  "SYN-RECEIVED",
  "ESTABLISHED",
  "FIN-WAIT-1",
  "FIN-WAIT-2",
  "CLOSE-WAIT",
  "CLOSING",
  "LAST-ACK",
  "TIME-WAIT",
] as const;
export type TcpState = (typeof TCP_STATES)[number];

/** What the connection's user hears of. */
export type ConnectionEvent =
  /** The handshake is complete. */
  | "established"
  /** RST answered our SYN. */
  | "refused"
  /** RST ended an established connection. */
  | "reset"
  /** A segment was not acknowledged however often it was sent. */
  | "timed-out"
  /** The peer will send no more; what it sent can still be read. */
  | "peer-closed"
  /** Both sides are done, or the connection was given up here; its state is CLOSED or TIME-WAIT. */
  | "closed";

export interface ControlBlockOptions {
  /** Initial send sequence number. */
  readonly iss: number;
  /** MSS to announce, in bytes; also bounds what is sent. */
  readonly mss: number;
  /** Where the buffers come from. */
  readonly pool: BufferPool;
  /** Bytes of each buffer, at most 65,535: there is no window scaling. */
  readonly bufferLength: number;
  /** Retransmissions of a SYN before it is given up. */
  readonly synRetries: number;
  /** Retransmissions of anything else. */
  readonly retries: number;
  /** Maximum segment lifetime, in microseconds: TIME-WAIT lasts twice as long. */
  readonly mslUs: number;
  readonly rto?: RtoOptions;
}

/** What the socket holds, as plain values. */
export interface ControlBlockView {
  readonly state: TcpState;
  readonly iss: number;
  readonly irs: number;
  readonly sndUna: number;
  readonly sndNxt: number;
  readonly sndWnd: number;
  readonly rcvNxt: number;
  readonly rcvWnd: number;
  readonly peerMss: number;
  readonly rtoUs: number;
  readonly srttUs: number;
  /** Bytes of buffer memory reserved. */
  readonly reserved: number;
  /** Bytes written and not acknowledged; bytes received and not read. */
  readonly unacknowledged: number;
  readonly readable: number;
}

export interface ControlBlock {
  readonly state: TcpState;
  view(): ControlBlockView;
  /** Active open: reserves the buffers and sends a SYN. @returns false when there is no buffer memory */
  open(nowUs: number): boolean;
  /** Passive open by a SYN that came to a listening socket. @returns false when there is no buffer memory */
  accept(syn: Segment, nowUs: number): boolean;
  handleSegment(segment: Segment, nowUs: number): void;
  handleTimeout(nowUs: number): void;
  /** When `handleTimeout` has something to do; Infinity when never. */
  pollTimeout(): number;
  /** The next segment to send. */
  pollSegment(nowUs: number): Segment | undefined;
  pollEvent(): ConnectionEvent | undefined;
  /** Takes as much as the send buffer holds. @returns bytes taken; 0 after `close` */
  write(bytes: Uint8Array): number;
  /** Takes up to `max` bytes that have arrived in order. */
  read(max: number): Uint8Array;
  /** Sends FIN after everything written. */
  close(nowUs: number): void;
  /** Sends RST and forgets everything. */
  abort(): void;
}

const NO_TEXT = new Uint8Array(0);
/** RFC 9293 §3.7.1: assumed of a peer that names none. */
const DEFAULT_MSS = 536;
/** A peer that names less is given this much: its segments would be nearly all header (Linux: TCP_MIN_SND_MSS). */
const LEAST_MSS = 48;
const NEVER = Number.POSITIVE_INFINITY;

export function createControlBlock(options: ControlBlockOptions): ControlBlock {
  const { iss, pool } = options;
  const rto = createRetransmissionTimeout(options.rto ?? RTO_DEFAULTS);
  let state: TcpState = "CLOSED";
  let passive = false;
  let memory: { send: Uint8Array; receive: Uint8Array } | undefined;
  let sendBuffer = createSendBuffer(NO_TEXT);
  let receiveBuffer = createReceiveBuffer(NO_TEXT);

  // Send sequence space (§3.3.1). `sndMax` is the highest SND.NXT ever: SND.NXT goes back when a timer runs out.
  let sndUna = iss;
  let sndNxt = iss;
  let sndMax = iss;
  /** Told by no sequence number: all of them come again every 4 GiB. */
  let synAcknowledged = false;
  let sndWnd = 0;
  let sndWl1 = 0;
  let sndWl2 = 0;
  let maxSndWnd = 0;
  let peerMss = DEFAULT_MSS;
  // Receive sequence space. The buffer counts text; a FIN takes one number more.
  let irs = 0;
  let finReceived = false;

  let finQueued = false;
  let finAcknowledged = false;
  let retransmitAt = NEVER;
  let retransmissions = 0;
  let synRetransmitted = false;
  let timeWaitUntil = NEVER;
  /** The segment whose round trip is measured: the sequence number that acknowledges it, and when it left. */
  let timed: { end: number; sentUs: number } | undefined;
  let owesAck = false;
  /** The timer ran out with the window shut: one byte may go into it (§3.8.6.1). */
  let probing = false;
  const replies: Segment[] = [];
  const events: ConnectionEvent[] = [];

  /** What had arrived and was not read when the buffers were returned, and where the stream had got to. */
  let unread: Uint8Array = NO_TEXT;
  let lastReceived = 0;

  const textNext = (): number => (memory === undefined ? lastReceived : receiveBuffer.next);
  const rcvNxt = (): number => seqAdd(textNext(), finReceived ? 1 : 0);
  const rcvWnd = (): number => (memory === undefined ? 0 : Math.min(65_535, receiveBuffer.window));
  const synchronized = (): boolean => state !== "CLOSED" && state !== "SYN-SENT" && state !== "SYN-RECEIVED";
  /** Sequence number of the oldest byte in the send buffer. */
  const textStart = (): number => (synAcknowledged ? sndUna : seqAdd(iss, 1));

  // --- opening and closing -----------------------------------------------------------------------------------------

  function reserve(): boolean {
    const send = pool.reserve(options.bufferLength);
    const receive = send === undefined ? undefined : pool.reserve(options.bufferLength);
    if (send === undefined || receive === undefined) {
      if (send !== undefined) pool.release(send);
      return false;
    }
    memory = { send, receive };
    sendBuffer = createSendBuffer(send);
    receiveBuffer = createReceiveBuffer(receive);
    return true;
  }

  function open(nowUs: number): boolean {
    if (!reserve()) return false;
    state = "SYN-SENT";
    sndNxt = iss;
    armRetransmission(nowUs);
    return true;
  }

  function accept(syn: Segment, nowUs: number): boolean {
    if (!reserve()) return false;
    passive = true;
    takeSyn(syn);
    state = "SYN-RECEIVED";
    armRetransmission(nowUs);
    return true;
  }

  function takeSyn(segment: Segment): void {
    irs = segment.sequence;
    receiveBuffer.start(seqAdd(irs, 1));
    peerMss = Math.max(LEAST_MSS, segment.mss || DEFAULT_MSS);
    updateWindow(segment);
  }

  function becomeEstablished(): void {
    state = "ESTABLISHED";
    events.push("established");
    if (synRetransmitted) rto.afterSlowHandshake();
    // A close that came before the handshake was over.
    if (finQueued) state = "FIN-WAIT-1";
  }

  /** Over: buffers returned, timers off. What is queued to be sent still goes. */
  function end(event: ConnectionEvent): void {
    const told = state === "TIME-WAIT";
    state = "CLOSED";
    retransmitAt = NEVER;
    timeWaitUntil = NEVER;
    owesAck = false;
    returnBuffers();
    if (!told) events.push(event);
  }

  function returnBuffers(): void {
    if (memory === undefined) return;
    lastReceived = receiveBuffer.next;
    unread = receiveBuffer.read(receiveBuffer.readable);
    sendBuffer = createSendBuffer(NO_TEXT);
    pool.release(memory.send);
    pool.release(memory.receive);
    memory = undefined;
  }

  // --- segment arrives (§3.10.7) -----------------------------------------------------------------------------------

  function handleSegment(segment: Segment, nowUs: number): void {
    if (state === "CLOSED") {
      replies.push(...resetFor(segment));
      return;
    }
    if (state === "SYN-SENT") {
      inSynSent(segment, nowUs);
      return;
    }
    if (state === "SYN-RECEIVED" && hasFlag(segment, SYN) && segment.sequence === irs) {
      peersSynAgain(segment, nowUs);
      return;
    }
    if (
      checkSequence(segment, nowUs) &&
      checkReset(segment) &&
      checkSyn(segment) &&
      checkAcknowledgement(segment, nowUs)
    ) {
      takeText(segment);
      takeFin(segment, nowUs);
    }
  }

  /** §3.10.7.3 */
  function inSynSent(segment: Segment, nowUs: number): void {
    const acknowledged = hasFlag(segment, ACK);
    if (
      acknowledged &&
      (seqLessEqual(segment.acknowledgement, iss) || seqLess(sndMax, segment.acknowledgement))
    ) {
      if (!hasFlag(segment, RST)) replies.push(bare(RST, segment.acknowledgement));
      return;
    }
    if (hasFlag(segment, RST)) {
      if (acknowledged) end("refused");
      return;
    }
    if (!hasFlag(segment, SYN)) return;
    takeSyn(segment);
    if (acknowledged) {
      advance(segment.acknowledgement, nowUs);
      owesAck = true;
      becomeEstablished();
      takeText(segment);
      takeFin(segment, nowUs);
      return;
    }
    // Simultaneous open (§3.5, figure 7): our SYN goes again, with the acknowledgement it now can carry.
    state = "SYN-RECEIVED";
    sndNxt = iss;
    armRetransmission(nowUs);
  }

  /**
   * The peer's SYN once more, in SYN-RECEIVED. Alone: it has not heard ours, which goes again. As SYN-ACK: the second half of a
   * simultaneous open (§3.5, figure 7). Any text on it is left to its retransmission.
   */
  function peersSynAgain(segment: Segment, nowUs: number): void {
    const { acknowledgement } = segment;
    if (hasFlag(segment, RST)) return;
    if (!hasFlag(segment, ACK)) {
      sndNxt = iss;
      return;
    }
    if (seqLess(sndUna, acknowledgement) && seqLessEqual(acknowledgement, sndMax))
      checkAcknowledgement(segment, nowUs);
    owesAck = true;
  }

  /** First: is the segment in the window? (§3.10.7.4, table 6) */
  function checkSequence(segment: Segment, nowUs: number): boolean {
    const length = segmentLength(segment);
    const next = rcvNxt();
    const window = rcvWnd();
    const inWindow = (sequence: number): boolean => {
      const offset = seqDiff(sequence, next);
      return offset >= 0 && offset < window;
    };
    let acceptable: boolean;
    if (length === 0) acceptable = window === 0 ? segment.sequence === next : inWindow(segment.sequence);
    else
      acceptable =
        window > 0 && (inWindow(segment.sequence) || inWindow(seqAdd(segment.sequence, length - 1)));
    // With the window shut, acknowledgements and resets of the right number are still heard.
    if (!acceptable && window === 0 && segment.sequence === next) {
      owesAck ||= length > 0;
      return true;
    }
    if (acceptable) return true;
    if (hasFlag(segment, RST)) return false;
    if (state === "TIME-WAIT" && hasFlag(segment, FIN)) enterTimeWait(nowUs);
    owesAck = true;
    return false;
  }

  /** Second: RST, by RFC 5961 §3.2. */
  function checkReset(segment: Segment): boolean {
    if (!hasFlag(segment, RST)) return true;
    if (segment.sequence !== rcvNxt()) {
      owesAck = true;
      return false;
    }
    if (state === "SYN-RECEIVED") end(passive ? "reset" : "refused");
    else if (state === "CLOSING" || state === "LAST-ACK" || state === "TIME-WAIT") end("closed");
    else end("reset");
    return false;
  }

  /** Fourth: SYN, by RFC 5961 §4.2. */
  function checkSyn(segment: Segment): boolean {
    if (!hasFlag(segment, SYN)) return true;
    if (state === "SYN-RECEIVED" && passive) end("reset");
    else owesAck = true;
    return false;
  }

  /** Fifth: the acknowledgement. */
  function checkAcknowledgement(segment: Segment, nowUs: number): boolean {
    if (!hasFlag(segment, ACK)) return false;
    const { acknowledgement } = segment;
    if (state === "SYN-RECEIVED") {
      if (seqLessEqual(acknowledgement, sndUna) || seqLess(sndMax, acknowledgement)) {
        replies.push(bare(RST, acknowledgement));
        return false;
      }
      updateWindow(segment);
      advance(acknowledgement, nowUs);
      becomeEstablished();
    } else {
      // RFC 5961 §5.2: neither older than any window we had, nor of anything never sent.
      if (seqLess(acknowledgement, seqAdd(sndUna, -maxSndWnd)) || seqLess(sndMax, acknowledgement)) {
        owesAck = true;
        return false;
      }
      if (seqLess(sndUna, acknowledgement)) advance(acknowledgement, nowUs);
      if (seqLessEqual(sndUna, acknowledgement)) maybeUpdateWindow(segment, nowUs);
    }
    return afterAcknowledgement(nowUs);
  }

  /** The transitions that our FIN's acknowledgement makes. @returns false when the connection is over */
  function afterAcknowledgement(nowUs: number): boolean {
    if (!finAcknowledged) return true;
    if (state === "FIN-WAIT-1") state = "FIN-WAIT-2";
    else if (state === "CLOSING") enterTimeWait(nowUs);
    else if (state === "LAST-ACK") {
      end("closed");
      return false;
    }
    return true;
  }

  /** Seventh: the segment's text. */
  function takeText(segment: Segment): void {
    if (segment.text.length === 0 || finReceived) return;
    if (state !== "ESTABLISHED" && state !== "FIN-WAIT-1" && state !== "FIN-WAIT-2") return;
    const first = hasFlag(segment, SYN) ? seqAdd(segment.sequence, 1) : segment.sequence;
    receiveBuffer.insert(first, segment.text);
    owesAck = true;
  }

  /** Eighth: FIN. One that is ahead of missing text is left to its retransmission. */
  function takeFin(segment: Segment, nowUs: number): void {
    if (!hasFlag(segment, FIN) || state === "SYN-RECEIVED") return;
    owesAck = true;
    if (state === "TIME-WAIT") {
      enterTimeWait(nowUs);
      return;
    }
    const at = seqAdd(segment.sequence, segmentLength(segment) - 1);
    if (finReceived || at !== receiveBuffer.next) return;
    finReceived = true;
    events.push("peer-closed");
    if (state === "ESTABLISHED") state = "CLOSE-WAIT";
    else if (state === "FIN-WAIT-1") state = "CLOSING";
    else if (state === "FIN-WAIT-2") enterTimeWait(nowUs);
  }

  function enterTimeWait(nowUs: number): void {
    if (state !== "TIME-WAIT") events.push("closed");
    state = "TIME-WAIT";
    retransmitAt = NEVER;
    returnBuffers();
    timeWaitUntil = nowUs + 2 * options.mslUs;
  }

  /** SND.UNA moves: what is acknowledged leaves the buffer, the timer starts anew (RFC 6298 §5.2, §5.3). */
  function advance(acknowledgement: number, nowUs: number): void {
    let count = seqDiff(acknowledgement, sndUna);
    if (!synAcknowledged) count--;
    synAcknowledged = true;
    if (finQueued && count > sendBuffer.length) {
      finAcknowledged = true;
      count = sendBuffer.length;
    }
    sendBuffer.acknowledge(count);
    sndUna = acknowledgement;
    if (seqLess(sndNxt, sndUna)) sndNxt = sndUna;
    if (timed !== undefined && seqLessEqual(timed.end, acknowledgement)) {
      rto.sample(Math.max(1, nowUs - timed.sentUs));
      timed = undefined;
    }
    retransmissions = 0;
    retransmitAt = NEVER;
    if (seqLess(sndUna, sndMax)) armRetransmission(nowUs);
  }

  /** §3.10.7.4: a window from an old segment must not replace a newer one. */
  function maybeUpdateWindow(segment: Segment, nowUs: number): void {
    const newer =
      seqLess(sndWl1, segment.sequence) ||
      (sndWl1 === segment.sequence && seqLessEqual(sndWl2, segment.acknowledgement));
    if (!newer) return;
    const wasShut = sndWnd === 0;
    updateWindow(segment);
    // A peer that keeps acknowledging with its window shut is alive, however long it takes (RFC 9293 §3.8.6.1).
    if (sndWnd === 0) retransmissions = 0;
    if (wasShut && sndWnd > 0) {
      // The window has opened: probes end, what they sent into it goes again at once.
      retransmissions = 0;
      sndNxt = sndUna;
      if (sendBuffer.length > 0) armRetransmission(nowUs);
    }
  }

  function updateWindow(segment: Segment): void {
    sndWnd = segment.window;
    sndWl1 = segment.sequence;
    sndWl2 = segment.acknowledgement;
    maxSndWnd = Math.max(maxSndWnd, sndWnd);
  }

  // --- timers ------------------------------------------------------------------------------------------------------

  function armRetransmission(nowUs: number): void {
    retransmitAt = nowUs + rto.rtoUs;
  }

  function handleTimeout(nowUs: number): void {
    if (nowUs >= timeWaitUntil) {
      timeWaitUntil = NEVER;
      state = "CLOSED";
      return;
    }
    if (nowUs < retransmitAt) return;
    const handshaking = state === "SYN-SENT" || state === "SYN-RECEIVED";
    if (++retransmissions > (handshaking ? options.synRetries : options.retries)) {
      end("timed-out");
      return;
    }
    if (handshaking) synRetransmitted = true;
    rto.backOff();
    // Go back to the oldest unacknowledged number; Karn: its round trip is no sample any more.
    sndNxt = sndUna;
    timed = undefined;
    armRetransmission(nowUs);
    probing = sndWnd === 0;
  }

  // --- sending -----------------------------------------------------------------------------------------------------

  function pollSegment(nowUs: number): Segment | undefined {
    const reply = replies.shift();
    if (reply !== undefined) return reply;
    if (state === "SYN-SENT" && sndNxt === iss) return sendSyn(SYN, nowUs);
    if (state === "SYN-RECEIVED" && sndNxt === iss) return sendSyn(SYN | ACK, nowUs);
    if (synchronized() && state !== "TIME-WAIT") {
      const segment = nextText(nowUs);
      if (segment !== undefined) return segment;
    }
    if (owesAck && state !== "CLOSED" && state !== "SYN-SENT") {
      owesAck = false;
      return bare(ACK, sndNxt);
    }
    return undefined;
  }

  function sendSyn(flags: number, nowUs: number): Segment {
    startTiming(seqAdd(iss, 1), nowUs);
    sndNxt = seqAdd(iss, 1);
    if (seqLess(sndMax, sndNxt)) sndMax = sndNxt;
    owesAck = false;
    return { ...bare(flags, iss), mss: options.mss };
  }

  /** The next piece of text, or FIN, that the peer's window takes. */
  function nextText(nowUs: number): Segment | undefined {
    const offset = seqDiff(sndNxt, textStart());
    const room = seqDiff(seqAdd(sndUna, Math.max(sndWnd, probing ? 1 : 0)), sndNxt);
    const unsent = sendBuffer.length - offset;
    const length = Math.max(0, Math.min(unsent, room, peerMss, options.mss));
    const fin =
      finQueued &&
      !finAcknowledged &&
      offset <= sendBuffer.length &&
      length === unsent &&
      (room > length || length === 0);
    if (length === 0 && !fin) {
      // Text waits for a window: the timer becomes the persist timer.
      if (unsent > 0 && retransmitAt === NEVER) armRetransmission(nowUs);
      return undefined;
    }
    probing = false;
    const push = length > 0 && length === unsent ? PSH : 0;
    const segment: Segment = {
      ...bare(ACK | push | (fin ? FIN : 0), sndNxt),
      text: length > 0 ? sendBuffer.copy(offset, length) : NO_TEXT,
    };
    const fresh = sndNxt === sndMax;
    sndNxt = seqAdd(sndNxt, segmentLength(segment));
    if (fresh) startTiming(sndNxt, nowUs);
    if (seqLess(sndMax, sndNxt)) sndMax = sndNxt;
    if (retransmitAt === NEVER) armRetransmission(nowUs);
    owesAck = false;
    return segment;
  }

  function startTiming(end: number, nowUs: number): void {
    if (timed === undefined && retransmissions === 0) timed = { end, sentUs: nowUs };
  }

  /** A segment without text at the current receive position. */
  function bare(flags: number, sequence: number): Segment {
    const acknowledging = (flags & ACK) !== 0;
    return {
      sequence,
      acknowledgement: acknowledging ? rcvNxt() : 0,
      flags,
      window: (flags & RST) !== 0 ? 0 : rcvWnd(),
      text: NO_TEXT,
    };
  }

  // --- user calls --------------------------------------------------------------------------------------------------

  function close(): void {
    if (finQueued) return;
    switch (state) {
      case "SYN-SENT":
        end("closed");
        return;
      case "SYN-RECEIVED":
        finQueued = true;
        return;
      case "ESTABLISHED":
        finQueued = true;
        state = "FIN-WAIT-1";
        return;
      case "CLOSE-WAIT":
        finQueued = true;
        state = "LAST-ACK";
        return;
      default:
    }
  }

  function abort(): void {
    if (state === "CLOSED") return;
    replies.length = 0;
    // SYN-SENT has nothing that a RST could name; TIME-WAIT and what follows are over anyway (§3.10.5).
    if (state !== "SYN-SENT" && state !== "TIME-WAIT") replies.push(bare(RST | ACK, sndMax));
    end("closed");
  }

  return {
    get state() {
      return state;
    },
    view: () => ({
      state,
      iss,
      irs,
      sndUna,
      sndNxt,
      sndWnd,
      rcvNxt: rcvNxt(),
      rcvWnd: rcvWnd(),
      peerMss,
      rtoUs: rto.rtoUs,
      srttUs: rto.srttUs,
      reserved: memory === undefined ? 0 : memory.send.length + memory.receive.length,
      unacknowledged: sendBuffer.length,
      readable: memory === undefined ? unread.length : receiveBuffer.readable,
    }),
    open,
    accept,
    handleSegment,
    handleTimeout,
    pollTimeout: () => Math.min(retransmitAt, timeWaitUntil),
    pollSegment,
    pollEvent: () => events.shift(),
    write: (bytes) => (finQueued || memory === undefined ? 0 : sendBuffer.write(bytes)),
    read: (max) => {
      if (memory === undefined) {
        const bytes = unread.subarray(0, max);
        unread = unread.subarray(bytes.length);
        return bytes;
      }
      const wasShut = rcvWnd() === 0;
      const bytes = receiveBuffer.read(max);
      // The peer waits for the window to open: tell it.
      if (wasShut && bytes.length > 0) owesAck = true;
      return bytes;
    },
    close,
    abort,
  };
}

/** What a socket that does not exist answers (§3.10.7.1): nothing to a RST, a RST to anything else. */
export function resetFor(segment: Segment): Segment[] {
  if (hasFlag(segment, RST)) return [];
  const base = { window: 0, text: NO_TEXT };
  if (hasFlag(segment, ACK)) {
    return [{ ...base, sequence: segment.acknowledgement, acknowledgement: 0, flags: RST }];
  }
  return [
    {
      ...base,
      sequence: 0,
      acknowledgement: seqAdd(segment.sequence, segmentLength(segment)),
      flags: RST | ACK,
    },
  ];
}
