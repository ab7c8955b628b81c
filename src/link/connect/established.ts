/**
 * Connections that the kernel has established while an engine completes handshakes: what the peer sends is handed to the engine as
 * segments, one at a time, and the engine's FIN and RST become the kernel's. What is acknowledged, sent again or too much is the
 * kernel's own business.
 */
import { u32 } from "../../wire/bytes.ts";
import * as tcp from "../../wire/tcp.ts";
import {
  familyOf,
  ipLength,
  issOf,
  localPortOf,
  MOST_TEXT,
  peerAt,
  peerPortOf,
  SYN_LENGTH,
} from "./answers.ts";
import { type Connector, READ } from "./connector.ts";

const { FLAGS } = tcp;

export interface EstablishedOptions {
  readonly connector: Connector;
  /** How long a connection may stay, in microseconds. */
  readonly stayUs: number;
  /** The SYN of each slot, SYN_LENGTH bytes apart. */
  readonly syns: Uint8Array;
  /** Hands a segment of a slot's peer to the engine. */
  emit(slot: number, flags: number, sequence: number, acknowledgement: number, text?: Uint8Array): void;
  /** The slot is at nothing again. */
  onEnd(slot: number): void;
}

export interface Established {
  add(slot: number, nowUs: number): void;
  /** Something may have happened to a slot's connection. */
  changed(slot: number): void;
  /** Takes a segment of the engine's, in the IP packet `b[at, end)`. One of no connection is dropped. */
  handle(b: Uint8Array, at: number, end: number): void;
  /** Ends what has stayed too long. */
  expire(nowUs: number): void;
  nextUs(): number;
}

interface Connection {
  readonly slot: number;
  readonly untilUs: number;
  /** Next sequence number of the peer's, and of ours that it has acknowledged. */
  peerNext: number;
  acknowledged: number;
  /** Whether the engine has taken what was handed to it. */
  isTaken: boolean;
  finSent: boolean;
  /** Whether the engine has been told that our FIN has arrived. */
  finTold: boolean;
  peerEnded: boolean;
}

/** The peer's own initial sequence number is the kernel's secret. */
const PEER_ISS = 0;

export function createEstablished(options: EstablishedOptions): Established {
  const { connector, stayUs, syns, emit, onEnd } = options;
  /** In the order in which they have to end: each may stay for the same time. */
  const bySlot = new Map<number, Connection>();
  const byEnds = new Map<string, Connection>();
  /** Those with something for the engine that it is not to be told while it sends. */
  const pending = new Set<Connection>();
  const text = new Uint8Array(MOST_TEXT);

  const endsOf = (b: Uint8Array, at: number): string => {
    const peer = peerAt(b, at);
    const address = b.subarray(peer, peer + (familyOf(b, at) === 4 ? 4 : 16)).join(".");
    return `${address} ${peerPortOf(b, at)} ${localPortOf(b, at)}`;
  };

  function end(connection: Connection): void {
    const { slot } = connection;
    bySlot.delete(slot);
    pending.delete(connection);
    byEnds.delete(endsOf(syns, slot * SYN_LENGTH));
    connector.end(slot);
    onEnd(slot);
  }

  function tell(connection: Connection, flags: number, bytes?: Uint8Array): void {
    const { slot, peerNext, acknowledged } = connection;
    const length = (bytes?.length ?? 0) + ((flags & (FLAGS.SYN | FLAGS.FIN)) === 0 ? 0 : 1);
    connection.peerNext = (peerNext + length) >>> 0;
    emit(slot, flags | FLAGS.ACK, peerNext, acknowledged, bytes);
  }

  /** Both sides have ended, and both know. */
  const isOver = ({ finTold, peerEnded, isTaken }: Connection): boolean => finTold && peerEnded && isTaken;

  /** Hands over the acknowledgement of our FIN, and then what the peer has sent since, if the engine has taken what came before. */
  function proceed(connection: Connection): void {
    const { slot } = connection;
    if (connection.finSent && !connection.finTold && connector.isFinished(slot)) {
      connection.finTold = true;
      connection.acknowledged = (connection.acknowledged + 1) >>> 0;
      tell(connection, 0);
    }
    if (isOver(connection)) end(connection);
    if (!connection.isTaken || connection.peerEnded || bySlot.get(slot) !== connection) return;
    const length = connector.read(slot, text);
    if (length === READ.nothing) return;
    if (length === READ.reset) {
      tell(connection, FLAGS.RST);
      end(connection);
      return;
    }
    connection.isTaken = false;
    connection.peerEnded = length === 0;
    tell(connection, length > 0 ? FLAGS.PSH : FLAGS.FIN, text.slice(0, length));
  }

  return {
    add: (slot, nowUs) => {
      const iss = issOf(syns, slot * SYN_LENGTH);
      const connection: Connection = {
        slot,
        untilUs: nowUs + stayUs,
        peerNext: PEER_ISS,
        acknowledged: (iss + 1) >>> 0,
        isTaken: false,
        finSent: false,
        finTold: false,
        peerEnded: false,
      };
      bySlot.set(slot, connection);
      byEnds.set(endsOf(syns, slot * SYN_LENGTH), connection);
      tell(connection, FLAGS.SYN);
    },
    changed: (slot) => {
      const connection = bySlot.get(slot);
      if (connection !== undefined) proceed(connection);
    },
    handle: (b, at, end_) => {
      const connection = byEnds.get(endsOf(b, at));
      if (connection === undefined) return;
      const segment = at + ipLength(b, at);
      if (segment + tcp.HEADER_LENGTH > end_) return;
      const flags = tcp.flags(b, segment);
      if ((flags & FLAGS.RST) !== 0) {
        end(connection);
        return;
      }
      if ((flags & FLAGS.ACK) !== 0 && u32(b, segment + tcp.ACKNOWLEDGEMENT) === connection.peerNext) {
        connection.isTaken = true;
      }
      if ((flags & FLAGS.FIN) !== 0 && !connection.finSent) {
        connection.finSent = true;
        connector.finish(connection.slot);
      }
      if (isOver(connection)) end(connection);
      else pending.add(connection);
    },
    expire: (nowUs) => {
      for (const connection of [...pending]) {
        pending.delete(connection);
        proceed(connection);
      }
      for (const connection of bySlot.values()) {
        if (connection.untilUs > nowUs) break;
        end(connection);
      }
    },
    nextUs: () => {
      if (pending.size > 0) return Number.NEGATIVE_INFINITY;
      for (const { untilUs } of bySlot.values()) return untilUs;
      return Number.POSITIVE_INFINITY;
    },
  };
}
