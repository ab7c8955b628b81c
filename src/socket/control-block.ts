/**
 * The control block of one connection and its state machine (RFC 9293 §3.3.1, §3.3.2, §3.10), active and passive open.
 * Sans-I/O: segments, user calls and times go in; segments, events and the next deadline come out.
 *
 * Reads along §3.10.7: `handleSegment` takes the checks in the RFC's order, each in a function of its own. RST and SYN
 * in a synchronized state follow RFC 5961 (challenge ACK). Its halves: sender.ts (what goes when), receiver.ts (what has come).
 *
 * Deliberately not here: window scaling, SACK, time stamps, urgent data, Nagle (native-notes/tcp.md says why); listening
 * sockets and their queues (lab/), and what a segment looks like on the wire (wire/tcp.ts).
 */
import { FLAGS } from "../wire/tcp.ts";
import type { ConnectionEvent, ControlBlock, ControlBlockOptions, TcpState } from "./connection.ts";
import { createReceiver } from "./receiver.ts";
import { RTO_DEFAULTS } from "./rto.ts";
import { hasFlag, resetFor, type Segment, segmentLength } from "./segment.ts";
import { createSender } from "./sender.ts";
import { seqAdd, seqDiff, seqLess, seqLessEqual } from "./sequence.ts";

const { SYN, ACK, RST, FIN } = FLAGS;

const NO_TEXT = new Uint8Array(0);
/** By IP version: what every host takes, 576 bytes of IPv4 and 1280 of IPv6, less the headers (RFC 9293 §3.7.1, MUST-15). */
export const DEFAULT_MSS = { 4: 536, 6: 1220 } as const;
const NEVER = Number.POSITIVE_INFINITY;
/** Challenge ACKs in a span of time, at most (RFC 5961 §7). */
const CHALLENGES = 10;
const CHALLENGES_US = 5_000_000;

