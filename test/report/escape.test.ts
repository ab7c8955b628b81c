/** Text from outside: nothing of it moves a terminal, a column or a line, and it stays within its length. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { displayLength, escapeText, escapeWord, LONGEST_TEXT, pad } from "../../src/report/escape.ts";
import { hostileNames } from "./samples.ts";

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 })
    .map((units) => String.fromCharCode(...units)),
  fc.constantFrom(...hostileNames),
);

/** Written out by hand, so that the escape's own pattern does not check itself. */
function isDangerous(codePoint: number): boolean {
  const ranges: [number, number][] = [
    [0x00, 0x1f],
    [0x7f, 0x9f],
    [0xad, 0xad],
    [0x61c, 0x61c],
    [0x200b, 0x200f],
    [0x2028, 0x202e],
    [0x2060, 0x206f],
    [0xd800, 0xdfff],
    [0xfeff, 0xfeff],
    [0xfffe, 0xffff],
    [0xe0000, 0xe007f],
  ];
  return ranges.some(([first, last]) => codePoint >= first && codePoint <= last);
}
const dangerousIn = (text: string) => [...text].filter((char) => isDangerous(char.codePointAt(0) ?? 0));

describe("escapeText", () => {
  test.each([
    ["scanme.example", "scanme.example"],
    ["bücher.example 日本", "bücher.example 日本"],
    ["\x1b[31m\x07\0", "\\x1b[31m\\x07\\x00"],
    ["a\r\n\tb", "a\\x0d\\x0a\\x09b"],
    ["\x7f\x9b", "\\x7f\\x9b"],
    ["\u202egpj.exe", "\\u202egpj.exe"],
    ["\ud800 \udfff", "\\ud800 \\udfff"],
    ["\u{e0041}", "\\u{e0041}"],
    ["", ""],
  ])("spells what has no glyph: %j", (text, shown) => {
    expect(escapeText(text)).toBe(shown);
  });

  test("leaves nothing that a terminal obeys, in any text, and stays within its length", () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 1, max: 300 }), (text, maxLength) => {
        for (const spell of [escapeText, escapeWord]) {
          const shown = spell(text, maxLength);
          expect(dangerousIn(shown)).toEqual([]);
          expect(displayLength(shown)).toBeLessThanOrEqual(maxLength);
        }
      }),
    );
  });

  test("cuts a long text with an ellipsis, never inside an escape", () => {
    expect(escapeText("x".repeat(LONGEST_TEXT))).toBe("x".repeat(LONGEST_TEXT));
    expect(escapeText("x".repeat(LONGEST_TEXT + 1))).toBe(`${"x".repeat(LONGEST_TEXT - 1)}…`);
    expect(escapeText("ab\x1bcd", 8)).toBe("ab\\x1bcd");
    expect(escapeText("ab\x1bcd", 7)).toBe("ab\\x1b…");
    expect(escapeText("ab\x1bcd", 6)).toBe("ab…");
    expect(escapeText("\x1b", 1)).toBe("…");
  });

  test("counts characters, not UTF-16 units", () => {
    expect(escapeText("𝒳".repeat(10), 10)).toBe("𝒳".repeat(10));
    expect(displayLength("𝒳é")).toBe(2);
  });

  test("pads to columns, and cuts nothing", () => {
    expect(pad("𝒳é", 4)).toBe("𝒳é  ");
    expect(pad("longer", 4)).toBe("longer");
  });
});

describe("escapeWord", () => {
  test("leaves no white space in any text, so that it stays one column", () => {
    expect(escapeWord("a b\u00a0c\u3000d")).toBe("a\\x20b\\xa0c\\u3000d");
    fc.assert(
      fc.property(anyText, (text) => {
        expect(escapeWord(text)).not.toMatch(/\s/);
      }),
    );
  });
});
