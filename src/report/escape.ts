/**
 * Text from outside, made safe to display: host names, service names, banners.
 *
 * A name from a list file or from the network may hold control characters that drive a terminal, marks that reverse its
 * writing direction, or lone surrogates that no encoding can write. They are spelled out. The result is for people:
 * NDJSON (formats/ndjson.ts) keeps the exact text, with JSON's own escapes.
 *
 * Classes of Unicode take V8 a tenth of a millisecond each to read, so that they stand in functions: a start reads none.
 */

/** Longest text shown, in characters: a DNS name has at most 253 (RFC 1035 §2.3.4). */
export const LONGEST_TEXT = 255;

/**
 * Everything without a glyph of its own: controls (C0, C1, DEL), format marks (bidi overrides, zero widths, BOM),
 * lone surrogates, private and unassigned code points, line and paragraph separators.
 */
const unseen = (): RegExp => /[\p{C}\p{Zl}\p{Zp}]/u;
/** Most text is printable ASCII, which this finds out faster. */
export const PRINTABLE = /^[\x20-\x7e]*$/;
const unseenOrSpace = (): RegExp => /[\p{C}\p{Z}]/u;
const PRINTABLE_WORD = /^[\x21-\x7e]*$/;

function spell(char: string): string {
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  if (code < 0x10000) return `\\u${code.toString(16).padStart(4, "0")}`;
  return `\\u{${code.toString(16)}}`;
}

function escapeMatching(text: string, matcher: RegExp, maxLength: number): string {
  if (text.length <= maxLength && !matcher.test(text)) return text;
  const shown: string[] = [];
  let length = 0;
  for (const char of text) {
    const piece = matcher.test(char) ? spell(char) : char;
    const pieceLength = piece === char ? 1 : piece.length;
    if (length + pieceLength > maxLength) return cut(shown, length, maxLength);
    shown.push(piece);
    length += pieceLength;
  }
  return shown.join("");
}

/** Ends the text in an ellipsis, and drops the last piece (an escape or one character) if it leaves no room for that. */
function cut(shown: readonly string[], length: number, maxLength: number): string {
  const kept = length === maxLength ? shown.slice(0, -1) : shown;
  return `${kept.join("")}…`;
}

/**
 * The columns a text takes in a table, one per code point.
 * East Asian wide characters and combining marks count as one: they may shift a column, but never break a line.
 */
export function displayLength(text: string): number {
  if (PRINTABLE.test(text)) return text.length;
  let length = 0;
  for (const _ of text) length++;
  return length;
}

/** A text with spaces after it, as many as make it `width` columns wide, if it is not so already. */
export const pad = (text: string, width: number): string =>
  text + " ".repeat(Math.max(0, width - displayLength(text)));

/**
 * A text on one line, with everything unseen spelled as `\x1b`, `\u202e` or `\u{e0001}`.
 *
 * @param maxLength longest result in characters, 1 or more; a longer text ends in `…`
 */
export function escapeText(text: string, maxLength: number = LONGEST_TEXT): string {
  return text.length <= maxLength && PRINTABLE.test(text) ? text : escapeMatching(text, unseen(), maxLength);
}

/**
 * The same for text that must stay one word: spaces are spelled out too, so that a name cannot pose as further columns.
 *
 * @param maxLength longest result in characters, 1 or more; a longer text ends in `…`
 */
export function escapeWord(text: string, maxLength: number = LONGEST_TEXT): string {
  return text.length <= maxLength && PRINTABLE_WORD.test(text)
    ? text
    : escapeMatching(text, unseenOrSpace(), maxLength);
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};
/** Most names contain only these, and need no escapes. */
const PLAIN = /^[\w .:/-]*$/;

/**
 * Text as an attribute's value or an element's content in XML. XML 1.0 §2.2 forbids most control characters, even as references,
 * and §3.3.3 turns line ends into spaces, so unseen characters are spelled out first. Then the five characters of markup are escaped.
 */
export function escapeXml(text: string): string {
  if (PLAIN.test(text)) return text;
  return escapeText(text, Number.POSITIVE_INFINITY).replace(/[&<>"']/g, (char) => ENTITIES[char]);
}

/** What JSON.stringify leaves as it is, but a terminal or a line splitter may act on. */
const unseenUnits = (): RegExp => /[\p{C}\p{Zl}\p{Zp}]/gu;

/** A value as JSON (RFC 8259) of printable characters only, on one line. */
export function printableJson(value: unknown): string {
  const json = JSON.stringify(value);
  return PRINTABLE.test(json) ? json : json.replace(unseenUnits(), escapeUnits);
}

/** A colour's sequence (picocolors'), or something unseen that is neither line end nor tab. */
const obeyed = (): RegExp => /\x1b\[(?:[0-4]|2[1-4]|3[0-79]|4[0-79]|9[0-7])m|[^\P{C}\n\t]|[\p{Zl}\p{Zp}]/gu;

/**
 * Whole output on its way to a terminal: lines, tabs and colours stay, whatever else a terminal would obey is spelled as JSON does,
 * `\u202e`, so that JSON still says the same. What is printed comes from files and networks: this is the last to look at all of
 * it, behind the formats, each of which escapes in its own way.
 */
export function escapeOutput(text: string): string {
  return text.replace(obeyed(), (found) => {
    return found.length > 2 ? found : escapeUnits(found);
  });
}

/** A text as JSON and JavaScript spell it where it may not stand as it is: `\u202e`, each UTF-16 unit by itself. */
export function escapeUnits(text: string): string {
  let escaped = "";
  for (let i = 0; i < text.length; i++) escaped += `\\u${text.charCodeAt(i).toString(16).padStart(4, "0")}`;
  return escaped;
}
