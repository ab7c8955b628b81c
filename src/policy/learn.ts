/**
 * A policy of what a run has found, as YAML: hosts whose ports are the same share a group. What could not be told is left out, and
 * said in a comment.
 *
 * Pure. Not here: reading one (policy.ts).
 */
import { compareKeys, sortKey } from "../report/addresses.ts";
import { escapeText, printableJson } from "../report/escape.ts";
import { count, portRanges, utc } from "../report/figures.ts";
import { PORT_STATES, type PortResult, type PortState, type TargetFault } from "../scan/probe/result.ts";
import { type AddressSpan, formatSpan } from "../scan/targets/address-range.ts";
import { type Address, parseAddress } from "../wire/address.ts";
import { judge } from "./judge.ts";
import { reasonOf, targetOf } from "./words.ts";

export interface Learning {
  take(result: PortResult): void;
  /** What could not be told so far, for a second look. */
  untold(): readonly PortResult[];
  /** The policy's text. @param startedMs of the run, since the Unix epoch */
  policy(startedMs: number, faults: readonly TargetFault[]): string;
}

/** So many ports that could not be told are named. */
const MOST_NAMED = 100;

interface Host {
  readonly ip: string;
  readonly name?: string;
  readonly states: Map<number, PortState>;
}

export function createLearning(): Learning {
  const hosts = new Map<string, Host>();
  const untold = new Map<string, PortResult>();

  return {
    take(result) {
      const { ip, host: name, port, state } = result;
      const key = `${name ?? ""} ${ip}`;
      let host = hosts.get(key);
      if (host === undefined) {
        host = { ip, ...(name === undefined ? {} : { name }), states: new Map() };
        hosts.set(key, host);
      }
      // As a check would judge it that has just this state to pass.
      if (judge({ states: [state], tolerate: [] }, result) === "untold") {
        untold.set(`${key} ${port}`, result);
        host.states.delete(port);
      } else {
        untold.delete(`${key} ${port}`);
        host.states.set(port, state);
      }
    },
    untold: () => [...untold.values()],
    policy(startedMs, faults) {
      const groups = new Map<string, Host[]>();
      const ordered = [...hosts.values()]
        .map((host) => ({ key: sortKey(host.ip), host }))
        .sort((a, b) => compareKeys(a.key, b.key));
      for (const { host } of ordered) {
        const rules = rulesOf(host);
        const same = groups.get(rules);
        if (rules === "") continue;
        if (same === undefined) groups.set(rules, [host]);
        else same.push(host);
      }
      const lines = [`# What synprobe found on ${utc(startedMs)} UTC, for synprobe check.`];
      if (untold.size > 0) lines.push(`# ${count(untold.size, "port")} could not be told, and left out:`);
      for (const result of [...untold.values()].slice(0, MOST_NAMED))
        lines.push(`#   ${escapeText(targetOf(result))}: ${escapeText(reasonOf(result))}`);
      if (untold.size > MOST_NAMED) lines.push(`#   and ${untold.size - MOST_NAMED} more`);
      for (const { target, message } of faults)
        lines.push(`# Not probed: ${escapeText(target)}: ${escapeText(message)}`);
      lines.push(groups.size === 0 ? "groups: []" : "groups:");
      for (const [rules, all] of groups) {
        lines.push(
          "  - targets:",
          ...targetsOf(all).map((text) => `      - ${yaml(text)}`),
          "    ports:",
          rules,
        );
      }
      return `${lines.join("\n")}\n`;
    },
  };
}

/** Ports by state, as lines of YAML. */
function rulesOf({ states }: Host): string {
  return PORT_STATES.flatMap((state) => {
    const ports = [...states].flatMap(([port, each]) => (each === state ? [port] : [])).sort((a, b) => a - b);
    return ports.length === 0 ? [] : [`      ${JSON.stringify(portRanges(ports))}: ${state}`];
  }).join("\n");
}

/** Hosts in ascending order as targets: names as they are, addresses as the longest spans. */
function targetsOf(hosts: readonly Host[]): string[] {
  const texts: string[] = [];
  let span: AddressSpan | undefined;
  const close = (): void => {
    if (span !== undefined) texts.push(formatSpan(span));
    span = undefined;
  };
  for (const { ip, name } of hosts) {
    const address = parseAddress(ip);
    if (name !== undefined || address === undefined) {
      close();
      texts.push(name ?? ip);
    } else if (span !== undefined && isNext(span.last, address)) span = { first: span.first, last: address };
    else {
      close();
      span = { first: address, last: address };
    }
  }
  close();
  return texts;
}

/** Whether an address follows another. */
function isNext(before: Address, after: Address): boolean {
  if (before.length !== after.length) return false;
  let i = before.length - 1;
  while (i >= 0 && before[i] === 255 && after[i] === 0) i--;
  if (i < 0 || after[i] !== before[i] + 1) return false;
  return before.subarray(0, i).every((byte, at) => byte === after[at]);
}

/** What has a colon or a bracket would be something else to YAML. */
const yaml = (text: string): string => (/^\d[\d./-]*$/.test(text) ? text : printableJson(text));
