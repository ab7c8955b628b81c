/**
 * NDJSON: one JSON object a line, written as each verdict falls. Keys are in this order; those marked ? are only there when known.
 * ndjson.schema.json, which the package exports, says the same as JSON Schema.
 *
 * A verdict: type "result", and the columns of scan/probe/result-columns.ts, in their order; of a run from several places also
 *   from [{place, state, reason, rtt_ms, ttl, tries, doubt?}].
 * A target that could not be probed:
 *   type "fault", target, code, message
 * Progress, with --stats-every and as often as that:
 *   type "progress", elapsed_ms, total, decided, open, closed, filtered, sent, retransmitted, received, receive_drops,
 *   in_flight, rate? (SYNs a second that the path holds), loss? (0 to 1), and how each worker finds its rate:
 *   workers? [{phase "startup|draining|probing|suspecting", rate, base_rtt_ms?, rtt_ms?, queue_ms, answered_share?}],
 *   rate_changes? [{worker, from, to, reason, queue_ms?, answered_share?, usual_share?, ts}] (since the last such line)
 * The last line:
 *   type "summary", schema (SCHEMA), shown? [state] (with --show: no others are in the file), hosts (planned, of all shards: probed
 *   unless interrupted), open, closed, filtered, reasons {state: {reason: count}}, unfinished, excluded?, sent, retransmitted,
 *   controls? (control SYNs among them), received, late,
 *   ignored {malformed, bad_checksum, wrong_ack, odd_flags, foreign, fragment, icmp_no_verdict, duplicate},
 *   receive_drops, send_errors {errno name: count}, path? {rate, loss {round, out?, back?}, missed_open {expected, low, high},
 *   verified? {asked, open, closed}},
 *   rst_limited? [{ip, per_second}], outages? [{ip?, from, to?}], bursts? {share, mean_ms},
 *   silence? [{code, text}] (why nobody answered, most likely first), where? [{ip, port, kind, from?, to?, by?, doubt?, text}] (under
 *   --why: where SYNs to filtered ports stop), ways? [{ip, hops [address or null]}], faults (a count), interrupted, elapsed_ms,
 *   started_at, ts (the end)
 *
 * Times are ISO 8601 in UTC with milliseconds. Durations are milliseconds and rates SYNs per second, both with at most three
 * decimals; probabilities have three significant digits. A file without a summary line was cut off. Text is exact: whatever a
 * terminal might obey is written in JSON's own `\u` escapes.
 */
import {
  type PathFindings,
  PORT_STATES,
  type PortResult,
  type PortState,
  type RateDecision,
  type RateMetrics,
  type ScanProgress,
  type TargetFault,
} from "../../scan/probe/result.ts";
import { COLUMNS } from "../../scan/probe/result-columns.ts";
import { printableJson } from "../escape.ts";
import type { Fill, Reporter, RunSummary, Sink } from "../reporter.ts";
import { createPackedLines, LONGEST_LINE, type PackedLines } from "./ndjson-bytes.ts";

/** The version of the format, raised whenever a program that reads it might have to change. */
export const SCHEMA = 2;

/** A value as one line of printable text. */
export const jsonLine = (value: object): string => `${printableJson(value)}\n`;

const isoTime = (ms: number): string => new Date(ms).toISOString();
const toThousandths = (ms: number): number => Math.round(ms * 1000) / 1000;
const roundChance = (chance: number): number => Number(chance.toPrecision(3));
const optionalChance = (chance: number | undefined): number | undefined =>
  chance === undefined ? undefined : roundChance(chance);

/** Text that needs no escapes in JSON. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function jsonText(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : printableJson(text);
}

const { rttMs: rtt, doubt: chanceOf, timeMs: time, from: places } = COLUMNS;

/** Same as `jsonLine` of the columns in COLUMN_LIST, but two and a half times as fast: a large run's time is spent here. */
export function resultLine(result: PortResult): string {
  const { ip, port, state, reason, ttl, tries, answered, doubt, answersAll, host } = result;
  const { responder, service, late, was, established, method, doubtful, window, options } = result;
  let line = `{"type":"result","ip":"${ip}","port":${port},"proto":"tcp","state":"${state}","reason":"${reason}"`;
  line += `,"rtt_ms":${rtt.line(result)},"ttl":${ttl},"tries":${tries}`;
  if (answered !== undefined) line += `,"answered":${answered}`;
  if (doubt !== undefined) line += `,"doubt":${chanceOf.line(result)}`;
  if (answersAll !== undefined) line += `,"answers_all":true`;
  if (host !== undefined) line += `,"host":${jsonText(host)}`;
  if (responder !== undefined) line += `,"responder":"${responder}"`;
  if (service !== undefined) line += `,"service":${jsonText(service)}`;
  if (late !== undefined) line += `,"late":true`;
  if (was !== undefined) line += `,"was":"${was}"`;
  if (established !== undefined) {
    const { ms, ending, banner } = established;
    line += `,"established_ms":${toThousandths(ms)},"ending":"${ending}"`;
    if (banner !== undefined) line += `,"banner":${jsonText(banner)}`;
  }
  line += `,"ts":"${time.line(result)}"`;
  if (method !== undefined) line += `,"method":"${method}"`;
  if (doubtful !== undefined) line += `,"doubtful":"${doubtful}"`;
  if (window !== undefined) line += `,"window":${window}`;
  if (options !== undefined) line += `,"options":"${options}"`;
  if (result.from !== undefined) line += `,"from":${printableJson(places.line(result))}`;
  if (result.aliases !== undefined) line += `,"aliases":${printableJson(result.aliases)}`;
  return `${line}}\n`;
}

