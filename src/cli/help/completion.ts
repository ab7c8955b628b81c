/**
 * `synprobe completion bash|zsh|fish`: a script that makes a shell complete synprobe's command lines, made from the
 * catalogue. It asks the system for files and interfaces when the user does, and never starts synprobe.
 */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: shells have them too
import type { Command } from "commander";
import { SHORTHANDS } from "../options/table.ts";
import { type CommandEntry, catalogue, type Offer, type OptionEntry } from "./catalogue.ts";
import { TOPIC_NAMES } from "./topics.ts";

export type Shell = "bash" | "zsh" | "fish";

export function completionScript(program: Command, shell: Shell): string {
  const [main, ...commands] = catalogue(program);
  const subjects = [...TOPIC_NAMES, ...commands.map(({ name }) => name)];
  const all = commands.map((command) =>
    command.name === "help" ? withSubjects(command, subjects) : command,
  );
  const shorthands = Object.entries(SHORTHANDS).map(([spelling, means]) => ({
    spellings: [spelling],
    description: means.join(" "),
    commas: false,
    repeatable: false,
  }));
  const lines = WRITERS[shell]({ ...main, options: [...main.options, ...shorthands] }, all);
  return `${lines.join("\n")}\n`;
}

/** What help takes is known here, and no matter of commander's: a topic that is none gets a better message. */
const withSubjects = (command: CommandEntry, subjects: readonly string[]): CommandEntry => ({
  ...command,
  operands: command.operands.map((operand) => ({ ...operand, offer: subjects })),
});

const WRITERS: Readonly<
  Record<Shell, (main: CommandEntry, commands: readonly CommandEntry[]) => readonly string[]>
> = { bash, zsh, fish };

/** A word for any of the three shells, as it is. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Options of one command with the same offer, and whether its parts are joined by commas. */
function byOffer(options: readonly OptionEntry[]): Map<string, { readonly offer?: Offer; names: string[] }> {
  const groups = new Map<string, { readonly offer?: Offer; names: string[] }>();
  for (const { argument, offer, commas, spellings } of options) {
    if (argument === undefined) continue;
    const id = `${offer}${commas ? "," : ""}`;
    const group = groups.get(id) ?? { ...(offer === undefined ? {} : { offer }), names: [] };
    group.names.push(...spellings);
    groups.set(id, group);
  }
  return groups;
}

/* bash */

function bash(main: CommandEntry, commands: readonly CommandEntry[]): string[] {
  const names = commands.map(({ name }) => name);
  const taking = main.options.filter(({ argument }) => argument !== undefined).flatMap((o) => o.spellings);
  return [
    "# bash completion of synprobe: source <(synprobe completion bash)",
    "_synprobe() {",
    "  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command= operand= words= head= i",
    "  COMPREPLY=()",
    "  # bash splits --link=raw at the equals sign.",
    "  if [[ $word == = ]]; then",
    "    word=",
    "  elif [[ $previous == = ]]; then",
    "    previous=${COMP_WORDS[COMP_CWORD - 2]}",
    "  fi",
    "  for ((i = 1; i < COMP_CWORD; i++)); do",
    "    case ${COMP_WORDS[i]} in",
    `      ${taking.join(" | ")})`,
    "        [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))",
    "        ((i++))",
    "        ;;",
    "      --) operand=1; break ;;",
    "      -*) ;;",
    `      ${names.join(" | ")}) command=\${COMP_WORDS[i]}; break ;;`,
    "      *) operand=1; break ;;",
    "    esac",
    "  done",
    "  case $command:$previous in",
    ...[main, ...commands].flatMap(({ name, options }) =>
      [...byOffer(options)].flatMap(([id, { offer, names: spellings }]) => [
        `    ${spellings.map((spelling) => `${name}:${spelling}`).join(" | ")})`,
        ...bashOffer(offer, id.endsWith(",")).map((line) => `      ${line}`),
        "      return",
        "      ;;",
      ]),
    ),
    "  esac",
    "  case $command$operand:$word in",
    ...[main, ...commands].flatMap(({ name, options, operands }) => [
      `    ${name === "" ? "'':-* | 1" : name}:-*) words=${quote(options.flatMap((o) => o.spellings).join(" "))} ;;`,
      ...(name === ""
        ? [`    :*) words=${quote(names.join(" "))} ;;`]
        : bashOperand(name, operands[0]?.offer)),
    ]),
    "  esac",
    '  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")',
    "}",
    "complete -F _synprobe synprobe",
  ];
}

const BASH_FILES = ["compopt -o filenames 2> /dev/null", 'mapfile -t COMPREPLY < <(compgen -f -- "$word")'];

function bashOffer(offer: Offer | undefined, commas: boolean): string[] {
  if (offer === undefined) return [];
  if (offer === "file") return BASH_FILES;
  if (offer === "interface") {
    return ['mapfile -t COMPREPLY < <(compgen -W "$(command ls /sys/class/net)" -- "$word")'];
  }
  const words = quote(offer.join(" "));
  if (!commas) return [`mapfile -t COMPREPLY < <(compgen -W ${words} -- "$word")`];
  return [
    '[[ $word == *,* ]] && head="${word%,*},"',
    `mapfile -t COMPREPLY < <(compgen -P "$head" -W ${words} -- "\${word##*,}")`,
    "compopt -o nospace 2> /dev/null",
  ];
}

function bashOperand(name: string, offer: Offer | undefined): string[] {
  if (offer === undefined || offer === "interface") return [];
  if (offer !== "file") return [`    ${name}:*) words=${quote(offer.join(" "))} ;;`];
  return [`    ${name}:*)`, ...BASH_FILES.map((line) => `      ${line}`), "      return", "      ;;"];
}

/* zsh */

