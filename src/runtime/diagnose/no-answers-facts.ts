/**
 * The facts about a run without any answer, for no-answers.ts to judge: interfaces, routes and neighbours from rtnetlink, and
 * the kernel's counters since the run began. None of it needs a privilege.
 */

import { lookUpNeighbours, type Neighbour } from "../../link/neighbour.ts";
import {
  type Interface,
  localAddresses,
  lookUpInterface,
  lookUpRoute,
  type Route,
} from "../../link/route.ts";
import { compareAddresses, networkOf } from "../../scan/targets/address-range.ts";
import { ADDRESS_WORDS, loadAddress } from "../../socket/table.ts";
import { type Address, formatAddress, isLinkLocal, parseAddress, sameAddress } from "../../wire/address.ts";
import { isResolved } from "../plan/next-hop.ts";
import type { Hop } from "../plan/paths.ts";
import type { Plan } from "../plan/plan.ts";
import { ownerOf } from "../plan/reachability.ts";
import type { Means } from "../run/means.ts";
import { type KernelCounters, packetsLost, readCounters } from "../system/counters.ts";
import { readFile } from "../system/system.ts";
import { readConntrack } from "./limits.ts";
import type { NoAnswerFacts, Way } from "./no-answers.ts";

/** More ways out than a machine usually has; further ones are ignored. */
const MOST_WAYS = 64;
type Planned = Omit<Plan, "hops" | "paths" | "pathRanges">;

/** A neighbour counts as a target if it has one of the first this many ports of the run. */
const PORTS_TRIED = 16;

/**
 * @param unresolved neighbours that did not answer the link; undefined when the kernel asked them
 * @param before the kernel's counters when the run began
 */
export function gatherNoAnswerFacts(
  plan: Plan,
  { link, ports }: Pick<Means, "link" | "ports">,
  unresolved: readonly Address[] | undefined,
  before: KernelCounters,
): NoAnswerFacts {
  const after = readCounters();
  const ways = findWays(plan, unresolved, goneName(before, after));
  const names = [...new Set(ways.map(({ interfaceName }) => interfaceName))];
  const left = names.map((name) => deviceDelta(before, after, name));
  const conntrack = readConntrack({ readFile });
  return {
    link: link === "fleet" ? "raw-ip" : link,
    ways,
    sourceChosen: plan.source !== undefined,
    ...(ports.first === ports.last ? { onlyPort: ports.first } : {}),
    ...(left.some((each) => each === undefined)
      ? {}
      : {
          left: {
            packets: left.reduce((sum, each) => sum + (each?.packets ?? 0), 0),
            dropped: left.reduce((sum, each) => sum + (each?.dropped ?? 0), 0),
          },
        }),
    ...packetsLost(before, after),
    ...(conntrack === undefined ? {} : { conntrack }),
  };
}

/** @param gone name of an interface that has disappeared, if known */
function findWays(
  { hops, paths, pathRanges, ...plan }: Plan,
  unresolved: readonly Address[] | undefined,
  gone: string | undefined,
): Way[] {
  const ways = new Map<string, Way>();
  for (const [i, hop] of hops.entries()) {
    if (ways.size === MOST_WAYS) break;
    const source = paths[pathRanges.path[i]].local;
    const gateway = hop.gateway === undefined ? "" : formatAddress(hop.gateway);
    const key = `${hop.interfaceIndex} ${formatAddress(source)} ${gateway}`;
    if (!ways.has(key)) ways.set(key, lookAt(plan, hop, source, unresolved, gone));
  }
  return [...ways.values()];
}

function lookAt(
  plan: Planned,
  hop: Hop,
  source: Address,
  unresolved: readonly Address[] | undefined,
  gone: string | undefined,
): Way {
  // It is probed, and the address that was asked for when the run was planned: of several equal next hops each has its own.
  const target = hop.first;
  const family = target.length === 4 ? 4 : 6;
  const found = lookUpInterface(hop.interfaceIndex);
  const owner = ownerOf(source, localAddresses);
  const bound = plan.interfaceName === undefined ? undefined : hop.interfaceIndex;
  const through = isLinkLocal(target) ? hop.interfaceIndex : bound;
  const now = lookUpRoute(target, through, plan.source);
  // fe80::/10 is on every link: which one the kernel would take without -e says nothing.
  const isAnywhere = family === 6 && isLinkLocal(target);
  const usual = bound === undefined || isAnywhere ? undefined : lookUpRoute(target);
  const route = now.ok ? now.route : undefined;
  const changed =
    found?.up !== true || (route !== undefined && sameWay(route, hop))
      ? undefined
      : route === undefined
        ? `there is none now (${now.ok ? "" : now.errno}), "ip route get ${formatAddress(target)}"`
        : `it leads ${describe(route)} now`;
  return {
    interfaceName: found?.name ?? gone ?? `number ${hop.interfaceIndex}`,
    state: stateOf(found),
    tunnel: found?.pointToPoint === true,
    family,
    target: formatAddress(target),
    ...(found?.mac === undefined || route?.type === "local"
      ? {}
      : neighboursOf(plan, hop, family, unresolved)),
    ...(hop.gateway === undefined || found?.mac !== undefined
      ? {}
      : { gateway: { address: formatAddress(hop.gateway), resolved: undefined } }),
    ...(changed === undefined ? {} : { changed }),
    ...(usual?.ok === true && usual.route.interfaceIndex !== hop.interfaceIndex
      ? { usual: describe(usual.route) }
      : {}),
    privateByDefault:
      bound === undefined && isPrivate(target) && route !== undefined && isDefault(route, family),
    source: formatAddress(source),
    // All of 127.0.0.0/8 is this machine's, though only 127.0.0.1 is configured.
    sourceOwner:
      family === 4 && source[0] === 127
        ? "lo"
        : owner === undefined
          ? undefined
          : (lookUpInterface(owner)?.name ?? `interface ${owner}`),
  };
}

