/**
 * Link of whole Ethernet frames of one interface, through AF_PACKET: batches out past the queueing disciplines, a ring in
 * that is read in place. Nothing is resolved, routed or checked: frames' contents are the caller's business (packet.ts, lab/).
 *
 * In two steps, for privileges and threads: `openEthernetSockets` needs CAP_NET_RAW, `attachEthernet` needs
 * nothing and may be called in another thread, once.
 */
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import type { Mac } from "../wire/ethernet.ts";
import type { Instruction } from "./filter.ts";
import type { Link, PacketHandler } from "./link.ts";
import { closeOutbox, createOutboxMemory, type OutboxMemory, openOutbox, THIRDS } from "./outbox.ts";
import { lookUpInterface } from "./route.ts";
import { closeSoon, errno, libc } from "./sys/libc.ts";
import {
  bindPacketSocket,
  bypassQueues,
  createFrameBatch,
  createRingReader,
  createWait,
  createWatch,
  frameBatchLength,
  ignoreOutgoing,
  openPacketSocket,
  openRing,
  type Ring,
  unmapRing,
} from "./sys/packet-socket.ts";
import { attachFilter } from "./sys/socket.ts";

/** Frames per system call: more gain nothing, and their memory no longer fits the first-level cache. */
const SLOTS = 256;
const SLOT_LENGTH = 128;
/**
 * Many small blocks: a block is given up each millisecond however little is in it, so the number of blocks is how many
 * milliseconds the reader may be busy elsewhere.
 */
const BLOCK_SIZE = 64 << 10;
const RING_SIZE = 16 << 20;
/**
 * Most frames, and longest time, before the caller's loop gets its turn: a flood of replies must starve neither sending nor
 * the handling of replies. Code that is not compiled yet takes ten times as long per frame.
 */
const FRAMES_PER_TURN = 2048;
const LONGEST_READ_US = 4000;

/** A Link for threads without an event loop of their own as well. */
export interface PacketLink extends Link {
  /** Without `onReadable` nothing is watched: for threads that wait, which may be ended where no callback can run any more. */
  listen(handler: PacketHandler, onReadable?: () => void, onError?: (error: Error) => void): void;
  /**
   * Blocks the calling thread until something can be drained, or for `timeoutUs` microseconds (Infinity: for ever). It may
   * return early.
   */
  wait(timeoutUs: number): void;
}

export interface EthernetOptions {
  readonly interfaceName: string;
  /** Filter on what is received, a program that sees frames from their first byte; none by default. */
  readonly filter?: readonly Instruction[];
  /** Bytes of the longest frame that will be sent. */
  readonly slotLength?: number;
  /** Bytes of the receive ring, a multiple of the block size; default 16 MiB. */
  readonly ringSize?: number;
  /** Whether another thread will send (outbox.ts); by default none does. */
  readonly behind?: boolean;
}

/** Sockets and memory as plain values, which another thread of this process can be given. */
export interface EthernetHandles {
  readonly interfaceIndex: number;
  readonly mac: Mac;
  readonly sender: number;
  readonly ring: Ring;
  readonly slotLength: number;
  readonly outbox?: OutboxMemory;
}

/**
 * Opens the sockets; needs CAP_NET_RAW.
 * @throws {SynprobeError} `ERR_PRIVILEGE`, `ERR_NO_INTERFACE`, `ERR_USAGE` (the interface carries no Ethernet), `ERR_SYSTEM`
 */
