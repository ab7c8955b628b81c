/**
 * The options of the library's `scan` and `probe`: the command line's in camel case, times in milliseconds, rates in SYNs per
 * second; checked, and turned into what plan/plan.ts and run/scan.ts take.
 *
 * Loads nothing native. Not here: the command line's spellings (cli/options/table.ts), the run itself (library.ts).
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { MOST_RATE, settleTiming } from "../../scan/engine/timing-templates.ts";
import { VERIFY } from "../../scan/measure/recapture.ts";
import { PORT_STATES, type PortState, type ScanProgress } from "../../scan/probe/result.ts";
import { parseTargets } from "../../scan/targets/grammar.ts";
import { parsePorts } from "../../scan/targets/port-list.ts";
import type { Services } from "../../scan/targets/services.ts";
import type { PlanOptions } from "../plan/plan.ts";
import type { ScanOptions as RunOptions } from "../run/scan-options.ts";
import { wholeNumber } from "../system/arguments.ts";
import { randomSeed } from "../system/random.ts";
import { BOUNDS, DEFAULT_TTL } from "./option-bounds.ts";

/** Options of `probe`, and of `scan`. */
export interface ProbeOptions {
  /** Most SYNs after the first for a port that stays silent, 0 to 30; 10 by default, or as `timing` has it. */
  readonly retries?: number;
  /** How long each SYN waits for its answer, in milliseconds, 1 to 600,000; by default it follows the measured round trips. */
  readonly timeoutMs?: number;
  /** Retry silent ports until this certain that they are silent, given the measured loss: 0.5 to 1, 1 for all retries; 0.9999 by default. */
  readonly confidence?: number;
  /**
   * Which silent ports are asked once more when all are decided, three seconds after their last try: a sample where losses may have
   * hidden answers and then, if any answer, all of them ("auto", the default); none ("off"); or all ("all"). Never more SYNs to a port than
   * `retries` allow.
   */
  readonly verify?: "auto" | "off" | "all";
  /** nmap's templates for waits, retries and rate: 0 (paranoid) to 5 (insane); 3 by default. */
  readonly timing?: number;
  /** Only addresses of this IP version. */
  readonly family?: 4 | 6;
  /** Interface to send and receive through. */
  readonly interface?: string;
  /** Source address, one of this machine's. */
  readonly sourceIp?: string;
  /** Send every SYN from this port, 1 to 65,535. */
  readonly sourcePort?: number;
  /** TTL or hop limit of the SYNs, 1 to 255; 64 by default. */
  readonly ttl?: number;
  /** What SYNs offer: what a current Linux kernel's do, the default, or MSS alone. With `complete` always MSS alone. */
  readonly syn?: "linux" | "minimal";
  /**
   * Finish the handshake with each open port and close it in an orderly way. Needs CAP_NET_ADMIN too: while the run lasts, a
   * routing rule holds the kernel's own RST back. A process that is killed meanwhile leaves it for the next run to remove.
   */
  readonly complete?: boolean;
  /** `complete`, and wait this long for what the server says first: milliseconds, 1 to 60,000. */
  readonly bannerMs?: number;
  /**
   * Stops the run as Ctrl-C does: nothing more is sent, answers are waited for up to a second, and what they say is still
   * handed over. Then the iteration, or `probe`, throws the signal's reason.
   */
  readonly signal?: AbortSignal;
}

