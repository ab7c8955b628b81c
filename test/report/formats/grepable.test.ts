/** nmap's grepable format: the lines that scripts expect, and no name that adds one. */
import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createGrepableReporter } from "../../../src/report/formats/grepable.ts";
import { createNmapXmlReporter } from "../../../src/report/formats/nmap-xml.ts";
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
  silent,
  summary,
  written,
} from "../samples.ts";

const web = { ...open, port: 80, service: "http" };
const results = [closed, prohibited, web, silent, open, corrected];

describe("nmap's grepable format", () => {
  test("an interrupted run keeps its results and does not claim to be done", () => {
    const text = written(createGrepableReporter, [open], { ...interrupted, faults: [fault] });
    expect(text).toContain("22/open/tcp//ssh///");
    expect(text).toContain(
      "# nosuch.example could not be probed: ERR_UNKNOWN_HOST nosuch.example: no such host",
    );
    expect(text).toMatch(/# synprobe interrupted at .*; 2 ports unfinished\n$/);
    expect(text).not.toContain("done at");
  });

  test.each([
    ["grep '22/open' | cut -d' ' -f2", "192.0.2.10\n"],
    ["awk '/Up$/{print $2}'", "192.0.2.10\n192.0.2.20\n2001:db8::10\n"],
    [
      'awk \'/Ports:/{for(i=4;i<=NF;i++){split($i,a,"/");if(a[2]=="open")print $2":"a[1]}}\' FS=\'[ \\t]\'',
      undefined,
    ],
    [
      "grep Ports: | sed 's/.*Ports: //' | tr ',' '\\n' | awk -F/ '$2==\"open\"{print $1+0, $5}'",
      "22 ssh\n80 http\n8081 \n",
    ],
  ])("the recipe %s reads it", (recipe, expected) => {
    const input = written(createGrepableReporter, results);
    const output = execFileSync("sh", ["-c", recipe], { input, encoding: "utf8" });
    expect(output).toBe(expected ?? "192.0.2.10:22\n192.0.2.10:80\n192.0.2.10:8081\n");
  });

  test("no hostile name adds a line, a field or a port", () => {
    const anyText = fc.string({ unit: "binary" });
    fc.assert(
      fc.property(anyText, anyText, (host, service) => {
        const text = written(createGrepableReporter, [{ ...open, host, service }]);
        const lines = text.split("\n").filter((line) => !line.startsWith("#"));
        expect(lines).toEqual([
          expect.stringMatching(/^Host: 192\.0\.2\.10 \(\S*\)\tStatus: Up$/),
          expect.stringMatching(/^Host: 192\.0\.2\.10 \(\S*\)\tPorts: 22\/open\/tcp\/\/[^\s/,]*\/\/\/$/),
          "",
        ]);
      }),
      { examples: hostileNames.map((name) => [name, name]) },
    );
  });

  test("hosts are up as with nmap -Pn: those that have been probed, and no others", () => {
    const text = written(createGrepableReporter, [silent, prohibited], { ...interrupted, hosts: 256 });
    expect(text.match(/Status: Up/g)).toHaveLength(2);
    expect(text).toContain("-- 2 IP addresses (2 hosts up) scanned in");
    const xml = written(createNmapXmlReporter, [silent, prohibited], { ...interrupted, hosts: 256 });
    expect(xml).toContain("-- 2 IP addresses (2 hosts up) scanned in");
  });

  test("each host of a large run has one line of ports, with each result once", () => {
    const text = written((sink) => createGrepableReporter(sink, memorySpill), manyResults, summary, largeRun);
    const ports = [...text.matchAll(/(\d+)\/(?:open|closed)\/tcp/g)].map(([, port]) => Number(port));
    expect(ports.sort((a, b) => a - b)).toEqual(manyResults.map(({ port }) => port));
    expect(text.match(/\tPorts: /g)).toHaveLength(834);
    expect(text).toMatch(/-- 834 IP addresses \(834 hosts up\) scanned in 0\.12 seconds\n$/);
  });

  test("a hostile command line stays one comment", () => {
    const info = {
      args: ["a\nHost: 192.0.2.9 ()", "it's"],
      version: "0.1.0",
      startedMs: 0,
      pairs: 1,
      ports: [],
    };
    const [first, second] = written(createGrepableReporter, [], undefined, info).split("\n");
    expect(first).toBe(
      "# synprobe 0.1.0 scan initiated Thu Jan  1 00:00:00 1970 as: synprobe 'a\\x0aHost: 192.0.2.9 ()' 'it'\\''s'",
    );
    expect(second).toMatch(/^# synprobe done/);
  });
});
