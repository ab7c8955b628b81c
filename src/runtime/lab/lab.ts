/**
 * The lab as real packets: a pair of virtual interfaces in the network namespace that this process is in, the prober's
 * address on one end, the simulated network served from the other.
 *
 * Not here: the simulated network (lab/network.ts), frames to packets (lab/link-layer.ts), the namespace (namespace.ts).
 */
import { setPriority } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { LabDescription } from "../../lab/description.ts";
import { createLinkLayer, type LinkLayer } from "../../lab/link-layer.ts";
import { createNetwork, type LabNetwork, type NetworkCounts } from "../../lab/network.ts";
import { PROBER, parseRange } from "../../lab/ranges.ts";
import { addAddress, addRoute, addVethPair, bringUp, withoutLinkLocal } from "../../link/configure.ts";
import { openEthernet, type PacketLink } from "../../link/ethernet.ts";
import { type Interface, localAddresses, lookUpInterface } from "../../link/route.ts";
import { networkOf } from "../../scan/targets/address-range.ts";
import { type Address, formatAddress, parseAddress } from "../../wire/address.ts";
import { nowUs } from "../system/clock.ts";
import { readFile } from "../system/system.ts";

/** The prober's side of the lab. The addresses are for documentation (RFC 5737, RFC 3849): nothing real has them. */
export const LAB = {
  interfaceName: "lab0",
  ipv4: PROBER.ipv4,
  gateway4: "192.0.2.254",
  prefixLength4: 24,
  ipv6: PROBER.ipv6,
  gateway6: "2001:db8::fe",
  prefixLength6: 64,
} as const;

/** Locally administered addresses (IEEE 802). The far interface has another, so that the kernel ignores the lab's frames. */
const PROBER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const LAB_MAC = Uint8Array.of(2, 0, 0, 0, 0, 0xfe);
const FAR_NAME = "lab1";
/** An Ethernet header and 1500 bytes. */
const FRAME_LENGTH = 1514;
/** Longest time for the pair to come up, in milliseconds. */
const UP_MS = 2000;

/** What has happened in a lab so far. The names are those of the JSON of `synprobe lab --report`. */
export interface LabReport {
  /** What the simulated network did with packets. */
  readonly network: Readonly<NetworkCounts>;
  /** SYNs received in each tenth of a second since the lab's start; the first hour at most. */
  readonly syns_per_100ms: readonly number[];
  /** Where the lab fell short of its description. All should be 0, or small compared with the path's times. */
  readonly lab: {
    /** Frames of the prober lost because the lab's receive ring was full. */
    readonly ring_drops: number;
    /** Frames that the kernel lost between the two interfaces: to the lab, and to the prober. */
    readonly wire_drops: { readonly in: number; readonly out: number };
    /** Frames to the prober that the kernel refused. */
    readonly refused: number;
    /** How late packets to the prober were sent, in milliseconds, and how many were later than that. */
    readonly late_ms: { readonly mean: number; readonly max: number };
    readonly late: { readonly over_1ms: number; readonly over_10ms: number; readonly over_100ms: number };
  };
}

export interface LabService {
  /**
   * Raises the lab's priority over other processes, as a network does not wait for the prober. Call it after the command has
   * been started, or the command inherits the priority.
   */
  takePrecedence(): void;
  /** Seconds since the lab's start, from which its rate changes count. */
  elapsedS(): number;
  /** May be asked at any time before `stop`. */
  report(): LabReport;
  stop(): void;
}

/**
 * Sets the network up and serves it from this thread's event loop.
 * @param onError called when the link has become unusable
 * @throws {SynprobeError} `ERR_SYSTEM`, `ERR_PRIVILEGE` when the namespace is not this process's to configure
 */
export async function serveLab(
  description: LabDescription,
  onError: (error: unknown) => void,
): Promise<LabService> {
  await configure(description);
  const link = await openEthernet({ interfaceName: FAR_NAME, slotLength: FRAME_LENGTH });
  const startUs = nowUs();
  const network = createNetwork(description, { startUs });
  const gateways = [address(LAB.gateway4), address(LAB.gateway6)];
  return serve(link, createLinkLayer({ mac: LAB_MAC, gateways, network }), network, startUs, onError);
}

