/**
 * Link of whole IP packets over Ethernet frames: finds each packet's next hop and that hop's hardware address, and sends
 * whole batches past the kernel's IP (ethernet.ts). Only for interfaces with a hardware address (`mac` of route.ts's
 * Interface), and not for this machine's own addresses (native-notes/loopback.md).
 *
 * Neighbours are asked for their hardware addresses by the link itself, and kept in a table of its own (neighbour.ts): the
 * kernel's has room for a thousand, of all network namespaces together. Packets wait for the answer; where none comes, the link
 * hands over the ICMP error that the kernel would make of each.
 *
 * Not here: the next hop of each range (the caller asks route.ts), and the packets' contents.
 */
import { ADDRESS_WORDS, addressOf, loadAddress } from "../socket/table.ts";
import { type Address, isLinkLocal, sameAddress } from "../wire/address.ts";
import { copy, putU16 } from "../wire/bytes.ts";
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
import { frameFilter, type PortRange } from "./filter.ts";
import { createHops, type NextHopRange } from "./hops.ts";
import type { PacketHandler } from "./link.ts";
import {
  createNeighbourTable,
  lookUpNeighbours,
  type NeighbourTiming,
  readNeighbourTiming,
} from "./neighbour.ts";
import { emitSolicitation, readNeighbourAnswer, unreachableNeighbour } from "./neighbour-messages.ts";
import { openOthers, otherInterfaces } from "./other-interfaces.ts";
import { THIRDS } from "./outbox.ts";
import { quietResets } from "./quiet-resets.ts";
import { createReassembly } from "./reassembly.ts";
import { localAddresses, lookUpInterface } from "./route.ts";
import { createSolicitations, SOLICITATIONS_PER_SECOND, type Solicited } from "./solicitations.ts";
import { monotonicUs } from "./sys/libc.ts";
import { createReceiveBatch } from "./sys/messages.ts";
import { createFrameBatch, createWait, createWatch } from "./sys/packet-socket.ts";

/** In place of an errno: as many neighbours are being asked as may be. */
const ASKING = "EINPROGRESS";
/** Packets read from other interfaces in one call. */
const OWN_SLOTS = 64;
/** Frames of the link's own in one call: questions, and what has waited for their answers. */
const LINK_SLOTS = 64;
/** Interval between looks for stale neighbours, in microseconds. */
const AGE_US = 1e6;
/** Neighbours without an answer that are remembered, to be told of. */
const MOST_UNRESOLVED = 4096;
const NO_INTERFACE = -1;
/** No descriptor. */
const NONE = -1;

export interface PacketOptions extends Pick<EthernetOptions, "behind" | "ringSize"> {
  readonly interfaceName: string;
  /** Source ports of the run: packets to them are received. */
  readonly ports: PortRange;
  /** Disjoint; IPv4 and IPv6 together. A packet for an address in none is refused: ENETUNREACH. */
  readonly routes: readonly NextHopRange[];
  /** Ports that only this run uses: resets to them need not reach the kernel (quiet-resets.ts). */
  readonly quiet?: PortRange;
  /** How many links share the run's questions for hardware addresses; 1 by default. */
  readonly links?: number;
}

/** Sockets, memory and routes as plain values, which another thread of this process can be given. */
export interface PacketHandles {
  readonly ethernet: EthernetHandles;
  /** Hears other interfaces: on `lo` what this machine tells itself, and answers that come another way than probes leave. */
  readonly own: number;
  readonly links: number;
  readonly timing: NeighbourTiming;
  readonly routes: readonly NextHopRange[];
  /** The descriptor that keeps resets from the kernel; -1 for none. */
  readonly quiet: number;
}

/**
 * Opens the sockets; needs CAP_NET_RAW.
 * @throws {SynprobeError} `ERR_PRIVILEGE`, `ERR_NO_INTERFACE`, `ERR_USAGE` (the interface carries no Ethernet), `ERR_SYSTEM`
 */
