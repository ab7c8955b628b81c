/**
 * One connection attempt, carried out and recorded: the main line of `synprobe trace`. A control block of our own opens to
 * the peer over a raw-ip link; every packet is kept with its time and its step. The wording of the steps: scan/probe/steps.ts.
 */
import type { Link } from "../../link/link.ts";
import { openRawIp } from "../../link/raw-ip.ts";
import { isProof, portState, segmentKind, sendErrorVerdict } from "../../scan/probe/classify.ts";
import { createReplyDecoder } from "../../scan/probe/reply-decoder.ts";
import type { Reason } from "../../scan/probe/result.ts";
import type { TracedPacket, TraceRecord } from "../../scan/probe/steps.ts";
import { MSS } from "../../scan/probe/syn-template.ts";
import { createBufferPool } from "../../socket/buffers.ts";
import { createControlBlock, DEFAULT_MSS } from "../../socket/control-block.ts";
import { RTO_OF_LINUX } from "../../socket/rto.ts";
import { type Ends, readSegment, type Segment, writePacket } from "../../socket/segment.ts";
import { seqAdd, seqDiff } from "../../socket/sequence.ts";
import { PROBE_STATES, type ProbeState } from "../../socket/state.ts";
import { storeAddress } from "../../socket/table.ts";
import { type Address, sameAddress } from "../../wire/address.ts";
import { FLAGS } from "../../wire/tcp.ts";
import { waysOf } from "../plan/paths.ts";
import { type OnlyPair, onlyPair, type Plan } from "../plan/plan.ts";
import { nowUs, wallMs } from "../system/clock.ts";
import { createRandom } from "../system/random.ts";
import { portShares } from "../system/system.ts";

export interface TraceOptions {
  /** Retransmissions of a SYN that is not answered. */
  readonly retries: number;
  /** The first retransmission timeout, doubled each time (RFC 6298), in milliseconds. */
  readonly timeoutMs: number;
  /** Stop after the answer, without an ACK: the kernel's RST closes the connection. */
  readonly halfOpen: boolean;
}

export interface Trace {
  readonly record: TraceRecord;
  /** Wall time of the first SYN, in milliseconds since the Unix epoch. */
  readonly startedMs: number;
  /** What ended it before its time, where that was no stop: an error of the link. */
  readonly failure?: unknown;
}

export interface OpenTrace {
  run(): { readonly finished: Promise<Trace>; stop(): void };
  close(): void;
}

const BUFFER_LENGTH = 65_535;
/** Longest time for closing the connection, in microseconds. */
const CLOSE_US = 3_000_000;

/**
 * Opens the sockets to trace the only pair of a plan. Needs CAP_NET_RAW, and CAP_NET_ADMIN unless `halfOpen`.
 * @throws {SynprobeError} as openScan does
 */
export async function openTrace(plan: Plan, options: TraceOptions): Promise<OpenTrace> {
  const pair = onlyPair(plan);
  if (pair === undefined) throw new RangeError("a plan without a pair");
  const toSelf = pair.path.toSelf === true;
  const halfOpen = options.halfOpen
    ? "Asked to stop here: the kernel, which knows nothing of our SYN, answers the SYN+ACK with RST."
    : toSelf
      ? "On this machine's own addresses the kernel's RST cannot be held back: it ends what the SYN+ACK began."
      : undefined;
  const held = halfOpen === undefined ? await hold(plan) : undefined;
  try {
    const range = held?.ports ?? portShares().raw;
    const port = range.first + createRandom()(range.last - range.first + 1);
    const link = openRawIp({
      ...waysOf(plan),
      ports: { first: port, last: port },
    });
    let closed = false;
    const close = (): void => {
      if (closed) return;
      closed = true;
      link.close();
      held?.release();
    };
    return {
      close,
      run: () => {
        const running = attempt(pair, options, link, port, halfOpen);
        return { finished: running.finished.finally(close), stop: running.stop };
      },
    };
  } catch (error) {
    held?.release();
    throw error;
  }
}

async function hold(plan: Plan) {
  const { holdPorts } = await import("../system/port-lease.ts");
  return holdPorts(portShares().raw, plan.families, "few");
}