async function configure(description: LabDescription): Promise<void> {
  bringUp(interfaceNamed("lo").index);
  addVethPair(LAB.interfaceName, PROBER_MAC, FAR_NAME);
  const near = interfaceNamed(LAB.interfaceName).index;
  for (const index of [interfaceNamed(FAR_NAME).index, near]) {
    withoutLinkLocal(index);
    bringUp(index);
  }
  addAddress(near, address(LAB.ipv4), LAB.prefixLength4);
  addAddress(near, address(LAB.ipv6), LAB.prefixLength6);
  for (const { first, prefixLength } of routesTo(description)) {
    addRoute(near, first, prefixLength, address(first.length === 4 ? LAB.gateway4 : LAB.gateway6));
  }
  const giveUpAt = nowUs() + UP_MS * 1000;
  while (![LAB.interfaceName, FAR_NAME].every((name) => interfaceNamed(name).running)) {
    if (nowUs() > giveUpAt)
      throw new SynprobeError(ERROR_CODES.system, "the lab's interfaces do not come up");
    await sleep(1);
  }
}

/**
 * Whether this process's network namespace is a lab's: the prober's interface with its addresses, and nothing else up
 * through which a packet could leave. (Kernel modules may have put tunnels there, which are down.)
 */
export function isInLab(): boolean {
  const names = [...(readFile("/proc/net/dev") ?? "").matchAll(/^ *([^\s:]+):/gm)].map(([, name]) => name);
  const up = names.flatMap((name) => lookUpInterface(name) ?? []).filter((found) => found.up);
  const near = up.find(({ name }) => name === LAB.interfaceName);
  return (
    near?.mac !== undefined &&
    Buffer.compare(near.mac, PROBER_MAC) === 0 &&
    up.every(({ name, loopback }) => loopback || name === LAB.interfaceName || name === FAR_NAME) &&
    localAddresses(4).some(
      (local) => local.interfaceIndex === near.index && formatAddress(local.address) === LAB.ipv4,
    )
  );
}

function interfaceNamed(name: string): Interface {
  const found = lookUpInterface(name);
  if (found === undefined) throw new SynprobeError(ERROR_CODES.system, `there is no interface ${name} here`);
  return found;
}

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new RangeError(`not an address: ${text}`);
  return parsed;
}

export interface Prefix {
  readonly first: Address;
  readonly prefixLength: number;
}

/** For each range of hosts the smallest prefix that holds it, without those inside another or on the prober's own link. */
export function routesTo({ hosts }: LabDescription): Prefix[] {
  const known: Prefix[] = [
    { first: address(LAB.ipv4), prefixLength: LAB.prefixLength4 },
    { first: address(LAB.ipv6), prefixLength: LAB.prefixLength6 },
  ];
  const wanted = hosts.flatMap(({ range }): Prefix[] => {
    const ends = parseRange(range);
    if (typeof ends === "string") return [];
    const prefixLength = commonBits(ends.first, ends.last);
    const { first } = networkOf(ends.first, prefixLength);
    return [{ first, prefixLength }];
  });
  const isInside = (inner: Prefix, outer: Prefix): boolean =>
    inner.first.length === outer.first.length &&
    inner.prefixLength >= outer.prefixLength &&
    commonBits(inner.first, outer.first) >= outer.prefixLength;
  // The widest first: what is inside it comes later.
  return wanted
    .sort((a, b) => a.prefixLength - b.prefixLength)
    .filter((prefix) => {
      if (known.some((outer) => isInside(prefix, outer))) return false;
      known.push(prefix);
      return true;
    });
}

/** How many bits two addresses have in common, from the first on. */
function commonBits(a: Address, b: Address): number {
  const at = a.findIndex((byte, i) => byte !== b[i]);
  return at < 0 ? a.length * 8 : at * 8 + Math.clz32(a[at] ^ b[at]) - 24;
}

/** This close to a deadline the thread waits without a timer: the event loop's timers count in milliseconds. */
const NEAR_US = 2000;
/** setTimeout's limit is 2^31 - 1 ms; wake at least this often. */
const LONGEST_SLEEP_MS = 60_000;
/** How often another machine on the link announces itself, in milliseconds, and its address, which nobody asks for. */
const ANNOUNCE_MS = 1000;
const BYSTANDER = Uint8Array.of(192, 0, 2, 253);
/** Batches sent before received frames are read: more frames than one turn reads, or a flood would delay the answers. */
const BATCHES_PER_TURN = 10;

