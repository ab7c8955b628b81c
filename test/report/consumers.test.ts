/**
 * The formats, read by programs that are not ours: nmap's DTD has report/formats/nmap-xml.test.ts, grep, cut and awk report/formats/grepable.test.ts. Here
 * are ndiff, nmap's stylesheet, an npm package and a Python one that read nmap's XML, and Python's csv.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createCsvReporter } from "../../src/report/formats/csv.ts";
import { createNmapXmlReporter } from "../../src/report/formats/nmap-xml.ts";
import type { PortResult } from "../../src/scan/probe/result.ts";
import { skipping } from "../lab/netns.ts";
import {
  agreeing,
  closed,
  corrected,
  differing,
  full,
  fullSummary,
  hostileNames,
  interrupted,
  largeRun,
  manyResults,
  memorySpill,
  open,
  prohibited,
  run,
  silent,
  tarpit,
  written,
} from "./samples.ts";

/** Debian's, for Debian's packages. */
const PYTHON = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
const STYLESHEET = "/usr/share/nmap/nmap.xsl";
const results = [closed, prohibited, silent, open, tarpit, corrected];

const runs = (name: string, ...args: string[]): string | undefined =>
  spawnSync(name, args).status === 0 ? undefined : `no ${[name, ...args].join(" ")}`;
