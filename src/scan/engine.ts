/**
 * The engine: joins probe source, socket table, timers and pacing into a scan. Sans-I/O and without a clock: packets and
 * times go in (`handle…`), packets, verdicts and the next deadline come out (`poll…`). The same code runs over the kernel
 * and under a virtual clock; a late or spurious wake-up is harmless.
 *
 * Each try leaves from a port of its own, so that a reply names its try by the port it comes to and no listener ever sees
 * two different SYNs on one 4-tuple (it would answer the second with a challenge or a reset). Only when the ports run
 * short, or the user fixed one with -g, a try shares the port of an earlier one: it is then a true retransmission, with
 * the same ISN, and its round trip is not told.
 *
 * Not here: the meaning of replies (classify.ts), the probe's bytes (syn.ts), the look of results (report/).
 */
import { createIsnHash } from "../socket/isn.ts";
import type { PortPool } from "../socket/ports.ts";
import { readSegment } from "../socket/segment.ts";
import { seqAdd } from "../socket/sequence.ts";
import { nextState, PROBE_EVENTS, PROBE_STATES, type ProbeEvent, type ProbeState } from "../socket/state.ts";
import { ADDRESS_WORDS, createSocketTable, loadAddress, sameWords, storeAddress } from "../socket/table.ts";
import { createTimerWheel } from "../socket/timer-wheel.ts";
import type { Address } from "../wire/address.ts";
import { portState, SEGMENT_VERDICTS, segmentKind, sendErrorVerdict } from "./classify.ts";
import { createPacer } from "./pacing.ts";
import { createReplyDecoder } from "./reply.ts";
import type { IgnoredCounts, PortState, Reason } from "./result.ts";
import { createSynTemplate } from "./syn.ts";
import { type Evidence, type Handshake, unanswered, type Verdict } from "./verdict.ts";

/** A local end: where probes leave from. */
export interface Path {
  readonly local: Address;
  /** TTL or hop limit of the probes, 1 to 255. */
  readonly ttl: number;
}

/** One pair to probe; reused from call to call. */
export interface Probe {
  /** The peer's address as four words (loadAddress). */
  readonly words: Uint32Array;
  port: number;
  /** Index into the engine's paths. */
  path: number;
  /** Index of the target in the caller's list, handed back with the verdict. */
  target: number;
}

/** What to probe, in order; no pair twice. */
export interface ProbeSource {
  /** Pairs in all. */
  readonly total: number;
  /** Fills `probe` with the next pair; false when there is none. */
  next(probe: Probe): boolean;
}

export interface EngineOptions {
  readonly paths: readonly Path[];
  readonly source: ProbeSource;
  readonly ports: PortPool;
  /** 8 random bytes, fresh for every run. */
  readonly isnKey: Uint8Array;
  /** Uniform integers from 0 to `below - 1`. */
  readonly random: (below: number) => number;
  /** SYNs after the first one for a port that stays silent, 0 to 30. */
  readonly retries: number;
  /** How long one try waits for its answer, in microseconds. */
  readonly timeoutUs: number;
  /** Probes per second, retransmissions included. */
  readonly rate: number;
  /** Rows of the socket table, decided ones included. */
  readonly capacity: number;
  readonly startUs: number;
  /** Hand over what is needed to complete the handshakes of open ports. */
  readonly keepHandshakes?: boolean;
}

/** Running totals; read at any time. */
export interface EngineCounts {
  sent: number;
  retransmitted: number;
  received: number;
  late: number;
  started: number;
  decided: number;
  readonly states: Record<PortState, number>;
  readonly ignored: { -readonly [K in keyof IgnoredCounts]: number };
  readonly sendErrors: Record<string, number>;
}