function attempt(
  { address: peer, port: peerPort, path }: OnlyPair,
  { retries, timeoutMs }: TraceOptions,
  link: Link,
  localPort: number,
  halfOpen: string | undefined,
): { finished: Promise<Trace>; stop(): void } {
  const { local, ttl, mss } = path;
  const ends: Ends = { local, peer, localPort, peerPort, ttl };
  const family = local.length === 4 ? 4 : 6;
  const block = createControlBlock({
    iss: createRandom()(2 ** 32),
    mss: mss ?? MSS[family],
    pool: createBufferPool(2 * BUFFER_LENGTH),
    bufferLength: BUFFER_LENGTH,
    synRetries: retries,
    retries: 5,
    mslUs: 0,
    defaultMss: DEFAULT_MSS[family],
    rto: { ...RTO_OF_LINUX, initialUs: timeoutMs * 1000 },
  });
  const empty = block.view();
  const packets: TracedPacket[] = [];
  const decoder = createReplyDecoder();
  const { reply } = decoder;
  let startUs = nowUs();
  let connecting = empty;
  let before = empty;
  let after = empty;
  let verdict: { state: ProbeState; reason: Reason; responder?: Address } | undefined;
  /** What to say where nothing else comes. */
  let silence: Reason = "no-response";
  /** Why the kernel refused the last SYN. What is not of the packet may be over when that is due again: it is as if lost. */
  let refused: Reason | undefined;
  let opening: "syn-ack" | "split-handshake-syn" = "syn-ack";
  let establishedUs: number | undefined;
  let closing = false;
  let giveUpAt = Number.POSITIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  let interrupted = false;
  let failure: unknown;
  let resolve: (trace: Trace) => void;
  let reject: (error: unknown) => void;
  const finished = new Promise<Trace>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });

  const record = (direction: "sent" | "received", bytes: Uint8Array, us: number, step: number): void => {
    packets.push({ direction, atUs: us - startUs, bytes, step });
  };

  const seen = (direction: "sent" | "received", step: number): number =>
    packets.filter((packet) => packet.direction === direction && packet.step === step).length;

  function send(): void {
    for (let s = block.pollSegment(nowUs()); s !== undefined; s = block.pollSegment(nowUs())) {
      const { batch } = link;
      batch.lengths[0] = writePacket(batch.data, 0, ends, s);
      const bytes = batch.data.slice(0, batch.lengths[0]);
      const step = establishedUs !== undefined ? (closing ? 10 : 9) : s.flags === FLAGS.RST ? 6 : 5;
      const us = nowUs();
      if (packets.length === 0) startUs = us;
      if (link.send(0, 1) === 1) {
        record("sent", bytes, us, step);
        if (step === 5) refused = undefined;
      } else refuse(bytes, us, step, link.sendError);
    }
  }

  function refuse(bytes: Uint8Array, us: number, step: number, error: string): void {
    packets.push({ direction: "refused", atUs: us - startUs, bytes, step, error });
    if (step !== 5) return;
    const reason: Reason = `send-${error.toLowerCase()}`;
    const isAgain = refused === reason;
    refused = reason;
    const says = sendErrorVerdict(error, family);
    // A firewall's rule refuses the next SYN, too; a limit or a full table of connections seldom does.
    if (says !== "never" && !(says === "forbidden" && isAgain)) return;
    block.abort();
    decide(PROBE_STATES.silent, refused);
  }

  function decide(state: ProbeState, reason: Reason, responder?: Address): void {
    verdict = { state, reason, ...(responder === undefined ? {} : { responder }) };
    after = block.view();
  }

  function handlePacket(b: Uint8Array, at: number, end: number, us: number): void {
    const decoded = decoder.decode(b, at, end);
    const length = local.length;
    const mine =
      (decoded === "segment" || decoded === "icmp-error") &&
      reply.localPort === localPort &&
      reply.peerPort === ends.peerPort &&
      sameAddress(storeAddress(reply.peer, 0, length), 0, ends.peer, 0, length);
    if (!mine) return;
    const bytes = b.slice(at, end);
    if (decoded === "icmp-error") {
      if (reply.reason === undefined || reply.sequence !== empty.iss || verdict !== undefined) return;
      record("received", bytes, us, 7);
      before = block.view();
      const responder = b.slice(reply.responderAt, reply.responderAt + reply.responderLength);
      decide(PROBE_STATES.rejected, reply.reason, responder);
      // Anybody on the way may say so: an answer of the peer's own still comes before it, as in a scan.
      giveUpAt = us + timeoutMs * 1000;
      return;
    }
    const segment = readSegment(b, reply.segmentAt, reply.segmentEnd);
    if (segment === undefined) return;
    const answered = verdict !== undefined && verdict.state !== PROBE_STATES.rejected;
    const stray = !answered && isStray(segment);
    // One RST for each SYN ends it as well as a thousand do.
    if (stray && seen("received", 6) >= seen("sent", 5)) return;
    record("received", bytes, us, answered ? 10 : stray ? 6 : 7);
    const heard = answered || stray ? segment : firstAnswer(segment);
    if (heard === undefined) return;
    if (!answered && !stray) before = block.view();
    block.handleSegment(heard, us);
    // Before the next segment, which may wait already: a peer that closes at once has sent its FIN.
    takeEvents(us);
  }

  /**
   * Whether it is of an older connection with the same ports, of which the server knows still. The control block answers with RST,
   * which ends that one (RFC 9293 §3.5.1, figure 9); the SYN that goes again can then open ours.
   */
  const isStray = ({ flags, acknowledgement }: Segment): boolean =>
    segmentKind(flags) === "ack" && !isProof("ack", seqDiff(acknowledgement, empty.iss));

  /**
   * What counts as an answer to a SYN is the scan's word (classify.ts), which goes by what hosts send. The control block goes by
   * RFC 9293, and is given the same answer in the RFC's form; undefined for what proves nothing, or is no answer.
   */
  function firstAnswer(segment: Segment): Segment | undefined {
    const kind = segmentKind(segment.flags);
    const { iss } = empty;
    if (kind === "odd") return undefined;
    if (kind === "syn") {
      silence = "unproved-syn";
      opening = "split-handshake-syn";
      return segment;
    }
    if (!isProof(kind, seqDiff(segment.acknowledgement, iss))) {
      if (kind === "reset" && silence === "no-response") silence = "unproved-reset";
      return undefined;
    }
    if (kind === "syn-ack") return { ...segment, flags: segment.flags & ~FLAGS.FIN };
    if (kind === "ack") return segment;
    return { ...segment, flags: FLAGS.RST | FLAGS.ACK, acknowledgement: seqAdd(iss, 1) };
  }

  function takeEvents(us: number): void {
    for (let event = block.pollEvent(); event !== undefined; event = block.pollEvent()) {
      if (event === "established") {
        decide(PROBE_STATES.open, opening);
        giveUpAt = Number.POSITIVE_INFINITY;
        if (halfOpen === undefined) finishHandshake(packets.at(-1)?.atUs ?? us - startUs, us);
      } else if (event === "refused") decide(PROBE_STATES.closed, "reset");
      else if (event === "timed-out" && verdict === undefined) {
        before = connecting;
        decide(PROBE_STATES.silent, silence === "no-response" ? (refused ?? silence) : silence);
      }
    }
  }

  /** The ACK, and what follows once control has returned. */
  function finishHandshake(atUs: number, us: number): void {
    establishedUs = atUs;
    send();
    closing = true;
    giveUpAt = us + CLOSE_US;
    block.close();
  }

  function progress(us: number): void {
    takeEvents(us);
    if (verdict === undefined || over) return;
    if (establishedUs === undefined) {
      if (verdict.state !== PROBE_STATES.rejected || us >= giveUpAt) finish();
      return;
    }
    send();
    if (block.state === "CLOSED" || block.state === "TIME-WAIT") finish();
    else if (us >= giveUpAt) {
      block.abort();
      send();
      finish();
    }
  }

  function turn(): void {
    if (over) return;
    try {
      clearTimeout(timer);
      // Read what is waiting before any deadline passes.
      link.drain();
      const us = nowUs();
      progress(us);
      if (over) return;
      block.handleTimeout(us);
      progress(us);
      if (over) return;
      if (establishedUs === undefined && verdict === undefined) {
        send();
        // Nothing is to be waited for where the kernel never sends it.
        if (verdict !== undefined) {
          finish();
          return;
        }
      }
      timer = setTimeout(
        turn,
        Math.max(1, Math.ceil((Math.min(block.pollTimeout(), giveUpAt) - nowUs()) / 1000)),
      );
    } catch (error) {
      fail(error);
    }
  }

  function finish(): void {
    over = true;
    clearTimeout(timer);
    const { state, reason, responder } = verdict ?? {};
    resolve({
      failure,
      startedMs: wallMs(startUs),
      record: {
        local,
        peer: ends.peer,
        localPort,
        peerPort: ends.peerPort,
        link: link.name,
        // Received packets have the kernel's time stamps, sent ones this process's: sort by time, not by handling.
        packets: packets.slice().sort((a, b) => a.atUs - b.atUs),
        rows: { empty, connecting, before, after, end: block.view() },
        interrupted,
        ...(state === undefined ? {} : { state: portState(state) }),
        ...(reason === undefined ? {} : { reason }),
        ...(responder === undefined ? {} : { responder }),
        ...(establishedUs === undefined ? {} : { establishedUs }),
        ...(halfOpen !== undefined && state === PROBE_STATES.open ? { halfOpen } : {}),
        totalUs: nowUs() - startUs,
      },
    });
  }

  function fail(error: unknown): void {
    if (over) return;
    failure = error;
    if (packets.length > 0) stop();
    else {
      over = true;
      clearTimeout(timer);
      reject(error);
    }
  }

  /** Ends it before its time, with what is known. */
  function stop(): void {
    if (over) return;
    interrupted = true;
    // A half-open connection is reset.
    block.abort();
    if (establishedUs !== undefined) send();
    if (verdict === undefined) after = block.view();
    finish();
  }

  link.listen(
    (b, at, end, ageUs) => {
      if (!over) handlePacket(b, at, end, nowUs() - ageUs);
    },
    turn,
    fail,
  );
  block.open(startUs);
  connecting = block.view();
  before = connecting;
  turn();
  return { finished, stop };
}
