/**
 * Times of results as text. Tested by test/report/formats/ndjson.test.ts.
 */

let isoSecond = Number.NaN;
let isoStart = "";

/** Same as `Date.toISOString`, but formats each second once: many results fall into one. @param ms since the Unix epoch */
export function isoTime(ms: number): string {
  const second = Math.floor(ms / 1000);
  if (second !== isoSecond) {
    isoSecond = second;
    isoStart = new Date(second * 1000).toISOString().slice(0, -4);
  }
  return `${isoStart}${String(Math.floor(ms) - second * 1000).padStart(3, "0")}Z`;
}
