/**
 * From what the user wrote to what can be probed: names resolved, addresses judged, routes and source addresses found.
 *
 * One target's fault never stops the others: it becomes a TargetFault. A fault of the run itself (no such interface, a
 * source address that is not ours) throws. No packet is sent here.
 */
import { ERROR_CODES, type ErrorCode, SynprobeError } from "../errors.ts";
import { type Interface, localAddresses, lookUpInterface, lookUpRoute } from "../link/route.ts";
import type { Path } from "../scan/engine.ts";
import type { TargetFault } from "../scan/result.ts";
import { claimPairs, type SpaceTarget } from "../scan/space.ts";
import type { TargetSpec } from "../scan/target.ts";
import { type Address, formatAddress, isLinkLocal, parseAddress, sameAddress } from "../wire/address.ts";
import { judgeInterface, judgeRoute, unprobeable } from "./reachability.ts";
import type { Resolution } from "./resolve.ts";

export interface PlanOptions {
  /** Ports of targets that name none. */
  readonly ports?: Uint16Array;
  readonly family?: 4 | 6;
  /** Probe every address of a name, not only the first. */
  readonly allAddresses: boolean;
  readonly interfaceName?: string;
  /** Source address as text. */
  readonly sourceIp?: string;
  /** TTL or hop limit of the probes. */
  readonly ttl: number;
}

export interface Plan {
  readonly targets: readonly SpaceTarget[];
  /** Per target, an index into `paths`. */
  readonly pathOf: readonly number[];
  /** Per target: is it this machine itself? */
  readonly isLocal: readonly boolean[];
  readonly paths: readonly Path[];
  /** The one interface the run is bound to, if the user named one. */
  readonly interfaceName?: string;
  /** Index of the interface on which link-local addresses are meant. */
  readonly scope?: number;
  /** The source address that the user chose. */
  readonly source?: Address;
  readonly families: readonly (4 | 6)[];
  readonly faults: readonly TargetFault[];
}

interface Candidate extends SpaceTarget {
  /** As the user wrote it. */
  readonly text: string;
  /** The same for messages: after `file:line` when it is from a list. */
  readonly label: string;
  readonly zone?: string;
}

/** @throws {SynprobeError} `ERR_NO_INTERFACE`, `ERR_INTERFACE_DOWN`, `ERR_NO_SOURCE`, `ERR_USAGE` */
export async function makePlan(specs: readonly TargetSpec[], options: PlanOptions): Promise<Plan> {
  const faults: TargetFault[] = [];
  const fault = (text: string, code: ErrorCode, message: string): void => {
    faults.push({ target: text, code, message });
  };

  const located = await locate(specs, options, fault);
  const addressable = located.filter((candidate) => {
    const complaint = unprobeable(candidate.address);
    if (complaint !== undefined)
      fault(candidate.text, ERROR_CODES.notUnicast, `${candidate.label}: ${complaint}`);
    return complaint === undefined;
  });

  const named = chooseInterface(addressable, options.interfaceName);
  // -e is for the whole run; a zone only says on which link a link-local address is meant.
  const boundTo = options.interfaceName === undefined ? undefined : named;
  const source = options.sourceIp === undefined ? undefined : checkSource(options.sourceIp);

  const targets: SpaceTarget[] = [];
  const pathOf: number[] = [];
  const isLocal: boolean[] = [];
  const paths: Path[] = [];
  const pathByLocal = new Map<string, number>();
  for (const candidate of claimPairs(addressable)) {
    const scoped = candidate.address.length === 16 && isLinkLocal(candidate.address);
    const found = localFor(candidate, scoped ? named : boundTo, source);
    if (found instanceof SynprobeError) {
      fault(candidate.text, found.code, found.message);
      continue;
    }
    const { local } = found;
    const key = formatAddress(local);
    let path = pathByLocal.get(key);
    if (path === undefined) {
      path = paths.push({ local, ttl: options.ttl }) - 1;
      pathByLocal.set(key, path);
    }
    targets.push(candidate);
    pathOf.push(path);
    isLocal.push(found.toSelf);
  }
  const families = ([4, 6] as const).filter((family) =>
    paths.some(({ local }) => (local.length === 4) === (family === 4)),
  );
  return {
    targets,
    pathOf,
    isLocal,
    paths,
    families,
    faults,
    ...(boundTo === undefined ? {} : { interfaceName: boundTo.name }),
    ...(named === undefined ? {} : { scope: named.index }),
    ...(source === undefined ? {} : { source }),
  };
}

/** Literal addresses are the common case, and need no resolver loaded. */
async function resolve(names: readonly string[], family?: 4 | 6): Promise<ReadonlyMap<string, Resolution>> {
  if (names.length === 0) return new Map();
  const { resolveNames } = await import("./resolve.ts");
  return resolveNames(names, family);
}

