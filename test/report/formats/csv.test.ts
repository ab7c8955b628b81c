/** CSV: a row that is put together by hand is csv-stringify's. What reads it: ../consumers.test.ts. */
import { stringify } from "csv-stringify/sync";
import fc from "fast-check";
import { expect, test } from "vitest";
import { escapeText } from "../../../src/report/escape.ts";
import { createCsvReporter } from "../../../src/report/formats/csv.ts";
import type { PortResult } from "../../../src/scan/probe/result.ts";
import { COLUMN_LIST } from "../../../src/scan/probe/result-columns.ts";
import { open, silent, written } from "../samples.ts";

function rowOfLibrary(result: PortResult): string {
  const cells = COLUMN_LIST.map(({ line }) => {
    const value = line(result);
    return typeof value === "string" ? escapeText(value, Number.POSITIVE_INFINITY) : value;
  });
  return stringify([cells], { record_delimiter: "\r\n", escape_formulas: true });
}

test("a row is the library's, whatever a name holds", () => {
  const units = [..."a0_ .:-=+@,;|'\"\\\t\r\n\ufeff\uff1dé"];
  const name = fc.string({ unit: fc.constantFrom(...units), maxLength: 4 });
  const header = written(createCsvReporter, []);
  fc.assert(
    fc.property(fc.constantFrom(open, silent), name, name, (result, host, service) => {
      const named = { ...result, host, service };
      expect(written(createCsvReporter, [named])).toBe(header + rowOfLibrary(named));
    }),
  );
});