function stateOf(found: Interface | undefined): Way["state"] {
  if (found === undefined) return "gone";
  if (!found.up) return "down";
  return found.running ? "working" : "not-connected";
}

function neighboursOf(
  plan: Planned,
  { interfaceIndex, gateway }: Hop,
  family: 4 | 6,
  unresolved: readonly Address[] | undefined,
): Pick<Way, "gateway" | "neighbours"> {
  const all =
    unresolved?.map((address): Neighbour => ({ address, state: "failed" })) ??
    // An IPv4 route may lead by an IPv6 next hop (RFC 8950).
    lookUpNeighbours(interfaceIndex, gateway?.length === 16 ? 6 : family);
  if (gateway !== undefined) {
    const entry = all.find(({ address }) => isSame(address, gateway));
    return {
      gateway: {
        address: formatAddress(gateway),
        resolved: entry === undefined ? undefined : isResolved(entry),
      },
    };
  }
  const isTarget = targetCheck(plan);
  const asked = all.filter(({ address }) => isTarget(address));
  const silent = asked.filter((entry) => !isResolved(entry)).map(({ address }) => address);
  return {
    neighbours: {
      resolved: asked.length - silent.length,
      unresolved: silent.sort(compareAddresses).map((address) => formatAddress(address)),
    },
  };
}

function targetCheck({ space }: Planned): (address: Address) => boolean {
  const ports = space.ports().slice(0, PORTS_TRIED);
  const words = new Uint32Array(ADDRESS_WORDS);
  return (address) => {
    loadAddress(words, 0, address, 0, address.length);
    return ports.some((port) => space.indexOf(words, 0, port) >= 0);
  };
}

const isSame = (a: Address, b: Address): boolean =>
  a.length === b.length && sameAddress(a, 0, b, 0, a.length);

const sameWay = (
  route: Route,
  { interfaceIndex, gateway }: Pick<Hop, "interfaceIndex" | "gateway">,
): boolean =>
  route.interfaceIndex === interfaceIndex &&
  (route.gateway === undefined || gateway === undefined
    ? route.gateway === gateway
    : isSame(route.gateway, gateway));

function describe({ interfaceIndex, gateway }: Route): string {
  const name = lookUpInterface(interfaceIndex)?.name ?? `interface ${interfaceIndex}`;
  return gateway === undefined ? `through ${name}` : `through ${name} by next hop ${formatAddress(gateway)}`;
}

/** RFC 1918, RFC 6598 (carriers' NAT), RFC 4193. */
const PRIVATE: readonly [first: string, length: number][] = [
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["100.64.0.0", 10],
  ["fc00::", 7],
];

const isPrivate = (address: Address): boolean =>
  PRIVATE.some(([first, length]) => {
    const network = parseAddress(first);
    return network?.length === address.length && isSame(networkOf(address, length).first, network);
  });

/** Addresses that only a default route can lead to (RFC 6890's 192.0.0.0/24 and 2001::/23). Only looked up, never probed. */
const NOBODYS = {
  4: Uint8Array.of(192, 0, 0, 8),
  6: Uint8Array.of(0x20, 1, 1, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
};

function isDefault(route: Route, family: 4 | 6): boolean {
  const answer = lookUpRoute(NOBODYS[family]);
  return answer.ok && sameWay(answer.route, route);
}

/** The one interface that has disappeared since the run began. */
function goneName(before: KernelCounters, after: KernelCounters): string | undefined {
  const [first, last] = [before, after].map(
    ({ devices }) => devices.match(/^\s*\S+(?=:)/gm)?.map((name) => name.trim()) ?? [],
  );
  const gone = first.filter((name) => !last.includes(name));
  return gone.length === 1 ? gone[0] : undefined;
}

/** Packets that an interface sent and dropped, from /proc/net/dev (8 columns of receive, then packets, errs, drop). */
function deviceDelta(before: KernelCounters, after: KernelCounters, name: string) {
  const [first, last] = [before, after].map(({ devices }) => {
    const line = devices.split("\n").find((each) => each.trim().startsWith(`${name}:`));
    return line
      ?.slice(line.indexOf(":") + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
  });
  if (first === undefined || last === undefined) return undefined;
  const since = (column: number): number => last[column] - first[column];
  return { packets: since(9), dropped: since(10) + since(11) };
}
