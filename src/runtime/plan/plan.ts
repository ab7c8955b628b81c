/**
 * From what the user wrote to what can be probed: names resolved, addresses judged, routes and source addresses found.
 *
 * One target's fault never stops the others: it becomes a TargetFault. A fault of the run itself (no such interface, a
 * source address that is not ours) throws. No packet is sent here.
 */
import { setTimeout as pause } from "node:timers/promises";
import { ERROR_CODES, type ErrorCode, SynprobeError } from "../../errors.ts";
import type { Interface } from "../../link/route.ts";
import { openNetlink } from "../../link/sys/netlink.ts";
import { canaryPorts } from "../../scan/hosts/canary-ports.ts";
import type { TargetFault } from "../../scan/probe/result.ts";
import { type AddressSpan, formatSpan, intersection } from "../../scan/targets/address-range.ts";
import type { AnyTargetSpec, NamedHost, TargetSpec } from "../../scan/targets/grammar.ts";
import type { Path } from "../../scan/targets/probe-source.ts";
import { reservedWithin } from "../../scan/targets/reserved.ts";
import type { Space } from "../../scan/targets/space.ts";
import { createSpaceBuilder } from "../../scan/targets/space-builder.ts";
import { ADDRESS_WORDS, loadAddress, storeAddress } from "../../socket/table.ts";
import { type Address, formatAddress, isLinkLocal } from "../../wire/address.ts";
import type { Resolution } from "../system/resolve.ts";
import { neighbourLimit } from "../system/system.ts";
import { type ExcludeOptions, type Exclusions, gatherExclusions } from "./exclusions.ts";
import { type Names, namesIn, type ReadonlyNames } from "./names.ts";
import { type ChosenWay, countCrowd, layPaths, type Paths } from "./paths.ts";
import { type Doubted, ifMeant, orLastGroup, withPort } from "./portless.ts";
import { unprobeable } from "./reachability.ts";
import { type RoutedSpan, routeSpans } from "./routes.ts";
import { checkSource, judgeWay, namedInterface, usableAddresses, zoneElsewhere } from "./way.ts";

export interface PlanOptions extends ExcludeOptions {
  /** Ports of targets that name none, asked for when there is one. */
  readonly ports?: () => Uint16Array;
  readonly family?: 4 | 6;
  /** Probe every address of a name, not only the first. */
  readonly allAddresses: boolean;
  readonly interfaceName?: string;
  /** Source address as text. */
  readonly sourceIp?: string;
  /** TTL or hop limit of the probes. */
  readonly ttl: number;
  /** Other machines probe: this one's routes do not matter, and are not looked up. */
  readonly isElsewhere?: boolean;
  /** After this long, in milliseconds, names that are still looked up are left to later plans if there is anything else to probe. */
  readonly patienceMs?: number;
}

/** Names that were still looked up when a plan was made. */
export interface PendingNames {
  /** How many they are by now. */
  unresolved(): number;
  /** Pairs that they bring, if each has one address. */
  readonly pairs: number;
  /** The ports of those pairs, each once. */
  readonly ports: readonly number[];
  /**
   * The plan of the next that are found, without the pairs of the plans before; without any pair when the last brought none. To be
   * called once, when the run of the plan before is over. @throws {SynprobeError} as Planner.finish does
   */
  next(): Promise<Plan>;
}

export interface Plan extends Paths, ChosenWay {
  /** The targets without what was excluded when the run began, which gives each pair its number. */
  readonly space: Space;
  /** The pairs of the space that may be probed, where more has been excluded since. */
  readonly within?: Space;
  readonly excluded: Exclusions;
  /** The names that the user gave to an address and port, each once, in the order of the targets. */
  namesOf(address: string, port: number): readonly string[];
  /** By the text of an address, the names that the user gave for it, each with its ports. */
  readonly names: ReadonlyNames;
  /** Of names with several addresses of which one is probed: by that one's text, the others. */
  readonly otherAddresses: ReadonlyMap<string, readonly string[]>;
  /** Names that later plans are of; only with `patienceMs`. */
  readonly pending?: PendingNames;
  /** Addresses that plans before this one had as well. */
  readonly knownHosts: number;
  readonly faults: readonly TargetFault[];
  /** Ports that canaries may go to (scan/hosts/canary-ports.ts). */
  readonly canaryPorts: Uint16Array;
  /** Some target named no port. */
  readonly portless: boolean;
  /** Parts of ranges that cannot answer, with why: "multicast (224.0.0.0/4)". */
  readonly leftOut: readonly { readonly span: AddressSpan; readonly why: string }[];
  /** At most this many hosts are on the link itself, if the kernel's table of neighbours may have no room for them; else 0. */
  readonly crowd: number;
  /** What the user may not have meant, in sentences. */
  readonly warnings: readonly string[];
}

