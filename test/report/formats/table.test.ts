/** The table: its columns, order and colours, what it holds back, and what it says in a sentence instead. */
import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareKeys, sortKey } from "../../../src/report/addresses.ts";
import type { Spill } from "../../../src/report/formats/host-order.ts";
import { createTableReporter, type TableOptions, targetLabel } from "../../../src/report/formats/table.ts";
import type { Sink } from "../../../src/report/reporter.ts";
import type { PortResult } from "../../../src/scan/probe/result.ts";
import {
  closed,
  corrected,
  fault,
  hostileNames,
  interrupted,
  largeRun,
  manyResults,
  memorySpill,
  open,
  progress,
  prohibited,
  run,
  silent,
  summary,
  tarpit,
  written,
} from "../samples.ts";

const plain = { color: false, verbose: false };
const results = [open, closed, prohibited, silent, corrected];
const table =
  (options: TableOptions = plain) =>
  (sink: Sink) =>
    createTableReporter(sink, options);
const wideRun = { ...run, targetWidth: 32 };

describe("the table", () => {
  test("colours the states, and says the same with colours as without", () => {
    const colored = written(table({ color: true, verbose: false }), results, summary, wideRun);
    expect(colored).toContain("\x1b[32mopen    \x1b[39m");
    expect(colored).toContain("\x1b[2mclosed  \x1b[22m");
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
    expect(pieces).toHaveLength(0);
    reporter.tick?.();
    expect(labels(pieces.join(""))).toEqual(["192.0.2.20:443", "192.0.2.100:22"]);
    for (const result of found.slice(2)) {
      reporter.result(result);
      expect(labels(pieces.at(-1) ?? "")).toHaveLength(1);
    }
    for (const piece of pieces) expect(piece).toMatch(/^[^\n]+\n$/);
  });

  test("more than four thousand lines are not held back, however large the run", () => {
    const pieces: string[] = [];
    const reporter = createTableReporter((text) => pieces.push(text), plain);
    reporter.start({ ...run, pairs: 500_000 });
    for (let port = 4096; port > 0; port--) reporter.result({ ...open, port });
    expect(pieces).toHaveLength(0);
    reporter.result({ ...open, port: 5000 });
    expect(pieces).toHaveLength(1 + 4097);
    expect(labels(pieces.slice(0, 2).join(""))).toEqual(["scanme.example:1"]);
    reporter.result(open);
    expect(labels(pieces.at(-1) ?? "")).toEqual(["scanme.example:22"]);
  });

  describe("in a file", () => {
    const inFile = (createSpill?: () => Spill) =>
      table({ ...plain, order: "sorted", ...(createSpill === undefined ? {} : { createSpill }) });

    test("every line is in order, whatever came when, and a correction stands in place of what it corrects", () => {
      const text = written(inFile(), [silent, ...found, corrected], summary, run, progress);
      expect(labels(text)).toEqual([
        "scanme.example:8081",
        "192.0.2.20:80",
        "192.0.2.20:443",
        "192.0.2.100:22",
        "[2001:db8::2]:1",
      ]);
      expect(text).toContain("syn-ack, late, was filtered");
      // Columns are as wide as the widest line needs.
      const columns = text
        .split("\n\n")[0]
        .split("\n")
        .map((line) => line.search(/STATE|open|closed/));
      expect(new Set(columns).size).toBe(1);
    });

    test("of a large run they wait in a spill, and in steps", () => {
      const spill = memorySpill();
      const pieces: string[] = [];
      const reporter = inFile(() => spill)((text) => pieces.push(text));
      reporter.start(largeRun);
      for (const result of manyResults.toReversed()) reporter.result({ ...result, state: "open" });
      expect(pieces).toEqual([]);
      expect([...(reporter.rest?.() ?? [])].length).toBeGreaterThan(1);
      reporter.finish(summary);
      const addresses = [...pieces.join("").matchAll(/\(?(198\.18\.\d+\.\d+)[):]/g)].map(([, ip]) => ip);
      const inOrder = manyResults.map(({ ip }) => ip).sort((a, b) => compareKeys(sortKey(a), sortKey(b)));
      expect(addresses).toEqual(inOrder);
      expect(spill.size()).toBeGreaterThan(100_000);
    });
  });

  describe("on a terminal", () => {
    const again = table({ ...plain, order: "again" });
    /** A run of which the first result came in the first second. */
    const late = (...results: readonly PortResult[]): string => {
      const pieces: string[] = [];
      const reporter = again((text) => pieces.push(text));
      reporter.start(run);
      reporter.result(results[0]);
      reporter.tick?.();
      for (const result of results.slice(1)) reporter.result(result);
      reporter.finish(summary);
      return pieces.join("");
    };

    test("what was found out of order is printed again in order, each pair once", () => {
      const text = late(...found, silent, corrected);
      const [first = "", second = "", totals = ""] = text.split("\n\n");
      expect(labels(first)).toHaveLength(6);
      expect(labels(second)).toEqual([
        "scanme.example:8081",
        "192.0.2.20:80",
        "192.0.2.20:443",
        "192.0.2.100:22",
        "[2001:db8::2]:1",
      ]);
      expect(second).toMatch(/^TARGET /);
      expect(totals).toMatch(/^4 ports on 3 hosts/);
    });

    test("what was found in order is printed once", () => {
      expect(
        late({ ...closed, ip: "192.0.2.1" }, { ...closed, ip: "192.0.2.2" }).match(/^TARGET /gm),
      ).toHaveLength(1);
    });
  });

  test("says how many hosts answered for themselves, when not all did", () => {
    expect(written(table(), [open, prohibited, silent], { ...summary, hosts: 255 })).toContain(
      "\n4 ports on 255 hosts, 1 answered: 2 open",
    );
    expect(written(table(), [open], { ...summary, hosts: 1 })).toContain("\n4 ports on 1 host: 2 open");
    // The kernel, which connects, tells no TTL.
    const rejecting: PortResult = { ...silent, ip: "192.0.2.98", reason: "port-unreach" };
    const routed: PortResult = { ...rejecting, ip: "192.0.2.97", responder: "192.0.2.254" };
    const connected = [open, { ...closed, ip: "192.0.2.99" }, silent, rejecting, routed].map(
      (each): PortResult => ({
        ...each,
        ttl: null,
        method: "connect",
      }),
    );
    expect(written(table(), connected, { ...summary, hosts: 255 })).toContain("255 hosts, 3 answered: ");
  });

  test("rows of a host that turns out to answer on every port are marked", () => {
    const { answersAll: _, ...early } = tarpit;
    const text = written(table({ ...plain, order: "sorted" }), [early, { ...tarpit, port: 82 }]);
    expect(text).toMatch(/^192\.0\.2\.30:81 .* syn-ack, answers on every port$/m);
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

  test("an open port that may be none says why", () => {
    const text = written(table(), [{ ...open, doubtful: "zero-window" }]);
    expect(text).toMatch(/ syn-ack, doubtful: window 0 and no options$/m);
  });

  test("other names of a target are told, of many the first few", () => {
    const names = ["a", "b", "c", "d", "e", "f"];
    const also = (aliases: readonly string[]): string | undefined =>
      / syn-ack, also (.*)$/m.exec(written(table(), [{ ...open, aliases }]))?.[1];
    expect(also(names.slice(0, 4))).toBe("a, b, c, d");
    expect(also(names)).toBe("a, b, c and 3 more names");
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
    expect(written(table(), [], { ...summary, excluded: 3 })).toMatch(
      /^4 ports \(3 hosts planned\): .*; 3 excluded since the run began$/m,
    );
  });

  test.each([
    [{ ip: "192.0.2.10", port: 22 }, "192.0.2.10:22"],
    [{ ip: "2001:db8::10", port: 22 }, "[2001:db8::10]:22"],
    [{ host: "a.example", ip: "192.0.2.10", port: 22 }, "a.example:22 (192.0.2.10)"],
    [{ host: "a.example", ip: "2001:db8::10", port: 22 }, "a.example:22 (2001:db8::10)"],
    [{ host: "fe80::1%eth0", ip: "fe80::1", port: 22 }, "[fe80::1%eth0]:22 (fe80::1)"],
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

describe("silence", () => {
  const text = (
    options: { verbose: boolean; confidence?: number },
    ...silences: Partial<typeof silent>[]
  ): string =>
    written(
      table({ color: false, ...options }),
      silences.map((change, i) => ({ ...silent, port: 9000 + i, ...change })),
    );

  test("verbose: how many SYNs, and how sure it is", () => {
    const some = { ip: "192.0.2.77", state: "closed", reason: "reset" } as const;
    expect(text({ verbose: true }, { doubt: 0.0000324 }, some)).toMatch(
      / 3 {2}no-response to 3 SYNs, doubt 0\.00003\n/,
    );
    // Where nothing answered a doubt is a claim without ground.
    expect(text({ verbose: true }, { doubt: 0.0000324 })).toMatch(/ 3 {2}no-response to 3 SYNs\n/);
    expect(text({ verbose: true }, { tries: 1 })).toMatch(/ 1 {2}no-response to 1 SYN\n/);
    expect(text({ verbose: false }, { doubt: 0.0000324 })).toMatch(/ 3 {2}no-response\n/);
  });

  test("ports that are less sure than the run was asked to be are counted, verbose or not", () => {
    const doubts = [{ doubt: 0.0002 }, { doubt: 0.0412 }, { doubt: 0.00005 }, {}];
    const warning = (...args: Parameters<typeof text>): string | undefined =>
      /^.*less sure.*$/m.exec(text(...args))?.[0];
    expect(warning({ verbose: false, confidence: 0.9999 }, ...doubts)).toBe(
      "2 silent ports are less sure than --confidence 0.9999: --retries allowed no more SYNs (doubt up to 0.04)",
    );
    expect(warning({ verbose: true, confidence: 0.99 }, ...doubts)).toMatch(/^1 silent port is less sure/);
    expect(warning({ verbose: false, confidence: 0.9 }, ...doubts)).toBeUndefined();
    // Then every port has had all of them.
    expect(warning({ verbose: false, confidence: 1 }, ...doubts)).toBeUndefined();
    expect(warning({ verbose: false }, ...doubts)).toBeUndefined();
  });

  test("a late answer takes its port out of the doubtful ones", () => {
    const late = { ...silent, doubt: 0.5 };
    const ending = written(table({ color: false, verbose: false, confidence: 0.9999 }), [
      late,
      { ...late, ip: "192.0.2.11" },
      { ...corrected, port: late.port },
    ]);
    expect(ending).toContain("\n1 silent port is less sure");
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

  const path = {
    rate: 12_345.6,
    loss: { round: 0.0312, out: 0.01, back: 0.0214 },
    missedOpen: { expected: 0.04, low: 0, high: 0 },
    missed: { expected: 0.4, low: 0, high: 3 },
  };

  test("verbose: what the path was like, and that nothing was missed", () => {
    const reasons = { ...summary.reasons, filtered: { "no-response": 1 } };
    const quiet = { late: 0, ignored: { ...summary.ignored, badChecksum: 0, foreign: 0 }, path, reasons };
    expect(ending({ verbose: true }, quiet).slice(0, -1)).toEqual([
      "3 control SYNs sent",
      "loss of the path 3.1 % of round trips (about 1 % out, 2.1 % back); rate 12,346 SYNs/s at the end; dropped by the receive buffer: none",
      "open ports probably missed: 0 (95 % interval 0 to 0); open or closed ones: 0.4 (0 to 3)",
    ]);
    const lossOf = (round: number, more: Partial<typeof summary> = {}): string | undefined =>
      ending({ verbose: true }, { ...quiet, ...more, path: { ...path, loss: { round } } })[1];
    expect(lossOf(0.5)).toMatch(/^loss of the path 50 % of round trips; /);
    expect(lossOf(0)).toMatch(/^no loss measured on the path; /);
    expect(ending({ verbose: true }, { ...quiet, received: 0, open: 0, closed: 0 }).slice(1, -1)).toEqual([
      "loss and rate of the path unknown: nothing answered; dropped by the receive buffer: none",
    ]);
    expect(lossOf(0, { receiveDrops: 1200 })).toMatch(/dropped by the receive buffer: 1,200$/);
    expect(ending({ verbose: false }, quiet)).toHaveLength(1);
    // Where nothing was silent nothing can have been missed.
    expect(ending({ verbose: true }, { ...quiet, reasons: summary.reasons }).join()).not.toContain("missed");
  });

  test("what was probably missed is told without verbose when it may be anything", () => {
    const missed = (missedOpen: { expected: number; low: number; high: number }): string[] =>
      ending({ verbose: false }, { path: { ...path, missedOpen } }).slice(0, -1);
    expect(missed({ expected: 0.01, low: 0, high: 1 })).toEqual([
      "open ports probably missed: 0 (95 % interval 0 to 1)",
    ]);
    expect(missed({ expected: 2.52, low: 1, high: 6 })).toEqual([
      "open ports probably missed: 2.5 (95 % interval 1 to 6)",
    ]);
    expect(missed({ expected: 1234.4, low: 1100, high: 1400 })).toEqual([
      "open ports probably missed: 1,234 (95 % interval 1,100 to 1,400)",
    ]);
  });

  test("what a short run cannot have seen is told with verbose, and without it when an open port is probably missed", () => {
    const reasons = { ...summary.reasons, filtered: { "no-response": 1 } };
    const told = (verbose: boolean, expected: number): string[] =>
      ending(
        { verbose },
        { reasons, path: { ...path, missedOpen: { expected, low: 0, high: 8 }, unseen: 79 } },
      )
        .slice(0, -1)
        .filter((line) => /miss|burst/.test(line));
    expect(told(false, 0.01)).toEqual([]);
    expect(told(true, 0.01)).toEqual([
      "open ports probably missed: 0 (95 % interval 0 to 8); open or closed ones: 0.4 (0 to 3)",
      "both intervals allow for 79 ports hidden by bursts of loss that a run this short cannot see",
    ]);
    expect(told(false, 1)).toEqual(["open ports probably missed: 1 (95 % interval 0 to 8)"]);
  });

  test("what bursts that are known may hide is a warning, though none is expected", () => {
    const reasons = { ...summary.reasons, filtered: { "no-response": 1000 } };
    const missedOpen = { expected: 0.01, low: 0, high: 23 };
    const verified = { asked: 400, open: 0, closed: 2 };
    const bursts = { share: 0.05, meanMs: 2000 };
    const found = { ...path, missedOpen, verified, unseen: 438 };
    const told = ending({ verbose: true }, { reasons, path: found, bursts });
    expect(told).toContain(
      "open ports probably missed: 0 (95 % interval 0 to 23); open or closed ones: 0.4 (0 to 3)",
    );
    expect(told).toContain(
      "both intervals allow for 438 ports hidden by bursts of loss that outlast all their tries",
    );
    const quiet = ending({ verbose: false }, { reasons, path: found, bursts });
    expect(quiet).toContain("open ports probably missed: 0 (95 % interval 0 to 23)");
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
