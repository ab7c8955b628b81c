/**
 * What sockets of every kind here are given: a filter, a large receive buffer, a source address. Options as such are raw-socket.ts's.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { type Address, formatAddress, isLinkLocal } from "../../wire/address.ts";
import { encodeFilter, type Instruction } from "../filter.ts";
import { addressOf, errno, LITTLE_ENDIAN, libc, nativeMemory, POINTER_SIZE, putPointer } from "./libc.ts";
import { AF_INET, AF_INET6, SO_ATTACH_FILTER, SO_RCVBUF, SO_RCVBUFFORCE, SOL_SOCKET } from "./linux.ts";
import { getOption, setOption, trySetOption } from "./raw-socket.ts";

/** Bytes asked for; the kernel reports twice what it grants (socket(7), SO_RCVBUF). */
export const WANTED_RECEIVE_BUFFER = 8 << 20;

/** @returns the size granted: SO_RCVBUFFORCE passes net.core.rmem_max with CAP_NET_ADMIN, SO_RCVBUF stops there. */
export function raiseReceiveBuffer(fd: number): number {
  if (!trySetOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, WANTED_RECEIVE_BUFFER)) {
    trySetOption(fd, SOL_SOCKET, SO_RCVBUF, WANTED_RECEIVE_BUFFER);
  }
  return getOption(fd, SOL_SOCKET, SO_RCVBUF) ?? 0;
}

/** Lets only what a classic BPF program accepts into a socket. @throws {SynprobeError} `ERR_SYSTEM` */
export function attachFilter(fd: number, program: readonly Instruction[]): void {
  const instructions = encodeFilter(program, LITTLE_ENDIAN);
  // struct sock_fprog { unsigned short len; struct sock_filter *filter; }
  const header = nativeMemory(2 * POINTER_SIZE);
  const view = new DataView(header.buffer);
  view.setUint16(0, program.length, LITTLE_ENDIAN);
  putPointer(view, POINTER_SIZE, addressOf(instructions));
  setOption(fd, SOL_SOCKET, SO_ATTACH_FILTER, header);
  // The kernel copies them in the call: until here they must not be collected.
  instructions.fill(0);
}

/**
 * Routes what an IP socket sends as coming from `source`, as the packets do.
 * @param scope index of the interface on which a link-local address is meant
 * @throws {SynprobeError} `ERR_NO_SOURCE`
 */
export function bindToSource(fd: number, source: Address, scope = 0): void {
  const v4 = source.length === 4;
  // struct sockaddr_in and sockaddr_in6
  const name = nativeMemory(v4 ? 16 : 28);
  const view = new DataView(name.buffer);
  view.setUint16(0, v4 ? AF_INET : AF_INET6, LITTLE_ENDIAN);
  name.set(source, v4 ? 4 : 8);
  if (!v4 && isLinkLocal(source)) view.setUint32(24, scope, LITTLE_ENDIAN);
  if (libc.bind(fd, name, name.length) === 0) return;
  throw new SynprobeError(
    ERROR_CODES.noSource,
    `cannot send from ${formatAddress(source)}: ${errno()}; "ip addr" lists what this machine has`,
  );
}
