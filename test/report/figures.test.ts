/** Figures for people: chances, clocks, sizes, digits in threes, ranges of ports. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { chance, clock, digits, portRanges, rounded, size, utc } from "../../src/report/figures.ts";

test.each([
  [0, "0"],
  [1e-7, "below 0.000001"],
  [0.000001, "0.000001"],
  [0.0000324, "0.00003"],
  [0.00099, "0.001"],
  [0.04, "0.04"],
  [0.3333, "0.33"],
  [0.5, "0.5"],
  [1, "1"],
])("a chance of %d", (p, shown) => {
  expect(chance(p)).toBe(shown);
});

test.each([
  [0, "0:00"],
  [999, "0:00"],
  [59_999, "0:59"],
  [60_000, "1:00"],
  [3_599_999, "59:59"],
  [3_600_000, "1:00:00"],
  [90_061_000, "25:01:01"],
])("%d ms on a clock", (ms, shown) => {
  expect(clock(ms)).toBe(shown);
});

test.each([
  [0, "0"],
  [9_999.4, "9,999"],
  [9_999.5, "10k"],
  [198_431, "198k"],
  [999_499, "999k"],
  [999_500, "1.0M"],
  [12_345_678, "12.3M"],
])("%d, rounded", (n, shown) => {
  expect(rounded(n)).toBe(shown);
});

test.each([
  [1, "1 kB"],
  [999_499, "1000 kB"],
  [999_500, "1 MB"],
  [119_600_000, "120 MB"],
  [1_540_000_000, "1.5 GB"],
])("%d bytes", (bytes, shown) => {
  expect(size(bytes)).toBe(shown);
});

test("digits in threes read back as the number", () => {
  fc.assert(
    fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (n) => {
      expect(digits(n)).toMatch(/^\d{1,3}(,\d{3})*$/);
      expect(Number(digits(n).replaceAll(",", ""))).toBe(n);
    }),
  );
});

test("ranges of ports read back as the ports", () => {
  const anyPorts = fc
    .uniqueArray(fc.integer({ min: 1, max: 40 }))
    .map((ports) => ports.sort((a, b) => a - b));
  fc.assert(
    fc.property(anyPorts, (ports) => {
      const read = portRanges(ports)
        .split(",")
        .filter((range) => range !== "")
        .flatMap((range) => {
          const [first = 0, last = first] = range.split("-").map(Number);
          return Array.from({ length: last - first + 1 }, (_, i) => first + i);
        });
      expect(read).toEqual(ports);
    }),
  );
  expect(portRanges([22, 80, 81, 82, 443])).toBe("22,80-82,443");
});

test("a time is shown in UTC, to the second", () => {
  expect(utc(Date.UTC(2026, 10, 28, 12, 0, 0, 999))).toBe("2026-11-28 12:00:00");
  fc.assert(
    fc.property(
      fc.array(fc.date({ min: new Date("1960-01-01"), max: new Date("9999-12-31"), noInvalidDate: true })),
      (dates) => {
        for (const date of dates)
          expect(utc(date.getTime())).toBe(date.toISOString().slice(0, 19).replace("T", " "));
      },
    ),
  );
});
