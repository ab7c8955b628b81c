/**
 * The simulated network: a prober's packets go in, packets of simulated hosts and routers come out, each when it is due.
 * Sans-I/O and without a clock: the same network runs under a virtual clock, or behind a real interface (runtime/lab/lab.ts).
 *
 * A packet goes over the path to its host (path/path.ts), arrives and is answered (host.ts), and its answers go over the path
 * back. Events happen in order of time, and each direction has its own random stream: the output depends on what went in and
 * when, not on how often it was polled.
 *
 * Where a path has hops, hops/route.ts says what becomes of a packet at each of them.
 *
 * Not modelled: links between the hosts, fragments, packet lengths (rates count packets).
 */
import { loadAddress } from "../socket/table.ts";
import type { Address } from "../wire/address.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { PROTOCOL } from "../wire/protocol.ts";
import * as tcp from "../wire/tcp.ts";
import { HOST, PEER } from "./answer.ts";
import type { LabDescription, PathDescription, Service } from "./description.ts";
import { createRoute, type Deciding, type Route, STOPPED } from "./hops/route.ts";
import { createHosts, type HostCounts, type Hosts } from "./host.ts";
import { createNoise } from "./noise.ts";
import { createPacketStore } from "./packets.ts";
import { mergePeriods, type Period } from "./path/bursts.ts";
import { newFlow } from "./path/flow.ts";
import { createPaths, type Direction, LOST, type Path, QUEUE_FULL } from "./path/path.ts";
import { createPopulation, type HostKind, type PortKind } from "./population.ts";
import { createRandom } from "./random.ts";
import { createTimeQueue } from "./time-queue.ts";

/** What a perfect prober would say of one port. The words are scan/probe/result.ts's. */
export interface Truth {
  readonly state: "open" | "closed" | "filtered";
  /** All correct reasons. */
  readonly reasons: readonly PortKind["reason"][];
  /** What an open port does once it is connected. */
  readonly service?: Service;
  /** Whether every port of this host answers SYN-ACK, and then nothing. */
  readonly tarpit: boolean;
  /** The router on the way that decides it; where only some flows pass it, the state is that of the others. */
  readonly router?: Deciding;
}

/** Running totals; read at any time. */
export interface NetworkCounts extends HostCounts {
  /** Packets that came from the prober, and packets that reached it. */
  in: number;
  out: number;
  /** SYNs without ACK from the prober, whatever became of them. */
  syns: number;
  /** Lost at random, in bursts and in outages, each way. */
  lostIn: number;
  lostOut: number;
  /** Dropped at a full bottleneck queue, each way. */
  queueDropsIn: number;
  queueDropsOut: number;
  /** Stopped at a router: lost on its link, used up there, or dropped by its rules. */
  stopped: number;
  /** Second copies, both ways. */
  duplicated: number;
  /** Forged packets. */
  forged: number;
  /** Packets to addresses where nothing is simulated. */
  unserved: number;
  /** Packets for which there was no memory, or longer than the MTU. */
  overflow: number;
}

export interface LabNetwork {
  /** An IP packet, `bytes[at, end)`, enters the network from the prober; the bytes are copied. Times must not go back. */
  handlePacket(bytes: Uint8Array, at: number, end: number, nowUs: number): void;
  /** Processes everything due at or before `nowUs`. */
  handleTimeout(nowUs: number): void;
  /** When `handleTimeout` or `pollTransmit` next has something to do; Infinity when never. */
  pollTimeout(): number;
  /**
   * Writes the next packet that reaches the prober at or before `nowUs` at `out[at]`.
   * @returns its length, at most 1500; 0 when there is none
   */
  pollTransmit(nowUs: number, out: Uint8Array, at: number): number;
  /** When the packet that `pollTransmit` last wrote was due at the prober. */
  readonly dueUs: number;
  /** Whether a simulated host, or silent space, is at this address, so that ARP answers for it. */
  serves(address: Address): boolean;
  truth(address: Address, port: number): Truth;
  /**
   * When bursts and outages lose every packet of this pair, one way or the other, up to `untilUs`: ascending, apart from each
   * other. What depends on the prober's port is not among them.
   */
  awayTimes(address: Address, port: number, untilUs: number): Period[];
  readonly counts: Readonly<NetworkCounts>;
  /** What all hosts hold now: half-open and connected TCP connections, bytes of buffer memory. */
  readonly held: Hosts["held"];
}