export interface Planner {
  add(spec: AnyTargetSpec): void;
  /** Names that are not looked up yet. */
  unresolved(): number;
  /** An IPv4 address as 32 bits of a number, and a port, 0 for none, at a line of a list: for those that name millions. */
  addIpv4(address: number, port: number, list: string, line: number): void;
  /** @throws {SynprobeError} `ERR_NO_INTERFACE`, `ERR_INTERFACE_DOWN`, `ERR_NO_SOURCE`, `ERR_USAGE`, `ERR_UNKNOWN_HOST` */
  finish(): Promise<Plan>;
}

/** A target as the user wrote it, and what it named: to say whose fault a missing route is. */
interface Mention extends AddressSpan {
  readonly text: string;
  /** The same for messages: after `file:line` when it is from a list. */
  readonly label: string;
  readonly range: boolean;
}

/** Mentions kept; what is wrong with the addresses of further ones is told by address. */
const MOST_MENTIONS = 10_000;

/** A plan for targets that are all at hand. @throws {SynprobeError} as Planner.finish does */
export function makePlan(specs: readonly AnyTargetSpec[], options: PlanOptions): Promise<Plan> {
  const planner = createPlanner(options);
  for (const spec of specs) planner.add(spec);
  return planner.finish();
}

export function createPlanner(options: PlanOptions): Planner {
  let builder = createSpaceBuilder();
  const faults: TargetFault[] = [];
  const leftOut: { span: AddressSpan; why: string }[] = [];
  let mentions: Mention[] = [];
  let portless: Uint16Array | undefined;
  /** The first of them. */
  let url: string | undefined;
  let doubted: Doubted | undefined;
  let named: { spec: TargetSpec; host: NamedHost; ports: Uint16Array }[] = [];
  const resolutions = new Map<string, Resolution>();
  /** Of the plans before. */
  const earlier: Space[] = [];
  /** Addresses in them that names have brought again. */
  const revisited: Uint32Array[] = [];
  /** What -e names, and the zone of the first link-local target that has one. */
  const wanted = options.interfaceName === undefined ? undefined : namedInterface(options.interfaceName);
  let zone: Interface | undefined;
  const names: Names = new Map();
  const otherAddresses = new Map<string, readonly string[]>();
  const single = new Uint8Array(4);

  const fault = (target: string, code: ErrorCode, message: string): void => {
    faults.push({ target, code, message });
  };

  function add(spec: AnyTargetSpec): void {
    const { host, text } = spec;
    if (spec.isUrl === true) url ??= text;
    const label = labelOf(spec);
    const ports = spec.ports ?? portsOfOthers();
    if (spec.ports === undefined && ports !== undefined) doubted ??= orLastGroup(host, text);
    if (ports === undefined) {
      fault(
        text,
        ERROR_CODES.usage,
        `${label} names no port: write ${withPort(host, text)}:PORT, ${ifMeant(orLastGroup(host, text))}or give -p PORTS`,
      );
    } else if (host.kind === "name") named.push({ spec: { ...spec, host }, host, ports });
    else if (host.kind === "address") addAddress(host.address, ports, text, label, host.zone);
    else for (const span of host.spans) addSpan(span, ports, text, label);
  }

  function portsOfOthers(): Uint16Array | undefined {
    portless ??= options.ports?.();
    return portless;
  }

  function addAddress(
    address: Address,
    ports: Uint16Array,
    text: string,
    label: string,
    zoneName?: string,
  ): void {
    const complaint = unprobeable(address);
    if (rightFamily(address, text, label) && complaint === undefined) {
      const through = zoneName === undefined ? undefined : takeZone(zoneName);
      if (through instanceof SynprobeError) {
        fault(text, through.code, `${label}: ${through.message}`);
        return;
      }
      // Without its zone it would be no target again.
      if (through !== undefined) call(address, `${formatAddress(address)}%${through.name}`, ports);
      mention({ first: address, last: address, text, label, range: false });
      builder.add(address, address, earlier.length === 0 ? ports : newPorts(address, ports));
    } else if (complaint !== undefined) fault(text, ERROR_CODES.notUnicast, `${label}: ${complaint}`);
  }

  /** @returns the run's interface, or why a target with this zone cannot be of the run */
  function takeZone(name: string): Interface | SynprobeError {
    if (options.isElsewhere === true) return zoneElsewhere(name);
    const found = namedInterface(name);
    // `finish` says what is wrong with -e.
    if (found instanceof SynprobeError || wanted instanceof SynprobeError) return found;
    zone ??= wanted ?? found;
    if (zone.index === found.index) return found;
    return new SynprobeError(
      ERROR_CODES.usage,
      `one run goes through one interface, and ${zone.name} is named already: run synprobe once for each`,
    );
  }

  /** Results of these ports have the name, too. @returns the address as text */
  function call(address: Address, name: string, ports: Uint16Array): string {
    const key = formatAddress(address);
    names.set(key, [...(names.get(key) ?? []), { name, ports }]);
    return key;
  }

  function newPorts(address: Address, ports: Uint16Array): Uint16Array {
    const words = new Uint32Array(ADDRESS_WORDS);
    loadAddress(words, 0, address, 0, address.length);
    if (earlier.some((space) => space.hasHost(words, 0))) revisited.push(words);
    return ports.filter((port) => earlier.every((space) => space.indexOf(words, 0, port) < 0));
  }

  function addSpan(span: AddressSpan, ports: Uint16Array, text: string, label: string): void {
    if (!rightFamily(span.first, text, label)) return;
    for (const { span: part, why } of reservedWithin(span)) {
      leftOut.push({ span: part, why });
      builder.exclude(part.first, part.last);
    }
    mention({ ...span, text, label, range: true });
    builder.add(span.first, span.last, ports);
  }

  function rightFamily(address: Address, text: string, label: string): boolean {
    const { family } = options;
    if (family === undefined || (address.length === 4) === (family === 4)) return true;
    fault(text, ERROR_CODES.noAddress, `${label} is not an IPv${family} address: drop -${family}`);
    return false;
  }

  function mention(what: Mention): void {
    if (mentions.length < MOST_MENTIONS) mentions.push(what);
  }

  function addIpv4(address: number, port: number, list: string, line: number): void {
    single[0] = address >>> 24;
    single[1] = address >>> 16;
    single[2] = address >>> 8;
    single[3] = address;
    const plain = port !== 0 && options.family !== 6 && unprobeable(single) === undefined;
    if (plain && mentions.length === MOST_MENTIONS) {
      builder.addPair(address, port);
      return;
    }
    const text = formatAddress(single);
    add({
      text: port === 0 ? text : `${text}:${port}`,
      origin: `${list}:${line}`,
      host: { kind: "address", address: single.slice() },
      ...(port === 0 ? {} : { ports: Uint16Array.of(port) }),
    });
  }

  const unresolved = (): number => named.filter(({ host }) => !resolutions.has(host.name)).length;

  /** Adds the names that have been looked up. */
  function addNames(boundTo: Interface | undefined, source: Address | undefined): void {
    const all = named;
    named = all.filter(({ host }) => !resolutions.has(host.name));
    for (const { spec, host, ports } of all) {
      const found = resolutions.get(host.name);
      if (found === undefined) continue;
      if (found instanceof SynprobeError) {
        const where = spec.origin === undefined ? "" : `${spec.origin}: `;
        fault(spec.text, found.code, `${where}${found.message}`);
        continue;
      }
      const distinct = new Map(found.map((address) => [formatAddress(address), address]));
      const usable = usableAddresses([...distinct.values()], boundTo, source);
      const chosen = options.allAddresses ? usable : usable.slice(0, 1);
      for (const address of chosen) {
        const key = call(address, host.name, ports);
        addAddress(address, ports, spec.text, labelOf(spec));
        const others = [...distinct.keys()].filter((text) => text !== key);
        if (!options.allAddresses && others.length > 0) otherAddresses.set(key, others);
      }
    }
  }

  function exclude({ hosts, ports }: Exclusions): void {
    builder.excludePorts(ports);
    for (const { first, last } of hosts) builder.exclude(first, last);
  }

  function buildWithin(space: Space, excluded: Exclusions): Space | undefined {
    if (options.resumed?.began === undefined) return undefined;
    exclude(excluded);
    const within = builder.build();
    return within.total === space.total ? undefined : within;
  }

  /** An address, or a part of a range, to which nothing can be sent. */
  function unreachable({ first, last }: AddressSpan, error: SynprobeError): void {
    const concerned = mentions.flatMap((mention) => {
      const part = intersection(mention, { first, last });
      return part === undefined ? [] : [{ ...mention, part }];
    });
    builder.exclude(first, last);
    const broadcast = error.code === ERROR_CODES.notUnicast;
    for (const { text, label, range, part } of concerned) {
      if (!range) fault(text, error.code, `${label}: ${error.message}`);
      else if (broadcast) leftOut.push({ span: part, why: "broadcast address of a local network" });
      else fault(text, error.code, `${label}: ${formatSpan(part)}: ${error.message}`);
    }
    if (concerned.length === 0) {
      const text = formatSpan({ first, last });
      fault(text, error.code, `${text}: ${error.message}`);
    }
  }

  async function finish(): Promise<Plan> {
    // -e is for the whole run; a zone only says on which link a link-local address is meant.
    if (wanted instanceof SynprobeError) throw wanted;
    const boundTo = wanted;
    const through = boundTo ?? zone;
    const source = options.sourceIp === undefined ? undefined : checkSource(options.sourceIp);
    const namesOf = (all: readonly Pick<AnyTargetSpec, "host">[]): string[] =>
      all.flatMap(({ host }) => (host.kind === "name" ? [host.name] : []));
    const lookingUp = resolve(namesOf(named), options.family, resolutions);
    const excluded = gatherExclusions(options, await resolve(namesOf(options.exclude ?? [])), through);
    const someFound = async (): Promise<void> => {
      const { patienceMs } = options;
      if (patienceMs === undefined) await lookingUp;
      else await Promise.race([lookingUp, pause(patienceMs, undefined, { ref: false })]);
    };

    async function nextPlan(): Promise<Plan> {
      do await someFound();
      while (earlier.length > 0 && named.length > 0 && unresolved() === named.length);
      addNames(boundTo, source);
      exclude(options.resumed?.began ?? excluded);
      const routed = options.isElsewhere === true ? [] : routeAll(through, boundTo, source);
      for (const { way, ...span } of routed) if (way instanceof SynprobeError) unreachable(span, way);
      const space = builder.build(options.resumed?.began === undefined ? "last" : "another");
      const within = buildWithin(space, excluded);
      const before = earlier.slice();
      const isPending = named.length > 0;
      if (isPending) {
        earlier.push(space);
        builder = createSpaceBuilder();
        mentions = [];
        if (space.total === 0) return nextPlan();
      }
      const portsToCome = isPending ? allPorts(named) : [];
      const isFirst = before.every(({ total }) => total === 0);
      return {
        space,
        ...(within === undefined ? {} : { within }),
        excluded,
        ...layPaths(routed, options.ttl, source),
        namesOf: namesIn(names),
        names,
        portless: portless !== undefined,
        canaryPorts: canaryPorts(portsToCome, excluded.ports, (marks) => {
          for (const each of [space, ...before]) each.markPorts(marks);
        }),
        otherAddresses,
        ...(isPending ? { pending: pendingNames(portsToCome, nextPlan) } : {}),
        knownHosts: revisited.splice(0).filter((words) => space.hasHost(words, 0)).length,
        faults: faults.splice(0),
        leftOut: leftOut.splice(0),
        warnings: isFirst ? warnings() : [],
        crowd: countCrowd(routed, space.hosts, neighbourLimit()),
        ...(boundTo === undefined ? {} : { interfaceName: boundTo.name }),
        ...(through === undefined ? {} : { scope: through.index }),
        ...(source === undefined ? {} : { source }),
      };
    }
    return nextPlan();
  }

  function pendingNames(ports: readonly number[], next: PendingNames["next"]): PendingNames {
    const pairs = named.reduce((sum, each) => sum + each.ports.length, 0);
    return { pairs, ports, next, unresolved };
  }

  function warnings(): string[] {
    const all: string[] = [];
    if (url !== undefined) all.push(`a URL is taken for its host and port, and nothing else of it: ${url}`);
    if (doubted !== undefined) {
      const { text, is, meant, port } = doubted;
      all.push(`${text} is taken for ${is}: write ${meant} if ${port} is the port`);
    }
    return all;
  }

  function routeAll(
    through: Interface | undefined,
    boundTo: Interface | undefined,
    source: Address | undefined,
  ): RoutedSpan[] {
    const netlink = openNetlink();
    try {
      return routeSpans(builder.eachSpan, (address) =>
        judgeWay(address, address.length === 16 && isLinkLocal(address) ? through : boundTo, source, netlink),
      );
    } finally {
      netlink.close();
    }
  }

  return { add, addIpv4, unresolved, finish };
}

