/**
 * TCP of the simulated hosts: the passive side (RFC 9293 §3.10.7), and the firewalls before it.
 *
 * Listening sockets are found by destination port (population.ts). A half-open connection is a row of numbers
 * (connections.ts); when the peer's ACK comes, a control block takes over (socket/control-block.ts).
 *
 * Not here: IP and ping (host.ts), options other than MSS, SYN cookies.
 */
import { createBufferPool } from "../socket/buffers.ts";
import { createControlBlock, DEFAULT_MSS } from "../socket/control-block.ts";
import { RTO_OF_LINUX } from "../socket/rto.ts";
import { type Ends, readSegment, writePacket } from "../socket/segment.ts";
import { seqAdd, seqDiff } from "../socket/sequence.ts";
import { storeAddress } from "../socket/table.ts";
import { u16 } from "../wire/bytes.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import * as tcp from "../wire/tcp.ts";
import { KIND } from "../wire/tcp-options.ts";
import { type AddressPair, HOST, PEER, writeIcmpError, writeSegment } from "./answer.ts";
import { type Connection, createConnection } from "./connection.ts";
import { CONNECTED, createConnections, HALF_OPEN } from "./connections.ts";
import { MAX_PACKET_LENGTH } from "./packets.ts";
import type { HostKind, PortKind } from "./population.ts";
import { hashAddress } from "./random.ts";

const { SYN, ACK, RST, FIN } = tcp.FLAGS;
const DECIDING = SYN | ACK | RST | FIN;

/** Buffer of each way of a connection, in bytes: the window it announces. */
const BUFFER_LENGTH = 8192;
const POOL_LIMIT = 64 << 20;
const MOST_ROWS = 1 << 18;
/** Retransmissions of data before a peer is given up. */
const RETRIES = 8;
/** Short: a lab's packets live no longer. */
const MSL_US = 1_000_000;
const TCP_HEADERS_4 = ipv4.HEADER_LENGTH + tcp.HEADER_LENGTH;
const TCP_HEADERS_6 = ipv6.HEADER_LENGTH + tcp.HEADER_LENGTH;

/** Salts of the ISN's two hashes. */
const ISN_HOST = 0x4953_4e31;
const ISN_PEER = 0x4953_4e32;

/** What TCP counts. */
export interface TcpCounts {
  /** RSTs and ICMP errors that a limit held back. */
  rstLimited: number;
  icmpLimited: number;
  /** SYNs that a full half-open queue dropped. */
  backlogDrops: number;
  /** SYN-ACKs sent again, and half-open connections given up. */
  synAckRepeats: number;
  abandoned: number;
  /** Handshakes that were completed. */
  accepted: number;
}

/** Takes `out[0, length)`, a packet that leaves a host of this kind. */
export type Emit = (kind: HostKind, out: Uint8Array, length: number, nowUs: number) => void;

export interface HostTcp {
  /**
   * A segment `b[at, end)` for the host of `pair`, in the packet that starts at `packetAt`.
   * @param pseudo the pseudo-header's sum
   * @returns false for a segment that cannot be read
   */
  handleSegment(
    kind: HostKind,
    b: Uint8Array,
    packetAt: number,
    at: number,
    end: number,
    pseudo: number,
    nowUs: number,
  ): boolean;
  handleTimeout(nowUs: number): void;
  pollTimeout(): number;
  /** Half-open and connected rows, and bytes of buffer memory reserved. */
  readonly held: { readonly halfOpen: number; readonly connected: number; readonly reserved: number };
}

