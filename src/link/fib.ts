/**
 * Where the kernel's answer to "which way, and from which source" may change from one address to the next: the bounds of every
 * prefix in its routing tables and policy rules, and for IPv6 those by which it chooses among its own addresses. Between two
 * neighbouring bounds one look-up (route.ts) speaks for all addresses, unless the route there has several next hops.
 *
 * Not here: the decisions themselves. Rules that match on anything but the destination do not matter: they are the same for
 * every address.
 */
import type { Address } from "../wire/address.ts";
import { localAddresses } from "./route.ts";
import { familyNumber } from "./sys/linux.ts";
import { type NetlinkSocket, openNetlink } from "./sys/netlink.ts";
import { FRA, HEADER_LENGTH, RTA, RTM } from "./sys/rtnetlink.ts";

/** Bounds as text, a character a byte: equal ones are one, and in order of text they are in order. */
type Bounds = Set<string>;
const textOf = (address: Address): string => String.fromCharCode(...address);

/**
 * The first address of every stretch with one answer among the addresses from `first` to `last`, ascending; `first` is one.
 * @throws {SynprobeError} `ERR_SYSTEM`
 */
export function routingBounds(first: Address, last: Address): Address[] {
  const family = first.length === 4 ? 4 : 6;
  const lowest = textOf(first);
  const highest = textOf(last);
  const bounds: Bounds = new Set([lowest]);
  const addPrefix = (prefix: Address, length: number): void => {
    const start = prefixStart(prefix, length, first.length);
    const text = textOf(start);
    if (text > lowest && text <= highest) bounds.add(text);
    const after = afterPrefix(start, length);
    if (after === undefined) return;
    const next = textOf(after);
    if (next > lowest && next <= highest) bounds.add(next);
  };
  const netlink = openNetlink();
  try {
    addDump(netlink, RTM.getRoute, HEADER_LENGTH.route, RTA.destination, family, addPrefix);
    addDump(netlink, RTM.getRule, HEADER_LENGTH.rule, FRA.destination, family, addPrefix);
    if (family === 6) addSourceBounds(netlink, addPrefix);
  } finally {
    netlink.close();
  }
  return [...bounds].sort().map((text) => Uint8Array.from(text, (byte) => byte.charCodeAt(0)));
}

/** Both kinds of message have the family in byte 0 and the length of the destination prefix in byte 1. */
function addDump(
  netlink: NetlinkSocket,
  type: number,
  headerLength: number,
  destinationType: number,
  family: 4 | 6,
  addPrefix: (prefix: Address, length: number) => void,
): void {
  const header = new Uint8Array(headerLength);
  header[0] = familyNumber(family);
  netlink.visit(type, header, [], (message) => {
    const destination = message.attribute(headerLength, destinationType);
    if (message.body[0] === header[0] && destination !== undefined) addPrefix(destination, message.body[1]);
  });
}

const IFAL_ADDRESS = 1;
const LABEL_PREFIX_LENGTH = 2;

/**
 * Source address selection (RFC 6724 section 5) looks at the destination's label and at how many leading bits it shares with
 * each of this machine's addresses, within that one's prefix. Its scope changes at bounds that routes/plan has anyway.
 */
function addSourceBounds(netlink: NetlinkSocket, addPrefix: (prefix: Address, length: number) => void): void {
  for (const { address, prefixLength } of localAddresses(6)) {
    for (let length = 1; length <= prefixLength; length++) addPrefix(address, length);
  }
  const header = new Uint8Array(HEADER_LENGTH.addressLabel);
  header[0] = familyNumber(6);
  netlink.visit(RTM.getAddressLabel, header, [], (message) => {
    const prefix = message.attribute(HEADER_LENGTH.addressLabel, IFAL_ADDRESS);
    if (prefix !== undefined) addPrefix(prefix, message.body[LABEL_PREFIX_LENGTH]);
  });
}

function prefixStart(prefix: Address, length: number, bytes: number): Address {
  const start = new Uint8Array(bytes);
  start.set(prefix.subarray(0, bytes));
  for (let i = 0; i < bytes; i++) start[i] &= 0xff00 >> Math.max(0, Math.min(8, length - 8 * i));
  return start;
}

/** The address after the last one of a prefix; undefined when there is none. */
function afterPrefix(first: Address, prefixLength: number): Address | undefined {
  if (prefixLength === 0) return undefined;
  const after = first.slice();
  let carry = 1 << (7 - ((prefixLength - 1) & 7));
  for (let i = (prefixLength - 1) >> 3; i >= 0 && carry > 0; i--) {
    const sum = after[i] + carry;
    after[i] = sum;
    carry = sum >> 8;
  }
  return carry > 0 ? undefined : after;
}
