/**
 * Link without privilege: the kernel does the handshake. For each SYN of the engine a socket connects, and what comes of it goes back
 * as the packet that would have come (answers.ts). The source ports that the engine sees are its own; the kernel's are others.
 *
 * A connect is ended when its pair is decided, and after `holdUs` at the latest: before the kernel would send its SYN a second time,
 * so that each SYN on the wire is one of the engine's. A connection is reset at once, unless the engine completes handshakes:
 * then it stays, and segments are translated both ways (established.ts).
 *
 * Sockets are few: `undecided` says for how many SYNs there is room.
 */
import { u32 } from "../../wire/bytes.ts";
import { FLAGS } from "../../wire/tcp.ts";
import type { Link, PacketHandler, TransmitBatch, Undecided } from "../link.ts";
import {
  createAnswerWriter,
  familyOf,
  ipLength,
  issOf,
  localPortOf,
  peerAt,
  peerPortOf,
  SYN_LENGTH,
} from "./answers.ts";
import type { Connector, Outcomes } from "./connector.ts";
import { createEstablished } from "./established.ts";

export interface ConnectLinkOptions {
  readonly connector: Connector;
  /** Most sockets at once, 1 or more: the connector's. */
  readonly slots: number;
  /** How long a connect may take, in microseconds. */
  readonly holdUs: number;
  /** How long an established connection may stay, in microseconds; 0 to reset each at once. */
  readonly stayUs: number;
  /** A clock in microseconds, of any origin. */
  nowUs(): number;
  /** How long this thread has had nothing to do since it started, in microseconds. */
  idleUs(): number;
}

export interface ConnectLink extends Link {
  readonly undecided: Undecided;
}

const SLOTS = 64;
const SLOT_LENGTH = 128;
/** With no descriptor to be had, no more are asked for during this long, in microseconds. */
const PAUSE_US = 1_000_000;
const NONE = -1;
const PORTS = 65_536;