function zsh(main: CommandEntry, commands: readonly CommandEntry[]): string[] {
  return [
    "#compdef synprobe",
    "# zsh completion of synprobe: source <(synprobe completion zsh), after compinit; or as _synprobe in a folder of $fpath",
    "_synprobe() {",
    '  local curcontext="$curcontext" context state state_descr line',
    "  typeset -A opt_args",
    "  local -a options=(",
    ...main.options.flatMap(zshOption).map((word) => `    ${word}`),
    "  )",
    '  _arguments -C "${options[@]}" "1: :->first" "*:: :->rest"',
    "  case $state in",
    "    first)",
    "      local -a commands=(",
    ...commands.map(
      ({ name, description }) => `        ${quote(`${name}:${description.replaceAll(":", "\\:")}`)}`,
    ),
    "      )",
    "      _describe -t commands 'command, or a target' commands",
    "      ;;",
    "    rest)",
    '      curcontext="${curcontext%:*:*}:synprobe-$words[1]:"',
    "      case $words[1] in",
    ...commands.flatMap(({ name, options, operands }) => [
      `        ${name})`,
      "          _arguments \\",
      ...options.flatMap(zshOption).map((word) => `            ${word} \\`),
      ...operands.map(
        (operand) =>
          `            ${quote(`${operand.name.includes("...") ? "*" : ""}:${zshText(operand.name)}:${zshAction(operand.offer, false)}`)} \\`,
      ),
      "            && return",
      "          ;;",
    ]),
    // A target: its command line goes on with more of them, and options.
    '        *) _arguments "${options[@]}" "*:target: " ;;',
    "      esac",
    "      ;;",
    "  esac",
    "}",
    "if [[ ${funcstack[1]} == _synprobe ]]; then",
    '  _synprobe "$@"',
    "else",
    "  compdef _synprobe synprobe",
    "fi",
  ];
}

/** One word of _arguments for each spelling. */
function zshOption({ spellings, argument, description, offer, commas, repeatable }: OptionEntry): string[] {
  const others = repeatable ? "*" : spellings.length > 1 ? `(${spellings.join(" ")})` : "";
  const value =
    argument === undefined ? "" : `:${zshText(argument.replace(/[<>]/g, ""))}:${zshAction(offer, commas)}`;
  return spellings.map((spelling) => {
    const attached =
      argument === undefined ? "" : spelling.startsWith("--") ? "=" : spelling.length === 2 ? "+" : "";
    return quote(`${others}${spelling}${attached}[${zshText(description)}]${value}`);
  });
}

/** Colons and brackets have meanings there. */
const zshText = (text: string): string => text.replace(/[[\]:\\]/g, "\\$&");

function zshAction(offer: Offer | undefined, commas: boolean): string {
  if (offer === undefined) return " ";
  if (offer === "file") return "_files";
  if (offer === "interface") return "_net_interfaces";
  return commas ? ` _values -s , value ${offer.join(" ")}` : `(${offer.join(" ")})`;
}

/* fish */

function fish(main: CommandEntry, commands: readonly CommandEntry[]): string[] {
  const taking = main.options.filter(({ argument }) => argument !== undefined).flatMap((o) => o.spellings);
  return [
    "# fish completion of synprobe: synprobe completion fish | source",
    "# The command on the line so far; 'none' when one may still come, 'target' when none can.",
    "function __synprobe_command",
    "  set -l skip 0",
    "  for word in (commandline -opc)[2..-1]",
    "    if test $skip = 1",
    "      set skip 0",
    "      continue",
    "    end",
    "    switch $word",
    `      case ${taking.join(" ")}`,
    "        set skip 1",
    "      case '-*'",
    `      case ${commands.map(({ name }) => name).join(" ")}`,
    "        echo $word",
    "        return",
    "      case '*'",
    "        echo target",
    "        return",
    "    end",
    "  end",
    "  echo none",
    "end",
    "complete -c synprobe -e",
    "complete -c synprobe -f",
    ...commands.map(
      ({ name, description }) =>
        `complete -c synprobe -n 'test (__synprobe_command) = none' -a ${name} -d ${fishQuote(description)}`,
    ),
    ...main.options.map((option) => fishOption("contains (__synprobe_command) none target", option)),
    ...commands.flatMap(({ name, options, operands }) => {
      const condition = `test (__synprobe_command) = ${name}`;
      return [
        ...options.map((option) => fishOption(condition, option)),
        ...operands.flatMap(({ offer }) =>
          offer === undefined
            ? []
            : [`complete -c synprobe -n ${fishQuote(condition)} ${fishOffer(offer, false)}`],
        ),
      ];
    }),
  ];
}

function fishOption(condition: string, option: OptionEntry): string {
  const { spellings, argument, description, offer, commas } = option;
  const flags = spellings.map((spelling) => {
    if (spelling.startsWith("--")) return `-l ${spelling.slice(2)}`;
    return spelling.length === 2 ? `-s ${spelling.slice(1)}` : `-o ${spelling.slice(1)}`;
  });
  const value = argument === undefined ? "" : offer === undefined ? " -x" : ` -r ${fishOffer(offer, commas)}`;
  return `complete -c synprobe -n ${fishQuote(condition)} ${flags.join(" ")}${value} -d ${fishQuote(description)}`;
}

function fishOffer(offer: Offer, commas: boolean): string {
  if (offer === "file") return "-F";
  if (offer === "interface") return `-f -a ${fishQuote("(command ls /sys/class/net)")}`;
  const words = offer.join(" ");
  return `-f -a ${fishQuote(commas ? `(__fish_append , ${words})` : words)}`;
}

const fishQuote = (text: string): string => `'${text.replace(/['\\]/g, "\\$&")}'`;
