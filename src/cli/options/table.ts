/**
 * The option table: every option once, with its help, its parser and the nmap spellings that mean the same.
 *
 * commander reads its options from here, aliases.ts its aliases; help, shell completion, the man page and the configuration
 * are made from it, README's table is checked against it. What an option does is the commands' business.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { parseShow } from "../../report/formats/show.ts";
import { MOST_RATE, settleTiming, TIMING, type WaitMs } from "../../scan/engine/timing-templates.ts";
import { CONFIDENCE } from "../../scan/measure/loss.ts";
import { PORT_STATES, type PortState } from "../../scan/probe/result.ts";

export { TIMING };

/** In the order in which help has them. */
export const GROUPS = ["Targets", "Timing", "Probing", "Order", "Output", "Other"] as const;
export type Group = (typeof GROUPS)[number];

export interface OptionSpec {
  /** commander's syntax: short, long, argument. An argument `<file>` is a file's name, to completion too. */
  readonly flags: string;
  readonly description: string;
  readonly group: Group;
  /** nmap spellings: `-oJ` takes an argument as `--output-json` does. */
  readonly nmap?: readonly string[];
  readonly parse?: (text: string) => unknown;
  readonly defaultValue?: unknown;
  /** May be given more than once. */
  readonly repeatable?: boolean;
  /** One of the options most used: what `--help` says of it, in 40 characters at most. */
  readonly brief?: string;
  /** What the argument is: one of these words, or something that only the system knows. Free text when absent. */
  readonly values?: readonly string[] | "interface" | "address" | "ports" | "targets";
  /** Several values may be given, with commas between them. */
  readonly commas?: boolean;
  /** The argument that stands when none is given. */
  readonly bare?: string;
  /** Why no configuration may set it; for files of results see `whyOneRun`. */
  readonly oneRun?: string;
  /** Options with the same word here replace each other: the command line's `-p` a configuration's `--top-ports`. */
  readonly instead?: string;
  /** Its lists add up: what a configuration excludes, the command line cannot bring back. */
  readonly adds?: boolean;
}

/** Why an option belongs to one run, so that neither a configuration nor the environment may set it. */
export function whyOneRun({ flags, group, oneRun }: OptionSpec): string | undefined {
  const writes = group === "Output" && /<(file|base)>/.test(flags);
  return oneRun ?? (writes ? "every run would overwrite the results of the one before" : undefined);
}

/** The commands, as `synprobe COMMAND`; a test holds them against commander's. */
export const COMMANDS = ["trace", "doctor", "lab", "diff", "report", "demo", "help", "completion"] as const;

/** An integer in a range. @throws {SynprobeError} `ERR_USAGE` */
const integer =
  (name: string, low: number, high: number) =>
  (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= low && value <= high) return value;
    throw usage(`${name} takes a whole number from ${low} to ${high}, not "${text}"`);
  };

/** A number in a range. @throws {SynprobeError} `ERR_USAGE` */
const share =
  (name: string, low: number, high: number) =>
  (text: string): number => {
    const value = Number(text);
    if (/^\d*\.?\d+$/.test(text) && value >= low && value <= high) return value;
    throw usage(`${name} takes a number from ${low} to ${high}, such as 0.999, not "${text}"`);
  };

/** nmap's template, by number or by name. */
function timing(text: string): number {
  const names = ["paranoid", "sneaky", "polite", "normal", "aggressive", "insane"];
  const value = names.includes(text) ? names.indexOf(text) : Number(text);
  if (/^[0-5]$/.test(String(value))) return value;
  const ports = /^:/.test(text) ? ": ports stand after -p, or after a target's colon" : "";
  throw usage(`-T takes a number from 0 (paranoid) to 5 (insane), not "${text}"${ports}`);
}

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

/** For an option that may be given more than once: all its arguments, in order. */
export const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

/** The hidden command that runs inside a lab's namespaces (commands/lab.ts). */
export const LAB_INSIDE = "lab-inside";

export const usage = (message: string): SynprobeError => new SynprobeError(ERROR_CODES.usage, message);

/** `--shard 2/5`: the second of five. */
function shard(text: string): Shard {
  const match = /^(\d+)\/(\d+)$/.exec(text);
  const index = Number(match?.[1]);
  const count = Number(match?.[2]);
  if (match !== null && index >= 1 && index <= count && count <= 65_536) return { index: index - 1, count };
  throw usage(`--shard takes index/count, such as 1/4 for the first of four, not "${text}"`);
}