export async function openEthernetSockets(options: EthernetOptions): Promise<EthernetHandles> {
  const { interfaceName, filter, behind = false } = options;
  const { slotLength = SLOT_LENGTH, ringSize = RING_SIZE } = options;
  const found = lookUpInterface(interfaceName);
  if (found === undefined)
    throw new SynprobeError(ERROR_CODES.noInterface, `no network interface named ${interfaceName}`);
  if (found.mac === undefined)
    throw new SynprobeError(
      ERROR_CODES.usage,
      `interface ${interfaceName} carries no Ethernet frames: use --link raw`,
    );
  const opened: number[] = [];
  const openOne = (): number => {
    const fd = openPacketSocket("with link header");
    opened.push(fd);
    return fd;
  };
  let ring: Ring | undefined;
  try {
    const sender = openOne();
    bypassQueues(sender);
    bindPacketSocket(sender, found.index, "send");
    const hearer = openOne();
    if (filter !== undefined) attachFilter(hearer, filter);
    ignoreOutgoing(hearer);
    ring = await openRing(hearer, BLOCK_SIZE, Math.floor(ringSize / BLOCK_SIZE));
    bindPacketSocket(hearer, found.index, "hear");
    const outbox = behind ? createOutboxMemory(frameBatchLength(THIRDS * SLOTS, slotLength)) : undefined;
    return {
      interfaceIndex: found.index,
      mac: found.mac,
      sender,
      ring,
      slotLength,
      ...(outbox === undefined ? {} : { outbox }),
    };
  } catch (error) {
    if (ring !== undefined) unmapRing(ring);
    for (const fd of opened) libc.close(fd);
    throw error;
  }
}

/** Makes a link of what `openEthernetSockets` opened; its `close` closes it. */
export function attachEthernet(handles: EthernetHandles): PacketLink {
  const { sender, ring, slotLength } = handles;
  const outbox = handles.outbox === undefined ? undefined : openOutbox(handles.outbox);
  const slots = outbox === undefined ? SLOTS : THIRDS * SLOTS;
  const frames = createFrameBatch(
    slots,
    slotLength,
    handles.outbox === undefined ? undefined : new Uint8Array(handles.outbox.frames),
  );
  const reader = createRingReader(ring);
  const poll = createWait([ring.fd]);
  let sendError = "";
  let handler: PacketHandler = () => {};
  const watching = createWatch([ring.fd]);
  let open = true;
  let drops = 0;
  const receiveDrops = (): number => {
    if (open) drops = reader.drops();
    return drops;
  };
  return {
    name: "ethernet",
    batch: { data: frames.data, lengths: frames.lengths, slots, slotLength, offset: 0 },
    send: (first, count) => {
      const sent = frames.send(sender, first, count);
      // The kernel gives the reason only when the first frame of a call is refused.
      if (sent === 0) sendError = errno();
      return sent;
    },
    get preparedUs() {
      return frames.preparedUs;
    },
    get sendError() {
      return sendError;
    },
    listen: (wanted, onReadable) => {
      handler = wanted;
      if (onReadable !== undefined) watching.listen(onReadable);
    },
    drain: () => !open || reader.read(FRAMES_PER_TURN, handler, LONGEST_READ_US),
    wait: (timeoutUs) => {
      // Answers to what is under way come while it is sent: when it has been, if not before, there is more to do.
      if (outbox?.isBusy() === true) outbox.wait(timeoutUs);
      else poll(timeoutUs);
    },
    behind:
      outbox === undefined
        ? undefined
        : {
            ...outbox,
            give: (count) => {
              outbox.give(frames.messages(outbox.third() * SLOTS, count), count);
              return true;
            },
          },
    receiveDrops,
    receiveBuffer: ring.blockSize * ring.blocks,
    close: () => {
      if (!open) return;
      receiveDrops();
      open = false;
      outbox?.close();
      // With `onReadable` there is an event loop, which must not be blocked.
      closeEthernet(handles, watching.end() ? "soon" : "now");
    },
  };
}

/** Closes handles that were never attached, or whose thread has ended. */
export function closeEthernet(handles: EthernetHandles, when: "now" | "soon" = "now"): void {
  const { sender, ring, outbox } = handles;
  if (outbox !== undefined) closeOutbox(outbox);
  unmapRing(ring);
  closeAll([ring.fd, sender], when);
}

/** Closes sockets, but for those below 0, which are none: before this returns, or as closeSoon does. */
export function closeAll(fds: readonly number[], when: "now" | "soon"): void {
  const open = fds.filter((fd) => fd >= 0);
  if (when === "soon") closeSoon(open);
  else for (const fd of open) libc.close(fd);
}

/** Both steps at once. */
export const openEthernet = async (options: EthernetOptions): Promise<PacketLink> =>
  attachEthernet(await openEthernetSockets(options));
