/**
 * Link over raw IP sockets: whole IP packets out (IP_HDRINCL, so every header byte is ours), TCP segments and ICMP errors
 * in. The kernel routes packets and resolves neighbours; it fragments none. Loopback and this machine's own addresses work.
 *
 * Three sockets per IP version, opened only when it is used: one that sends (IPPROTO_RAW), one that receives TCP, one that
 * receives ICMP; the latter two have a BPF filter for the run's source ports. Not here: what to send (the
 * caller's), routes (route.ts), and how the kernel's own RST is held back.
 */

import { ERROR_CODES, SynprobeError } from "../errors.ts";
import type { Address } from "../wire/address.ts";
import { putU16 } from "../wire/bytes.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import {
  type Instruction,
  icmp4Filter,
  icmp6Filter,
  type PortRange,
  tcp4Filter,
  tcp6Filter,
} from "./filter.ts";
import { createRangeFinder, type PinnedRange } from "./hops.ts";
import type { Link, PacketHandler } from "./link.ts";
import { ageOf, errno, LITTLE_ENDIAN, realtimeUs } from "./sys/libc.ts";
import {
  IP_RECVERR,
  IPV6_CHECKSUM,
  IPV6_RECVERR,
  IPV6_RECVHOPLIMIT,
  IPV6_RECVPKTINFO,
  SO_BINDTODEVICE,
  SO_MEMINFO,
  SO_SNDBUF,
  SO_TIMESTAMPNS,
  SOL_IP,
  SOL_IPV6,
  SOL_RAW,
  SOL_SOCKET,
} from "./sys/linux.ts";
import { createReceiveBatch, createSendBatch, HEADROOM } from "./sys/messages.ts";
import {
  getOptionBytes,
  openRawSocket,
  PROTOCOLS,
  type RawSocket,
  setOption,
  trySetOption,
} from "./sys/raw-socket.ts";
import { attachFilter, bindToSource, raiseReceiveBuffer } from "./sys/socket.ts";

/** Words of SO_MEMINFO (linux/sock_diag.h), and the one that counts drops. */
const SK_MEMINFO_VARS = 9;
const SK_MEMINFO_DROPS = 8;

const SLOTS = 64;
const SLOT_LENGTH = 128;
const RECEIVE_SLOTS = 64;
/** Batches read before the event loop gets its turn: a flood of replies must not starve sending. */
const BATCHES_PER_TURN = 16;
export interface RawIpOptions {
  readonly families: readonly (4 | 6)[];
  /** Source ports of the run: what the filters let through. */
  readonly ports: PortRange;
  /** Send and receive through this interface only. */
  readonly interfaceName?: string;
  /** Index of the interface on which link-local destinations are meant. */
  readonly scope?: number;
  /** Source address; policy rules that match on it apply. By default the kernel's routes choose. */
  readonly source?: Address;
  /** Disjoint; packets to them leave through these interfaces, all others through those that the kernel chooses. */
  readonly pinned?: readonly PinnedRange[];
  /** Longest packet to send, in bytes: 128 by default, which holds any segment without text. */
  readonly slotLength?: number;
}

/**
 * Opens the sockets; needs CAP_NET_RAW now and no privilege later.
 * @throws {SynprobeError} `ERR_PRIVILEGE`, `ERR_NO_SOURCE` (family missing), `ERR_NO_INTERFACE`, `ERR_SYSTEM`
 */
export function openRawIp(options: RawIpOptions): Link {
  const opened: RawSocket[] = [];
  try {
    return open(options, opened);
  } catch (error) {
    for (const socket of opened) socket.close();
    throw error;
  }
}