export interface NetworkOptions {
  /** Seed; the description's when left out. */
  readonly random?: number;
  /** The earliest time that will be passed in, in microseconds; rate changes count from here. */
  readonly startUs: number;
}

/** Random streams: path in, path out, noise. */
const STREAM_IN = 1;
const STREAM_OUT = 2;
const STREAM_NOISE = 3;
const STREAM_ROUTERS = 4;

const DEFAULT_SEED = 1;

/** @throws {RangeError} for a description that `parseDescription` would refuse */
export function createNetwork(description: LabDescription, options: NetworkOptions): LabNetwork {
  const seed = options.random ?? description.seed ?? DEFAULT_SEED;
  const population = createPopulation(description, seed);
  const createPath = createPaths(description.path ?? {}, options.startUs, seed, {
    in: createRandom(seed, STREAM_IN),
    out: createRandom(seed, STREAM_OUT),
  });
  const commonPath = createPath();
  const ownPaths = new Map<PathDescription, Path>();
  for (const { path } of population.kinds) {
    if (path !== undefined && !ownPaths.has(path)) ownPaths.set(path, createPath(path));
  }
  const packets = createPacketStore();
  /** Packets in transit to the hosts, from routers and hosts to where the way out begins, and to the prober. */
  const inward = createTimeQueue();
  const returning = createTimeQueue();
  const outward = createTimeQueue();
  /** Of each packet in `returning`, by its slot. */
  const wayOut: Path[] = [];
  const routes = createRoutes();
  const counts: NetworkCounts = {
    in: 0,
    out: 0,
    syns: 0,
    lostIn: 0,
    lostOut: 0,
    queueDropsIn: 0,
    queueDropsOut: 0,
    stopped: 0,
    duplicated: 0,
    forged: 0,
    unserved: 0,
    overflow: 0,
    unreadable: 0,
    rstLimited: 0,
    icmpLimited: 0,
    backlogDrops: 0,
    synAckRepeats: 0,
    abandoned: 0,
    accepted: 0,
  };

  const pathOf = ({ path }: HostKind): Path =>
    path === undefined ? commonPath : (ownPaths.get(path) ?? commonPath);

  /** The path of the packet that passes routers now: what they say of it goes back on the same. */
  let entered = commonPath;
  /** The routers on the way to hosts of each kind, where there are any. */
  function createRoutes(): Map<HostKind, Route> {
    const random = createRandom(seed, STREAM_ROUTERS);
    const made = new Map<PathDescription, Route | undefined>();
    const found = new Map<HostKind, Route>();
    for (const kind of population.kinds) {
      const path = kind.path?.hops === undefined ? (description.path ?? {}) : kind.path;
      if (!made.has(path)) {
        const route = createRoute(path, seed, random, (b, length, atUs) =>
          comeBack(entered, b, length, atUs),
        );
        made.set(path, route);
      }
      const route = made.get(path);
      if (route !== undefined) found.set(kind, route);
    }
    return found;
  }

  const hosts = createHosts(population, seed, counts, (kind, out, length, nowUs) => {
    const route = routes.get(kind);
    if (route === undefined) {
      leave(pathOf(kind), out, 0, length, nowUs);
      return;
    }
    if (!readAddresses(out, 0, length, back, PEER, HOST)) return;
    const delayUs = route.back(out, length, back);
    if (delayUs === STOPPED) counts.stopped++;
    else comeBack(pathOf(kind), out, length, nowUs + delayUs);
  });

  /** A packet that will be at the near end of the routers at `atUs`. */
  function comeBack(path: Path, b: Uint8Array, length: number, atUs: number): void {
    const slot = packets.put(b, 0, length);
    if (slot < 0) counts.overflow++;
    else {
      wayOut[slot] = path;
      returning.push(atUs, slot);
    }
  }

  /** A packet enters the way to the prober. */
  function leave({ out: way }: Path, b: Uint8Array, at: number, length: number, nowUs: number): void {
    const through = way.enter(b, at, at + length, nowUs);
    if (through === LOST) counts.lostOut++;
    else if (through === QUEUE_FULL) counts.queueDropsOut++;
    else travel(way, outward, b, at, length, through);
  }
  const noise = createNoise(
    description.noise ?? {},
    createRandom(seed, STREAM_NOISE),
    (out, length, nowUs) => {
      counts.forged++;
      keep(outward, out, 0, length, nowUs);
    },
  );

  /** From the bottleneck to the other end: one copy or two, each with its delay. */
  function travel(
    way: Direction,
    queue: typeof inward,
    b: Uint8Array,
    at: number,
    length: number,
    fromUs: number,
  ): void {
    const copies = way.copies();
    counts.duplicated += copies - 1;
    for (let copy = 0; copy < copies; copy++) keep(queue, b, at, length, fromUs + way.delay());
  }

  function keep(queue: typeof inward, b: Uint8Array, at: number, length: number, untilUs: number): void {
    const slot = packets.put(b, at, length);
    if (slot < 0) counts.overflow++;
    else queue.push(untilUs, slot);
  }

  const pair = new Uint32Array(8);
  /** The same of a packet on its way back. */
  const back = new Uint32Array(8);
  /** Reads a packet's destination and source into `words`, at these places. @returns false when it is too short */
  function readAddresses(
    b: Uint8Array,
    at: number,
    end: number,
    words: Uint32Array,
    destination: number,
    source: number,
  ): boolean {
    if (ipv4.checkLength(b, at, end) !== 0) {
      loadAddress(words, destination, b, at + ipv4.DESTINATION, 4);
      loadAddress(words, source, b, at + ipv4.SOURCE, 4);
      return true;
    }
    if (ipv6.checkLength(b, at, end) === 0) return false;
    loadAddress(words, destination, b, at + ipv6.DESTINATION, 16);
    loadAddress(words, source, b, at + ipv6.SOURCE, 16);
    return true;
  }

  function handlePacket(b: Uint8Array, at: number, end: number, nowUs: number): void {
    advance(nowUs);
    counts.in++;
    if (!readAddresses(b, at, end, pair, HOST, PEER)) {
      counts.unreadable++;
      return;
    }
    const kind = population.kindAt(pair, HOST);
    countSyn(b, at, end, nowUs, kind !== undefined);
    if (kind === undefined) {
      counts.unserved++;
      return;
    }
    entered = pathOf(kind);
    const { in: way } = entered;
    const through = way.enter(b, at, end, nowUs);
    if (through === LOST) counts.lostIn++;
    else if (through === QUEUE_FULL) counts.queueDropsIn++;
    else {
      const route = routes.get(kind);
      if (route === undefined) travel(way, inward, b, at, end - at, through);
      else passRouters(way, route, b, at, end, through);
    }
  }

  const routed = new Uint8Array(65_536);
  function passRouters(
    way: Direction,
    route: Route,
    b: Uint8Array,
    at: number,
    end: number,
    fromUs: number,
  ): void {
    const copies = way.copies();
    counts.duplicated += copies - 1;
    for (let copy = 0; copy < copies; copy++) {
      routed.set(b.subarray(at, end));
      const atUs = fromUs + way.delay();
      const delayUs = route.forward(routed, 0, end - at, pair, atUs);
      if (delayUs === STOPPED) counts.stopped++;
      else keep(inward, routed, 0, end - at, atUs + delayUs);
    }
  }

  /** Counts a SYN, and reports one to a simulated host to the noise. */
  function countSyn(b: Uint8Array, at: number, end: number, nowUs: number, served: boolean): void {
    const v4 = b[at] >>> 4 === 4;
    const segmentAt = at + (v4 ? ipv4.headerLength(b, at) : ipv6.HEADER_LENGTH);
    const protocol = v4 ? ipv4.protocol(b, at) : ipv6.nextHeader(b, at);
    if (protocol !== PROTOCOL.TCP || tcp.checkLength(b, segmentAt, end) === 0) return;
    if ((tcp.flags(b, segmentAt) & (tcp.FLAGS.SYN | tcp.FLAGS.ACK)) !== tcp.FLAGS.SYN) return;
    counts.syns++;
    if (!served || description.noise === undefined) return;
    const ports = ((tcp.destinationPort(b, segmentAt) << 16) | tcp.sourcePort(b, segmentAt)) >>> 0;
    noise.observe(pair, ports, nowUs);
  }

  const nextEvent = (): number =>
    Math.min(inward.next(), returning.next(), hosts.pollTimeout(), noise.pollTimeout());

  /** Processes arrivals, timers and noise, each when it is due. */
  function advance(nowUs: number): void {
    for (let time = nextEvent(); time <= nowUs; time = nextEvent()) {
      if (inward.next() === time) {
        const slot = inward.pop();
        const at = packets.offset(slot);
        hosts.handlePacket(packets.bytes(slot), at, at + packets.length(slot), time);
        packets.free(slot);
      } else if (returning.next() === time) {
        const slot = returning.pop();
        leave(wayOut[slot], packets.bytes(slot), packets.offset(slot), packets.length(slot), time);
        packets.free(slot);
      } else if (hosts.pollTimeout() === time) hosts.handleTimeout(time);
      else noise.handleTimeout(time);
    }
  }

  let dueUs = 0;
  const lookUp = new Uint32Array(4);
  function kindAt(address: Address): HostKind | undefined {
    loadAddress(lookUp, 0, address, 0, address.length);
    return population.kindAt(lookUp, 0);
  }

  function truth(address: Address, port: number): Truth {
    const kind = kindAt(address);
    if (kind === undefined) return { state: "filtered", reasons: ["no-response"], tarpit: false };
    const router = routes.get(kind)?.deciding(lookUp, port);
    if (router === undefined) return truthOfHost(kind, port);
    if (router.share < 1) return { ...truthOfHost(kind, port), router };
    const { tarpit } = kind;
    if (router.back || router.does === "drop")
      return { state: "filtered", reasons: ["no-response"], tarpit, router };
    if (router.does === "reset") return { state: "closed", reasons: ["reset"], tarpit, router };
    return { state: "filtered", reasons: [router.does, "no-response"], tarpit, router };
  }

  function truthOfHost(kind: HostKind, port: number): Truth {
    const { state, reason, service } = kind.portKind(lookUp, 0, port);
    const { tarpit } = kind;
    if (state === "open") {
      return { state, reasons: [reason], ...(service === undefined ? {} : { service }), tarpit };
    }
    if (state === "closed") return { state, reasons: [reason], tarpit };
    // A router beyond its ICMP limit is silent.
    const silent = state === "rejected" && kind.icmpLimits !== undefined ? ["no-response" as const] : [];
    return { state: "filtered", reasons: [reason, ...silent], tarpit };
  }

  const asked = newFlow();
  function awayTimes(address: Address, port: number, untilUs: number): Period[] {
    const kind = kindAt(address);
    if (kind === undefined) return [];
    asked.host.set(lookUp);
    asked.port = port;
    const { in: inward, out } = pathOf(kind);
    const rules = new Set([...inward.weather, ...out.weather]);
    return mergePeriods([...rules].flatMap((rule) => rule.periods(asked, untilUs)));
  }

  return {
    handlePacket,
    handleTimeout: advance,
    pollTimeout: () => Math.min(outward.next(), nextEvent()),
    pollTransmit: (nowUs, out, at) => {
      advance(nowUs);
      const due = outward.next();
      if (due > nowUs) return 0;
      dueUs = due;
      const slot = outward.pop();
      const from = packets.bytes(slot);
      const offset = packets.offset(slot);
      const length = packets.length(slot);
      for (let i = 0; i < length; i++) out[at + i] = from[offset + i];
      packets.free(slot);
      counts.out++;
      return length;
    },
    get dueUs() {
      return dueUs;
    },
    serves: (address) => kindAt(address) !== undefined,
    truth,
    awayTimes,
    counts,
    get held() {
      return hosts.held;
    },
  };
}
