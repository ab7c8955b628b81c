/**
 * The option table: every option once, with its help, its parser and the nmap spellings that mean the same.
 *
 * commander reads its options from here, aliases.ts its aliases. Help, shell completion, the man page, the configuration and
 * its JSON Schema are made from it; a test checks the manual against it. What an option does is the commands' business.
 */
import { FLEET_OPTIONS } from "./fleet-options.ts";
import { OUTPUT_OPTIONS } from "./output-options.ts";
import { PROBING_OPTIONS } from "./probing-options.ts";
import type { OptionSpec } from "./spec.ts";
import { TARGET_OPTIONS } from "./target-options.ts";
import { TIMING_OPTIONS } from "./timing-options.ts";

export { TIMING } from "../../scan/engine/timing-templates.ts";
export { WORKER_OPTIONS } from "./fleet-options.ts";
export { type ProbeOptions, type TimedOptions, TRACE_DEFAULTS, withTiming } from "./probe-options.ts";
export { GROUPS, type Group, type OptionSpec, usage, whyOneRun } from "./spec.ts";

export const PROBE_OPTIONS: readonly OptionSpec[] = [
  ...TARGET_OPTIONS,
  ...TIMING_OPTIONS,
  ...PROBING_OPTIONS,
  ...FLEET_OPTIONS,
  ...OUTPUT_OPTIONS,
];

/** The commands, as `synprobe COMMAND`; a test holds them against commander's. */
export const COMMANDS = [
  "trace",
  "path",
  "check",
  "doctor",
  "lab",
  "diff",
  "report",
  "history",
  "watch",
  "worker",
  "fleet",
  "demo",
  "help",
  "completion",
] as const;

/** The hidden command that runs inside a lab's namespaces (commands/lab.ts). */
export const LAB_INSIDE = "lab-inside";

/** Options of nmap and masscan that are short for one of ours with its argument. */
export const SHORTHANDS: Readonly<Record<string, readonly string[]>> = {
  "--open": ["--show", "open"],
  "-F": ["--top-ports", "100"],
  "-sS": ["--link", "syn"],
  "-sT": ["--link", "connect"],
  "--banners": ["--banner=2s"],
  "--silent": ["--output-targets", "-"],
};

/** nmap options that ask for what synprobe does anyway. */
export const IMPLIED: Readonly<Record<string, string>> = {
  "-Pn": "every target is probed, whether it answers pings or not",
  "-n": "addresses are never looked up backwards",
  "--randomize-hosts": "the order is random unless --sequential",
  "--reason": "the reason is always shown",
  "-d": "see -v and --packet-trace",
};