function open(options: RawIpOptions, opened: RawSocket[]): Link {
  const { families, ports, interfaceName, scope, source, slotLength = SLOT_LENGTH } = options;
  const openOne = (...[family, protocol]: Parameters<typeof openRawSocket>): RawSocket => {
    const socket = openRawSocket(family, protocol);
    opened.push(socket);
    if (interfaceName !== undefined) bindToDevice(socket.fd, interfaceName);
    return socket;
  };
  const senders = new Map<number, RawSocket>();
  const hearers: { socket: RawSocket; family: 4 | 6; protocol: number }[] = [];
  let receiveBuffer = Number.POSITIVE_INFINITY;
  for (const family of families) {
    const sender = openOne(family, PROTOCOLS.raw);
    trySetOption(sender.fd, SOL_SOCKET, SO_SNDBUF, 4 << 20);
    // Without it the kernel reports packets that its queue dropped as sent (raw(7), NET_XMIT_DROP).
    if (family === 4) trySetOption(sender.fd, SOL_IP, IP_RECVERR, 1);
    else trySetOption(sender.fd, SOL_IPV6, IPV6_RECVERR, 1);
    if (source !== undefined && (source.length === 4) === (family === 4))
      bindToSource(sender.fd, source, scope);
    senders.set(family, sender);
    const icmp = family === 4 ? PROTOCOLS.icmp : PROTOCOLS.icmpv6;
    for (const protocol of [PROTOCOLS.tcp, icmp]) {
      const socket = openOne(family, protocol);
      attachFilter(socket.fd, filterFor(family, protocol, ports));
      receiveBuffer = Math.min(receiveBuffer, raiseReceiveBuffer(socket.fd));
      trySetOption(socket.fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
      // The kernel would check ICMPv6 checksums before the filter, and count errors in foreign packets as drops.
      if (protocol === PROTOCOLS.icmpv6) trySetOption(socket.fd, SOL_RAW, IPV6_CHECKSUM, -1);
      if (family === 6) {
        setOption(socket.fd, SOL_IPV6, IPV6_RECVPKTINFO, 1);
        setOption(socket.fd, SOL_IPV6, IPV6_RECVHOPLIMIT, 1);
      }
      hearers.push({ socket, family, protocol });
    }
  }

  const batch = createSendBatch(SLOTS, slotLength, scope, interfaceFinder(options.pinned ?? []));
  // The first call through a binding costs a millisecond, which is not the first packet's round trip.
  for (const { fd } of senders.values()) batch.send(fd, 0, 0);
  const inbox = createReceiveBatch(RECEIVE_SLOTS);
  let sendError = "";
  let handler: PacketHandler = () => {};
  let drops: number | undefined;

  /** One system call takes packets of one address family. */
  const send = (first: number, count: number): number => {
    const versionAt = (slot: number): number => batch.data[slot * slotLength] >> 4;
    const version = versionAt(first);
    const sender = senders.get(version);
    if (sender === undefined) {
      sendError = "EAFNOSUPPORT";
      return 0;
    }
    let run = 1;
    while (run < count && versionAt(first + run) === version) run++;
    const sent = batch.send(sender.fd, first, run);
    // The kernel gives the reason only when the first packet of a call is refused.
    if (sent === 0) sendError = errno();
    return sent;
  };

  /** @returns true when nothing is left waiting */
  const deliver = ({ socket, family, protocol }: (typeof hearers)[number], nowUs: number): boolean => {
    for (let round = 0; round < BATCHES_PER_TURN; round++) {
      const received = inbox.receive(socket.fd);
      for (let slot = 0; slot < received; slot++) {
        inbox.readAncillary(slot);
        const start = inbox.start(slot);
        const end = start + Math.max(0, inbox.length(slot));
        const age = ageOf(inbox.ancillary.timeUs, nowUs);
        if (family === 4) handler(inbox.data, start, end, age);
        else handler(inbox.data, restoreIpv6Header(inbox, slot, protocol), end, age);
      }
      if (received < RECEIVE_SLOTS) return true;
    }
    return false;
  };

  return {
    name: "raw-ip",
    batch,
    send,
    get preparedUs() {
      return batch.preparedUs;
    },
    get sendError() {
      return sendError;
    },
    listen: (wanted, onReadable, onError) => {
      handler = wanted;
      for (const { socket } of hearers) {
        socket.onError(onError);
        socket.onReadable(onReadable);
      }
    },
    drain: () => {
      const nowUs = realtimeUs();
      return hearers.reduce((empty, hearer) => deliver(hearer, nowUs) && empty, true);
    },
    receiveDrops: () => drops ?? countDrops(hearers.map(({ socket }) => socket.fd)),
    receiveBuffer,
    close: () => {
      drops ??= countDrops(hearers.map(({ socket }) => socket.fd));
      for (const socket of opened) socket.close();
    },
  };
}

/** The interface of a packet by its destination; undefined when no packet has to leave through a certain one. */
function interfaceFinder(
  pinned: readonly PinnedRange[],
): ((data: Uint8Array, at: number) => number) | undefined {
  if (pinned.length === 0) return undefined;
  const { ranges, locate } = createRangeFinder(pinned);
  return (data, at) => {
    const range =
      data[at] >> 4 === 4 ? locate(data, at + ipv4.DESTINATION, 4) : locate(data, at + ipv6.DESTINATION, 16);
    return range < 0 ? 0 : ranges[range].interfaceIndex;
  };
}

/** What the kernel dropped for want of room, over all sockets. */
function countDrops(fds: readonly number[]): number {
  return fds.reduce((sum, fd) => {
    const words = getOptionBytes(fd, SOL_SOCKET, SO_MEMINFO, 4 * SK_MEMINFO_VARS);
    return (
      sum +
      (words === undefined ? 0 : new DataView(words.buffer).getUint32(4 * SK_MEMINFO_DROPS, LITTLE_ENDIAN))
    );
  }, 0);
}

function filterFor(family: 4 | 6, protocol: number, ports: PortRange): Instruction[] {
  if (protocol === PROTOCOLS.tcp) return family === 4 ? tcp4Filter(ports) : tcp6Filter(ports);
  return family === 4 ? icmp4Filter(ports) : icmp6Filter(ports);
}

function bindToDevice(fd: number, name: string): void {
  const bytes = new TextEncoder().encode(`${name}\0`);
  if (trySetOption(fd, SOL_SOCKET, SO_BINDTODEVICE, bytes)) return;
  const cause = errno();
  if (cause === "ENODEV")
    throw new SynprobeError(ERROR_CODES.noInterface, `no network interface named ${name}`);
  if (cause === "EPERM")
    throw new SynprobeError(
      ERROR_CODES.privilege,
      `binding to interface ${name} is not allowed to this process`,
    );
  throw new SynprobeError(ERROR_CODES.system, `cannot bind to interface ${name}: ${cause}`);
}

/**
 * Puts the fixed IPv6 header back in front of a datagram, from its socket address and ancillary data; the kernel has
 * taken it off, with any extension headers. @returns where the header starts.
 */
function restoreIpv6Header(
  inbox: ReturnType<typeof createReceiveBatch>,
  slot: number,
  protocol: number,
): number {
  const { data, control, names, ancillary } = inbox;
  const at = inbox.start(slot) - HEADROOM;
  data.fill(0, at, at + HEADROOM);
  data[at] = 0x60;
  putU16(data, at + 4, Math.max(0, inbox.length(slot)));
  data[at + 6] = protocol;
  data[at + 7] = ancillary.hopLimit;
  const source = inbox.name(slot) + 8;
  for (let i = 0; i < 16; i++) data[at + 8 + i] = names[source + i];
  if (ancillary.destinationAt >= 0)
    for (let i = 0; i < 16; i++) data[at + 24 + i] = control[ancillary.destinationAt + i];
  return at;
}