const noNdiff = runs("ndiff", "--help");
const noXsltproc = existsSync(STYLESHEET) ? runs("xsltproc", "--version") : `no ${STYLESHEET}`;
const noLibnmap = runs(PYTHON, "-c", "import libnmap.parser");
const noPython = runs(PYTHON, "--version");

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-consumers-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function save(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const python = (script: string, input: string): string =>
  execFileSync(PYTHON, ["-c", script], { input, encoding: "utf8", maxBuffer: 1 << 26 });

describe("nmap XML", () => {
  test.skipIf(skipping("ndiff", noNdiff))("ndiff finds what has changed, and nothing else", () => {
    const before = save("before.xml", written(createNmapXmlReporter, results, fullSummary));
    const same = spawnSync("ndiff", [before, before], { encoding: "utf8" });
    expect({ status: same.status, stderr: same.stderr }).toEqual({ status: 0, stderr: "" });
    const changed = [...results.filter((each) => each !== closed), { ...closed, state: "open" } as const];
    const after = save("after.xml", written(createNmapXmlReporter, changed, interrupted));
    const diff = spawnSync("ndiff", [before, after], { encoding: "utf8" });
    expect(diff.status).toBe(1);
    expect(diff.stdout).toMatch(/^-443\/tcp closed https/m);
    expect(diff.stdout).toMatch(/^\+443\/tcp open {3}https/m);
    expect(diff.stdout).not.toMatch(/^[-+](22|80|8081)\/tcp/m);
  });

  test.skipIf(skipping("nmap.xsl", noXsltproc))("nmap's stylesheet renders it", () => {
    const file = save("styled.xml", written(createNmapXmlReporter, [...results, full], fullSummary));
    const { status, stdout, stderr } = spawnSync("xsltproc", ["--nonet", STYLESHEET, file], {
      encoding: "utf8",
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("scanme.example");
    for (const { ip } of results) expect(stdout).toContain(ip);
    expect(stdout.match(/<tr class="open">/g)).toHaveLength(4);
  });

  test("node-nmap makes the same hosts of it", async () => {
    const xml = save(
      "npm.xml",
      written(createNmapXmlReporter, [open, { ...closed, ip: "192.0.2.99" }, prohibited]),
    );
    // It starts what it takes for nmap, and reads what that writes.
    const program = save("nmap", `#!/bin/sh\nexec cat '${xml}'\n`);
    chmodSync(program, 0o755);
    const nmap = createRequire(import.meta.url)("node-nmap") as {
      nmapLocation: string;
      NmapScan: new (range: string) => NodeJS.EventEmitter & { startScan(): void };
    };
    nmap.nmapLocation = program;
    const hosts = await new Promise((resolve, reject) => {
      const scan = new nmap.NmapScan("192.0.2.0/24");
      scan.on("complete", resolve);
      scan.on("error", reject);
      scan.startScan();
    });
    const ssh = { port: 22, protocol: "tcp", service: "ssh", method: "table" };
    expect(hosts).toEqual([
      { ip: "192.0.2.10", hostname: "scanme.example", mac: null, osNmap: null, openPorts: [ssh] },
      { ip: "192.0.2.20", hostname: null, mac: null, osNmap: null, openPorts: [] },
      { ip: "192.0.2.99", hostname: null, mac: null, osNmap: null, openPorts: [] },
    ]);
  });

  test.skipIf(skipping("libnmap", noLibnmap))(
    "libnmap reads every host and port, of an interrupted run too",
    () => {
      const script = `
import json, sys
from libnmap.parser import NmapParser
report = NmapParser.parse_fromstring(sys.stdin.read())
print(json.dumps({
  "hosts": [[h.address, h.status, h.hostnames, [[s.port, s.state, s.reason, s.service] for s in h.services]] for h in report.hosts],
  "up": report.hosts_up, "total": report.hosts_total, "scan": report.scan_type,
}))`;
      const read = JSON.parse(python(script, written(createNmapXmlReporter, results, interrupted)));
      expect(read).toEqual({
        hosts: [
          [
            "192.0.2.10",
            "up",
            ["scanme.example"],
            [
              [22, "open", "syn-ack", "ssh"],
              [8081, "open", "syn-ack", ""],
            ],
          ],
          ["192.0.2.20", "up", [], [[80, "filtered", "host-unreach", "http"]]],
          ["192.0.2.30", "up", [], [[81, "open", "syn-ack", ""]]],
          ["2001:db8::10", "up", [], [[443, "closed", "reset", "https"]]],
        ],
        up: 4,
        total: 4,
        scan: "syn",
      });
    },
  );
});

describe.skipIf(skipping("libnmap", noLibnmap))("nmap XML of a large run", () => {
  test("libnmap keeps every port of every host, and reads times and banners", () => {
    const established = { ms: 1, ending: "fin", banner: "SSH-2.0-x\\r\\n" } as const;
    const found = [...manyResults, { ...open, ip: "198.18.0.0", port: 65_535, established }];
    const script = `
import json, sys, time
from libnmap.parser import NmapParser
report = NmapParser.parse_fromstring(sys.stdin.read())
time.strptime(report._nmaprun["startstr"], "%a %b %d %H:%M:%S %Y")
print(json.dumps({
  "hosts": report.hosts_total,
  "ports": sum(len(h.services) for h in {h.address: h for h in report.hosts}.values()),
  "banners": [s.scripts_results for h in report.hosts for s in h.services if s.scripts_results],
}))`;
    const xml = written((sink) => createNmapXmlReporter(sink, memorySpill), found, fullSummary, largeRun);
    expect(JSON.parse(python(script, xml))).toEqual({
      hosts: 834,
      ports: manyResults.length + 1,
      banners: [[expect.objectContaining({ id: "banner", output: "SSH-2.0-x\\r\\n" })]],
    });
  });
});

describe.skipIf(skipping("Python's csv", noPython))("CSV", () => {
  const rows = (text: string): Record<string, string>[] =>
    JSON.parse(
      python(
        "import csv, io, json, sys; sys.stdin.reconfigure(newline='');" +
          "print(json.dumps(list(csv.DictReader(io.StringIO(sys.stdin.read(), newline=''), strict=True))))",
        text,
      ),
    );

  test("Python's csv reads every row", () => {
    const read = rows(written(createCsvReporter, manyResults));
    expect(read.map(({ ip, port, state }) => [ip, Number(port), state])).toEqual(
      manyResults.map(({ ip, port, state }) => [ip, port, state]),
    );
  });

  test("what each place has found", () => {
    expect(rows(written(createCsvReporter, [differing, agreeing]))).toMatchObject([
      { state: "open", from: "open from fra, filtered from lon" },
      { state: "open", from: "open from fra and lon" },
    ]);
  });

  test("a verdict with everything", () => {
    expect(rows(written(createCsvReporter, [full, silent]))).toEqual([
      {
        ip: "2001:db8::10",
        port: "8081",
        proto: "tcp",
        state: "open",
        reason: "syn-ack",
        rtt_ms: "3120.5",
        ttl: "52",
        tries: "3",
        answered: "2",
        doubt: "0.0123",
        answers_all: "",
        host: "scanme.example",
        responder: "2001:db8::1",
        service: "x",
        late: "true",
        was: "filtered",
        established_ms: "1.235",
        ending: "fin",
        banner: '\'=hi, "you"\\r\\n',
        ts: "2026-11-20T23:09:54.360Z",
        method: "",
        doubtful: "",
        window: "64240",
        options: "mss 1460,sackOK,TS,nop,wscale 7",
        from: "",
        aliases: "www.example mail.example",
      },
      expect.objectContaining({ ip: "192.0.2.10", rtt_ms: "", ttl: "", tries: "3", late: "", was: "" }),
    ]);
  });

  test("no text adds a row, a column or a formula", () => {
    const anyText = fc.string({ unit: "binary", minLength: 1 });
    const names = [
      ...hostileNames,
      "=1+1",
      "+1",
      "-1",
      "@SUM(A1)",
      '"',
      ",",
      "a,b\r\nc",
      ...fc.sample(anyText, 500),
    ];
    const found = names.map((host, i): PortResult => ({ ...open, host, service: host, port: i + 1 }));
    const text = written(createCsvReporter, found, fullSummary, run);
    const read = rows(text);
    expect(read.map(({ port }) => Number(port))).toEqual(found.map(({ port }) => port));
    for (const row of read) {
      expect(Object.keys(row)).toHaveLength(26);
      const { ts, host } = row;
      expect(ts).toBe("2026-11-20T23:09:54.270Z");
      expect(host).not.toMatch(/^[=+\-@\t\r]/);
    }
    // RFC 4180 §2: each line ends in CRLF, and there is no other line end in the file.
    expect(text.match(/\r\n/g)).toHaveLength(found.length + 1);
    expect(text.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/);
  });
});
