/**
 * Completes the handshakes of open ports: an Engine around an Engine. Where the inner one has seen a SYN+ACK, this one continues
 * with a control block: ACK, an optional wait for the server's banner, FIN both ways. It adds the outcome to the verdict.
 * Sans-I/O, like what it wraps.
 *
 * The kernel's own RST must be held back meanwhile (link/rst-rule.ts), or it would end each connection first. Not here:
 * the state machine (socket/control-block.ts).
 * Tested by test/sim/completion.test.ts.
 */
import { createBufferPool } from "../../socket/buffers.ts";
import type { ControlBlock } from "../../socket/connection.ts";
import { createControlBlock, DEFAULT_MSS } from "../../socket/control-block.ts";
import { RTO_OF_LINUX } from "../../socket/rto.ts";
import { type Ends, readSegment, resetFor, type Segment, writePacket } from "../../socket/segment.ts";
import { seqAdd } from "../../socket/sequence.ts";
import { storeAddress } from "../../socket/table.ts";
import { formatAddress } from "../../wire/address.ts";
import { segmentKind } from "../probe/classify.ts";
import { createReplyDecoder } from "../probe/reply-decoder.ts";
import type { Ending } from "../probe/result.ts";
import { MSS } from "../probe/syn-template.ts";
import { type Handshake, keepVerdict, type Verdict } from "../probe/verdict.ts";
import type { Path } from "../targets/probe-source.ts";
import type { EngineCounters } from "./counters.ts";
import type { Engine } from "./engine.ts";

export interface HandshakeOptions {
  readonly paths: readonly Path[];
  /** How long to wait for the server's first words, in microseconds; 0 not to. */
  readonly bannerUs: number;
  /** How long one connection may take from ESTABLISHED to its end, the banner's time aside, in microseconds. */
  readonly closeUs: number;
  /** Whether a local port is a control probe's (hosts/control-probes.ts), whose SYN-ACKs nobody goes on from. */
  readonly isControl?: (localPort: number) => boolean;
}

/** Bytes of a banner that are kept. */
export const MAX_BANNER = 1024;
/** A peer that sends more than this without closing is reset. */
const MAX_HEARD = 16_384;
/** Receive and send buffer of one connection, in bytes. */
const BUFFER_LENGTH = 2048;
/** Most connections at once. Further open ports wait: their hosts repeat the SYN+ACK for a while. */
const MAX_CONNECTIONS = 1024;
/** RSTs to strays that wait at once; further strays get none. A flood of them is not to be answered one for one. */
const MOST_STRAYS = 64;
/** While SYNs wait to be sent, one packet of this many is an RST to a stray. */
const PACKETS_PER_STRAY = 16;

interface Outgoing {
  readonly ends: Ends;
  readonly segment: Segment;
}

interface Connection {
  readonly key: string;
  readonly block: ControlBlock;
  readonly ends: Ends;
  readonly verdict: Verdict;
  readonly establishedUs: number;
  /** Until when to wait for a banner. */
  readonly bannerUntil: number;
  readonly giveUpAt: number;
  readonly banner: Uint8Array[];
  /** Bytes received, kept or not. */
  heard: number;
  closing: boolean;
}

