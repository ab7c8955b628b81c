/**
 * The engine: joins probe source, socket table, timers and pacing into a scan. Sans-I/O and without a clock: packets and
 * times go in (`handle…`), packets, verdicts and the next deadline come out (`poll…`). The same code runs over the kernel
 * and under a virtual clock; a late or spurious wake-up is harmless.
 *
 * Each try leaves from a port of its own, so that a reply names its try by the port it comes to and no listener ever sees
 * two different SYNs on one 4-tuple (it would answer the second with a challenge or a reset). Only when the user fixed the
 * port with -g, a try shares the port of an earlier one: it is then a true retransmission, with the same ISN, and its round
 * trip is not told. Nothing is allocated for a probe, its reply or its verdict.
 *
 * Not here: the meaning of replies (classify.ts), the probe's bytes (syn.ts), the look of results (report/).
 */
import { createIsnHash } from "../socket/isn.ts";
import type { SourcePorts } from "../socket/ports.ts";
import { readSegment } from "../socket/segment.ts";
import { seqAdd } from "../socket/sequence.ts";
import { nextState, PROBE_EVENTS, PROBE_STATES, type ProbeEvent, type ProbeState } from "../socket/state.ts";
import { ADDRESS_WORDS, createSocketTable, loadAddress, sameWords, storeAddress } from "../socket/table.ts";
import { createTimerWheel } from "../socket/timer-wheel.ts";
import type { Address } from "../wire/address.ts";
import { portState, SEGMENT_VERDICTS, segmentKind, sendErrorVerdict } from "./classify.ts";
import { CONFIDENCE } from "./confidence.ts";
import type { Congestion, CongestionOptions } from "./congestion.ts";
import { createHostPace } from "./host-pace.ts";
import { loadPrefix, MARKS } from "./hosts.ts";
import { createPacer } from "./pacing.ts";
import { createPathWatch, type RateLimits } from "./path-watch.ts";
import { createDraw, createPilots } from "./pilots.ts";
import { createReplyDecoder } from "./reply.ts";
import type { IgnoredCounts, PortState, Reason } from "./result.ts";
import type { WaitLimits } from "./round-trip.ts";
import { createSuspects } from "./suspects.ts";
import { createSynTemplate, identificationOf } from "./syn.ts";
import { type Handshake, newVerdictSlot, type Verdict, type VerdictSlot } from "./verdict.ts";

/** A local end: where probes leave from. */
export interface Path {
  readonly local: Address;
  /** TTL or hop limit of the probes, 1 to 255. */
  readonly ttl: number;
  /** It leads to this machine itself, whose kernel answers before anyone else can. */
  readonly toSelf?: boolean;
}

/** One pair to probe; reused from call to call. */
export interface Probe {
  /** The peer's address as four words (loadAddress). */
  readonly words: Uint32Array;
  port: number;
  /** Index into the engine's paths. */
  path: number;
  /** The pair's place in the run's order, handed back with the verdict: any number that the source can make sense of. */
  position: number;
}

/** What to probe, in order; no pair twice. */
export interface ProbeSource {
  /** Most pairs that `next` will give. */
  readonly total: number;
  /** Fills `probe` with the next pair; false when there is none. */
  next(probe: Probe): boolean;
}

export interface EngineOptions {
  readonly paths: readonly Path[];
  readonly source: ProbeSource;
  readonly ports: SourcePorts;
  /** 8 random bytes, fresh for every run. */
  readonly isnKey: Uint8Array;
  /** Any number, fresh for every run: scatters the table's hash and the packets' identification. */
  readonly seed: number;
  /** Source ports of pilots and canaries, none of `ports`; without them there are none. */
  readonly pilotPorts?: { readonly first: number; readonly last: number };
  /** SYNs after the first one for a port that stays silent, 0 to 30 at most. */
  readonly retries: number;
  /** The chance with which a port called silent is silent, 0 to 1: fewer SYNs are sent when it is reached before. 1 always sends all. */
  readonly confidence?: number;
  /** How long one try waits for its answer, in microseconds. */
  readonly wait: WaitLimits;
  /** Probes per second, retransmissions included. */
  readonly rate: RateLimits;
  /** Hosts that are probed at most. */
  readonly hosts?: number;
  /** Another way to find the rate, for comparison. */
  readonly congestion?: (options: CongestionOptions) => Congestion;
  /** SYNs per second to one host. */
  readonly ratePerHost?: number;
  /** SYNs per second to one prefix, /24 of IPv4 or /64 of IPv6. */
  readonly ratePerPrefix?: number;
  /** How long one host is probed, from its first SYN on, in microseconds: what is undecided then is filtered. */
  readonly hostTimeoutUs?: number;
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
  /** Decided pairs by state and reason; they add up to `states`. */
  readonly reasons: Readonly<Record<PortState, Record<string, number>>>;
  readonly ignored: { -readonly [K in keyof IgnoredCounts]: number };
  readonly sendErrors: Record<string, number>;
  /** What was learnt of the path: sums that add up over workers. */
  readonly path: Record<keyof typeof NO_FINDINGS, number>;
}

