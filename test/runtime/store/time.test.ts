/** Times of the command line: what is one, which one it is, and what is none. */
import { expect, it } from "vitest";
import { parseTime, splitAtTime } from "../../../src/runtime/store/time.ts";

const NOW = Date.parse("2026-11-28T12:00:00Z");

it.each([
  ["now", "2026-11-28T12:00:00Z"],
  ["7d", "2026-11-21T12:00:00Z"],
  ["1.5h", "2026-11-28T10:30:00Z"],
  ["30s", "2026-11-28T11:59:30Z"],
  ["2026-11-27", "2026-11-27T00:00:00Z"],
  ["2026-11-27 23:59:59", "2026-11-27T23:59:59Z"],
  ["2026-11-27T23:59", "2026-11-27T23:59:00Z"],
  ["2026-11-27T23:59:00.5z", "2026-11-27T23:59:00.500Z"],
  ["2026-11-27T23:59+02:00", "2026-11-27T21:59:00Z"],
])("%s is %s", (text, iso) => {
  expect(parseTime(text, NOW)).toBe(Date.parse(iso));
});

it.each(["", "yesterday", "7", "7x", "2026-02-30", "2026-13-01", "2026-11-28T25:00", "-7d", "27.11.2026"])(
  "%j is no time",
  (text) => {
    expect(parseTime(text, NOW)).toBeUndefined();
  },
);

it("the last @ of a file's name parts its time from it, where it is one", () => {
  expect(splitAtTime("a@b.db@7d", NOW)).toEqual({ file: "a@b.db", ms: NOW - 7 * 86_400_000 });
  expect(splitAtTime("a@b.db", NOW)).toEqual({ file: "a@b.db" });
  expect(splitAtTime("@now", NOW)).toEqual({ file: "@now" });
});
