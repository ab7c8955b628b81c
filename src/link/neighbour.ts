/**
 * Neighbours: which hardware address an IP address on the link has, as this machine's kernel knows it (rtnetlink(7),
 * `RTM.getNeighbour`), and a table that keeps what it has said for as many hosts as a link holds.
 *
 * Nothing here resolves an address: the kernel does, when it is given a packet for one (packet.ts). Only interfaces
 * with a `mac` (route.ts) have neighbours.
 */
import { ADDRESS_WORDS, loadAddress, sameWords } from "../socket/table.ts";
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

/** How long an address is remembered after the kernel has forgotten it, in microseconds: its table is small (gc_thresh3). */
const REMEMBERED_US = 20e6;
/** More neighbours than any link has: beyond it the table is emptied. */
const MOST_NEIGHBOURS = 1 << 16;
const FIRST_CAPACITY = 256;
/**
 * With more entries than this, the kernel is not asked to confirm any: confirmed ones stay in its table, and new ones need
 * the room.
 */
const CROWDED = 256;

export interface NeighbourTable {
  /** Changes when numbers from `find` are no longer valid. */
  readonly version: number;
  /** Number of the neighbour with the address at `words[at]` (see loadAddress), or -1. */
  find(words: Uint32Array, at: number): number;
  /** Whether a frame may be sent to a neighbour; otherwise give the kernel the packet: it resolves or confirms. */
  usable(neighbour: number): boolean;
  /** Notes that the kernel was given a packet for the neighbour: one is enough to confirm it. */
  entrusted(neighbour: number): void;
  /** Writes the neighbour's hardware address. */
  putMac(neighbour: number, out: Uint8Array, at: number): void;
  /** Updates the table from the kernel's at `nowUs`. */
  learn(neighbours: readonly Neighbour[], nowUs: number): void;
}

/** State of a row: its address is wrong or old, good but to be confirmed by one packet, or good. */
const UNUSABLE = 0;
const UNCONFIRMED = 1;
const USABLE = 2;

/** An empty table. Rows are dense and keep their numbers; open addressing finds them. Looking up allocates nothing. */
export function createNeighbourTable(): NeighbourTable {
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
  const add = (): number => {
    if (count === MOST_NEIGHBOURS) {
      count = 0;
      index.fill(0);
    } else if (count === states.length) {
      grow(2 * count);
    }
    addresses.set(key, count * ADDRESS_WORDS);
    index[placeOf(key, 0)] = count + 1;
    return count++;
  };
  grow(FIRST_CAPACITY);

  const find = (words: Uint32Array, at: number): number => index[placeOf(words, at)] - 1;
  return {
    get version() {
      return version;
    },
    find,
    usable: (row) => states[row] === USABLE,
    entrusted: (row) => {
      if (states[row] === UNCONFIRMED) states[row] = USABLE;
    },
    putMac: (row, out, at) => {
      for (let i = 0; i < MAC_LENGTH; i++) out[at + i] = macs[row * MAC_LENGTH + i];
    },
    learn: (neighbours, nowUs) => {
      version++;
      const crowded = neighbours.length > CROWDED;
      for (const { address, state, mac } of neighbours) {
        loadAddress(key, 0, address, 0, address.length);
        let row = find(key, 0);
        if (mac === undefined || state === "failed" || state === "incomplete") {
          if (row >= 0) states[row] = UNUSABLE;
          continue;
        }
        if (row < 0) row = add();
        macs.set(mac, row * MAC_LENGTH);
        states[row] = state === "stale" && !crowded ? UNCONFIRMED : USABLE;
        heardUs[row] = nowUs;
      }
      for (let row = 0; row < count; row++) {
        if (nowUs - heardUs[row] > REMEMBERED_US) states[row] = UNUSABLE;
      }
    },
  };
}
