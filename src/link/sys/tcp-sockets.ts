/**
 * Non-blocking TCP sockets of the kernel's own, and epoll over them: connect(2), epoll(7), tcp(7), ip(7), ipv6(7). One thin function
 * each; nothing here needs a privilege.
 *
 * Not here: which sockets connect where, and what their outcomes mean (link/connect/).
 * Tested by test/lab/connect-link.test.ts.
 */
import { arch } from "node:os";
import koffi from "koffi";
import type { Address } from "../../wire/address.ts";
import { errno, LITTLE_ENDIAN, libc, nativeMemory } from "./libc.ts";
import {
  AF_INET,
  AF_INET6,
  familyNumber,
  IP_RECVERR,
  IPPROTO_TCP,
  IPV6_RECVERR,
  SO_BINDTODEVICE,
  SO_ERROR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from "./linux.ts";
import { getOption, getOptionBytes, trySetOption } from "./raw-socket.ts";
import { bindToSource } from "./socket.ts";

const SOCK_STREAM = 1;
const SO_LINGER = 13;
const IP_TTL = 2;
const IP_BIND_ADDRESS_NO_PORT = 24;
const IPV6_UNICAST_HOPS = 16;
const TCP_SYNCNT = 7;
const TCP_INFO = 11;
const AF_UNSPEC = 0;
const SHUT_WR = 1;
/** struct linger: on, with no time to linger, so that a close resets the connection. */
const RESET_ON_CLOSE = new Uint8Array(Int32Array.of(1, 0).buffer);

const lib = koffi.load(null);
const getsockname = lib.func("int getsockname(int, void*, void*)") as (
  fd: number,
  name: Uint8Array,
  length: Uint8Array,
) => number;
const shutdownCall = lib.func("int shutdown(int, int)") as (fd: number, how: number) => number;
const epollCreate = lib.func("int epoll_create1(int)") as (flags: number) => number;
const epollControl = lib.func("int epoll_ctl(int, int, int, void*)") as (
  epoll: number,
  operation: number,
  fd: number,
  event: Uint8Array,
) => number;
const epollWait = lib.func("int epoll_wait(int, void*, int, int)") as (
  epoll: number,
  events: Uint8Array,
  most: number,
  timeoutMs: number,
) => number;

export interface TcpSocketOptions {
  readonly interfaceName?: string;
  readonly source?: Address;
  /** Index of the interface on which a link-local source is meant. */
  readonly scope?: number;
  /** TTL or hop limit, 1 to 255. */
  readonly ttl: number;
}

/**
 * A socket whose errors come with the ICMP message that caused them (Linux 5.8 and later), which sends its SYN again as seldom as the
 * kernel lets it, and whose close is a reset.
 * @returns -1 with the cause in `errno()` when there can be no further one
 * @throws {SynprobeError} `ERR_NO_SOURCE`
 */
export function openTcpSocket(family: 4 | 6, options: TcpSocketOptions): number {
  const { interfaceName, source, scope, ttl } = options;
  const fd = libc.socket(familyNumber(family), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  trySetOption(fd, SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE);
  trySetOption(fd, IPPROTO_TCP, TCP_SYNCNT, 1);
  if (family === 4) {
    trySetOption(fd, SOL_IP, IP_RECVERR, 1);
    trySetOption(fd, SOL_IP, IP_TTL, ttl);
  } else {
    trySetOption(fd, SOL_IPV6, IPV6_RECVERR, 1);
    trySetOption(fd, SOL_IPV6, IPV6_UNICAST_HOPS, ttl);
  }
  const isBound =
    interfaceName === undefined ||
    trySetOption(fd, SOL_SOCKET, SO_BINDTODEVICE, new TextEncoder().encode(`${interfaceName}\0`));
  if (!isBound) {
    libc.close(fd);
    return -1;
  }
  if (source !== undefined && (source.length === 4) === (family === 4)) {
    trySetOption(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    try {
      bindToSource(fd, source, scope);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }
  return fd;
}

/** struct sockaddr_in or sockaddr_in6, to be filled once per call. */
const name = nativeMemory(28);
const nameView = new DataView(name.buffer);
const IN_LENGTH = 16;
const IN6_LENGTH = 28;

/** Port and address stand at these offsets of both structures. */
export const SOCKADDR = { port: 2, v4: 4, v6: 8 } as const;

/**
 * Begins to connect to the address `bytes[at]`, or tells what came of it: the call's second time is its outcome.
 * @param scope index of the interface on which a link-local address is meant
 * @returns the errno name; "" when the connection is there, "EINPROGRESS" when it is under way
 */
export function connectSocket(
  fd: number,
  family: 4 | 6,
  bytes: Uint8Array,
  at: number,
  port: number,
  scope: number,
): string {
  const isV4 = family === 4;
  nameView.setUint16(0, isV4 ? AF_INET : AF_INET6, LITTLE_ENDIAN);
  nameView.setUint16(SOCKADDR.port, port);
  nameView.setUint32(4, 0);
  const to = isV4 ? SOCKADDR.v4 : SOCKADDR.v6;
  for (let i = 0; i < (isV4 ? 4 : 16); i++) name[to + i] = bytes[at + i];
  if (!isV4)
    nameView.setUint32(24, bytes[at] === 0xfe && (bytes[at + 1] & 0xc0) === 0x80 ? scope : 0, LITTLE_ENDIAN);
  return libc.connect(fd, name, isV4 ? IN_LENGTH : IN6_LENGTH) === 0 ? "" : errno();
}

const nowhere = nativeMemory(IN_LENGTH);
new DataView(nowhere.buffer).setUint16(0, AF_UNSPEC, LITTLE_ENDIAN);

/**
 * Ends what a socket is at, so that it can connect anew: a SYN without an answer is not sent again, a connection is reset.
 * @returns false where the system has no such call: the socket must be closed
 */
export function disconnectSocket(fd: number): boolean {
  if (libc.connect(fd, nowhere, IN_LENGTH) !== 0) return false;
  // The kernel notes ECONNRESET for whoever used the socket, which reading it clears.
  getOption(fd, SOL_SOCKET, SO_ERROR);
  return true;
}

const local = nativeMemory(IN6_LENGTH);
const localLength = nativeMemory(4);

/** The socket's own address, as a sockaddr that is valid until the next call; undefined when it has none. */
export function localName(fd: number): Uint8Array | undefined {
  new DataView(localLength.buffer).setUint32(0, IN6_LENGTH, LITTLE_ENDIAN);
  return getsockname(fd, local, localLength) === 0 ? local : undefined;
}

/** Sends FIN. */
export const shutdownSocket = (fd: number): boolean => shutdownCall(fd, SHUT_WR) === 0;

/** States that a connection has once its FIN is acknowledged (include/net/tcp_states.h): FIN-WAIT-2, TIME-WAIT, CLOSE. */
const FIN_ACKNOWLEDGED: readonly unknown[] = [5, 6, 7];

/** Whether the FIN that `shutdownSocket` sent has been acknowledged: the first byte of struct tcp_info is the state. */
export const isFinAcknowledged = (fd: number): boolean =>
  FIN_ACKNOWLEDGED.includes(getOptionBytes(fd, IPPROTO_TCP, TCP_INFO, 8)?.[0]);

export const EPOLL = { in: 1, out: 4, error: 8, hangUp: 16, edge: 2 ** 31 } as const;
const EPOLL_CTL_ADD = 1;
const EPOLL_CLOEXEC = 0o2000000;
/** struct epoll_event is packed on x86. */
const EVENT = arch() === "x64" || arch() === "ia32" ? { size: 12, data: 4 } : { size: 16, data: 8 };
const EVENTS = 256;

export interface Epoll {
  readonly fd: number;
  /** Watches a descriptor, edge-triggered, until it is closed. @returns false with the cause in `errno()` */
  add(fd: number, data: number): boolean;
  /** Calls back with what has happened, of at most 256 descriptors. @returns how many there were */
  poll(onEvent: (data: number, events: number) => void): number;
}

/** The most that one `poll` calls back with. */
export const MOST_EVENTS = EVENTS;

/** @returns undefined with the cause in `errno()` */
export function openEpoll(): Epoll | undefined {
  const fd = epollCreate(EPOLL_CLOEXEC);
  if (fd < 0) return undefined;
  const one = nativeMemory(EVENT.size);
  const oneView = new DataView(one.buffer);
  const many = nativeMemory(EVENT.size * EVENTS);
  const view = new DataView(many.buffer);
  return {
    fd,
    add: (watched, data) => {
      oneView.setUint32(0, EPOLL.in | EPOLL.out | EPOLL.edge, LITTLE_ENDIAN);
      oneView.setUint32(EVENT.data, data, LITTLE_ENDIAN);
      return epollControl(fd, EPOLL_CTL_ADD, watched, one) === 0;
    },
    poll: (onEvent) => {
      const count = epollWait(fd, many, EVENTS, 0);
      for (let i = 0; i < count; i++) {
        const at = i * EVENT.size;
        onEvent(view.getUint32(at + EVENT.data, LITTLE_ENDIAN), view.getUint32(at, LITTLE_ENDIAN));
      }
      return Math.max(0, count);
    },
  };
}
