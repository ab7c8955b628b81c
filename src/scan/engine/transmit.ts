/**
 * Sending: which probe leaves next, if one may, and its packet: a canary or a pilot, a row whose try ran out, or the next pair of
 * the source, which becomes a row. And what became of it at the link: when it left, or why it did not.
 *
 * Each try leaves from a port of its own, so that a reply names its try by the port it comes to and no listener ever sees
 * two different SYNs on one 4-tuple (it would answer the second with a challenge or a reset). Only when the user fixed the
 * port with -g, a try shares the port of an earlier one: it is then a true retransmission, with the same ISN, and its round
 * trip is not told.
 *
 * Not here: the packet's bytes (probe/syn-template.ts), how fast (congestion/pacer.ts), when a try has run out (timeouts.ts).
 */
import type { IsnHash } from "../../socket/isn.ts";
import type { SourcePorts } from "../../socket/ports.ts";
import { PROBE_EVENTS, PROBE_STATES } from "../../socket/state.ts";
import { ADDRESS_WORDS } from "../../socket/table.ts";
import type { Pacer } from "../congestion/pacer.ts";
import type { PathState } from "../congestion/path-state.ts";
import type { ControlSchedule } from "../hosts/control-schedule.ts";
import type { HostLimits } from "../hosts/host-limits.ts";
import { sendErrorVerdict } from "../probe/classify.ts";
import type { InFlight } from "../probe/in-flight.ts";
import { createSynTemplate, identificationOf } from "../probe/syn-template.ts";
import type { Path, Probe, ProbeSource } from "../targets/probe-source.ts";
import type { EngineCounters } from "./counters.ts";
import type { RetransmitQueue } from "./retransmit-queue.ts";
import type { SendBackoff } from "./send-backoff.ts";
import type { VerdictQueue } from "./verdict-queue.ts";

export interface Transmit {
  /** Pairs that will have been probed in the end, as far as is known. */
  total(): number;
  /** Whether another pair may be begun. */
  mayStart(): boolean;
  /** Takes over the rate that has been found. */
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
  readonly source: ProbeSource;
  readonly ports: SourcePorts;
  readonly isn: IsnHash;
  readonly seed: number;
  readonly counts: EngineCounters;
  readonly inFlight: InFlight;
  readonly pathState: PathState;
  readonly pacer: Pacer;
  readonly hostLimits: HostLimits;
  readonly retransmitQueue: RetransmitQueue;
  readonly sendBackoff: SendBackoff;
  readonly controlSchedule: ControlSchedule;
  readonly verdictQueue: Pick<VerdictQueue, "decide">;
}

const MAX_TOKENS = 1024;
/** Pairs started at most before one of them must have its host's turn. */
const STARTS_PER_CALL = 256;
/** So many SYNs to silent ports wait while the rate is found, for which others tell more. */
const MOST_POSTPONED = 8192;
/** A probe for which there was no room so often, in about a minute, is given up. */
const MAX_REFUSALS = 128;

