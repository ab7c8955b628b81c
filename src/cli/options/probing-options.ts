/** In which order SYNs are sent, through what, and what is done with an open port: the options of "Order" and "Probing". */
import { BOUNDS, DEFAULT_TTL } from "../../runtime/api/option-bounds.ts";
import { duration, integer, oneOf, parseSeed, parseShard } from "./arguments.ts";
import { DEFAULTS, LINKS, SYNS } from "./probe-options.ts";
import { inGroup, type OptionSpec } from "./spec.ts";

export const PROBING_OPTIONS: readonly OptionSpec[] = [
  ...inGroup("Order", [
    {
      flags: "--seed <n>",
      description: "probe in this random order; without it, in a fresh one",
      instead: "order",
      parse: parseSeed,
    },
    {
      flags: "--sequential",
      description: "probe in ascending order instead",
      aliases: ["-r"],
      instead: "order",
    },
    {
      flags: "--shard <i/n>",
      aliases: ["--shards"],
      description: "probe only the i-th of n parts, for n machines with the same --seed",
      parse: parseShard,
    },
    {
      flags: "--journal <file>",
      description: "keep results in a file that survives a crash",
      brief: "keep results, for --resume",
      oneRun: "a journal is one run's",
    },
    {
      flags: "--resume <file>",
      description: "continue a journal's run; its targets and options need not be given again",
      oneRun: "it goes on with one run",
    },
    {
      flags: "--dry-run",
      description: "say what would be done, and send nothing",
      brief: "say what would be done, and send nothing",
      oneRun: "whether a run sends is decided run by run",
    },
  ]),
  ...inGroup("Probing", [
    {
      flags: "--link <kind>",
      description:
        "auto, syn (raw or packet), raw (raw IP sockets), packet (Ethernet frames) or connect (no privilege)",
      ...oneOf("--link", LINKS),
      defaultValue: "auto",
    },
    {
      flags: "--no-controls",
      description: "send SYNs to the named ports alone, and to none a second time that has answered",
    },
    {
      flags: "--workers <n>",
      description: "threads that probe, with --link packet; by default by size, rate and processors",
      ...integer("--workers", BOUNDS.workers),
    },
    {
      flags: "-e, --interface <name>",
      aliases: ["--adapter"],
      description: "send and receive through this interface",
      brief: "send and receive through this interface",
      values: "interface",
    },
    {
      flags: "-S, --source-ip <addr>",
      aliases: ["--adapter-ip"],
      description: "source address, one of this machine's own",
      values: "address",
    },
    {
      flags: "-g, --source-port <port>",
      aliases: ["--adapter-port"],
      description: "send every SYN from this port",
      ...integer("-g, --source-port", BOUNDS.sourcePort),
    },
    {
      flags: "--ttl <n>",
      description: "TTL or hop limit of the SYNs (1-255)",
      ...integer("--ttl", BOUNDS.ttl),
      defaultValue: DEFAULT_TTL,
    },
    {
      flags: "--syn <kind>",
      description: "what SYNs offer: linux (as its kernel does) or minimal (MSS alone, as with --complete)",
      ...oneOf("--syn", SYNS),
      defaultValue: "linux",
    },
    {
      flags: "--complete",
      description: "finish the handshake with each open port, then close it properly",
    },
    {
      flags: "--banner <time>",
      description: "--complete, and wait for what the server says first (2s when no time follows); in ms",
      brief: "finish handshakes, hear what servers say",
      bare: `${DEFAULTS.bannerMs}ms`,
      looksLike: /^\d+(\.\d+)?(ms|s|m|h)?$/,
      ...duration("--banner", BOUNDS.bannerMs, "ms"),
    },
    {
      flags: "--why",
      description: "then walk the ways to hosts with filtered ports, and say which hop stops the SYNs",
    },
    {
      flags: "--why-limit <n>",
      needs: ["--why"],
      description: "walk to so many hosts at most (1-256)",
      ...integer("--why-limit", BOUNDS.whyLimit),
      defaultValue: DEFAULTS.whyLimit,
    },
  ]),
];
