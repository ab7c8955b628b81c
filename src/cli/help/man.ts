/**
 * The man page synprobe(1), in man(7) macros, from the catalogue and the topics: how it is laid out. `npm run build` puts it
 * into dist.
 */
import type { Command } from "commander";
import { VERSION } from "../run/terminal.ts";
import { type CommandEntry, catalogue, type OptionEntry } from "./catalogue.ts";
import { optionTerm } from "./help.ts";
import { type Block, fold, type Line } from "./markdown.ts";
import { readChapter, readTopic, TOPIC_NAMES } from "./topics.ts";

/** When the page was last gone through. */
const DATE = "2026-11-21";

/** Topics with a place of their own in a man page, apart from the others. */
const APART = ["options", "examples"];

/** Files that are read without being named. */
const FILES = [
  ["/etc/services", "names of services"],
  ["/proc/sys/net/ipv4/ip_local_port_range", "the kernel's own source ports, above which a run's lie"],
] as const;

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
    ...paragraph(roff(main.description)),
    ".PP",
    ...paragraph(
      roff(
        "It builds TCP SYN segments by hand, sends them over a raw IP socket or as Ethernet frames, matches each reply to its probe by sequence number, and classifies it: SYN-ACK means open, RST closed, an ICMP error or silence filtered; always with the reason, the round trip and the number of tries. Each option is told once, in OPTIONS.",
      ),
    ),
    ".PP",
    ...paragraph(
      roff(
        "It is for networks that you may probe. It is honest on the wire: no decoys, no spoofed sources, no fragments.",
      ),
    ),
    ...layOut(readTopic("options")),
    ".SH COMMANDS",
    ...commands.flatMap((command) => [
      `.SS ${roff(command.name)}`,
      ...describe(command),
      ...layOut(readChapter(command.name).slice(1), IN_COMMANDS),
    ]),
    ...TOPIC_NAMES.filter((name) => !APART.includes(name)).flatMap((name) => layOut(readTopic(name))),
    ".SH FILES",
    ...terms(FILES.map(([file, what]) => [`\\fB${roff(file)}\\fR`, roff(what)])),
    ...layOut(readTopic("examples")),
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

function synopsis(usage: string): string[] {
  const [program, name, ...rest] = usage.split(" ");
  return [`.B ${roff(`${program} ${name}`)}`, ...(rest.length === 0 ? [] : [roff(rest.join(" "))])];
}

function describe({ description, operands, options }: CommandEntry): string[] {
  return [
    ...paragraph(roff(`${description[0].toUpperCase()}${description.slice(1)}.`)),
    ...terms(
      operands
        .filter((operand) => operand.description !== "")
        .map((operand) => [`\\fB${roff(operand.name)}\\fR`, roff(operand.description)]),
    ),
    ...optionTerms(options.filter(({ spellings }) => !spellings.includes("--help"))),
  ];
}

type Heading = (text: string, level: number) => readonly string[];

/** A topic is a section of the page. */
const AS_SECTIONS: Heading = (text, level) =>
  level === 1 ? [`.SH ${roff(text.toUpperCase())}`] : [`.SS ${roff(text)}`];

/** Below the name of a command, a subsection already, there is no deeper one. */
const IN_COMMANDS: Heading = (text) => [".PP", `.B ${roff(text)}`];

const layOut = (blocks: readonly Block[], heading: Heading = AS_SECTIONS): string[] =>
  blocks.flatMap((block, i) => layOutBlock(block, heading, blocks[i - 1]?.kind === "heading" ? [] : [".PP"]));

/** @param apart what sets it apart from what stands before */
function layOutBlock(block: Block, heading: Heading, apart: readonly string[]): readonly string[] {
  switch (block.kind) {
    case "heading":
      return heading(block.text, block.level);
    case "paragraph":
      return [...apart, ...paragraph(roffLine(block.line))];
    case "list":
      return block.items.flatMap((item) => [".IP \\(bu 2", ...paragraph(roffLine(item))]);
    case "terms":
      return terms(block.terms.map(([term, meaning]) => [roffTerm(term), roffLine(meaning)]));
    case "verbatim":
      return [
        ...apart,
        ".nf",
        ...block.lines.flatMap(fold).map((line) => (line === "" ? "\\&" : roff(line))),
        ".fi",
      ];
  }
}

const optionTerms = (options: readonly OptionEntry[]): string[] =>
  terms(
    options.map((option) => [
      roffTerm([{ text: optionTerm(option), code: true }]),
      roff(`${option.description}${option.defaultValue === undefined ? "" : ` [${option.defaultValue}]`}`),
    ]),
  );

/** @param list as roff has them */
const terms = (list: readonly (readonly [term: string, meaning: string])[]): string[] =>
  list.flatMap(([term, meaning]) => [".TP", unmasked(term), ...paragraph(meaning)]);

/** A term is bold, but for what stands for something else: `<file>`. */
const roffTerm = (term: Line): string =>
  `\\fB${roff(term.map(({ text }) => text).join("")).replace(/<([^>]*)>/g, "\\fI$1\\fB")}\\fR`;

const roffLine = (line: Line): string =>
  line.map(({ text, code }) => (code ? `\\fB${roff(text)}\\fR` : roff(text))).join("");

const LONGEST_LINE = 80;

/** A sentence begins a line, as roff wants it, and no line is longer than LONGEST_LINE. @param text as roff has it */
function paragraph(text: string): string[] {
  return text.split(/(?<=[.;:]) (?=[A-Z])/).flatMap((sentence) => {
    const lines: string[] = [];
    let line = "";
    for (const word of sentence.split(" ")) {
      if (line !== "" && line.length + 1 + word.length > LONGEST_LINE) {
        lines.push(line);
        line = "";
      }
      line = line === "" ? unmasked(word) : `${line} ${word}`;
    }
    return [...lines, line];
  });
}

/** Text for roff: nothing in it is a macro or an escape, and all of it is ASCII. */
const roff = (text: string): string =>
  unmasked(
    text
      .replaceAll("\\", "\\e")
      .replaceAll("-", "\\-")
      .replaceAll("'", "\\(aq")
      .replaceAll("`", "\\(ga")
      .replaceAll("^", "\\(ha")
      .replaceAll("~", "\\(ti")
      .replace(/\b[A-Z]+_/, "\\%$&")
      .replace(/[^\x00-\x7f]/gu, (letter) => `\\[u${hex(letter)}]`),
  );

const hex = (letter: string): string =>
  (letter.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");

/** A line that begins with a full stop would be a macro. */
const unmasked = (line: string): string => (line.startsWith(".") ? `\\&${line}` : line);
