/** What a store adds to the page of a report: ports by time and changes, bounded, said where something is left out, never obeyed. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createGathering } from "../../../src/report/html/digest.ts";
import { renderPage } from "../../../src/report/html/page.ts";
import { openStore, type Store } from "../../../src/runtime/store/database.ts";
import { readStoreAt } from "../../../src/runtime/store/read-at.ts";
import { createRecorder, type Seen } from "../../../src/runtime/store/record.ts";
import { hostileNames } from "../samples.ts";

const START = Date.parse("2026-11-01T00:00:00Z");
const DAY = 86_400_000;

let folder = "";
let store: Store;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-page-history-"));
  store = openStore(join(folder, "h.db"), true);
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

const OPEN = { ip: "192.0.2.1", proto: "tcp", port: 22, state: "open", reason: "syn-ack" } as const;
const CLOSED = { ...OPEN, state: "closed", reason: "reset" } as const;

function put(day: number, ...ports: Seen[]): void {
  const recorder = createRecorder(store);
  for (const port of ports) recorder.add(port);
  const startedMs = START + day * DAY;
  recorder.commit({ startedMs, endedMs: startedMs, source: `day ${day}`, ending: "complete" });
}

function page(day: number): string {
  const gathering = createGathering();
  const run = readStoreAt(store.path, START + day * DAY, "h.db", gathering.next());
  return renderPage(gathering.digest([run]), { title: "t", version: "0", madeMs: 0, script: "", style: "" });
}
const sectionOf = (html: string, name: string): string =>
  new RegExp(`<section id="${name}"[\\s\\S]*?</section>`).exec(html)?.[0] ?? "";
const bars = (html: string): string[] => html.match(/<rect [^>]*><title>[^<]*<\/title>/g) ?? [];
const widths = (html: string): number[] => bars(html).map((bar) => Number(/ width="(\d+)"/.exec(bar)?.[1]));

describe("a page of a store", () => {
  it("shows when each port was in which state, and what has changed, the newest first", () => {
    put(0, OPEN, { ...CLOSED, port: 80, service: "http" });
    put(4, OPEN, { ...CLOSED, port: 80 });
    put(6, CLOSED, { ...OPEN, port: 80, host: "gate.example" });
    put(10, CLOSED, { ...OPEN, port: 80 });
    const html = page(20);
    const timeline = sectionOf(html, "timeline");
    expect(bars(timeline).map((bar) => /<title>(.*)<\/title>/.exec(bar)?.[1])).toEqual([
      "open (syn-ack) from 2026-11-01 00:00:00 to 2026-11-05 00:00:00",
      "closed (reset) from 2026-11-07 00:00:00 to 2026-11-11 00:00:00",
      "closed (reset) from 2026-11-01 00:00:00 to 2026-11-05 00:00:00",
      "open (syn-ack) from 2026-11-07 00:00:00 to 2026-11-11 00:00:00",
    ]);
    // The picture ends when the last was seen: ten days, of which each bar is four.
    expect(widths(timeline)).toEqual([400, 400, 400, 400]);
    expect(timeline).toContain("<td>closed since 2026-11-07 00:00:00</td>");
    const rows = sectionOf(html, "changes").split("<tr>").slice(2);
    expect(
      rows.map((row) =>
        row
          .replace(/<[^>]*>/g, " ")
          .replace(/ +/g, " ")
          .trim(),
      ),
    ).toEqual([
      "2026-11-07 00:00:00 192.0.2.1:80 gate.example http closed reset until 2026-11-05 00:00:00 open syn-ack",
      "2026-11-07 00:00:00 192.0.2.1:22 gate.example open syn-ack until 2026-11-05 00:00:00 closed reset",
    ]);
  });

  it("is as of its time: what came later is not there, and what went on is cut", () => {
    put(0, OPEN);
    put(10, OPEN);
    put(11, CLOSED);
    const html = page(5);
    expect(bars(html)).toHaveLength(1);
    expect(widths(html)).toEqual([1000]);
    expect(sectionOf(html, "changes")).toContain("No port is known to have changed");
  });

  it("says so when there is nothing to draw: an empty store, no open port, one time", () => {
    expect(sectionOf(page(0), "timeline")).toContain("No port has changed, and none is open.");
    put(0, CLOSED);
    expect(sectionOf(page(0), "timeline")).toContain("No port has changed, and none is open.");
    put(1, { ...OPEN, port: 23 });
    expect(sectionOf(page(2), "timeline")).toContain(
      "All of it was seen at one time, 2026-11-02 00:00:00 UTC.",
    );
  });

  it("obeys no name, service or reason", () => {
    const hostile = ['"><script>1</script>', "<img src=x onerror=alert(1)>", ...hostileNames];
    const words = (i: number) => ({
      host: hostile[i],
      service: hostile[i],
      reason: hostile[i].replaceAll(" ", ""),
    });
    const ports = hostile.map((_, i) => ({ ...OPEN, ip: `192.0.2.${1 + i}`, ...words(i) }));
    put(0, ...ports);
    put(1, ...ports.map((port) => ({ ...port, state: "closed" as const })));
    const html = page(2);
    for (const name of ["timeline", "changes"]) {
      const section = sectionOf(html, name);
      expect(section).toContain("192.0.2.1:22");
      expect(section).not.toMatch(/<(script|img)/);
      expect(section.replaceAll("\n", "")).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
    }
  });

  it("has each port's own intervals, where a name is another host's address", () => {
    put(0, OPEN, { ...OPEN, ip: "192.0.2.9", host: OPEN.ip });
    put(1, CLOSED, { ...OPEN, ip: "192.0.2.9", host: OPEN.ip });
    expect(bars(page(2))).toHaveLength(3);
  });

  it("stays small, and counts what it leaves out", () => {
    const host = (i: number): string => `198.18.${i >> 8}.${i & 255}`;
    const all = Array.from({ length: 1500 }, (_, i) => ({ ...OPEN, ip: host(i) }));
    put(0, ...all);
    put(1, ...all.map((port) => ({ ...port, ...CLOSED, ip: port.ip })));
    for (let day = 2; day < 150; day++) put(day, { ...(day % 2 === 0 ? OPEN : CLOSED), ip: host(0) });
    const html = page(200);
    const timeline = sectionOf(html, "timeline");
    expect(timeline.match(/<svg/g)).toHaveLength(48);
    // The one that flaps has its newest hundred; the others two each.
    expect(bars(timeline)).toHaveLength(100 + 47 * 2);
    // What was seen once is seen here, too.
    expect(Math.min(...widths(timeline))).toBe(6);
    expect(timeline).toContain("Not in this picture: 1,452 more ports that changed");
    const changes = sectionOf(html, "changes");
    expect(changes.match(/<tr>/g)).toHaveLength(1 + 1000);
    expect(changes).toContain("And 648 older changes");
    expect(html.length).toBeLessThan(800_000);
  });
});
