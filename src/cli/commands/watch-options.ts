/**
 * What `synprobe watch` alone takes, and which of the main command's options it shares. Tested by test/lab/watch.test.ts.
 */
import { longName } from "../options/aliases.ts";
import { duration, integer, oneOf } from "../options/arguments.ts";
import { inGroup, type OptionSpec } from "../options/spec.ts";

const SECOND_MS = 1000;
const MONTH_MS = 31 * 24 * 3_600_000;

export const WATCH_OPTIONS = [
  ...inGroup("Timing", [
    {
      flags: "--every <time>",
      description: "scan this often, from the start of one scan to the start of the next; in seconds",
      ...duration("--every", [SECOND_MS, MONTH_MS], "s"),
    },
    { flags: "--cron <when>", description: "scan at these times, as cron(8) has them, in local time" },
    {
      flags: "--confirm <time>",
      description:
        "probe what changed again after this time, before it is told; in seconds; by default 30, or a sixth of the time between scans",
      ...duration("--confirm", [0, MONTH_MS], "s"),
    },
    {
      flags: "--rounds <n>",
      description: "end after so many scans",
      ...integer("--rounds", [1, 1_000_000_000]),
    },
  ]),
  ...inGroup("Output", [
    {
      flags: "--exec <file>",
      description: "start this program for each event, JSON on its standard input; no shell, no arguments",
    },
    { flags: "--webhook <url>", description: "POST each event to this URL, as JSON" },
    {
      flags: "--webhook-key <file>",
      needs: ["--webhook"],
      description: "sign what is posted with the key in this file (HMAC-SHA256)",
    },
    {
      flags: "--notify-format <format>",
      needs: ["--webhook"],
      description: "what is posted: json or slack",
      ...oneOf("--notify-format", ["json", "slack"]),
      defaultValue: "json",
    },
    {
      flags: "--metrics <address>",
      description: "serve Prometheus's /metrics, and /healthz, at this address:port",
    },
    {
      flags: "--metrics-ports <n>",
      needs: ["--metrics"],
      description: "how many ports have metrics of their own at most",
      ...integer("--metrics-ports", [0, 1_000_000]),
      defaultValue: 10_000,
    },
  ]),
] satisfies readonly OptionSpec[];

/** Options that are one run's or a fleet's, or that say how results are written. */
const NOT_SHARED =
  /^--(journal|resume|dry-run|seed|shard|complete|banner|why|why-limit|require-open|packet-trace|print-config|pcap|json-fields|show|stats|output|fleet|from)/;

/** Whether the main command's option is also watch's. */
export const isOfWatch = ({ flags }: OptionSpec): boolean => !NOT_SHARED.test(longName(flags));
