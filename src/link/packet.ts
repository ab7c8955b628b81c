/**
 * Link of whole IP packets over Ethernet frames: finds each packet's next hop and that hop's hardware address, and sends
 * whole batches past the kernel's IP (ethernet.ts). Only for interfaces with a hardware address (`mac` of route.ts's
 * Interface), and not for this machine's own addresses (native-notes/loopback.md).
 *
 * The kernel resolves neighbours. A packet whose next hop is unknown, or has to be confirmed, goes through a raw IP socket;
 * the kernel then resolves it, and answers for an absent neighbour with an ICMP error, which arrives on `lo` and is read
 * there.
 *
 * Not here: the next hop of each range (the caller asks route.ts), and the packets' contents.
 */
import { readFileSync } from "node:fs";
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import type { Address } from "../wire/address.ts";
import { putU16 } from "../wire/bytes.ts";
import * as ethernet from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import {
  attachEthernet,
  closeAll,
  closeEthernet,
  type EthernetHandles,
  type EthernetOptions,
  openEthernetSockets,
  type PacketLink,
} from "./ethernet.ts";
import { frameFilter, type PortRange, packetFilter } from "./filter.ts";
import { createHops, type NextHopRange } from "./hops.ts";
import type { PacketHandler } from "./link.ts";
import { createNeighbourTable, lookUpNeighbours } from "./neighbour.ts";
import { THIRDS } from "./outbox.ts";
import { quietResets } from "./quiet-resets.ts";
import { localAddresses, lookUpInterface } from "./route.ts";
import { errno, libc, monotonicUs } from "./sys/libc.ts";
import {
  familyNumber,
  IP_RECVERR,
  IPPROTO_RAW,
  IPV6_RECVERR,
  SO_BINDTODEVICE,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from "./sys/linux.ts";
import { createReceiveBatch, createSendBatch } from "./sys/messages.ts";
import {
  bindPacketSocket,
  createWait,
  ignoreOutgoing,
  openPacketSocket,
  watch,
} from "./sys/packet-socket.ts";
import { setOption, trySetOption } from "./sys/raw-socket.ts";
import { attachFilter, bindToSource, raiseReceiveBuffer } from "./sys/socket.ts";

/** Packets given to the kernel in one call, and read from other interfaces in one. */
const KERNEL_SLOTS = 64;
const OWN_SLOTS = 64;
/** Packets wait in it while the kernel resolves, for three seconds if nobody answers; in bytes. */
const KERNEL_BUFFER = 4 << 20;
/** Interval between reads of the neighbour table, in microseconds … */
const REFRESH_US = 2e6;
/** … and while a next hop is unknown: 1, 2, 4 … ms, about the time of an answer, up to this. */
const FIRST_RETRY_US = 1e3;
const LONGEST_RETRY_US = 100e3;

export interface PacketOptions extends Pick<EthernetOptions, "behind"> {
  readonly interfaceName: string;
  /** Source ports of the run: packets to them are received. */
  readonly ports: PortRange;
  /** Disjoint; IPv4 and IPv6 together. A packet for an address in none is refused: ENETUNREACH. */
  readonly routes: readonly NextHopRange[];
  /** Ports that only this run uses: resets to them need not reach the kernel (quiet-resets.ts). */
  readonly quiet?: PortRange;
  /** Source addresses, at most one per IP version; by default the kernel's routes choose. */
  readonly sources?: readonly Address[];
}

/** Sockets, memory and routes as plain values, which another thread of this process can be given. */
export interface PacketHandles {
  readonly ethernet: EthernetHandles;
  /** Hears other interfaces: on `lo` what this machine tells itself, and answers that come another way than probes leave. */
  readonly own: number;
  /** Raw IP sockets by IP version; -1 for a version that no route has. */
  readonly kernel: { readonly 4: number; readonly 6: number };
  readonly routes: readonly NextHopRange[];
  /** The descriptor that keeps resets from the kernel; -1 for none. */
  readonly quiet: number;
}

/**
 * Opens the sockets; needs CAP_NET_RAW.
 * @throws {SynprobeError} `ERR_PRIVILEGE`, `ERR_NO_INTERFACE`, `ERR_USAGE` (the interface carries no Ethernet), `ERR_NO_SOURCE`, `ERR_SYSTEM`
 */
export function openPacketSockets(options: PacketOptions): PacketHandles {
  const { interfaceName, ports, routes, sources = [], behind } = options;
  const frames = openEthernetSockets({
    interfaceName,
    filter: frameFilter(ports),
    ...(behind === undefined ? {} : { behind }),
  });
  const opened: number[] = [];
  const keep = (fd: number): number => {
    opened.push(fd);
    return fd;
  };
  try {
    const versions = ([4, 6] as const).filter((version) =>
      routes.some(({ first }) => versionOf(first) === version),
    );
    const own = keep(openPacketSocket("without"));
    attachFilter(own, packetFilter(ports, otherInterfaces(frames.interfaceIndex, versions)));
    raiseReceiveBuffer(own);
    ignoreOutgoing(own);
    bindPacketSocket(own, ANY_INTERFACE, "hear");
    const kernel = { 4: -1, 6: -1 };
    for (const version of versions) {
      kernel[version] = keep(openKernelSocket(version));
      setOption(kernel[version], SOL_SOCKET, SO_BINDTODEVICE, new TextEncoder().encode(`${interfaceName}\0`));
      const source = sources.find((address) => versionOf(address) === version);
      if (source !== undefined) bindToSource(kernel[version], source, frames.interfaceIndex);
    }
    const { quiet } = options;
    const quieting = quiet === undefined ? undefined : quietResets(frames.interfaceIndex, quiet);
    return { ethernet: frames, own, kernel, routes, quiet: quieting ?? -1 };
  } catch (error) {
    for (const fd of opened) libc.close(fd);
    closeEthernet(frames);
    throw error;
  }
}

/** The most that one filter can name, with room to spare; what comes by further ones is not heard. */
const MOST_INTERFACES = 64;
const ANY_INTERFACE = 0;

/**
 * Those besides the run's own by which answers may come: all that have an address. The parts of a bridge or bond have none, so
 * that nothing is heard twice. Where reverse path filtering is strict the kernel drops them, as it would for raw sockets.
 */
function otherInterfaces(own: number, versions: readonly (4 | 6)[]): number[] {
  const others = versions.flatMap((version) =>
    localAddresses(version).flatMap(({ interfaceIndex }) =>
      interfaceIndex === own || (version === 4 && filtersStrictly(interfaceIndex)) ? [] : [interfaceIndex],
    ),
  );
  const loopback = lookUpInterface("lo");
  return [...new Set([...(loopback === undefined ? [] : [loopback.index]), ...others])].slice(
    0,
    MOST_INTERFACES,
  );
}

/** The larger of the two settings counts; 1 is strict (RFC 3704). */
function filtersStrictly(interfaceIndex: number): boolean {
  const setting = (name: string): number => {
    try {
      return Number(readFileSync(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, "utf8"));
    } catch {
      return 0;
    }
  };
  return Math.max(setting("all"), setting(lookUpInterface(interfaceIndex)?.name ?? "")) === 1;
}

const versionOf = (address: Address): 4 | 6 => (address.length === 4 ? 4 : 6);

/** A socket that sends whole IP packets through the kernel's routing. */
function openKernelSocket(version: 4 | 6): number {
  const fd = libc.socket(familyNumber(version), SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  if (fd < 0) throw new SynprobeError(ERROR_CODES.noSource, `cannot send IPv${version} packets: ${errno()}`);
  if (!trySetOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, KERNEL_BUFFER))
    trySetOption(fd, SOL_SOCKET, SO_SNDBUF, KERNEL_BUFFER);
  // Without these the kernel reports dropped packets as sent (native-notes/raw-sockets.md).
  if (version === 4) trySetOption(fd, SOL_IP, IP_RECVERR, 1);
  else trySetOption(fd, SOL_IPV6, IPV6_RECVERR, 1);
  return fd;
}

/** Makes a link of what `openPacketSockets` opened; its `close` closes it. Needs no privilege, in any thread. */
export function attachPacket(handles: PacketHandles): PacketLink {
  const { own, kernel, routes } = handles;
  const { interfaceIndex, mac, ring, slotLength } = handles.ethernet;
  const frames = attachEthernet(handles.ethernet);
  const { data, slots } = frames.batch;
  const lengths = new Uint16Array(slots);
  for (let slot = 0; slot < slots; slot++) data.set(mac, slot * slotLength + ethernet.SOURCE);
  const hops = createHops(routes);
  const neighbours = createNeighbourTable();
  const families = ([4, 6] as const).filter((version) =>
    routes.some(({ first, gateway = first }) => versionOf(gateway) === version),
  );
  const kernelBatch = createSendBatch(KERNEL_SLOTS, slotLength, interfaceIndex);
  const inbox = createReceiveBatch(OWN_SLOTS);
  const poll = createWait([ring.fd, own]);
  let sendError = "";
  let handler: PacketHandler = () => {};
  let endWatch: (() => void) | undefined;
  let open = true;
  let refreshUs = 0;
  let retryUs = FIRST_RETRY_US;
  /** Whether the kernel was given a packet since the table was last read. */
  let asked = false;
  /** Of the packet that `address` last located. */
  let neighbour = -1;

  const refresh = (nowUs: number): void => {
    for (const family of families) neighbours.learn(lookUpNeighbours(interfaceIndex, family), nowUs);
    refreshUs = nowUs + REFRESH_US;
    retryUs = asked ? Math.min(2 * retryUs, LONGEST_RETRY_US) : FIRST_RETRY_US;
    asked = false;
  };

  const packetVersion = (slot: number): 4 | 6 =>
    data[slot * slotLength + ethernet.HEADER_LENGTH] >> 4 === 4 ? 4 : 6;

  /** Completes a slot's frame. @returns which way it goes */
  const address = (slot: number): "frame" | "kernel" | "nowhere" => {
    const frame = slot * slotLength;
    const packet = frame + ethernet.HEADER_LENGTH;
    const version = packetVersion(slot);
    const range =
      version === 4
        ? hops.locate(data, packet + ipv4.DESTINATION, 4)
        : hops.locate(data, packet + ipv6.DESTINATION, 16);
    if (range < 0) return "nowhere";
    neighbour = hops.neighbour(range, neighbours);
    if (neighbour < 0 || !neighbours.usable(neighbour)) return "kernel";
    neighbours.putMac(neighbour, data, frame + ethernet.DESTINATION);
    putU16(
      data,
      frame + ethernet.ETHERTYPE_AT,
      version === 4 ? ethernet.ETHERTYPE.IPV4 : ethernet.ETHERTYPE.IPV6,
    );
    frames.batch.lengths[slot] = ethernet.HEADER_LENGTH + lengths[slot];
    return "frame";
  };

  const refuse = (cause: string): 0 => {
    sendError = cause;
    return 0;
  };

  /** Gives the kernel slot `first`, and the following ones that are for it too. */
  const sendThroughKernel = (first: number, count: number, nowUs: number): number => {
    const version = packetVersion(first);
    const most = Math.min(count, KERNEL_SLOTS);
    let run = 0;
    while (run < most && packetVersion(first + run) === version && address(first + run) === "kernel") {
      if (neighbour >= 0) neighbours.entrusted(neighbour);
      const from = (first + run) * slotLength + ethernet.HEADER_LENGTH;
      for (let i = 0; i < lengths[first + run]; i++) kernelBatch.data[run * slotLength + i] = data[from + i];
      kernelBatch.lengths[run] = lengths[first + run];
      run++;
    }
    asked = true;
    refreshUs = Math.min(refreshUs, nowUs + retryUs);
    const sent = kernelBatch.send(kernel[version], 0, run);
    return sent > 0 ? sent : refuse(errno());
  };

  const send = (first: number, count: number): number => {
    const nowUs = monotonicUs();
    if (nowUs >= refreshUs) refresh(nowUs);
    let run = 0;
    let way: ReturnType<typeof address> = "frame";
    while (run < count) {
      way = address(first + run);
      if (way !== "frame") break;
      run++;
    }
    if (run > 0) {
      const sent = frames.send(first, run);
      return sent > 0 ? sent : refuse(frames.sendError);
    }
    return way === "kernel" ? sendThroughKernel(first, count, nowUs) : refuse("ENETUNREACH");
  };

  /** Only for slots that are all frames: packets for the kernel are sent here at once. */
  const giveBehind = (count: number): boolean => {
    const nowUs = monotonicUs();
    if (nowUs >= refreshUs) refresh(nowUs);
    const first = (frames.behind?.third() ?? 0) * (slots / THIRDS);
    for (let slot = first; slot < first + count; slot++) if (address(slot) !== "frame") return false;
    return frames.behind?.give(count) ?? false;
  };

  const receiveOwn = (): number => {
    try {
      return inbox.receive(own);
    } catch {
      // That an interface is down, told once: nothing comes by way of it then.
      return 0;
    }
  };

  /** @returns true when nothing was left waiting on other interfaces */
  const drainOwn = (): boolean => {
    const received = receiveOwn();
    for (let slot = 0; slot < received; slot++) {
      const start = inbox.start(slot);
      // No time stamps: asking for them makes the kernel stamp every packet of the machine.
      handler(inbox.data, start, start + Math.max(0, inbox.length(slot)), 0);
    }
    return received < OWN_SLOTS;
  };

  return {
    name: "packet",
    batch: { data, lengths, slots, slotLength, offset: ethernet.HEADER_LENGTH },
    send,
    get sendError() {
      return sendError;
    },
    listen: (wanted, onReadable) => {
      handler = wanted;
      frames.listen(
        (bytes, at, end, ageUs) => wanted(bytes, at + ethernet.HEADER_LENGTH, end, ageUs),
        onReadable,
      );
      if (onReadable !== undefined) endWatch = watch([own], onReadable);
    },
    drain: () => {
      if (!open) return true;
      const empty = frames.drain();
      return drainOwn() && empty;
    },
    wait: (timeoutUs) => {
      if (frames.behind?.isBusy() === true) frames.wait(timeoutUs);
      else poll(timeoutUs);
    },
    behind: frames.behind === undefined ? undefined : { ...frames.behind, give: giveBehind },
    receiveDrops: frames.receiveDrops,
    receiveBuffer: frames.receiveBuffer,
    close: () => {
      if (!open) return;
      open = false;
      endWatch?.();
      frames.close();
      closeOwn(handles, endWatch === undefined ? "now" : "soon");
    },
  };
}

/** Closes handles that no link was made of, or whose thread is no more. */
export function closePacket(handles: PacketHandles): void {
  closeEthernet(handles.ethernet);
  closeOwn(handles, "now");
}

function closeOwn({ own, kernel, quiet }: PacketHandles, when: "now" | "soon"): void {
  closeAll(
    [own, kernel[4], kernel[6], quiet].filter((fd) => fd >= 0),
    when,
  );
}
