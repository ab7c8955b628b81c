/**
 * Receiving: whether a packet provably answers a try, by 4-tuple and sequence number, and what it tells about the row, its host and
 * the path. A packet that proves nothing is counted and decides nothing.
 *
 * Not here: parsing the packet (probe/reply-decoder.ts), what an answer means (probe/classify.ts), how it changes the row
 * (row-lifecycle.ts).
 * Tested by test/scan/engine/engine.test.ts.
 */
import type { IsnHash } from "../../socket/isn.ts";
import type { SourcePorts } from "../../socket/ports.ts";
import { readSegment } from "../../socket/segment.ts";
import { seqAdd, seqDiff } from "../../socket/sequence.ts";
import { PROBE_EVENTS, PROBE_STATES } from "../../socket/state.ts";
import { ADDRESS_WORDS, loadAddress, storeAddress } from "../../socket/table.ts";
import * as tcp from "../../wire/tcp.ts";
import type { PathState } from "../congestion/path-state.ts";
import type { ControlSchedule } from "../hosts/control-schedule.ts";
import type { RstLimited } from "../hosts/rst-limited.ts";
import { CLOSED_PORT, MARKS, MAX_SILENT_TRIES, SILENT_TRIES } from "../measure/host-cache.ts";
import { ANSWER } from "../measure/send-intervals.ts";
import { isLate, type SynAckRepeats } from "../measure/syn-ack-repeats.ts";
import { isProof, SEGMENT_VERDICTS, segmentKind } from "../probe/classify.ts";
import type { InFlight } from "../probe/in-flight.ts";
import { takeOffer } from "../probe/offer.ts";
import { createReplyDecoder } from "../probe/reply-decoder.ts";
import type { Handshake, VerdictDraft } from "../probe/verdict.ts";
import type { Path } from "../targets/probe-source.ts";
import type { EngineCounters } from "./counters.ts";
import type { RowLifecycle } from "./row-lifecycle.ts";
import type { SimultaneousOpens } from "./simultaneous-open.ts";
import type { VerdictQueue } from "./verdict-queue.ts";

export interface ReceiveOptions {
  readonly paths: readonly Path[];
  readonly ports: SourcePorts;
  readonly isn: IsnHash;
  readonly keepHandshakes: boolean;
  readonly counts: EngineCounters;
  readonly inFlight: InFlight;
  readonly pathState: PathState;
  readonly rstLimited: RstLimited;
  readonly controlSchedule: ControlSchedule;
  readonly simultaneousOpens: SimultaneousOpens;
  readonly synAckRepeats: SynAckRepeats;
  readonly rows: Pick<RowLifecycle, "answer">;
  readonly verdictQueue: Pick<VerdictQueue, "enqueue">;
}

export type HandlePacket = (b: Uint8Array, at: number, end: number, nowUs: number, ageUs?: number) => void;

