/**
 * The send side of a connection: the send sequence space (RFC 9293 §3.3.1), what goes next, and the retransmission timer.
 *
 * What goes next is cut by the peer's window (§3.8.6), the congestion window (congestion.ts) and silly window avoidance; what
 * goes again is decided by the timer (RFC 6298) and by duplicate acknowledgements (RFC 5681 §3.2, RFC 6582). There is no Nagle
 * algorithm: what is written goes at once.
 *
 * Not here: states, and which acknowledgements are good ones (control-block.ts).
 * Tested by test/socket/control-block.test.ts and test/socket/segment-scripts.test.ts.
 */
import { FLAGS } from "../wire/tcp.ts";
import { createSendBuffer } from "./buffers.ts";
import { createCongestionWindow } from "./congestion.ts";
import { createRetransmissionTimeout, type RtoOptions } from "./rto.ts";
import { type Segment, segmentLength } from "./segment.ts";
import { seqAdd, seqDiff, seqLess, seqLessEqual } from "./sequence.ts";

/** A piece of the stream that goes now. */
export type Outgoing = Pick<Segment, "sequence" | "flags" | "text">;

export interface Sender {
  /** SND.UNA, SND.NXT, SND.WND */
  readonly una: number;
  readonly next: number;
  readonly window: number;
  /** The highest SND.NXT ever: SND.NXT goes back when the timer runs out. */
  readonly highest: number;
  /**
   * The number of a segment without text: one that the peer's window takes. SND.NXT, gone back, would be old to a peer that has
   * what goes again: it would not look at the acknowledgement, and two such peers would wait for each other for ever.
   */
  readonly bareSequence: number;
  /** The largest window that the peer has had (RFC 5961 §5.2). */
  readonly largestWindow: number;
  /** The largest segment that the peer takes, in bytes. */
  readonly peerMss: number;
  readonly rtoUs: number;
  readonly srttUs: number;
  /** Bytes written and not acknowledged. */
  readonly unacknowledged: number;
  readonly finQueued: boolean;
  readonly finAcknowledged: boolean;
  /** When `timeOut` is due; Infinity when never. */
  readonly deadlineUs: number;

  /** Gives it its memory. */
  reserve(memory: Uint8Array): void;
  /** Forgets what was written; the timer is off. */
  release(): void;
  write(bytes: Uint8Array): number;
  /** FIN goes after everything written. */
  queueFin(): void;

  /** The SYN is to go, or to go again before the timer says so. @param why the peer shows that it was lost */
  queueSyn(nowUs: number, why?: "lost"): void;
  readonly synDue: boolean;
  sendSyn(nowUs: number): void;
  /** Takes what the peer's SYN says: MSS and window. */
  takeSyn(segment: Segment): void;
  /** The handshake is over. */
  establish(): void;

  /** SND.UNA moves up to `acknowledgement`. */
  acknowledge(acknowledgement: number, nowUs: number): void;
  /** An acknowledgement of nothing new: a sign of loss, when it is the third in a row (RFC 5681 §2). */
  countDuplicate(segment: Segment): void;
  updateWindow(segment: Segment): void;
  /** As `updateWindow`, unless the segment is older than the one that the window is from (§3.10.7.4). */
  maybeUpdateWindow(segment: Segment): void;
  /** The timer has run out. @returns false when something has gone `most` times in vain already */
  timeOut(nowUs: number, most: number): boolean;
  /** The next piece of text, or FIN, that may go. */
  poll(nowUs: number): Outgoing | undefined;
}

const NO_TEXT = new Uint8Array(0);
const NEVER = Number.POSITIVE_INFINITY;
const { PSH, FIN } = FLAGS;
/** A peer that names less is given this much: its segments would be nearly all header (Linux: TCP_MIN_SND_MSS). */
const LEAST_MSS = 48;
/** How long a piece of text that would be a silly one waits for more window: 0.1 to 1 s (§3.8.6.2.1). */
const OVERRIDE_US = 500_000;
/** RFC 5681 §3.2. */
const DUPLICATES = 3;

export interface SenderOptions {
  readonly iss: number;
  /** Bounds segments whatever the peer takes, in bytes. */
  readonly mss: number;
  /** Assumed of a peer that names no MSS, in bytes. */
  readonly defaultMss: number;
  readonly rto: RtoOptions;
}

