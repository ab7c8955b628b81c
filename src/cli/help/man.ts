/**
 * The man page synprobe(1), in man(7) macros, from the catalogue and the manual: how it is laid out. `npm run build` puts it
 * into dist.
 */
import type { Command } from "commander";
import { VERSION } from "../run/terminal.ts";
import { type CommandEntry, catalogue, type OptionEntry } from "./catalogue.ts";
import { optionTerm } from "./help.ts";
import { type Block, FILES, TOPICS, type Topic, type TopicName } from "./manual.ts";

/** When the page was last gone through. */
const DATE = "2026-11-21";

/** Sections that are topics of the manual, in the page's order. */
const SECTIONS: readonly (readonly [heading: string, topic: TopicName])[] = [
  ["TARGETS", "targets"],
  ["RESULTS", "results"],
  ["OUTPUT", "outputs"],
  ["TIMING", "timing"],
  ["PRIVILEGES", "privileges"],
  ["EXIT STATUS", "exit"],
  ["ENVIRONMENT AND CONFIGURATION", "config"],
];

export function manPage(program: Command): string {
  const [main, ...commands] = catalogue(program);
  const lines = [
    `.TH SYNPROBE 1 ${DATE} "synprobe ${VERSION}"`,
    ".SH NAME",
    "synprobe \\- TCP SYN prober: says whether a port is open, closed or filtered",
    ".SH SYNOPSIS",
    ".B synprobe",
    "[\\fIoptions\\fR] \\fItarget\\fR...",
    ...commands.flatMap(({ usage }) => [".br", ...synopsis(usage)]),
    ".SH DESCRIPTION",
    ...paragraph(main.description),
    ".PP",
    ...paragraph(
      "It builds TCP SYN segments by hand, sends them over a raw IP socket or as Ethernet frames, matches each reply to its probe by sequence number, and classifies it: SYN-ACK means open, RST closed, an ICMP error or silence filtered; always with the reason, the round trip and the number of tries. Each option is told once, in OPTIONS.",
    ),
    ".PP",
    ...paragraph(
      "It is for networks that you may probe. It is honest on the wire: no decoys, no spoofed sources, no fragments.",
    ),
    ".SH OPTIONS",
    ...layOut(TOPICS.options.blocks, main.options),
    ".SH COMMANDS",
    ...commands.flatMap((command) => [`.SS ${roff(command.name)}`, ...describe(command)]),
    ...SECTIONS.flatMap(([heading, name]) => [
      `.SH ${heading}`,
      ...layOut(proseOf(TOPICS[name]), main.options),
    ]),
    ".SH FILES",
    ...terms(FILES),
    ".SH EXAMPLES",
    ...layOut(TOPICS.examples.blocks, main.options),
    ".SH SEE ALSO",
    ".BR nmap (1),",
    ".BR masscan (8),",
    ".BR zmap (1),",
    ".BR packet (7),",
    ".BR raw (7),",
    ".BR capabilities (7)",
  ];
  return `${lines.join("\n")}\n`;
}

/** A topic without its options, which OPTIONS has. */
const proseOf = ({ blocks }: Topic): readonly Block[] =>
  blocks.filter((block) => typeof block === "string" || !("options" in block));

function synopsis(usage: string): string[] {
  const [program, name, ...rest] = usage.split(" ");
  return [`.B ${roff(`${program} ${name}`)}`, ...(rest.length === 0 ? [] : [roff(rest.join(" "))])];
}

function describe({ description, operands, options }: CommandEntry): string[] {
  return [
    ...paragraph(`${description[0].toUpperCase()}${description.slice(1)}.`),
    ...terms(
      operands
        .filter((operand) => operand.description !== "")
        .map((operand) => [operand.name, operand.description]),
    ),
    ...optionTerms(options.filter(({ spellings }) => !spellings.includes("--help"))),
  ];
}

function layOut(blocks: readonly Block[], options: readonly OptionEntry[]): string[] {
  return blocks.flatMap((block, i) => {
    if (typeof block === "string") return [...(i === 0 ? [] : [".PP"]), ...paragraph(block)];
    if ("code" in block) return [".PP", ".nf", ".RS 4", ...block.code.map(roff), ".RE", ".fi"];
    if ("terms" in block) return terms(block.terms);
    return block.options.flatMap((group) => [
      `.SS ${group}`,
      ...optionTerms(
        options.filter(
          (option) => option.group === group || (group === "Other" && option.group === undefined),
        ),
      ),
    ]);
  });
}

function optionTerms(options: readonly OptionEntry[]): string[] {
  return options.flatMap((option) => {
    const [names, argument] = optionTerm(option).split(/ (?=[<[])/);
    const shown = argument === undefined ? "" : ` \\fI${roff(argument.replace(/[<>]/g, ""))}\\fR`;
    const fallback = option.defaultValue === undefined ? "" : `; ${option.defaultValue} unless given`;
    return [".TP", `\\fB${roff(names)}\\fR${shown}`, ...paragraph(`${option.description}${fallback}`)];
  });
}

const terms = (list: readonly (readonly [term: string, meaning: string])[]): string[] =>
  list.flatMap(([term, meaning]) => [".TP", `\\fB${roff(term)}\\fR`, ...paragraph(meaning)]);

const LONGEST_LINE = 80;

/** A sentence begins a line, as roff wants it, and no line is longer than LONGEST_LINE. */
function paragraph(text: string): string[] {
  return text.split(/(?<=[.;:]) (?=[A-Z])/).flatMap((sentence) => {
    const lines: string[] = [];
    let line = "";
    for (const word of roff(sentence).split(" ")) {
      if (line !== "" && line.length + 1 + word.length > LONGEST_LINE) {
        lines.push(line);
        line = "";
      }
      line = line === "" ? unmasked(word) : `${line} ${word}`;
    }
    return [...lines, line];
  });
}

/** Text for roff: nothing in it is a macro or an escape. */
const roff = (text: string): string =>
  unmasked(
    text
      .replaceAll("\\", "\\e")
      .replaceAll("-", "\\-")
      .replaceAll("'", "\\(aq")
      .replaceAll("^", "\\(ha")
      .replace(/\b[A-Z]+_/, "\\%$&"),
  );

/** A line that begins with a full stop would be a macro. */
const unmasked = (line: string): string => (line.startsWith(".") ? `\\&${line}` : line);
