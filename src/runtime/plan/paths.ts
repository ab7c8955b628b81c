/**
 * What becomes of stretches that have their routes: source addresses and next hops, what a raw link must know of them, and whether
 * a link is crowded. Asking for routes is routes.ts's business.
 */
import { SynprobeError } from "../../errors.ts";
import type { RawIpOptions } from "../../link/raw-ip.ts";
import { lookUpInterface, type Route } from "../../link/route.ts";
import { HEADERS, LONGEST_PACKET } from "../../scan/probe/syn-template.ts";
import { type AddressSpan, compareAddresses, countAddresses } from "../../scan/targets/address-range.ts";
import type { Path } from "../../scan/targets/probe-source.ts";
import type { PathRanges } from "../../scan/targets/source.ts";
import { ADDRESS_WORDS, loadAddress } from "../../socket/table.ts";
import { type Address, formatAddress } from "../../wire/address.ts";
import type { RoutedSpan } from "./routes.ts";

/** A stretch of addresses that all go the same way. */
export interface Hop extends AddressSpan {
  readonly interfaceIndex: number;
  /** Next hop, when the addresses are not on the link. */
  readonly gateway?: Address;
  /** There are other next hops: only bound to its interface a packet is sure to take this one, from its source. */
  readonly pinned?: true;
}

/** Where packets go, and from where. */
export interface Paths {
  readonly paths: readonly Path[];
  /** Which path leads to which addresses of the space. */
  readonly pathRanges: PathRanges;
  readonly hops: readonly Hop[];
  readonly families: readonly (4 | 6)[];
}

/** What the user chose of the way. */
export interface ChosenWay {
  /** The one interface the run is bound to. */
  readonly interfaceName?: string;
  /** Index of the interface on which link-local addresses are meant. */
  readonly scope?: number;
  /** The source address. */
  readonly source?: Address;
}

/** The paths of what can be reached: one for each source address and MSS, and apart those that lead to this machine itself. */
export function layPaths(routed: readonly RoutedSpan[], ttl: number, source: Address | undefined): Paths {
  // Ascending as words: among them, mapped, IPv4 stands above ::1.
  const ways = routed
    .flatMap(({ first, last, way }) => (way instanceof SynprobeError ? [] : [{ first, last, way }]))
    .sort((a, b) => compareAddresses(mapped(a.first), mapped(b.first)));
  const paths: Path[] = [];
  const mssOf = createMssFinder();
  const indexOf = new Map<string, number>();
  const pathRanges = {
    first: new Uint32Array(ways.length * ADDRESS_WORDS),
    last: new Uint32Array(ways.length * ADDRESS_WORDS),
    path: new Uint16Array(ways.length),
  };
  ways.forEach(({ first, last, way }, i) => {
    const local = source ?? way.source;
    const toSelf = way.type === "local";
    const mss = mssOf(way);
    const key = `${formatAddress(local)} ${toSelf} ${mss}`;
    let path = indexOf.get(key);
    if (path === undefined) {
      path = paths.push({ local, ttl, mss, ...(toSelf ? { toSelf } : {}) }) - 1;
      indexOf.set(key, path);
    }
    loadAddress(pathRanges.first, i * ADDRESS_WORDS, first, 0, first.length);
    loadAddress(pathRanges.last, i * ADDRESS_WORDS, last, 0, last.length);
    pathRanges.path[i] = path;
  });
  return {
    paths,
    pathRanges,
    hops: ways.map(({ first, last, way }) => ({
      first,
      last,
      interfaceIndex: way.interfaceIndex,
      ...(way.gateway === undefined ? {} : { gateway: way.gateway }),
      ...(way.multipath === undefined ? {} : { pinned: way.multipath }),
    })),
    families: ([4, 6] as const).filter((family) =>
      paths.some(({ local }) => (local.length === 4) === (family === 4)),
    ),
  };
}

/** The least that Linux announces (net.ipv4.route.min_adv_mss). */
const LEAST_MSS = 256;

/** How much text a packet of a way holds (RFC 9293 §3.7.1): this machine's own link lets no longer one in. */
function createMssFinder(): (way: Route) => number {
  const mtus = new Map<number, number>();
  return ({ source, mtu = LONGEST_PACKET, interfaceIndex }) => {
    const ofLink = mtus.get(interfaceIndex) ?? lookUpInterface(interfaceIndex)?.mtu ?? LONGEST_PACKET;
    mtus.set(interfaceIndex, ofLink);
    const headers = HEADERS[source.length === 4 ? 4 : 6];
    return Math.max(LEAST_MSS, Math.min(LONGEST_PACKET, mtu, ofLink) - headers);
  };
}

/** What a raw link has to know of the ways that were planned. */
export const waysOf = (
  plan: Pick<Paths, "families" | "hops"> & ChosenWay,
): Pick<RawIpOptions, "families" | "pinned" | "interfaceName" | "scope" | "source"> => ({
  families: plan.families,
  pinned: plan.hops.filter(({ pinned }) => pinned === true),
  ...(plan.interfaceName === undefined ? {} : { interfaceName: plan.interfaceName }),
  ...(plan.scope === undefined ? {} : { scope: plan.scope }),
  ...(plan.source === undefined ? {} : { source: plan.source }),
});

/**
 * At most this many hosts are on the link itself, if that is more than half of what the kernel's table of neighbours has room for
 * (`limit`); else 0.
 */
export function countCrowd(routed: readonly RoutedSpan[], hosts: number, limit: number): number {
  if (hosts <= limit / 2) return 0;
  const crowd = Math.min(onLink(routed), hosts);
  return crowd <= limit / 2 ? 0 : crowd;
}

/** Addresses in stretches that are on the link itself, where there are neighbours to be resolved. */
function onLink(routed: readonly RoutedSpan[]): number {
  let count = 0;
  const resolves = new Map<number, boolean>();
  for (const { first, last, way } of routed) {
    if (way instanceof SynprobeError || way.gateway !== undefined || way.type === "local") continue;
    const index = way.interfaceIndex;
    if (!resolves.has(index)) resolves.set(index, lookUpInterface(index)?.mac !== undefined);
    if (resolves.get(index) === false) continue;
    count += countAddresses({ first, last });
  }
  return count;
}

/** An address as IPv6 has it: ::ffff:a.b.c.d for IPv4. */
const mapped = (address: Address): Address =>
  address.length === 16 ? address : Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...address);
