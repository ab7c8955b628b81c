/**
 * AF_PACKET sockets (packet(7)): opened and bound, their filters, their batches of outgoing frames, and the TPACKET_V3 ring
 * that the kernel writes received frames into. Layouts and options: native-notes/af-packet.md.
 *
 * Descriptors and addresses only, so that what one thread opened another can use. Nothing here knows what a frame holds.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { PacketHandler } from "../link.ts";
import {
  addressOf,
  ageOf,
  errno,
  inPool,
  LITTLE_ENDIAN,
  libc,
  monotonicUs,
  nativeMemory,
  POINTER_SIZE,
  putPointer,
  putSize,
  realtimeUs,
  systemError,
  viewOf,
  watchReadable,
} from "./libc.ts";
import {
  AF_PACKET,
  MSG_DONTWAIT,
  SO_ERROR,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_PACKET,
  SOL_SOCKET,
} from "./linux.ts";
import { getOption, getOptionBytes, setOption, trySetOption } from "./raw-socket.ts";

const P = POINTER_SIZE;
/** Socket types: whole frames, or what is behind the link header. */
const PACKET = {
  rxRing: 5,
  statistics: 6,
  version: 10,
  qdiscBypass: 20,
  ignoreOutgoing: 23,
} as const;
const TPACKET_V3 = 2;
const ETH_P_ALL = 0x0003;

/**
 * Opens a socket that receives nothing until it is bound to a protocol.
 * @throws {SynprobeError} `ERR_PRIVILEGE` without CAP_NET_RAW, `ERR_SYSTEM`
 */
export function openPacketSocket(header: "with link header" | "without"): number {
  const type = header === "without" ? SOCK_DGRAM : SOCK_RAW;
  const fd = libc.socket(AF_PACKET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0) return fd;
  const cause = errno();
  if (cause === "EPERM")
    throw new SynprobeError(ERROR_CODES.privilege, "packet sockets are not allowed to this process");
  if (cause === "EAFNOSUPPORT" || cause === "EACCES") {
    throw new SynprobeError(
      ERROR_CODES.platform,
      `this process may have no packet sockets (socket AF_PACKET: ${cause}): use --link raw`,
    );
  }
  throw systemError("socket(AF_PACKET)", cause);
}

/** Binds to an interface: to send only, or to receive as well. @throws {SynprobeError} `ERR_SYSTEM` */
export function bindPacketSocket(fd: number, interfaceIndex: number, use: "send" | "hear"): void {
  // struct sockaddr_ll: family u16, protocol u16 in network order, interface index i32; the rest is for reading.
  const name = nativeMemory(20);
  const view = new DataView(name.buffer);
  view.setUint16(0, AF_PACKET, LITTLE_ENDIAN);
  view.setUint16(2, use === "hear" ? ETH_P_ALL : 0, false);
  view.setInt32(4, interfaceIndex, LITTLE_ENDIAN);
  if (libc.bind(fd, name, name.length) !== 0) throw systemError("bind(AF_PACKET)");
}

/** Hands frames to the driver, past the queueing discipline and all taps on outgoing packets. */
export const bypassQueues = (fd: number): boolean => trySetOption(fd, SOL_PACKET, PACKET.qdiscBypass, 1);

/** Leaves out what this machine itself sends (Linux 4.20). */
export const ignoreOutgoing = (fd: number): boolean => trySetOption(fd, SOL_PACKET, PACKET.ignoreOutgoing, 1);

/** Outgoing frames; each starts where its slot does. */
export interface FrameBatch {
  readonly data: Uint8Array;
  /** Bytes used of each slot. */
  readonly lengths: Uint16Array;
  /** Makes the messages of slots `first` to `first + count - 1` ready for sendmmsg. @returns where they are */
  messages(first: number, count: number): bigint;
  /**
   * Sends slots `first` to `first + count - 1` through a bound socket.
   * @returns how many the kernel took; 0 when the first was refused: `errno()` then names the cause.
   */
  send(fd: number, first: number, count: number): number;
  /** How long after the last call of `send` its system call began, in microseconds. */
  readonly preparedUs: number;
}

/** struct mmsghdr: name, namelen, iov, iovlen, control, controllen, flags, length; struct iovec: base, length. */
const MESSAGE_SIZE = 8 * P;
const IOV_SIZE = 2 * P;

/** Bytes that a frame batch needs. */
export const frameBatchLength = (slots: number, slotLength: number): number =>
  slots * (MESSAGE_SIZE + IOV_SIZE + slotLength);

/**
 * Memory for sendmmsg(2) that is laid out once: only lengths are written again, when they change.
 * @param memory one piece, so that the frames and the structures that point at them live equally long
 */
