/**
 * Neighbours: which hardware address an IP address on the link has, as this machine's kernel knows it (rtnetlink(7),
 * `RTM.getNeighbour`), and a table of our own with room for as many hosts as a link holds.
 *
 * Nobody is asked here (solicitations.ts). Only interfaces with a `mac` (route.ts) have neighbours.
 */
import { readFileSync } from "node:fs";
import { ADDRESS_WORDS, copyWords, loadAddress, sameWords } from "../socket/table.ts";
import type { Address } from "../wire/address.ts";
import { MAC_LENGTH, type Mac } from "../wire/ethernet.ts";
import { addressIn } from "./route.ts";
import { familyNumber } from "./sys/linux.ts";
import { fromU32, hostU16, hostU32, netlinkRequest } from "./sys/netlink.ts";
import { HEADER_LENGTH, NDA, RTM } from "./sys/rtnetlink.ts";

/** struct ndmsg: family u8, padding, interface index i32 at 4, state u16 at 8, flags u8, type u8. */
const NDMSG = { interfaceIndex: 4, state: 8 } as const;

/** NUD_* bits (linux/neighbour.h); RFC 4861 7.3.2 says what they mean. */
const STATES = {
  1: "incomplete",
  2: "reachable",
  4: "stale",
  8: "delay",
  16: "probe",
  32: "failed",
  64: "noarp",
  128: "permanent",
} as const;
export type NeighbourState = (typeof STATES)[keyof typeof STATES] | "none";

export interface Neighbour {
  readonly address: Address;
  readonly state: NeighbourState;
  /** Absent while the address is not resolved. */
  readonly mac?: Mac;
}

/** The kernel's neighbours on one interface; valid until the next call. @throws {SynprobeError} `ERR_SYSTEM` */
export function lookUpNeighbours(interfaceIndex: number, family: 4 | 6): Neighbour[] {
  const header = new Uint8Array(HEADER_LENGTH.neighbour);
  header[0] = familyNumber(family);
  // An older kernel takes no notice of this attribute and gives all interfaces.
  const wanted = [{ type: NDA.interfaceIndex, value: fromU32(interfaceIndex) }];
  const answer = netlinkRequest(RTM.getNeighbour, header, wanted, "dump");
  if (!answer.ok) return [];
  return answer.messages.flatMap((message) => {
    if (hostU32(message.body, NDMSG.interfaceIndex) !== interfaceIndex) return [];
    const found = message.attributes(HEADER_LENGTH.neighbour);
    const address = addressIn(found.get(NDA.destination), family === 4 ? 4 : 16);
    const mac = found.get(NDA.linkLayer);
    if (address === undefined) return [];
    const state = STATES[hostU16(message.body, NDMSG.state) as keyof typeof STATES] ?? "none";
    return [{ address, state, ...(mac?.length === MAC_LENGTH ? { mac } : {}) }];
  });
}

/** When and how often neighbours are asked, in microseconds: what arp(7) and RFC 4861 10 have, unless the user has changed it. */
export interface NeighbourTiming {
  /** After this long an entry is stale. */
  readonly reachableUs: number;
  readonly retransmitUs: number;
  /** Questions until a neighbour is given up. */
  readonly questions: number;
}

/** The kernel's settings for an interface; IPv4's, which IPv6 has too by default. */
export function readNeighbourTiming(interfaceName: string): NeighbourTiming {
  const setting = (name: string, usual: number): number => {
    try {
      return Number(readFileSync(`/proc/sys/net/ipv4/neigh/${interfaceName}/${name}`, "utf8")) || usual;
    } catch {
      return usual;
    }
  };
  return {
    reachableUs: 1000 * setting("base_reachable_time_ms", 30_000),
    retransmitUs: 1000 * setting("retrans_time_ms", 1000),
    questions: setting("mcast_solicit", 3),
  };
}

/** An entry is not replaced before this, in microseconds: of two hosts with one address the first counts (arp(7), locktime). */
const LOCK_US = 1e6;
/** More neighbours than any link has: beyond it the table is emptied. */
const MOST_NEIGHBOURS = 1 << 16;
const FIRST_CAPACITY = 256;

export interface NeighbourTable {
  /** Changes when numbers from `find` are no longer valid. */
  readonly version: number;
  /** Number of the neighbour with the address at `words[at]` (see loadAddress), or -1. */
  find(words: Uint32Array, at: number): number;
  /** Whether frames may be sent to it. */
  isUsable(neighbour: number): boolean;
  /** Whether it is usable, but to be asked again: `asking` notes that it is. */
  isStale(neighbour: number): boolean;
  asking(neighbour: number): void;
  /** It has not answered. */
  failed(neighbour: number): void;
  /** Writes the neighbour's hardware address. */
  putMac(neighbour: number, out: Uint8Array, at: number): void;
  /** Adds what the kernel knows at `nowUs`; a permanent entry is never stale. */
  learn(neighbours: readonly Neighbour[], nowUs: number): void;
  /**
   * The neighbour with the address at `words[at]` has said that `mac` is its hardware address.
   * @param override false when a known one is to be kept (RFC 4861 7.2.5)
   */
  hear(words: Uint32Array, at: number, mac: Mac, override: boolean, nowUs: number): void;
  /** Finds out which entries are stale at `nowUs`. */
  age(nowUs: number): void;
}

