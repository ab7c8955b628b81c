/**
 * A Connector over the kernel's own calls: sockets that are opened once and connect again and again, so that a probe costs two
 * system calls, and an epoll descriptor that tells of all of them. ICMP errors come with their type, their code and their sender
 * from the sockets' error queues (IP_RECVERR; Linux 5.8 and later), before that as errors alone.
 *
 * To an address of this machine, a connect can meet itself, or another, of ours or of another process: the kernel chooses source
 * ports, and where one is what another socket connects to, and the reverse, both are "connected", by simultaneous open (RFC 9293
 * §3.5). The kernel chooses no port on which somebody listens: such ports are closed. So one of the kernel's own ports, at this
 * machine's own address, is open when it is connected to twice, from different ports.
 */
import { sameAddress } from "../../wire/address.ts";
import { u16 } from "../../wire/bytes.ts";
import * as icmp from "../../wire/icmp.ts";
import * as icmpv6 from "../../wire/icmpv6.ts";
import { errno, libc, watchReadable } from "../sys/libc.ts";
import { MSG_ERRQUEUE } from "../sys/linux.ts";
import { createReceiveBatch } from "../sys/messages.ts";
import {
  connectSocket,
  disconnectSocket,
  EPOLL,
  isFinAcknowledged,
  localName,
  MOST_EVENTS,
  openEpoll,
  openTcpSocket,
  SOCKADDR,
  shutdownSocket,
  type TcpSocketOptions,
} from "../sys/tcp-sockets.ts";
import { type Connector, type Outcomes, READ, tellError, type UnreachableError } from "./connector.ts";

export interface KernelConnectorOptions extends TcpSocketOptions {
  /** 1 or more. */
  readonly slots: number;
  /** The IP version of the first socket, which is opened at once. */
  readonly family: 4 | 6;
  /** The source ports of the kernel's own connections, both inclusive. */
  readonly kernelPorts: { readonly first: number; readonly last: number };
}

const IDLE = 0;
const CONNECTING = 1;
const CONNECTED = 2;
/** Rounds of events before the event loop gets its turn. */
const ROUNDS_PER_TURN = 16;
/** What is kept of a packet that an error quotes: nothing is read of it. */
const QUOTE_LENGTH = 64;
const ADDRESS = 16;