export function createConnectLink(options: ConnectLinkOptions): ConnectLink {
  const { connector, slots, holdUs, stayUs, nowUs, idleUs } = options;
  const batch: TransmitBatch = {
    data: new Uint8Array(SLOTS * SLOT_LENGTH),
    lengths: new Uint16Array(SLOTS),
    slots: SLOTS,
    slotLength: SLOT_LENGTH,
    offset: 0,
  };
  const { data, lengths } = batch;
  const syns = new Uint8Array(slots * SYN_LENGTH);
  const startedUs = new Float64Array(slots);
  /** Slots that connect, oldest first, as a ring through the one past the last. */
  const next = new Int32Array(slots + 1).fill(slots);
  const before = new Int32Array(slots + 1).fill(slots);
  /** Of each pair, the latest try's slot; and of that, the one before. */
  const latest = new Map<number | string, number>();
  const older = new Int32Array(slots).fill(NONE);
  const free: Readonly<Record<4 | 6, number[]>> = { 4: [], 6: [] };
  /** Slots without a socket, and how many of them may have one. */
  const unopened: number[] = [];
  let mayOpen = slots;
  let pausedUntilUs = 0;
  const writer = createAnswerWriter();
  /** When outcomes were last asked for, how long the thread had been idle then, and how long it had worked since the time before. */
  let pollUs = nowUs();
  let pastIdleUs = idleUs();
  let workUs = 0;
  /** The shortest time that a connect took. */
  let leastUs = Number.POSITIVE_INFINITY;
  let handler: PacketHandler = () => {};
  let sendError = "";

  const established = createEstablished({
    connector,
    stayUs,
    syns,
    emit: (slot, flags, sequence, acknowledgement, text) => {
      const end = writer.segment(syns, slot * SYN_LENGTH, flags, sequence, acknowledgement, text);
      handler(writer.bytes, 0, end, (flags & FLAGS.SYN) === 0 ? 0 : ageOf(slot));
    },
    onEnd: giveBack,
  });

  for (let slot = slots - 1; slot >= 0; slot--) giveBack(slot);

  function room(): number {
    if (mayOpen < slots && nowUs() >= pausedUntilUs) mayOpen = slots;
    const opened = slots - unopened.length;
    return free[4].length + free[6].length + Math.max(0, mayOpen - opened);
  }

  function take(family: 4 | 6): number {
    const own = free[family].pop();
    if (own !== undefined) return own;
    const opened = slots - unopened.length;
    const fresh = opened < mayOpen ? unopened.pop() : undefined;
    return fresh ?? free[family === 4 ? 6 : 4].pop() ?? NONE;
  }

  function giveBack(slot: number): void {
    if (connector.has(slot, 4)) free[4].push(slot);
    else if (connector.has(slot, 6)) free[6].push(slot);
    else unopened.push(slot);
  }

  function keyAt(slot: number): number | string {
    const at = slot * SYN_LENGTH;
    return keyOf(familyOf(syns, at), syns, peerAt(syns, at), peerPortOf(syns, at));
  }

  function begin(from: number): string {
    const family = familyOf(data, from);
    const slot = take(family);
    if (slot === NONE) return "EMFILE";
    const peer = peerAt(data, from);
    const said = connector.begin(slot, family, data, peer, peerPortOf(data, from));
    if (said !== "") {
      giveBack(slot);
      if (said === "EMFILE" || said === "ENFILE") {
        mayOpen = slots - unopened.length;
        pausedUntilUs = nowUs() + PAUSE_US;
      }
      return said;
    }
    const at = slot * SYN_LENGTH;
    const headers = ipLength(data, from) + SYN_LENGTH - 40;
    for (let i = 0; i < headers; i++) syns[at + i] = data[from + i];
    const key = keyAt(slot);
    older[slot] = latest.get(key) ?? NONE;
    latest.set(key, slot);
    startedUs[slot] = nowUs();
    const last = before[slots];
    next[last] = slot;
    before[slot] = last;
    next[slot] = slots;
    before[slots] = slot;
    return "";
  }
  /** Takes a slot out of those that connect. */
  function settle(slot: number): void {
    next[before[slot]] = next[slot];
    before[next[slot]] = before[slot];
    const key = keyAt(slot);
    const newest = latest.get(key) ?? NONE;
    if (newest === slot) {
      if (older[slot] === NONE) latest.delete(key);
      else latest.set(key, older[slot]);
    } else {
      let at = newest;
      while (at !== NONE && older[at] !== slot) at = older[at];
      if (at !== NONE) older[at] = older[slot];
    }
    older[slot] = NONE;
  }

  function end(slot: number): void {
    settle(slot);
    connector.end(slot);
    giveBack(slot);
  }

  /**
   * How long ago the outcome came. Sockets do not tell: it may have waited for as long as this thread was at work since the last
   * look, which, taken for the path's, would look like a queue. No answer is quicker than the quickest.
   */
  function ageOf(slot: number): number {
    const tookUs = pollUs - startedUs[slot];
    leastUs = Math.min(leastUs, tookUs);
    return Math.max(0, Math.min(tookUs - leastUs, workUs)) | 0;
  }

  /** Hands over a segment of the peer, and ends the connect. */
  function answer(slot: number, flags: number): void {
    const at = slot * SYN_LENGTH;
    const length = writer.segment(syns, at, flags | FLAGS.ACK, 0, (issOf(syns, at) + 1) >>> 0);
    end(slot);
    handler(writer.bytes, 0, length, ageOf(slot));
  }

  const outcomes: Outcomes = {
    connected: (slot) => {
      if (stayUs === 0) answer(slot, FLAGS.SYN);
      else {
        settle(slot);
        established.add(slot, nowUs());
      }
    },
    refused: (slot) => answer(slot, FLAGS.RST),
    unreachable: (slot, error) => {
      const length = writer.unreachable(syns, slot * SYN_LENGTH, error);
      end(slot);
      handler(writer.bytes, 0, length, ageOf(slot));
    },
    lost: end,
    changed: established.changed,
  };

  function expire(): void {
    const now = nowUs();
    for (let slot = next[slots]; slot !== slots && now - startedUs[slot] >= holdUs; slot = next[slots])
      end(slot);
    established.expire(now);
  }

  return {
    name: "connect",
    batch,
    send: (first, count) => {
      for (let i = first; i < first + count; i++) {
        const at = i * SLOT_LENGTH;
        const flags = data[at + ipLength(data, at) + 13];
        if ((flags & (FLAGS.SYN | FLAGS.ACK | FLAGS.RST)) !== FLAGS.SYN) {
          established.handle(data, at, at + lengths[i]);
          continue;
        }
        const said = begin(at);
        if (said === "") continue;
        sendError = said;
        return i - first;
      }
      return count;
    },
    get sendError() {
      return sendError;
    },
    listen: (wanted, onReadable) => {
      handler = wanted;
      connector.onReadable(onReadable);
    },
    drain: () => {
      const now = nowUs();
      const idle = idleUs();
      workUs = now - pollUs - (idle - pastIdleUs);
      pollUs = now;
      pastIdleUs = idle;
      const isEmpty = connector.poll(outcomes);
      // However late it is, what has come is told.
      if (isEmpty) expire();
      return isEmpty;
    },
    receiveDrops: () => 0,
    receiveBuffer: 0,
    undecided: {
      room,
      nextInUs: () => {
        const oldest = next[slots];
        const expiry = oldest === slots ? Number.POSITIVE_INFINITY : startedUs[oldest] + holdUs - nowUs();
        return Math.max(0, Math.min(expiry, established.nextUs() - nowUs()));
      },
      decided: (peer, family, port, isOther) => {
        const key = family === 4 ? peer[3] * PORTS + port : wordsKey(peer, port);
        for (let slot = latest.get(key) ?? NONE; slot !== NONE; ) {
          const past = older[slot];
          if (!isOther(localPortOf(syns, slot * SYN_LENGTH))) end(slot);
          slot = past;
        }
      },
    },
    close: () => connector.close(),
  };
}

const wordsKey = (words: Uint32Array, port: number): string =>
  `${words[0]} ${words[1]} ${words[2]} ${words[3]} ${port}`;

function keyOf(family: 4 | 6, b: Uint8Array, at: number, port: number): number | string {
  return family === 4
    ? u32(b, at) * PORTS + port
    : `${u32(b, at)} ${u32(b, at + 4)} ${u32(b, at + 8)} ${u32(b, at + 12)} ${port}`;
}