const UNUSABLE = 0;
const STALE = 1;
/** Stale, and asked. */
const ASKING = 2;
const REACHABLE = 3;

/** An empty table, whose entries are stale after `reachableUs`. Rows are dense and keep their numbers; open addressing finds them. Looking up allocates nothing. */
export function createNeighbourTable({ reachableUs }: Pick<NeighbourTiming, "reachableUs">): NeighbourTable {
  let addresses = new Uint32Array(0);
  let macs = new Uint8Array(0);
  let states = new Uint8Array(0);
  let heardUs = new Float64Array(0);
  /** Row + 1 by hash, 0 for none; twice as long as the columns. */
  let index = new Int32Array(0);
  let count = 0;
  let version = 0;
  const key = new Uint32Array(ADDRESS_WORDS);

  const homeOf = (words: Uint32Array, at: number): number => {
    let hash = words[at] ^ Math.imul(words[at + 1], 0x9e37_79b1);
    hash = Math.imul(hash ^ words[at + 2], 0x85eb_ca6b) ^ words[at + 3];
    return (Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d) >>> 8) & (index.length - 1);
  };
  const placeOf = (words: Uint32Array, at: number): number => {
    let place = homeOf(words, at);
    while (index[place] !== 0 && !sameWords(addresses, (index[place] - 1) * ADDRESS_WORDS, words, at))
      place = (place + 1) & (index.length - 1);
    return place;
  };
  const grow = (capacity: number): void => {
    const widen = <T extends { set(from: T): void }>(to: T, from: T): T => {
      to.set(from);
      return to;
    };
    addresses = widen(new Uint32Array(capacity * ADDRESS_WORDS), addresses);
    macs = widen(new Uint8Array(capacity * MAC_LENGTH), macs);
    states = widen(new Uint8Array(capacity), states);
    heardUs = widen(new Float64Array(capacity), heardUs);
    index = new Int32Array(2 * capacity);
    for (let row = 0; row < count; row++) index[placeOf(addresses, row * ADDRESS_WORDS)] = row + 1;
  };
  const add = (words: Uint32Array, at: number): number => {
    version++;
    if (count === MOST_NEIGHBOURS) {
      count = 0;
      index.fill(0);
    } else if (count === states.length) {
      grow(2 * count);
    }
    copyWords(addresses, count * ADDRESS_WORDS, words, at);
    index[placeOf(words, at)] = count + 1;
    return count++;
  };
  grow(FIRST_CAPACITY);

  const find = (words: Uint32Array, at: number): number => index[placeOf(words, at)] - 1;
  const note = (row: number, mac: Mac, state: number, atUs: number): void => {
    macs.set(mac, row * MAC_LENGTH);
    states[row] = state;
    heardUs[row] = atUs;
  };
  const isMac = (row: number, mac: Mac): boolean =>
    mac.every((byte, i) => byte === macs[row * MAC_LENGTH + i]);
  return {
    get version() {
      return version;
    },
    find,
    isUsable: (row) => states[row] !== UNUSABLE,
    isStale: (row) => states[row] === STALE,
    asking: (row) => {
      states[row] = ASKING;
    },
    failed: (row) => {
      states[row] = UNUSABLE;
    },
    putMac: (row, out, at) => {
      for (let i = 0; i < MAC_LENGTH; i++) out[at + i] = macs[row * MAC_LENGTH + i];
    },
    learn: (neighbours, nowUs) => {
      for (const { address, state, mac } of neighbours) {
        if (mac === undefined || state === "failed" || state === "incomplete") continue;
        loadAddress(key, 0, address, 0, address.length);
        const known = find(key, 0);
        const lasts = state === "permanent" || state === "noarp";
        note(
          known < 0 ? add(key, 0) : known,
          mac,
          state === "stale" ? STALE : REACHABLE,
          lasts ? Number.POSITIVE_INFINITY : nowUs,
        );
      }
    },
    hear: (words, at, mac, override, nowUs) => {
      const known = find(words, at);
      if (known >= 0 && states[known] !== UNUSABLE) {
        // So is a permanent one.
        const isFresh = states[known] === REACHABLE && nowUs - heardUs[known] < LOCK_US;
        if (isFresh || (!override && !isMac(known, mac))) return;
      }
      note(known < 0 ? add(words, at) : known, mac, REACHABLE, nowUs);
    },
    age: (nowUs) => {
      for (let row = 0; row < count; row++) {
        if (states[row] === REACHABLE && nowUs - heardUs[row] > reachableUs) states[row] = STALE;
      }
    },
  };
}
