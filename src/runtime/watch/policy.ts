/**
 * A policy that is watched: read anew for every round, its targets planned, every verdict held against it. What a policy says is
 * policy/'s business, what is told of it events.ts's. Tested by test/runtime/watch/policy.test.ts and test/lab/watch-policy.test.ts.
 */
import { createExpectations, type Expectations } from "../../policy/expectations.ts";
import { judge, type Outcome } from "../../policy/judge.ts";
import { type Policy, placesOf, targetsToProbe } from "../../policy/policy.ts";
import type { PortResult } from "../../scan/probe/result.ts";
import { intersection } from "../../scan/targets/address-range.ts";
import type { Services } from "../../scan/targets/services.ts";
import { formatAddress, parseAddress } from "../../wire/address.ts";
import type { Plan, Planner } from "../plan/plan.ts";
import { noteEnded, readPolicyFile } from "../plan/policy-file.ts";

/** What a port is by its rule. */
export interface Judgement {
  readonly outcome: Outcome;
  /** In words: "open", "not open". */
  readonly expected: string;
  /** Where the rule stands: `policy.yaml:12:5`. */
  readonly rule: string;
}

export interface WatchedPolicy {
  /** Reads the file. @throws {SynprobeError} `ERR_POLICY`, `ERR_NO_TARGETS` */
  reload(): Promise<void>;
  addTargets(planner: Planner): void;
  /** The addresses of names are known. */
  planned(plan: Plan): void;
  /** Ports of hosts that could not be probed: their names do not resolve, or there is no way to them. Of ranges nothing is known. */
  unprobed(): number;
  /**
   * Whether a port is watched still, whatever this round found: false when the policy says nothing of it any more, when its name has
   * other addresses now, and when it is excluded. A name that does not resolve keeps what it had.
   * @param host the name by which it was probed last
   */
  watches(ip: string, port: number, host: string | undefined): boolean;
  /** Undefined where the policy says nothing of the port. @param isSettled it is a change that was confirmed */
  judge(result: PortResult, isSettled?: boolean): Judgement | undefined;
}

/** @param note is told of every group that has ended, once */
export async function openPolicy(
  file: string,
  services: Services,
  drop: boolean,
  note: (text: string) => void,
): Promise<WatchedPolicy> {
  const noted = new Set<string>();
  const read = async (): Promise<Policy> => {
    const policy = await readPolicyFile(file, services, drop);
    noteEnded(policy, (text) => {
      if (!noted.has(text)) note(text);
      noted.add(text);
    });
    // No fleet watches.
    placesOf(policy, []);
    return policy;
  };
  let policy = await read();
  let expectations: Expectations | undefined;
  let unprobed = 0;
  /** By address, the names that it had when they resolved last: the store has one of them. */
  const namesOf = new Map<string, readonly string[]>();
  let watches: WatchedPolicy["watches"] = () => true;
  return {
    async reload() {
      policy = await read();
    },
    addTargets(planner) {
      for (const target of targetsToProbe(policy)) planner.add(target);
    },
    planned(plan) {
      const { names, faults } = plan;
      expectations = createExpectations(policy, names);
      const resolved = resolvedIn(names);
      for (const ip of new Set([...namesOf.keys(), ...names.keys()])) {
        const now = (names.get(ip) ?? []).map(({ name }) => name);
        const kept = namesOf.get(ip)?.filter((name) => !resolved.has(name)) ?? [];
        namesOf.set(ip, [...new Set([...now, ...kept])]);
        if (now.length + kept.length === 0) namesOf.delete(ip);
      }
      watches = createScope(policy, plan, expectations, namesOf);
      unprobed = countPorts(policy, new Set(faults.map(({ target }) => target)));
    },
    unprobed: () => unprobed,
    watches: (...port) => watches(...port),
    judge(result, isSettled) {
      const rule = expectations?.(result.ip, result.port);
      if (rule === undefined) return undefined;
      const { expected, line, column } = rule;
      return { outcome: judge(rule, result, isSettled), expected, rule: `${policy.file}:${line}:${column}` };
    },
  };
}

const resolvedIn = (names: Plan["names"]): ReadonlySet<string> =>
  new Set([...names.values()].flat().map(({ name }) => name));

/** What a plan of a policy watches: also the addresses of its names that are not probed this time. */
function createScope(
  policy: Policy,
  { names, otherAddresses, excluded }: Plan,
  expectations: Expectations,
  namesOf: ReadonlyMap<string, readonly string[]>,
): WatchedPolicy["watches"] {
  const resolved = resolvedIn(names);
  const unresolved = new Set<string>();
  for (const { host } of targetsToProbe(policy))
    if (host.kind === "name" && !resolved.has(host.name)) unresolved.add(host.name);
  let everywhere: Expectations | undefined;
  const ofOthers = (): Expectations => {
    const all = new Map(names);
    for (const [ip, others] of otherAddresses)
      for (const other of others) all.set(other, [...(all.get(other) ?? []), ...(names.get(ip) ?? [])]);
    everywhere ??= createExpectations(policy, all);
    return everywhere;
  };
  return (ip, port, host) => {
    const address = parseAddress(ip);
    const at = address === undefined ? undefined : { first: address, last: address };
    if (excluded.ports.includes(port)) return false;
    if (at !== undefined && [...excluded.hosts].some((span) => intersection(span, at) !== undefined))
      return false;
    if (host !== undefined && unresolved.has(host)) return true;
    if (namesOf.get(ip)?.some((name) => unresolved.has(name)) === true) return true;
    return (expectations(ip, port) ?? ofOthers()(ip, port)) !== undefined;
  };
}

/** Ports that a policy is about, of hosts that are written so; each once, however many groups it stands in. */
function countPorts(policy: Policy, written: ReadonlySet<string>): number {
  const portsOf = new Map<string, Set<number>>();
  if (written.size > 0)
    for (const { text, host, ports = [] } of targetsToProbe(policy)) {
      if (host.kind === "range" || !written.has(text)) continue;
      const key = host.kind === "name" ? host.name : formatAddress(host.address);
      portsOf.set(key, new Set([...(portsOf.get(key) ?? []), ...ports]));
    }
  return [...portsOf.values()].reduce((sum, { size }) => sum + size, 0);
}