export interface Engine {
  readonly counts: Readonly<EngineCounts>;
  readonly total: number;
  /** True when every pair is decided. */
  readonly done: boolean;
  /** Takes one received IP packet, which arrived at `atUs`. */
  handlePacket(bytes: Uint8Array, at: number, end: number, atUs: number): void;
  /** Lets deadlines at or before `nowUs` pass. */
  handleTimeout(nowUs: number): void;
  /**
   * Writes the next packet to send at `out[at]`.
   * @param token the caller's name for this packet, below 1024, should the link refuse it
   * @returns its length; 0 when nothing may be sent now
   */
  pollTransmit(nowUs: number, out: Uint8Array, at: number, token: number): number;
  /**
   * Packets `first` to `end - 1` of the current round left one after the other between `fromUs` and `toUs`: their round trips
   * count from then.
   */
  handleDeparture(first: number, end: number, fromUs: number, toUs: number): void;
  /** The link refused the packet `token` of the current round. */
  handleRefusal(token: number, errno: string, nowUs: number): void;
  /** When `handleTimeout` or `pollTransmit` next has something to do; Infinity when never. */
  pollTimeout(nowUs: number): number;
  /** The next verdict, in the order they fell. */
  pollVerdict(): Verdict | undefined;
  /**
   * The run is being given up: no more probes, and what has been decided comes out of `pollVerdict`, even if more was to be
   * learnt of it.
   */
  abandon(nowUs: number): void;
}

const MAX_TOKENS = 1024;
/** After a refusal for lack of buffers, nothing is sent for this long. */
const REFUSAL_PAUSE_US = 5_000;
/** A probe that was refused this often in a row, five seconds at least, is given up. */
const MAX_REFUSALS = 1_000;

