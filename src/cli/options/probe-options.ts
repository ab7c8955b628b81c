/**
 * The options as commander has parsed them, and what they come to with -T's template. How each is written is table.ts's
 * business.
 */
import { settleTiming, TIMING, type WaitMs } from "../../scan/engine/timing-templates.ts";
import type { Verify } from "../../scan/measure/recapture.ts";
import type { PortState } from "../../scan/probe/result.ts";
import type { Shard } from "./arguments.ts";
import { usage } from "./spec.ts";

export const SYNS = ["linux", "minimal"] as const;
export const LINKS = ["auto", "syn", "raw", "packet", "connect"] as const;

export const JSON_FIELDS = ["synprobe", "naabu"] as const;

export const DEFAULTS = {
  retries: TIMING[3].retries,
  bannerMs: 2000,
  whyLimit: 16,
  fleetLeaseMs: 30_000,
} as const;

/** Defaults of `synprobe trace`, by long name: it follows one connection. */
export const TRACE_DEFAULTS: Readonly<Record<string, number>> = { "--retries": 2, "--timeout": 1100 };

/** Options, with the times and rates that they and the template give. */
export interface TimedOptions extends ProbeOptions {
  readonly waitMs: WaitMs;
  /** SYNs per second. */
  readonly rate: { readonly minimum: number; readonly maximum: number };
}

/** Parsed options, by commander's names. */
export interface ProbeOptions {
  readonly ports?: string;
  readonly inputList?: string;
  readonly inputResults?: string;
  readonly only?: readonly PortState[];
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
  readonly syn: (typeof SYNS)[number];
  readonly retries: number;
  readonly confidence: number;
  readonly verify: Verify;
  /** Milliseconds; without it timeouts follow the measured round trips. */
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
  /** False under --no-controls. */
  readonly controls: boolean;
  readonly shard?: Shard;
  readonly workers?: number;
  readonly link: (typeof LINKS)[number];
  /** A URL, or "env" for that of SYNPROBE_FLEET. */
  readonly fleet?: string;
  /** The only vantages that probe, each everything. */
  readonly from?: readonly string[];
  readonly fleetKey?: string;
  /** Milliseconds. */
  readonly fleetLease?: number;
  readonly dryRun?: boolean;
  readonly journal?: string;
  readonly resume?: string;
  readonly show?: readonly PortState[];
  readonly showFiles?: readonly PortState[];
  /** Milliseconds. */
  readonly statsEvery?: number;
  readonly outputJson?: string;
  readonly jsonFields: (typeof JSON_FIELDS)[number];
  readonly outputXml?: string;
  readonly outputNormal?: string;
  readonly outputGrepable?: string;
  readonly outputCsv?: string;
  readonly outputList?: string;
  readonly outputTargets?: string;
  readonly outputAll?: string;
  readonly store?: string;
  readonly pcap?: string;
  readonly pcapAll?: boolean;
  readonly complete?: boolean;
  /** Milliseconds. */
  readonly banner?: number;
  readonly why?: boolean;
  readonly whyLimit: number;
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

/**
 * Fills in -T's template where the options leave something open.
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
  const { shard, seed, sequential, resume, sourcePort, why } = options;
  // A fleet takes neither, and says so.
  if (why === true && sourcePort !== undefined && options.fleet === undefined)
    throw usage("--why walks from source ports of its own, a new one for each flow: drop -g");
  if (seed !== undefined && sequential === true) throw usage("--seed and --sequential exclude each other");
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
