/**
 * The schema of a configuration, made from the option table: its keys, and the kind of value each takes. It checks a file, and
 * config.schema.json is made from it for editors. What a text means is for the option's own parser.
 */
import * as v from "valibot";
import { escapeText } from "../../report/escape.ts";
import { didYouMean } from "../../suggest.ts";
import { longName } from "./aliases.ts";
import type { OptionSpec } from "./spec.ts";
import { PROBE_OPTIONS, whyOneRun } from "./table.ts";

/** By long name without dashes. */
const SPECS = new Map(PROBE_OPTIONS.map((spec) => [longName(spec.flags).slice(2), spec]));

/** Its messages do not name the place. Options that belong to one run are not keys. */
export function configurationSchema() {
  const entries = [...SPECS]
    .filter(([, spec]) => whyOneRun(spec) === undefined)
    .map(([key, spec]) => [
      key,
      v.exactOptional(v.pipe(schemaOf(key, spec), v.description(spec.description))),
    ]);
  return v.strictObject(
    {
      $schema: v.exactOptional(
        v.pipe(v.string('"$schema" is a text'), v.description("Where this schema is, for editors.")),
      ),
      ...(Object.fromEntries(entries) as v.ObjectEntries),
    },
    ({ path }) => refusalOf(String(path?.at(-1)?.key)),
  );
}

function refusalOf(key: string): string {
  const spec = SPECS.get(key);
  if (spec !== undefined) return refusalOfOneRun(spec);
  const meant = didYouMean(key.replace(/^-+/, ""), SPECS.keys(), (best) => `"${best}"`);
  return `unknown key "${escapeText(key, 60)}"${meant || ": keys are the long options, without their dashes"}`;
}

/** Why neither a file nor the environment may set an option. */
export const refusalOfOneRun = (spec: OptionSpec): string =>
  `${longName(spec.flags)} cannot be set here: ${whyOneRun(spec)}`;

function schemaOf(key: string, spec: OptionSpec): v.GenericSchema {
  const { flags, values, commas = false, adds = false, bare, range, refusal } = spec;
  if (!flags.includes("<")) return v.boolean(`"${key}" is true or false`);
  const many = commas || adds;
  const kind = `"${key}" is a text or a number${many ? ", or a list of them" : ""}: what ${flags} takes`;
  if (Array.isArray(values) && !many && range === undefined) {
    return v.picklist(values, ({ input }) =>
      typeof input === "string" && refusal !== undefined ? refusal(input) : kind,
    );
  }
  const scalars = [v.string(), numberOf(spec)];
  return v.union(
    [
      ...scalars,
      ...(bare === undefined ? [] : [v.literal(true)]),
      ...(many ? [v.pipe(v.array(v.union(scalars)), v.minLength(1, kind))] : []),
    ],
    kind,
  );
}

/** A number outside the range is refused in the parser's words. */
function numberOf({ range, refusal }: OptionSpec): v.GenericSchema<number> {
  if (range === undefined || refusal === undefined) return v.number();
  const says = ({ input }: { readonly input: number }): string => refusal(String(input));
  const within = v.pipe(v.number(), v.minValue(range.least, says), v.maxValue(range.most, says));
  return range.whole ? v.pipe(within, v.integer(says)) : within;
}