export function createSender({ iss, mss, defaultMss, rto: rtoOptions }: SenderOptions): Sender {
  const rto = createRetransmissionTimeout(rtoOptions);
  const congestion = createCongestionWindow();
  let buffer = createSendBuffer(NO_TEXT);
  let una = iss;
  let next = iss;
  let highest = iss;
  /** Told by no sequence number: all of them come again every 4 GiB. */
  let synAcknowledged = false;
  let synRepeated = false;
  let finQueued = false;
  let finAcknowledged = false;

  let window = 0;
  let wl1 = 0;
  let wl2 = 0;
  let largestWindow = 0;
  let peerMss = defaultMss;

  let deadlineUs = NEVER;
  let retransmissions = 0;
  /** The segment whose round trip is measured: the sequence number that acknowledges it, and when it left. */
  let timed: { end: number; sentUs: number } | undefined;
  /** The timer ran out: what waits for window goes, however little, and one byte into a shut one (§3.8.6.1). */
  let overridden = false;

  let duplicates = 0;
  /** A recovery lasts until everything is acknowledged that had been sent when it began (RFC 6582 §3.2). */
  let recovering = false;
  let recover = iss;
  /** The segment at SND.UNA goes again, out of turn. */
  let resend = false;

  const segmentSize = (): number => Math.min(peerMss, mss);
  const inFlight = (): number => seqDiff(next, una);
  /** Sequence number of the oldest byte in the buffer. */
  const textStart = (): number => (synAcknowledged ? una : seqAdd(iss, 1));

  function arm(nowUs: number): void {
    deadlineUs = nowUs + rto.rtoUs;
  }

  // --- acknowledgements --------------------------------------------------------------------------------------------

  /** What is acknowledged leaves the buffer; the timer starts anew (RFC 6298 §5.2, §5.3). */
  function acknowledge(acknowledgement: number, nowUs: number): void {
    const moved = seqDiff(acknowledgement, una);
    let count = synAcknowledged ? moved : moved - 1;
    synAcknowledged = true;
    if (finQueued && count > buffer.length) {
      finAcknowledged = true;
      count = buffer.length;
    }
    buffer.acknowledge(count);
    una = acknowledgement;
    if (seqLess(next, una)) next = una;
    if (timed !== undefined && seqLessEqual(timed.end, acknowledgement)) {
      rto.sample(Math.max(1, nowUs - timed.sentUs));
      timed = undefined;
    }
    retransmissions = 0;
    duplicates = 0;
    resend = false;
    if (una === highest) deadlineUs = NEVER;
    else arm(nowUs);
    openCongestion(count);
  }

  function openCongestion(count: number): void {
    if (!recovering) congestion.acknowledged(count);
    else if (seqLess(una, recover)) {
      resend = true;
      congestion.partial(count);
    } else {
      recovering = false;
      congestion.leaveRecovery(inFlight());
    }
  }

  function countDuplicate(segment: Segment): void {
    const pure = segmentLength(segment) === 0 && segment.window === window;
    if (!pure || segment.acknowledgement !== una || una === highest) return;
    if (recovering) congestion.duplicate();
    // What had been sent before the last loss was seen draws duplicates of its own (RFC 6582 §3.2, step 2).
    else if (++duplicates === DUPLICATES && seqLessEqual(recover, una)) {
      recovering = true;
      recover = highest;
      resend = true;
      timed = undefined;
      congestion.enterRecovery(inFlight());
    }
  }

  /**
   * The window of a segment that is not older than the one it was last taken from (§3.10.7.4). What acknowledges more was sent
   * later, whatever its sequence number: by that number alone, text that comes again would move SND.UNA and leave the window as
   * wide as before, beyond the edge that the peer has named.
   */
  function maybeUpdateWindow(segment: Segment): void {
    if (!seqLess(wl2, segment.acknowledgement) && seqLess(segment.sequence, wl1)) return;
    const wasShut = window === 0;
    updateWindow(segment);
    // A peer that keeps acknowledging with its window shut is alive, however long it takes (§3.8.6.1, MUST-37).
    if (window === 0 || wasShut) retransmissions = 0;
    // It has opened: what probes sent into it goes again at once, and what still waits for more waits anew.
    if (wasShut && window > 0) {
      next = una;
      deadlineUs = NEVER;
    }
  }

  function updateWindow(segment: Segment): void {
    window = segment.window;
    wl1 = segment.sequence;
    wl2 = segment.acknowledgement;
    largestWindow = Math.max(largestWindow, window);
  }

  // --- the timer ---------------------------------------------------------------------------------------------------

  function timeOut(nowUs: number, most: number): boolean {
    deadlineUs = NEVER;
    overridden = true;
    // Nothing is in flight, nor lost: text has waited long enough for more window.
    if (synAcknowledged && next === una && window > 0) return true;
    if (++retransmissions > most) return false;
    rto.backOff();
    if (!synAcknowledged) synRepeated = true;
    else if (retransmissions === 1 && window > 0) congestion.timedOut(seqDiff(highest, una));
    // Go back to the oldest unacknowledged number; Karn: its round trip is no sample any more.
    next = una;
    timed = undefined;
    recovering = false;
    recover = highest;
    resend = false;
    duplicates = 0;
    arm(nowUs);
    return true;
  }

  // --- sending -----------------------------------------------------------------------------------------------------

  function sendSyn(nowUs: number): void {
    if (highest === iss) startTiming(seqAdd(iss, 1), nowUs);
    next = seqAdd(iss, 1);
    if (seqLess(highest, next)) highest = next;
  }

  function poll(nowUs: number): Outgoing | undefined {
    if (resend) {
      resend = false;
      return again(nowUs);
    }
    const offset = seqDiff(next, textStart());
    const unsent = buffer.length - offset;
    const open = Math.max(window, overridden ? 1 : 0);
    const usable = Math.floor(Math.min(open, congestion.bytes)) - inFlight();
    const length = Math.max(0, Math.min(unsent, usable, segmentSize()));
    const fin =
      finQueued &&
      !finAcknowledged &&
      offset <= buffer.length &&
      length === unsent &&
      (usable > length || length === 0);
    if (length === 0 ? !fin : isSilly(length, unsent)) {
      // A shut window is probed after one RTO (§3.8.6.1, SHLD-29), a narrow one is filled sooner.
      if (unsent > 0 && deadlineUs === NEVER) deadlineUs = nowUs + (window === 0 ? rto.rtoUs : OVERRIDE_US);
      return undefined;
    }
    overridden = false;
    const fresh = next === highest;
    const sequence = next;
    next = seqAdd(next, length + (fin ? 1 : 0));
    if (fresh && retransmissions === 0) startTiming(next, nowUs);
    if (seqLess(highest, next)) highest = next;
    // A timer that is on when nothing was in flight is that of text that waited: the round trip begins now.
    if (deadlineUs === NEVER || (fresh && sequence === una)) arm(nowUs);
    return piece(sequence, offset, length, fin);
  }

  /**
   * Silly window avoidance (§3.8.6.2.1, MUST-38): text goes as a full segment, or all that there is, or half of the largest
   * window that the peer has had; anything less waits, until the timer overrides.
   */
  const isSilly = (length: number, unsent: number): boolean =>
    length < segmentSize() && length < unsent && length < largestWindow / 2 && !overridden;

  /** The segment at SND.UNA once more, with what of it the peer's window takes. */
  function again(nowUs: number): Outgoing {
    const sent = Math.min(buffer.length, seqDiff(highest, una));
    const length = Math.min(sent, Math.max(1, window), segmentSize());
    const finSent = finQueued && seqDiff(highest, una) > buffer.length;
    arm(nowUs);
    return piece(una, 0, length, finSent && length === buffer.length);
  }

  function piece(sequence: number, offset: number, length: number, fin: boolean): Outgoing {
    const push = length > 0 && offset + length === buffer.length ? PSH : 0;
    return {
      sequence,
      flags: push | (fin ? FIN : 0),
      text: length > 0 ? buffer.copy(offset, length) : NO_TEXT,
    };
  }

  function startTiming(end: number, nowUs: number): void {
    timed ??= { end, sentUs: nowUs };
  }

  return {
    get una() {
      return una;
    },
    get next() {
      return next;
    },
    get window() {
      return window;
    },
    get highest() {
      return highest;
    },
    get bareSequence() {
      const edge = seqAdd(una, window);
      return seqLess(edge, highest) ? edge : highest;
    },
    get largestWindow() {
      return largestWindow;
    },
    get peerMss() {
      return peerMss;
    },
    get rtoUs() {
      return rto.rtoUs;
    },
    get srttUs() {
      return rto.srttUs;
    },
    get unacknowledged() {
      return buffer.length;
    },
    get finQueued() {
      return finQueued;
    },
    get finAcknowledged() {
      return finAcknowledged;
    },
    get deadlineUs() {
      return deadlineUs;
    },
    reserve: (memory) => {
      buffer = createSendBuffer(memory);
    },
    release: () => {
      buffer = createSendBuffer(NO_TEXT);
      deadlineUs = NEVER;
    },
    write: (bytes) => (finQueued ? 0 : buffer.write(bytes)),
    queueFin: () => {
      finQueued = true;
    },
    queueSyn: (nowUs, why) => {
      // Again: no acknowledgement tells which it answers (Karn).
      if (highest !== iss) timed = undefined;
      if (why === "lost") synRepeated = true;
      next = iss;
      if (deadlineUs === NEVER) arm(nowUs);
    },
    get synDue() {
      return next === iss && !synAcknowledged;
    },
    sendSyn,
    takeSyn: (segment) => {
      peerMss = Math.max(LEAST_MSS, segment.mss || defaultMss);
      updateWindow(segment);
    },
    establish: () => {
      if (synRepeated) rto.afterSlowHandshake();
      congestion.start(segmentSize(), synRepeated);
    },
    acknowledge,
    countDuplicate,
    updateWindow,
    maybeUpdateWindow,
    timeOut,
    poll,
  };
}
