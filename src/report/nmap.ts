/**
 * What nmap's two file formats share: results gathered by address, and times and command lines as nmap spells them.
 *
 * Both formats give one entry per host, while results fall in any order. A run of up to MOST_HELD pairs has its results
 * kept until the end. In a larger one they are written a group at a time, so that memory stays bounded: a host has an
 * entry in each group with a result of its own (nmap.dtd allows that, and masscan writes no other way), and a corrected
 * verdict stands in a later entry than the one it corrects. The formats: nmap-xml.ts, grepable.ts.
 */
import ipaddr from "ipaddr.js";
import type { PortResult, ScanSummary } from "../scan/result.ts";
import { escapeText } from "./escape.ts";
import type { RunInfo } from "./reporter.ts";

/** Every verdict on one address. */
export interface HostResults {
  readonly ip: string;
  /** The names that the user gave for this address, each once, first given first. */
  readonly names: readonly string[];
  /** By port, ascending; a corrected verdict stands in place of the first one. */
  readonly ports: readonly PortResult[];
  /** A verdict that the host itself gave, which proves it is up; undefined when only others spoke for it, or nobody. */
  readonly answer: PortResult | undefined;
}

/** Most pairs of a run whose results are held to its end: one host's 65,535 ports are among them. Each takes about 300 bytes. */
export const MOST_HELD = 100_000;
/** Results in a group of a larger run: few enough that writing them, 10 ms or so, holds up nothing else. */
export const GROUP = 1000;

export interface HostGroups {
  /** Each host has one entry, so that entries can be counted as hosts. */
  readonly whole: boolean;
  add(result: PortResult): void;
  /** Writes what is held: hosts in order of address, IPv4 before IPv6, whatever order the results came in. */
  flush(): void;
}

/** Gathers the results of a run of `pairs` pairs, and hands them to `write` host by host. */
export function groupByHost(pairs: number, write: (host: HostResults) => void): HostGroups {
  const whole = pairs <= MOST_HELD;
  const byAddress = new Map<string, Map<number, PortResult>>();
  let held = 0;

  function flush(): void {
    const hosts = [...byAddress]
      .map(([ip, ports]) => ({ key: sortKey(ip), ip, ports }))
      .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    byAddress.clear();
    held = 0;
    for (const { ip, ports } of hosts) write(hostResults(ip, [...ports.values()]));
  }

  return {
    whole,
    add(result) {
      const ports = byAddress.get(result.ip);
      if (ports === undefined) byAddress.set(result.ip, new Map([[result.port, result]]));
      else ports.set(result.port, result);
      held++;
      if (held >= GROUP && !whole) flush();
    },
    flush,
  };
}

function hostResults(ip: string, results: PortResult[]): HostResults {
  const names = new Set<string>();
  for (const { host } of results) if (host !== undefined) names.add(host);
  const ports = results.sort((a, b) => a.port - b.port);
  return { ip, names: [...names], ports, answer: ports.find(fromHostItself) };
}

function fromHostItself(result: PortResult): boolean {
  return result.ttl !== null && result.responder === undefined;
}

function sortKey(ip: string): string {
  if (!ipaddr.isValid(ip)) return `9${ip}`;
  const address = ipaddr.parse(ip);
  const hex = address.toByteArray().map((byte) => byte.toString(16).padStart(2, "0"));
  return `${address.kind() === "ipv4" ? 4 : 6}${hex.join("")}`;
}

/** A time as ctime(3) writes it, and in UTC so that it reads the same everywhere: `Fri Nov 20 23:09:54 2026 UTC`. */
export function nmapTime(ms: number): string {
  const [weekday = "", day = "", month, year, clock] = new Date(ms).toUTCString().split(" ");
  return `${weekday.slice(0, 3)} ${month} ${String(Number(day)).padStart(2)} ${clock} ${year} UTC`;
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

/**
 * The closing remark of both formats, after nmap's: `synprobe done at … -- 2 IP addresses (1 host up) scanned in …`.
 *
 * @param hostsUp left out where nobody has counted them
 */
export function closingRemark(summary: ScanSummary, hostsUp?: number): string {
  const ending = summary.interrupted ? "interrupted" : "done";
  const time = nmapTime(summary.startedMs + summary.elapsedMs);
  const up = hostsUp === undefined ? "" : ` (${counted(hostsUp, "host")} up)`;
  const hosts = `${counted(summary.hosts, "IP address", "IP addresses")}${up}`;
  const seconds = (summary.elapsedMs / 1000).toFixed(2);
  const unfinished = summary.unfinished > 0 ? `; ${counted(summary.unfinished, "port")} unfinished` : "";
  return `synprobe ${ending} at ${time} -- ${hosts} scanned in ${seconds} seconds${unfinished}`;
}