export function createFrameBatch(
  slots: number,
  slotLength: number,
  memory: Uint8Array = nativeMemory(frameBatchLength(slots, slotLength)),
): FrameBatch {
  const messageSize = MESSAGE_SIZE;
  const iovSize = IOV_SIZE;
  const iovs = slots * messageSize;
  const frames = iovs + slots * iovSize;
  const address = addressOf(memory);
  const view = new DataView(memory.buffer);
  for (let slot = 0; slot < slots; slot++) {
    const iov = iovs + slot * iovSize;
    putPointer(view, slot * messageSize + 2 * P, address + BigInt(iov));
    putSize(view, slot * messageSize + 3 * P, 1);
    putPointer(view, iov, address + BigInt(frames + slot * slotLength));
  }
  const lengths = new Uint16Array(slots);
  const written = new Uint16Array(slots);
  const messages = (first: number, count: number): bigint => {
    for (let slot = first; slot < first + count; slot++) {
      if (lengths[slot] === written[slot]) continue;
      written[slot] = lengths[slot];
      putSize(view, iovs + slot * iovSize + P, lengths[slot]);
    }
    return address + BigInt(first * messageSize);
  };
  let preparedUs = 0;
  return {
    data: memory.subarray(frames),
    lengths,
    messages,
    send: (fd, first, count) => {
      const calledUs = monotonicUs();
      const made = messages(first, count);
      preparedUs = monotonicUs() - calledUs;
      const sent = libc.sendmmsg(fd, made, count, MSG_DONTWAIT);
      return Math.max(0, sent);
    },
    get preparedUs() {
      return preparedUs;
    },
  };
}

/** A receive ring in the memory of this process: any of its threads may read it, one at a time. */
export interface Ring {
  readonly fd: number;
  readonly address: bigint;
  readonly blockSize: number;
  readonly blocks: number;
}

/** For TPACKET_V3 the size of a frame is checked and otherwise without meaning. */
const FRAME_SIZE = 2048;
/** A block that is not full is handed over after this long, in milliseconds. */
const RETIRE_MS = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;

/**
 * Gives a socket, not yet bound, a ring of `blocks` blocks of `blockSize` bytes (a multiple of the page size).
 * @throws {SynprobeError} `ERR_SYSTEM`
 */
export async function openRing(fd: number, blockSize: number, blocks: number): Promise<Ring> {
  setOption(fd, SOL_PACKET, PACKET.version, TPACKET_V3);
  // struct tpacket_req3: block size and number, frame size and number, timeout, private bytes, features.
  const frames = Math.floor(blockSize / FRAME_SIZE) * blocks;
  const fields = [blockSize, blocks, FRAME_SIZE, frames, RETIRE_MS, 0, 0];
  const request = nativeMemory(4 * fields.length);
  new Uint32Array(request.buffer).set(fields);
  // The kernel waits until no processor receives for the socket, though none does yet.
  const made = await inPool(libc.setsockopt, fd, SOL_PACKET, PACKET.rxRing, request, request.length);
  if (made.value < 0) throw systemError("setsockopt(PACKET_RX_RING)", made.cause);
  const address = libc.mmap(null, blockSize * blocks, PROT_READ_WRITE, MAP_SHARED, fd, 0);
  if (Number(address) === -1) throw systemError("mmap of the receive ring");
  return { fd, address: BigInt(address), blockSize, blocks };
}

/** Gives the ring's memory back. It must not be read any more: touching a view of it crashes the process. */
export function unmapRing({ address, blockSize, blocks }: Ring): void {
  libc.munmap(address, blockSize * blocks);
}

/** Offsets of fields in struct tpacket_block_desc (its tpacket_hdr_v1) and struct tpacket3_hdr, in bytes. */
const BLOCK = { status: 8, packets: 12, first: 16 } as const;
const FRAME = { next: 0, seconds: 4, nanoseconds: 8, length: 12, frame: 24 } as const;
const TP_STATUS_KERNEL = 0;
const TP_STATUS_USER = 1;
/** Frames handed over between two looks at the clock. */
const FRAMES_PER_CLOCK = 64;

export interface RingReader {
  /** Hands over at most `limit` frames, for about `longestUs` microseconds. @returns true when nothing was left waiting */
  read(limit: number, handler: PacketHandler, longestUs?: number): boolean;
  /** Frames that found no room, since the ring was opened. */
  drops(): number;
}