/** Gives every target its addresses and ports. */
async function locate(
  specs: readonly TargetSpec[],
  options: PlanOptions,
  fault: (text: string, code: ErrorCode, message: string) => void,
): Promise<Candidate[]> {
  const names = specs.flatMap(({ host }) => (host.kind === "name" ? [host.name] : []));
  const resolutions = await resolve(names, options.family);
  return specs.flatMap((spec): Candidate[] => {
    const { host, text } = spec;
    const where = spec.origin === undefined ? "" : `${spec.origin}: `;
    const label = `${where}${text}`;
    const ports = spec.ports ?? options.ports;
    if (ports === undefined) {
      fault(
        text,
        ERROR_CODES.usage,
        `${label} names no port: write ${withPort(host, text)}:PORT, or give -p PORTS`,
      );
      return [];
    }
    if (host.kind === "name") {
      const found = resolutions.get(host.name);
      if (found === undefined || found instanceof SynprobeError) {
        fault(text, found?.code ?? ERROR_CODES.unknownHost, `${where}${found?.message ?? text}`);
        return [];
      }
      const addresses = options.allAddresses ? found : found.slice(0, 1);
      return addresses.map((address) => ({
        text,
        label,
        name: host.name,
        address,
        ports,
      }));
    }
    const { address, zone } = host;
    if (options.family !== undefined && (address.length === 4) !== (options.family === 4)) {
      fault(
        text,
        ERROR_CODES.noAddress,
        `${label} is not an IPv${options.family} address: drop -${options.family}`,
      );
      return [];
    }
    return [{ text, label, address, ports, ...(zone === undefined ? {} : { zone }) }];
  });
}

/** How a target is written when a port follows: IPv6 in brackets. */
const withPort = (host: TargetSpec["host"], text: string): string =>
  host.kind === "address" && host.address.length === 16 && !text.startsWith("[") ? `[${text}]` : text;

/** The interface to bind to: -e, or the zone of a link-local target. */
function chooseInterface(
  candidates: readonly Candidate[],
  wanted: string | undefined,
): Interface | undefined {
  const zones = new Set(candidates.flatMap(({ zone }) => (zone === undefined ? [] : [zone])));
  if (wanted !== undefined) zones.add(wanted);
  if (zones.size > 1) {
    throw new SynprobeError(
      ERROR_CODES.usage,
      `one run goes through one interface, but ${[...zones].join(" and ")} are named: run synprobe once for each`,
    );
  }
  const [name] = zones;
  if (name === undefined) return undefined;
  const found = judgeInterface(name, lookUpInterface(/^\d+$/.test(name) ? Number(name) : name));
  if (found instanceof SynprobeError) throw found;
  return found;
}

/** @throws {SynprobeError} unless the text is an address of this machine */
function checkSource(text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) {
    throw new SynprobeError(ERROR_CODES.usage, `-S takes an IP address, not "${text}"`);
  }
  const family = address.length === 4 ? 4 : 6;
  const own = localAddresses(family).some((local) =>
    sameAddress(local.address, 0, address, 0, address.length),
  );
  // All of 127.0.0.0/8 is this machine's, though only 127.0.0.1 is configured.
  if (own || (family === 4 && address[0] === 127)) return address;
  throw new SynprobeError(
    ERROR_CODES.noSource,
    `source address ${formatAddress(address)} is not this machine's, so no answer could reach it: "ip addr" lists those that are`,
  );
}

/** The interface that has an address of this machine; undefined for any other address. */
function ownerOf(address: Address): number | undefined {
  const family = address.length === 4 ? 4 : 6;
  return localAddresses(family).find((own) => sameAddress(own.address, 0, address, 0, address.length))
    ?.interfaceIndex;
}

/** The local address for a target, or why it cannot be reached. */
function localFor(
  target: Candidate,
  boundTo: Interface | undefined,
  source: Address | undefined,
): { local: Address; toSelf: boolean } | SynprobeError {
  const { label, address } = target;
  const error = (code: ErrorCode, message: string) => new SynprobeError(code, `${label}: ${message}`);
  if (source !== undefined && source.length !== address.length) {
    return error(
      ERROR_CODES.noSource,
      `source address ${formatAddress(source)} is of the other IP version: give one of this target's`,
    );
  }
  const route = judgeRoute(address, boundTo, (to, through) => lookUpRoute(to, through, source), ownerOf);
  if (route instanceof SynprobeError) return error(route.code, route.message);
  if (route.type === "local") {
    // The kernel routes to itself even while the loopback interface, through which it does, is down.
    const through = lookUpInterface(route.interfaceIndex);
    if (through?.up === false) {
      return error(
        ERROR_CODES.interfaceDown,
        `interface ${through.name} is down: bring it up with "ip link set ${through.name} up"`,
      );
    }
  }
  return { local: source ?? route.source, toSelf: route.type === "local" };
}