export async function openPacketSockets(options: PacketOptions): Promise<PacketHandles> {
  const { interfaceName, ports, routes, quiet, links = 1, behind, ringSize } = options;
  const versions = ([4, 6] as const).filter((version) =>
    routes.some(({ first }) => versionOf(first) === version),
  );
  const index = lookUpInterface(interfaceName)?.index ?? NO_INTERFACE;
  const others = otherInterfaces(index, versions);
  const timing = readNeighbourTiming(interfaceName);
  // Both wait for the kernel, and at the same time: while it attaches a program, it answers no question about interfaces.
  const opening = openEthernetSockets({
    interfaceName,
    filter: frameFilter(ports),
    ...(behind === undefined ? {} : { behind }),
    ...(ringSize === undefined ? {} : { ringSize }),
  });
  const quieting = quiet === undefined || index === NO_INTERFACE ? undefined : quietResets(index, quiet);
  const [frames, quieted] = await Promise.allSettled([opening, quieting]);
  // A run does without.
  const quietly = (quieted.status === "fulfilled" ? quieted.value : undefined) ?? NONE;
  if (frames.status === "rejected") {
    closeAll([quietly], "now");
    throw frames.reason;
  }
  try {
    return { ethernet: frames.value, own: openOthers(ports, others), links, timing, routes, quiet: quietly };
  } catch (error) {
    closeEthernet(frames.value);
    closeAll([quietly], "now");
    throw error;
  }
}

const versionOf = (address: Address): 4 | 6 => (address.length === 4 ? 4 : 6);

const sourceOf = (packet: Uint8Array): Address =>
  packet[0] >> 4 === 4
    ? copy(packet, ipv4.SOURCE, ipv4.DESTINATION)
    : copy(packet, ipv6.SOURCE, ipv6.DESTINATION);

/**
 * The address to ask a neighbour from, by the source of the packet that waits: that source, or over IPv6 one of the interface if
 * the source is another's (RFC 4861 7.2.2), as the kernel does.
 */
function createAsker(interfaceIndex: number): (source: Address, neighbour: Address) => Address {
  const ours = localAddresses(6)
    .filter((each) => each.interfaceIndex === interfaceIndex)
    .map((each) => each.address);
  const other = ours.find(isLinkLocal) ?? ours[0];
  const isOurs = (source: Address): boolean =>
    source.length === 16 && ours.some((each) => sameAddress(each, 0, source, 0, 16));
  return (source, neighbour) =>
    neighbour.length === 4 || other === undefined || isOurs(source) ? source : other;
}