export function createRingReader({ fd, address, blockSize, blocks }: Ring): RingReader {
  const memory = viewOf(address, blockSize * blocks);
  const bytes = new Uint8Array(memory);
  // Host order, as the kernel writes it. Everything is aligned.
  const words = new Uint32Array(memory);
  const halves = new Uint16Array(memory);
  let block = 0;
  /** Of the block that is being read: whether there is one, frames left in it, where the next one is. */
  let holding = false;
  let left = 0;
  let at = 0;
  let dropped = 0;
  return {
    read: (limit, handler, longestUs = Number.POSITIVE_INFINITY) => {
      let nowUs = 0;
      for (let taken = 0; ; ) {
        const start = block * blockSize;
        const status = (start + BLOCK.status) >> 2;
        if (!holding) {
          // Acquire: no field is read before the kernel has given the block away.
          if ((Atomics.load(words, status) & TP_STATUS_USER) === 0) return true;
          holding = true;
          left = words[(start + BLOCK.packets) >> 2];
          at = start + words[(start + BLOCK.first) >> 2];
        }
        for (; left > 0; taken++) {
          if (taken === limit) return false;
          if (taken === 0) nowUs = realtimeUs();
          else if (taken % FRAMES_PER_CLOCK === 0 && realtimeUs() - nowUs > longestUs) return false;
          const header = at;
          at += words[(header + FRAME.next) >> 2];
          left--;
          const frame = header + halves[(header + FRAME.frame) >> 1];
          const end = frame + words[(header + FRAME.length) >> 2];
          const stampUs =
            words[(header + FRAME.seconds) >> 2] * 1e6 + words[(header + FRAME.nanoseconds) >> 2] / 1e3;
          handler(bytes, frame, end, ageOf(stampUs, nowUs));
        }
        holding = false;
        block = block + 1 === blocks ? 0 : block + 1;
        Atomics.store(words, status, TP_STATUS_KERNEL);
      }
    },
    drops: () => {
      // struct tpacket_stats_v3: packets, drops, freezes; reading sets them to zero.
      const counts = getOptionBytes(fd, SOL_PACKET, PACKET.statistics, 12);
      if (counts !== undefined) dropped += new DataView(counts.buffer).getUint32(4, LITTLE_ENDIAN);
      return dropped;
    },
  };
}

/** An interface that goes down leaves an error on each socket, which stays readable until the error is read. */
const takeError = (fd: number): void => {
  getOption(fd, SOL_SOCKET, SO_ERROR);
};

/** Node's event loop watching sockets, for whoever listened last. */
export interface Watch {
  /** Calls `onReadable` whenever a socket has something to read, or an error; nothing that was given before is called any more. */
  listen(onReadable: () => void): void;
  /** @returns whether anybody has listened */
  end(): boolean;
}

export function createWatch(fds: readonly number[]): Watch {
  let handler: () => void = () => {};
  let ends: (() => void)[] | undefined;
  return {
    listen(onReadable) {
      handler = onReadable;
      // One for each socket: the event loop takes no second.
      ends ??= fds.map((fd) =>
        watchReadable(
          fd,
          () => handler(),
          () => takeError(fd),
        ),
      );
    },
    end() {
      for (const end of ends ?? []) end();
      return ends !== undefined;
    },
  };
}

const POLLIN = 0x001;
const POLLERR = 0x008;

/**
 * Makes a function that blocks this thread until one of the sockets has something to read, or for `timeoutUs`
 * microseconds; Infinity waits for ever. It may return early.
 */
export function createWait(fds: readonly number[]): (timeoutUs: number) => void {
  // struct pollfd { int fd; short events; short revents; }
  const polled = nativeMemory(8 * fds.length);
  const view = new DataView(polled.buffer);
  fds.forEach((fd, i) => {
    view.setInt32(8 * i, fd, LITTLE_ENDIAN);
    view.setInt16(8 * i + 4, POLLIN, LITTLE_ENDIAN);
  });
  const timeout = nativeMemory(2 * P);
  const timeoutView = new DataView(timeout.buffer);
  return (timeoutUs) => {
    const wanted = Math.max(0, timeoutUs);
    const forever = wanted === Number.POSITIVE_INFINITY;
    if (!forever) {
      const seconds = Math.floor(wanted / 1e6);
      putSize(timeoutView, 0, seconds);
      putSize(timeoutView, P, Math.floor((wanted - seconds * 1e6) * 1e3));
    }
    if (libc.ppoll(polled, fds.length, forever ? null : timeout, null) <= 0) return;
    fds.forEach((fd, i) => {
      if ((view.getInt16(8 * i + 6, LITTLE_ENDIAN) & POLLERR) !== 0) takeError(fd);
    });
  };
}
