/**
 * The option table: every option once, with its help, its parser and the nmap spellings that mean the same.
 *
 * commander reads its options from here, aliases.ts its aliases, README's table is checked against it. What an option does
 * is the commands' business.
 */
import { ERROR_CODES, SynprobeError } from "../errors.ts";

export interface OptionSpec {
  /** commander's syntax: short, long, argument. */
  readonly flags: string;
  readonly description: string;
  readonly group: "Targets" | "Probing" | "Output" | "Other";
  /** nmap spellings: `-oJ` takes an argument as `--output-json` does. */
  readonly nmap?: readonly string[];
  readonly parse?: (text: string) => unknown;
  readonly defaultValue?: unknown;
  /** May be given more than once. */
  readonly repeatable?: boolean;
}

/** An integer in a range. @throws {SynprobeError} `ERR_USAGE` */
const integer =
  (name: string, low: number, high: number) =>
  (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= low && value <= high) return value;
    throw usage(`${name} takes a whole number from ${low} to ${high}, not "${text}"`);
  };

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  ms: 1,
  s: 1000,
  m: 60_000,
};

/** A time as nmap writes it, but in milliseconds when it has no unit. @returns milliseconds */
const duration =
  (name: string, low: number, high: number) =>
  (text: string): number => {
    const match = /^(\d+(?:\.\d+)?)(ms|s|m|)$/.exec(text);
    const value = match === null ? Number.NaN : Number(match[1]) * UNITS[match[2]];
    if (value >= low && value <= high) return value;
    throw usage(`${name} takes a time from ${low} ms to ${high} ms, such as 500, 800ms or 2s, not "${text}"`);
  };

export const usage = (message: string): SynprobeError => new SynprobeError(ERROR_CODES.usage, message);

export const DEFAULTS = {
  retries: 2,
  // A little more than three times this is how long the kernel looks for a neighbour: its own host-unreach comes in time.
  timeoutMs: 1100,
  ttl: 64,
  rate: 10_000,
  bannerMs: 2000,
} as const;

/** Parsed options, by commander's names. */
export interface ProbeOptions {
  readonly ports?: string;
  readonly inputList?: string;
  readonly ipv4?: boolean;
  readonly ipv6?: boolean;
  readonly allAddresses?: boolean;
  readonly interface?: string;
  readonly sourceIp?: string;
  readonly sourcePort?: number;
  readonly ttl: number;
  readonly retries: number;
  readonly timeout: number;
  readonly maxRate: number;
  readonly outputJson?: string;
  readonly outputXml?: string;
  readonly outputNormal?: string;
  readonly outputGrepable?: string;
  readonly complete?: boolean;
  /** Milliseconds. */
  readonly banner?: number;
  readonly requireOpen?: boolean;
  readonly verbose?: boolean;
  readonly packetTrace?: boolean;
  /** False under --no-drop. */
  readonly drop: boolean;
}

export const PROBE_OPTIONS: readonly OptionSpec[] = [
  {
    group: "Targets",
    flags: "-p, --ports <list>",
    description: "ports for targets that name none: 22,80,8000-8010,https, or - for all",
  },
  {
    group: "Targets",
    flags: "--input-list <file>",
    nmap: ["-iL"],
    description: "read more targets from a file, - for standard input",
  },
  { group: "Targets", flags: "-4, --ipv4", description: "only IPv4 addresses" },
  { group: "Targets", flags: "-6, --ipv6", description: "only IPv6 addresses" },
  {
    group: "Targets",
    flags: "--all-addresses",
    nmap: ["--resolve-all"],
    description: "probe every address of a name, not only the first",
  },
  {
    group: "Probing",
    flags: "--retries <n>",
    nmap: ["--max-retries"],
    description: "SYNs after the first, for a port that stays silent (0-30)",
    parse: integer("--retries", 0, 30),
    defaultValue: DEFAULTS.retries,
  },
  {
    group: "Probing",
    flags: "--timeout <time>",
    description: "how long each SYN waits for its answer: 500, 800ms, 2s",
    parse: duration("--timeout", 1, 600_000),
    defaultValue: DEFAULTS.timeoutMs,
  },
  {
    group: "Probing",
    flags: "--max-rate <n>",
    description: "most SYNs per second",
    parse: integer("--max-rate", 1, 10_000_000),
    defaultValue: DEFAULTS.rate,
  },
  {
    group: "Probing",
    flags: "-e, --interface <name>",
    description: "send and receive through this interface",
  },
  {
    group: "Probing",
    flags: "-S, --source-ip <addr>",
    description: "source address, one of this machine's own",
  },
  {
    group: "Probing",
    flags: "-g, --source-port <port>",
    description: "send every SYN from this port",
    parse: integer("--source-port", 1, 65_535),
  },
  {
    group: "Probing",
    flags: "--ttl <n>",
    description: "TTL or hop limit of the SYNs (1-255)",
    parse: integer("--ttl", 1, 255),
    defaultValue: DEFAULTS.ttl,
  },
  {
    group: "Probing",
    flags: "--complete",
    description: "finish the handshake with each open port and close it in an orderly way",
  },
  {
    group: "Probing",
    flags: "--banner <time>",
    description: "--complete, and wait for what the server says first (2s when no time follows)",
    parse: duration("--banner", 1, 60_000),
  },
  {
    group: "Output",
    flags: "--output-json <file>",
    nmap: ["-oJ"],
    description: "NDJSON, one object a result; - for standard output",
  },
  {
    group: "Output",
    flags: "--output-xml <file>",
    nmap: ["-oX"],
    description: "nmap's XML",
  },
  {
    group: "Output",
    flags: "--output-normal <file>",
    nmap: ["-oN"],
    description: "the table, without colour",
  },
  {
    group: "Output",
    flags: "--output-grepable <file>",
    nmap: ["-oG"],
    description: "nmap's grepable lines",
  },
  {
    group: "Output",
    flags: "--require-open",
    description: "exit with 1 unless every port is open",
  },
  {
    group: "Output",
    flags: "-v, --verbose",
    nmap: ["-vv", "-vvv"],
    repeatable: true,
    description: "what was ignored and why, privileges, buffers",
  },
  {
    group: "Output",
    flags: "--packet-trace",
    description: "each packet sent and received, one line on standard error",
  },
  {
    group: "Other",
    flags: "--no-drop",
    description: "keep root and capabilities while probing",
  },
];

/** nmap options that ask for what synprobe does anyway. */
export const IMPLIED: Readonly<Record<string, string>> = {
  "-sS": "SYN probing is what synprobe does",
  "-Pn": "every target is probed, whether it answers pings or not",
  "-n": "addresses are never looked up backwards",
  "--reason": "the reason is always shown",
  "-d": "see -v and --packet-trace",
};