function labelOf({ origin, text }: AnyTargetSpec): string {
  return origin === undefined ? text : `${origin}: ${text}`;
}

export interface OnlyPair {
  readonly address: Address;
  readonly port: number;
  readonly path: Path;
}

/** The only pair of a plan; undefined when there is none. */
export function onlyPair(plan: Plan): OnlyPair | undefined {
  if (plan.space.total === 0) return undefined;
  const pair = { words: new Uint32Array(ADDRESS_WORDS), port: 0 };
  plan.space.pairAt(0, pair);
  const path = plan.paths[plan.pathRanges.path[0]];
  return { address: storeAddress(pair.words, 0, path.local.length), port: pair.port, path };
}

const allPorts = (named: readonly { readonly ports: Uint16Array }[]): number[] => [
  // Many names share a list.
  ...new Set([...new Set(named.map(({ ports }) => ports))].flatMap((ports) => [...ports])),
];

/** Literal addresses are the common case, and need no resolver loaded. */
async function resolve(
  names: readonly string[],
  family?: 4 | 6,
  found = new Map<string, Resolution>(),
): Promise<ReadonlyMap<string, Resolution>> {
  if (names.length === 0) return found;
  const { resolveNames } = await import("../system/resolve.ts");
  return resolveNames(names, family, found);
}
