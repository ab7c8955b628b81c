/**
 * What `synprobe check` takes: two options of its own, and those of the main command that say how a run is made and where its results
 * go. Which targets and ports is the policy's business. Tested by test/cli/commands/check.test.ts.
 */
import { longName } from "./aliases.ts";
import { oneOf } from "./arguments.ts";
import { inGroup, type OptionSpec } from "./spec.ts";
import { PROBE_OPTIONS } from "./table.ts";

/** Of the reports; policy/formats/ has one of each name. */
export const CHECK_FORMATS = ["text", "tap", "junit", "json", "github"] as const;

/** What makes no sense of a policy: other targets, a run in parts, and the table. */
const NOT_OF_CHECK = new Set([
  ...["--input-results", "--only", "--journal", "--resume", "--show", "--require-open", "--print-config"],
]);

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