/** @returns Engine.handlePacket */
export function createReceive(options: ReceiveOptions): HandlePacket {
  const { paths, ports, isn, keepHandshakes, counts } = options;
  const { inFlight, pathState, rstLimited, controlSchedule, simultaneousOpens } = options;
  const { synAckRepeats, rows, verdictQueue } = options;
  const { table, hostOf, apart, unprovedReset, columnOf, hostIn, tryOf } = inFlight;
  const { hosts } = pathState;
  const { controlProbes } = controlSchedule;
  const { ignored } = counts;
  const decoder = createReplyDecoder();
  const { reply } = decoder;
  /** Per row: which try was answered, from 1; and, a bit each, the earlier tries whose answer came late. */
  const answeredTry = new Uint8Array(table.capacity);
  const regained = new Uint32Array(table.capacity);

  function handlePacket(b: Uint8Array, at: number, end: number, nowUs: number, ageUs = 0): void {
    counts.received++;
    const decoded = decoder.decode(b, at, end);
    if (decoded === "segment") handleSegment(b, nowUs, ageUs);
    else if (decoded === "icmp-error") handleIcmpError(b, nowUs, ageUs);
    else ignored[decoded]++;
  }

  function handleSegment(b: Uint8Array, nowUs: number, ageUs: number): void {
    if (controlProbes?.owns(reply.localPort) === true) {
      handleControlProbe(nowUs, ageUs);
      return;
    }
    const row = table.find(reply.peer, 0, reply.peerPort);
    const attempt = row < 0 ? -1 : tryOf(row, reply);
    if (attempt < 0) {
      if (row < 0) ignoreUnknown(nowUs - ageUs);
      else ignored.foreign++;
      return;
    }
    const kind = segmentKind(reply.flags);
    if (kind !== "syn-ack" && kind !== "reset") {
      handleOther(kind, row, attempt, nowUs, ageUs);
      return;
    }
    if (!isProof(kind, seqDiff(reply.acknowledgement, table.iss[columnOf(row, attempt)]))) {
      ignored.wrongAck++;
      if (kind === "reset") unprovedReset[row] = 1;
      return;
    }
    const { event, reason } = SEGMENT_VERDICTS[kind];
    const verdict = rows.answer(row, attempt, event, reason, reply.ttl, nowUs, ageUs);
    if (verdict === undefined) {
      noteRepeat(row, attempt, kind, nowUs - ageUs);
      return;
    }
    const host = learn(row, attempt, kind, verdict, nowUs, ageUs);
    if (kind === "syn-ack") {
      verdict.doubtful =
        tcp.window(b, reply.segmentAt) === 0 && tcp.headerLength(b, reply.segmentAt) === tcp.HEADER_LENGTH;
      verdict.hasOffer = true;
      takeOffer(b, reply.segmentAt, verdict.responder);
      if (keepHandshakes) verdict.handshake = handshakeOf(row, attempt, b);
      // A copy of it waits until the host is judged.
      if (controlSchedule.checkTarpit(host, row, verdict)) return;
    }
    verdictQueue.enqueue();
  }

  /** What neither accepts nor resets by itself. An acknowledgement does when it answers our SYN-ACK to a bare SYN. */
  function handleOther(
    kind: "syn" | "ack" | "odd",
    row: number,
    attempt: number,
    nowUs: number,
    ageUs: number,
  ): void {
    if (kind === "syn") {
      handleBareSyn(row, attempt, nowUs - ageUs);
      return;
    }
    const iss = table.iss[columnOf(row, attempt)];
    if (kind === "odd" || reply.acknowledgement !== seqAdd(iss, 1) || !isAsked(row, attempt)) {
      ignored.oddFlags++;
      return;
    }
    const { event, reason } = SEGMENT_VERDICTS.ack;
    const verdict = rows.answer(row, attempt, event, reason, reply.ttl, nowUs, ageUs);
    if (verdict === undefined) return;
    const host = learn(row, attempt, "syn-ack", verdict, nowUs, ageUs);
    if (!controlSchedule.checkTarpit(host, row, verdict)) verdictQueue.enqueue();
  }

  /** The ISN proves an answer even when the row is gone: it is a further answer to one of this run's probes. */
  function ignoreUnknown(atUs: number): void {
    const own = isn(reply.local, 0, reply.peer, 0, reply.localPort, reply.peerPort);
    const kind = segmentKind(reply.flags);
    if (!isProof(kind, seqDiff(reply.acknowledgement, own))) {
      ignored.foreign++;
      return;
    }
    ignored.duplicate++;
    if (kind === "syn-ack") synAckRepeats.heard(own, atUs);
  }

  function handleControlProbe(nowUs: number, ageUs: number): void {
    const slot = controlProbes?.find(reply.peer, 0, reply.peerPort, reply.localPort) ?? -1;
    if (controlProbes === undefined || slot < 0) {
      ignoreUnknown(nowUs - ageUs);
      return;
    }
    const kind = segmentKind(reply.flags);
    if (kind === "odd" || kind === "syn" || kind === "ack") ignored.oddFlags++;
    else if (!isProof(kind, seqDiff(reply.acknowledgement, controlProbes.iss[slot]))) ignored.wrongAck++;
    else controlSchedule.answered(slot, kind, nowUs, ageUs);
  }

  /** Our own, turned round by whatever, and one that is older than the try are no answer. */
  function handleBareSyn(row: number, attempt: number, atUs: number): void {
    const column = columnOf(row, attempt);
    const own = isn(reply.peer, 0, reply.local, 0, reply.peerPort, reply.localPort) >>> 0;
    const isOwn = reply.sequence === own || reply.sequence === table.iss[column] >>> 0;
    if (isOwn || atUs < table.sentAt[column]) ignored.foreign++;
    else if (
      table.state[row] !== PROBE_STATES.synSent ||
      !simultaneousOpens.heard(row, attempt, reply.sequence)
    ) {
      ignored.duplicate++;
    }
  }

  /** Whether an acknowledgement answers our SYN-ACK to the row's bare SYN. */
  function isAsked(row: number, attempt: number): boolean {
    const open = simultaneousOpens.of(row);
    return (
      open?.attempt === attempt && !Number.isNaN(open.askedUs) && reply.sequence === seqAdd(open.irs, 1) >>> 0
    );
  }

  function handleIcmpError(b: Uint8Array, nowUs: number, ageUs: number): void {
    const row = table.find(reply.peer, 0, reply.peerPort);
    const attempt = row < 0 ? -1 : tryOf(row, reply);
    if (attempt < 0 || table.iss[columnOf(row, attempt)] !== reply.sequence) {
      ignored.foreign++;
      return;
    }
    if (reply.reason === undefined) {
      ignored.icmpNoVerdict++;
      return;
    }
    const { rejected } = PROBE_EVENTS;
    const verdict = rows.answer(row, attempt, rejected, reply.reason, reply.ttl, nowUs, ageUs);
    if (verdict === undefined) return;
    loadAddress(verdict.responder, 0, b, reply.responderAt, reply.responderLength);
    verdict.hasResponder = true;
    verdictQueue.enqueue();
  }

  // --- what it tells about host and path ------------------------------------------------------------------------------

  /** The row's first answer: what it tells about the host, and about the tries before it. @returns the host */
  function learn(
    row: number,
    attempt: number,
    kind: "syn-ack" | "reset",
    verdict: VerdictDraft,
    nowUs: number,
    ageUs: number,
  ): number {
    const host = hostIn(row, nowUs);
    const isOpen = kind === "syn-ack";
    answeredTry[row] = attempt + 1;
    regained[row] = 0;
    // A repeated SYN-ACK is no round trip: the first one was lost, as were the SYNs before.
    const isLateForAll = synAckRepeats.isRepeated(
      hosts.srtt,
      host,
      table.sentAt,
      columnOf(row, attempt),
      nowUs,
      ageUs,
    );
    const isRepeat = isOpen && isLateForAll;
    if (isRepeat) verdict.rttUs = Number.NaN;
    // With one source port the answer is taken for that of the last try: those before it have been waited for.
    if (table.unsent[row] === 0 && (attempt < ports.size || ports.size === 1)) {
      // A limit of the host's would have kept back answers of more ports than one.
      const isAlone = attempt > 0 && hosts.lost[host] === 0 && (hosts.marks[host] & MARKS.limited) === 0;
      for (let tried = 0; tried < attempt || (isRepeat && tried === attempt); tried++) {
        const column = columnOf(row, tried);
        pathState.lost(host, table.sentAt, column, tellsOfPath(row, tried, isOpen));
        if (isOpen && ports.size > 1) synAckRepeats.lost(table, column, nowUs, ageUs);
      }
      const isOfPath = attempt > 0 && isToldByPath(row, attempt, isOpen);
      if (!isRepeat && (isOfPath || isAlone))
        pathState.recovered(table.sentAt, columnOf(row, 0), table.capacity, attempt + 1, isOfPath);
    }
    if ((hosts.marks[host] & MARKS.limited) !== 0) tellPace(row, attempt, host, nowUs);
    if (!isRepeat) {
      const flags =
        (tellsOfPath(row, attempt, isOpen) ? ANSWER.ofPath : 0) |
        (inFlight.isTimed(row, attempt) ? ANSWER.timed : 0) |
        (attempt === 0 ? ANSWER.firstSyn : 0);
      pathState.answered(host, table.sentAt, columnOf(row, attempt), nowUs, ageUs, flags);
    }
    if (isOpen) {
      pathState.foundOpen(table.sentAt, row);
      if (hosts.open[host] < 0xffff) hosts.open[host]++;
    } else {
      if (hosts.closed[host] < 0xffff) hosts.closed[host]++;
      if (hosts.marks[host] >>> CLOSED_PORT === 0) hosts.marks[host] |= table.peerPort[row] << CLOSED_PORT;
      if ((hosts.marks[host] & MAX_SILENT_TRIES) !== 0) hosts.marks[host] -= SILENT_TRIES;
    }
    controlSchedule.remember(row, host, isOpen);
    return host;
  }

  /** Whether the try's fate tells about the path: hosts do not limit SYN-ACKs, but may limit RSTs. */
  const tellsOfPath = (row: number, attempt: number, isOpen: boolean): boolean =>
    isOpen || ((apart[row] & (1 << attempt)) !== 0 && (hosts.marks[hostOf[row]] & MARKS.limited) === 0);

  function isToldByPath(row: number, last: number, isOpen: boolean): boolean {
    for (let attempt = 0; attempt <= last; attempt++) if (!tellsOfPath(row, attempt, isOpen)) return false;
    return true;
  }

  /** Where no closed port is known to send controls to, the port's own tries tell how much the host withholds. */
  function tellPace(row: number, attempt: number, host: number, nowUs: number): void {
    if (hosts.marks[host] >>> CLOSED_PORT !== 0) return;
    const at = row * ADDRESS_WORDS;
    for (let tried = 0; tried <= attempt; tried++) {
      const sentUs = table.sentAt[columnOf(row, tried)];
      rstLimited.told(host, table.peer, at, tried === attempt, sentUs, nowUs);
    }
  }

  /** A further answer for a decided port. If it is to an earlier try, that try was not lost, or only its answer was. */
  function noteRepeat(row: number, attempt: number, kind: "syn-ack" | "reset", atUs: number): void {
    const bit = 1 << attempt;
    if (attempt + 1 >= answeredTry[row] || (regained[row] & bit) !== 0) return;
    regained[row] |= bit;
    const column = columnOf(row, attempt);
    const isOpen = kind === "syn-ack";
    if (isOpen) synAckRepeats.heard(table.iss[column], atUs);
    if (isOpen && !isLate(atUs - table.sentAt[column])) return;
    pathState.regained(hostOf[row], table.sentAt, column, tellsOfPath(row, attempt, isOpen));
  }

  function handshakeOf(row: number, attempt: number, b: Uint8Array): Handshake | undefined {
    const synAck = readSegment(b, reply.segmentAt, reply.segmentEnd);
    if (synAck === undefined) return undefined;
    const column = columnOf(row, attempt);
    return {
      localPort: ports.portOf(table.portStart[row], attempt),
      peer: storeAddress(table.peer, row * ADDRESS_WORDS, paths[table.path[row]].local.length),
      iss: table.iss[column],
      sentUs: table.sentAt[column],
      synAck,
    };
  }

  return handlePacket;
}
