/**
 * The way to one address as a run takes it: the interface and the source address that the user chose, checked, and what the
 * kernel says of a destination with them. Sentences are reachability.ts's; whole spans of addresses routes.ts's.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import {
  type Interface,
  localAddresses,
  lookUpInterface,
  lookUpRoute,
  type Route,
  type RouteAnswer,
} from "../../link/route.ts";
import { type NetlinkSocket, openNetlink } from "../../link/sys/netlink.ts";
import {
  type Address,
  formatAddress,
  isLinkLocal,
  isLoopback,
  isUnspecified,
  parseAddress,
} from "../../wire/address.ts";
import { interfaceDown, judgeInterface, judgeRoute, ownerOf } from "./reachability.ts";

/** The interface that -e or a zone names, by its name or number; or why there is none that can be used. */
export function namedInterface(name: string): Interface | SynprobeError {
  const named = lookUpInterface(/^\d+$/.test(name) ? Number(name) : name);
  // "ip link" shows an interface that has a peer as eth0@if7.
  return judgeInterface(name, named ?? lookUpInterface(name.replace(/@.*$/, "")));
}

/** Where other machines probe: each has links of its own, and may call another by this name. */
export const zoneElsewhere = (name: string): SynprobeError =>
  new SynprobeError(
    ERROR_CODES.usage,
    `a zone is an interface of one machine, and workers have their own: leave out %${name}, and give -e INTERFACE to the workers`,
  );

/** @throws {SynprobeError} unless the text is an address of this machine */
export function checkSource(text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) {
    const [bare, zone] = text.split("%", 2);
    const hint = zone !== undefined && parseAddress(bare) !== undefined ? `: give -S ${bare} -e ${zone}` : "";
    throw new SynprobeError(ERROR_CODES.usage, `-S takes an IP address, not "${text}"${hint}`);
  }
  // The kernel takes 0.0.0.0 for an address of its own.
  if (!isUnspecified(address) && (ownIndex(address) !== undefined || isRoutedHere(address))) return address;
  throw new SynprobeError(
    ERROR_CODES.noSource,
    `source address ${formatAddress(address)} is not this machine's, so no answer could reach it: "ip addr" lists those that are`,
  );
}

/** Whole networks may be this machine's: 127.0.0.0/8, and those of routes of type local (AnyIP). */
function isRoutedHere(address: Address): boolean {
  const answer = lookUpRoute(address);
  return answer.ok && answer.route.type === "local";
}

const ownIndex = (address: Address): number | undefined => ownerOf(address, localAddresses);

/** The way to an address, or why there is none. */
export function judgeWay(
  address: Address,
  boundTo: Interface | undefined,
  source: Address | undefined,
  netlink: NetlinkSocket,
): Route | SynprobeError {
  const lookUp = (to: Address, through?: number, from?: Address): RouteAnswer =>
    lookUpRoute(to, through, from, netlink);
  if (source !== undefined && source.length !== address.length) {
    return new SynprobeError(
      ERROR_CODES.noSource,
      `source address ${formatAddress(source)} is of the other IP version: give one of this target's`,
    );
  }
  if (source !== undefined && isConfined(source, address)) {
    // Asked with such a source, the kernel speaks of a blackhole, or of nothing at all.
    const anyway = judgeRoute(address, boundTo, (to, through) => lookUp(to, through), ownIndex);
    if (anyway instanceof SynprobeError) return anyway;
    if (anyway.type !== "local") {
      const through = lookUpInterface(anyway.interfaceIndex)?.name ?? `interface ${anyway.interfaceIndex}`;
      return new SynprobeError(
        ERROR_CODES.noSource,
        `nothing comes back from there to ${formatAddress(source)}: drop -S, or give an address of ${through}`,
      );
    }
  }
  const route = judgeRoute(address, boundTo, (to, through) => lookUp(to, through, source), ownIndex);
  if (route instanceof SynprobeError || route.type !== "local") return route;
  // The kernel routes to itself even while the loopback interface, through which it does, is down.
  const through = lookUpInterface(route.interfaceIndex);
  if (through?.up !== false) return route;
  return new SynprobeError(ERROR_CODES.interfaceDown, interfaceDown(through.name));
}

/**
 * Those of a name's addresses to which there is a way through the interface and from the source that the user chose. All of
 * them when there is none, so that it is told why, and when nothing was chosen: the resolver's order is then the user's.
 */
export function usableAddresses(
  addresses: readonly Address[],
  boundTo: Interface | undefined,
  source: Address | undefined,
): readonly Address[] {
  if (addresses.length < 2 || (boundTo === undefined && source === undefined)) return addresses;
  const netlink = openNetlink();
  try {
    const usable = addresses.filter(
      (address) => !(judgeWay(address, boundTo, source, netlink) instanceof SynprobeError),
    );
    return usable.length > 0 ? usable : addresses;
  } finally {
    netlink.close();
  }
}

/** A loopback address is this machine's alone, a link-local one its link's (RFC 4007 §5): others cannot answer to it. */
const isConfined = (source: Address, address: Address): boolean =>
  isLoopback(source) || (source.length === 16 && isLinkLocal(source) && !isLinkLocal(address));
