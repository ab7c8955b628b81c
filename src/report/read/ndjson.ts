/**
 * Reads NDJSON as formats/ndjson.ts writes it, line by line. Lines of unknown type are skipped, so that files of newer versions can
 * be read. Anything else unexpected is an error with its line number.
 */
import { isIP } from "node:net";
import { COLUMN_LIST, type Column } from "../../scan/probe/result-columns.ts";
import {
  type LineReader,
  PROTOCOLS,
  RECORDED_STATES,
  type ReadFault,
  type RecordedPath,
  type RecordedPort,
  type RecordedProgress,
  type RecordedSink,
  type RecordedSummary,
  type RunEnding,
} from "./recorded.ts";

type Fields = {
  readonly [name: string]: unknown;
  readonly type?: unknown;
  readonly ip?: unknown;
  readonly proto?: unknown;
  readonly shown?: unknown;
  readonly silence?: unknown;
  readonly interrupted?: unknown;
};

const READ = COLUMN_LIST.flatMap(({ name, key, read }) => (read === undefined ? [] : { name, key, read }));
/** Spread into each port, so that all are objects of one shape. */
const NOTHING_KNOWN = Object.fromEntries(READ.map(({ name }) => [name, undefined]));

/** @param fault makes the error to throw */
export function createNdjsonReader(sink: RecordedSink, fault: ReadFault): LineReader {
  let summary: RecordedSummary | undefined;
  let startedMs: number | undefined;

  const isObject = (value: unknown): value is Fields =>
    typeof value === "object" && value !== null && !Array.isArray(value);

  function number(fields: Fields, key: string, low = 0, high = Number.MAX_VALUE): number {
    const value = fields[key];
    if (typeof value === "number" && value >= low && value <= high) return value;
    throw fault(`"${key}" is ${say(value)}, not a number from ${low}${high < 1e300 ? ` to ${high}` : ""}`);
  }

  function optional(fields: Fields, key: string, low?: number, high?: number): number | undefined {
    return fields[key] === undefined || fields[key] === null ? undefined : number(fields, key, low, high);
  }

  function text(fields: Fields, key: string): string {
    const value = fields[key];
    if (typeof value === "string") return value;
    throw fault(`"${key}" is ${say(value)}, not a text`);
  }

  const optionalText = (fields: Fields, key: string): string | undefined =>
    fields[key] === undefined ? undefined : text(fields, key);

  function part(fields: Fields, key: string): Fields | undefined {
    const value = fields[key];
    if (value === undefined || isObject(value)) return value;
    throw fault(`"${key}" is ${say(value)}, not an object`);
  }

  function time(fields: Fields, key: string): number | undefined {
    const value = optionalText(fields, key);
    if (value === undefined) return undefined;
    const ms = Date.parse(value);
    if (Number.isNaN(ms)) throw fault(`"${key}" is ${say(value)}, not a time`);
    return ms;
  }

  function oneOf<T extends string>(words: readonly T[], fields: Fields, key: string): T {
    const found = words.find((word) => word === fields[key]);
    if (found !== undefined) return found;
    throw fault(`"${key}" is ${say(fields[key])}, not ${words.join(", ")}`);
  }

  function readPort(fields: Fields): RecordedPort {
    const ip = text(fields, "ip");
    if (isIP(ip) === 0) throw fault(`"ip" is ${say(ip)}, not an address`);
    const port: Record<string, unknown> = {
      ip,
      port: wholePort(fields),
      proto: fields.proto === undefined ? "tcp" : oneOf(PROTOCOLS, fields, "proto"),
      state: oneOf(RECORDED_STATES, fields, "state"),
      reason: optionalText(fields, "reason") ?? "",
      ...NOTHING_KNOWN,
    };
    for (const { name, key, read } of READ) {
      if (fields[key] !== undefined) port[name] = column(fields, key, read);
    }
    return port as RecordedPort;
  }

  function column(fields: Fields, key: string, read: NonNullable<Column["read"]>): unknown {
    if (read === "text") return text(fields, key);
    if (read === "flag") return fields[key] === true ? true : undefined;
    if (read === "time") return time(fields, key);
    return optional(fields, key, read[0], read[1]);
  }

  function wholePort(fields: Fields): number {
    const port = number(fields, "port", 0, 65_535);
    if (Number.isInteger(port)) return port;
    throw fault(`"port" is ${port}, not a whole number`);
  }

  function readProgress(fields: Fields): RecordedProgress {
    return defined<RecordedProgress>({
      elapsedMs: number(fields, "elapsed_ms"),
      sent: number(fields, "sent"),
      received: number(fields, "received"),
      decided: optional(fields, "decided"),
      rate: optional(fields, "rate"),
      loss: optional(fields, "loss", 0, 1),
    });
  }

  function readPath(fields: Fields): RecordedPath {
    const loss = part(fields, "loss");
    const missed = part(fields, "missed_open");
    return defined<RecordedPath>({
      rate: optional(fields, "rate"),
      loss:
        loss === undefined
          ? undefined
          : defined<NonNullable<RecordedPath["loss"]>>({
              round: optional(loss, "round", 0, 1),
              out: optional(loss, "out", 0, 1),
              back: optional(loss, "back", 0, 1),
            }),
      missedOpen:
        missed === undefined
          ? undefined
          : {
              expected: number(missed, "expected"),
              low: number(missed, "low"),
              high: number(missed, "high"),
            },
    });
  }

  function counts(fields: Fields | undefined): Readonly<Record<string, number>> | undefined {
    if (fields === undefined) return undefined;
    // Keys are errno names or reasons.
    return Object.fromEntries(Object.keys(fields).map((key) => [key, number(fields, key)]));
  }

  function readSummary(fields: Fields): RecordedSummary {
    const reasons = part(fields, "reasons");
    const path = part(fields, "path");
    return defined<RecordedSummary>({
      interrupted: fields.interrupted === true,
      shown: Array.isArray(fields.shown) ? fields.shown.map(String) : undefined,
      unfinished: optional(fields, "unfinished") ?? 0,
      startedMs: time(fields, "started_at"),
      elapsedMs: optional(fields, "elapsed_ms"),
      hosts: optional(fields, "hosts"),
      sent: optional(fields, "sent"),
      retransmitted: optional(fields, "retransmitted"),
      received: optional(fields, "received"),
      late: optional(fields, "late"),
      receiveDrops: optional(fields, "receive_drops"),
      sendErrors: counts(part(fields, "send_errors")),
      reasons:
        reasons === undefined
          ? undefined
          : Object.fromEntries(
              Object.keys(reasons).map((state) => [state, counts(part(reasons, state)) ?? {}]),
            ),
      path: path === undefined ? undefined : readPath(path),
      silence: Array.isArray(fields.silence)
        ? fields.silence.flatMap((cause: unknown) => (isObject(cause) ? [text(cause, "text")] : []))
        : undefined,
    });
  }

  return {
    line(line) {
      if (line.trim() === "") return;
      let fields: unknown;
      try {
        fields = JSON.parse(line);
      } catch {
        throw fault("no JSON object; -oJ writes one a line");
      }
      if (!isObject(fields)) throw fault("no JSON object; -oJ writes one a line");
      if (summary !== undefined)
        throw fault("comes after the summary: these are two files in one, give them apart");
      // Before version 2 a result had no type.
      if (fields.type === "result" || fields.type === undefined) {
        if (fields.ip === undefined) throw fault('no result of synprobe: it has no "ip"');
        const port = readPort(fields);
        startedMs = Math.min(startedMs ?? Number.MAX_VALUE, port.timeMs ?? Number.MAX_VALUE);
        sink.port(port);
      } else if (fields.type === "progress") sink.progress(readProgress(fields));
      else if (fields.type === "fault")
        sink.fault({ target: text(fields, "target"), message: text(fields, "message") });
      else if (fields.type === "summary") summary = readSummary(fields);
    },
    isWhole(line) {
      try {
        JSON.parse(line);
        return true;
      } catch {
        return false;
      }
    },
    end() {
      const started = summary?.startedMs ?? (startedMs === Number.MAX_VALUE ? undefined : startedMs);
      return defined<RunEnding>({
        format: "ndjson",
        ending: summary === undefined ? "cut-off" : summary.interrupted ? "interrupted" : "complete",
        startedMs: started,
        summary,
      });
    },
  };
}

/** A value for a message: short, and on one line. */
function say(value: unknown): string {
  const json = JSON.stringify(value) ?? "missing";
  return json.length > 60 ? `${json.slice(0, 59)}…` : json;
}

/** A copy without the keys whose value is undefined. */
export function defined<T extends object>(value: OrUndefined<T>): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
}
type OrUndefined<T> = { [K in keyof T]: Record<string, never> extends Pick<T, K> ? T[K] | undefined : T[K] };
