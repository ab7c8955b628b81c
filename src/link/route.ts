/**
 * What the kernel would do with a packet: interface, source address and next hop for a destination, and what an interface
 * is. Asked through rtnetlink, so policy rules, VPNs and namespaces apply as for any other program.
 *
 * Not here: neighbours (neighbour.ts), sending, and the errors that users see (runtime/).
 */
import type { Address } from "../wire/address.ts";
import { MAC_LENGTH, type Mac } from "../wire/ethernet.ts";
import { familyNumber, familyOf } from "./sys/linux.ts";
import {
  type Attribute,
  fromU32,
  hostU16,
  hostU32,
  type NetlinkSocket,
  netlinkRequest,
  openNetlink,
  readAttributes,
} from "./sys/netlink.ts";
import { HEADER_LENGTH, IFA, IFLA, RTA, RTAX_MTU, RTM } from "./sys/rtnetlink.ts";

const IFF = { up: 0x1, loopback: 0x8, pointToPoint: 0x10, running: 0x40, noArp: 0x80 } as const;
/** Hardware type of everything that carries Ethernet frames: also bridges, VLANs, veth (linux/if_arp.h). */
const ARPHRD_ETHER = 1;

/** Route types that matter to a prober (rtnetlink(7), `rtm_type`). */
const ROUTE_TYPES = {
  1: "unicast",
  2: "local",
  3: "broadcast",
  4: "anycast",
  5: "multicast",
  6: "blackhole",
  7: "unreachable",
  8: "prohibit",
} as const;
export type RouteType = (typeof ROUTE_TYPES)[keyof typeof ROUTE_TYPES] | "other";

export interface Route {
  readonly type: RouteType;
  readonly interfaceIndex: number;
  /** Source address the kernel would use. */
  readonly source: Address;
  /** Next hop, when the destination is not on the link. */
  readonly gateway?: Address;
  /** Path MTU from the route's metrics, in bytes, when it has one. */
  readonly mtu?: number;
  /** The route has several next hops, of which this is the one for this destination (ECMP, RFC 2992). */
  readonly multipath?: true;
}

export type RouteAnswer =
  | { readonly ok: true; readonly route: Route }
  /** The kernel's errno name: ENETUNREACH (no route), EHOSTUNREACH, EACCES (prohibit), EINVAL (blackhole). */
  | { readonly ok: false; readonly errno: string };

export interface Interface {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  /** The link below works, as far as the driver can tell: a cable, a peer, a VPN client (RFC 2863 operational state). */
  readonly running: boolean;
  readonly loopback: boolean;
  readonly pointToPoint: boolean;
  /** Bytes. */
  readonly mtu: number;
  /** Its hardware address, when it carries Ethernet frames and resolves neighbours: what link/packet.ts can serve. */
  readonly mac?: Mac;
}

/** Asks for the matching entry of the table, with all its next hops, not for the one that was chosen (Linux 4.13). */
const RTM_F_FIB_MATCH = 0x2000;

/**
 * Asks for the route to `destination`, optionally through one interface and from one address.
 * @param netlink for many questions; without it, a socket for this one
 * @throws {SynprobeError} `ERR_SYSTEM`
 */
export function lookUpRoute(
  destination: Address,
  interfaceIndex?: number,
  source?: Address,
  netlink?: NetlinkSocket,
): RouteAnswer {
  if (netlink !== undefined) return askRoute(netlink, destination, interfaceIndex, source);
  const own = openNetlink();
  try {
    return askRoute(own, destination, interfaceIndex, source);
  } finally {
    own.close();
  }
}

function askRoute(
  netlink: NetlinkSocket,
  destination: Address,
  interfaceIndex: number | undefined,
  source: Address | undefined,
): RouteAnswer {
  const header = new Uint8Array(HEADER_LENGTH.route);
  header[0] = familyOf(destination);
  header[1] = destination.length * 8;
  const attributes: Attribute[] = [{ type: RTA.destination, value: destination }];
  if (interfaceIndex !== undefined) {
    attributes.push({ type: RTA.outInterface, value: fromU32(interfaceIndex) });
  }
  if (source !== undefined && source.length === destination.length) {
    header[2] = source.length * 8;
    attributes.push({ type: RTA.source, value: source });
  }
  const answer = netlink.request(RTM.getRoute, header, attributes);
  if (!answer.ok) return answer;
  const [message] = answer.messages;
  if (message === undefined) return { ok: false, errno: "ENETUNREACH" };
  const found = message.attributes(HEADER_LENGTH.route);
  const out = found.get(RTA.outInterface);
  const type = ROUTE_TYPES[message.body[7] as keyof typeof ROUTE_TYPES] ?? "other";
  // IPv6 answers an unreachable, prohibit or blackhole route with the route itself.
  if (type === "unreachable") return { ok: false, errno: "EHOSTUNREACH" };
  if (type === "prohibit") return { ok: false, errno: "EACCES" };
  if (type === "blackhole") return { ok: false, errno: "EINVAL" };
  const preferred = addressIn(found.get(RTA.preferredSource), destination.length) ?? source;
  if (out === undefined) return { ok: false, errno: "ENETUNREACH" };
  if (preferred === undefined) return { ok: false, errno: "EADDRNOTAVAIL" };
  const gateway = addressIn(found.get(RTA.gateway)) ?? addressIn(found.get(RTA.via)?.subarray(2));
  const metrics = found.get(RTA.metrics);
  const mtu = metrics === undefined ? undefined : readAttributes(metrics).get(RTAX_MTU);
  // An interface that was asked for leaves no choice.
  const choice = type === "unicast" && interfaceIndex === undefined;
  const multipath = choice && hasSeveralHops(netlink, header, attributes);
  return {
    ok: true,
    route: {
      type,
      interfaceIndex: hostU32(out),
      source: preferred.slice(),
      ...(gateway === undefined ? {} : { gateway: gateway.slice() }),
      ...(mtu === undefined ? {} : { mtu: hostU32(mtu) }),
      ...(multipath ? { multipath } : {}),
    },
  };
}

