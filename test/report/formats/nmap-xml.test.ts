/** nmap's XML: valid by nmap's own DTD whatever the names, one entry a host in order of address. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createGrepableReporter } from "../../../src/report/formats/grepable.ts";
import type { ListedPorts } from "../../../src/report/formats/nmap.ts";
import { createNmapXmlReporter } from "../../../src/report/formats/nmap-xml.ts";
import type { PortResult } from "../../../src/scan/probe/result.ts";
import { everyday, someOf } from "../../everyday.ts";
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
  prohibited,
  run,
  silent,
  summary,
  tarpit,
  written,
} from "../samples.ts";

const DTD = "/usr/share/nmap/nmap.dtd";
const hasXmllint = spawnSync("xmllint", ["--version"]).error === undefined;
const missing = [hasXmllint ? "" : "xmllint", existsSync(DTD) ? "" : DTD].filter((what) => what !== "");
const results = [closed, prohibited, silent, open, corrected];

/** Throws with xmllint's words unless the document is valid against nmap's DTD. */
function validate(xml: string): void {
  execFileSync("xmllint", ["--noout", "--nonet", "--dtdvalid", DTD, "-"], { input: xml, stdio: "pipe" });
}

/** What an XML reader makes of an XPath's text. */
function xpath(xml: string, expression: string): string {
  const args = ["--nonet", "--xpath", `string(${expression})`, "-"];
  return execFileSync("xmllint", args, { input: xml, encoding: "utf8" }).slice(0, -1);
}