const NO_FINDINGS = {
  /** SYNs per second that may leave now. */
  rate: 0,
  /** Round trips that must have succeeded: those that failed, those that did. */
  lost: 0,
  answered: 0,
  /** SYNs to open ports that were lost, or their answers; and of these, those of which a repeated answer told that they arrived. */
  openLost: 0,
  openArrived: 0,
  /** For each open port found, how many of its like were missed; for each silent one, the chance that it was no silence. */
  odds: 0,
  doubts: 0,
  /** SYNs to silent ports. */
  silentTries: 0,
  /** Pilots and canaries; they count as sent, too. */
  pilots: 0,
};

export const newCounts = (): EngineCounts => ({
  sent: 0,
  retransmitted: 0,
  received: 0,
  late: 0,
  started: 0,
  decided: 0,
  states: { open: 0, closed: 0, filtered: 0 },
  reasons: { open: {}, closed: {}, filtered: {} },
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
  path: { ...NO_FINDINGS },
});

export interface Engine {
  readonly counts: Readonly<EngineCounts>;
  readonly total: number;
  /** True when every pair is decided. */
  readonly done: boolean;
  /** Probes that wait for their verdict. */
  readonly inFlight: number;
  /**
   * Takes one received IP packet, which arrived `ageUs` before `nowUs`: two numbers, because their difference would be an
   * object for every packet.
   */
  handlePacket(bytes: Uint8Array, at: number, end: number, nowUs: number, ageUs?: number): void;
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
  /** The link lost packets on their way here: its buffer was full. */
  handleOverrun(nowUs: number): void;
  /** How long nothing could be sent though there was something, in microseconds; 0 when all is well. */
  stalledUs(nowUs: number): number;
  /** The link refused the packet `token` of the current round. */
  handleRefusal(token: number, errno: string, nowUs: number): void;
  /** When `handleTimeout` or `pollTransmit` next has something to do; Infinity when never. */
  pollTimeout(nowUs: number): number;
  /**
   * The lowest position of a pair that is started and undecided; Infinity when there is none. Takes time: for a look once a
   * second, not for every packet.
   */
  lowestUndecided(): number;
  /** The next verdict, in the order they fell. It is valid until the engine's next call: keepVerdict copies it. */
  pollVerdict(): Verdict | undefined;
  /**
   * The run is being given up: no more probes, and what has been decided comes out of `pollVerdict`, even if more was to be
   * learnt of it.
   */
  abandon(nowUs: number): void;
}

const MAX_TOKENS = 1024;
/**
 * A refused probe waits this long, then twice as long, and so on up to the longest; and so do all of them when nothing at all
 * has left between so many refusals, or the interface is away.
 */
const REFUSAL_PAUSE_US = 5_000;
const LONGEST_PAUSE_US = 500_000;
const REFUSALS_OF_ALL = 64;
/** Verdict slots that are kept to be used again. */
const MOST_SLOTS = 8192;
/** Pairs started at most before one of them must have its host's turn. */
const STARTS_PER_CALL = 256;
/** A probe that was refused this often, in about a minute, is given up. */
const MAX_REFUSALS = 128;
/** However clean the path, one lost packet is no silence. */
const FEWEST_TRIES = 2;
/** So many open ports, and no closed one, make a host one that may answer anything; so many other ports are then asked. */
const SUSPICIOUS = 3;
const CANARIES = 3;
/** Below the ports of clients, above those of most services. */
const CANARY_PORTS = { first: 20_000, last: 32_767 } as const;
/** What the losses are is itself an estimate, and they come in bursts: so much less doubt than was asked for is accepted. */
const MARGIN = 0.1;
/** One probe in so many is a pilot, on average, but no more than one in so many seconds. */
const PROBES_PER_PILOT = 16;
/** In runs of fewer pairs it is over before pilots could tell. */
const FEWEST_FOR_PILOTS = 1000;
const PILOT_EVERY_S = 0.0006;
/** Of those who answered, one in so many is remembered as somebody to ask again, once there are some. */
const REMEMBER_EVERY = 8;
/** A repeated SYN-ACK comes a second after the first (RFC 6298 §2.1), or later. */
const REPEAT_US = 900_000;
/** A long wait is looked at again so often: meanwhile the host may have become known. */
const LOOK_AGAIN_US = 100_000;

