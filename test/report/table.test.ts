import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Sink } from "../../src/report/reporter.ts";
import { createTableReporter, targetLabel } from "../../src/report/table.ts";
import {
  closed,
  corrected,
  fault,
  hostileNames,
  interrupted,
  open,
  progress,
  prohibited,
  run,
  silent,
  summary,
  tarpit,
  written,
} from "./samples.ts";

const plain = { color: false, verbose: false };
const results = [open, closed, prohibited, silent, corrected];
const table =
  (options = plain) =>
  (sink: Sink) =>
    createTableReporter(sink, options);
const wideRun = { ...run, targetWidth: 32 };

describe("the table", () => {
  test("colours the states, and says the same with colours as without", () => {
    const colored = written(table({ color: true, verbose: false }), results, summary, wideRun);
    expect(colored).toContain("\x1b[32mopen    \x1b[39m");
    expect(colored).toContain("\x1b[31mclosed  \x1b[39m");
    expect(colored).toContain("\x1b[33mfiltered\x1b[39m");
    expect(stripVTControlCharacters(colored)).toBe(written(table(), results, summary, wideRun));
    expect(written(table(), results)).not.toContain("\x1b");
  });

  const labels = (text: string): string[] => [...text.matchAll(/^(\S+:\d+) /gm)].map(([, label]) => label);
  const found = [
    { ...closed, ip: "192.0.2.100", port: 22 },
    { ...closed, ip: "192.0.2.20", port: 443 },
    { ...closed, ip: "2001:db8::2", port: 1 },
    { ...closed, ip: "192.0.2.20", port: 80 },
  ];

  test("a run of less than a second is sorted as nmap sorts: by address, then by port", () => {
    expect(labels(written(table(), found))).toEqual([
      "192.0.2.20:80",
      "192.0.2.20:443",
      "192.0.2.100:22",
      "[2001:db8::2]:1",
    ]);
  });

  test("streams: the first second sorted, then each line with its result", () => {
    const pieces: string[] = [];
    const reporter = createTableReporter((text) => pieces.push(text), plain);
    reporter.start(run);
    for (const result of found.slice(0, 2)) reporter.result(result);
    expect(pieces).toHaveLength(1);
    reporter.progress?.(progress);
    expect(labels(pieces.join(""))).toEqual(["192.0.2.20:443", "192.0.2.100:22"]);
    for (const result of found.slice(2)) {
      reporter.result(result);
      expect(labels(pieces.at(-1) ?? "")).toHaveLength(1);
    }
    for (const piece of pieces) expect(piece).toMatch(/^[^\n]+\n$/);
  });

  test("a large run holds nothing back", () => {
    const pieces: string[] = [];
    const reporter = createTableReporter((text) => pieces.push(text), plain);
    reporter.start({ ...run, pairs: 5000 });
    reporter.result(open);
    expect(pieces).toHaveLength(2);
  });

  test("a target wider than its column widens it for the lines after", () => {
    const text = written(table(), [open, { ...prohibited, ip: "192.0.2.20" }], summary, {
      ...run,
      targetWidth: 12,
    });
    const [, first = "", second = ""] = text.split("\n");
    expect(second.indexOf("filtered")).toBe(first.indexOf("open"));
    expect(first).toMatch(/^scanme\.example:22 \(192\.0\.2\.10\) {2}open/);
  });

  test("a host that answers on every port is one sentence, however many ports it has", () => {
    const ports = Array.from({ length: 1234 }, (_, i) => ({ ...tarpit, port: i + 1 }));
    const text = written(table(), [open, ...ports, { ...tarpit, ip: "192.0.2.31", host: "a\x1b" }]);
    expect(labels(text)).toEqual(["scanme.example:22"]);
    expect(text).toContain(
      "\n192.0.2.30: answers SYN-ACK on every port (tarpit or middlebox), 1,234 ports not listed\n" +
        "a\\x1b (192.0.2.31): answers SYN-ACK on every port (tarpit or middlebox), 1 port not listed\n",
    );
  });

  test("of many such hosts only the first are named", () => {
    const hosts = Array.from({ length: 40 }, (_, i) => ({ ...tarpit, ip: `198.18.0.${i}` }));
    const text = written(table(), hosts);
    expect(text.match(/answers SYN-ACK/g)).toHaveLength(32);
    expect(text).toContain("\n8 more hosts answer SYN-ACK on every port, 8 ports not listed\n");
  });

  test("hosts of a shard, and of a run that was cut short, are those planned", () => {
    expect(written(table(), [], summary)).toContain("4 ports on 3 hosts: ");
    expect(written(table(), [], interrupted)).toContain("4 ports (3 hosts planned): ");
    expect(written(table(), [], summary, { ...run, isShard: true })).toContain("4 ports (3 hosts planned): ");
  });

  test.each([
    [{ ip: "192.0.2.10", port: 22 }, "192.0.2.10:22"],
    [{ ip: "2001:db8::10", port: 22 }, "[2001:db8::10]:22"],
    [{ host: "a.example", ip: "192.0.2.10", port: 22 }, "a.example:22 (192.0.2.10)"],
    [{ host: "a.example", ip: "2001:db8::10", port: 22 }, "a.example:22 (2001:db8::10)"],
  ])("spells a target as %j", (target, label) => {
    expect(targetLabel(target)).toBe(label);
  });

  test.each([
    [0, "  0.000 ms"],
    [0.0426, "  0.043 ms"],
    [999.9994, "999.999 ms"],
    [999.9996, "1000.00 ms"],
    [7999.994, "7999.99 ms"],
  ])("a round trip of %d ms takes ten columns", (rttMs, shown) => {
    expect(written(table(), [{ ...open, rttMs }])).toContain(`  ${shown}   64`);
  });

  test("no hostile name breaks a line, adds a column or reaches the terminal", () => {
    const anyText = fc.string({ unit: "binary" });
    fc.assert(
      fc.property(anyText, anyText, (host, service) => {
        const text = written(table(), [{ ...open, host, service }]);
        expect(text).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/u);
        const [, line = "", blank] = text.split("\n");
        expect(blank).toBe("");
        expect(line).toMatch(/^\S+ \(192\.0\.2\.10\) {2,}open {2,}\S* +0\.213 ms {3}64 {6}1 {2}syn-ack$/);
      }),
      { examples: hostileNames.map((name) => [name, name]) },
    );
  });
});

