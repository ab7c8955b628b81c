/**
 * Why nothing that is sent to an address gets further than this machine's own link, as far as the kernel knows now: nothing is
 * connected to it, or nobody has the next hop's hardware address.
 * Tested by test/lab/path.test.ts.
 */
import { lookUpNeighbours, type Neighbour } from "../../link/neighbour.ts";
import { lookUpInterface } from "../../link/route.ts";
import { type Address, formatAddress } from "../../wire/address.ts";
import type { Hop } from "./paths.ts";
import { askedBy, notConnected, type Silence, silentNeighbour, silentNextHop } from "./reachability.ts";

export const isResolved = ({ state }: Neighbour): boolean => state !== "failed" && state !== "incomplete";

/** @returns undefined where nothing of the kind is known */
export function silentLink(
  { gateway, interfaceIndex }: Pick<Hop, "gateway" | "interfaceIndex">,
  target: Address,
): Silence | undefined {
  const found = lookUpInterface(interfaceIndex);
  const name = found?.name ?? `interface ${interfaceIndex}`;
  if (found?.up === true && !found.running)
    return [notConnected(name), `"ip -d link show ${name}" shows what it is`];
  // An IPv4 route may lead by an IPv6 next hop (RFC 8950), which is found by neighbour discovery.
  const family = (gateway ?? target).length === 4 ? 4 : 6;
  const next = formatAddress(gateway ?? target);
  const entry = lookUpNeighbours(interfaceIndex, family).find(
    ({ address }) => formatAddress(address) === next,
  );
  if (entry === undefined || isResolved(entry)) return undefined;
  return gateway === undefined
    ? silentNeighbour(`${next} does`, name, askedBy(family))
    : silentNextHop(next, name, askedBy(family), formatAddress(target));
}
