/**
 * The Markdown of topics/*.md, as blocks that help.ts and man.ts lay out. A small part of the language: headings, paragraphs,
 * lists, tables of two columns, fenced blocks; within a line `code` and [links](file.md). Anything else is refused, so that no
 * topic says what a terminal cannot show.
 */

/** A piece of a line: as it is, or as code. A link is its text. */
export interface Span {
  readonly text: string;
  readonly code: boolean;
}
export type Line = readonly Span[];

export type Block =
  | { readonly kind: "heading"; readonly level: number; readonly text: string }
  | { readonly kind: "paragraph"; readonly line: Line }
  | { readonly kind: "list"; readonly items: readonly Line[] }
  | { readonly kind: "terms"; readonly terms: readonly (readonly [term: Line, meaning: Line])[] }
  | { readonly kind: "verbatim"; readonly lines: readonly string[] };

/** What a verbatim line may have to fit into 80 columns of a terminal, and of a man page with its indent. */
export const VERBATIM_WIDTH = 73;

const FENCE = /^```/;
const HEADING = /^(#{1,2}) (.+)$/;
const ITEM = /^(- | {2}\S)/;
const ROW = /^\|/;
const TEXT = /^(?![-+*>!<#|\s]|\d+\. |```)/;

/** @throws {Error} for what is not in the subset, with the number of the line */
export function parseMarkdown(text: string): readonly Block[] {
  const lines = text.trimEnd().split("\n");
  const blocks: Block[] = [];
  let at = 0;
  const take = (pattern: RegExp): string[] => {
    const end = lines.findIndex((line, i) => i >= at && (line === "" || !pattern.test(line)));
    const taken = lines.slice(at, end < 0 ? lines.length : end);
    at += taken.length;
    return taken;
  };
  while (at < lines.length) {
    const line = lines[at];
    const [, marks, heading] = HEADING.exec(line) ?? [];
    if (line === "") at++;
    else if (heading !== undefined) {
      blocks.push({ kind: "heading", level: marks.length, text: heading });
      at++;
    } else if (FENCE.test(line)) {
      const end = lines.indexOf("```", at + 1);
      if (end < 0) throw new Error(`line ${at + 1}: the fence is not closed`);
      blocks.push({ kind: "verbatim", lines: lines.slice(at + 1, end) });
      at = end + 1;
    } else if (ROW.test(line)) blocks.push(tableOf(take(ROW), at));
    else if (line.startsWith("- ")) {
      const items = take(ITEM).join("\n").replace(/^- /, "").split("\n- ");
      blocks.push({ kind: "list", items: items.map((item) => spansOf(item.replace(/\n {2}/g, " "))) });
    } else if (TEXT.test(line)) blocks.push({ kind: "paragraph", line: spansOf(take(TEXT).join(" ")) });
    else throw new Error(`line ${at + 1}: "${line}" is not in the Markdown that topics are written in`);
  }
  return blocks;
}

/** A table is a list of terms: its head is for readers of the file alone. */
function tableOf(rows: readonly string[], at: number): Block {
  const terms = rows.slice(2).map((row, i): readonly [Line, Line] => {
    const cells = row.replace(/^\| | \|$/g, "").split(/ \| /);
    if (cells.length !== 2) throw new Error(`line ${at - rows.length + i + 3}: a row has two columns`);
    return [spansOf(cells[0]), spansOf(cells[1])];
  });
  return { kind: "terms", terms };
}

function spansOf(text: string): Line {
  const unlinked = text.replace(/\[([^\]]+)\]\([^)]+\)/g, "$1");
  return unlinked
    .split("`")
    .map((piece, i) => ({ text: piece.replaceAll("\\|", "|"), code: i % 2 === 1 }))
    .filter((span) => span.text !== "");
}

export const textOf = (line: Line): string => line.map(({ text }) => text).join("");

/** What begins the rest of a verbatim line that is too long for one. */
const REST = " ".repeat(8);

/** A verbatim line as the lines that it takes, broken at a space where there is one. */
export function fold(line: string): readonly string[] {
  if (line.length <= VERBATIM_WIDTH) return [line];
  const space = line.lastIndexOf(" ", VERBATIM_WIDTH);
  const end = space > VERBATIM_WIDTH / 2 ? space : VERBATIM_WIDTH;
  return [line.slice(0, end).trimEnd(), ...fold(REST + line.slice(end).trimStart())];
}
