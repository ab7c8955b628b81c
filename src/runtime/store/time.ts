/**
 * Times as users of the history write them: a date, a date with a time of day, or how long ago. All in UTC unless a zone is
 * given, as all output is. Tested by test/runtime/store/time.test.ts.
 */

const UNITS: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const DATE = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)(Z|[+-]\d{2}:\d{2})?)?$/i;

/** What to write, for messages. */
export const TIME_FORMS = "2026-11-28, 2026-11-28T14:30 (UTC), now, or how long ago, such as 36h or 7d";

/**
 * @param nowMs milliseconds since the Unix epoch
 * @returns the same; undefined for text that is no time
 */
export function parseTime(text: string, nowMs: number): number | undefined {
  if (text === "now") return nowMs;
  const [, number, unit] = /^(\d{1,9}(?:\.\d+)?)([smhdw])$/.exec(text) ?? [];
  if (unit !== undefined) return nowMs - Number(number) * UNITS[unit];
  const [, date, time = "00:00", zone = "Z"] = DATE.exec(text) ?? [];
  if (date === undefined) return undefined;
  const ms = Date.parse(`${date}T${time}${zone.toUpperCase()}`);
  // Date takes the 31st of February for the 2nd of March.
  const isReal = new Date(`${date}T00:00Z`).toJSON()?.startsWith(date) === true;
  return Number.isFinite(ms) && isReal ? ms : undefined;
}

/** `history.db@2026-11-28T14:30`: the file, and the time after the last @, if what stands there is one. */
export function splitAtTime(word: string, nowMs: number): { readonly file: string; readonly ms?: number } {
  const at = word.lastIndexOf("@");
  const ms = at > 0 ? parseTime(word.slice(at + 1), nowMs) : undefined;
  return ms === undefined ? { file: word } : { file: word.slice(0, at), ms };
}