export function createHandshakes(engine: Engine, options: HandshakeOptions): Engine {
  const { paths, isControl = () => false } = options;
  const counts: EngineCounters = engine.counts;
  const pool = createBufferPool(2 * BUFFER_LENGTH * MAX_CONNECTIONS);
  const decoder = createReplyDecoder();
  const { reply } = decoder;
  const connections = new Map<string, Connection>();
  const outbox = createFifo<Outgoing>();
  /** RSTs to SYN-ACKs that nobody waits for. */
  const strays = createFifo<Outgoing>();
  let untilStray = 0;
  const verdictQueue = createFifo<Verdict>();
  /** Open ports whose handshake waits for a free connection. */
  const waiting = createFifo<Verdict>();
  const waitingKeys = new Set<string>();
  /** SYN-ACKs whose verdicts the engine still holds back. */
  const heldKeys = new Set<string>();
  /** Tokens of the current round that are ours, not the engine's. */
  const ours = new Set<number>();

  /** Packets so far that proved nothing new. */
  const unproved = (): number => {
    const { ignored } = counts;
    return ignored.duplicate + ignored.foreign + ignored.wrongAck + ignored.oddFlags;
  };

  const keyOf = (peer: string, peerPort: number, localPort: number): string =>
    `${peer} ${peerPort} ${localPort}`;

  const handshakeKey = ({ port }: Verdict, { peer, localPort }: Handshake): string =>
    keyOf(formatAddress(peer), port, localPort);

  function handlePacket(b: Uint8Array, at: number, end: number, nowUs: number, ageUs = 0): void {
    const atUs = nowUs - ageUs;
    const isSegment = decoder.decode(b, at, end) === "segment";
    const connection = isSegment && connections.size > 0 ? connectionOf(b, at) : undefined;
    if (connection === undefined) {
      const before = unproved();
      engine.handlePacket(b, at, end, nowUs, ageUs);
      // A proved answer without a verdict: it waits until its host is known to be no tarpit (hosts/tarpits.ts).
      const isHeld = takeVerdicts(atUs) === 0 && unproved() === before;
      if (isSegment) refuseStray(b, at, isHeld);
      return;
    }
    counts.received++;
    const segment = readSegment(b, reply.segmentAt, reply.segmentEnd);
    if (segment === undefined) return;
    connection.block.handleSegment(segment, atUs);
    proceed(connection, atUs);
    takeVerdicts(atUs);
  }

  /** The connection that the decoded segment belongs to. */
  function connectionOf(b: Uint8Array, at: number): Connection | undefined {
    const length = b[at] >> 4 === 4 ? 4 : 16;
    const peer = formatAddress(storeAddress(reply.peer, 0, length));
    return connections.get(keyOf(peer, reply.peerPort, reply.localPort));
  }

  /**
   * A SYN+ACK that no connection takes (to another try, or to none) gets the RST that the kernel is kept from sending
   * (RFC 9293 §3.10.7.1), so that the peer does not wait for an ACK.
   */
  function refuseStray(b: Uint8Array, at: number, isHeld: boolean): void {
    if (strays.length >= MOST_STRAYS && !isHeld) return;
    if (segmentKind(reply.flags) !== "syn-ack") return;
    const length = b[at] >> 4 === 4 ? 4 : 16;
    const peer = storeAddress(reply.peer, 0, length);
    const key = keyOf(formatAddress(peer), reply.peerPort, reply.localPort);
    if (connections.has(key) || waitingKeys.has(key) || heldKeys.has(key)) return;
    if (isHeld && !isControl(reply.localPort)) {
      heldKeys.add(key);
      return;
    }
    const segment = readSegment(b, reply.segmentAt, reply.segmentEnd);
    if (segment === undefined) return;
    const local = storeAddress(reply.local, 0, length);
    const ends: Ends = {
      local,
      peer,
      localPort: reply.localPort,
      peerPort: reply.peerPort,
      ttl: paths[0].ttl,
    };
    for (const reset of resetFor(segment)) strays.push({ ends, segment: reset });
  }

  /** Takes the engine's verdicts: completes those that can be, hands on the others. @returns how many there were */
  function takeVerdicts(nowUs: number): number {
    let taken = 0;
    for (let verdict = engine.pollVerdict(); verdict !== undefined; verdict = engine.pollVerdict()) {
      taken++;
      const kept = keepVerdict(verdict);
      const { handshake } = kept;
      if (handshake !== undefined && heldKeys.size > 0) heldKeys.delete(handshakeKey(kept, handshake));
      // On this machine's own addresses the kernel answers first.
      if (handshake !== undefined && paths[kept.path].toSelf !== true) {
        waiting.push(kept);
        waitingKeys.add(handshakeKey(kept, handshake));
      } else verdictQueue.push(kept);
    }
    while (connections.size < MAX_CONNECTIONS) {
      const verdict = waiting.shift();
      if (verdict?.handshake === undefined) break;
      waitingKeys.delete(handshakeKey(verdict, verdict.handshake));
      if (!adopt(verdict, verdict.handshake, nowUs)) verdictQueue.push(verdict);
    }
    return taken;
  }

  function adopt(verdict: Verdict, handshake: Handshake, nowUs: number): boolean {
    const { peer, localPort, iss, sentUs, synAck } = handshake;
    const { local, ttl, mss } = paths[verdict.path];
    const family = local.length === 4 ? 4 : 6;
    const block = createControlBlock({
      iss,
      mss: mss ?? MSS[family],
      pool,
      bufferLength: BUFFER_LENGTH,
      synRetries: 0,
      retries: 10,
      mslUs: 0,
      defaultMss: DEFAULT_MSS[family],
      // A connection lives for seconds: with an RTO of one second at least, it would hardly send anything again.
      rto: RTO_OF_LINUX,
    });
    if (!block.open(sentUs)) return false;
    // The probe was this block's SYN.
    block.pollSegment(sentUs);
    block.handleSegment(synAck, nowUs);
    if (block.state === "CLOSED" || block.state === "SYN-SENT") {
      block.abort();
      return false;
    }
    const bannerUntil = nowUs + options.bannerUs;
    const connection: Connection = {
      key: handshakeKey(verdict, handshake),
      block,
      ends: { local, peer, localPort, peerPort: verdict.port, ttl },
      verdict,
      establishedUs: Math.max(1, verdict.atUs - sentUs),
      bannerUntil,
      giveUpAt: bannerUntil + options.closeUs,
      banner: [],
      heard: 0,
      closing: false,
    };
    connections.set(connection.key, connection);
    proceed(connection, nowUs);
    return true;
  }

  const hasBanner = (banner: readonly Uint8Array[]): boolean => banner.length > 0 && options.bannerUs > 0;

  /** Does what is next for a connection: read, close, end. */
  function proceed(connection: Connection, nowUs: number): void {
    const { block, banner } = connection;
    const bytes = block.read(BUFFER_LENGTH);
    connection.heard += bytes.length;
    if (bytes.length > 0 && connection.heard - bytes.length < MAX_BANNER) banner.push(bytes);
    let ending: Ending | undefined;
    let peerDone = false;
    for (let event = block.pollEvent(); event !== undefined; event = block.pollEvent()) {
      if (event === "peer-closed") peerDone = true;
      else if (event === "closed") ending = "fin";
      else if (event === "reset" || event === "refused") ending = "reset";
      else if (event === "timed-out") ending = "silent";
    }
    if (!connection.closing && (hasBanner(banner) || peerDone || nowUs >= connection.bannerUntil)) {
      connection.closing = true;
      // The ACK of the handshake goes by itself, before the FIN: some servers wait for it.
      collect(connection, nowUs);
      block.close();
      for (let event = block.pollEvent(); event !== undefined; event = block.pollEvent()) {
        if (event === "closed") ending = "fin";
      }
    }
    if (ending === undefined && connection.heard > MAX_HEARD) {
      ending = "no-fin";
      block.abort();
    }
    if (ending === undefined && nowUs >= connection.giveUpAt) {
      const { sndUna, iss } = block.view();
      ending = sndUna === seqAdd(iss, 1) && banner.length === 0 ? "silent" : "no-fin";
      block.abort();
    }
    collect(connection, nowUs);
    if (ending === undefined) return;
    connections.delete(connection.key);
    if (block.state !== "CLOSED") block.abort();
    tell(connection, ending);
  }

  function tell({ verdict, establishedUs, banner }: Connection, ending: Ending): void {
    const heard = hasBanner(banner) ? { banner: join(banner) } : {};
    verdictQueue.push({ ...verdict, completion: { establishedUs, ending, ...heard } });
  }

  function collect({ block, ends }: Connection, nowUs: number): void {
    for (let segment = block.pollSegment(nowUs); segment !== undefined; segment = block.pollSegment(nowUs)) {
      outbox.push({ ends, segment });
    }
  }

  function handleTimeout(nowUs: number): void {
    engine.handleTimeout(nowUs);
    takeVerdicts(nowUs);
    for (const connection of connections.values()) {
      if (nextOf(connection) > nowUs) continue;
      connection.block.handleTimeout(nowUs);
      proceed(connection, nowUs);
    }
  }

  const nextOf = ({ block, closing, bannerUntil, giveUpAt }: Connection): number =>
    Math.min(block.pollTimeout(), closing ? Number.POSITIVE_INFINITY : bannerUntil, giveUpAt);

  function takeStray(): Outgoing | undefined {
    untilStray = PACKETS_PER_STRAY;
    return strays.shift();
  }

  return {
    counts,
    get done() {
      return engine.done && connections.size + waiting.length + outbox.length + strays.length === 0;
    },
    handlePacket,
    handleTimeout,
    pollTransmit: (nowUs, out, at, token) => {
      let next = outbox.shift();
      if (next === undefined && --untilStray < 0) next = takeStray();
      if (next === undefined) {
        ours.delete(token);
        const length = engine.pollTransmit(nowUs, out, at, token);
        if (length > 0) return length;
        next = takeStray();
        if (next === undefined) return 0;
      }
      ours.add(token);
      return writePacket(out, at, next.ends, next.segment);
    },
    handleDeparture: (first, end, fromUs, toUs) => {
      const each = (toUs - fromUs) / (end - first);
      for (let token = first; token < end; token++) {
        const atUs = fromUs + (token - first) * each;
        if (!ours.has(token)) engine.handleDeparture(token, token + 1, atUs, atUs);
      }
    },
    handleOverrun: engine.handleOverrun,
    rateMetrics: engine.rateMetrics,
    hostFindings: engine.hostFindings,
    outages: engine.outages,
    bursts: engine.bursts,
    heldUp: engine.heldUp,
    stalledUs: engine.stalledUs,
    handleRefusal: (token, errno, nowUs) => {
      // A segment of a connection that could not be sent is as good as lost: its timer sends it again.
      if (ours.has(token)) return;
      engine.handleRefusal(token, errno, nowUs);
      takeVerdicts(nowUs);
    },
    pollTimeout: (nowUs) => {
      if (outbox.length + strays.length > 0) return nowUs;
      let next = engine.pollTimeout(nowUs);
      for (const connection of connections.values()) next = Math.min(next, nextOf(connection));
      return next;
    },
    get inFlight() {
      return engine.inFlight + connections.size + waiting.length;
    },
    lowestUndecided: () =>
      [...connections.values(), ...waiting.all().map((verdict) => ({ verdict }))].reduce(
        (lowest, { verdict }) => Math.min(lowest, verdict.position),
        engine.lowestUndecided(),
      ),
    pollVerdict: () => verdictQueue.shift(),
    abandon: (nowUs) => {
      engine.abandon(nowUs);
      takeVerdicts(nowUs);
      for (const connection of connections.values()) {
        connection.block.abort();
        collect(connection, nowUs);
        // What the server has said counts; a connection that might still say something has come to no end.
        if (hasBanner(connection.banner)) tell(connection, "no-fin");
        else verdictQueue.push(connection.verdict);
      }
      connections.clear();
      for (let verdict = waiting.shift(); verdict !== undefined; verdict = waiting.shift()) {
        verdictQueue.push(verdict);
      }
    },
  };
}

/** First in, first out: an array whose `shift` does not move what is left. */
interface Fifo<T> {
  readonly length: number;
  push(item: T): void;
  shift(): T | undefined;
  all(): readonly T[];
}

function createFifo<T>(): Fifo<T> {
  let items: T[] = [];
  let first = 0;
  return {
    get length() {
      return items.length - first;
    },
    push: (item) => {
      items.push(item);
    },
    shift: () => {
      if (first === items.length) return undefined;
      const item = items[first++];
      if (first > 1024 && first * 2 > items.length) {
        items = items.slice(first);
        first = 0;
      }
      return item;
    },
    all: () => items.slice(first),
  };
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole.subarray(0, MAX_BANNER);
}
