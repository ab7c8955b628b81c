/**
 * What commands other than the main one take: options of their own, and which of the main command's they share. What path and check
 * take alone is here; worker's are fleet-options.ts's, watch's commands/watch-options.ts's.
 * Tested by test/lab/path.test.ts, test/cli/commands/check.test.ts and test/cli/help/help.test.ts.
 */
import { BOUNDS, PATH_DEFAULTS } from "../../runtime/api/option-bounds.ts";
import { longName } from "./aliases.ts";
import { integer, oneOf } from "./arguments.ts";
import { inGroup, type OptionSpec } from "./spec.ts";
import { PROBE_OPTIONS, TRACE_DEFAULTS } from "./table.ts";

const EXCLUDES = ["--exclude", "--exclude-file", "--exclude-ports"];
/** Of SYNs to one host. */
const LIMITS = [...EXCLUDES, "--max-rate", "--max-rate-per-host", "--max-rate-per-prefix"];
const SHARED = [...LIMITS, "--interface", "--source-ip", "--ipv4", "--ipv6", "--config", "--no-drop"];
const SHARED_WITH = {
  trace: ["--retries", "--timeout", "--ttl", "--why", ...SHARED],
  path: SHARED,
  doctor: [...LIMITS, "--config"],
  history: ["--store", "--config"],
  worker: [
    ...[...EXCLUDES, "--fleet-key", "--max-rate", "--link", "--workers"],
    ...["--interface", "--source-ip", "--config", "--no-drop"],
  ],
} as const;

const OWN_DEFAULTS: { readonly [command in keyof typeof SHARED_WITH]?: Readonly<Record<string, number>> } = {
  trace: TRACE_DEFAULTS,
  path: { "--max-rate": PATH_DEFAULTS.maxRate },
};

/** Options of the main command that this one has, too, with its own defaults. */
export const sharedWith = (command: keyof typeof SHARED_WITH): readonly OptionSpec[] =>
  PROBE_OPTIONS.flatMap((spec) => {
    const name = longName(spec.flags);
    const { [name]: defaultValue = spec.defaultValue } = OWN_DEFAULTS[command] ?? {};
    return (SHARED_WITH[command] as readonly string[]).includes(name) ? [{ ...spec, defaultValue }] : [];
  });

export const PATH_OPTIONS = inGroup("Probing", [
  { flags: "--json", description: "the same as data" },
  {
    flags: "--reference <port>",
    description: "compare with this port, which is known to answer; without it common ports are tried",
    ...integer("--reference", BOUNDS.sourcePort),
  },
  {
    flags: "--flows <n>",
    description: "walk so many source ports to each port, and count what each loses (1-64)",
    ...integer("--flows", BOUNDS.flows),
    defaultValue: PATH_DEFAULTS.flows,
  },
  {
    flags: "--max-hops <n>",
    description: "highest TTL sent (1-63)",
    ...integer("--max-hops", BOUNDS.maxHops),
    defaultValue: PATH_DEFAULTS.maxHops,
  },
  {
    flags: "--tries <n>",
    description: "SYNs of each flow and TTL, while none is answered (1-10)",
    ...integer("--tries", BOUNDS.tries),
    defaultValue: PATH_DEFAULTS.tries,
  },
  {
    flags: "--link <kind>",
    description: "raw (raw IP sockets), or packet (Ethernet frames)",
    ...oneOf("--link", ["raw", "packet"]),
    defaultValue: "raw",
  },
  { flags: "--names", description: "look up the names of routers and host, as the system does" },
]);

/** Of the reports; policy/formats/ has one of each name. */
export const CHECK_FORMATS = ["text", "tap", "junit", "json", "github"] as const;

/** What makes no sense of a policy: other targets, a run in parts, and the table. */
const NOT_OF_CHECK = new Set([
  ...["--input-results", "--only", "--journal", "--resume", "--show", "--require-open", "--print-config"],
]);

/** What `check` takes: two options of its own, and those that say how a run is made and where its results go. */
export const CHECK_OPTIONS = (): readonly OptionSpec[] => [
  ...inGroup("Output", [
    {
      flags: "--format <format>",
      description: "of the report: text, tap, junit, json, or github for annotations",
      ...oneOf("--format", CHECK_FORMATS),
      defaultValue: "text",
    },
    { flags: "--learn", description: "write a policy of what is there: takes targets, as synprobe does" },
  ]),
  ...PROBE_OPTIONS.filter(({ flags }) => !NOT_OF_CHECK.has(longName(flags))),
];
