/** Several formats at once: each writes what it would have written alone. */
import { expect, test } from "vitest";
import { createNdjsonReporter } from "../../../src/report/formats/ndjson.ts";
import { showOnly } from "../../../src/report/formats/show.ts";
import { createTableReporter } from "../../../src/report/formats/table.ts";
import { combine } from "../../../src/report/formats/tee.ts";
import type { Reporter } from "../../../src/report/reporter.ts";
import type { PortState } from "../../../src/scan/probe/result.ts";
import { newVerdict } from "../../../src/scan/probe/verdict.ts";
import { closed, fault, open, summary, written } from "../samples.ts";

test("every reporter writes what it would have written alone", () => {
  const options = { color: false, verbose: true };
  const ending = { ...summary, faults: [fault] };
  const [table, ndjson]: string[][] = [[], []];
  const together = written(
    () =>
      combine([
        createTableReporter((text) => table?.push(text), options),
        createNdjsonReporter((text) => ndjson?.push(text)),
      ]),
    [open, closed],
    ending,
  );
  expect(together).toBe("");
  expect(table?.join("")).toBe(written((sink) => createTableReporter(sink, options), [open, closed], ending));
  expect(ndjson?.join("")).toBe(written(createNdjsonReporter, [open, closed], ending));
});

test("a verdict is taken by all or by none", () => {
  const verdicts: string[] = [];
  const reporterOf = (name: string, taken: PortState): Reporter => ({
    ...combine([]),
    takes: ({ state }) => state === taken,
    packed: ({ state }) => verdicts.push(`${name} ${state}`),
  });
  const both = combine([reporterOf("a", "open"), showOnly(reporterOf("b", "open"), ["open"])]);
  expect(both.takes?.({ ...newVerdict(), state: "open" })).toBe(true);
  both.packed?.({ ...newVerdict(), state: "open" }, 0);
  expect(verdicts).toEqual(["a open", "b open"]);
  expect(both.takes?.({ ...newVerdict(), state: "closed" })).toBe(false);
  for (const other of [
    reporterOf("c", "closed"),
    showOnly(reporterOf("c", "open"), ["closed"]),
    createNdjsonReporter(() => {}),
  ])
    expect(combine([reporterOf("a", "open"), other]).takes?.({ ...newVerdict(), state: "open" })).toBe(false);
});

test("none at all is silent", () => {
  expect(written(() => combine([]), [open])).toBe("");
});
