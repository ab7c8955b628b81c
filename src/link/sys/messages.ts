/**
 * Batches of datagrams in one system call: sendmmsg(2) and recvmmsg(2) over memory that is laid out once.
 *
 * The structures are those of struct mmsghdr, msghdr, iovec and cmsghdr on Linux, for 32- and 64-bit pointers and either
 * byte order (native-notes/raw-sockets.md). Nothing here knows what the bytes mean, except the destination address
 * that sendmmsg needs with each packet.
 */
import {
  addressOf,
  errno,
  LITTLE_ENDIAN,
  libc,
  monotonicUs,
  nativeMemory,
  POINTER_SIZE,
  putPointer,
  putSize,
  systemError,
  timespecUs,
} from "./libc.ts";
import {
  AF_INET,
  AF_INET6,
  IP_PKTINFO,
  IP_RECVERR,
  IPV6_HOPLIMIT,
  IPV6_PKTINFO,
  IPV6_RECVERR,
  MSG_DONTWAIT,
  MSG_TRUNC,
  SO_TIMESTAMPNS,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from "./linux.ts";

const P = POINTER_SIZE;
/** struct msghdr: name, namelen, iov, iovlen, control, controllen, flags; struct mmsghdr adds the length. */
const MSG = {
  name: 0,
  nameLength: P,
  iov: 2 * P,
  iovLength: 3 * P,
  control: 4 * P,
  controlLength: 5 * P,
  flags: 6 * P,
} as const;
const MSG_LENGTH = 7 * P;
const MMSG_SIZE = MSG_LENGTH + P;
const IOV_SIZE = 2 * P;
/** struct cmsghdr: len (size_t), level, type; data aligned to the size of a long. */
const CMSG_HEADER = P + 8;
const align = (n: number): number => (n + P - 1) & ~(P - 1);

const SOCKADDR_SIZE = 28;

const getSize = (view: DataView, at: number): number =>
  view.getUint32(P === 8 && !LITTLE_ENDIAN ? at + 4 : at, LITTLE_ENDIAN);

/** Memory for `slots` messages: one header, one iovec, one address and one data area each. */
function layOut(slots: number, dataLength: number, controlLength: number) {
  const headers = nativeMemory(slots * MMSG_SIZE);
  const iovs = nativeMemory(slots * IOV_SIZE);
  const names = nativeMemory(slots * SOCKADDR_SIZE);
  const control = nativeMemory(Math.max(1, slots * controlLength));
  const data = nativeMemory(slots * dataLength);
  const view = new DataView(headers.buffer);
  const iovView = new DataView(iovs.buffer);
  const at = {
    headers: addressOf(headers),
    iovs: addressOf(iovs),
    names: addressOf(names),
    control: addressOf(control),
    data: addressOf(data),
  };
  for (let slot = 0; slot < slots; slot++) {
    const header = slot * MMSG_SIZE;
    putPointer(view, header + MSG.name, at.names + BigInt(slot * SOCKADDR_SIZE));
    putPointer(view, header + MSG.iov, at.iovs + BigInt(slot * IOV_SIZE));
    putSize(view, header + MSG.iovLength, 1);
    if (controlLength > 0) putPointer(view, header + MSG.control, at.control + BigInt(slot * controlLength));
    putPointer(iovView, slot * IOV_SIZE, at.data + BigInt(slot * dataLength));
    putSize(iovView, slot * IOV_SIZE + P, dataLength);
  }
  return {
    headers,
    iovs,
    names,
    control,
    data,
    view,
    iovView,
    address: at.headers,
  };
}

/** Outgoing packets, `slots` of `slotLength` bytes; the caller writes `data` and `lengths`, then sends. */
export interface SendBatch {
  readonly data: Uint8Array;
  /** Bytes used of each slot. */
  readonly lengths: Uint16Array;
  readonly slots: number;
  readonly slotLength: number;
  /** Where in its slot a packet starts. */
  readonly offset: number;
  /**
   * Sends slots `first` to `first + count - 1`, all of one address family, to the destination in each IP header.
   * @returns how many the kernel took; fewer than `count` when one was refused, 0 when it was the first:
   *   `errno()` then names the cause.
   */
  send(fd: number, first: number, count: number): number;
  /** How long after the last call of `send` its system call began, in microseconds. */
  readonly preparedUs: number;
}

/** Room for IP_PKTINFO or IPV6_PKTINFO: struct in_pktinfo begins with the interface's index, in6_pktinfo ends with it. */
const PACKET_INFO = { v4: 12, v6: 20, v6Interface: 16 } as const;
const PIN_LENGTH = align(CMSG_HEADER) + align(PACKET_INFO.v6);

/**
 * @param scope index of the interface on which link-local destinations are meant; 0 for none
 * @param interfaceOf index of the interface through which the packet at `data[at]` must leave; 0 to leave it to the kernel
 */
export function createSendBatch(
  slots: number,
  slotLength: number,
  scope = 0,
  interfaceOf?: (data: Uint8Array, at: number) => number,
): SendBatch {
  const memory = layOut(slots, slotLength, interfaceOf === undefined ? 0 : PIN_LENGTH);
  const { data, names, control, view, iovView } = memory;
  const controlView = new DataView(control.buffer);
  const pin = (slot: number, isV4: boolean, index: number): void => {
    const at = slot * PIN_LENGTH;
    const value = at + align(CMSG_HEADER);
    control.fill(0, at, at + PIN_LENGTH);
    const length = align(CMSG_HEADER) + (isV4 ? PACKET_INFO.v4 : PACKET_INFO.v6);
    putSize(controlView, at, length);
    controlView.setInt32(at + P, isV4 ? SOL_IP : SOL_IPV6, LITTLE_ENDIAN);
    controlView.setInt32(at + P + 4, isV4 ? IP_PKTINFO : IPV6_PKTINFO, LITTLE_ENDIAN);
    controlView.setInt32(isV4 ? value : value + PACKET_INFO.v6Interface, index, LITTLE_ENDIAN);
    putSize(view, slot * MMSG_SIZE + MSG.controlLength, index === 0 ? 0 : align(length));
  };
  const lengths = new Uint16Array(slots);
  const namesView = new DataView(names.buffer);
  // sa_family_t is in host order, unlike all that follows it.
  const putFamily = (at: number, family: number): void => {
    names[at] = LITTLE_ENDIAN ? family : 0;
    names[at + 1] = LITTLE_ENDIAN ? 0 : family;
  };
  let preparedUs = 0;
  return {
    data,
    lengths,
    slots,
    slotLength,
    offset: 0,
    get preparedUs() {
      return preparedUs;
    },
    send: (fd, first, count) => {
      const calledUs = monotonicUs();
      for (let slot = first; slot < first + count; slot++) {
        const packet = slot * slotLength;
        const name = slot * SOCKADDR_SIZE;
        if (data[packet] >> 4 === 4) {
          putFamily(name, AF_INET);
          for (let i = 0; i < 4; i++) names[name + 4 + i] = data[packet + 16 + i];
          view.setUint32(slot * MMSG_SIZE + MSG.nameLength, 16, LITTLE_ENDIAN);
        } else {
          putFamily(name, AF_INET6);
          for (let i = 0; i < 16; i++) names[name + 8 + i] = data[packet + 24 + i];
          const linkLocal = names[name + 8] === 0xfe && (names[name + 9] & 0xc0) === 0x80;
          namesView.setUint32(name + 24, linkLocal ? scope : 0, LITTLE_ENDIAN);
          view.setUint32(slot * MMSG_SIZE + MSG.nameLength, 28, LITTLE_ENDIAN);
        }
        putSize(iovView, slot * IOV_SIZE + P, lengths[slot]);
        if (interfaceOf !== undefined) pin(slot, data[packet] >> 4 === 4, interfaceOf(data, packet));
      }
      const messages = memory.address + BigInt(first * MMSG_SIZE);
      preparedUs = monotonicUs() - calledUs;
      const sent = libc.sendmmsg(fd, messages, count, MSG_DONTWAIT);
      return Math.max(0, sent);
    },
  };
}

/** Room before each received datagram, where a link may put the IP header that an IPv6 raw socket leaves out. */
export const HEADROOM = 40;
/** Any IP packet, also one that was put together from fragments or by receive offload. Pages never written to take no memory. */
const DATAGRAM_LENGTH = 65_536;
const CONTROL_LENGTH = 128;

/** Ancillary data of one received datagram; reused from message to message. */
export interface Ancillary {
  /** Kernel's receive time, µs since the Unix epoch; 0 without one. */
  timeUs: number;
  /** IPv6 hop limit; 0 without one. */
  hopLimit: number;
  /** Where the IPv6 destination address starts in `control`; -1 without one. */
  destinationAt: number;
  /** From an error queue: the ICMP message that caused the error. */
  icmp: { readonly type: number; readonly code: number; readonly responder: Uint8Array } | undefined;
}

/** struct sock_extended_err (linux/errqueue.h), with the sender's socket address behind it. */
const ERROR = { origin: 4, type: 5, code: 6, responder: 16 } as const;
const ORIGIN = { icmp: 2, icmp6: 3 } as const;

function readError(control: Uint8Array, at: number): Ancillary["icmp"] {
  const origin = control[at + ERROR.origin];
  if (origin !== ORIGIN.icmp && origin !== ORIGIN.icmp6) return undefined;
  const from = at + ERROR.responder + (origin === ORIGIN.icmp ? 4 : 8);
  return {
    type: control[at + ERROR.type],
    code: control[at + ERROR.code],
    responder: control.slice(from, from + (origin === ORIGIN.icmp ? 4 : 16)),
  };
}

/** Incoming datagrams. For each: `data` from `at` (with HEADROOM free bytes before it) to `end`. */
export interface ReceiveBatch {
  readonly data: Uint8Array;
  readonly control: Uint8Array;
  readonly names: Uint8Array;
  readonly ancillary: Ancillary;
  /**
   * Reads what waits, at most one batch.
   * @param flags MSG_ERRQUEUE for what waits in a socket's error queue
   * @returns the number of datagrams, 0 when none waits.
   * @throws {SynprobeError} `ERR_SYSTEM` when the socket is unusable.
   */
  receive(fd: number, flags?: number): number;
  /** Start of datagram `slot` in `data`. */
  start(slot: number): number;
  /** Bytes of datagram `slot`; -1 when it was longer than the slot. */
  length(slot: number): number;
  /** Start of the sender's socket address in `names`. */
  name(slot: number): number;
  /** Fills `ancillary` from the control messages of `slot`. */
  readAncillary(slot: number): void;
}

/** @param datagramLength bytes kept of each; a longer one is not readable */
export function createReceiveBatch(slots: number, datagramLength = DATAGRAM_LENGTH): ReceiveBatch {
  const stride = HEADROOM + datagramLength;
  const memory = layOut(slots, stride, CONTROL_LENGTH);
  const { data, names, control, view, iovView } = memory;
  const controlView = new DataView(control.buffer);
  const base = addressOf(data);
  for (let slot = 0; slot < slots; slot++) {
    putPointer(iovView, slot * IOV_SIZE, base + BigInt(slot * stride + HEADROOM));
    putSize(iovView, slot * IOV_SIZE + P, datagramLength);
  }
  const ancillary: Ancillary = {
    timeUs: 0,
    hopLimit: 0,
    destinationAt: -1,
    icmp: undefined,
  };
  return {
    data,
    control,
    names,
    ancillary,
    receive: (fd, flags = 0) => {
      // The kernel shortens these to what it used.
      for (let slot = 0; slot < slots; slot++) {
        view.setUint32(slot * MMSG_SIZE + MSG.nameLength, SOCKADDR_SIZE, LITTLE_ENDIAN);
        putSize(view, slot * MMSG_SIZE + MSG.controlLength, CONTROL_LENGTH);
      }
      const received = libc.recvmmsg(fd, memory.address, slots, MSG_DONTWAIT | flags, null);
      if (received >= 0) return received;
      const name = errno();
      if (name === "EAGAIN" || name === "EINTR") return 0;
      throw systemError("recvmmsg", name);
    },
    start: (slot) => slot * stride + HEADROOM,
    length: (slot) => {
      const header = slot * MMSG_SIZE;
      if ((view.getInt32(header + MSG.flags, LITTLE_ENDIAN) & MSG_TRUNC) !== 0) return -1;
      return view.getUint32(header + MSG_LENGTH, LITTLE_ENDIAN);
    },
    name: (slot) => slot * SOCKADDR_SIZE,
    readAncillary: (slot) => {
      ancillary.timeUs = 0;
      ancillary.hopLimit = 0;
      ancillary.destinationAt = -1;
      ancillary.icmp = undefined;
      let at = slot * CONTROL_LENGTH;
      const end = at + getSize(view, slot * MMSG_SIZE + MSG.controlLength);
      while (at + CMSG_HEADER <= end) {
        const length = getSize(controlView, at);
        if (length < CMSG_HEADER || at + length > end) break;
        const level = controlView.getInt32(at + P, LITTLE_ENDIAN);
        const type = controlView.getInt32(at + P + 4, LITTLE_ENDIAN);
        const value = at + align(CMSG_HEADER);
        if (level === SOL_SOCKET && type === SO_TIMESTAMPNS)
          ancillary.timeUs = timespecUs(controlView, value);
        else if (level === SOL_IPV6 && type === IPV6_HOPLIMIT)
          ancillary.hopLimit = controlView.getInt32(value, LITTLE_ENDIAN);
        else if (level === SOL_IPV6 && type === IPV6_PKTINFO) ancillary.destinationAt = value;
        else if ((level === SOL_IP && type === IP_RECVERR) || (level === SOL_IPV6 && type === IPV6_RECVERR))
          ancillary.icmp = readError(control, value);
        at += align(length);
      }
    },
  };
}
