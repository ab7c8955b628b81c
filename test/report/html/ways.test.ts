/** The picture of ways, from the summary line that `--why` writes to its markup: what it shows, escapes and refuses. */
import { describe, expect, it } from "vitest";
import { waysSection } from "../../../src/report/html/ways.ts";
import { createNdjsonReader } from "../../../src/report/read/ndjson.ts";
import type { RecordedRun } from "../../../src/report/read/recorded.ts";

function read(summary: object): RecordedRun {
  const nothing = (): void => {};
  const sink = { port: nothing, progress: nothing, fault: nothing, scanned: nothing, host: nothing };
  const reader = createNdjsonReader(sink, (what) => new Error(what));
  reader.line(JSON.stringify({ type: "summary", interrupted: false, ...summary }));
  return { name: "run.ndjson", ...reader.end() };
}
const escaped = (text: string): string => text.replace(/[&<>"']/g, "#");
const section = (summary: object): string => waysSection([read(summary)], escaped) ?? "";
/** The cells of a port's row, and their titles. */
const row = (html: string, port: number): string[] => {
  const [, cells = ""] = new RegExp(`<th scope="row">${port}</th>(.*?)</tr>`).exec(html) ?? [];
  return [...cells.matchAll(/<td class="(\w+)"[^>]*>(.?)<\/td>/g)].map(
    ([, kind, letter]) => `${letter}${kind}`,
  );
};

const ip = "198.18.9.9";
const ways = [{ ip, hops: ["203.0.113.1", null, "203.0.113.3", "203.0.113.4"] }];

describe("the picture of ways", () => {
  it("shows as far as each port is seen, what stops it, and who answered", () => {
    const where = [
      {
        ip,
        port: 445,
        kind: "dropped",
        from: 3,
        to: 4,
        doubt: 0.002,
        text: "445 is filtered between <3> and 4.",
      },
      { ip, port: 446, kind: "rejected", from: 3, to: 3, by: "203.0.113.3", text: "446" },
      { ip, port: 80, kind: "box", from: 2, to: 3, text: "80" },
      { ip, port: 443, kind: "host", to: 5, text: "443" },
      { ip, port: 9, kind: "unknown", from: 0, text: "9" },
    ];
    const html = section({ where, ways });
    const passes = "·open";
    expect(row(html, 445)).toEqual([passes, passes, passes, "Ffiltered", "none"]);
    expect(row(html, 446)).toEqual([passes, passes, "Ffiltered", "none", "none"]);
    expect(row(html, 80)).toEqual([passes, passes, "Bclosed", "none", "none"]);
    expect(row(html, 443)).toEqual([passes, passes, passes, passes, "Eclosed"]);
    expect(row(html, 9)).toEqual(["Ffiltered", "none", "none", "none", "none"]);
    expect(html).toContain("Hops: 1 203.0.113.1, 2 *, 3 203.0.113.3, 4 203.0.113.4");
    expect(html).toContain("<li>445 is filtered between #3# and 4.</li>");
  });

  it("is not there without --why, and never large", () => {
    expect(waysSection([read({})], escaped)).toBeUndefined();
    const where = Array.from({ length: 200 }, (_, i) => ({
      ip: `198.18.0.${i}`,
      port: 1,
      kind: "unknown",
      from: 1,
      text: "x",
    }));
    const html = section({ where, ways: [] });
    expect(html.match(/<h3>/g)).toHaveLength(64);
    expect(html).toContain("And 136 more hosts.");
  });

  it.each([
    [{ where: 1 }, '"where" is 1, not a list of objects'],
    [{ where: [{ ip, port: 70_000, kind: "box", text: "" }] }, '"port" is 70000'],
    [{ where: [{ ip, port: 1, kind: "box", text: "", to: 65 }] }, '"to" is 65, not a number from 0 to 64'],
    [{ ways: [{ ip, hops: [3] }] }, '"hops" is [3], not a list of addresses'],
    [{ ways: [{ ip, hops: Array(65).fill(null) }] }, '"hops" is [null'],
  ])("a file with %j is refused", (summary, says) => {
    expect(() => read(summary)).toThrow(says);
  });
});
