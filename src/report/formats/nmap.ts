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
import type { PortResult, ScanSummary } from "../../scan/probe/result.ts";
import { escapeText } from "../escape.ts";
import type { RunInfo } from "../reporter.ts";
import { type OrderedResult, orderByHost, type Spill } from "./host-order.ts";

/** Every verdict on one address. */
export interface HostResults {
  readonly ip: string;
  /** The names that the user gave for this address, each once. */
  readonly names: readonly string[];
  /** By port, ascending; a corrected verdict stands in place of the first one. */
  readonly ports: readonly OrderedResult[];
  /** A verdict that the host itself gave, which proves it is up; undefined when only others spoke for it, or nobody. */
  readonly answer: OrderedResult | undefined;
}

export interface HostGroups {
  add(result: PortResult): void;
  /** Writes hosts in order of address, IPv4 before IPv6: a step of it each time that it is asked to go on. Always the same one. */
  readonly writing: Generator<void, void>;
  /** Hosts that were written. */
  hosts(): number;
}

/** Gathers the results of a run of `pairs` pairs, and hands them to `write` host by host. */
export function groupByHost(
  pairs: number,
  write: (host: HostResults) => void,
  createSpill?: () => Spill,
): HostGroups {
  const order = orderByHost(pairs, createSpill);
  let hosts = 0;

  function end(ports: readonly OrderedResult[]): void {
    if (ports.length === 0) return;
    hosts++;
    write(hostResults(ports));
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

function hostResults(ports: readonly OrderedResult[]): HostResults {
  const names = new Set<string>();
  for (const { host } of ports) if (host !== undefined) names.add(host);
  return { ip: ports[0].ip, names: [...names], ports, answer: ports.find(fromHostItself) };
}

function fromHostItself(result: OrderedResult): boolean {
  return result.ttl !== null && result.responder === undefined;
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
