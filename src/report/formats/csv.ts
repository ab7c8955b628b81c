/**
 * CSV (`-oC`), RFC 4180: a header, and a row for each verdict as it falls, with NDJSON's names and values (ndjson.ts).
 *
 * Unknown values are empty. A corrected verdict is a further row, with `was`. Faults and totals are left out; NDJSON has them.
 * Text from outside is escaped as in the table (escape.ts), so that a row is one line, and marked as text where a spreadsheet
 * would run it as a formula.
 */
import { stringify } from "csv-stringify/sync";
import { PORT_STATES } from "../../scan/probe/result.ts";
import { COLUMN_LIST, type Value } from "../../scan/probe/result-columns.ts";
import { escapeText, PRINTABLE } from "../escape.ts";
import { byPlace } from "../places.ts";
import type { Reporter, Sink } from "../reporter.ts";

/** RFC 4180 §2: lines end in CRLF. A cell that begins like a formula gets an apostrophe, after OWASP's advice. */
const FORMAT = { record_delimiter: "\r\n", escape_formulas: true } as const;

type Cell = string | number | null | undefined;

/** Text that needs no quotes and is no formula. */
const PLAIN = /^(?:\w[\w .:-]*)?$/;
const isPlain = (cell: Cell): boolean => typeof cell !== "string" || PLAIN.test(cell);

/** Same as csv-stringify's row, which takes five times as long. */
const row = (cells: readonly Cell[]): string =>
  cells.every(isPlain) ? `${cells.join(",")}${FORMAT.record_delimiter}` : stringify([cells], FORMAT);

const isNames = (value: Value): value is readonly string[] =>
  Array.isArray(value) && typeof value[0] === "string";

function cell(value: Value): Cell {
  if (isNames(value)) return value.map((name) => escapeText(name, Number.POSITIVE_INFINITY)).join(" ");
  if (Array.isArray(value)) return byPlace(value);
  if (typeof value === "string")
    return PRINTABLE.test(value) ? value : escapeText(value, Number.POSITIVE_INFINITY);
  return value === true ? "true" : (value as number | null | undefined);
}

/** A reporter for CSV, each row in one call of `sink`. */
export function createCsvReporter(sink: Sink): Reporter {
  return {
    wants: () => PORT_STATES,
    start() {
      sink(row(COLUMN_LIST.map(({ key }) => key)));
    },
    result(result) {
      sink(row(COLUMN_LIST.map(({ line }) => cell(line(result)))));
    },
    fault() {},
    finish() {},
  };
}