/** `--seed`: 64 bits, decimal or 0x… */
function seed(text: string): bigint {
  const value = /^(\d{1,20}|0x[0-9a-f]{1,16})$/i.test(text) ? BigInt(text) : 1n << 64n;
  if (value < 1n << 64n) return value;
  throw usage(`--seed takes a whole number below 2^64, decimal or 0x…, not "${text}"`);
}

function oneOf<T extends string>(name: string, words: readonly T[]): (text: string) => T {
  return (text) => {
    const found = words.find((word) => word === text);
    if (found !== undefined) return found;
    throw usage(`${name} takes ${words.slice(0, -1).join(", ")} or ${words.at(-1)}, not "${text}"`);
  };
}

export interface Shard {
  /** From 0. */
  readonly index: number;
  readonly count: number;
}

const LINKS = ["auto", "raw", "packet"] as const;

export const DEFAULTS = {
  retries: 10,
  ttl: 64,
  bannerMs: 2000,
} as const;

/** Of one connection that is traced: by long name. */
export const TRACE_DEFAULTS: Readonly<Record<string, number>> = { "--retries": 2, "--timeout": 1100 };

/** Options, and what they and the template say of times and rates. */
export interface TimedOptions extends ProbeOptions {
  readonly waitMs: WaitMs;
  /** SYNs per second. */
  readonly rate: { readonly minimum: number; readonly maximum: number };
}

/** Parsed options, by commander's names. */
export interface ProbeOptions {
  readonly ports?: string;
  readonly inputList?: string;
  readonly topPorts?: number;
  readonly exclude?: readonly string[];
  readonly excludeFile?: readonly string[];
  readonly excludePorts?: string;
  readonly strict?: boolean;
  readonly ipv4?: boolean;
  readonly ipv6?: boolean;
  readonly allAddresses?: boolean;
  readonly interface?: string;
  readonly sourceIp?: string;
  readonly sourcePort?: number;
  readonly ttl: number;
  readonly retries: number;
  readonly confidence: number;
  /** Milliseconds; without it waits follow the round trips. */
  readonly timeout?: number;
  readonly maxRate?: number;
  readonly minRate?: number;
  readonly maxRatePerHost?: number;
  readonly maxRatePerPrefix?: number;
  /** Milliseconds. */
  readonly hostTimeout?: number;
  /** 0 to 5. */
  readonly timing?: number;
  readonly seed?: bigint;
  readonly sequential?: boolean;
  readonly shard?: Shard;
  readonly workers?: number;
  readonly link: (typeof LINKS)[number];
  readonly dryRun?: boolean;
  readonly journal?: string;
  readonly resume?: string;
  readonly show?: readonly PortState[];
  /** Milliseconds. */
  readonly statsEvery?: number;
  readonly outputJson?: string;
  readonly outputXml?: string;
  readonly outputNormal?: string;
  readonly outputGrepable?: string;
  readonly outputCsv?: string;
  readonly outputList?: string;
  readonly outputAll?: string;
  readonly pcap?: string;
  readonly pcapAll?: boolean;
  readonly complete?: boolean;
  /** Milliseconds. */
  readonly banner?: number;
  readonly requireOpen?: boolean;
  readonly verbose?: boolean;
  /** `-v` was given more than once. */
  readonly veryVerbose?: boolean;
  readonly packetTrace?: boolean;
  /** False under --no-drop. */
  readonly drop: boolean;
  readonly config?: string;
  readonly printConfig?: boolean;
}

