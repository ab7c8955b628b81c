/**
 * NDJSON: one JSON object a line, written as each verdict falls; keys in this order, those marked ? only when known.
 *
 * A verdict (no `type`):
 *   ip, port, proto "tcp", state "open|closed|filtered", reason, rtt_ms number|null, ttl number|null, tries,
 *   host? (the name given), responder? (the ICMP sender, when not the target), service?, late? true, was? (the state
 *   that this line corrects), established_ms? ending? ("fin|reset|no-fin|silent") banner? (of a handshake that was
 *   completed), ts (when the verdict fell)
 * A target that could not be probed:
 *   type "fault", target, code, message
 * The last line:
 *   type "summary", hosts, open, closed, filtered, unfinished, sent, retransmitted, received, late,
 *   ignored {malformed, bad_checksum, wrong_ack, odd_flags, foreign, fragment, icmp_no_verdict, duplicate},
 *   receive_drops, send_errors {errno name: count}, faults (a count), interrupted, elapsed_ms, started_at, ts (the end)
 *
 * Times are ISO 8601 in UTC with milliseconds; durations are milliseconds with at most three decimals. A file without
 * a summary line was cut off. Text is exact: what a terminal might obey is written in JSON's own `\u` escapes.
 */
import { PORT_STATES, type PortResult, type ScanSummary, type TargetFault } from "../scan/result.ts";
import type { Reporter, Sink } from "./reporter.ts";

/** What JSON.stringify leaves as it is, but a terminal or a line splitter may take for more than text. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]/gu;

function escapeUnits(char: string): string {
  let escaped = "";
  for (let i = 0; i < char.length; i++) escaped += `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`;
  return escaped;
}

/** A value as one line of printable text. */
export function jsonLine(value: object): string {
  return `${JSON.stringify(value).replace(UNSEEN, escapeUnits)}\n`;
}

const isoTime = (ms: number): string => new Date(ms).toISOString();
const roundMs = (ms: number): number => Math.round(ms * 1000) / 1000;

function resultRecord(result: PortResult): object {
  return {
    ip: result.ip,
    port: result.port,
    proto: "tcp",
    state: result.state,
    reason: result.reason,
    rtt_ms: result.rttMs === null ? null : roundMs(result.rttMs),
    ttl: result.ttl,
    tries: result.tries,
    host: result.host,
    responder: result.responder,
    service: result.service,
    late: result.late,
    was: result.was,
    established_ms: result.established === undefined ? undefined : roundMs(result.established.ms),
    ending: result.established?.ending,
    banner: result.established?.banner,
    ts: isoTime(result.timeMs),
  };
}

function faultRecord(fault: TargetFault): object {
  return { type: "fault", target: fault.target, code: fault.code, message: fault.message };
}

function summaryRecord(summary: ScanSummary): object {
  const { ignored } = summary;
  return {
    type: "summary",
    hosts: summary.hosts,
    open: summary.open,
    closed: summary.closed,
    filtered: summary.filtered,
    unfinished: summary.unfinished,
    sent: summary.sent,
    retransmitted: summary.retransmitted,
    received: summary.received,
    late: summary.late,
    ignored: {
      malformed: ignored.malformed,
      bad_checksum: ignored.badChecksum,
      wrong_ack: ignored.wrongAck,
      odd_flags: ignored.oddFlags,
      foreign: ignored.foreign,
      fragment: ignored.fragment,
      icmp_no_verdict: ignored.icmpNoVerdict,
      duplicate: ignored.duplicate,
    },
    receive_drops: summary.receiveDrops,
    send_errors: summary.sendErrors,
    faults: summary.faults.length,
    interrupted: summary.interrupted,
    elapsed_ms: roundMs(summary.elapsedMs),
    started_at: isoTime(summary.startedMs),
    ts: isoTime(summary.startedMs + summary.elapsedMs),
  };
}

/** A reporter that writes the lines described above, each in one call of `sink`. */
export function createNdjsonReporter(sink: Sink): Reporter {
  return {
    wants: () => PORT_STATES,
    start() {},
    result(result) {
      sink(jsonLine(resultRecord(result)));
    },
    fault(fault) {
      sink(jsonLine(faultRecord(fault)));
    },
    finish(summary) {
      sink(jsonLine(summaryRecord(summary)));
    },
  };
}
