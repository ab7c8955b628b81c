/** Files of results read back: what our reporters write, what nmap wrote, and what is wrong with a file. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createGrepableReporter } from "../../../src/report/formats/grepable.ts";
import { createMasscanListReporter } from "../../../src/report/formats/masscan-list.ts";
import { createRunReader } from "../../../src/report/read/read.ts";
import { portsOf } from "../../../src/report/read/recorded.ts";
import type { PortResult } from "../../../src/scan/probe/result.ts";
import { gather, ndjson, nmapXml, readText } from "../runs.ts";
import {
  closed,
  corrected,
  fault,
  full,
  hostileNames,
  interrupted,
  open,
  prohibited,
  silent,
  summary,
  written,
} from "../samples.ts";

const results: readonly PortResult[] = [closed, prohibited, silent, open, corrected];
const NMAP = readFileSync(new URL("../../golden/nmap-7.93.xml", import.meta.url), "utf8");

function read(text: string, piece?: number) {
  const { sink, ports, told } = gather();
  const run = readText("file", text, sink, piece);
  return { run, ports, told };
}

function complaint(text: string): string {
  try {
    read(text);
    return "none";
  } catch (error) {
    expect(error).toMatchObject({ code: "ERR_RESULTS" });
    return (error as Error).message;
  }
}

test.each([
  ["NDJSON", '{"type":"result","ip":"2001:DB8:0:0::1","port":22,"state":"open","reason":"syn-ack"}\n'],
  ["a list", "#masscan\nopen tcp 22 2001:DB8:0:0::1 1795277947\n# end\n"],
  [
    "XML",
    '<nmaprun><host><address addr="2001:DB8:0:0::1" addrtype="ipv6"/><ports><port protocol="tcp" portid="22"><state state="open"/></port></ports></host></nmaprun>',
  ],
])("an address is read in its canonical text, whoever wrote it: %s", (_, text) => {
  expect(read(text).ports.map(({ ip }) => ip)).toEqual(["2001:db8::1"]);
});

test.each([
  ["NDJSON", ndjson],
  ["XML", nmapXml],
])("all names of an address are read, the first as its host: %s", (_, write) => {
  const { ports } = read(write([full], summary));
  expect(ports.map(({ host, aliases }) => [host, aliases])).toEqual([[full.host, full.aliases]]);
});

test("of XML's names those that a user gave come before that of the address", () => {
  const names = ["ptr.example PTR", "www.example user", "mail.example user"].map((each) => {
    const [name, type] = each.split(" ");
    return `<hostname name="${name}" type="${type}"/>`;
  });
  const of = (some: readonly string[]) =>
    read(
      `<nmaprun><host><address addr="192.0.2.1"/><hostnames>${some.join("")}</hostnames><ports><port protocol="tcp" portid="22"><state state="open"/></port></ports></host></nmaprun>`,
    ).ports.map(({ host, aliases }) => [host, aliases]);
  expect(of(names)).toEqual([["www.example", ["mail.example"]]]);
  expect(of(names.slice(0, 1))).toEqual([["ptr.example", undefined]]);
});

describe("NDJSON", () => {
  test("reads back what was written, in pieces of any length", () => {
    const text = ndjson(results, { ...summary, faults: [fault] });
    for (const piece of [1, 7, 100, 1 << 20]) {
      const { run, ports, told } = read(text, piece);
      expect(ports.map(({ ip, port, state, reason, was }) => [ip, port, state, reason, was])).toEqual(
        results.map(({ ip, port, state, reason, was }) => [ip, port, state, reason, was]),
      );
      expect(ports[1]).toMatchObject({ responder: "192.0.2.254", ttl: 61, rttMs: 1203.512, service: "http" });
      expect(told).toEqual([`fault ${fault.target}: ${fault.message}`]);
      expect(run).toMatchObject({ format: "ndjson", ending: "complete", startedMs: summary.startedMs });
      expect(run.summary).toMatchObject({ sent: 1234, retransmitted: 2, late: 1 });
    }
  });

  test("reads back why an open port may be none", () => {
    const { ports } = read(ndjson([{ ...open, doubtful: "zero-window" }], summary));
    expect(ports[0].doubtful).toBe("zero-window");
  });

  test("takes new fields and passes over types it does not know", () => {
    const { run, ports, told } = read(
      [
        '{"ip":"192.0.2.1","port":80,"state":"filtered","reason":"no-response","doubt":0.02,"answers_all":true,"novel":[1]}',
        '{"type":"weather","sun":true}',
        '{"type":"progress","elapsed_ms":1000,"sent":5,"received":3,"rate":100.5,"loss":0.1,"decided":2}',
        '{"type":"summary","interrupted":false,"reasons":{"open":{"syn-ack":2}},"path":{"rate":9,"loss":{"round":0.1,"out":0.04,"back":0.06},"missed_open":{"expected":0.5,"low":0,"high":2}}}',
        "",
      ].join("\n"),
    );
    expect(ports).toEqual([
      {
        ...{ ip: "192.0.2.1", port: 80, proto: "tcp", state: "filtered", reason: "no-response" },
        ...{ doubt: 0.02, answersAll: true },
      },
    ]);
    expect(told).toEqual([
      'progress {"elapsedMs":1000,"sent":5,"received":3,"decided":2,"rate":100.5,"loss":0.1}',
    ]);
    expect(run.summary).toMatchObject({
      reasons: { open: { "syn-ack": 2 } },
      path: {
        rate: 9,
        loss: { round: 0.1, out: 0.04, back: 0.06 },
        missedOpen: { expected: 0.5, low: 0, high: 2 },
      },
    });
  });

  test("hostile names come back as they are", () => {
    const found = hostileNames.map((host, i) => ({ ...open, port: i + 1, host, service: host }));
    const { ports } = read(ndjson(found), 1);
    // A lone half of a character has no UTF-8, but JSON's escapes.
    expect(ports.map(({ host }) => host)).toEqual(hostileNames);
  });

  test("wherever a file is cut off, what is whole counts, and nothing is made up", () => {
    const bytes = Buffer.from(ndjson([closed, { ...open, host: "é日本" }]));
    const lines = bytes
      .toString()
      .split("\n")
      .map((line) => Buffer.byteLength(line) + 1);
    for (let length = 1; length < bytes.length; length++) {
      const { sink, ports } = gather();
      const reader = createRunReader("file", sink);
      reader.push(bytes.subarray(0, length));
      const run = reader.end();
      const whole =
        length >= bytes.length - 1
          ? 3
          : length >= lines[0] + lines[1] - 1
            ? 2
            : length >= lines[0] - 1
              ? 1
              : 0;
      expect(ports.length, `${length}`).toBe(Math.min(whole, 2));
      expect(run.ending).toBe(whole === 3 ? "complete" : "cut-off");
      const clean = [lines[0] - 1, lines[0], lines[0] + lines[1] - 1, lines[0] + lines[1], bytes.length - 1];
      expect(run.brokenLine === undefined, `${length}`).toBe(clean.includes(length));
    }
  });

  const result = '{"ip":"192.0.2.1","port":1,"state":"open"}\n';
  test.each([
    ["", "file is empty: no results were written to it"],
    ["\n \n", "file is empty: no results were written to it"],
    ["hello\n", "file is neither NDJSON (-oJ) nor nmap's XML (-oX), and no list of -oG or -oL"],
    ["TARGET  STATE\n", "file has the table for people (-oN): give -oX, -oG or -oJ of that run"],
    [
      "# Nmap 7.93 scan initiated\nNmap scan report for a\n",
      "file:2: nmap's table for people (-oN): give -oX or -oG of that run",
    ],
    ["ip,port,proto,state\n", "file is CSV (-oC): give -oX, -oG or -oJ of that run"],
    ["[\n{", "file is one array of JSON, as of masscan's -oJ: give its -oX, -oL or -oG"],
    [
      "[2001:db8::1]:22\n",
      "file has targets (-oT), which -iL reads: give -oX, -oG or -oJ of that run for its results",
    ],
    [
      "192.0.2.1:22\n",
      "file has targets (-oT), which -iL reads: give -oX, -oG or -oJ of that run for its results",
    ],
    [
      '{"ip":"192.0.2.1","timestamp":"1796035208","port":80,"proto":"tcp","rec_type":"status"}\n',
      "file:1: masscan's -oD is not read: give its -oX, -oL or -oG",
    ],
    ["\u001f\u008b", "file is neither NDJSON (-oJ) nor nmap's XML (-oX), and no list of -oG or -oL"],
    [`${result}{"ip":"192.0.2.1"\n${result}`, "file:2: no JSON object; -oJ writes one a line"],
    [`${result}[]\n`, "file:2: no JSON object; -oJ writes one a line"],
    [`${result}\n{"ip":"x","port":1,"state":"open"}\n`, 'file:3: "ip" is "x", not an address'],
    [
      '{"ip":"192.0.2.1","port":70000,"state":"open"}\n',
      'file:1: "port" is 70000, not a number from 0 to 65535',
    ],
    ['{"ip":"192.0.2.1","port":1.5,"state":"open"}\n', 'file:1: "port" is 1.5, not a whole number'],
    [
      '{"ip":"192.0.2.1","port":1,"state":"ajar"}\n',
      'file:1: "state" is "ajar", not open, closed, filtered, unfiltered, open|filtered, closed|filtered',
    ],
    ['{"type":"progress","elapsed_ms":1}\n', 'file:1: "sent" is missing, not a number from 0'],
    [
      `{"type":"summary"}\n${result}`,
      "file:2: comes after the summary: these are two files in one, give them apart",
    ],
    ["<html></html>", "file:1: XML, but not nmap's: it starts with <html>"],
    [
      '<nmaprun>\n<host><address addr="192.0.2.1"/><ports><port protocol="tcp" portid="99999">',
      'file:2: portid is "99999", not a port',
    ],
    [
      '<?xml version="1.0"?>\n<nmaprun>\n</nmaprun>\n<?xml version="1.0"?>\n<nmaprun></nmaprun>',
      "file:4: comes after </nmaprun>: these are two files in one, give them apart",
    ],
    [
      "<nmaprun>\n</nmaprun>\n<nmaprun></nmaprun>",
      "file:3: comes after </nmaprun>: these are two files in one, give them apart",
    ],
    ["<nmaprun>\n</host>", "file:2: no well-formed XML: unexpected close tag."],
    ["<nmaprun>\n<a>&nbsp;</a>", "file:2: no well-formed XML: undefined entity."],
  ])("%j is told: %s", (text, expected) => {
    expect(complaint(text)).toBe(expected);
  });

  test("a compressed file, and bytes that are no text, are told", () => {
    const push = (...pieces: number[][]) => {
      const reader = createRunReader("file", gather().sink);
      for (const piece of pieces) reader.push(Uint8Array.from(piece));
    };
    expect(() => push([0x1f, 0x8b, 8])).toThrow("file is compressed: unpack it first, such as with gunzip");
    expect(() => push([0xff, 0xfe, 0])).toThrow("file is neither NDJSON");
    expect(() => push([...Buffer.from(result)], [0xff])).toThrow("file:2: no UTF-8 from here on");
  });
});

describe("naabu's JSON lines", () => {
  const line = (more: object): string =>
    JSON.stringify({
      host: "web.example",
      ip: "198.18.0.7",
      timestamp: "2026-11-21T17:00:26.123456789Z",
      port: 80,
      protocol: "tcp",
      tls: false,
      ...more,
    });

  test("are open ports, in pieces of any length; a host without any has port 0", () => {
    const older = line({ host: undefined, port: { Port: 53, Protocol: 1, TLS: false }, protocol: undefined });
    const lines = ["", line({}), line({ port: 443, name: "https" }), older, line({ port: 0, protocol: "" })];
    for (const piece of [1, 50, 1 << 20]) {
      const { run, ports } = read(`${lines.join("\n")}\n`, piece);
      expect(
        ports.map(({ ip, port, proto, state, host, service }) => [ip, port, proto, state, host, service]),
      ).toEqual([
        ["198.18.0.7", 80, "tcp", "open", "web.example", undefined],
        ["198.18.0.7", 443, "tcp", "open", "web.example", "https"],
        ["198.18.0.7", 53, "udp", "open", undefined, undefined],
      ]);
      expect(run).toMatchObject({
        format: "naabu",
        ending: "unknown",
        startedMs: Date.parse("2026-11-21T17:00:26.123Z"),
      });
    }
  });

  test.each([
    [{ ip: "web.example" }, /^file:2: "ip" is "web\.example", not an address$/],
    [{ port: 70_000 }, /^file:2: "port" is 70000, not a number from 0 to 65535$/],
    [{ port: { Port: "80" } }, /^file:2: "port" is "80", not a number/],
    [{ port: { Port: 80, Protocol: 7 } }, /^file:2: "protocol" is 7, not a number from 0 to 1$/],
    [{ protocol: "quic" }, /^file:2: "protocol" is "quic", not tcp, udp, sctp, ip$/],
    [{ timestamp: "yesterday" }, /^file:2: "timestamp" is "yesterday", not a time$/],
    [{ state: "open" }, /^file:2: is no result of naabu's, as those before it are$/],
  ])("that are wrong are told with their line: %j", (more, expected) => {
    expect(complaint(`${line({})}\n${line(more)}\n`)).toMatch(expected);
  });

  test("a last line that breaks off is left out", () => {
    const { run, ports } = read(`${line({})}\n${line({ port: 81 }).slice(0, 30)}`);
    expect([ports.length, run.brokenLine]).toEqual([1, 2]);
  });
});

describe("nmap's XML", () => {
  test("ours reads back, without what the format has no place for", () => {
    const { run, ports, told } = read(nmapXml(results, { ...summary, faults: [fault] }));
    expect(
      ports.map(({ ip, port, state, reason, ttl, host }) => [ip, port, state, reason, ttl, host]),
    ).toEqual([
      ["192.0.2.10", 22, "open", "syn-ack", 64, "scanme.example"],
      ["192.0.2.10", 8081, "open", "syn-ack", 52, "scanme.example"],
      ["192.0.2.20", 80, "filtered", "host-unreach", 61, undefined],
      ["2001:db8::10", 443, "closed", "reset", 255, undefined],
    ]);
    expect(ports[2].responder).toBe("192.0.2.254");
    expect(told).toContain(`fault ${fault.target}: skipped`);
    expect(run).toMatchObject({ format: "nmap-xml", ending: "complete" });
    expect(run.command).toContain("synprobe -p 22,80,443");
  });

  test("an interrupted run's says so", () => {
    const { run } = read(nmapXml([open], interrupted));
    expect(run).toMatchObject({ ending: "interrupted", summary: { unfinished: 2 } });
  });

  test("nmap's own: every port that it scanned, those of extraports too", () => {
    const { run, ports, told } = read(NMAP, 1000);
    expect(run).toMatchObject({ ending: "complete", format: "nmap-xml" });
    expect(run.command).toMatch(/^nmap -sS /);
    expect(told[0]).toBe("scanned tcp 1-100");
    const hosts = told.filter((line) => line.startsWith("host "));
    expect(hosts).toHaveLength(8);
    // Each of the hosts' ports once.
    const pairs = new Set(ports.map(({ ip, port }) => `${ip} ${port}`));
    expect(pairs.size).toBe(ports.length);
    expect(ports.length).toBe(8 * 100);
    const open22 = ports.filter(({ state, port }) => state === "open" && port === 22);
    expect(open22.map(({ ip, service }) => `${ip} ${service}`)).toContain("198.18.0.1 ssh");
  });

  test("extraports without a list are all that was scanned and is not listed; two such groups are vague", () => {
    const document = (extra: string) =>
      `<nmaprun><scaninfo type="syn" protocol="tcp" services="1-5"/><host><status state="up"/>` +
      `<address addr="192.0.2.1" addrtype="ipv4"/><address addr="02:00:00:00:00:01" addrtype="mac"/><ports>${extra}` +
      `<port protocol="tcp" portid="2"><state state="open" reason="syn-ack"/></port></ports></host></nmaprun>`;
    const one = read(
      document('<extraports state="closed" count="4"><extrareasons reason="resets" count="4"/></extraports>'),
    );
    expect(one.ports.map(({ port, state }) => `${port} ${state}`).sort()).toEqual([
      ...["1 closed", "2 open", "3 closed", "4 closed", "5 closed"],
    ]);
    expect(one.told).toContain("host 192.0.2.1");
    const two = read(
      document('<extraports state="closed" count="1"/><extraports state="filtered" count="3"/>'),
    );
    expect(two.ports).toHaveLength(1);
    expect(two.told).toContain("host 192.0.2.1 vague");
  });

  test("wherever it is cut off, whole hosts count", () => {
    const text = nmapXml([open, closed]);
    for (let length = text.indexOf("<nmaprun") + 10; length < text.length - 12; length += 3) {
      const { run, ports } = read(text.slice(0, length), 1 << 20);
      expect(run.ending).toBe("cut-off");
      expect(ports.length).toBe(text.slice(0, length).split("</host>").length - 1);
    }
  });

  test("no entity is expanded, and nothing outside the file is read", () => {
    const bomb = `<!DOCTYPE nmaprun [<!ENTITY a "x"><!ENTITY f SYSTEM "file:///etc/passwd">]>\n<nmaprun args="`;
    expect(complaint(`${bomb}&a;">`)).toBe("file:2: no well-formed XML: undefined entity.");
    expect(complaint(`${bomb}&f;">`)).toBe("file:2: no well-formed XML: undefined entity.");
  });
});

test("no bytes whatever make a reader fail other than by saying so", () => {
  const pieces = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc
      .constantFrom(
        '{"ip":"192.0.2.1","port":1,"state":"open"}',
        "\n",
        "<nmaprun>",
        "<host>",
        "</host>",
        '"',
        "&",
      )
      .map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), (chunks) => {
      const reader = createRunReader("file", gather().sink);
      try {
        for (const chunk of chunks) reader.push(chunk);
        reader.end();
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_RESULTS" });
        expect((error as Error).message).not.toContain("\n");
      }
    }),
    { numRuns: 500 },
  );
});

describe("a small file that stands for much", () => {
  const host = (n: number, ports: string): string =>
    `<host><address addr="198.18.0.${n}" addrtype="ipv4"/><ports>${ports}</ports></host>`;
  const run = (hosts: readonly string[]): string =>
    `<nmaprun><scaninfo protocol="tcp" services="0-65535"/>${hosts.join("")}<runstats/></nmaprun>`;

  test("takes the time of its length where it names the same ports again and again", () => {
    expect(portsOf("22, 80-90,85-95,80-90,x,70000,99-98,65530-99999")).toEqual(
      Uint16Array.of(
        22,
        ...Array.from({ length: 16 }, (_, i) => 80 + i),
        65530,
        65531,
        65532,
        65533,
        65534,
        65535,
      ),
    );
    expect(portsOf("0-65535,".repeat(1_000_000))).toHaveLength(65_536);
  });

  test("is gathered up to a bound: hosts beyond it are vague, and what they list counts all the same", () => {
    const extra = '<extraports state="closed" count="65535"/>';
    const listed = '<port protocol="tcp" portid="22"><state state="open" reason="syn-ack"/></port>';
    const text = run(Array.from({ length: 80 }, (_, n) => host(n, listed + extra)));
    let closed = 0;
    let open = 0;
    const vague: string[] = [];
    const { sink } = gather();
    readText("file", text, {
      ...sink,
      port: ({ state }) => (state === "open" ? open++ : closed++),
      host: (ip, _up, isVague) => {
        if (isVague) vague.push(ip);
      },
    });
    expect(open).toBe(80);
    expect(closed).toBe(64 * 65_535);
    expect(vague).toHaveLength(16);
  });

  test("is nested no more deeply than nmap does", () => {
    expect(complaint(`<nmaprun>${"<a>".repeat(1_000_000)}`)).toBe(
      "file:1: nested more deeply than nmap's XML",
    );
  });

  test("is no file of hosts whose addresses are none", () => {
    expect(complaint(run([host(1, "").replace("198.18.0.1", "1&#x9b;2J")]))).toMatch(/a host's address is /);
  });
});

describe("lists", () => {
  const NMAP_GREPABLE =
    "# Nmap 7.93 scan initiated Sat Nov 28 20:03:30 2026 as: nmap -oG - 127.0.0.1\n" +
    "Host: 127.0.0.1 (a.test)\tStatus: Up\n" +
    "Host: 127.0.0.1 (a.test)\tPorts: 80/open/tcp//http///, 81/closed/tcp//hosts2-ns///\tIgnored State: closed (30)\n" +
    "# Nmap done at Sat Nov 28 20:03:30 2026 -- 1 IP address (1 host up) scanned in 0.07 seconds\n";

  test.each([
    ["nmap's grepable", NMAP_GREPABLE, ["127.0.0.1 80 open", "127.0.0.1 81 closed"]],
    [
      "masscan's grepable",
      "# Masscan 1.3.2 scan initiated\nTimestamp: 1700000000\tHost: 192.0.2.1 ()\tPorts: 80/open/tcp//http//\n# Masscan done at x\n",
      ["192.0.2.1 80 open"],
    ],
    [
      "masscan's list",
      "#masscan\nopen tcp 22 192.0.2.1 1795277947\nbanner tcp 22 192.0.2.1 1795277947 ssh x\n# end\n",
      ["192.0.2.1 22 open"],
    ],
    ["what -oG wrote", written(createGrepableReporter, results), undefined],
    [
      "what -oL wrote",
      written(createMasscanListReporter, results),
      ["192.0.2.10 22 open", "192.0.2.10 8081 open"],
    ],
  ])("%s", (_what, text, expected) => {
    for (const piece of [1, 1 << 20]) {
      const { run, ports } = read(text, piece);
      expect(run).toMatchObject({ format: "list", ending: "complete" });
      const found = ports.map(({ ip, port, state }) => `${ip} ${port} ${state}`);
      const last = new Map(results.map(({ ip, port, state }) => [`${ip} ${port}`, `${ip} ${port} ${state}`]));
      expect(found.sort()).toEqual(expected ?? [...last.values()].sort());
    }
  });

  test("that break off, or are something else", () => {
    expect(read("#masscan\nopen tcp 22 192.0.2.1 1795277947\nopen tc").run).toMatchObject({
      ending: "cut-off",
      brokenLine: 3,
    });
    expect(complaint("#masscan\nhello\n")).toBe("file:2: neither a line of -oG nor one of masscan's list");
    expect(complaint("open tcp 22 nowhere 1\n")).toBe('file:1: "nowhere" is not an address');
    expect(complaint("open tcp 70000 192.0.2.1 1\n")).toBe('file:1: "70000/open/tcp" is no port');
  });

  test("says when it was made, by its ports where they have times, or by its head in local time", () => {
    const host = "Host: 192.0.2.1 ()\tPorts: 22/open/tcp//ssh///\n";
    const head = (name: string) =>
      `# ${name} scan initiated Fri Nov 20 23:09:54 2026 as: x -oG - 192.0.2.1\n`;
    for (const name of ["Nmap 7.93", "synprobe 0.2.0"])
      expect(read(head(name) + host).run.startedMs).toBe(new Date(2026, 10, 20, 23, 9, 54).getTime());
    const list = "#masscan\nopen tcp 22 192.0.2.1 1795277947\nopen tcp 80 192.0.2.1 1795277940\n# end\n";
    const { run, ports } = read(list);
    expect([run.startedMs, ports[0].timeMs]).toEqual([1_795_277_940_000, 1_795_277_947_000]);
    const timed = read(`${head("Masscan 1.3.2")}Timestamp: 1795277947\t${host}`);
    expect([timed.run.startedMs, timed.ports[0].timeMs]).toEqual([1_795_277_947_000, 1_795_277_947_000]);
    expect(read(host).run.startedMs).toBeUndefined();
    // Beyond any date.
    const late = read(list.replaceAll(/\d{10}$/gm, "99999999999999999999"));
    expect([late.run.startedMs, late.ports[0].timeMs]).toEqual([undefined, undefined]);
  });
});
