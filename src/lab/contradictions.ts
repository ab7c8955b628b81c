/**
 * Contradictions between parts of a description that are each valid: shares that add up to more than 1, a queue without a
 * bottleneck, ICMP errors of the other IP version. The parts themselves are checked by description.ts's schema.
 */
import { parseAddress } from "../wire/address.ts";
import {
  type DirectionDescription,
  type Fate,
  type HopDescription,
  type HostDescription,
  type HostsDescription,
  ICMP_REASONS,
  type LabDescription,
  MOST_ROUTERS,
  type PathDescription,
  type PortRules,
} from "./description.ts";
import { parseRange } from "./ranges.ts";

/** What is wrong, and the keys that lead there: ["hosts", 2, "rest"]. */
export interface Fault {
  readonly at: Place;
  readonly says: string;
}
type Place = readonly (string | number)[];

/** Port rules of all kinds of host together. Each takes a few hundred bytes. */
const MAX_RULES = 100_000;

/** The first contradiction; undefined when there is none. */
export function findContradiction(lab: LabDescription): Fault | undefined {
  const { value } = contradictions(lab).next();
  return value ?? undefined;
}

function* contradictions({ path, hosts }: LabDescription): Generator<Fault, void> {
  if (path !== undefined) yield* ofPath(path, ["path"]);
  for (const [i, entry] of hosts.entries()) yield* ofEntry(entry, ["hosts", i]);
  // A mix without ports of its own has those of its entry.
  const rules = hosts
    .flatMap(({ ports = [], mix = [] }) => [ports, ...mix.map((host) => host.ports ?? ports)])
    .reduce((sum, { length }) => sum + length, 0);
  if (rules <= MAX_RULES) return;
  const says = `${rules} port rules in all, those that mixes inherit included; at most ${MAX_RULES} are allowed`;
  yield { at: ["hosts"], says };
}

function* ofEntry(entry: HostsDescription, at: Place): Generator<Fault> {
  const { range, mix = [] } = entry;
  const ends = parseRange(range);
  if (typeof ends === "string") throw new RangeError(`${range}: ${ends}`);
  yield* ofHost(entry, at, ends.first.length);
  for (const [i, host] of mix.entries()) yield* ofHost(host, [...at, "mix", i], ends.first.length);
  yield* ofShares(mix, [...at, "mix"]);
}

/** @param length of the host's address, in bytes */
function* ofHost(host: HostDescription, at: Place, length: number): Generator<Fault> {
  const { ports = [], rest, rejectFrom, path } = host;
  for (const [i, { is, service, banner }] of ports.entries()) {
    const rule = [...at, "ports", i];
    yield* ofFate(is, [...rule, "is"], length);
    for (const [key, given] of Object.entries({ service, banner })) {
      if (given !== undefined && is !== "open")
        yield { at: [...rule, key], says: "only an open port has one" };
    }
    if (banner !== undefined && service !== undefined && service !== "banner") {
      yield { at: [...rule, "banner"], says: `the service is "${service}"` };
    }
  }
  if (rest !== undefined) yield* ofFate(rest, [...at, "rest"], length);
  if (rejectFrom !== undefined && parseAddress(rejectFrom)?.length !== length) {
    yield { at: [...at, "rejectFrom"], says: "is not of the range's IP version" };
  }
  // Rules with the same ports share one draw.
  for (const [, rules] of groupByPorts(ports)) yield* ofShares(rules, [...at, "ports"]);
  if (path !== undefined) yield* ofPath(path, [...at, "path"]);
}

function groupByPorts(rules: PortRules): Map<string | undefined, PortRules> {
  const groups = new Map<string | undefined, PortRules[number][]>();
  for (const rule of rules) {
    const group = groups.get(rule.ports);
    if (group === undefined) groups.set(rule.ports, [rule]);
    else group.push(rule);
  }
  return groups;
}

function* ofFate(is: Fate, at: Place, length: number): Generator<Fault> {
  if (is === "open" || is === "closed" || is === "silent") return;
  const family = length === 4 ? "v4" : "v6";
  if (ICMP_REASONS[is][family] === undefined) yield { at, says: `there is no "${is}" in IP${family}` };
}

function* ofShares(parts: readonly { readonly share?: number }[], at: Place): Generator<Fault> {
  const sum = parts.reduce((total, part) => total + (part.share ?? 0), 0);
  if (sum > 1 + 1e-9) yield { at, says: `the shares add up to ${Number(sum.toFixed(6))}, more than 1` };
}

/** Routers: branches have theirs inside, and answers on their way back can only be dropped. */
function* ofHops({ hops = [], returnDetour }: PathDescription, at: Place): Generator<Fault> {
  if (returnDetour !== undefined && hops.length === 0) {
    yield { at: [...at, "returnDetour"], says: "needs hops beside it" };
  }
  const routers = hops.reduce((sum, { branches = [[0]] }) => sum + branches.flat().length, 0);
  if (routers > MOST_ROUTERS) {
    const says = `${routers} routers, those on branches included; at most ${MOST_ROUTERS} are allowed`;
    yield { at: [...at, "hops"], says };
  }
  for (const [i, { branches, ...hop }] of hops.entries()) {
    const place = [...at, "hops", i];
    const [key] = branches === undefined ? [] : Object.keys(hop);
    if (key !== undefined) yield { at: [...place, key], says: "stands in the branches' own routers" };
    yield* ofRules(hop, place);
    for (const [j, branch] of (branches ?? []).entries()) {
      if (branch.length === 0) yield { at: [...place, "branches", j], says: "a branch without routers" };
      for (const [k, each] of branch.entries()) yield* ofRules(each, [...place, "branches", j, k]);
    }
  }
}

function* ofRules({ rules = [] }: HopDescription, at: Place): Generator<Fault> {
  for (const [i, { does, back }] of rules.entries()) {
    if (back !== true || does === "drop") continue;
    yield { at: [...at, "rules", i, "does"], says: "answers on their way back are dropped" };
  }
}

/** A queue and later rates need a bottleneck: of this way, or of the path both ways. */
function* ofPath(path: PathDescription, at: Place): Generator<Fault> {
  yield* ofHops(path, at);
  const { in: inward = {}, out: outward = {} } = path;
  const ways: readonly [at: Place, way: DirectionDescription, sources: readonly DirectionDescription[]][] = [
    [at, path, [path, inward, outward]],
    [[...at, "in"], inward, [path, inward]],
    [[...at, "out"], outward, [path, outward]],
  ];
  for (const [place, way, sources] of ways) {
    const { rateChanges = [], outages = [] } = way;
    for (const [i, { fromMs, toMs }] of outages.entries()) {
      if (toMs <= fromMs) yield { at: [...place, "outages", i, "toMs"], says: "is not after fromMs" };
    }
    for (const [i, { atMs }] of rateChanges.entries()) {
      if (i === 0 || atMs > rateChanges[i - 1].atMs) continue;
      yield { at: [...place, "rateChanges", i, "atMs"], says: "is not after the one before it" };
    }
    if (sources.some(({ ratePps }) => ratePps !== undefined)) continue;
    for (const key of ["queuePackets", "rateChanges"] as const) {
      if (way[key] === undefined) continue;
      yield { at: [...place, key], says: "needs a ratePps beside it: there is no bottleneck" };
    }
  }
}
