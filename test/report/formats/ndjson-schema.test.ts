/**
 * The schema of NDJSON: it takes every line that can be written, and nothing else. Its definition of a result is made from the
 * column table: `npx vitest run -u` with this file writes it anew.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { createNdjsonReporter, SCHEMA as VERSION } from "../../../src/report/formats/ndjson.ts";
import { SILENCE_CODES } from "../../../src/report/reporter.ts";
import { RATE_CHANGE_REASONS } from "../../../src/scan/probe/result.ts";
import { COLUMN_LIST } from "../../../src/scan/probe/result-columns.ts";
import {
  closed,
  corrected,
  fault,
  full,
  fullSummary,
  interrupted,
  open,
  progress,
  prohibited,
  run,
  silent,
  summary,
  tarpit,
  written,
} from "../samples.ts";
import { schemaErrors } from "../schema.ts";

const SCHEMA = fileURLToPath(new URL("../../../src/report/formats/ndjson.schema.json", import.meta.url));
/** The formatter's. */
const LINE_WIDTH = 110;

/** JSON as the formatter leaves it. @param before what stands on the line before it */
function print(value: unknown, indent = "", before = ""): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const inner = `${indent}  `;
  if (!Array.isArray(value)) {
    const fields = Object.entries(value).map(([key, each]) => {
      const name = `${inner}${JSON.stringify(key)}: `;
      return name + print(each, inner, name);
    });
    return `{\n${fields.join(",\n")}\n${indent}}`;
  }
  const items = value.map((each) => print(each, inner, inner));
  const line = `[${items.join(", ")}]`;
  if (!line.includes("{") && before.length + line.length < LINE_WIDTH) return line;
  return `[\n${items.map((item) => inner + item).join(",\n")}\n${indent}]`;
}

describe("ndjson.schema.json", () => {
  test("defines a result as the column table does", async () => {
    const schema = JSON.parse(readFileSync(SCHEMA, "utf8"));
    const { result } = schema.$defs;
    const columns = COLUMN_LIST.map((column) => [column.key, column.schema] as const);
    result.properties = { type: { const: "result" }, ...Object.fromEntries(columns) };
    result.required = [
      "type",
      ...COLUMN_LIST.filter(({ required }) => required === true).map(({ key }) => key),
    ];
    await expect(`${print(schema)}\n`).toMatchFileSnapshot(SCHEMA);
  });

  test("has the version that the files have", () => {
    const schema = JSON.parse(readFileSync(SCHEMA, "utf8"));
    expect(schema.$id).toBe(`urn:synprobe:ndjson:${VERSION}`);
    expect(schema.$defs.summary.properties.schema.const).toBe(VERSION);
  });

  test("knows every cause of a silence, and no other", () => {
    const silence = SILENCE_CODES.map((code) => ({ code, text: `${code}: "look"` }));
    const ending = { ...summary, silence };
    const line = written(createNdjsonReporter, [], ending);
    expect(JSON.parse(line).silence).toEqual(silence);
    expect(schemaErrors(line)).toEqual([]);
    expect(schemaErrors(line.replace('"all-silent"', '"because"'))).toHaveLength(1);
  });

  test("knows hosts that limit their RSTs, and outages", () => {
    const found = {
      rstLimited: [{ ip: "198.18.0.7", perSecond: 9.2 }],
      outages: [
        { ip: "198.18.0.7", fromMs: 0 },
        { fromMs: 0, toMs: 1000 },
      ],
    };
    const line = written(createNdjsonReporter, [], { ...summary, ...found });
    expect(JSON.parse(line)).toMatchObject({
      rst_limited: [{ ip: "198.18.0.7", per_second: 9.2 }],
      outages: [
        { ip: "198.18.0.7", from: "1970-01-01T00:00:00.000Z" },
        { from: "1970-01-01T00:00:00.000Z", to: "1970-01-01T00:00:01.000Z" },
      ],
    });
    expect(schemaErrors(line)).toEqual([]);
  });

  test("takes every kind of line", () => {
    const results = [open, closed, prohibited, silent, tarpit, corrected, full];
    const doubtful = { ...open, doubtful: "zero-window" as const };
    const unsent = { ...silent, tries: 0, reason: "send-eperm" as const };
    expect(
      schemaErrors(written(createNdjsonReporter, [...results, unsent, doubtful], fullSummary, run, progress)),
    ).toEqual([]);
    const { rate: _rate, loss: _loss, ...early } = progress;
    const none = { expected: 0, low: 0, high: 0 };
    const path = { rate: 1, loss: { round: 0 }, missedOpen: none, missed: none };
    for (const ending of [summary, interrupted, { ...summary, path, faults: [fault] }]) {
      expect(schemaErrors(written(createNdjsonReporter, [], ending, run, early))).toEqual([]);
    }
  });

  test("takes how the rate was found, with every phase and reason", () => {
    const rates = (["startup", "draining", "probing", "suspecting"] as const).map((phase) => ({
      phase,
      rate: 4000.5,
      queueUs: 12_345,
      ...(phase === "startup" ? {} : { baseRttUs: 40_000, rttUs: 52_345, answeredShare: 0.98765 }),
    }));
    const evidence = { queueUs: 12_345, answeredShare: 0.6, usualShare: 0.99 };
    const decisions = RATE_CHANGE_REASONS.map((reason, i) => ({
      ...(i === 0 ? evidence : {}),
      worker: 1 + i,
      timeMs: 1000 * i,
      fromRate: 4000,
      toRate: 2800,
      reason,
    }));
    const text = written(createNdjsonReporter, [], summary, run, { ...progress, rates, decisions });
    expect(schemaErrors(text)).toEqual([]);
    const line = JSON.parse(text.split("\n")[0]);
    expect(line.workers[1]).toEqual({
      phase: "draining",
      rate: 4000.5,
      base_rtt_ms: 40,
      rtt_ms: 52.345,
      queue_ms: 12.345,
      answered_share: 0.988,
    });
    expect(line.rate_changes[0]).toEqual({
      worker: 1,
      from: 4000,
      to: 2800,
      reason: "queue-grew",
      queue_ms: 12.345,
      answered_share: 0.6,
      usual_share: 0.99,
      ts: "1970-01-01T00:00:00.000Z",
    });
  });

  test.each([
    ["a state that is none", { state: "closed|filtered" }],
    ["a reason that is none", { reason: "silence" }],
    ["port 0", { port: 0 }],
    ["a round trip in words", { rtt_ms: "0.2" }],
    ["a key that nobody knows", { color: "red" }],
    ["a flag that is false", { late: false }],
    ["a doubt above 1", { doubt: 1.5 }],
    ["no time", { ts: undefined }],
    ["a local time", { ts: "2026-11-20T23:09:54" }],
  ])("refuses %s", (_, change) => {
    const [line = ""] = written(createNdjsonReporter, [open]).split("\n");
    expect(schemaErrors(`${line}\n`)).toEqual([]);
    expect(schemaErrors(`${JSON.stringify({ ...JSON.parse(line), ...change })}\n`)).toHaveLength(1);
  });
});