/** Makes a link of what `openPacketSockets` opened; its `close` closes it. Needs no privilege, in any thread. */
export function attachPacket(handles: PacketHandles): PacketLink {
  const { own, routes, links, timing } = handles;
  const { interfaceIndex, mac, ring, sender, slotLength } = handles.ethernet;
  const frames = attachEthernet(handles.ethernet);
  const { data, slots } = frames.batch;
  const lengths = new Uint16Array(slots);
  for (let slot = 0; slot < slots; slot++) data.set(mac, slot * slotLength + ethernet.SOURCE);
  const hops = createHops(routes);
  const neighbours = createNeighbourTable(timing);
  const solicitations = createSolicitations(SOLICITATIONS_PER_SECOND / links, timing);
  const reassembly = createReassembly();
  const askFrom = createAsker(interfaceIndex);
  /** Packets whose neighbours have answered, with their frames' header. */
  const answered: Uint8Array[] = [];
  const unresolved = new Map<string, Address>();
  const linkBatch = createFrameBatch(LINK_SLOTS, slotLength);
  const inbox = createReceiveBatch(OWN_SLOTS);
  const poll = createWait([ring.fd, own]);
  const words = new Uint32Array(ADDRESS_WORDS);
  let sendError = "";
  let handler: PacketHandler = () => {};
  const watching = createWatch([own]);
  let open = true;
  /** Range of the packet that `address` last said must wait. */
  let wanted = 0;
  let agedUs = monotonicUs();
  /** What had come until then has been read. */
  let readUs = 0;
  for (const family of [4, 6] as const) neighbours.learn(lookUpNeighbours(interfaceIndex, family), agedUs);

  const packetVersion = (slot: number): 4 | 6 =>
    data[slot * slotLength + ethernet.HEADER_LENGTH] >> 4 === 4 ? 4 : 6;

  /** The IP packet in a slot, in memory of its own. */
  const packetIn = (slot: number): Uint8Array => {
    const packet = slot * slotLength + ethernet.HEADER_LENGTH;
    return copy(data, packet, packet + lengths[slot]);
  };
  const ask = (range: number, packet: Uint8Array, wait: "wait" | "go on"): boolean => {
    const hop = hops.nextHop(range);
    const source = askFrom(sourceOf(packet), addressOf(hop, 0));
    return solicitations.ask(hop, 0, source, monotonicUs(), wait === "wait" ? packet : undefined);
  };

  /** Completes a slot's frame. @returns which way it goes: to wait for its neighbour, or nowhere, when it is no frame yet */
  const address = (slot: number): "frame" | "wait" | "nowhere" => {
    const frame = slot * slotLength;
    const packet = frame + ethernet.HEADER_LENGTH;
    const version = packetVersion(slot);
    const range =
      version === 4
        ? hops.locate(data, packet + ipv4.DESTINATION, 4)
        : hops.locate(data, packet + ipv6.DESTINATION, 16);
    if (range < 0) return "nowhere";
    const neighbour = hops.neighbour(range, neighbours);
    if (neighbour < 0 || !neighbours.isUsable(neighbour)) {
      wanted = range;
      return "wait";
    }
    if (neighbours.isStale(neighbour) && ask(range, packetIn(slot), "go on")) neighbours.asking(neighbour);
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

  const age = (): void => {
    const nowUs = monotonicUs();
    if (nowUs - agedUs < AGE_US) return;
    neighbours.age(nowUs);
    agedUs = nowUs;
  };

  const send = (first: number, count: number): number => {
    age();
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
    if (way === "nowhere") return refuse("ENETUNREACH");
    const isKept = ask(wanted, packetIn(first), "wait");
    solicit(monotonicUs());
    return isKept ? 1 : refuse(ASKING);
  };

  /** Only for slots that are all frames: packets that wait are kept here at once. */
  const giveBehind = (count: number): boolean => {
    age();
    const first = (frames.behind?.third() ?? 0) * (slots / THIRDS);
    for (let slot = first; slot < first + count; slot++) if (address(slot) !== "frame") return false;
    return frames.behind?.give(count) ?? false;
  };

  /** Sends frames of the link's own, as many as can be sent. @param write the next one, or 0 when there is none */
  const sendOwn = (write: (at: number) => number): void => {
    for (let count = LINK_SLOTS; count === LINK_SLOTS; ) {
      count = 0;
      while (count < LINK_SLOTS) {
        const length = write(count * slotLength);
        if (length === 0) break;
        linkBatch.lengths[count++] = length;
      }
      // What is refused is as good as lost: a question is asked again, and the engine retries its SYN.
      if (count > 0) linkBatch.send(sender, 0, count);
    }
  };

  const solicit = (nowUs: number): void =>
    sendOwn((at) => {
      const next = solicitations.poll(nowUs, readUs);
      return next === undefined ? 0 : emitSolicitation(linkBatch.data, at, mac, next.source, next.address);
    });

  const receivePacket: PacketHandler = (bytes, at, end, ageUs) => {
    if (!reassembly.isFragment(bytes, at, end)) return handler(bytes, at, end, ageUs);
    const packet = reassembly.take(bytes, at, end, monotonicUs());
    if (packet !== undefined) handler(packet, 0, packet.length, ageUs);
  };

  /** What its neighbours tell the link is not for the engine. */
  const receiveFrame: PacketHandler = (bytes, at, end, ageUs) => {
    const told = readNeighbourAnswer(bytes, at, end);
    if (told === "none") return receivePacket(bytes, at + ethernet.HEADER_LENGTH, end, ageUs);
    if (told === undefined) return;
    loadAddress(words, 0, told.address, 0, told.address.length);
    const asked = solicitations.answered(words, 0);
    // Of strangers nothing is kept.
    const isLate = unresolved.delete(told.address.join());
    if (asked === undefined && !isLate && neighbours.find(words, 0) < 0) return;
    neighbours.hear(words, 0, told.mac, told.override, monotonicUs());
    for (const packet of asked?.held ?? []) {
      const frame = new Uint8Array(ethernet.HEADER_LENGTH + packet.length);
      // An IPv4 packet's next hop may have an IPv6 address (RFC 8950).
      const etherType = packet[0] >> 4 === 4 ? ethernet.ETHERTYPE.IPV4 : ethernet.ETHERTYPE.IPV6;
      ethernet.emit(frame, 0, { destination: told.mac, source: mac, etherType });
      frame.set(packet, ethernet.HEADER_LENGTH);
      answered.push(frame);
    }
  };

  /** Neighbours are asked, have answered, or have not: by what had come up to `readUs`. */
  const tendNeighbours = (nowUs: number, readUs: number): void => {
    if (answered.length > 0) {
      const ready = answered.splice(0).values();
      sendOwn((at) => {
        const frame = ready.next().value;
        if (frame === undefined) return 0;
        linkBatch.data.set(frame, at);
        return frame.length;
      });
    }
    solicit(nowUs);
    for (let failed = solicitations.pollFailure(readUs); failed !== undefined; ) {
      giveUp(failed);
      failed = solicitations.pollFailure(readUs);
    }
  };

  const giveUp = ({ address: absent, held }: Solicited): void => {
    loadAddress(words, 0, absent, 0, absent.length);
    const row = neighbours.find(words, 0);
    if (row >= 0) neighbours.failed(row);
    if (unresolved.size < MOST_UNRESOLVED) unresolved.set(absent.join(), absent);
    for (const packet of held) {
      const error = unreachableNeighbour(packet);
      handler(error, 0, error.length, 0);
    }
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
      receivePacket(inbox.data, start, start + Math.max(0, inbox.length(slot)), 0);
    }
    return received < OWN_SLOTS;
  };

  const dueIn = (): number => {
    const nowUs = monotonicUs();
    return Math.max(0, solicitations.pollTimeout(nowUs) - nowUs);
  };

  return {
    name: "packet",
    batch: { data, lengths, slots, slotLength, offset: ethernet.HEADER_LENGTH },
    send,
    get preparedUs() {
      return frames.preparedUs;
    },
    get sendError() {
      return sendError;
    },
    listen: (wanted, onReadable) => {
      handler = wanted;
      frames.listen(receiveFrame, onReadable);
      if (onReadable !== undefined) watching.listen(onReadable);
    },
    drain: () => {
      if (!open) return true;
      const nowUs = monotonicUs();
      const empty = frames.drain();
      // A process that did not run for a while finds answers that had come in time.
      if (empty) readUs = nowUs;
      tendNeighbours(nowUs, readUs);
      return drainOwn() && empty;
    },
    wait: (timeoutUs) => {
      if (frames.behind?.isBusy() === true) frames.wait(timeoutUs);
      else poll(Math.min(timeoutUs, dueIn()));
    },
    dueIn,
    unresolved: () => [...unresolved.values(), ...solicitations.asked()],
    behind: frames.behind === undefined ? undefined : { ...frames.behind, give: giveBehind },
    receiveDrops: frames.receiveDrops,
    receiveBuffer: frames.receiveBuffer,
    close: () => {
      if (!open) return;
      open = false;
      const wasWatched = watching.end();
      frames.close();
      closeOwn(handles, wasWatched ? "soon" : "now");
    },
  };
}

/** Closes handles that no link was made of, or whose thread is no more. */
export function closePacket(handles: PacketHandles): void {
  closeEthernet(handles.ethernet);
  closeOwn(handles, "now");
}

function closeOwn({ own, quiet }: PacketHandles, when: "now" | "soon"): void {
  closeAll([own, quiet], when);
}