describe("the totals", () => {
  const ending = (options: { verbose: boolean; width?: number }, changes: Partial<typeof summary>) =>
    written(table({ color: false, ...options }), [], { ...summary, ...changes })
      .split("\n")
      .slice(2, -1);

  test("quiet: one line, and nothing about what was ignored or late", () => {
    expect(ending({ verbose: false }, {})).toEqual([expect.stringMatching(/^4 ports on 3 hosts: /)]);
  });

  test("verbose: the ignored counts that are not zero, and the late answers", () => {
    expect(ending({ verbose: true }, {}).slice(0, -1)).toEqual([
      "1 answer counted that came after the timeout",
      "1 packet ignored: wrong IP, TCP or ICMP checksum",
      "12 packets ignored: answers no probe of this run",
    ]);
  });

  test("verbose: every cause has its own words", () => {
    const ignored = {
      malformed: 1,
      badChecksum: 1,
      wrongAck: 1,
      oddFlags: 1,
      foreign: 1,
      fragment: 1,
      icmpNoVerdict: 1,
      duplicate: 1,
    };
    const lines = ending({ verbose: true }, { late: 0, ignored });
    expect(new Set(lines.slice(0, -1)).size).toBe(8);
    expect(lines.join()).not.toContain("undefined");
  });

  test("drops, refused sends and an interruption are told without verbose", () => {
    const changes = {
      receiveDrops: 40_000,
      sendErrors: { EPERM: 3, ENOBUFS: 1, EINVAL: 0 },
      interrupted: true,
      unfinished: 1,
    };
    expect(ending({ verbose: false }, changes).slice(0, -1)).toEqual([
      "warning: 40,000 packets dropped by the kernel, receive buffer full: answers may be missing, a lower rate helps",
      "warning: 4 sends refused by the kernel: EPERM 3, ENOBUFS 1",
      "warning: interrupted, 1 port unfinished",
    ]);
  });

  test("counts the targets that could not be probed, and leaves the faults to the command line", () => {
    const text = written(table(), [], { ...interrupted, faults: [fault] });
    expect(text).toMatch(/; 1 target could not be probed\n$/);
    expect(text).not.toContain(fault.target);
  });

  test.each([
    [120.4567, "in 0.12 s"],
    [59_994, "in 59.99 s"],
    [59_996, "in 1 min 0 s"],
    [754_000, "in 12 min 34 s"],
    [90_061_000, "in 25 h 1 min 1 s"],
  ])("a run of %d ms", (elapsedMs, shown) => {
    expect(ending({ verbose: false }, { elapsedMs })[0]).toMatch(new RegExp(`${shown}$`));
  });

  test("one of a kind is singular, and nothing retransmitted goes unsaid", () => {
    const one = { hosts: 1, open: 1, closed: 0, filtered: 0, sent: 1, retransmitted: 0, received: 1 };
    expect(ending({ verbose: false }, one)).toEqual([
      "1 port on 1 host: 1 open, 0 closed, 0 filtered; 1 SYN sent, 1 packet received in 0.12 s",
    ]);
  });

  test("sentences break between words at the terminal's width", () => {
    const lines = ending({ verbose: false, width: 60 }, {});
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(60);
    expect(lines.join("").replaceAll("  ", " ")).toBe(ending({ verbose: false }, {})[0]);
  });

  test.each([
    [{ ms: 0.5, ending: "fin" }, "syn-ack, established in 0.500 ms"],
    [
      { ms: 0.5, ending: "fin", banner: "SSH-2.0-x\\r\\n" },
      'syn-ack, established in 0.500 ms "SSH-2.0-x\\r\\n"',
    ],
    [{ ms: 0.5, ending: "reset" }, "syn-ack, established in 0.500 ms, reset by the peer"],
    [{ ms: 0.5, ending: "no-fin" }, "syn-ack, established in 0.500 ms, not closed by the peer"],
    [{ ms: 0.5, ending: "silent" }, "syn-ack, established in 0.500 ms, then nothing (SYN proxy or tarpit?)"],
  ] as const)("says what came of a completed handshake: %j", (established, expected) => {
    const text = written(
      (sink) => createTableReporter(sink, { color: false, verbose: false }),
      [{ ...open, established }],
    );
    expect(text).toContain(`  ${expected}\n`);
  });
});