/** Options of `scan`. */
export interface ScanOptions extends ProbeOptions {
  /** Ports of targets that name none: `"22,80,8000-8010,https"`, `"-"` for all, or numbers. */
  readonly ports?: string | readonly number[];
  /** In place of `ports`: this many of the most common ports, 1 to 65,535. */
  readonly topPorts?: number;
  /** Hosts and networks that are not probed, even if a target names them. */
  readonly exclude?: string | readonly string[];
  /** Ports that are not probed, written as `ports` are. */
  readonly excludePorts?: string | readonly number[];
  /** Probe every address of a name, not only the first. */
  readonly allAddresses?: boolean;
  /** Probe nothing when any target is wrong: throw its error. Without it the others are probed, and `summary` has the fault. */
  readonly strict?: boolean;
  /** Most SYNs per second, 1 to 10,000,000; the path may hold fewer. */
  readonly maxRate?: number;
  /** Fewest SYNs per second, even if the path holds fewer: 1 to 10,000,000. */
  readonly minRate?: number;
  /** Most SYNs per second to one address, 1 to 10,000,000. */
  readonly maxRatePerHost?: number;
  /** Most SYNs per second to one network, a /24 or a /64 of IPv6, 1 to 10,000,000. */
  readonly maxRatePerPrefix?: number;
  /** Stop probing an address this long after its first SYN: milliseconds, 1 to 86,400,000. */
  readonly hostTimeoutMs?: number;
  /** Probe in this random order, 0 to 2^64 - 1; without it, in a fresh one. */
  readonly seed?: number | bigint;
  /** Probe in ascending order. */
  readonly sequential?: boolean;
  /** Send control SYNs: to ports that answered, again, and to two ports at most of a host that may answer on any; default true. */
  readonly controls?: boolean;
  /** Probe only part `index`, from 1, of `count`, up to 65,536, one for each machine, with the same `seed`. */
  readonly shard?: { readonly index: number; readonly count: number };
  /** Raw IP sockets, or Ethernet frames for large scans; `auto` by default. */
  readonly link?: "auto" | "syn" | "raw" | "packet" | "connect";
  /** Threads that probe, 1 to 64, with `link: "packet"`; by size, rate and processors if not given. */
  readonly workers?: number;
  /** The states whose results are wanted, all by default; `[]` for the summary alone. */
  readonly states?: readonly PortState[];
  /** Called with the progress every `progressEveryMs` and at the end. An error that it throws ends the run. */
  readonly onProgress?: (progress: ScanProgress) => void;
  /** Milliseconds, 50 to 86,400,000; 1000 by default. */
  readonly progressEveryMs?: number;
}

const DEFAULT_PROGRESS_MS = 1000;

/** Whole numbers, with their bounds. */
const {
  confidence: CONFIDENCE,
  shards: SHARDS,
  statsEveryMs: _,
  flows,
  maxHops,
  tries,
  whyLimit,
  leaseMs,
  ...NUMBERS
} = BOUNDS;

const isText = (value: unknown): boolean => typeof value === "string";
const isFlag = (value: unknown): boolean => typeof value === "boolean";
const isOneOf =
  (...words: readonly unknown[]) =>
  (value: unknown): boolean =>
    words.includes(value);
const isListOf =
  (fits: (value: unknown) => boolean) =>
  (value: unknown): boolean =>
    Array.isArray(value) && value.every(fits);
const isPorts = (value: unknown): boolean =>
  isText(value) ||
  isListOf((port) => Number.isInteger(port) && Number(port) >= 1 && Number(port) <= 65_535)(value);
const isConfidence = (value: unknown): boolean =>
  typeof value === "number" && value >= CONFIDENCE[0] && value <= CONFIDENCE[1];

/** All others: a check, and what a valid value is. */
const OTHERS: Readonly<
  Record<
    Exclude<keyof ScanOptions, keyof typeof NUMBERS>,
    readonly [fits: (value: unknown) => boolean, what: string]
  >
> = {
  confidence: [isConfidence, `a number from ${CONFIDENCE[0]} to ${CONFIDENCE[1]}`],
  family: [isOneOf(4, 6), "4 or 6"],
  interface: [isText, "an interface's name"],
  sourceIp: [isText, "an IP address as text"],
  complete: [isFlag, "true or false"],
  signal: [(value) => value instanceof AbortSignal, "an AbortSignal"],
  ports: [isPorts, 'a text such as "22,80-90", or an array of port numbers'],
  exclude: [(value) => isText(value) || isListOf(isText)(value), "a target, or an array of them"],
  excludePorts: [isPorts, 'a text such as "22,80-90", or an array of port numbers'],
  allAddresses: [isFlag, "true or false"],
  strict: [isFlag, "true or false"],
  seed: [isSeed, "a whole number from 0 to 2^64 - 1, a bigint from 2^53 on"],
  sequential: [isFlag, "true or false"],
  syn: [isOneOf("linux", "minimal"), "linux or minimal"],
  controls: [isFlag, "true or false"],
  shard: [isShard, `{ index, count }, with index from 1 to count and count up to ${SHARDS[1]}`],
  verify: [isOneOf(...VERIFY), "auto, off or all"],
  link: [isOneOf("auto", "syn", "raw", "packet", "connect"), "auto, syn, raw, packet or connect"],
  states: [isListOf(isOneOf(...PORT_STATES)), `an array of ${PORT_STATES.join(", ")}`],
  onProgress: [(value) => typeof value === "function", "a function"],
};

/** All options. */
export const OPTION_NAMES: readonly string[] = [...Object.keys(NUMBERS), ...Object.keys(OTHERS)];