/** @throws {SynprobeError} `ERR_NO_SOURCE`. @returns undefined, with the cause in `errno()`, when not even one socket can be opened */
export function openKernelConnector(options: KernelConnectorOptions): Connector | undefined {
  const { slots, kernelPorts, scope = 0 } = options;
  const epoll = openEpoll();
  if (epoll === undefined) return undefined;
  const fds = new Int32Array(slots).fill(-1);
  const families = new Uint8Array(slots);
  const states = new Uint8Array(slots);
  const ports = new Uint16Array(slots);
  /** Of slots that connect for the second time. */
  const areAgain = new Uint8Array(slots);
  const addresses = new Uint8Array(slots * ADDRESS);
  const errors = createReceiveBatch(1, QUOTE_LENGTH);
  let stopWatching: (() => void) | undefined;

  const familyOf = (slot: number): 4 | 6 => (families[slot] === 4 ? 4 : 6);

  function closeSlot(slot: number): void {
    if (fds[slot] < 0) return;
    libc.close(fds[slot]);
    fds[slot] = -1;
    states[slot] = IDLE;
  }

  /** @returns the errno name of a failure, which ends the slot's socket */
  function watch(slot: number): string {
    if (epoll?.add(fds[slot], slot) !== false) return "";
    const cause = errno();
    closeSlot(slot);
    return cause;
  }

  function connect(slot: number, family: 4 | 6, bytes: Uint8Array, at: number, port: number): string {
    if (families[slot] !== family) closeSlot(slot);
    const isNew = fds[slot] < 0;
    if (isNew) {
      fds[slot] = openTcpSocket(family, options);
      if (fds[slot] < 0) return errno();
      families[slot] = family;
    }
    for (let i = 0; i < (family === 4 ? 4 : 16); i++) addresses[slot * ADDRESS + i] = bytes[at + i];
    ports[slot] = port;
    const said = connectSocket(fds[slot], family, bytes, at, port, scope);
    if (said !== "" && said !== "EINPROGRESS") {
      closeSlot(slot);
      return said;
    }
    states[slot] = CONNECTING;
    return isNew ? watch(slot) : "";
  }

  function end(slot: number): void {
    if (states[slot] === IDLE) return;
    states[slot] = IDLE;
    if (!disconnectSocket(fds[slot])) closeSlot(slot);
  }

  /** Where a sockaddr of the slot's family has its address, and how long that is. */
  const addressPlace = (slot: number): [from: number, length: number] =>
    families[slot] === 4 ? [SOCKADDR.v4, 4] : [SOCKADDR.v6, 16];

  /** Whether `name`, a sockaddr, is what the slot connects to. */
  function isPeer(slot: number, name: Uint8Array): boolean {
    const [from, length] = addressPlace(slot);
    return portIn(name) === ports[slot] && sameAddress(name, from, addresses, slot * ADDRESS, length);
  }

  /**
   * What the slot's error queue holds: the ICMP message that ended its connect. A socket that connects anew keeps its queue: what an
   * earlier connect came to, unheard when it was ended, is dropped.
   */
  function queuedError(slot: number): UnreachableError | undefined {
    while (errors.receive(fds[slot], MSG_ERRQUEUE) > 0) {
      if (!isPeer(slot, errors.names)) continue;
      errors.readAncillary(0);
      return errors.ancillary.icmp;
    }
    return undefined;
  }

  /** The local port of a slot that may have met another connect, or itself; undefined of any other. */
  function doubtfulPort(slot: number): number | undefined {
    if (ports[slot] < kernelPorts.first || ports[slot] > kernelPorts.last) return undefined;
    const name = localName(fds[slot]);
    const [from, length] = addressPlace(slot);
    if (name === undefined || !sameAddress(name, from, addresses, slot * ADDRESS, length)) return undefined;
    return portIn(name);
  }

  function connectAgain(slot: number, outcomes: Outcomes): void {
    end(slot);
    areAgain[slot] = 1;
    const family = familyOf(slot);
    const said = connect(slot, family, addresses, slot * ADDRESS, ports[slot]);
    if (said !== "") tellError(outcomes, slot, family, said);
  }

  function settle(slot: number, events: number, outcomes: Outcomes): void {
    if (states[slot] === CONNECTED) {
      outcomes.changed(slot);
      return;
    }
    if (states[slot] !== CONNECTING) return;
    const localPort = doubtfulPort(slot);
    const isDoubtful = localPort !== undefined && areAgain[slot] === 0;
    if ((events & (EPOLL.error | EPOLL.hangUp)) === 0) {
      if ((events & EPOLL.out) === 0) return;
      if (localPort === ports[slot]) outcomes.refused(slot);
      else if (isDoubtful) connectAgain(slot, outcomes);
      else {
        states[slot] = CONNECTED;
        outcomes.connected(slot);
      }
      return;
    }
    const queued = queuedError(slot);
    // Called again, connect returns the error and leaves the socket at nothing.
    const said = connectSocket(fds[slot], familyOf(slot), addresses, slot * ADDRESS, ports[slot], scope);
    if (said === "ECONNRESET" || said === "EPIPE" || said === "EISCONN" || said === "") {
      if (isDoubtful) {
        connectAgain(slot, outcomes);
        return;
      }
      states[slot] = CONNECTED;
    } else if (said === "EALREADY") {
      // An error that came before the call of connect had returned has not ended it (tcp_v4_err of net/ipv4/tcp_ipv4.c).
      if (queued !== undefined && endsConnect(familyOf(slot), queued)) outcomes.unreachable(slot, queued);
      return;
    } else states[slot] = IDLE;
    if (states[slot] === CONNECTED) outcomes.connected(slot);
    else if (queued !== undefined) outcomes.unreachable(slot, queued);
    else tellError(outcomes, slot, familyOf(slot), said);
  }

  try {
    fds[0] = openTcpSocket(options.family, options);
  } finally {
    // It may have thrown, too.
    if (fds[0] < 0) libc.close(epoll.fd);
  }
  if (fds[0] < 0) return undefined;
  families[0] = options.family;
  watch(0);
  // The first call through a binding costs a millisecond, which is not the first connect's round trip.
  disconnectSocket(fds[0]);
  queuedError(0);
  epoll.poll(() => {});
  return {
    begin: (slot, ...to) => {
      areAgain[slot] = 0;
      return connect(slot, ...to);
    },
    has: (slot, family) => fds[slot] >= 0 && families[slot] === family,
    end,
    poll: (outcomes) => {
      for (let round = 0; round < ROUNDS_PER_TURN; round++) {
        if (epoll.poll((slot, events) => settle(slot, events, outcomes)) < MOST_EVENTS) return true;
      }
      return false;
    },
    onReadable: (handler) => {
      stopWatching?.();
      stopWatching = watchReadable(epoll.fd, handler, () => {});
    },
    read: (slot, into) => {
      const length = Number(libc.recv(fds[slot], into, into.length, 0));
      if (length >= 0) return length;
      const cause = errno();
      return cause === "EAGAIN" || cause === "EINTR" ? READ.nothing : READ.reset;
    },
    finish: (slot) => {
      shutdownSocket(fds[slot]);
    },
    isFinished: (slot) => isFinAcknowledged(fds[slot]),
    close: () => {
      stopWatching?.();
      stopWatching = undefined;
      for (let slot = 0; slot < slots; slot++) closeSlot(slot);
      libc.close(epoll.fd);
    },
  };
}

const portIn = (name: Uint8Array): number => u16(name, SOCKADDR.port);

/** Fragmentation needed and parameter problems leave a connect as it is. */
const endsConnect = (family: 4 | 6, { type, code }: UnreachableError): boolean =>
  family === 4
    ? (type === icmp.TYPE.DESTINATION_UNREACHABLE && code !== icmp.CODE.FRAGMENTATION_NEEDED) ||
      type === icmp.TYPE.TIME_EXCEEDED
    : type === icmpv6.TYPE.DESTINATION_UNREACHABLE || type === icmpv6.TYPE.TIME_EXCEEDED;
