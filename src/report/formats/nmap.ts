/**
 * Shared by nmap's two file formats (nmap-xml.ts, grepable.ts): results grouped by address, times and command lines in nmap's
 * spelling.
 *
 * Both formats have one entry per host, while results fall in any order. In a run of up to MOST_HELD pairs, results are held
 * until the end. In a larger run they are written group by group, so that memory stays bounded: a host then has an entry in each
 * group with one of its results (nmap.dtd allows that, and masscan does the same), and a correction comes in a later entry.
 *
 * A host with a result counts as "up", as under `nmap -Pn`. So hosts that a shard or an interrupted run has not reached are not
 * counted, neither as addresses nor as hosts.
 */
import type { PortResult, ScanSummary } from "../../scan/probe/result.ts";
import { addressKey, compareAddresses, countAddresses } from "../addresses.ts";
import { escapeText } from "../escape.ts";
import type { RunInfo } from "../reporter.ts";

/** Every verdict on one address. */
export interface HostResults {
  readonly ip: string;
  /** Distinct names that the user gave for this address, in their order. */
  readonly names: readonly string[];
  /** By port, ascending. A correction takes the place of the verdict that it corrects. */
  readonly ports: readonly PortResult[];
  /** A verdict from the host itself, which proves that it is up; undefined if there is none. */
  readonly answer: PortResult | undefined;
}

/** Runs of at most this many pairs hold their results to the end: all ports of one host fit. Each takes about 300 bytes. */
export const MOST_HELD = 100_000;
/** Results per group in a larger run. Writing a group takes about 10 ms, which delays nothing else noticeably. */
export const GROUP = 1000;

export interface HostGroups {
  add(result: PortResult): void;
  /** Writes the held results: hosts by address, IPv4 before IPv6. */
  flush(): void;
  /** The hosts written so far. */
  hosts(): HostCount;
}

/** How many hosts have results. */
export interface HostCount {
  readonly count: number;
  /** False when there were more than could be told apart; `count` is then a lower bound. */
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
