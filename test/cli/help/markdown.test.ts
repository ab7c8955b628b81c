/** The Markdown of the topics: what is understood, and that anything else is refused with its line. */
import { describe, expect, test } from "vitest";
import { fold, parseMarkdown, textOf, VERBATIM_WIDTH } from "../../../src/cli/help/markdown.ts";

describe("blocks", () => {
  test("headings, paragraphs over several lines, lists whose items go on", () => {
    expect(parseMarkdown("# One\n\nA line\nand its end.\n\n## Two\n- first\n- second\n  goes on\n")).toEqual([
      { kind: "heading", level: 1, text: "One" },
      { kind: "paragraph", line: [{ text: "A line and its end.", code: false }] },
      { kind: "heading", level: 2, text: "Two" },
      {
        kind: "list",
        items: [[{ text: "first", code: false }], [{ text: "second goes on", code: false }]],
      },
    ]);
  });

  test("a table is terms without its head", () => {
    const [block] = parseMarkdown("| a | b |\n|---|---|\n| `-x` | one \\| two |");
    expect(block).toEqual({
      kind: "terms",
      terms: [[[{ text: "-x", code: true }], [{ text: "one | two", code: false }]]],
    });
  });

  test("what stands between fences is as it is", () => {
    expect(parseMarkdown("```json\n# no heading\n\n| no row\n```")).toEqual([
      { kind: "verbatim", lines: ["# no heading", "", "| no row"] },
    ]);
  });

  test("a link is its text, code in it stays code", () => {
    const [block] = parseMarkdown("See [`synprobe help exit`](exit.md) or [there](../x.md).");
    expect(block.kind === "paragraph" && block.line).toEqual([
      { text: "See ", code: false },
      { text: "synprobe help exit", code: true },
      { text: " or there.", code: false },
    ]);
    expect(block.kind === "paragraph" && textOf(block.line)).toBe("See synprobe help exit or there.");
  });

  test.each([
    ["### three", 1],
    ["fine\n\n> a quotation", 3],
    ["1. numbered", 1],
    ["* starred", 1],
    ["<b>markup</b>", 1],
    ["![picture](x.png)", 1],
    ["    indented", 1],
    ["```\nnever closed", 1],
    ["| a | b |\n|---|---|\n| 1 | 2 | 3 |", 3],
  ])("%j is refused at its line", (text, line) => {
    expect(() => parseMarkdown(text)).toThrow(`line ${line}: `);
  });
});

describe("a verbatim line", () => {
  test("that fits is left alone", () => {
    const longest = "x".repeat(VERBATIM_WIDTH);
    expect(fold(longest)).toEqual([longest]);
    expect(fold("")).toEqual([""]);
  });

  test("that is too long goes on below, indented, and loses nothing but the spaces it is broken at", () => {
    const words = Array.from({ length: 40 }, (_, i) => `word-${i}`).join(" ");
    const lines = fold(words);
    expect(lines.length).toBeGreaterThan(4);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(VERBATIM_WIDTH);
    for (const line of lines.slice(1)) expect(line).toMatch(/^ {8}word/);
    expect(lines.map((line) => line.trim()).join(" ")).toBe(words);
  });

  test("without a space is broken where it must", () => {
    const solid = "0123456789".repeat(20);
    const lines = fold(solid);
    expect(lines[0]).toHaveLength(VERBATIM_WIDTH);
    expect(lines.map((line) => line.trim()).join("")).toBe(solid);
  });
});