function isSeed(value: unknown): boolean {
  if (typeof value === "bigint") return value >= 0n && value < 1n << 64n;
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isShard(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { index, count } = value as { readonly index: unknown; readonly count: unknown };
  if (!Number.isInteger(index) || !Number.isInteger(count)) return false;
  return Number(index) >= 1 && Number(index) <= Number(count) && Number(count) <= SHARDS[1];
}

const usage = (message: string): SynprobeError => new SynprobeError(ERROR_CODES.usage, message);

/** @throws {SynprobeError} `ERR_USAGE` for an option that does not exist, has a wrong value, or contradicts another */
export function checkOptions(options: ScanOptions): void {
  if (typeof options !== "object" || options === null) throw usage("options are an object");
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (Object.hasOwn(NUMBERS, name)) {
      const [least, most] = NUMBERS[name as keyof typeof NUMBERS];
      wholeNumber(name, value, least, most);
    } else if (Object.hasOwn(OTHERS, name)) {
      const [fits, what] = OTHERS[name as keyof typeof OTHERS];
      if (!fits(value)) throw usage(`${name} is ${what}`);
    } else throw usage(`there is no option ${name}`);
  }
  const { ports, topPorts, minRate = 0, maxRate = MOST_RATE, shard, seed, sequential } = options;
  if (ports !== undefined && topPorts !== undefined) throw usage("ports and topPorts exclude each other");
  if (minRate > maxRate) throw usage(`minRate ${minRate} is above maxRate ${maxRate}`);
  if (shard !== undefined && seed === undefined && sequential !== true) {
    throw usage("shard needs the same order on every machine: give each the same seed, or sequential");
  }
}

/** @throws {SynprobeError} `ERR_PORT`, `ERR_USAGE`, `ERR_TARGET_SYNTAX` */
export async function planOptionsOf(options: ScanOptions, services: Services): Promise<PlanOptions> {
  const { family, interface: interfaceName, sourceIp, topPorts, allAddresses = false } = options;
  const portsOf = (list: string | readonly number[]): Uint16Array =>
    typeof list === "string" ? parsePorts(list, services) : Uint16Array.from(new Set(list)).sort();
  const ports =
    options.ports !== undefined
      ? portsOf(options.ports)
      : topPorts !== undefined
        ? (await import("../../scan/targets/top-ports.ts")).topPorts(topPorts)
        : undefined;
  const exclude = [options.exclude ?? []].flat().map((text) => {
    const spec = parseTargets(text, services, "exclude");
    if (spec.ports === undefined) return spec;
    throw usage(`"${text}" cannot be excluded: hosts go to exclude, ports to excludePorts`);
  });
  return {
    allAddresses,
    ttl: options.ttl ?? DEFAULT_TTL,
    exclude,
    ...(ports === undefined ? {} : { ports: () => ports }),
    ...(family === undefined ? {} : { family }),
    ...(interfaceName === undefined ? {} : { interfaceName }),
    ...(sourceIp === undefined ? {} : { sourceIp }),
    ...(options.excludePorts === undefined ? {} : { excludePorts: portsOf(options.excludePorts) }),
  };
}

export function runOptionsOf(options: ScanOptions, services: Services): RunOptions {
  const { retries, timeoutMs, confidence, timing, minRate, maxRate, shard, seed, workers } = options;
  const { hostTimeoutMs, ...settled } = settleTiming({
    retries,
    timeoutMs,
    timing,
    minRate,
    maxRate,
    hostTimeoutMs: options.hostTimeoutMs,
  });
  return {
    ...settled,
    services,
    link: options.link ?? "auto",
    ...(options.controls === undefined ? {} : { controls: options.controls }),
    ...(options.syn === undefined ? {} : { syn: options.syn }),
    order: {
      seed: seed === undefined ? randomSeed() : BigInt(seed),
      sequential: options.sequential === true,
      ...(shard === undefined ? {} : { shard: { index: shard.index - 1, count: shard.count } }),
    },
    ...(confidence === undefined ? {} : { confidence }),
    ...(options.verify === undefined ? {} : { verify: options.verify }),
    ...(workers === undefined ? {} : { workers }),
    ...(hostTimeoutMs === undefined ? {} : { hostTimeoutMs }),
    ...(options.maxRatePerHost === undefined ? {} : { ratePerHost: options.maxRatePerHost }),
    ...(options.maxRatePerPrefix === undefined ? {} : { ratePerPrefix: options.maxRatePerPrefix }),
    ...(options.sourcePort === undefined ? {} : { sourcePort: options.sourcePort }),
    ...(options.complete === true || options.bannerMs !== undefined
      ? { complete: { bannerMs: options.bannerMs ?? 0 } }
      : {}),
  };
}

export const progressEveryMs = (options: ScanOptions): number =>
  options.progressEveryMs ?? DEFAULT_PROGRESS_MS;