/** An attribute's value as an address: of `length` bytes, or else 4 or 16. */
export function addressIn(value: Uint8Array | undefined, length?: number): Address | undefined {
  const isOne = length === undefined ? value?.length === 4 || value?.length === 16 : value?.length === length;
  return isOne ? value : undefined;
}

function hasSeveralHops(
  netlink: NetlinkSocket,
  header: Uint8Array,
  attributes: readonly Attribute[],
): boolean {
  const wanted = header.slice();
  wanted.set(fromU32(RTM_F_FIB_MATCH), 8);
  const answer = netlink.request(RTM.getRoute, wanted, attributes);
  if (!answer.ok) return false;
  return answer.messages.some((message) => {
    const found = message.attributes(HEADER_LENGTH.route);
    // A next hop of its own may be a group, which older forms of the entry do not show (net.ipv4.nexthop_compat_mode).
    return found.has(RTA.multipath) || (found.has(RTA.nextHopId) && !found.has(RTA.outInterface));
  });
}

/** Bytes of an interface's own name; alternative names may be longer (Linux 5.5). */
const LONGEST_NAME = 15;

/** An interface by name, alternative name or index; undefined when there is none. @throws {SynprobeError} `ERR_SYSTEM` */
export function lookUpInterface(which: string | number): Interface | undefined {
  const header = new Uint8Array(HEADER_LENGTH.link);
  const attributes: Attribute[] = [];
  if (typeof which === "number") header.set(fromU32(which), 4);
  else {
    const type = which.length > LONGEST_NAME ? IFLA.alternativeName : IFLA.name;
    attributes.push({ type, value: new TextEncoder().encode(`${which}\0`) });
  }
  const answer = netlinkRequest(RTM.getLink, header, attributes);
  const message = answer.ok ? answer.messages[0] : undefined;
  if (message === undefined) return undefined;
  const found = message.attributes(HEADER_LENGTH.link);
  const flags = hostU32(message.body, 8);
  const mtu = found.get(IFLA.mtu);
  const hardware = found.get(IFLA.address);
  const ethernet = hostU16(message.body, 2) === ARPHRD_ETHER && (flags & IFF.noArp) === 0;
  return {
    index: hostU32(message.body, 4),
    name: new TextDecoder().decode(found.get(IFLA.name)).replace(/\0+$/, ""),
    up: (flags & IFF.up) !== 0,
    running: (flags & IFF.running) !== 0,
    loopback: (flags & IFF.loopback) !== 0,
    pointToPoint: (flags & IFF.pointToPoint) !== 0,
    mtu: mtu === undefined ? 0 : hostU32(mtu),
    ...(ethernet && hardware?.length === MAC_LENGTH ? { mac: hardware.slice() } : {}),
  };
}

/** An address of this machine. */
export interface LocalAddress {
  readonly address: Address;
  readonly interfaceIndex: number;
  /** Bits that it shares with its network. */
  readonly prefixLength: number;
}

/** Addresses of one family that this machine has, with their interface. @throws {SynprobeError} `ERR_SYSTEM` */
export function localAddresses(family: 4 | 6): LocalAddress[] {
  const header = new Uint8Array(HEADER_LENGTH.address);
  header[0] = familyNumber(family);
  const answer = netlinkRequest(RTM.getAddress, header, [], "dump");
  if (!answer.ok) return [];
  return answer.messages.flatMap(({ body, attributes }) => {
    const found = attributes(HEADER_LENGTH.address);
    const address = addressIn(found.get(IFA.local) ?? found.get(IFA.address), family === 4 ? 4 : 16);
    const prefixLength = body[1];
    if (address === undefined || prefixLength > 8 * address.length) return [];
    return [{ address: address.slice(), interfaceIndex: hostU32(body, 4), prefixLength }];
  });
}