export function createEngine(options: EngineOptions): Engine {
  const { paths, source, ports, retries, timeoutUs } = options;
  const maxTries = retries + 1;
  const isn = createIsnHash(options.isnKey);
  const table = createSocketTable(options.capacity, maxTries, options.random(2 ** 31));
  const timers = createTimerWheel(options.capacity, options.startUs);
  const pacer = createPacer(options.rate, Math.max(1, options.rate / 100), options.startUs);
  const templates = paths.map((path) => createSynTemplate(path.local, path.ttl));
  const localWords = new Uint32Array(paths.length * ADDRESS_WORDS);
  paths.forEach(({ local }, i) => {
    loadAddress(localWords, i * ADDRESS_WORDS, local, 0, local.length);
  });
  /** Undecided rows at once: each must be able to hold a port. */
  const window = Math.min(options.capacity, ports.size);

  const counts: EngineCounts = {
    sent: 0,
    retransmitted: 0,
    received: 0,
    late: 0,
    started: 0,
    decided: 0,
    states: { open: 0, closed: 0, filtered: 0 },
    ignored: {
      malformed: 0,
      badChecksum: 0,
      wrongAck: 0,
      oddFlags: 0,
      foreign: 0,
      fragment: 0,
      icmpNoVerdict: 0,
      duplicate: 0,
    },
    sendErrors: {},
  };
  const { ignored } = counts;
  const verdicts: Verdict[] = [];

  const probe: Probe = {
    words: new Uint32Array(ADDRESS_WORDS),
    port: 0,
    path: 0,
    target: 0,
  };
  const tokens = new Int32Array(MAX_TOKENS);
  let undecided = 0;
  let pausedUntil = 0;
  let abandoned = false;

  // Rows whose try ran out and whose next SYN waits for the pacer. `queued` is the truth, the ring may hold stale entries.
  const queue = new Int32Array(options.capacity + 1);
  const queued = new Uint8Array(options.capacity);
  let queueHead = 0;
  let queueLength = 0;

  /** Rows whose last try could not be sent, and why. */
  const refused = new Map<number, string>();
  /** Rows to which a bare SYN came: what it will have shown if nothing better comes. */
  const splitSyns = new Map<number, Evidence>();

  const decoder = createReplyDecoder();
  const { reply } = decoder;

  // --- sending -----------------------------------------------------------------------------------------------------

  function pollTransmit(nowUs: number, out: Uint8Array, at: number, token: number): number {
    if (abandoned || nowUs < pausedUntil || pacer.allowance(nowUs) < 1) return 0;
    let row = popQueued();
    if (row < 0) row = startNext();
    if (row < 0) return 0;
    pacer.spend();
    return sendTry(row, nowUs, out, at, token);
  }

  function popQueued(): number {
    while (queueLength > 0) {
      const row = queue[queueHead];
      queueHead = (queueHead + 1) % queue.length;
      queueLength--;
      if (queued[row] === 1) {
        queued[row] = 0;
        return row;
      }
    }
    return -1;
  }

  function mayStart(): boolean {
    return counts.started < source.total && undecided < window && ports.available > 0;
  }

  function startNext(): number {
    if (!mayStart() || !source.next(probe)) return -1;
    const row = table.insert(probe.words, 0, probe.port);
    table.path[row] = probe.path;
    table.target[row] = probe.target;
    undecided++;
    counts.started++;
    return row;
  }

  function sendTry(row: number, nowUs: number, out: Uint8Array, at: number, token: number): number {
    const attempt = table.tries[row];
    const column = row * maxTries + attempt;
    const path = table.path[row];
    const peerPort = table.peerPort[row];
    // A port equal to the peer's would make a probe to one's own address its own answer.
    let port = table.keptPort[row] || ports.take(peerPort);
    table.keptPort[row] = 0;
    if (port === 0) port = attempt > 0 ? table.localPort[column - 1] : ports.take(0);
    const sequence = isn(localWords, path * ADDRESS_WORDS, table.peer, row * ADDRESS_WORDS, port, peerPort);
    refused.delete(row);
    table.localPort[column] = port;
    table.iss[column] = sequence;
    table.sentAt[column] = nowUs;
    table.tries[row] = attempt + 1;
    timers.arm(row, nowUs + timeoutUs);
    counts.sent++;
    if (attempt > 0) counts.retransmitted++;
    tokens[token] = row;
    const template = templates[path];
    template.write(
      out,
      at,
      table.peer,
      row * ADDRESS_WORDS,
      port,
      peerPort,
      sequence,
      options.random(65_536),
    );
    return template.length;
  }

  function handleDeparture(first: number, end: number, fromUs: number, toUs: number): void {
    const each = (toUs - fromUs) / (end - first);
    for (let token = first; token < end; token++) {
      const row = tokens[token];
      table.sentAt[row * maxTries + table.tries[row] - 1] = fromUs + (token - first) * each;
    }
  }

  function handleRefusal(token: number, errno: string, nowUs: number): void {
    const row = tokens[token];
    if (table.state[row] !== PROBE_STATES.synSent) return;
    counts.sendErrors[errno] = (counts.sendErrors[errno] ?? 0) + 1;
    counts.sent--;
    const attempt = table.tries[row] - 1;
    if (attempt > 0) counts.retransmitted--;
    const verdict = sendErrorVerdict(errno);
    if (verdict === "later") {
      // The network is away, for now or for good: this try is over, the next comes when its time has passed.
      table.unsent[row]++;
      refused.set(row, errno);
      return;
    }
    // The try did not happen. Its port stays its own: when it is made up for, others may have taken all that are free.
    table.tries[row] = attempt;
    const port = table.localPort[row * maxTries + attempt];
    if (attempt === 0 || port !== table.localPort[row * maxTries + attempt - 1]) table.keptPort[row] = port;
    if (verdict === "again" && ++table.refusals[row] < MAX_REFUSALS) {
      pausedUntil = nowUs + REFUSAL_PAUSE_US;
      timers.cancel(row);
      enqueue(row);
      return;
    }
    decide(row, PROBE_EVENTS.unsendable, unanswered(`send-${errno.toLowerCase()}`, nowUs));
  }

  function enqueue(row: number): void {
    queued[row] = 1;
    queue[(queueHead + queueLength) % queue.length] = row;
    queueLength++;
  }

  // --- deadlines ---------------------------------------------------------------------------------------------------

  function handleTimeout(nowUs: number): void {
    for (let row = timers.expire(nowUs); row >= 0; row = timers.expire(nowUs)) {
      if (table.tries[row] < maxTries) enqueue(row);
      else exhaust(row, nowUs);
    }
  }

  /** The last try is over, and nothing proved has come. */
  function exhaust(row: number, nowUs: number): void {
    const split = splitSyns.get(row);
    const errno = refused.get(row);
    if (split !== undefined) decide(row, PROBE_EVENTS.accepted, split);
    else if (errno !== undefined) {
      decide(row, PROBE_EVENTS.unsendable, unanswered(`send-${errno.toLowerCase()}`, nowUs));
    } else decide(row, PROBE_EVENTS.exhausted, unanswered("no-response", nowUs));
  }

  function pollTimeout(nowUs: number): number {
    const sendAt =
      queueLength > 0 || mayStart() ? Math.max(pausedUntil, pacer.nextAt(nowUs)) : Number.POSITIVE_INFINITY;
    return Math.min(sendAt, timers.next());
  }

  // --- receiving ---------------------------------------------------------------------------------------------------

  function handlePacket(b: Uint8Array, at: number, end: number, atUs: number): void {
    counts.received++;
    const decoded = decoder.decode(b, at, end);
    if (decoded === "segment") handleSegment(b, atUs);
    else if (decoded === "icmp-error") handleIcmpError(b, atUs);
    else ignored[decoded]++;
  }

  function handleSegment(b: Uint8Array, atUs: number): void {
    const row = table.find(reply.peer, 0, reply.peerPort);
    const attempt = row < 0 ? -1 : tryOf(row);
    if (attempt < 0) {
      ignored.foreign++;
      return;
    }
    const kind = segmentKind(reply.flags);
    if (kind === "odd") {
      ignored.oddFlags++;
      return;
    }
    if (kind === "syn") {
      holdSplitSyn(row, attempt, atUs);
      return;
    }
    if (reply.acknowledgement !== seqAdd(table.iss[row * maxTries + attempt], 1)) {
      ignored.wrongAck++;
      return;
    }
    const { event, reason } = SEGMENT_VERDICTS[kind];
    const handshake =
      options.keepHandshakes === true && kind === "syn-ack" ? handshakeOf(row, attempt, b) : undefined;
    answer(row, attempt, event, reason, atUs, null, handshake);
  }

  /**
   * The bare SYN of a simultaneous open acknowledges nothing, so it proves nothing: it counts only if all the tries end and
   * nothing better has come. Our own SYN, back through loopback, and one that was there before ours are certainly no answer.
   */
  function holdSplitSyn(row: number, attempt: number, atUs: number): void {
    const sentAt = table.sentAt[row * maxTries + attempt];
    const own = isn(reply.peer, 0, reply.local, 0, reply.peerPort, reply.localPort);
    if (reply.sequence === own || atUs < sentAt) ignored.foreign++;
    else if (table.state[row] !== PROBE_STATES.synSent || splitSyns.has(row)) ignored.duplicate++;
    else {
      const { reason } = SEGMENT_VERDICTS.syn;
      splitSyns.set(row, {
        ...unanswered(reason, atUs),
        rttUs: atUs - sentAt,
        ttl: reply.ttl === 0 ? null : reply.ttl,
      });
    }
  }

  function handleIcmpError(b: Uint8Array, atUs: number): void {
    const row = table.find(reply.peer, 0, reply.peerPort);
    const attempt = row < 0 ? -1 : tryOf(row);
    if (attempt < 0 || table.iss[row * maxTries + attempt] !== reply.sequence) {
      ignored.foreign++;
      return;
    }
    if (reply.reason === undefined) {
      ignored.icmpNoVerdict++;
      return;
    }
    const responder = b.slice(reply.responderAt, reply.responderAt + reply.responderLength);
    answer(row, attempt, PROBE_EVENTS.rejected, reply.reason, atUs, responder);
  }

  function handshakeOf(row: number, attempt: number, b: Uint8Array): Handshake | undefined {
    const synAck = readSegment(b, reply.segmentAt, reply.segmentEnd);
    if (synAck === undefined) return undefined;
    const column = row * maxTries + attempt;
    const path = table.path[row];
    return {
      path,
      localPort: table.localPort[column],
      peer: storeAddress(table.peer, row * ADDRESS_WORDS, paths[path].local.length),
      iss: table.iss[column],
      sentUs: table.sentAt[column],
      synAck,
    };
  }

  /** The last try of `row` that left from the reply's local address and port; -1 when none did. */
  function tryOf(row: number): number {
    if (!sameWords(localWords, table.path[row] * ADDRESS_WORDS, reply.local, 0)) return -1;
    for (let attempt = table.tries[row] - 1; attempt >= 0; attempt--) {
      if (table.localPort[row * maxTries + attempt] === reply.localPort) return attempt;
    }
    return -1;
  }

  // --- verdicts ----------------------------------------------------------------------------------------------------

  function answer(
    row: number,
    attempt: number,
    event: ProbeEvent,
    reason: Reason,
    atUs: number,
    responder: Address | null,
    handshake?: Handshake,
  ): void {
    const column = row * maxTries + attempt;
    const ambiguous = attempt > 0 && table.localPort[column - 1] === table.localPort[column];
    // Departures within one system call are spread over it: a round trip of less than that says "a microsecond at most".
    const rttUs = ambiguous ? null : Math.max(1, atUs - table.sentAt[column]);
    const late = !ambiguous && atUs > table.sentAt[column] + timeoutUs;
    const decided = decide(row, event, {
      reason,
      rttUs,
      ttl: reply.ttl === 0 ? null : reply.ttl,
      responder,
      late,
      atUs,
      ...(handshake === undefined ? {} : { handshake }),
    });
    if (!decided) ignored.duplicate++;
    else if (late) counts.late++;
  }

  function decide(row: number, event: ProbeEvent, evidence: Evidence): boolean {
    const before = table.state[row] as ProbeState;
    const after = nextState(before, event);
    if (after === before) return false;
    table.state[row] = after;
    const first = before === PROBE_STATES.synSent;
    if (first) settle(row);
    else counts.states[portState(before)]--;
    const state = portState(after);
    counts.states[state]++;
    verdicts.push({
      target: table.target[row],
      port: table.peerPort[row],
      state,
      tries: table.tries[row] - table.unsent[row],
      was: first ? null : portState(before),
      ...evidence,
    });
    return true;
  }

  /** An undecided row has its verdict: timer off, ports back, place free when needed. */
  function settle(row: number): void {
    timers.cancel(row);
    queued[row] = 0;
    refused.delete(row);
    splitSyns.delete(row);
    if (table.keptPort[row] !== 0) ports.giveBack(table.keptPort[row]);
    table.keptPort[row] = 0;
    let previous = 0;
    for (let attempt = 0; attempt < table.tries[row]; attempt++) {
      const port = table.localPort[row * maxTries + attempt];
      if (port !== previous) ports.giveBack(port);
      previous = port;
    }
    table.linger(row);
    undecided--;
    counts.decided++;
  }

  let verdictHead = 0;
  return {
    counts,
    total: source.total,
    get done() {
      return counts.decided === source.total;
    },
    handlePacket,
    handleTimeout,
    pollTransmit,
    handleDeparture,
    handleRefusal,
    pollTimeout,
    pollVerdict: () => {
      if (verdictHead === verdicts.length) {
        verdicts.length = 0;
        verdictHead = 0;
        return undefined;
      }
      return verdicts[verdictHead++];
    },
    abandon: () => {
      abandoned = true;
    },
  };
}