describe("nmap XML", () => {
  test("the order of the results does not matter, and two names of an address are both kept", () => {
    const text = written(createNmapXmlReporter, [open, closed, { ...open, port: 9, host: "alias.example" }]);
    const shuffled = written(createNmapXmlReporter, [
      closed,
      { ...open, port: 9, host: "alias.example" },
      open,
    ]);
    const sorted = (xml: string) => xml.split("\n").sort();
    expect(sorted(shuffled)).toEqual(sorted(text));
    expect(text).toMatch(/<hostname name="alias.example".*\n<hostname name="scanme.example"/);
    expect(text.indexOf('portid="9"')).toBeLessThan(text.indexOf('portid="22"'));
  });

  describe("ports that are not listed", () => {
    const closedPorts = (count: number): PortResult[] =>
      Array.from({ length: count }, (_, i) => ({ ...closed, ip: open.ip, port: 100 + i }));
    const refused = { ...prohibited, ip: open.ip, port: 70 };
    const xml = (found: readonly PortResult[], listed?: ListedPorts) =>
      written((sink) => createNmapXmlReporter(sink, undefined, listed), found);
    const gnmap = (found: readonly PortResult[], listed?: ListedPorts) =>
      written((sink) => createGrepableReporter(sink, undefined, listed), found);

    test("25 ports of a state are listed; 26 are summed up, as nmap does", () => {
      expect(xml([open, ...closedPorts(25)])).not.toContain("<extraports");
      const text = xml([open, ...closedPorts(26), refused]);
      expect(text).toContain(
        '<ports>\n<extraports state="closed" count="26">\n' +
          '<extrareasons reason="reset" count="26" proto="tcp" ports="100-125"/>\n</extraports>\n<port ',
      );
      expect(text.match(/<port /g)).toHaveLength(2);
      expect(gnmap([open, ...closedPorts(26)])).toContain(
        "\tPorts: 22/open/tcp//ssh///\tIgnored State: closed (26)\n",
      );
      if (missing.length === 0) validate(text);
    });

    test("the state of most ports comes first, and is the one that grepable lines name", () => {
      const silentPorts = Array.from({ length: 27 }, (_, i) => ({ ...silent, ip: open.ip, port: 200 + i }));
      const found = [open, ...closedPorts(26), ...silentPorts];
      expect(xml(found).match(/<extraports state="\w+"/g)).toEqual([
        '<extraports state="filtered"',
        '<extraports state="closed"',
      ]);
      expect(gnmap(found)).toContain("\tIgnored State: filtered (27)\n");
    });

    test("open ports always are, and with -v all", () => {
      const manyOpen = closedPorts(40).map(
        (each): PortResult => ({ ...each, state: "open", reason: "syn-ack" }),
      );
      expect(xml(manyOpen).match(/<port /g)).toHaveLength(40);
      expect(xml(closedPorts(40), { verbose: true }).match(/<port /g)).toHaveLength(40);
    });

    test("--open: what is not open is summed up, however few; hosts without are left out, and still counted", () => {
      const listed: ListedPorts = { states: ["open"], verbose: true };
      const text = xml([open, ...closedPorts(2), refused, closed], listed);
      expect(text).toContain('<extraports state="closed" count="2">');
      expect(text).toContain('<extraports state="filtered" count="1">\n<extrareasons reason="host-unreach"');
      expect(text.match(/<host /g)).toHaveLength(1);
      expect(text).toContain('<hosts up="2" down="0" total="2"/>');
      expect(gnmap([open, closed], listed).match(/^Host: /gm)).toHaveLength(2);
    });
  });

  test("hosts are in order of address, numerically, IPv4 first", () => {
    const ips = ["2001:db8::2", "192.0.2.100", "2001:db8::10", "192.0.2.20", "::1"];
    const text = written(
      createNmapXmlReporter,
      ips.map((ip) => ({ ...closed, ip })),
    );
    const found = [...text.matchAll(/addr="([^"]+)"/g)].map(([, ip]) => ip);
    expect(found).toEqual(["192.0.2.20", "192.0.2.100", "::1", "2001:db8::2", "2001:db8::10"]);
  });

  test("of each host of a large run there is one entry, with each result once", () => {
    const pieces: string[] = [];
    const spill = memorySpill();
    const reporter = createNmapXmlReporter(
      (text) => pieces.push(text),
      () => spill,
    );
    reporter.start(largeRun);
    for (const result of manyResults) reporter.result(result);
    expect(spill.size()).toBeGreaterThan(100_000);
    reporter.finish({ ...interrupted, hosts: 100_000 });
    const xml = pieces.join("");
    const ports = [...xml.matchAll(/portid="(\d+)"/g)].map(([, port]) => Number(port));
    expect(ports.sort((a, b) => a - b)).toEqual(manyResults.map(({ port }) => port));
    expect(xml.match(/<host /g)).toHaveLength(834);
    // As many as there were, whatever was planned.
    expect(xml).toContain("-- 834 IP addresses (834 hosts up) scanned in");
    expect(xml).toContain('<hosts up="834" down="0" total="834"/>');
  });

  test("what was held back is written in steps, and the rest of it at the end", () => {
    const pieces: string[] = [];
    const reporter = createNmapXmlReporter((text) => pieces.push(text), memorySpill);
    reporter.start(largeRun);
    for (const result of manyResults) reporter.result(result);
    const steps = reporter.rest?.()[Symbol.iterator]();
    steps?.next();
    const first = pieces.join("").split("<port ").length - 1;
    expect(first).toBeGreaterThan(900);
    expect(first).toBeLessThanOrEqual(1000);
    reporter.finish(summary);
    expect(pieces.join("").split("<port ")).toHaveLength(manyResults.length + 1);
    expect(pieces.join("").match(/<host /g)).toHaveLength(834);
  });

  test("a banner stands where nmap's script of that name puts it", () => {
    const established = { ms: 1, ending: "fin", banner: 'SSH-2.0 <"x">\\r\\n' } as const;
    expect(written(createNmapXmlReporter, [{ ...open, established }])).toContain(
      '<script id="banner" output="SSH-2.0 &lt;&quot;x&quot;&gt;\\r\\n"/></port>',
    );
  });

  test("times read as nmap's: local, without a zone", () => {
    expect(written(createNmapXmlReporter, [open])).toMatch(
      / startstr="\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}"/,
    );
  });

  test("of one host with every port there is one entry", () => {
    const ports = Array.from({ length: 65_535 }, (_, i) => ({ ...open, port: i + 1 }));
    const xml = written(createNmapXmlReporter, ports, summary, { ...run, pairs: ports.length });
    expect(xml.split("<host ")).toHaveLength(2);
  });

  test("an interrupted run says so, and counts the hosts that it came to", () => {
    const xml = written(createNmapXmlReporter, [open], interrupted);
    expect(xml).toContain('exit="error" errormsg="interrupted: 2 ports unfinished"');
    expect(xml).toContain("-- 1 IP address (1 host up) scanned in");
    expect(xml).toContain('<hosts up="1" down="0" total="1"/>');
  });

  test("a host that answers on every port is told from others, its ports are all there", () => {
    const xml = written(createNmapXmlReporter, [tarpit, { ...tarpit, port: 82 }, open]);
    expect(xml.match(/<host [^>]*comment="answers SYN-ACK on every port[^>]*>/g)).toHaveLength(1);
    expect(xml.match(/<port /g)).toHaveLength(3);
  });
});

/** A skipped suite carries the reason in its name. */
const suite =
  missing.length === 0 ? "checked by xmllint" : `checked by xmllint (skipped: no ${missing.join(", no ")})`;

describe.skipIf(missing.length > 0)(suite, () => {
  test.each<[string, readonly PortResult[], typeof summary]>([
    ["of every kind of result", results, summary],
    ["without any result", [], { ...summary, hosts: 0 }],
    ["with a fault", [open], { ...summary, faults: [fault, { ...fault, target: 'a"b<c>\x1b' }] }],
    ["of many results", manyResults, summary],
    ["cut short", [silent], { ...interrupted, elapsedMs: 0 }],
  ])("a document %s is valid against nmap's DTD", (_, found, ending) => {
    validate(written(createNmapXmlReporter, found, ending));
    validate(written(createNmapXmlReporter, found, ending, { ...run, args: [], ports: [] }));
    validate(written(createNmapXmlReporter, found, ending, largeRun));
  });

  test.each(someOf(3, hostileNames))("the name %j leaves the document valid", (name) => {
    const xml = written(createNmapXmlReporter, [{ ...open, host: name, service: name }], summary, {
      ...run,
      args: ["--", name, "-"],
    });
    validate(xml);
    expect(xpath(xml, "count(//host)")).toBe("1");
    expect(xpath(xml, "//port/@portid")).toBe("22");
  });

  test("no text whatever breaks the document", () => {
    const anyText = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
    );
    fc.assert(
      fc.property(fc.array(anyText, { minLength: 20, maxLength: 40 }), (names) => {
        const found = names.map((name, i) => ({ ...open, ip: `192.0.2.${i}`, host: name, service: name }));
        validate(written(createNmapXmlReporter, found, summary, { ...run, args: names }));
      }),
      { numRuns: everyday(8, 25) },
    );
  });

  test("printable text reads back exactly, entities and quotes included", () => {
    const name = `a&amp;b & <c> "d" 'e' ]]> é 日本`;
    const xml = written(createNmapXmlReporter, [{ ...open, host: name, service: name }]);
    expect(xpath(xml, "//hostname/@name")).toBe(name);
    expect(xpath(xml, "//service/@name")).toBe(name);
  });
});
