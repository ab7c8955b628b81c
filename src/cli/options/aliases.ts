/**
 * Spellings of nmap, masscan and zmap, turned into the options of table.ts before commander sees them, so that each option exists once.
 */
import { IMPLIED, PROBE_OPTIONS, SHORTHANDS } from "./table.ts";

/** Long name of an option: `--output-json`. */
export const longName = (flags: string): string => /--[\w-]+/.exec(flags)?.[0] ?? flags;

/** The table by the spellings that are rewritten. */
function readTable() {
  return {
    aliases: new Map(
      PROBE_OPTIONS.flatMap(({ flags, aliases = [] }) =>
        aliases.map((alias) => [alias, longName(flags)] as const),
      ),
    ),
    /** The argument that is assumed when none is given, and how one looks. */
    bare: new Map(
      PROBE_OPTIONS.flatMap(({ flags, bare, looksLike }) =>
        bare === undefined || looksLike === undefined
          ? []
          : [[longName(flags), { bare, looksLike }] as const],
      ),
    ),
    /** With two dashes. */
    longNames: new Set(
      [
        ...PROBE_OPTIONS.flatMap(({ flags, aliases = [] }) => [longName(flags), ...aliases]),
        ...Object.keys({ ...IMPLIED, ...SHORTHANDS }),
      ].filter((name) => name.startsWith("--")),
    ),
    takesArgument: new Set(
      PROBE_OPTIONS.filter(({ flags }) => flags.includes("<")).flatMap(
        ({ flags }) => flags.match(/--?[\w-]+/g) ?? [],
      ),
    ),
  };
}

/** Whether any word may be an option. Where none is, a millisecond is saved by not reading what options there are. */
export const mayHoldOption = (argv: readonly string[]): boolean => argv.some((word) => word.startsWith("-"));

/** Rewrites an argument vector, without the node and script names. What follows `--` is left alone. */
export function expandAliases(argv: readonly string[]): string[] {
  if (!mayHoldOption(argv)) return [...argv];
  const { aliases, bare, takesArgument, longNames } = readTable();
  const expanded: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    // nmap and naabu take long options with one dash, too; commander would read "-exclude" as "-e xclude".
    const word = longNames.has(`-${argv[i].split("=", 1)[0]}`) ? `-${argv[i]}` : argv[i];
    if (word === "--") return [...expanded, ...argv.slice(i)];
    if (Object.hasOwn(IMPLIED, word) || /^-d[d\d]+$/.test(word)) continue;
    if (Object.hasOwn(SHORTHANDS, word)) {
      expanded.push(...SHORTHANDS[word]);
      continue;
    }
    // nmap writes "-p-"; commander would read "-" as a bundled flag.
    if (word.startsWith("-p") && word.length > 2) {
      expanded.push("--ports", word.slice(2));
      continue;
    }
    // Given twice it says more; three times no more than that.
    if (/^-vv+$/.test(word)) {
      expanded.push("--verbose", "--verbose");
      continue;
    }
    const [name, value] = splitLong(word);
    const optional = bare.get(name);
    if (optional !== undefined && value === undefined) {
      // The next word is the argument only if it looks like one; otherwise it is a target.
      const next = argv[i + 1] ?? "";
      const given = optional.looksLike.test(next);
      expanded.push(`${name}=${given ? next : optional.bare}`);
      if (given) i++;
      continue;
    }
    const alias = aliases.get(name);
    const canonical = alias ?? name;
    expanded.push(value === undefined ? canonical : `${canonical}=${value}`);
    // The argument of an option is never an option, however it looks: "-oJ -", "-p -".
    if (value === undefined && takesArgument.has(canonical) && i + 1 < argv.length) {
      expanded.push(argv[++i]);
    }
  }
  return expanded;
}

function splitLong(word: string): [name: string, value?: string] {
  const equals = word.startsWith("--") ? word.indexOf("=") : -1;
  return equals < 0 ? [word] : [word.slice(0, equals), word.slice(equals + 1)];
}