export function createEngine(options: EngineOptions): Engine {
  const { paths, source, ports, retries, capacity, confidence = CONFIDENCE } = options;
  const maxTries = retries + 1;
  const acceptedDoubt = (1 - confidence) * MARGIN;
  const isn = createIsnHash(options.isnKey);
  const table = createSocketTable(options.capacity, maxTries, options.seed);
  const timers = createTimerWheel(options.capacity, options.startUs);
  const watch = createPathWatch({
    wait: options.wait,
    rate: options.rate,
    hosts: options.hosts ?? source.total,
    startUs: options.startUs,
    tries: maxTries,
    acceptedDoubt,
    ...(options.congestion === undefined ? {} : { congestion: options.congestion }),
  });
  const { hosts } = watch;
  const pacer = createPacer(watch.rate(), options.startUs);
  const random = createDraw(options.seed);
  // A host that is to have no more than so many SYNs has none that serve the run.
  const { ratePerPrefix } = options;
  const isBounded = (options.ratePerHost ?? ratePerPrefix ?? options.hostTimeoutUs) !== undefined;
  const pilots =
    options.pilotPorts === undefined || isBounded ? undefined : createPilots(options.pilotPorts, random);
  /** The entry of each row's host in `hosts`, if it still is its. */
  const hostOf = new Int32Array(capacity);
  /** Which try was answered, from 1; of which earlier ones a late answer has come, a bit each. */
  const answeredTry = new Uint8Array(capacity);
  const regained = new Uint32Array(capacity);
  /** Which tries left when their host had had nothing for a while: what becomes of them tells of the path, not of a limit of the host's. */
  const apart = new Uint32Array(capacity);
  const doubtOf = new Float32Array(capacity);
  /** Probes until the next pilot. */
  let untilPilot = 1;
  let sinceRemembered = 0;
  const { ratePerHost = Number.POSITIVE_INFINITY, hostTimeoutUs = Number.POSITIVE_INFINITY } = options;
  const hostPace =
    Math.min(ratePerHost, hostTimeoutUs) === Number.POSITIVE_INFINITY
      ? undefined
      : createHostPace({ rate: ratePerHost, timeoutUs: hostTimeoutUs });
  const prefixPace =
    ratePerPrefix === undefined
      ? undefined
      : createHostPace({ rate: ratePerPrefix, timeoutUs: Number.POSITIVE_INFINITY });
  const prefix = new Uint32Array(ADDRESS_WORDS);
  /** Rows that have their host's turn, now or when their timer says. */
  const hasTurn = new Uint8Array(capacity);
  const templates = paths.map((path) => createSynTemplate(path.local, path.ttl));
  const localWords = new Uint32Array(paths.length * ADDRESS_WORDS);
  paths.forEach(({ local }, i) => {
    loadAddress(localWords, i * ADDRESS_WORDS, local, 0, local.length);
  });

  const counts = newCounts();
  const { ignored } = counts;

  const probe: Probe = {
    words: new Uint32Array(ADDRESS_WORDS),
    port: 0,
    path: 0,
    position: 0,
  };
  const tokens = new Int32Array(MAX_TOKENS);
  let undecided = 0;
  let { total } = source;
  // Refusals since something left; pauses of all since then, and since when.
  let refusalsInARow = 0;
  let pauses = 0;
  let stalledSinceUs: number | undefined;
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
  const splitSyns = new Map<number, { attempt: number; atUs: number; ttl: number; believed: boolean }>();

  const decoder = createReplyDecoder();
  const { reply } = decoder;

  // --- sending -----------------------------------------------------------------------------------------------------

  function pollTransmit(nowUs: number, out: Uint8Array, at: number, token: number): number {
    if (abandoned || nowUs < pausedUntil) return 0;
    if (pacer.allowance(nowUs) < 1) return 0;
    if (pilots !== undefined) {
      const slot = nextPilot(nowUs);
      if (slot >= 0) return sendPilot(slot, nowUs, out, at, token);
    }
    let row = popQueued();
    for (let started = 0; row < 0 && started < STARTS_PER_CALL; started++) {
      row = startNext(nowUs);
      if (row < 0) return 0;
      if (!takeTurn(row, nowUs)) row = -1;
    }
    if (row < 0) return 0;
    pacer.spend();
    return sendTry(row, nowUs, out, at, token);
  }

  /** A canary, or a pilot when it is time for one; -1 when it is not. */
  function nextPilot(nowUs: number): number {
    if (pilots === undefined) return -1;
    const canary = pilots.pickCanary();
    if (canary >= 0 || !watch.adaptive || source.total < FEWEST_FOR_PILOTS) return canary;
    if (--untilPilot > 0) return -1;
    // At no fixed place: not always the first of those that leave together, which a queue has room for.
    const probes = Math.max(PROBES_PER_PILOT, watch.rate() * PILOT_EVERY_S) | 0;
    untilPilot = 1 + random(2 * probes);
    return pilots.pickPilot(watch.isRested, nowUs);
  }

  function sendPilot(slot: number, nowUs: number, out: Uint8Array, at: number, token: number): number {
    if (pilots === undefined) return 0;
    const path = pilots.path[slot];
    const at4 = slot * ADDRESS_WORDS;
    const localPort = pilots.localPort(slot);
    const sequence = isn(localWords, path * ADDRESS_WORDS, pilots.words, at4, localPort, pilots.port[slot]);
    pilots.sent(slot, nowUs, watch.pilotWaitUs(pilots.host[slot]), sequence);
    tokens[token] = -1 - slot;
    pacer.spend();
    watch.sent(pilots.host[slot], nowUs, false);
    if (pilots.isCanary[slot] === 0) watch.pilotSent();
    counts.sent++;
    counts.path.pilots++;
    const template = templates[path];
    template.write(out, at, pilots.words, at4, localPort, pilots.port[slot], sequence, idOf(sequence));
    return template.length;
  }

  /** The identification is as random as the sequence number, and shows nothing of it (RFC 6864 §4.1 asks no more). */
  const idOf = (sequence: number): number => identificationOf(sequence, options.seed);

  /** Follows what has been learnt of the path. Only with the deadlines: by then all answers have been read that had come. */
  function look(nowUs: number): void {
    if (nowUs < watch.lookAt()) return;
    watch.look(nowUs);
    pacer.setRate(watch.rate(), nowUs);
    tellPath();
  }

  function tellPath(): void {
    counts.path.rate = watch.rate();
    counts.path.lost = watch.lostSoFar();
    counts.path.answered = watch.answeredSoFar();
    counts.path.odds = watch.odds();
  }

  function popQueued(): number {
    while (queueLength > 0) {
      const row = queue[queueHead];
      queueHead = queueHead + 1 === queue.length ? 0 : queueHead + 1;
      queueLength--;
      if (queued[row] === 1) {
        queued[row] = 0;
        return row;
      }
    }
    return -1;
  }

  const mayStart = (): boolean => counts.started < total && undecided < options.capacity;

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
    hasTurn[row] = 0;
    apart[row] = 0;
    hostOf[row] = watch.hostOf(probe.words, 0, nowUs);
    undecided++;
    counts.started++;
    return row;
  }

  /** @returns whether the row may be sent now; otherwise its timer brings it back, or its host's time is over */
  function takeTurn(row: number, nowUs: number): boolean {
    const paced = (hosts.marks[hostOf[row]] & MARKS.paced) !== 0;
    if ((hostPace === undefined && prefixPace === undefined && !paced) || hasTurn[row] === 1) return true;
    let turn = nowUs;
    if (hostPace !== undefined) {
      turn = hostPace.turn(table.peer, row * ADDRESS_WORDS, nowUs);
      if (turn < 0) {
        decide(row, PROBE_EVENTS.exhausted, "host-timeout", nowUs);
        return false;
      }
    }
    if (prefixPace !== undefined) {
      loadPrefix(prefix, table.peer, row * ADDRESS_WORDS);
      turn = Math.max(turn, prefixPace.turn(prefix, 0, nowUs));
    }
    if (paced) turn = Math.max(turn, watch.turn(hostIn(row, nowUs), nowUs));
    hasTurn[row] = 1;
    if (turn <= nowUs) return true;
    timers.arm(row, turn);
    return false;
  }

  function sendTry(row: number, nowUs: number, out: Uint8Array, at: number, token: number): number {
    const attempt = table.tries[row];
    const column = columnOf(row, attempt);
    const path = table.path[row];
    const peerPort = table.peerPort[row];
    const port = ports.portOf(table.portStart[row], attempt);
    const sequence = isn(localWords, path * ADDRESS_WORDS, table.peer, row * ADDRESS_WORDS, port, peerPort);
    if (refused.size > 0) refused.delete(row);
    hasTurn[row] = 0;
    table.iss[column] = sequence;
    table.sentAt[column] = nowUs;
    table.tries[row] = attempt + 1;
    timers.arm(row, nowUs, watch.lookAgainUs(hostOf[row]));
    if (watch.sent(hostOf[row], nowUs, attempt === 0)) apart[row] |= 1 << attempt;
    counts.sent++;
    if (attempt > 0) counts.retransmitted++;
    tokens[token] = row;
    const template = templates[path];
    template.write(out, at, table.peer, row * ADDRESS_WORDS, port, peerPort, sequence, idOf(sequence));
    return template.length;
  }

  const columnOf = (row: number, attempt: number): number => attempt * capacity + row;

  /** The row's host, looked up again if its entry has changed hands. */
  function hostIn(row: number, nowUs: number): number {
    if (!hosts.holds(hostOf[row], table.peer, row * ADDRESS_WORDS)) {
      hostOf[row] = watch.hostOf(table.peer, row * ADDRESS_WORDS, nowUs);
    }
    return hostOf[row];
  }

  function handleDeparture(first: number, end: number, fromUs: number, toUs: number): void {
    refusalsInARow = 0;
    pauses = 0;
    stalledSinceUs = undefined;
    const each = (toUs - fromUs) / (end - first);
    for (let token = first; token < end; token++) {
      const row = tokens[token];
      const atUs = fromUs + (token - first) * each;
      if (row >= 0) table.sentAt[columnOf(row, table.tries[row] - 1)] = atUs;
      else if (pilots !== undefined) pilots.sentUs[-1 - row] = atUs;
    }
  }

  function handleRefusal(token: number, errno: string, nowUs: number): void {
    const row = tokens[token];
    if (row < 0) {
      // It left nobody waiting: a canary that cannot be sent says as little as one that is not answered.
      counts.sent--;
      counts.path.pilots--;
      if (pilots?.isCanary[-1 - row] === 0) watch.pilotUnknown(pilots.sentUs, -1 - row);
      endPilot(-1 - row, undefined);
      return;
    }
    if (table.state[row] !== PROBE_STATES.synSent) return;
    counts.sendErrors[errno] = (counts.sendErrors[errno] ?? 0) + 1;
    counts.sent--;
    const attempt = table.tries[row] - 1;
    if (attempt > 0) counts.retransmitted--;
    const verdict = sendErrorVerdict(errno, paths[table.path[row]].local.length === 4 ? 4 : 6);
    if (verdict === "later") {
      // There is no way, for now or for good: this try is over, the next comes when its time has passed.
      table.unsent[row]++;
      refused.set(row, errno);
      return;
    }
    // The try did not happen.
    table.tries[row] = attempt;
    if (verdict === "never" || (verdict === "again" && ++table.refusals[row] >= MAX_REFUSALS)) {
      decide(row, PROBE_EVENTS.unsendable, `send-${errno.toLowerCase()}`, nowUs);
      return;
    }
    if (verdict === "away" || ++refusalsInARow >= REFUSALS_OF_ALL) pauseAll(nowUs);
    timers.arm(row, nowUs + pauseAfter(verdict === "away" ? 0 : table.refusals[row]));
  }

  const pauseAfter = (refusals: number): number =>
    Math.min(LONGEST_PAUSE_US, REFUSAL_PAUSE_US * 2 ** Math.min(refusals, 20));

  function pauseAll(nowUs: number): void {
    stalledSinceUs ??= nowUs;
    // One batch's refusals are one.
    if (nowUs < pausedUntil) return;
    pausedUntil = nowUs + pauseAfter(pauses++);
  }

  function enqueue(row: number): void {
    queued[row] = 1;
    queue[(queueHead + queueLength) % queue.length] = row;
    queueLength++;
  }

  // --- deadlines ---------------------------------------------------------------------------------------------------

  function handleTimeout(nowUs: number): void {
    look(nowUs);
    expirePilots(nowUs);
    for (let row = timers.expire(nowUs); row >= 0; row = timers.expire(nowUs)) {
      const tries = table.tries[row];
      if (tries > 0 && !isOver(row, nowUs)) continue;
      if (tries < maxTries && !isSure(row)) {
        if (takeTurn(row, nowUs)) enqueue(row);
      } else if (stalledSinceUs !== undefined) {
        // While nothing can be sent, answers may be lost as well: once more, when it can.
        table.tries[row]--;
        enqueue(row);
      } else {
        // The last try waits longer, and so does a host that was never heard of.
        const host = hostIn(row, nowUs);
        const last = table.sentAt[columnOf(row, tries - 1)] + watch.waitUs(host) + watch.lastWaitUs(host);
        const untilUs = Math.max(last, table.sentAt[row] + watch.wholeWaitUs(host));
        if (nowUs < untilUs) timers.arm(row, nowUs, Math.min(untilUs - nowUs + 1, LOOK_AGAIN_US) | 0);
        else exhaust(row, nowUs);
      }
    }
  }

  /** Whether the time of the row's last try is over; if not, it will be looked at again. */
  function isOver(row: number, nowUs: number): boolean {
    if (hasTurn[row] === 1) return true;
    const leftUs = table.sentAt[columnOf(row, table.tries[row] - 1)] + watch.waitUs(hostOf[row]) - nowUs;
    if (leftUs <= 0) return true;
    timers.arm(row, nowUs, Math.min(leftUs + 1, watch.lookAgainUs(hostOf[row])) | 0);
    return false;
  }

  /** Whether so many tries are enough to believe the silence. */
  function isSure(row: number): boolean {
    if (confidence === 1 || table.tries[row] < FEWEST_TRIES) return false;
    reckonDoubt(row);
    return watch.doubt[0] < acceptedDoubt;
  }

  /** The chance that every try was lost, or its answer: to `watch.doubt[0]`. */
  function reckonDoubt(row: number): void {
    const first = table.unsent[row];
    watch.reckonDoubt(
      hostOf[row],
      table.sentAt,
      columnOf(row, first),
      capacity,
      table.tries[row] - first,
      true,
    );
  }

  /** The last try is over, and nothing proved has come. */
  function exhaust(row: number, nowUs: number): void {
    const split = splitSyns.get(row);
    const errno = refused.get(row);
    if (split?.believed === true) {
      reply.ttl = split.ttl;
      answer(row, split.attempt, PROBE_EVENTS.accepted, SEGMENT_VERDICTS.syn.reason, split.atUs);
    } else if (errno !== undefined) {
      decide(row, PROBE_EVENTS.unsendable, `send-${errno.toLowerCase()}`, nowUs);
    } else {
      reckonDoubt(row);
      const doubt = watch.doubt[0];
      doubtOf[row] = doubt;
      counts.path.doubts += doubt;
      counts.path.silentTries += table.tries[row];
      const slot = decide(row, PROBE_EVENTS.exhausted, "no-response", nowUs);
      if (slot !== undefined) slot.doubt = doubt;
    }
  }

  function pollTimeout(nowUs: number): number {
    const sendAt =
      !abandoned && (queueLength > 0 || mayStart() || pilots?.waiting() === true)
        ? Math.max(pausedUntil, pacer.nextAt(nowUs))
        : Number.POSITIVE_INFINITY;
    return Math.min(
      sendAt,
      timers.next(),
      suspects.pending() > 0 ? (pilots?.nextExpiry() ?? sendAt) : sendAt,
    );
  }

  // --- receiving ---------------------------------------------------------------------------------------------------

  function handlePacket(b: Uint8Array, at: number, end: number, nowUs: number, ageUs = 0): void {
    counts.received++;
    const decoded = decoder.decode(b, at, end);
    if (decoded === "segment") handleSegment(b, nowUs, ageUs);
    else if (decoded === "icmp-error") handleIcmpError(b, nowUs, ageUs);
    else ignored[decoded]++;
  }

  function handleSegment(b: Uint8Array, nowUs: number, ageUs: number): void {
    if (pilots?.owns(reply.localPort) === true) {
      handlePilot(nowUs - ageUs);
      return;
    }
    const row = table.find(reply.peer, 0, reply.peerPort);
    const attempt = row < 0 ? -1 : tryOf(row);
    if (attempt < 0) {
      // The ISN proves an answer even when its row has been given up: one more to a probe that was answered.
      const own = isn(reply.local, 0, reply.peer, 0, reply.localPort, reply.peerPort);
      if (row < 0 && reply.acknowledgement === seqAdd(own, 1)) ignored.duplicate++;
      else ignored.foreign++;
      return;
    }
    const kind = segmentKind(reply.flags);
    if (kind === "odd") {
      ignored.oddFlags++;
      return;
    }
    if (kind === "syn") {
      holdSplitSyn(row, attempt, nowUs - ageUs);
      return;
    }
    if (reply.acknowledgement !== seqAdd(table.iss[columnOf(row, attempt)], 1)) {
      ignored.wrongAck++;
      return;
    }
    const { event, reason } = SEGMENT_VERDICTS[kind];
    const slot = answer(row, attempt, event, reason, nowUs, ageUs);
    if (slot === undefined) {
      noteRepeat(row, attempt, kind, nowUs - ageUs);
      return;
    }
    const host = learn(row, attempt, kind, nowUs, ageUs);
    if (kind !== "syn-ack") return;
    if (options.keepHandshakes === true) slot.handshake = handshakeOf(row, attempt, b);
    suspect(host, row, slot);
  }

  /** A try was answered for the first time: so much is known of its host, and of the tries before it. */
  function learn(
    row: number,
    attempt: number,
    kind: "syn-ack" | "reset",
    nowUs: number,
    ageUs: number,
  ): number {
    const host = hostIn(row, nowUs);
    const isOpen = kind === "syn-ack";
    answeredTry[row] = attempt + 1;
    regained[row] = 0;
    if (table.unsent[row] === 0 && attempt < ports.size) {
      for (let earlier = 0; earlier < attempt; earlier++) {
        watch.lost(host, table.sentAt, columnOf(row, earlier), tellsOfPath(row, earlier, isOpen));
        if (isOpen) counts.path.openLost++;
      }
    }
    const tells = tellsOfPath(row, attempt, isOpen);
    const timed = attempt < ports.size;
    watch.answered(host, table.sentAt, columnOf(row, attempt), nowUs, ageUs, tells, timed, attempt === 0);
    if (isOpen) {
      watch.foundOpen(table.sentAt, row);
      if (hosts.open[host] < 0xffff) hosts.open[host]++;
    } else if (hosts.closed[host] < 0xffff) hosts.closed[host]++;
    if (
      pilots !== undefined &&
      (pilots.known() < REMEMBER_EVERY * 4 || ++sinceRemembered >= REMEMBER_EVERY)
    ) {
      sinceRemembered = 0;
      if ((hosts.marks[host] & MARKS.paced) === 0) {
        const { peer, peerPort, path } = table;
        pilots.remember(peer, row * ADDRESS_WORDS, peerPort[row], path[row], host, isOpen);
      }
    }
    return host;
  }

  /** SYN-ACKs are not limited, resets may be. */
  const tellsOfPath = (row: number, attempt: number, isOpen: boolean): boolean =>
    isOpen || (apart[row] & (1 << attempt)) !== 0;

  /** One more answer for a port that has had its own: to an earlier try, it tells that this one was not lost, or only its answer. */
  function noteRepeat(row: number, attempt: number, kind: "syn-ack" | "reset", atUs: number): void {
    const bit = 1 << attempt;
    if (attempt + 1 >= answeredTry[row] || (regained[row] & bit) !== 0) return;
    regained[row] |= bit;
    const column = columnOf(row, attempt);
    if (kind === "syn-ack" && atUs - table.sentAt[column] > REPEAT_US) counts.path.openArrived++;
    else {
      watch.regained(hostOf[row], table.sentAt, column, tellsOfPath(row, attempt, kind === "syn-ack"));
      if (kind === "syn-ack") counts.path.openLost--;
    }
  }

  // --- pilots and canaries -------------------------------------------------------------------------------------------

  function handlePilot(atUs: number): void {
    const slot = pilots?.find(reply.peer, 0, reply.peerPort, reply.localPort) ?? -1;
    if (pilots === undefined || slot < 0) {
      const own = isn(reply.local, 0, reply.peer, 0, reply.localPort, reply.peerPort);
      if (reply.acknowledgement === seqAdd(own, 1)) ignored.duplicate++;
      else ignored.foreign++;
      return;
    }
    const kind = segmentKind(reply.flags);
    if (kind === "odd" || kind === "syn") ignored.oddFlags++;
    else if (reply.acknowledgement !== seqAdd(pilots.iss[slot], 1)) ignored.wrongAck++;
    else {
      if (pilots.isCanary[slot] === 0) {
        watch.pilotAnswered(pilots.host[slot], pilots.sentUs, slot, atUs);
      }
      endPilot(slot, kind);
    }
  }

  function expirePilots(nowUs: number): void {
    if (pilots === undefined) return;
    for (let slot = pilots.expired(nowUs); slot >= 0; slot = pilots.expired(nowUs)) {
      if (pilots.isCanary[slot] === 0) watch.pilotLost(pilots.sentUs, slot);
      endPilot(slot, undefined);
    }
  }

  function endPilot(slot: number, kind: "syn-ack" | "reset" | undefined): void {
    if (pilots === undefined) return;
    const host = pilots.host[slot];
    const isCanary = pilots.isCanary[slot] === 1;
    pilots.release(slot);
    if (!isCanary) return;
    const judged = suspects.hear(keyOf(pilots.words, slot * ADDRESS_WORDS), kind === "syn-ack");
    // Its entry may have changed hands meanwhile.
    if (judged === undefined || !hosts.holds(host, pilots.words, slot * ADDRESS_WORDS)) return;
    hosts.marks[host] |= judged.tarpit ? MARKS.tarpit : MARKS.honest;
  }

  const keyOf = (words: Uint32Array, at: number): string => words.subarray(at, at + ADDRESS_WORDS).join(":");

  /** A host with open ports and none closed is asked for ports that nobody serves; until it has answered, its open ports wait. */
  function suspect(host: number, row: number, slot: VerdictSlot): void {
    const marks = hosts.marks[host];
    if ((marks & MARKS.tarpit) !== 0) slot.answersAll = true;
    if (pilots === undefined || (marks & (MARKS.tarpit | MARKS.honest)) !== 0) return;
    if ((marks & MARKS.canaries) === 0) {
      if (hosts.open[host] < SUSPICIOUS || hosts.closed[host] > 0) return;
      hosts.marks[host] |= MARKS.canaries;
      const key = keyOf(table.peer, row * ADDRESS_WORDS);
      for (let i = 0; i < CANARIES; i++) {
        const port = CANARY_PORTS.first + random(CANARY_PORTS.last - CANARY_PORTS.first + 1);
        if (pilots.askCanary(table.peer, row * ADDRESS_WORDS, port, table.path[row], host)) suspects.ask(key);
      }
    }
    // It is the newest slot: it leaves the queue again.
    if (suspects.hold(keyOf(table.peer, row * ADDRESS_WORDS), slot)) verdictEnd--;
  }

  /**
   * The bare SYN of a simultaneous open acknowledges nothing, so it proves nothing but that somebody knows the try's port: it
   * counts only if all the tries end, nothing better has come, and a second try, from a port of its own, was answered likewise.
   * Our own SYN, back through loopback, and one that was there before ours are certainly no answer.
   */
  function holdSplitSyn(row: number, attempt: number, atUs: number): void {
    const own = isn(reply.peer, 0, reply.local, 0, reply.peerPort, reply.localPort) >>> 0;
    const held = splitSyns.get(row);
    if (reply.sequence === own || atUs < table.sentAt[columnOf(row, attempt)]) ignored.foreign++;
    else if (table.state[row] !== PROBE_STATES.synSent || held?.attempt === attempt) ignored.duplicate++;
    else if (held !== undefined) held.believed = ports.size > 1;
    else splitSyns.set(row, { attempt, atUs, ttl: reply.ttl, believed: maxTries === 1 && ports.size > 1 });
  }

  function handleIcmpError(b: Uint8Array, nowUs: number, ageUs: number): void {
    const row = table.find(reply.peer, 0, reply.peerPort);
    const attempt = row < 0 ? -1 : tryOf(row);
    if (attempt < 0 || table.iss[columnOf(row, attempt)] !== reply.sequence) {
      ignored.foreign++;
      return;
    }
    if (reply.reason === undefined) {
      ignored.icmpNoVerdict++;
      return;
    }
    const slot = answer(row, attempt, PROBE_EVENTS.rejected, reply.reason, nowUs, ageUs);
    if (slot === undefined) return;
    slot.responder = reply.responderLength === 4 ? slot.responder4 : slot.responder6;
    for (let i = 0; i < reply.responderLength; i++) slot.responder[i] = b[reply.responderAt + i];
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

  /** The last try of `row` that left from the reply's local address and port; -1 when none did. */
  function tryOf(row: number): number {
    if (!sameWords(localWords, table.path[row] * ADDRESS_WORDS, reply.local, 0)) return -1;
    const start = table.portStart[row];
    for (let attempt = table.tries[row] - 1; attempt >= 0; attempt--) {
      if (ports.portOf(start, attempt) === reply.localPort) return attempt;
    }
    return -1;
  }

  // --- verdicts ----------------------------------------------------------------------------------------------------

  /** Verdicts to hand over, from `verdictHead` to `verdictEnd`; the slots are used again when all are taken. */
  const slots: VerdictSlot[] = [];
  let verdictHead = 0;
  let verdictEnd = 0;

  /** An answer to `attempt` has come, `reply`, `ageUs` before `nowUs`. @returns the verdict, for what is to be added; undefined when it changed nothing */
  function answer(
    row: number,
    attempt: number,
    event: ProbeEvent,
    reason: Reason,
    nowUs: number,
    ageUs = 0,
  ): VerdictSlot | undefined {
    const atUs = nowUs - ageUs;
    const sentAt = table.sentAt[columnOf(row, attempt)];
    const slot = decide(row, event, reason, nowUs, ageUs);
    if (slot === undefined) {
      ignored.duplicate++;
      return undefined;
    }
    slot.ttl = reply.ttl;
    // Two tries from one port: which of them was answered cannot be told.
    if (attempt >= ports.size) return slot;
    slot.answered = attempt + 1;
    // Departures within one system call are spread over it: a round trip of less than that says "a microsecond at most".
    slot.rttUs = Math.max(1, atUs - sentAt);
    // Its time was over: another try has left since, or the verdict had fallen.
    slot.late = attempt + 1 < slot.tries || slot.was !== null;
    if (slot.late) counts.late++;
    return slot;
  }

  /** @returns the verdict, as of a port from which nothing came; undefined when the event changes nothing */
  function decide(
    row: number,
    event: ProbeEvent,
    reason: Reason,
    nowUs: number,
    ageUs = 0,
  ): VerdictSlot | undefined {
    const before = table.state[row] as ProbeState;
    const after = nextState(before, event);
    if (after === before) return undefined;
    table.state[row] = after;
    const first = before === PROBE_STATES.synSent;
    const state = portState(after);
    const slot = nextSlot();
    slot.position = table.position[row];
    for (let i = 0; i < ADDRESS_WORDS; i++) slot.peer[i] = table.peer[row * ADDRESS_WORDS + i];
    slot.path = table.path[row];
    slot.family = paths[slot.path].local.length === 4 ? 4 : 6;
    slot.port = table.peerPort[row];
    slot.state = state;
    slot.reason = reason;
    slot.rttUs = Number.NaN;
    slot.ttl = 0;
    slot.tries = table.tries[row] - table.unsent[row];
    slot.answered = 0;
    slot.responder = null;
    slot.late = false;
    slot.doubt = Number.NaN;
    slot.answersAll = false;
    slot.was = first ? null : portState(before);
    slot.atUs = nowUs - ageUs;
    slot.handshake = undefined;
    tally(state, reason, 1);
    if (first) settle(row, event);
    else {
      tally(portState(before), filterReasons[filteredBy[row]], -1);
      if (before === PROBE_STATES.silent) {
        counts.path.doubts -= doubtOf[row];
        counts.path.silentTries -= table.tries[row];
      }
    }
    if (state === "filtered") filteredBy[row] = internReason(reason);
    return slot;
  }

  /** Why each filtered row is: only those may still change. Numbers of `filterReasons`. */
  const filteredBy = new Uint8Array(options.capacity);
  const filterReasons: Reason[] = [];

  function internReason(reason: Reason): number {
    const known = filterReasons.indexOf(reason);
    return known >= 0 ? known : filterReasons.push(reason) - 1;
  }

  function tally(state: PortState, reason: Reason, change: number): void {
    counts.states[state] += change;
    const reasons = counts.reasons[state];
    reasons[reason] = (reasons[reason] ?? 0) + change;
  }

  /** Hosts whose canaries are under way, and their open ports. */
  const suspects = createSuspects();

  function nextSlot(): VerdictSlot {
    if (verdictEnd === slots.length) slots.push(newVerdictSlot());
    return slots[verdictEnd++];
  }

  /** An undecided row has its verdict: timer off, place free when needed. */
  function settle(row: number, event: ProbeEvent): void {
    timers.cancel(row);
    queued[row] = 0;
    if (refused.size > 0) refused.delete(row);
    if (splitSyns.size > 0) splitSyns.delete(row);
    table.linger(row, event === PROBE_EVENTS.accepted || event === PROBE_EVENTS.refused);
    undecided--;
    counts.decided++;
    if (counts.decided === total) {
      watch.finish();
      tellPath();
    }
  }

  return {
    counts,
    get total() {
      return total;
    },
    get done() {
      return counts.decided === total && suspects.pending() === 0;
    },
    get inFlight() {
      return undecided;
    },
    handlePacket,
    handleTimeout,
    pollTransmit,
    handleDeparture,
    handleRefusal,
    handleOverrun: watch.overrun,
    stalledUs: (nowUs) => (stalledSinceUs === undefined ? 0 : nowUs - stalledSinceUs),
    pollTimeout,
    lowestUndecided: () => {
      let lowest = suspects.lowestPosition();
      const touched = table.touched();
      for (let row = 0; row < touched; row++) {
        if (table.state[row] === PROBE_STATES.synSent) lowest = Math.min(lowest, table.position[row]);
      }
      return lowest;
    },
    pollVerdict: () => {
      const released = suspects.release();
      if (released !== undefined) return released;
      if (verdictHead < verdictEnd) return slots[verdictHead++];
      verdictHead = 0;
      verdictEnd = 0;
      // After a stall there may have been very many.
      if (slots.length > MOST_SLOTS) slots.length = MOST_SLOTS;
      return undefined;
    },
    abandon: () => {
      abandoned = true;
      suspects.giveUp();
    },
  };
}
