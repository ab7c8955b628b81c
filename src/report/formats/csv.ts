/**
 * CSV (`-oC`), RFC 4180: a header, and a row for each verdict as it falls, with NDJSON's names and values (ndjson.ts).
 *
 * What is not known is empty. A corrected verdict comes again, with `was`. Faults and totals have no place in a table of
 * results; NDJSON has them. Text from outside is escaped as in the table (escape.ts), so that a row is a line, and marked as
 * text where a spreadsheet would run it as a formula.
 */
import { stringify } from "csv-stringify/sync";
import { PORT_STATES, type PortResult } from "../../scan/probe/result.ts";
import { escapeText } from "../escape.ts";
import type { Reporter, Sink } from "../reporter.ts";

const COLUMNS = [
  "ip",
  "port",
  "proto",
  "state",
  "reason",
  "rtt_ms",
  "ttl",
  "tries",
  "answered",
  "doubt",
  "answers_all",
  "host",
  "responder",
  "service",
  "late",
  "was",
  "established_ms",
  "ending",
  "banner",
  "ts",
] as const;

type Cell = string | number | null | undefined;

/** RFC 4180 §2: lines end in CRLF. A cell that begins like a formula gets an apostrophe, after OWASP's advice. */
const FORMAT = { record_delimiter: "\r\n", escape_formulas: true } as const;

const line = (cells: readonly Cell[]): string => stringify([cells], FORMAT);

const text = (value: string | undefined): string | undefined =>
  value === undefined ? undefined : escapeText(value, Number.POSITIVE_INFINITY);
const flag = (value: true | undefined): string | undefined => (value ? "true" : undefined);
const roundMs = (ms: number): number => Math.round(ms * 1000) / 1000;

function cells(result: PortResult): Record<(typeof COLUMNS)[number], Cell> {
  const { established } = result;
  return {
    ip: result.ip,
    port: result.port,
    proto: "tcp",
    state: result.state,
    reason: result.reason,
    rtt_ms: result.rttMs === null ? null : roundMs(result.rttMs),
    ttl: result.ttl,
    tries: result.tries,
    answered: result.answered,
    doubt: result.doubt === undefined ? undefined : Number(result.doubt.toPrecision(3)),
    answers_all: flag(result.answersAll),
    host: text(result.host),
    responder: result.responder,
    service: text(result.service),
    late: flag(result.late),
    was: result.was,
    established_ms: established === undefined ? undefined : roundMs(established.ms),
    ending: established?.ending,
    banner: text(established?.banner),
    ts: new Date(result.timeMs).toISOString(),
  };
}

/** A reporter for CSV, each row in one call of `sink`. */
export function createCsvReporter(sink: Sink): Reporter {
  return {
    wants: () => PORT_STATES,
    start() {
      sink(line(COLUMNS));
    },
    result(result) {
      const row = cells(result);
      sink(line(COLUMNS.map((column) => row[column])));
    },
    fault() {},
    finish() {},
  };
}
