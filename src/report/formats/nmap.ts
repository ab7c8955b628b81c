/**
 * Shared by nmap's two file formats (nmap-xml.ts, grepable.ts): results grouped by address, times and command lines in nmap's
 * spelling.
 *
 * Both formats give one entry per host, while results fall in any order: they are written at the end, when they are in order
 * (host-order.ts). The formats: nmap-xml.ts, grepable.ts.
 *
 * A host with a result counts as "up", as under `nmap -Pn`. So hosts that a shard or an interrupted run has not reached are not
 * counted, neither as addresses nor as hosts.
 */
import {
  isFromHost,
  PORT_STATES,
  type PortResult,
  type PortState,
  type ScanSummary,
} from "../../scan/probe/result.ts";
import { escapeText } from "../escape.ts";
import type { RunInfo } from "../reporter.ts";
import { type OrderedResult, orderByHost, type Spill } from "./host-order.ts";

/** Which ports a format lists one by one. */
export interface ListedPorts {
  /** Only these states, and no host without. All states, but for those with many ports of a host, when undefined. */
  readonly states?: readonly PortState[];
  /** Without `states`: all ports. */
  readonly verbose: boolean;
}

/** As nmap has it: a state with more ports of a host than this is summed up; open ports never are. */
export const MOST_LISTED = 25;

/** Ports of a host in one state that are not listed. */
export interface ExtraPorts {
  readonly state: PortState;
  readonly count: number;
  /** The most frequent first, each with its ports, ascending. */
  readonly reasons: readonly { readonly reason: string; readonly ports: readonly number[] }[];
}

/** Every verdict on one address. */
export interface HostResults {
  readonly ip: string;
  /** The names that the user gave for this address, each once. */
  readonly names: readonly string[];
  /** Those that are listed, by port, ascending; a corrected verdict stands in place of the first one. */
  readonly ports: readonly OrderedResult[];
  /** The others, the most frequent state first. */
  readonly extra: readonly ExtraPorts[];
  /** When the last of its verdicts fell, in milliseconds since the Unix epoch. */
  readonly endedMs: number;
  /** A verdict that the host itself gave, which proves it is up; undefined when only others spoke for it, or nobody. */
  readonly answer: OrderedResult | undefined;
}

export interface HostGroups {
  add(result: PortResult): void;
  /** Writes hosts in order of address, IPv4 before IPv6: a step of it each time that it is asked to go on. Always the same one. */
  readonly writing: Generator<void, void>;
  /** Hosts that have a result. */
  hosts(): number;
}

/** Gathers the results of a run of `pairs` pairs, and hands them to `write` host by host. */
export function groupByHost(
  pairs: number,
  write: (host: HostResults) => void,
  createSpill?: () => Spill,
  listed?: ListedPorts,
): HostGroups {
  const order = orderByHost(pairs, createSpill);
  let hosts = 0;

  function end(ports: readonly OrderedResult[]): void {
    if (ports.length === 0) return;
    hosts++;
    const host = hostResults(ports, listed);
    if (listed?.states === undefined || host.ports.length > 0) write(host);
  }

  function* writeHosts(): Generator<void, void> {
    let ports: OrderedResult[] = [];
    let steps = 0;
    for (const result of order.sorted()) {
      if (result !== undefined) {
        if (ports.length > 0 && ports[0].ip !== result.ip) {
          end(ports);
          ports = [];
        }
        ports.push(result);
      }
      if (result === undefined || ++steps % STEP === 0) yield;
    }
    end(ports);
  }

  return { add: order.add, writing: writeHosts(), hosts: () => hosts };
}

/** Results in a step: writing them takes a few milliseconds. */
const STEP = 1000;

function hostResults(all: readonly OrderedResult[], listed: ListedPorts | undefined): HostResults {
  const names = new Set<string>();
  const counts: Record<PortState, number> = { open: 0, closed: 0, filtered: 0 };
  let endedMs = 0;
  for (const { host, aliases = [], state, timeMs } of all) {
    if (host !== undefined) for (const name of [host, ...aliases]) names.add(name);
    counts[state]++;
    endedMs = Math.max(endedMs, timeMs);
  }
  const { states, verbose = false } = listed ?? {};
  const isListed = (state: PortState): boolean =>
    states?.includes(state) ?? (verbose || state === "open" || counts[state] <= MOST_LISTED);
  const extra = PORT_STATES.filter((state) => counts[state] > 0 && !isListed(state))
    .sort((a, b) => counts[b] - counts[a])
    .map((state) => ({ state, count: counts[state], reasons: byReason(all, state) }));
  return {
    ip: all[0].ip,
    names: [...names],
    ports: extra.length === 0 ? all : all.filter(({ state }) => isListed(state)),
    extra,
    endedMs,
    answer: all.find(isFromHost),
  };
}

function byReason(all: readonly OrderedResult[], wanted: PortState): ExtraPorts["reasons"] {
  const reasons = new Map<string, number[]>();
  for (const { state, reason, port } of all) {
    if (state !== wanted) continue;
    const ports = reasons.get(reason);
    if (ports === undefined) reasons.set(reason, [port]);
    else ports.push(port);
  }
  return [...reasons]
    .map(([reason, ports]) => ({ reason, ports }))
    .sort((a, b) => b.ports.length - a.ports.length);
}

/** A local time as ctime(3) and nmap write it, which is what readers of `startstr` parse: `Fri Nov 20 23:09:54 2026`. */
export function nmapTime(ms: number): string {
  const [weekday, month, day, year, clock] = new Date(ms).toString().split(" ");
  return `${weekday} ${month} ${String(Number(day)).padStart(2)} ${clock} ${year}`;
}

/** The run's command line on one line, quoted so that a shell would read it back. */
export function commandLine(run: RunInfo): string {
  const words = run.args.map((word) =>
    /^[\w@%+=:,./[\]-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`,
  );
  return escapeText(["synprobe", ...words].join(" "), Number.POSITIVE_INFINITY);
}

/** `1 port`, `2 ports`: a count and its noun, without a thousands separator, as nmap writes them. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** The closing remark of both formats, after nmap's: `synprobe done at … -- 2 IP addresses (2 hosts up) scanned in …`. */
export function closingRemark(summary: ScanSummary, upHosts: number): string {
  const ending = summary.interrupted ? "interrupted" : "done";
  const time = nmapTime(summary.startedMs + summary.elapsedMs);
  const hosts = `${counted(upHosts, "IP address", "IP addresses")} (${counted(upHosts, "host")} up)`;
  const seconds = (summary.elapsedMs / 1000).toFixed(2);
  const unfinished = summary.unfinished > 0 ? `; ${counted(summary.unfinished, "port")} unfinished` : "";
  return `synprobe ${ending} at ${time} -- ${hosts} scanned in ${seconds} seconds${unfinished}`;
}
