/**
 * Sending: which probe leaves next, if one may: a control probe, a row whose try timed out, or the source's next pair. And what
 * the link says about it: when it left, or why it did not.
 *
 * Each try has its own source port. So a reply names its try by the port it comes to, and no listener sees two different SYNs on
 * one 4-tuple, the second of which it would answer with a challenge ACK or a reset. Only with a fixed port (-g) do tries share
 * one: they are then true retransmissions with the same ISN, and have no round trip.
 *
 * Not here: the packet's bytes (probe/syn-template.ts), how fast (congestion/pacer.ts), when a try times out (timeouts.ts).
 * Tested by test/scan/engine/engine.test.ts and test/sim/engine.test.ts.
 */
import type { IsnHash } from "../../socket/isn.ts";
import type { SourcePorts } from "../../socket/ports.ts";
import { writePacket } from "../../socket/segment.ts";
import { seqAdd } from "../../socket/sequence.ts";
import { PROBE_EVENTS, PROBE_STATES } from "../../socket/state.ts";
import { ADDRESS_WORDS, storeAddress } from "../../socket/table.ts";
import { FLAGS } from "../../wire/tcp.ts";
import type { Pacer } from "../congestion/pacer.ts";
import type { PathState } from "../congestion/path-state.ts";
import { SLOTS } from "../hosts/control-probes.ts";
import type { ControlSchedule } from "../hosts/control-schedule.ts";
import type { HostLimits } from "../hosts/host-limits.ts";
import { MOST_TOUCHED } from "../measure/host-cache.ts";
import { type SendErrorVerdict, sendErrorVerdict } from "../probe/classify.ts";
import { type InFlight, SPREAD_ASKED } from "../probe/in-flight.ts";
import { createSynTemplate, identificationOf } from "../probe/syn-template.ts";
import type { Path } from "../targets/probe-source.ts";
import type { EngineCounters } from "./counters.ts";
import type { RowLifecycle } from "./row-lifecycle.ts";
import type { RowQueue } from "./row-queue.ts";
import type { SendBackoff } from "./send-backoff.ts";
import type { SimultaneousOpens } from "./simultaneous-open.ts";

export interface Transmit {
  /** Adopts the rate that was found. */
  followRate(nowUs: number): void;
  /** Writes the next packet at `out[at]`. @returns its length; 0 when nothing may be sent now */
  pollTransmit(nowUs: number, out: Uint8Array, at: number, token: number): number;
  handleDeparture(first: number, end: number, fromUs: number, toUs: number): void;
  handleRefusal(token: number, errno: string, nowUs: number): void;
  /** When `pollTransmit` may next have a packet; Infinity when never. */
  nextAt(nowUs: number): number;
  /** No more probes. */
  abandon(): void;
}

export interface TransmitOptions {
  readonly paths: readonly Path[];
  /** Their local addresses, ADDRESS_WORDS each. */
  readonly localWords: Uint32Array;
  readonly ports: SourcePorts;
  readonly isn: IsnHash;
  readonly seed: number;
  readonly synTimestamp: number | undefined;
  readonly counts: EngineCounters;
  readonly inFlight: InFlight;
  readonly pathState: PathState;
  readonly pacer: Pacer;
  readonly retransmitQueue: RowQueue;
  readonly sendBackoff: SendBackoff;
  readonly controlSchedule: ControlSchedule;
  readonly simultaneousOpens: SimultaneousOpens;
  readonly rows: RowLifecycle;
  readonly hostLimits: Pick<HostLimits, "holdsBack">;
}

const MAX_TOKENS = 1024;
/** At most this many pairs are started in one call in search of one whose host may be probed now. */
const STARTS_PER_CALL = 256;
/** During slow start retransmissions wait, as first SYNs tell more about the rate: up to this many. */
const MOST_POSTPONED = 8192;
/** A probe is given up after this many refusals for want of room, which take about a minute. */
const MAX_REFUSALS = 128;
/** The token of a packet of which nothing is told: below those of all slots. */
const NOT_A_PROBE = -1 - SLOTS;
const SYN_ACK_WINDOW = 1024;
const NO_TEXT = new Uint8Array(0);

