/**
 * Numbers as people read them: counts with their nouns, durations, times, sizes, lists of ports.
 */

/** `1,234,567` */
export const digits = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, ",");

/** `1 port`, `2,000 ports` */
export const count = (n: number, one: string, many = `${one}s`): string =>
  `${digits(n)} ${n === 1 ? one : many}`;

/** `0.12 s`, `12 min 34 s`, `25 h 1 min 1 s` */
export function duration(ms: number): string {
  if (ms < 59_995) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  const clock = `${minutes % 60} min ${seconds % 60} s`;
  return minutes < 60 ? clock : `${digits(Math.floor(minutes / 60))} h ${clock}`;
}

const DAY_MS = 86_400_000;
/** The day that was shown last: of many times in a row most are of one, and a date takes longer than all else of a line. */
let shownDay = Number.NaN;
let shownDate = "";
const two = (n: number): string => (n < 10 ? `0${n}` : `${n}`);

/** A time in UTC: `2026-11-28 14:30:00`. @param ms since the Unix epoch */
export function utc(ms: number): string {
  const day = Math.floor(ms / DAY_MS);
  if (day !== shownDay) shownDate = new Date(ms).toISOString().slice(0, 10);
  shownDay = day;
  const seconds = Math.floor((ms - day * DAY_MS) / 1000);
  const minutes = Math.floor(seconds / 60);
  return `${shownDate} ${two(Math.floor(minutes / 60))}:${two(minutes % 60)}:${two(seconds % 60)}`;
}

/** Whole seconds as a clock shows them: `0:42`, `12:34`, `25:01:01`. */
export function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${two(seconds % 60)}`;
  return `${digits(Math.floor(minutes / 60))}:${two(minutes % 60)}:${two(seconds % 60)}`;
}

/** Three digits or four: `0`, `9,999`, `198k`, `1.2M`. */
export function rounded(n: number): string {
  if (n < 9_999.5) return digits(Math.round(n));
  if (n < 999_500) return `${Math.round(n / 1000)}k`;
  return `${(n / 1e6).toFixed(1)}M`;
}

/** `512 kB`, `120 MB`, `1.5 GB` */
export function size(bytes: number): string {
  if (bytes < 999_500) return `${Math.ceil(bytes / 1000)} kB`;
  if (bytes < 999_500_000) return `${Math.round(bytes / 1e6)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** A share as a percentage, with two significant digits: `0.012 %`, `3.4 %`, `12 %`. */
export const percent = (share: number): string => `${Number((share * 100).toPrecision(2))} %`;

/** Behind a silent state. A doubt of about 1 is of a run in which nothing answered, or of a time in which nothing did. */
export const doubtInWords = (doubt: number): string =>
  doubt < 0.995
    ? `, ${percent(doubt)} chance that an answer was lost`
    : ", and nothing answered then that would tell of loss";

/** A probability with one significant digit and no exponent: `0.3`, `0.00003`, `below 0.000001`. */
export function chance(p: number): string {
  if (p > 0 && p < 1e-6) return "below 0.000001";
  return p
    .toFixed(p < 0.1 ? Math.max(2, Math.ceil(-Math.log10(p || 1))) : 2)
    .replace(/0+$/, "")
    .replace(/\.$/, "");
}

/** Ascending ports as nmap lists them, and -p takes them: `22,80,8000-8010`. */
export function portRanges(ports: Iterable<number>): string {
  const ranges: { first: number; last: number }[] = [];
  for (const port of ports) {
    const range = ranges.at(-1);
    if (range !== undefined && port === range.last + 1) range.last = port;
    else ranges.push({ first: port, last: port });
  }
  return ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}