export function createControlBlock(options: ControlBlockOptions): ControlBlock {
  const { iss, pool } = options;
  const sender = createSender({
    iss,
    mss: options.mss,
    defaultMss: options.defaultMss ?? DEFAULT_MSS[4],
    rto: options.rto ?? RTO_DEFAULTS,
  });
  const receiver = createReceiver(options.mss);
  let state: TcpState = "CLOSED";
  let passive = false;
  let memory: readonly [send: Uint8Array, receive: Uint8Array] | undefined;
  let timeWaitUntil = NEVER;
  let owesAck = false;
  /** What came with the peer's SYN, until the connection is established. */
  let early: Segment | undefined;
  let reading = true;
  let challenges = 0;
  let challengesUntil = Number.NEGATIVE_INFINITY;
  const replies: Segment[] = [];
  const events: ConnectionEvent[] = [];

  const synchronized = (): boolean => state !== "CLOSED" && state !== "SYN-SENT" && state !== "SYN-RECEIVED";

  // --- opening and closing -----------------------------------------------------------------------------------------

  function reserve(): boolean {
    const send = pool.reserve(options.bufferLength);
    const receive = send === undefined ? undefined : pool.reserve(options.bufferLength);
    if (send === undefined || receive === undefined) {
      if (send !== undefined) pool.release(send);
      return false;
    }
    memory = [send, receive];
    sender.reserve(send);
    receiver.reserve(receive);
    return true;
  }

  function open(nowUs: number): boolean {
    if (!reserve()) return false;
    sender.queueSyn(nowUs);
    state = "SYN-SENT";
    return true;
  }

  function accept(syn: Segment, nowUs: number): boolean {
    if (!reserve()) return false;
    sender.queueSyn(nowUs);
    passive = true;
    takeSyn(syn);
    holdRest(syn);
    state = "SYN-RECEIVED";
    return true;
  }

  function takeSyn(segment: Segment): void {
    receiver.start(segment.sequence);
    sender.takeSyn(segment);
  }

  /** Text and FIN on a SYN wait until the connection is established (§3.10.7.2, §3.10.7.3). */
  function holdRest(syn: Segment): void {
    if (segmentLength(syn) > 1) early = { ...syn, sequence: seqAdd(syn.sequence, 1), flags: syn.flags & FIN };
  }

  function becomeEstablished(nowUs: number): void {
    // A close that came before the handshake was over.
    state = sender.finQueued ? "FIN-WAIT-1" : "ESTABLISHED";
    events.push("established");
    sender.establish();
    if (early === undefined) return;
    takeText(early);
    takeFin(early, nowUs);
    early = undefined;
  }

  /** Over: buffers returned, timers off. What is queued to be sent still goes. */
  function end(event: ConnectionEvent): void {
    const told = state === "TIME-WAIT";
    state = "CLOSED";
    timeWaitUntil = NEVER;
    owesAck = false;
    early = undefined;
    returnBuffers();
    if (!told) events.push(event);
  }

  function returnBuffers(): void {
    sender.release();
    if (memory === undefined) return;
    receiver.release();
    for (const each of memory) pool.release(each);
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
    if (state === "SYN-RECEIVED" && hasFlag(segment, SYN) && segment.sequence === receiver.irs) {
      peersSynAgain(segment, nowUs);
      return;
    }
    if (
      checkSequence(segment, nowUs) &&
      checkReset(segment, nowUs) &&
      checkSyn(segment, nowUs) &&
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
      (seqLessEqual(segment.acknowledgement, iss) || seqLess(sender.highest, segment.acknowledgement))
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
    holdRest(segment);
    if (acknowledged) {
      sender.acknowledge(segment.acknowledgement, nowUs);
      owesAck = true;
      becomeEstablished(nowUs);
      return;
    }
    // Simultaneous open (§3.5, figure 7): our SYN goes again, with the acknowledgement it now can carry.
    state = "SYN-RECEIVED";
    sender.queueSyn(nowUs);
  }

  /**
   * The peer's SYN once more, in SYN-RECEIVED. Alone: it has not heard ours, which goes again. As SYN-ACK: the second half of a
   * simultaneous open (§3.5, figure 7). Any text on it is left to its retransmission.
   */
  function peersSynAgain(segment: Segment, nowUs: number): void {
    const { acknowledgement } = segment;
    if (hasFlag(segment, RST)) return;
    if (!hasFlag(segment, ACK)) {
      sender.queueSyn(nowUs, "lost");
      return;
    }
    if (seqLess(sender.una, acknowledgement) && seqLessEqual(acknowledgement, sender.highest)) {
      owesAck = true;
      checkAcknowledgement(segment, nowUs);
    } else challenge(nowUs);
  }

  /** First: is the segment in the window? (§3.10.7.4, table 6) */
  function checkSequence(segment: Segment, nowUs: number): boolean {
    const length = segmentLength(segment);
    const { next, window } = receiver;
    const inWindow = (sequence: number): boolean => {
      const offset = seqDiff(sequence, next);
      return offset >= 0 && offset < window;
    };
    if (inWindow(segment.sequence)) return true;
    if (length > 0 && inWindow(seqAdd(segment.sequence, length - 1))) return true;
    // With the window shut, acknowledgements and resets of the right number are still heard.
    if (window === 0 && segment.sequence === next) {
      owesAck ||= length > 0;
      return true;
    }
    if (hasFlag(segment, RST)) return false;
    if (state === "TIME-WAIT" && hasFlag(segment, FIN)) enterTimeWait(nowUs);
    // Text and FIN come again because an acknowledgement was lost; nothing else has to be answered, but for §3.5.3.
    if (length > 0 && !hasFlag(segment, SYN)) owesAck = true;
    else challenge(nowUs);
    return false;
  }

  /**
   * An ACK that corrects a peer out of step, or draws a RST from one that has forgotten us. So many in a span of time, or two
   * peers out of step would answer each other for ever (RFC 5961 §7).
   */
  function challenge(nowUs: number): void {
    if (nowUs >= challengesUntil) {
      challenges = 0;
      challengesUntil = nowUs + CHALLENGES_US;
    }
    if (challenges >= CHALLENGES) return;
    challenges++;
    owesAck = true;
  }

  /** Second: RST, by RFC 5961 §3.2. */
  function checkReset(segment: Segment, nowUs: number): boolean {
    if (!hasFlag(segment, RST)) return true;
    if (segment.sequence !== receiver.next) {
      challenge(nowUs);
      return false;
    }
    if (state === "SYN-RECEIVED") end(passive ? "reset" : "refused");
    else if (state === "CLOSING" || state === "LAST-ACK" || state === "TIME-WAIT") end("closed");
    else end("reset");
    return false;
  }

  /** Fourth: SYN, by RFC 5961 §4.2. */
  function checkSyn(segment: Segment, nowUs: number): boolean {
    if (!hasFlag(segment, SYN)) return true;
    if (state === "SYN-RECEIVED" && passive) end("reset");
    else challenge(nowUs);
    return false;
  }

  /** Fifth: the acknowledgement. */
  function checkAcknowledgement(segment: Segment, nowUs: number): boolean {
    if (!hasFlag(segment, ACK)) return false;
    const { acknowledgement } = segment;
    const { una, highest, largestWindow } = sender;
    if (state === "SYN-RECEIVED") {
      if (seqLessEqual(acknowledgement, una) || seqLess(highest, acknowledgement)) {
        replies.push(bare(RST, acknowledgement));
        return false;
      }
      sender.updateWindow(segment);
      sender.acknowledge(acknowledgement, nowUs);
      becomeEstablished(nowUs);
    } else {
      // RFC 5961 §5.2: neither older than any window we had, nor of anything never sent.
      if (seqLess(acknowledgement, seqAdd(una, -largestWindow)) || seqLess(highest, acknowledgement)) {
        challenge(nowUs);
        return false;
      }
      if (seqLess(una, acknowledgement)) sender.acknowledge(acknowledgement, nowUs);
      else sender.countDuplicate(segment);
      if (seqLessEqual(una, acknowledgement)) sender.maybeUpdateWindow(segment);
    }
    return afterAcknowledgement(nowUs);
  }

  /** The transitions that our FIN's acknowledgement makes. @returns false when the connection is over */
  function afterAcknowledgement(nowUs: number): boolean {
    if (!sender.finAcknowledged) return true;
    if (state === "FIN-WAIT-1") state = "FIN-WAIT-2";
    else if (state === "CLOSING") enterTimeWait(nowUs);
    else if (state === "LAST-ACK") {
      end("closed");
      return false;
    }
    return true;
  }

  /** Seventh: the segment's text. */
  function takeText({ sequence, text }: Segment): void {
    if (text.length === 0 || receiver.finished) return;
    if (state !== "ESTABLISHED" && state !== "FIN-WAIT-1" && state !== "FIN-WAIT-2") return;
    receiver.takeText(sequence, text);
    // The peer counts the acknowledgements of what is out of order: one for each (RFC 5681 §4.2).
    if (seqLess(receiver.next, sequence)) replies.push(bare(ACK, sender.bareSequence));
    else owesAck = true;
    refuseUnread();
  }

  /** Eighth: FIN. One that is ahead of missing text is held until that has come. */
  function takeFin(segment: Segment, nowUs: number): void {
    if (hasFlag(segment, FIN)) {
      owesAck = true;
      if (state === "TIME-WAIT") enterTimeWait(nowUs);
      else if (synchronized()) receiver.takeFin(seqAdd(segment.sequence, segment.text.length));
    }
    if (!synchronized() || !receiver.advanceToFin()) return;
    owesAck = true;
    events.push("peer-closed");
    if (state === "ESTABLISHED") state = "CLOSE-WAIT";
    else if (state === "FIN-WAIT-1") state = "CLOSING";
    else if (state === "FIN-WAIT-2") enterTimeWait(nowUs);
  }

  function enterTimeWait(nowUs: number): void {
    if (state !== "TIME-WAIT") events.push("closed");
    state = "TIME-WAIT";
    returnBuffers();
    timeWaitUntil = nowUs + 2 * options.mslUs;
  }

  /** §3.6.1: the user has closed and reads no more, but there is text. */
  function refuseUnread(): void {
    if (!reading && sender.finQueued && synchronized() && receiver.readable > 0) abort();
  }

  // --- timers ------------------------------------------------------------------------------------------------------

  function handleTimeout(nowUs: number): void {
    if (nowUs >= timeWaitUntil) {
      timeWaitUntil = NEVER;
      state = "CLOSED";
      return;
    }
    if (nowUs < sender.deadlineUs) return;
    const most = state === "SYN-SENT" || state === "SYN-RECEIVED" ? options.synRetries : options.retries;
    if (!sender.timeOut(nowUs, most)) end("timed-out");
  }

  // --- sending -----------------------------------------------------------------------------------------------------

  function pollSegment(nowUs: number): Segment | undefined {
    const segment = replies.shift() ?? nextSegment(nowUs);
    if (segment !== undefined && hasFlag(segment, ACK)) receiver.announce();
    return segment;
  }

  function nextSegment(nowUs: number): Segment | undefined {
    if (state === "CLOSED") return undefined;
    if (!synchronized() && sender.synDue) {
      owesAck = false;
      sender.sendSyn(nowUs);
      return { ...bare(state === "SYN-SENT" ? SYN : SYN | ACK, iss), mss: options.mss };
    }
    const text = synchronized() && state !== "TIME-WAIT" ? sender.poll(nowUs) : undefined;
    if (text !== undefined) {
      owesAck = false;
      return { ...bare(ACK, text.sequence), flags: ACK | text.flags, text: text.text };
    }
    // The user has read: the peer hears of the room, whether it waits for it or not (§3.8.6.2.2).
    if ((!owesAck && !receiver.opened) || state === "SYN-SENT") return undefined;
    owesAck = false;
    return bare(ACK, sender.bareSequence);
  }

  /** A segment without text at the current receive position. */
  function bare(flags: number, sequence: number): Segment {
    return {
      sequence,
      acknowledgement: (flags & ACK) !== 0 ? receiver.next : 0,
      flags,
      window: (flags & RST) !== 0 ? 0 : receiver.window,
      text: NO_TEXT,
    };
  }

  // --- user calls --------------------------------------------------------------------------------------------------

  function close(): void {
    if (sender.finQueued) return;
    switch (state) {
      case "SYN-SENT":
        end("closed");
        return;
      case "SYN-RECEIVED":
        sender.queueFin();
        return;
      case "ESTABLISHED":
        sender.queueFin();
        state = "FIN-WAIT-1";
        break;
      case "CLOSE-WAIT":
        sender.queueFin();
        state = "LAST-ACK";
        break;
      default:
    }
    refuseUnread();
  }

  function abort(): void {
    if (state === "CLOSED") return;
    replies.length = 0;
    // SYN-SENT has nothing that a RST could name; TIME-WAIT and what follows are over anyway (§3.10.5).
    if (state !== "SYN-SENT" && state !== "TIME-WAIT") replies.push(bare(RST | ACK, sender.highest));
    end("closed");
  }

  return {
    get state() {
      return state;
    },
    view: () => ({
      state,
      iss,
      irs: receiver.irs,
      sndUna: sender.una,
      sndNxt: sender.next,
      sndWnd: sender.window,
      rcvNxt: receiver.next,
      rcvWnd: receiver.window,
      peerMss: sender.peerMss,
      rtoUs: sender.rtoUs,
      srttUs: sender.srttUs,
      reserved: memory === undefined ? 0 : 2 * options.bufferLength,
      unacknowledged: sender.unacknowledged,
      readable: receiver.readable,
    }),
    open,
    accept,
    handleSegment,
    handleTimeout,
    pollTimeout: () => Math.min(sender.deadlineUs, timeWaitUntil),
    pollSegment,
    pollEvent: () => events.shift(),
    write: (bytes) => (memory === undefined ? 0 : sender.write(bytes)),
    read: receiver.read,
    close,
    stopReading: () => {
      reading = false;
      refuseUnread();
    },
    abort,
  };
}