export function createTransmit(options: TransmitOptions): Transmit {
  const { paths, localWords, ports, isn, seed, counts } = options;
  const {
    inFlight,
    pathState,
    pacer,
    rows,
    hostLimits,
    retransmitQueue,
    sendBackoff,
    controlSchedule,
    simultaneousOpens,
  } = options;
  const { table, timers, hostOf, apart, spread, columnOf } = inFlight;
  const { controlProbes } = controlSchedule;
  const templates = paths.map((path) =>
    createSynTemplate(path.local, path.ttl, { timestamp: options.synTimestamp, mss: path.mss }),
  );
  /** By token, what each packet of the current round is: a row, or below 0 the slot of a control probe. */
  const tokens = new Int32Array(MAX_TOKENS);
  /** Rows of the queue whose hosts have been fetched into the processor's caches, and that have not been popped: about so many. */
  const upcoming = new Int32Array(MOST_TOUCHED);
  let touched = 0;
  let abandoned = false;
  /** The last pair will be started within about a second. */
  let endIsNear = false;

  function pollTransmit(nowUs: number, out: Uint8Array, at: number, token: number): number {
    if (abandoned || sendBackoff.isPaused(nowUs)) return 0;
    if (pacer.allowance(nowUs) < 1) return 0;
    const slot = controlSchedule.next(nowUs, !retransmitQueue.any());
    if (slot >= 0) return sendControlProbe(slot, nowUs, out, at, token);
    if (simultaneousOpens.any()) return sendSynAck(simultaneousOpens.next(), nowUs, out, at, token);
    const isPostponed = pathState.inStartup() && retransmitQueue.length() < MOST_POSTPONED && mayStart();
    let row = isPostponed ? -1 : popRetransmission(nowUs);
    if (row < 0 && !mayStart()) return 0;
    for (let started = 0; row < 0 && started < STARTS_PER_CALL; started++) {
      row = rows.start(nowUs);
      if (row < 0) return 0;
      if (!rows.mayLeave(row, nowUs) || hostLimits.holdsBack(row, nowUs)) row = -1;
    }
    if (row < 0) return 0;
    pacer.spend();
    return sendTry(row, nowUs, out, at, token);
  }

  const mayStart = (): boolean => rows.mayStart() && !sendBackoff.holdsPairs();

  /** The next that its host's limits let leave. */
  function popRetransmission(nowUs: number): number {
    for (;;) {
      if (touched === 0) {
        touched = retransmitQueue.peek(upcoming);
        inFlight.touchHosts(upcoming, touched);
      }
      if (touched > 0) touched--;
      const row = retransmitQueue.pop();
      if (row < 0 || !hostLimits.holdsBack(row, nowUs)) return row;
      // A decided one that was to be asked once more has not been.
      spread[row] &= ~SPREAD_ASKED;
    }
  }

  function sendTry(row: number, nowUs: number, out: Uint8Array, at: number, token: number): number {
    const attempt = table.tries[row];
    const column = columnOf(row, attempt);
    const path = table.path[row];
    const peerPort = table.peerPort[row];
    const port = ports.portOf(table.portStart[row], attempt);
    const sequence = isn(localWords, path * ADDRESS_WORDS, table.peer, row * ADDRESS_WORDS, port, peerPort);
    rows.leaves(row, nowUs);
    table.iss[column] = sequence;
    table.sentAt[column] = nowUs;
    table.tries[row] = attempt + 1;
    const again = pathState.lookAgainUs(hostOf[row]);
    timers.arm(row, nowUs, endIsNear ? Math.min(again, pathState.soonUs(hostOf[row], attempt + 1)) : again);
    controlSchedule.watchSilence(row, attempt, nowUs);
    if (pathState.sent(hostOf[row], nowUs)) apart[row] |= 1 << attempt;
    counts.sent++;
    if (isRetransmission(row, attempt)) counts.retransmitted++;
    tokens[token] = row;
    const template = templates[path];
    template.write(out, at, table.peer, row * ADDRESS_WORDS, port, peerPort, sequence, idOf(sequence));
    return template.length;
  }

  const isRetransmission = (row: number, attempt: number): boolean => attempt > 0 || inFlight.isRepeated(row);

  function sendControlProbe(slot: number, nowUs: number, out: Uint8Array, at: number, token: number): number {
    if (controlProbes === undefined) return 0;
    const path = controlProbes.path[slot];
    const at4 = slot * ADDRESS_WORDS;
    const port = controlProbes.localPort(slot);
    const sequence = isn(
      localWords,
      path * ADDRESS_WORDS,
      controlProbes.words,
      at4,
      port,
      controlProbes.port[slot],
    );
    controlSchedule.sent(slot, nowUs, sequence);
    pacer.spend();
    counts.sent++;
    counts.path.controlProbes++;
    tokens[token] = -1 - slot;
    const template = templates[path];
    template.write(
      out,
      at,
      controlProbes.words,
      at4,
      port,
      controlProbes.port[slot],
      sequence,
      idOf(sequence),
    );
    return template.length;
  }

  /** Answers the bare SYN that came to a row's try: the second step of a simultaneous open (RFC 9293 §3.5, figure 7). */
  function sendSynAck(row: number, nowUs: number, out: Uint8Array, at: number, token: number): number {
    const open = simultaneousOpens.of(row);
    if (open === undefined) return 0;
    open.askedUs = nowUs;
    pacer.spend();
    tokens[token] = NOT_A_PROBE;
    const { local, ttl } = paths[table.path[row]];
    const ends = {
      local,
      peer: storeAddress(table.peer, row * ADDRESS_WORDS, local.length),
      localPort: ports.portOf(table.portStart[row], open.attempt),
      peerPort: table.peerPort[row],
      ttl,
    };
    return writePacket(out, at, ends, {
      sequence: table.iss[columnOf(row, open.attempt)],
      acknowledgement: seqAdd(open.irs, 1),
      flags: FLAGS.SYN | FLAGS.ACK,
      window: SYN_ACK_WINDOW,
      text: NO_TEXT,
    });
  }

  /** The identification is as random as the sequence number, and shows nothing of it (RFC 6864 §4.1 asks no more). */
  const idOf = (sequence: number): number => identificationOf(sequence, seed);

  function handleDeparture(first: number, end: number, fromUs: number, toUs: number): void {
    sendBackoff.departed();
    const each = (toUs - fromUs) / (end - first);
    let syns = 0;
    let firstSyns = 0;
    let firstColumn = 0;
    let lastColumn = 0;
    for (let token = first; token < end; token++) {
      const row = tokens[token];
      const atUs = fromUs + (token - first) * each;
      if (row >= 0) {
        const attempt = table.tries[row] - 1;
        lastColumn = columnOf(row, attempt);
        table.sentAt[lastColumn] = atUs;
        if (syns++ === 0) firstColumn = lastColumn;
        if (attempt === 0) firstSyns++;
        if (sendBackoff.isForbidding()) sendBackoff.left(row);
      } else if (row !== NOT_A_PROBE && controlProbes !== undefined) {
        controlProbes.sentUs[-1 - row] = atUs;
        controlSchedule.departed(-1 - row);
      }
    }
    if (syns === 0 || pathState.departedTogether(table.sentAt, firstColumn, lastColumn, syns, firstSyns))
      return;
    for (let token = first; token < end; token++) {
      const row = tokens[token];
      if (row < 0) continue;
      const attempt = table.tries[row] - 1;
      pathState.departed(table.sentAt, columnOf(row, attempt), attempt === 0);
    }
  }

  function handleRefusal(token: number, errno: string, nowUs: number): void {
    const row = tokens[token];
    // The peer sends its SYN again, and the next try has a SYN-ACK of its own.
    if (row === NOT_A_PROBE) return;
    if (row < 0) {
      counts.sent--;
      counts.path.controlProbes--;
      controlSchedule.refused(-1 - row);
      return;
    }
    if (table.state[row] !== PROBE_STATES.synSent) {
      noteUnverified(row);
      return;
    }
    const verdict = sendErrorVerdict(errno, paths[table.path[row]].local.length === 4 ? 4 : 6);
    if (verdict !== "asking") counts.sendErrors[errno] = (counts.sendErrors[errno] ?? 0) + 1;
    counts.sent--;
    const attempt = table.tries[row] - 1;
    if (isRetransmission(row, attempt)) counts.retransmitted--;
    if (verdict === "later") {
      // No way to this host, for now or for good: this try is over, and the next is sent when it has timed out.
      table.unsent[row]++;
      sendBackoff.note(row, errno);
      return;
    }
    // The try did not happen.
    table.tries[row] = attempt;
    // Each pair has its turn once, so that what is refused for a while does not use up a run at once.
    if (verdict === "forbidden" && sendBackoff.isWaiting(row)) pacer.giveBack();
    const retryUs = retryAt(row, verdict, nowUs);
    if (retryUs < Number.POSITIVE_INFINITY) timers.arm(row, retryUs);
    else rows.decide(row, PROBE_EVENTS.unsendable, `send-${errno.toLowerCase()}`, nowUs);
  }

  /** @returns when a try that did not happen is tried again; Infinity for never */
  function retryAt(row: number, verdict: Exclude<SendErrorVerdict, "later">, nowUs: number): number {
    if (verdict === "forbidden") return sendBackoff.retryForbiddenAt(row, nowUs);
    const often = ++table.refusals[row];
    const isOver = verdict === "never" || (verdict === "again" && often >= MAX_REFUSALS);
    return isOver ? Number.POSITIVE_INFINITY : sendBackoff.retryAt(often, verdict, nowUs);
  }

  /** A decided row was to be asked once more. Its timer is armed. */
  function noteUnverified(row: number): void {
    if ((spread[row] & SPREAD_ASKED) === 0) return;
    table.sentAt[columnOf(row, table.tries[row] - 1)] = Number.NaN;
    counts.sent--;
    counts.retransmitted--;
  }

  return {
    followRate: (nowUs) => {
      pacer.setRate(pathState.rate(), nowUs);
      endIsNear = rows.total() - counts.started < pathState.rate();
    },
    pollTransmit,
    handleDeparture,
    handleRefusal,
    nextAt: (nowUs) =>
      !abandoned &&
      (retransmitQueue.any() || mayStart() || simultaneousOpens.any() || controlProbes?.waiting() === true)
        ? Math.max(sendBackoff.pausedUntil(), pacer.nextAt(nowUs))
        : Number.POSITIVE_INFINITY,
    abandon: () => {
      abandoned = true;
    },
  };
}