function serve(
  link: PacketLink,
  layer: LinkLayer,
  network: LabNetwork,
  startUs: number,
  onError: (error: unknown) => void,
): LabService {
  const { batch } = link;
  let timer: NodeJS.Timeout | undefined;
  let immediate: NodeJS.Immediate | undefined;
  /** When the last frame was received: the ring hands it over up to a millisecond later, with its time stamp. */
  let arrivedUs = 0;
  /**
   * When the turn's first frame was handed over. The ages of all frames of the turn count from it, however long handling
   * takes. Read after the ring's own clock, so that no frame seems to be received earlier than it was.
   */
  let readUs: number | undefined;
  // masscan looks whether its time is over only when a packet has come: a link on which nothing ever passes holds it for ever.
  const announcing = setInterval(() => {
    layer.announce(BYSTANDER);
    if (immediate === undefined) turn();
  }, ANNOUNCE_MS);
  const dues = new Float64Array(batch.slots);
  const lateness = createBaseRtt();
  const synsPerTenth: number[] = [];
  let refused = 0;

  /** @returns whether the batch was full */
  function sendBatch(now: number): boolean {
    let count = 0;
    while (count < batch.slots) {
      const { out } = network.counts;
      const length = layer.pollTransmit(now, batch.data, count * batch.slotLength + batch.offset);
      if (length === 0) break;
      // Answers of the link layer are due at once.
      dues[count] = network.counts.out > out ? network.dueUs : now;
      batch.lengths[count++] = length;
    }
    // A frame that the kernel refuses is lost, as on any network.
    for (let done = 0; done < count; ) {
      const sent = link.send(done, count - done);
      if (sent === 0) refused++;
      done += Math.max(1, sent);
    }
    if (count > 0) {
      const sentUs = nowUs();
      for (let i = 0; i < count; i++) lateness.count(sentUs - dues[i]);
    }
    return count === batch.slots;
  }

  function turn(): void {
    clearTimeout(timer);
    immediate = undefined;
    try {
      readUs = undefined;
      const empty = link.drain();
      // While frames wait, the network's time is that of the next one: no timer fires before earlier frames are read.
      const now = empty ? nowUs() : arrivedUs;
      network.handleTimeout(now);
      for (let i = 0; i < BATCHES_PER_TURN && sendBatch(now); i++);
      const left = network.pollTimeout() - nowUs();
      if (empty && left >= NEAR_US) {
        timer = setTimeout(turn, Math.min(LONGEST_SLEEP_MS, (left - NEAR_US / 2) / 1000));
        return;
      }
      if (empty && left > 0) link.wait(left);
      immediate = setImmediate(turn);
    } catch (error) {
      onError(error);
    }
  }

  link.listen(
    (bytes, at, end, ageUs) => {
      readUs ??= nowUs();
      arrivedUs = Math.max(arrivedUs, readUs - ageUs);
      const { syns } = network.counts;
      layer.handleFrame(bytes, at, end, arrivedUs);
      const tenth = Math.floor((arrivedUs - startUs) / TENTH_US);
      if (network.counts.syns > syns && tenth < MOST_TENTHS) {
        while (synsPerTenth.length <= tenth) synsPerTenth.push(0);
        synsPerTenth[tenth]++;
      }
    },
    () => {
      if (immediate === undefined) turn();
    },
    onError,
  );
  turn();
  return {
    takePrecedence: () => {
      try {
        setPriority(PRECEDENCE);
      } catch {
        // Only root may. Without it the lab is later when the machine is busy, and its report says how late.
      }
    },
    elapsedS: () => (nowUs() - startUs) / 1e6,
    report: () => ({
      network: { ...network.counts },
      syns_per_100ms: [...synsPerTenth],
      lab: {
        ring_drops: link.receiveDrops(),
        wire_drops: { in: droppedBy(LAB.interfaceName), out: droppedBy(FAR_NAME) },
        refused,
        ...lateness.report(),
      },
    }),
    stop: () => {
      clearInterval(announcing);
      clearTimeout(timer);
      clearImmediate(immediate);
      link.close();
    },
  };
}

/** Of nice(2). */
const PRECEDENCE = -10;
const TENTH_US = 100_000;
/** An hour. */
const MOST_TENTHS = 36_000;

/** Frames of an interface dropped because the peer had no room: /proc/net/dev, "drop" under "Transmit". */
function droppedBy(name: string): number {
  const line = (readFile("/proc/net/dev") ?? "")
    .split("\n")
    .map((each) => each.trim())
    .find((each) => each.startsWith(`${name}:`));
  return Number(
    line
      ?.slice(name.length + 1)
      .trim()
      .split(/\s+/)[11] ?? 0,
  );
}

/** How late packets were, summed up in bounded memory. */
function createBaseRtt() {
  let count = 0;
  let sumUs = 0;
  let maxUs = 0;
  const late = { over_1ms: 0, over_10ms: 0, over_100ms: 0 };
  return {
    count: (us: number): void => {
      count++;
      sumUs += us;
      if (us > maxUs) maxUs = us;
      if (us > 1000) late.over_1ms++;
      if (us > 10_000) late.over_10ms++;
      if (us > 100_000) late.over_100ms++;
    },
    report: () => ({
      late_ms: { mean: count === 0 ? 0 : round(sumUs / count / 1000), max: round(maxUs / 1000) },
      late: { ...late },
    }),
  };
}

const round = (ms: number): number => Math.round(ms * 1000) / 1000;
