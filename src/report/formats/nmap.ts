/**
 * What nmap's two file formats share: results gathered by address, and times and command lines as nmap spells them.
 *
 * Both formats give one entry per host, while results fall in any order. A run of up to MOST_HELD pairs has its results
 * kept until the end. In a larger one they are written a group at a time, so that memory stays bounded: a host has an
 * entry in each group with a result of its own (nmap.dtd allows that, and masscan writes no other way), and a corrected
 * verdict stands in a later entry than the one it corrects. The formats: nmap-xml.ts, grepable.ts.
 *
 * A host counts as "up" when it has a result, in both formats: as with `nmap -Pn`, which synprobe's probing is. So hosts that
 * a shard or an interrupted run has not come to are not counted, as addresses or as hosts.
 */
import type { PortResult, ScanSummary } from "../../scan/probe/result.ts";
import { addressKey, compareAddresses, countAddresses } from "../addresses.ts";
import { escapeText } from "../escape.ts";
import type { RunInfo } from "../reporter.ts";

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
  add(result: PortResult): void;
  /** Writes what is held: hosts in order of address, IPv4 before IPv6, whatever order the results came in. */
  flush(): void;
  /** Hosts that were written. */
  hosts(): HostCount;
}

/** How many hosts have results. */
export interface HostCount {
  readonly count: number;
  /** False for more than can be told apart: `count` is then the least they are. */
  readonly exact: boolean;
}

export const NO_HOSTS: HostCount = { count: 0, exact: true };

/** Gathers the results of a run of `pairs` pairs, and hands them to `write` host by host. */
export function groupByHost(pairs: number, write: (host: HostResults) => void): HostGroups {
  const whole = pairs <= MOST_HELD;
  const byAddress = new Map<string, Map<number, PortResult>>();
  const written = countAddresses();
  let held = 0;

  function flush(): void {
    const hosts = [...byAddress]
      .map(([ip, ports]) => ({ key: addressKey(ip), ip, ports }))
      .sort((a, b) => compareAddresses(a.key, b.key));
    byAddress.clear();
    held = 0;
    for (const { ip, ports } of hosts) {
      written.add(ip);
      write(hostResults(ip, [...ports.values()]));
    }
  }

  return {
    add(result) {
      const ports = byAddress.get(result.ip);
      if (ports === undefined) byAddress.set(result.ip, new Map([[result.port, result]]));
      else ports.set(result.port, result);
      held++;
      if (held >= GROUP && !whole) flush();
    },
    flush,
    hosts: () => ({ count: written.count, exact: written.exact }),
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

/** The closing remark of both formats, after nmap's: `synprobe done at … -- 2 IP addresses (2 hosts up) scanned in …`. */
export function closingRemark(summary: ScanSummary, { count, exact }: HostCount): string {
  const ending = summary.interrupted ? "interrupted" : "done";
  const time = nmapTime(summary.startedMs + summary.elapsedMs);
  const more = exact ? "" : "more than ";
  const hosts = `${more}${counted(count, "IP address", "IP addresses")} (${counted(count, "host")} up)`;
  const seconds = (summary.elapsedMs / 1000).toFixed(2);
  const unfinished = summary.unfinished > 0 ? `; ${counted(summary.unfinished, "port")} unfinished` : "";
  return `synprobe ${ending} at ${time} -- ${hosts} scanned in ${seconds} seconds${unfinished}`;
}
