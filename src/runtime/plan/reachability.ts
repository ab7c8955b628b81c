/**
 * Whether a probe can leave for an address, and if not, why, in words for a person: the judgements that planning a run and
 * `synprobe doctor` share.
 *
 * Pure: what the kernel says is passed in. A message names the fault and what to do; which target it belongs to is the
 * caller's to add.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { Interface, Route, RouteAnswer } from "../../link/route.ts";
import {
  type Address,
  formatAddress,
  isLimitedBroadcast,
  isLinkLocal,
  isLoopback,
  isMulticast,
  isReserved,
  isUnspecified,
  isV4Mapped,
  sameAddress,
} from "../../wire/address.ts";

/** This machine's addresses of one IP version. */
export type OwnAddresses = (
  family: 4 | 6,
) => readonly { readonly address: Address; readonly interfaceIndex: number }[];

/** Index of the interface that has an address of this machine; undefined for any other address. */
export const ownerOf = (address: Address, addresses: OwnAddresses): number | undefined =>
  addresses(address.length === 4 ? 4 : 6).find((own) =>
    sameAddress(own.address, 0, address, 0, address.length),
  )?.interfaceIndex;

/** Why no TCP answer can come from an address; undefined when one can. */
export function unprobeable(address: Address): string | undefined {
  if (isUnspecified(address)) return "the unspecified address names no host";
  if (isLimitedBroadcast(address)) return broadcast("broadcast");
  if (isMulticast(address)) return broadcast("multicast");
  if (isReserved(address)) return "a reserved address (0.0.0.0/8, 240.0.0.0/4) names no host";
  if (isV4Mapped(address)) return "an IPv4-mapped address never appears on a wire: write the IPv4 address";
  return undefined;
}

/** What was found under an interface's name: the interface, or why it cannot be used. */
export function judgeInterface(name: string, found: Interface | undefined): Interface | SynprobeError {
  if (found === undefined) {
    return new SynprobeError(
      ERROR_CODES.noInterface,
      `no network interface named ${name}: "ip link" lists them`,
    );
  }
  if (!found.up) {
    return new SynprobeError(ERROR_CODES.interfaceDown, interfaceDown(found.name));
  }
  return found;
}

export const interfaceDown = (name: string): string =>
  `interface ${name} is down: bring it up with "ip link set ${name} up"`;

/** Of an interface that is up but not running. */
export const notConnected = (name: string): string =>
  `${name} is up, but nothing is connected to it: no cable, no peer, or its VPN client is not running`;

/** How hardware addresses are asked for. */
export const askedBy = (family: 4 | 6): string => (family === 4 ? "ARP" : "neighbour discovery");

/** What is the matter, and what to look at. */
export type Silence = readonly [what: string, todo: string];

export const silentNextHop = (address: string, name: string, asked: string, target: string): Silence => [
  `the next hop ${address} on ${name} does not answer ${asked}, so nothing gets further`,
  `is it up, on this network, and the right router? "ip neigh show dev ${name}" and "ip route get ${target}" show what the kernel thinks`,
];

/** @param who "192.0.2.7 does", or several that do */
export const silentNeighbour = (who: string, name: string, asked: string): Silence => [
  `${who} not answer ${asked} on ${name}`,
  `nobody has such an address there now, or the network mask or VLAN is wrong; "ip neigh show dev ${name}" lists them`,
];

/**
 * The route a probe would take, or why there is none.
 * @param boundTo the interface named by the user or by the address's zone
 * @param lookUp asks the kernel: lookUpRoute of link/route.ts
 * @param ownerOf the index of the interface that has this address of this machine
 */
export function judgeRoute(
  address: Address,
  boundTo: Interface | undefined,
  lookUp: (destination: Address, interfaceIndex?: number) => RouteAnswer,
  ownerOf: (address: Address) => number | undefined,
): Route | SynprobeError {
  if (address.length === 16 && isLinkLocal(address) && boundTo === undefined) {
    return new SynprobeError(
      ERROR_CODES.noInterface,
      `a link-local address needs its interface: write [${formatAddress(address)}%INTERFACE]:PORT, or probe with -e INTERFACE`,
    );
  }
  const answer = lookUp(address, boundTo?.index);
  if (!answer.ok) {
    const { errno } = answer;
    return new SynprobeError(ERROR_CODES.noRoute, noRoute(errno, address, boundTo), { cause: errno });
  }
  const { route } = answer;
  if (route.type === "broadcast" || route.type === "multicast") {
    return new SynprobeError(ERROR_CODES.notUnicast, broadcast(route.type));
  }
  // What goes to an address of this machine stays inside it; bound to an interface, only that one's own are heard.
  const owner = boundTo === undefined ? undefined : ownerOf(address);
  const elsewhere = owner !== undefined && owner !== boundTo?.index;
  const unowned = owner === undefined && isLoopback(address) && boundTo?.loopback !== true;
  if (boundTo !== undefined && (elsewhere || unowned)) {
    return new SynprobeError(
      ERROR_CODES.noRoute,
      `it is this machine's own address, to which nothing goes through ${boundTo.name}: drop -e`,
    );
  }
  return route;
}

function broadcast(kind: "broadcast" | "multicast"): string {
  return `a ${kind} address cannot be probed: TCP is between two hosts`;
}

function noRoute(errno: string, address: Address, boundTo: Interface | undefined): string {
  const through = boundTo === undefined ? "" : ` through ${boundTo.name}`;
  // The answer is kept for others of the same route: it names none.
  const look = `"ip route get" with this address shows what the kernel thinks`;
  switch (errno) {
    case "EHOSTUNREACH":
      return `this machine's own routes say unreachable${through}: ${look}`;
    case "EACCES":
      return `this machine's own routes prohibit it${through}: ${look}`;
    case "EINVAL":
      return `this machine's own routes discard it (blackhole)${through}: ${look}`;
    case "EADDRNOTAVAIL":
      return `this machine has no IPv${address.length === 4 ? 4 : 6} source address for it${through}: "ip addr" lists what there is`;
    default:
      return `no route to it from this machine${through} (${errno}): ${look}`;
  }
}
