/**
 * `--help`, `synprobe help TOPIC` and `synprobe help COMMAND` as plain text for 80 columns: how it is laid out. What it says
 * comes from catalogue.ts and topics.ts.
 */
import { stripVTControlCharacters } from "node:util";
import type { Command } from "commander";
import { createColors } from "picocolors";
import { didYouMean } from "../../suggest.ts";
import { GROUPS, usage } from "../options/table.ts";
import { type CommandEntry, catalogue, type OptionEntry } from "./catalogue.ts";
import { type Block, fold, textOf } from "./markdown.ts";
import {
  hasChapter,
  isTopic,
  OPTIONS_OF,
  readChapter,
  readTopic,
  TOPIC_NAMES,
  type TopicName,
} from "./topics.ts";

const WIDTH = 80;
/** Terms longer than this have their meaning below them. */
const LONGEST_TERM = 30;

type Colours = ReturnType<typeof createColors>;

interface Asked {
  /** Only how it is called, as `synprobe COMMAND --help` says it. */
  readonly brief: boolean;
  readonly colour: boolean;
}

/**
 * @param subject a topic or a command; "" for the short help of synprobe itself
 * @throws {SynprobeError} `ERR_USAGE` when there is neither
 */
export function helpText(program: Command, subject: string, { brief, colour }: Asked): string {
  const colours = createColors(colour);
  const [main, ...commands] = catalogue(program);
  const lines =
    subject === "" ? shortHelp(main, commands, colours) : about(subject, main, commands, brief, colours);
  return `${lines.join("\n")}\n`;
}

function about(
  subject: string,
  main: CommandEntry,
  commands: readonly CommandEntry[],
  brief: boolean,
  colours: Colours,
): string[] {
  if (isTopic(subject)) return topicHelp(subject, main.options, colours);
  const command = commands.find(({ name }) => name === subject);
  if (command !== undefined) {
    const more = hasChapter(subject) ? ["", `More: synprobe help ${subject}`] : [];
    return [...commandHelp(command, colours), ...(brief ? more : chapterHelp(readChapter(subject), colours))];
  }
  const known = [...TOPIC_NAMES, ...commands.map(({ name }) => name)];
  throw usage(
    `there is no help on "${subject.slice(0, 60)}"${didYouMean(subject, known) || `: there is on ${known.join(", ")}`}`,
  );
}

/** A screen of 24 lines: the options most used, and where the rest is. */
function shortHelp(main: CommandEntry, commands: readonly CommandEntry[], colours: Colours): string[] {
  const wide = "Commands ".length;
  const used = main.options.filter(({ brief }) => brief !== undefined);
  const terms = new Map(used.map((option) => [option, shortTerm(option)]));
  const column = Math.max(...[...terms.values()].map((term) => term.length)) + 2;
  const rows = GROUPS.flatMap((group) =>
    used
      .filter((option) => option.group === group)
      .map((option, i) => {
        const label = colours.bold((i === 0 ? group : "").padEnd(wide));
        return `${label}${(terms.get(option) ?? "").padEnd(column)}${option.brief}`;
      }),
  );
  return [
    `${colours.bold("Usage:")} synprobe [options] TARGET...   synprobe COMMAND ...   synprobe help TOPIC`,
    main.description,
    "",
    `${"TARGET".padEnd(wide)}192.0.2.10:22,80  [2001:db8::10]:443  name:https  198.18.0.0/24`,
    ...rows,
    "",
    ...hanging(colours.bold("Commands"), wide, commands.map(({ name }) => name).join(" ")),
    ...hanging(colours.bold("Topics"), wide, TOPIC_NAMES.join(" ")),
  ];
}

/** `-oJ, --output-json <file>`: the shortest spelling and the long one. */
function shortTerm({ spellings, argument }: OptionEntry): string {
  const long = spellings.find((spelling) => spelling.startsWith("--"));
  const short = spellings.find((spelling) => !spelling.startsWith("--"));
  return [[short, long].filter((name) => name !== undefined).join(", "), argument ?? ""].join(" ").trimEnd();
}

function topicHelp(name: TopicName, options: readonly OptionEntry[], colours: Colours): string[] {
  const lines = blocksHelp(readTopic(name), colours);
  const group = OPTIONS_OF[name];
  if (group === undefined) return lines;
  const listed = options.filter(
    (option) => option.group === group || (group === "Other" && option.group === undefined),
  );
  return [...lines, "", colours.bold("Options"), ...optionList(listed)];
}

/** A command's chapter, without its title: the usage stands above it. */
const chapterHelp = (chapter: readonly Block[], colours: Colours): string[] =>
  chapter.length === 0 ? [] : ["", ...blocksHelp(chapter.slice(1), colours)];

const blocksHelp = (blocks: readonly Block[], colours: Colours): string[] =>
  blocks.flatMap((block, i) => [...(i === 0 ? [] : [""]), ...layOut(block, colours)]);

function layOut(block: Block, colours: Colours): string[] {
  switch (block.kind) {
    case "heading":
      return [colours.bold(block.text)];
    case "paragraph":
      return wrap(textOf(block.line), WIDTH);
    case "list":
      return block.items.flatMap((item) => hanging("-", 2, textOf(item)));
    case "terms":
      return termList(block.terms.map(([term, meaning]) => [textOf(term), textOf(meaning)]));
    case "verbatim":
      return block.lines.flatMap(fold).map((line) => (line === "" ? "" : `    ${line}`));
  }
}

function commandHelp(
  { description, usage: line, operands, options }: CommandEntry,
  colours: Colours,
): string[] {
  const explained = operands.filter((operand) => operand.description !== "");
  return [
    `${colours.bold("Usage:")} ${line}`,
    ...wrap(`${description[0].toUpperCase()}${description.slice(1)}.`, WIDTH),
    "",
    ...termList(explained.map((operand) => [operand.name, operand.description])),
    ...(explained.length > 0 ? [""] : []),
    colours.bold("Options"),
    ...optionList(options),
  ];
}

const optionList = (options: readonly OptionEntry[]): string[] =>
  termList(
    options.map((option) => [
      optionTerm(option),
      `${option.description}${option.defaultValue === undefined ? "" : ` [${option.defaultValue}]`}`,
    ]),
  );

/** `-p, --ports <list>`, `--retries, --max-retries <n>`. */
export const optionTerm = ({ spellings, argument }: OptionEntry): string =>
  `${spellings.join(", ")}${argument === undefined ? "" : ` ${argument}`}`;

function termList(terms: readonly (readonly [term: string, meaning: string])[]): string[] {
  const fitting = terms.map(([{ length }]) => length).filter((length) => length <= LONGEST_TERM);
  const column = Math.max(4, ...fitting) + 4;
  return terms.flatMap(([term, meaning]) =>
    term.length <= LONGEST_TERM
      ? hanging(`  ${term}`, column, meaning)
      : [`  ${term}`, ...hanging("", column, meaning)],
  );
}

/** Text beside a label, all its lines from the same column on. */
function hanging(label: string, column: number, text: string): string[] {
  return wrap(text, WIDTH - column).map((line, i) =>
    i === 0
      ? `${label}${" ".repeat(Math.max(0, column - visible(label)))}${line}`
      : `${" ".repeat(column)}${line}`,
  );
}

/** The columns that a label takes, whatever its colour. */
const visible = (label: string): number => stripVTControlCharacters(label).length;

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