export function createTransmit(options: TransmitOptions): Transmit {
  const { paths, localWords, source, ports, isn, seed, counts } = options;
  const {
    inFlight,
    pathState,
    pacer,
    hostLimits,
    retransmitQueue,
    sendBackoff,
    controlSchedule,
    verdictQueue,
  } = options;
  const { table, timers, hostOf, apart, columnOf } = inFlight;
  const { capacity, maxTries } = table;
  const { controlProbes } = controlSchedule;
  const templates = paths.map((path) => createSynTemplate(path.local, path.ttl));
  /** What the packets of the current round are: rows, and below 0 slots of pilots. */
  const tokens = new Int32Array(MAX_TOKENS);
  const probe: Probe = { words: new Uint32Array(ADDRESS_WORDS), port: 0, path: 0, position: 0 };
  let { total } = source;
  let abandoned = false;
  /** Within a second or so nothing will be left to start. */
  let endIsNear = false;

  function pollTransmit(nowUs: number, out: Uint8Array, at: number, token: number): number {
    if (abandoned || sendBackoff.isPaused(nowUs)) return 0;
    if (pacer.allowance(nowUs) < 1) return 0;
    const slot = controlSchedule.next(nowUs, !retransmitQueue.any());
    if (slot >= 0) return sendPilot(slot, nowUs, out, at, token);
    const isPostponed = pathState.isStarting() && retransmitQueue.length() < MOST_POSTPONED && mayStart();
    let row = isPostponed ? -1 : retransmitQueue.pop();
    for (let started = 0; row < 0 && started < STARTS_PER_CALL; started++) {
      row = startNext(nowUs);
      if (row < 0) return 0;
      if (!hostLimits.take(row, nowUs)) row = -1;
    }
    if (row < 0) return 0;
    pacer.spend();
    return sendTry(row, nowUs, out, at, token);
  }

  const mayStart = (): boolean => counts.started < total && counts.started - counts.decided < capacity;

  function startNext(nowUs: number): number {
    if (!mayStart()) return -1;
    if (!source.next(probe)) {
      total = counts.started;
      return -1;
    }
    const row = table.insert(probe.words, 0, probe.port);
    table.path[row] = probe.path;
    table.position[row] = probe.position;
    table.portStart[row] = ports.start(probe.port, maxTries);
    hostLimits.clear(row);
    apart[row] = 0;
    hostOf[row] = pathState.hostOf(probe.words, 0, nowUs);
    counts.started++;
    return row;
  }

  function sendTry(row: number, nowUs: number, out: Uint8Array, at: number, token: number): number {
    const attempt = table.tries[row];
    const column = columnOf(row, attempt);
    const path = table.path[row];
    const peerPort = table.peerPort[row];
    const port = ports.portOf(table.portStart[row], attempt);
    const sequence = isn(localWords, path * ADDRESS_WORDS, table.peer, row * ADDRESS_WORDS, port, peerPort);
    sendBackoff.forget(row);
    hostLimits.clear(row);
    table.iss[column] = sequence;
    table.sentAt[column] = nowUs;
    table.tries[row] = attempt + 1;
    const again = pathState.lookAgainUs(hostOf[row]);
    timers.arm(row, nowUs, endIsNear ? Math.min(again, pathState.soonUs(hostOf[row], attempt + 1)) : again);
    controlSchedule.watchSilence(row, attempt, nowUs);
    if (pathState.sent(hostOf[row], nowUs)) apart[row] |= 1 << attempt;
    counts.sent++;
    if (attempt > 0) counts.retransmitted++;
    tokens[token] = row;
    const template = templates[path];
    template.write(out, at, table.peer, row * ADDRESS_WORDS, port, peerPort, sequence, idOf(sequence));
    return template.length;
  }

  function sendPilot(slot: number, nowUs: number, out: Uint8Array, at: number, token: number): number {
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

  /** The identification is as random as the sequence number, and shows nothing of it (RFC 6864 §4.1 asks no more). */
  const idOf = (sequence: number): number => identificationOf(sequence, seed);

  function handleDeparture(first: number, end: number, fromUs: number, toUs: number): void {
    sendBackoff.departed();
    const each = (toUs - fromUs) / (end - first);
    for (let token = first; token < end; token++) {
      const row = tokens[token];
      const atUs = fromUs + (token - first) * each;
      if (row >= 0) {
        const attempt = table.tries[row] - 1;
        const column = columnOf(row, attempt);
        table.sentAt[column] = atUs;
        pathState.departed(table.sentAt, column, attempt === 0);
      } else if (controlProbes !== undefined) {
        controlProbes.sentUs[-1 - row] = atUs;
        controlSchedule.departed(-1 - row);
      }
    }
  }

  function handleRefusal(token: number, errno: string, nowUs: number): void {
    const row = tokens[token];
    if (row < 0) {
      counts.sent--;
      counts.path.controlProbes--;
      controlSchedule.refused(-1 - row);
      return;
    }
    if (table.state[row] !== PROBE_STATES.synSent) return;
    counts.sendErrors[errno] = (counts.sendErrors[errno] ?? 0) + 1;
    counts.sent--;
    const attempt = table.tries[row] - 1;
    if (attempt > 0) counts.retransmitted--;
    const verdict = sendErrorVerdict(errno, paths[table.path[row]].local.length === 4 ? 4 : 6);
    if (verdict === "later") {
      // There is no way to this host, for now or for good: this try is over, the next comes when its time has passed.
      table.unsent[row]++;
      sendBackoff.note(row, errno);
      return;
    }
    // The try did not happen.
    table.tries[row] = attempt;
    table.refusals[row]++;
    if (verdict === "never" || (verdict === "again" && table.refusals[row] >= MAX_REFUSALS)) {
      verdictQueue.decide(row, PROBE_EVENTS.unsendable, `send-${errno.toLowerCase()}`, nowUs);
      return;
    }
    timers.arm(row, sendBackoff.retryAt(table.refusals[row], verdict, nowUs));
  }

  return {
    total: () => total,
    mayStart,
    followRate: (nowUs) => {
      pacer.setRate(pathState.rate(), nowUs);
      endIsNear = total - counts.started < pathState.rate();
    },
    pollTransmit,
    handleDeparture,
    handleRefusal,
    nextAt: (nowUs) =>
      !abandoned && (retransmitQueue.any() || mayStart() || controlProbes?.waiting() === true)
        ? Math.max(sendBackoff.pausedUntil(), pacer.nextAt(nowUs))
        : Number.POSITIVE_INFINITY,
    abandon: () => {
      abandoned = true;
    },
  };
}
