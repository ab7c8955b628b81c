/** report/totals: hosts that limit their RSTs and outages, in sentences. The other lines: test/report/formats/table.test.ts. */
import { expect, test } from "vitest";
import { totalsLines } from "../../src/report/totals.ts";
import type { ScanSummary } from "../../src/scan/probe/result.ts";
import { summary } from "./samples.ts";

const linesOf = (more: Partial<ScanSummary>): string[] =>
  totalsLines({ ...summary, ...more }, { verbose: false, notShown: [] })
    .slice(0, -1)
    .map(({ text }) => text);
const limited = (ip: string, perSecond: number) => ({ ip, perSecond });
const { startedMs } = summary;

test("hosts that limit their RSTs are named, the slowest first", () => {
  expect(linesOf({ rstLimited: [limited("198.18.0.7", 9.234), limited("2001:db8::7", 120.4)] })).toEqual([
    "198.18.0.7 answers with about 9.2 RSTs a second at most: it limits them, or a firewall limits what reaches it",
    "2001:db8::7 answers with about 120 RSTs a second at most: it limits them, or a firewall limits what reaches it",
  ]);
  const many = Array.from({ length: 1200 }, (_, i) => limited(`198.18.${i >> 8}.${i & 255}`, 1200 - i));
  expect(linesOf({ rstLimited: many })).toEqual([
    "198.18.4.175 answers with about 1.0 RSTs a second at most: it limits them, or a firewall limits what reaches it",
    "198.18.4.174 answers with about 2.0 RSTs a second at most: it limits them, or a firewall limits what reaches it",
    "198.18.4.173 answers with about 3.0 RSTs a second at most: it limits them, or a firewall limits what reaches it",
    "and 1,197 more hosts answer with few",
  ]);
});

test("one more is one", () => {
  const four = Array.from({ length: 4 }, (_, i) => i + 1);
  expect(linesOf({ rstLimited: four.map((n) => limited(`198.18.0.${n}`, n)) }).at(-1)).toBe(
    "and 1 more host answers with few",
  );
  expect(
    linesOf({ outages: four.map((n) => ({ fromMs: startedMs + n, toMs: startedMs + 2 * n })) }).at(-1),
  ).toBe("warning: and 1 more outage");
});

test("outages are told with their time since the start, whoever was away", () => {
  const outages = [
    { fromMs: startedMs + 2000, toMs: startedMs + 12_500 },
    { ip: "198.18.0.7", fromMs: startedMs + 61_000 },
  ];
  expect(linesOf({ outages })).toEqual([
    "warning: an outage of the path: no host answered from 2.00 s to 12.50 s, for 10.50 s",
    "warning: 198.18.0.7 answered nothing from 1 min 1 s on",
  ]);
});

test("bursts of loss are told with their length and share of the time", () => {
  expect(linesOf({ bursts: { share: 0.03, meanMs: 1600 } })).toEqual([
    "losses come in bursts of about 1.60 s, 3 % of the time: silent ports were asked again as much later",
  ]);
});

test("nothing is said of what was not found", () => {
  expect(linesOf({})).toEqual([]);
});
