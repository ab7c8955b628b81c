/** Several formats at once: each writes what it would have written alone. */
import { expect, test } from "vitest";
import { createNdjsonReporter } from "../../../src/report/formats/ndjson.ts";
import { createTableReporter } from "../../../src/report/formats/table.ts";
import { combine } from "../../../src/report/formats/tee.ts";
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

test("none at all is silent", () => {
  expect(written(() => combine([]), [open])).toBe("");
});