function faultObject(fault: TargetFault): object {
  return { type: "fault", target: fault.target, code: fault.code, message: fault.message };
}

function progressObject(progress: ScanProgress): object {
  return {
    type: "progress",
    elapsed_ms: toThousandths(progress.elapsedMs),
    total: progress.total,
    decided: progress.decided,
    open: progress.open,
    closed: progress.closed,
    filtered: progress.filtered,
    sent: progress.sent,
    retransmitted: progress.retransmitted,
    received: progress.received,
    receive_drops: progress.receiveDrops,
    in_flight: progress.inFlight,
    rate: progress.rate === undefined ? undefined : toThousandths(progress.rate),
    loss: optionalChance(progress.loss),
    workers: progress.rates?.map(rateRecord),
    rate_changes: progress.decisions?.map(decisionRecord),
  };
}

const optionalMs = (us: number | undefined): number | undefined =>
  us === undefined ? undefined : toThousandths(us / 1000);

function rateRecord({ phase, rate, baseRttUs, rttUs, queueUs, answeredShare }: RateMetrics): object {
  return {
    phase,
    rate: toThousandths(rate),
    base_rtt_ms: optionalMs(baseRttUs),
    rtt_ms: optionalMs(rttUs),
    queue_ms: optionalMs(queueUs),
    answered_share: optionalChance(answeredShare),
  };
}

function decisionRecord(decision: RateDecision): object {
  return {
    worker: decision.worker,
    from: toThousandths(decision.fromRate),
    to: toThousandths(decision.toRate),
    reason: decision.reason,
    queue_ms: optionalMs(decision.queueUs),
    answered_share: optionalChance(decision.answeredShare),
    usual_share: optionalChance(decision.usualShare),
    ts: isoTime(decision.timeMs),
  };
}

type Missed = PathFindings["missed"];
const missedObject = ({ expected, low, high }: Missed): Missed => ({
  expected: roundChance(expected),
  low: roundChance(low),
  high: roundChance(high),
});

function pathObject({ rate, loss, missedOpen, missed, unseen, verified }: PathFindings): object {
  return {
    rate: toThousandths(rate),
    loss: { round: roundChance(loss.round), out: optionalChance(loss.out), back: optionalChance(loss.back) },
    missed_open: missedObject(missedOpen),
    missed: missedObject(missed),
    unseen,
    verified,
  };
}

function summaryObject(summary: RunSummary, shown: readonly PortState[] | undefined): object {
  const { ignored } = summary;
  return {
    type: "summary",
    schema: SCHEMA,
    shown: shown !== undefined && shown.length < PORT_STATES.length ? shown : undefined,
    hosts: summary.hosts,
    open: summary.open,
    closed: summary.closed,
    filtered: summary.filtered,
    reasons: summary.reasons,
    unfinished: summary.unfinished,
    excluded: summary.excluded,
    sent: summary.sent,
    retransmitted: summary.retransmitted,
    controls: summary.controls,
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
    path: summary.path === undefined ? undefined : pathObject(summary.path),
    rst_limited: summary.rstLimited?.map(({ ip, perSecond }) => ({
      ip,
      per_second: toThousandths(perSecond),
    })),
    outages: summary.outages?.map(({ ip, fromMs, toMs }) => ({
      ip,
      from: isoTime(fromMs),
      to: toMs === undefined ? undefined : isoTime(toMs),
    })),
    bursts:
      summary.bursts === undefined
        ? undefined
        : { share: roundChance(summary.bursts.share), mean_ms: toThousandths(summary.bursts.meanMs) },
    silence: summary.silence?.map(({ code, text }) => ({ code, text })),
    where: summary.where?.map(({ ip, port, kind, from, to, by, doubt, text }) => ({
      ip,
      port,
      kind,
      from,
      to,
      by,
      doubt: optionalChance(doubt),
      text,
    })),
    ways: summary.ways?.map(({ ip, hops }) => ({ ip, hops })),
    faults: summary.faults.length,
    interrupted: summary.interrupted,
    elapsed_ms: toThousandths(summary.elapsedMs),
    started_at: isoTime(summary.startedMs),
    ts: isoTime(summary.startedMs + summary.elapsedMs),
  };
}

/**
 * A reporter that writes the lines described above, each in one call of `sink`.
 * @param shown the states of the results that it is given; all when undefined
 * @param fill takes lines as bytes
 */
export function createNdjsonReporter(sink: Sink, shown?: readonly PortState[], fill?: Fill): Reporter {
  let lines: PackedLines | undefined;
  return {
    wants: () => PORT_STATES,
    start({ serviceOf }) {
      if (fill !== undefined && serviceOf !== undefined) lines = createPackedLines(serviceOf);
    },
    takes: (packed) => lines?.takes(packed) === true,
    packed(packed, timeUs) {
      fill?.(LONGEST_LINE, (bytes, at) => lines?.put(bytes, at, packed, timeUs) ?? at);
    },
    result(result) {
      sink(resultLine(result));
    },
    fault(fault) {
      sink(jsonLine(faultObject(fault)));
    },
    progress(progress) {
      sink(jsonLine(progressObject(progress)));
    },
    finish(summary) {
      sink(jsonLine(summaryObject(summary, shown)));
    },
  };
}