export const PROBE_OPTIONS: readonly OptionSpec[] = [
  {
    group: "Targets",
    flags: "-p, --ports <list>",
    description: "ports for targets that name none: 22,80,8000-8010,https, or - for all",
    brief: "for targets that name none; - for all",
    values: "ports",
    commas: true,
    instead: "ports",
  },
  {
    group: "Targets",
    flags: "--input-list <file>",
    nmap: ["-iL"],
    description: "read more targets from a file, - for standard input",
    brief: "more targets from a file, - for stdin",
    oneRun: "targets belong to one run: name them on the command line",
  },
  {
    group: "Targets",
    flags: "--top-ports <n>",
    description: "for targets that name no port: the n TCP ports most worth a look",
    brief: "the n ports most worth a look",
    instead: "ports",
    parse: integer("--top-ports", 1, 65_535),
  },
  {
    group: "Targets",
    flags: "--exclude <targets>",
    description: "leave these hosts and networks out, whoever names them (commas between them)",
    brief: "leave these hosts and networks out",
    values: "targets",
    commas: true,
    adds: true,
    parse: (text) => text.split(","),
  },
  {
    group: "Targets",
    flags: "--exclude-file <file>",
    nmap: ["--excludefile"],
    description: "the same from a file, as -iL reads it",
    parse: (text) => [text],
    adds: true,
  },
  {
    group: "Targets",
    flags: "--exclude-ports <list>",
    description: "leave these ports out",
    values: "ports",
    commas: true,
    adds: true,
  },
  {
    group: "Targets",
    flags: "--strict",
    description: "probe nothing when any target or line of a list is wrong",
  },
  { group: "Targets", flags: "-4, --ipv4", description: "only IPv4 addresses", instead: "family" },
  { group: "Targets", flags: "-6, --ipv6", description: "only IPv6 addresses", instead: "family" },
  {
    group: "Targets",
    flags: "--all-addresses",
    nmap: ["--resolve-all"],
    description: "probe every address of a name, not only the first",
  },
  {
    group: "Timing",
    flags: "--retries <n>",
    nmap: ["--max-retries"],
    description: "most SYNs after the first, for a port that stays silent (0-30)",
    brief: "most SYNs more to a silent port",
    parse: integer("--retries", 0, 30),
    defaultValue: DEFAULTS.retries,
  },
  {
    group: "Timing",
    flags: "--timeout <time>",
    description: "each SYN waits so long for its answer (500, 800ms, 2s), not as round trips ask for",
    parse: duration("--timeout", 1, 600_000),
  },
  {
    group: "Timing",
    flags: "--confidence <share>",
    description: "silent ports get SYNs until silence is so sure, by the loss measured; 1: all retries",
    parse: share("--confidence", 0.5, 1),
    defaultValue: CONFIDENCE,
  },
  {
    group: "Timing",
    flags: "--max-rate <n>",
    description: "most SYNs per second; the path may hold fewer",
    brief: "most SYNs per second",
    parse: integer("--max-rate", 1, MOST_RATE),
  },
  {
    group: "Timing",
    flags: "--min-rate <n>",
    description: "at least so many SYNs per second, whatever the path holds",
    parse: integer("--min-rate", 1, MOST_RATE),
  },
  {
    group: "Timing",
    flags: "--max-rate-per-host <n>",
    description: "most SYNs per second to one address",
    parse: integer("--max-rate-per-host", 1, MOST_RATE),
  },
  {
    group: "Timing",
    flags: "--max-rate-per-prefix <n>",
    description: "most SYNs per second to one network: a /24, or a /64 of IPv6",
    parse: integer("--max-rate-per-prefix", 1, MOST_RATE),
  },
  {
    group: "Timing",
    flags: "--host-timeout <time>",
    description: "send an address nothing more this long after its first SYN",
    parse: duration("--host-timeout", 1, 86_400_000),
  },
  {
    group: "Timing",
    flags: "-T, --timing <0-5>",
    description: "nmap's templates for waits, retries and rate: 0 paranoid to 5 insane",
    brief: "nmap's templates: 0 paranoid to 5 insane",
    values: ["0", "1", "2", "3", "4", "5"],
    parse: timing,
  },
  {
    group: "Order",
    flags: "--seed <n>",
    description: "probe in this random order; without it, in a fresh one",
    instead: "order",
    parse: seed,
  },
  {
    group: "Order",
    flags: "--sequential",
    description: "probe in ascending order instead",
    nmap: ["-r"],
    instead: "order",
  },
  {
    group: "Order",
    flags: "--shard <i/n>",
    description: "probe only the i-th of n parts, for n machines with the same --seed",
    parse: shard,
  },
  {
    group: "Order",
    flags: "--journal <file>",
    description: "keep what is found in a file that survives a crash",
    brief: "keep what is found, for --resume",
    oneRun: "a journal is one run's",
  },
  {
    group: "Order",
    flags: "--resume <file>",
    description: "go on with a journal's run, after the same targets and options",
    oneRun: "it goes on with one run",
  },
  {
    group: "Order",
    flags: "--dry-run",
    description: "say what would be done, and send nothing",
    brief: "say what would be done, and send nothing",
    oneRun: "whether a run sends is decided run by run",
  },
  {
    group: "Probing",
    flags: "--link <kind>",
    description: "auto, raw (raw IP sockets) or packet (Ethernet frames, for large scans)",
    values: LINKS,
    parse: oneOf("--link", LINKS),
    defaultValue: "auto",
  },
  {
    group: "Probing",
    flags: "--workers <n>",
    description: "threads that probe, with --link packet; by size, rate and processors if not given",
    parse: integer("--workers", 1, 64),
  },
  {
    group: "Probing",
    flags: "-e, --interface <name>",
    description: "send and receive through this interface",
    brief: "send and receive through this interface",
    values: "interface",
  },
  {
    group: "Probing",
    flags: "-S, --source-ip <addr>",
    description: "source address, one of this machine's own",
    values: "address",
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
    brief: "finish handshakes, hear what servers say",
    bare: `${DEFAULTS.bannerMs}ms`,
    parse: duration("--banner", 1, 60_000),
  },
  {
    group: "Output",
    flags: "--output-json <file>",
    nmap: ["-oJ"],
    description: "NDJSON, one object a result; - for standard output",
    brief: "NDJSON; - for standard output",
  },
  {
    group: "Output",
    flags: "--output-xml <file>",
    nmap: ["-oX"],
    description: "nmap's XML",
    brief: "nmap's XML",
  },
  {
    group: "Output",
    flags: "--output-normal <file>",
    nmap: ["-oN"],
    description: "the table, without colour",
    brief: "the table as text",
  },
  {
    group: "Output",
    flags: "--output-grepable <file>",
    nmap: ["-oG"],
    description: "nmap's grepable lines",
    brief: "nmap's grepable lines",
  },
  {
    group: "Output",
    flags: "--output-csv <file>",
    nmap: ["-oC"],
    description: "CSV, a row a result",
  },
  {
    group: "Output",
    flags: "--output-list <file>",
    nmap: ["-oL"],
    description: "masscan's list of open ports",
  },
  {
    group: "Output",
    flags: "--output-all <base>",
    nmap: ["-oA"],
    description: "BASE.nmap (the table), .xml, .gnmap and .ndjson at once",
  },
  {
    group: "Output",
    flags: "--pcap <file>",
    description: "the packets that decided, as pcapng: each SYN that was answered, and its answer",
  },
  {
    group: "Output",
    flags: "--pcap-all",
    description: "with --pcap: every packet sent and received",
  },
  {
    group: "Output",
    flags: "--show <states>",
    description: "which results the table has: open, closed, filtered, all; open ports when there are many",
    brief: "rows: open, closed, filtered or all",
    values: [...PORT_STATES, "all"],
    commas: true,
    parse: parseShow,
  },
  {
    group: "Output",
    flags: "--stats-every <time>",
    description: "how far the run is, a line on standard error this often",
    parse: duration("--stats-every", 100, 86_400_000),
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
    description: "what was ignored and why, privileges, buffers; twice: each change of the rate, and why",
  },
  {
    group: "Output",
    flags: "--packet-trace",
    description: "each packet sent and received, one line on standard error",
  },
  {
    group: "Other",
    flags: "--config <file>",
    description: "options from a file, for what the command line does not say",
    oneRun: "a configuration cannot name another",
  },
  {
    group: "Other",
    flags: "--print-config",
    description: "print the options that would count, and where each comes from; send nothing",
    oneRun: "it is no option of a run",
  },
  {
    group: "Other",
    flags: "--no-drop",
    description: "keep root and capabilities while probing",
    oneRun: "whether root is kept is decided run by run",
  },
];