/** @param pair the host that the packet in hand is for, and its sender; the caller fills it for every packet */
export function createHostTcp(pair: AddressPair, seed: number, counts: TcpCounts, emit: Emit): HostTcp {
  const out = new Uint8Array(MAX_PACKET_LENGTH);
  const rows = createConnections(MOST_ROWS);
  const pool = createBufferPool(POOL_LIMIT);
  /** Half-open connections of each listening socket with a bound; keyed by `socketKey`. */
  const waiting = new Map<number, number>();
  const router = new Uint32Array(8);

  function handleSegment(
    kind: HostKind,
    b: Uint8Array,
    packetAt: number,
    at: number,
    end: number,
    pseudo: number,
    nowUs: number,
  ): boolean {
    if (tcp.checkLength(b, at, end) === 0 || tcp.verifyChecksum(b, at, end, pseudo) === "bad") return false;
    const port = tcp.destinationPort(b, at);
    const ports = ((port << 16) | tcp.sourcePort(b, at)) >>> 0;
    const row = rows.find(pair, ports);
    if (row >= 0) {
      const connection = rows.connections[row];
      if (connection === undefined) inHalfOpen(row, b, at, end, nowUs);
      else inConnection(row, connection, b, at, end, nowUs);
      return true;
    }
    const flags = tcp.flags(b, at) & DECIDING;
    const portKind = kind.portKind(pair, HOST, port);
    if (portKind.state === "silent" || (flags & RST) !== 0) return true;
    if (portKind.icmp !== undefined) reject(kind, portKind.icmp, b, packetAt, end, nowUs);
    else if (portKind.state === "closed") refuse(kind, ports, b, at, end, nowUs);
    else if (portKind.service === "tarpit") {
      if ((flags & (SYN | ACK)) === SYN)
        sendSynAck(kind, ports, isnOf(ports, tcp.sequence(b, at)), tcp.sequence(b, at), nowUs);
    } else if ((flags & ACK) !== 0) {
      send(kind, ports, RST, tcp.acknowledgement(b, at), 0, 0, nowUs);
    } else if ((flags & SYN) !== 0) listen(kind, portKind, ports, b, at, nowUs);
    return true;
  }

  /** A segment without text from `pair`'s host to its peer. */
  function send(
    kind: HostKind,
    ports: number,
    flags: number,
    sequence: number,
    acknowledgement: number,
    window: number,
    nowUs: number,
  ): void {
    emit(
      kind,
      out,
      writeSegment(out, pair, ports, kind.ttl, flags, sequence, acknowledgement, window, 0),
      nowUs,
    );
  }

  function sendSynAck(kind: HostKind, ports: number, iss: number, irs: number, nowUs: number): void {
    const next = seqAdd(irs, 1);
    const mss = mssOf(kind);
    emit(
      kind,
      out,
      writeSegment(out, pair, ports, kind.ttl, SYN | ACK, iss, next, BUFFER_LENGTH, mss),
      nowUs,
    );
  }

  const mssOf = ({ length }: HostKind): number =>
    MAX_PACKET_LENGTH - (length === 4 ? TCP_HEADERS_4 : TCP_HEADERS_6);

  /** RFC 6528's idea: a hash of the 4-tuple, and of the peer's ISN in place of a clock. */
  const isnOf = (ports: number, irs: number): number =>
    hashAddress(hashAddress(seed, ISN_HOST, pair, HOST, ports), ISN_PEER, pair, PEER, irs);

  function reject(
    kind: HostKind,
    [type, code]: readonly [number, number],
    b: Uint8Array,
    at: number,
    end: number,
    nowUs: number,
  ): void {
    let sender = pair;
    if (kind.router !== undefined) {
      router.set(kind.router, HOST);
      for (let i = 0; i < 4; i++) router[PEER + i] = pair[PEER + i];
      sender = router;
    }
    if (kind.icmpLimits !== undefined && !kind.icmpLimits.take(sender, HOST, nowUs)) {
      counts.icmpLimited++;
      return;
    }
    emit(kind, out, writeIcmpError(out, sender, kind.ttl, type, code, b, at, end), nowUs);
  }

  /** Nothing listens (§3.10.7.1). */
  function refuse(
    kind: HostKind,
    ports: number,
    b: Uint8Array,
    at: number,
    end: number,
    nowUs: number,
  ): void {
    if (kind.rstLimits !== undefined && !kind.rstLimits.take(pair, HOST, nowUs)) {
      counts.rstLimited++;
      return;
    }
    const flags = tcp.flags(b, at);
    if ((flags & ACK) !== 0) {
      send(kind, ports, RST, tcp.acknowledgement(b, at), 0, 0, nowUs);
      return;
    }
    const length =
      end - at - tcp.headerLength(b, at) + ((flags & SYN) !== 0 ? 1 : 0) + ((flags & FIN) !== 0 ? 1 : 0);
    send(kind, ports, RST | ACK, 0, seqAdd(tcp.sequence(b, at), length), 0, nowUs);
  }

  // --- half-open connections -----------------------------------------------------------------------------------------------

  /** A SYN for a listening socket (§3.10.7.2). Data on it is not acknowledged, so the peer sends it again. */
  function listen(
    kind: HostKind,
    portKind: PortKind,
    ports: number,
    b: Uint8Array,
    at: number,
    nowUs: number,
  ): void {
    if (kind.backlog !== Number.POSITIVE_INFINITY) {
      const key = socketKey(pair, HOST, ports);
      const count = waiting.get(key) ?? 0;
      if (count >= kind.backlog) {
        counts.backlogDrops++;
        return;
      }
      waiting.set(key, count + 1);
    }
    if (rows.full) dropOldest(rows.oldest(HALF_OPEN) >= 0 ? HALF_OPEN : CONNECTED, nowUs);
    const row = rows.insert(pair, ports);
    rows.kinds[row] = kind;
    rows.portKinds[row] = portKind;
    const { columns } = rows;
    const irs = tcp.sequence(b, at);
    columns.irs[row] = irs;
    columns.iss[row] = isnOf(ports, irs);
    columns.mss[row] = findMss(b, at + tcp.OPTIONS, at + tcp.headerLength(b, at));
    columns.window[row] = tcp.window(b, at);
    columns.firstAt[row] = nowUs;
    rows.arm(row, nowUs + kind.synAckTimeoutUs);
    sendSynAck(kind, ports, columns.iss[row], irs, nowUs);
  }

  /** Makes room: drops the row that has been idle longest. A connection's peer gets a RST. */
  function dropOldest(list: typeof HALF_OPEN | typeof CONNECTED, nowUs: number): void {
    const row = rows.oldest(list);
    const connection = rows.connections[row];
    counts.abandoned++;
    if (connection === undefined) forget(row);
    else {
      connection.block.abort();
      goOn(row, connection, nowUs);
    }
  }

  /** Drops a half-open connection. */
  function forget(row: number): void {
    leaveQueue(row, kindOf(row));
    rows.remove(row);
  }

  /** A row is half-open no more. */
  function leaveQueue(row: number, kind: HostKind): void {
    if (kind.backlog === Number.POSITIVE_INFINITY) return;
    const key = socketKey(rows.columns.pairs, 8 * row, rows.columns.ports[row]);
    const count = (waiting.get(key) ?? 0) - 1;
    if (count > 0) waiting.set(key, count);
    else waiting.delete(key);
  }

  /** SYN-RECEIVED (§3.10.7.4), without a control block. */
  function inHalfOpen(row: number, b: Uint8Array, at: number, end: number, nowUs: number): void {
    const { columns } = rows;
    const kind = kindOf(row);
    const ports = columns.ports[row];
    const flags = tcp.flags(b, at) & DECIDING;
    const sequence = tcp.sequence(b, at);
    const next = seqAdd(columns.irs[row], 1);
    const offset = seqDiff(sequence, next);
    const inWindow = offset >= 0 && offset < BUFFER_LENGTH;
    if ((flags & RST) !== 0) {
      // RFC 5961 §3.2. A prober's kernel sends this: it knows nothing of the SYN.
      if (offset === 0) forget(row);
      else if (inWindow) challenge(row, nowUs);
      return;
    }
    if ((flags & SYN) !== 0) {
      // The peer has not heard our SYN-ACK; or an old duplicate: its sender will say so (§3.5, figure 8).
      if ((flags & ACK) === 0 && offset === -1)
        sendSynAck(kind, ports, columns.iss[row], columns.irs[row], nowUs);
      else challenge(row, nowUs);
      return;
    }
    if ((flags & ACK) === 0) return;
    const acknowledgement = tcp.acknowledgement(b, at);
    if (acknowledgement !== seqAdd(columns.iss[row], 1)) send(kind, ports, RST, acknowledgement, 0, 0, nowUs);
    else if (!inWindow) challenge(row, nowUs);
    else establish(row, b, at, end, nowUs);
  }

  function challenge(row: number, nowUs: number): void {
    const { columns } = rows;
    const next = seqAdd(columns.irs[row], 1);
    send(kindOf(row), columns.ports[row], ACK, seqAdd(columns.iss[row], 1), next, BUFFER_LENGTH, nowUs);
  }

  function kindOf(row: number): HostKind {
    const kind = rows.kinds[row];
    if (kind === undefined) throw new Error("a row without a host");
    return kind;
  }

  /** The peer's ACK: a control block takes over from the row. */
  function establish(row: number, b: Uint8Array, at: number, end: number, nowUs: number): void {
    const { columns } = rows;
    const kind = kindOf(row);
    const portKind = rows.portKinds[row];
    if (portKind === undefined) throw new Error("a row without a port");
    const block = createControlBlock({
      iss: columns.iss[row],
      mss: mssOf(kind),
      pool,
      bufferLength: BUFFER_LENGTH,
      synRetries: 0,
      retries: RETRIES,
      mslUs: MSL_US,
      defaultMss: DEFAULT_MSS[kind.length === 4 ? 4 : 6],
      rto: RTO_OF_LINUX,
    });
    const firstAt = columns.firstAt[row];
    const syn = {
      sequence: columns.irs[row],
      acknowledgement: 0,
      flags: SYN,
      window: columns.window[row],
      mss: columns.mss[row],
      text: new Uint8Array(0),
    };
    while (!block.accept(syn, firstAt)) dropOldest(CONNECTED, nowUs);
    // Its SYN-ACK has gone already, and its round trip counts from the first one.
    block.pollSegment(firstAt);
    const connection = createConnection(block, endsOf(kind, pair, columns.ports[row]), portKind);
    rows.connections[row] = connection;
    leaveQueue(row, kind);
    counts.accepted++;
    inConnection(row, connection, b, at, end, nowUs);
  }

  // --- connections -----------------------------------------------------------------------------------------------------------

  function inConnection(
    row: number,
    connection: Connection,
    b: Uint8Array,
    at: number,
    end: number,
    nowUs: number,
  ): void {
    const segment = readSegment(b, at, end);
    if (segment === undefined) return;
    connection.block.handleSegment(segment, nowUs);
    rows.touch(row, CONNECTED);
    goOn(row, connection, nowUs);
  }

  /** Runs the application, sends what is due, and sets the row's next deadline. */
  function goOn(row: number, { block, ends, serve }: Connection, nowUs: number): void {
    const kind = kindOf(row);
    serve();
    for (let s = block.pollSegment(nowUs); s !== undefined; s = block.pollSegment(nowUs)) {
      emit(kind, out, writePacket(out, 0, ends, s), nowUs);
    }
    if (block.state === "CLOSED") rows.remove(row);
    else rows.arm(row, block.pollTimeout());
  }

  function handleTimeout(nowUs: number): void {
    for (let row = rows.expire(nowUs); row >= 0; row = rows.expire(nowUs)) {
      const connection = rows.connections[row];
      if (connection === undefined) repeatSynAck(row, nowUs);
      else {
        connection.block.handleTimeout(nowUs);
        goOn(row, connection, nowUs);
      }
    }
  }

  function repeatSynAck(row: number, nowUs: number): void {
    const { columns } = rows;
    const kind = kindOf(row);
    if (columns.repeats[row] >= kind.synAckRetries) {
      counts.abandoned++;
      forget(row);
      return;
    }
    counts.synAckRepeats++;
    columns.repeats[row]++;
    rows.arm(row, nowUs + kind.synAckTimeoutUs * 2 ** columns.repeats[row]);
    for (let i = 0; i < 8; i++) pair[i] = columns.pairs[8 * row + i];
    sendSynAck(kind, columns.ports[row], columns.iss[row], columns.irs[row], nowUs);
  }

  return {
    handleSegment,
    handleTimeout,
    pollTimeout: () => rows.next(),
    get held() {
      return {
        halfOpen: rows.count(HALF_OPEN),
        connected: rows.count(CONNECTED),
        reserved: pool.reserved,
      };
    },
  };
}

const endsOf = ({ length, ttl }: HostKind, pair: Uint32Array, ports: number): Ends => ({
  local: storeAddress(pair, HOST, length),
  peer: storeAddress(pair, PEER, length),
  localPort: ports >>> 16,
  peerPort: ports & 0xffff,
  ttl,
});

/** A listening socket as one number: 53 bits of hash. */
function socketKey(words: Uint32Array, at: number, ports: number): number {
  const port = ports >>> 16;
  return hashAddress(1, 0, words, at, port) * 0x20_0000 + (hashAddress(2, 0, words, at, port) >>> 11);
}

/** The MSS option's value among the options `b[at, end)`; 0 when there is none. */
function findMss(b: Uint8Array, at: number, end: number): number {
  for (let i = at; i < end && b[i] !== KIND.END_OF_LIST; ) {
    if (b[i] === KIND.NOP) i++;
    else if (i + 1 >= end || b[i + 1] < 2) return 0;
    else if (b[i] === KIND.MSS && b[i + 1] === 4 && i + 4 <= end) return u16(b, i + 2);
    else i += b[i + 1];
  }
  return 0;
}
