/**
 * Lines of `history changes` as bytes: a year's are 30 MB, and to put them together as text takes several times as long. What the
 * words in them are: history.ts.
 */
import { displayLength, escapeOutput } from "../../report/escape.ts";
import { utc } from "../../report/figures.ts";
import { ascii, digitsOf, put, putNumber } from "../../report/formats/ndjson-bytes.ts";
import type { Change } from "../../report/read/recorded.ts";

/** The texts of a line, each of 1,200 bytes at most. */
export interface ChangeTexts {
  /** What stands before a port, and after it. */
  place(change: Change): readonly [before: string, after: string];
  verdict(state: string, reason: string): string;
  /** The same of what is new. */
  newVerdict(state: string, reason: string): string;
  doubt(doubt: number): string;
}

export const LONGEST_CHANGE = 8192;
const DAY_MS = 86_400_000;
const SPACE = 0x20;
const COLON = 0x3a;
const ZERO = 0x30;
const DATE = "2026-11-29 ".length;
const PORT_WIDTH = 24;
const GAP = ascii("  ");
const BECAME = ascii(" -> ");
const BEFORE = ascii("; before at ");
const END = ascii("\n");

const bytesOf = (text: string): Uint8Array => Buffer.from(escapeOutput(text));

function putTwo(n: number, b: Uint8Array, at: number): number {
  b[at] = ZERO + ((n / 10) | 0);
  b[at + 1] = ZERO + (n % 10);
  return at + 2;
}

/** @returns puts a change's line at `at`, where there is room for LONGEST_CHANGE bytes, and says where it ends */
export function createChangeLines(texts: ChangeTexts) {
  const days = new Map<number, Uint8Array>();
  const places = new Map<string, { before: Uint8Array; after: Uint8Array; width: number }>();
  const verdicts = createCache(texts.verdict);
  const newVerdicts = createCache(texts.newVerdict);

  /** As figures.ts has it: `2026-11-28 14:30:00`. */
  function putTime(ms: number, b: Uint8Array, start: number): number {
    const day = Math.floor(ms / DAY_MS);
    let date = days.get(day);
    if (date === undefined) {
      date = ascii(utc(ms).slice(0, DATE));
      days.set(day, date);
    }
    const second = ((ms - day * DAY_MS) / 1000) | 0;
    const minute = (second / 60) | 0;
    const hour = (minute / 60) | 0;
    let at = putTwo(hour, b, put(date, b, start));
    b[at++] = COLON;
    at = putTwo(minute - hour * 60, b, at);
    b[at++] = COLON;
    return putTwo(second - minute * 60, b, at);
  }

  function placeOf(change: Change) {
    // Of one host all ports are called alike, but for those that are not TCP's.
    const key = change.proto === "tcp" ? change.ip : `${change.proto} ${change.ip}`;
    let place = places.get(key);
    if (place === undefined) {
      const [before, after] = texts.place(change);
      place = {
        before: bytesOf(before),
        after: bytesOf(after),
        width: displayLength(before) + displayLength(after),
      };
      places.set(key, place);
    }
    return place;
  }

  return (change: Change, b: Uint8Array, start: number): number => {
    const { port, state, reason, firstMs, doubt, oldState, oldReason, oldLastMs } = change;
    const { before, after, width } = placeOf(change);
    let at = put(before, b, put(GAP, b, putTime(firstMs, b, start)));
    at = put(after, b, putNumber(port, b, at));
    for (let i = width + digitsOf(port); i < PORT_WIDTH; i++) b[at++] = SPACE;
    at = put(BECAME, b, put(verdicts(oldState, oldReason), b, put(GAP, b, at)));
    at = put(newVerdicts(state, reason), b, at);
    if (doubt !== undefined) at = put(ascii(texts.doubt(doubt)), b, at);
    return put(END, b, putTime(oldLastMs, b, put(BEFORE, b, at)));
  };
}

/** The bytes of verdicts, of which there are few. */
function createCache(textOf: (state: string, reason: string) => string) {
  const byState = new Map<string, Map<string, Uint8Array>>();
  return (state: string, reason: string): Uint8Array => {
    const known = byState.get(state) ?? new Map<string, Uint8Array>();
    byState.set(state, known);
    const bytes = known.get(reason) ?? bytesOf(textOf(state, reason));
    known.set(reason, bytes);
    return bytes;
  };
}
