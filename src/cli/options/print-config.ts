/** What --print-config says: every option's effective value and where it comes from, in a configuration's own format. */
import { resolve } from "node:path";
import { escapeText, printableJson } from "../../report/escape.ts";
import { type Effect, NAMES, type Names } from "./setting.ts";
import { GROUPS, type OptionSpec, whyOneRun } from "./table.ts";

/** @param complete the options with -T's template filled in; @param file the configuration that was read */
export function printConfig(
  effects: ReadonlyMap<string, Effect>,
  complete: Readonly<Record<string, unknown>>,
  file: string | undefined,
): string {
  const rows = GROUPS.flatMap((group) => [
    { line: `// ${group}`, live: false, origin: "" },
    ...NAMES.filter(({ spec, key }) => spec.group === group && !["config", "print-config"].includes(key)).map(
      (names) => rowOf(names, effects, complete),
    ),
  ]);
  const last = rows.findLastIndex(({ live }) => live);
  return [
    "{",
    `  // command line, then environment, then ${file === undefined ? "no file" : printable(file)}, then built-in`,
    ...rows.map(({ line, live, origin }, i) => {
      const comma = live && i !== last ? "," : "";
      return `  ${line}${comma}${origin === "" ? "" : ` // ${origin}`}`;
    }),
    "}",
    "",
  ].join("\n");
}

/** A set option is a live line, any other a comment. */
function rowOf(
  { spec, key, attribute }: Names,
  effects: ReadonlyMap<string, Effect>,
  complete: Readonly<Record<string, unknown>>,
): { readonly line: string; readonly live: boolean; readonly origin: string } {
  const effect = effects.get(attribute);
  if (effect !== undefined) {
    const origin = effect.origins.map(printable).join(", ");
    const line = `"${key}": ${valueText(spec, effect)}`;
    const why = whyOneRun(spec);
    return why === undefined
      ? { line, live: true, origin }
      : { line: `// ${line},`, live: false, origin: `${origin}; ${why}` };
  }
  const value = complete[attribute];
  if (value === undefined || typeof value === "boolean") {
    return { line: `// "${key}"`, live: false, origin: "not set" };
  }
  const origin =
    value === spec.defaultValue
      ? "built-in"
      : effects.has("timing")
        ? 'as "timing" has it'
        : "follows from others";
  const number = spec.unit === "s" && typeof value === "number" ? value / 1000 : value;
  return { line: `// "${key}": ${printableJson(number)},`, live: false, origin };
}

function valueText({ flags, commas }: OptionSpec, { value, texts }: Effect): string {
  if (!flags.includes("<")) return String(value !== undefined);
  // A file's name must mean the same from another directory.
  const whole = flags.includes("<file>") ? texts.map((text) => (text === "-" ? text : resolve(text))) : texts;
  const parts = commas === true ? whole.flatMap((text) => text.split(",")) : whole;
  const written = parts.map((part) =>
    /^(0|[1-9]\d*)$/.test(part) && Number.isSafeInteger(Number(part)) ? part : printableJson(part),
  );
  return written.length === 1 ? written[0] : `[${written.join(", ")}]`;
}

/** A file's name may contain line breaks. */
const printable = (text: string): string => escapeText(text, 1000);
