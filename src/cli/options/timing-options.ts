/** How fast, how often and how long: the options of the group "Timing". */
import { BOUNDS } from "../../runtime/api/option-bounds.ts";
import { CONFIDENCE } from "../../scan/measure/loss.ts";
import { VERIFY } from "../../scan/measure/recapture.ts";
import { decimal, duration, integer, oneOf, template } from "./arguments.ts";
import { DEFAULTS } from "./probe-options.ts";
import { inGroup } from "./spec.ts";

export const TIMING_OPTIONS = inGroup("Timing", [
  {
    flags: "--retries <n>",
    aliases: ["--max-retries"],
    description: "most SYNs after the first, to a port that stays silent (0-30)",
    brief: "most further SYNs to a silent port",
    ...integer("--retries", BOUNDS.retries),
    defaultValue: DEFAULTS.retries,
  },
  {
    flags: "--timeout <time>",
    description: "wait this long for each answer (500, 800ms, 2s), whatever the round trips are; in ms",
    ...duration("--timeout", BOUNDS.timeoutMs, "ms"),
  },
  {
    flags: "--confidence <share>",
    description: "retry silent ports until this certain, by the loss measured; 1: all retries",
    ...decimal("--confidence", BOUNDS.confidence),
    defaultValue: CONFIDENCE,
  },
  {
    flags: "--verify <which>",
    description: "ask silent ports once more at the end: auto (where losses may hide answers), off or all",
    ...oneOf("--verify", VERIFY),
    defaultValue: "auto",
  },
  {
    flags: "--max-rate <n>",
    aliases: ["--rate"],
    description: "most SYNs per second; the path may hold fewer",
    brief: "most SYNs per second",
    ...integer("--max-rate", BOUNDS.maxRate),
  },
  {
    flags: "--min-rate <n>",
    description: "at least this many SYNs per second, whatever the path holds",
    ...integer("--min-rate", BOUNDS.minRate),
  },
  {
    flags: "--max-rate-per-host <n>",
    description: "most SYNs per second to one address",
    ...integer("--max-rate-per-host", BOUNDS.maxRatePerHost),
  },
  {
    flags: "--max-rate-per-prefix <n>",
    description: "most SYNs per second to one network: a /24, or a /64 of IPv6",
    ...integer("--max-rate-per-prefix", BOUNDS.maxRatePerPrefix),
  },
  {
    flags: "--host-timeout <time>",
    description: "stop sending to an address this long after its first SYN; in seconds, as nmap's",
    ...duration("--host-timeout", BOUNDS.hostTimeoutMs, "s"),
  },
  {
    flags: "-T, --timing <0-5>",
    description: "nmap's templates for waits, retries and rate: 0 paranoid to 5 insane",
    brief: "nmap's templates: 0 paranoid to 5 insane",
    ...template("-T", BOUNDS.timing),
  },
]);
