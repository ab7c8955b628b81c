/** Files of results for the tests of what reads them: written by our own reporters, read back by the readers. */

import { createNdjsonReporter } from "../../src/report/formats/ndjson.ts";
import { createNmapXmlReporter } from "../../src/report/formats/nmap-xml.ts";
import { type Comparison, createComparison, type Diff } from "../../src/report/read/diff.ts";
import { createRunReader } from "../../src/report/read/read.ts";
import type { RecordedPort, RecordedRun, RecordedSink } from "../../src/report/read/recorded.ts";
import type { PortResult, ScanSummary } from "../../src/scan/probe/result.ts";
import { summary, written } from "./samples.ts";

export const ndjson = (results: readonly PortResult[], ending: ScanSummary = summary): string =>
  written(createNdjsonReporter, results, ending);
export const nmapXml = (results: readonly PortResult[], ending: ScanSummary = summary): string =>
  written(createNmapXmlReporter, results, ending);

/** Reads a file, in pieces of so many bytes. */
export function readText(name: string, text: string, sink: RecordedSink, piece = 7): RecordedRun {
  const bytes = Buffer.from(text);
  const reader = createRunReader(name, sink);
  for (let at = 0; at < bytes.length; at += piece) reader.push(bytes.subarray(at, at + piece));
  return reader.end();
}

/** Everything that a sink is told. */
export function gather(): {
  readonly sink: RecordedSink;
  readonly ports: RecordedPort[];
  readonly told: string[];
} {
  const ports: RecordedPort[] = [];
  const told: string[] = [];
  const sink: RecordedSink = {
    port: (port) => ports.push(port),
    progress: (progress) => told.push(`progress ${JSON.stringify(progress)}`),
    fault: ({ target, message }) => told.push(`fault ${target}: ${message}`),
    scanned: (proto, list) => told.push(`scanned ${proto} ${list}`),
    host: (ip, up, vague) => told.push(`host ${ip}${up ? "" : " down"}${vague ? " vague" : ""}`),
  };
  return { sink, ports, told };
}

export function diffOf(old: string, now: string, onlyOpen = false): Diff {
  const comparison: Comparison = createComparison();
  const before = readText("old", old, comparison.old, 1 << 16);
  const after = readText("new", now, comparison.new, 1 << 16);
  return comparison.compare(before, after, onlyOpen);
}