/** nmap options that are short for one of ours with its argument. */
export const SHORTHANDS: Readonly<Record<string, readonly string[]>> = {
  "--open": ["--show", "open"],
  "-F": ["--top-ports", "100"],
};

/** nmap options that ask for what synprobe does anyway. */
export const IMPLIED: Readonly<Record<string, string>> = {
  "-sS": "SYN probing is what synprobe does",
  "-Pn": "every target is probed, whether it answers pings or not",
  "-n": "addresses are never looked up backwards",
  "--reason": "the reason is always shown",
  "-d": "see -v and --packet-trace",
};

/**
 * Options with what -T stands for where they do not say otherwise.
 * @param given whether the user gave an option, by commander's name
 * @throws {SynprobeError} `ERR_USAGE` for rates that contradict each other
 */
export function withTiming(options: ProbeOptions, given: (name: string) => boolean): TimedOptions {
  const { minRate, maxRate, timeout, timing, hostTimeout } = options;
  const settled = settleTiming({
    timing,
    timeoutMs: timeout,
    minRate,
    maxRate,
    hostTimeoutMs: hostTimeout,
    retries: given("retries") ? options.retries : undefined,
  });
  const { waitMs, rate, retries, hostTimeoutMs } = settled;
  if ((minRate ?? 0) > rate.maximum) throw usage(`--min-rate ${minRate} is above --max-rate ${rate.maximum}`);
  const { shard, seed, sequential, resume } = options;
  if (shard !== undefined && seed === undefined && sequential !== true && resume === undefined) {
    throw usage("--shard needs the same order on every machine: give each the same --seed, or --sequential");
  }
  return {
    ...options,
    waitMs,
    rate,
    retries,
    ...(hostTimeoutMs === undefined ? {} : { hostTimeout: hostTimeoutMs }),
  };
}
