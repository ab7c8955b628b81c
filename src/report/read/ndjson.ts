/**
 * Reads NDJSON as formats/ndjson.ts writes it, line by line. Lines of a type that is not known are passed over, so that newer
 * files can be read; whatever else is not as it should be is an error with its line.
 */
import { isIP } from "node:net";
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

/** Names in a line, at any depth, that are looked at. */
type Name =
  | "type"
  | "ip"
  | "port"
  | "proto"
  | "state"
  | "reason"
  | "host"
  | "service"
  | "rtt_ms"
  | "ttl"
  | "tries"
  | "doubt"
  | "answers_all"
  | "responder"
  | "late"
  | "was"
  | "ending"
  | "banner"
  | "ts"
  | "target"
  | "message"
  | "elapsed_ms"
  | "sent"
  | "received"
  | "decided"
  | "rate"
  | "loss"
  | "round"
  | "out"
  | "back"
  | "missed_open"
  | "expected"
  | "low"
  | "high"
  | "interrupted"
  | "unfinished"
  | "started_at"
  | "hosts"
  | "retransmitted"
  | "receive_drops"
  | "send_errors"
  | "reasons"
  | "path";
type Fields = { readonly [N in Name]?: unknown };

/** @param fault makes the error to throw, from what is wrong */
export function createNdjsonReader(sink: RecordedSink, fault: ReadFault): LineReader {
  let summary: RecordedSummary | undefined;
  let startedMs: number | undefined;

  const isObject = (value: unknown): value is Fields =>
    typeof value === "object" && value !== null && !Array.isArray(value);

  function number(fields: Fields, key: Name, low = 0, high = Number.MAX_VALUE): number {
    const value = fields[key];
    if (typeof value === "number" && value >= low && value <= high) return value;
    throw fault(`"${key}" is ${say(value)}, not a number from ${low}${high < 1e300 ? ` to ${high}` : ""}`);
  }

  function optional(fields: Fields, key: Name, low?: number, high?: number): number | undefined {
    return fields[key] === undefined || fields[key] === null ? undefined : number(fields, key, low, high);
  }

  function text(fields: Fields, key: Name): string {
    const value = fields[key];
    if (typeof value === "string") return value;
    throw fault(`"${key}" is ${say(value)}, not a text`);
  }

  const optionalText = (fields: Fields, key: Name): string | undefined =>
    fields[key] === undefined ? undefined : text(fields, key);

  function part(fields: Fields, key: Name): Fields | undefined {
    const value = fields[key];
    if (value === undefined || isObject(value)) return value;
    throw fault(`"${key}" is ${say(value)}, not an object`);
  }

  function time(fields: Fields, key: Name): number | undefined {
    const value = optionalText(fields, key);
    if (value === undefined) return undefined;
    const ms = Date.parse(value);
    if (Number.isNaN(ms)) throw fault(`"${key}" is ${say(value)}, not a time`);
    return ms;
  }

  function oneOf<T extends string>(words: readonly T[], fields: Fields, key: Name): T {
    const found = words.find((word) => word === fields[key]);
    if (found !== undefined) return found;
    throw fault(`"${key}" is ${say(fields[key])}, not ${words.join(", ")}`);
  }

  function portRecord(fields: Fields): RecordedPort {
    const ip = text(fields, "ip");
    if (isIP(ip) === 0) throw fault(`"ip" is ${say(ip)}, not an address`);
    return {
      ip,
      port: wholePort(fields),
      proto: fields.proto === undefined ? "tcp" : oneOf(PROTOCOLS, fields, "proto"),
      state: oneOf(RECORDED_STATES, fields, "state"),
      reason: optionalText(fields, "reason") ?? "",
      host: optionalText(fields, "host"),
      service: optionalText(fields, "service"),
      rttMs: optional(fields, "rtt_ms"),
      ttl: optional(fields, "ttl", 0, 255),
      tries: optional(fields, "tries"),
      doubt: optional(fields, "doubt", 0, 1),
      answersAll: fields.answers_all === true ? true : undefined,
      responder: optionalText(fields, "responder"),
      late: fields.late === true ? true : undefined,
      was: optionalText(fields, "was"),
      ending: optionalText(fields, "ending"),
      banner: optionalText(fields, "banner"),
      timeMs: time(fields, "ts"),
    };
  }

  function wholePort(fields: Fields): number {
    const port = number(fields, "port", 0, 65_535);
    if (Number.isInteger(port)) return port;
    throw fault(`"port" is ${port}, not a whole number`);
  }

  function progressRecord(fields: Fields): RecordedProgress {
    return defined<RecordedProgress>({
      elapsedMs: number(fields, "elapsed_ms"),
      sent: number(fields, "sent"),
      received: number(fields, "received"),
      decided: optional(fields, "decided"),
      rate: optional(fields, "rate"),
      loss: optional(fields, "loss", 0, 1),
    });
  }

  function pathRecord(fields: Fields): RecordedPath {
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
    // Its keys are errno names and reasons.
    return Object.fromEntries(Object.keys(fields).map((key) => [key, number(fields, key as Name)]));
  }

  function summaryRecord(fields: Fields): RecordedSummary {
    const reasons = part(fields, "reasons");
    const path = part(fields, "path");
    return defined<RecordedSummary>({
      interrupted: fields.interrupted === true,
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
              Object.keys(reasons).map((state) => [state, counts(part(reasons, state as Name)) ?? {}]),
            ),
      path: path === undefined ? undefined : pathRecord(path),
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
      if (fields.type === undefined) {
        const port = portRecord(fields);
        startedMs = Math.min(startedMs ?? Number.MAX_VALUE, port.timeMs ?? Number.MAX_VALUE);
        sink.port(port);
      } else if (fields.type === "progress") sink.progress(progressRecord(fields));
      else if (fields.type === "fault")
        sink.fault({ target: text(fields, "target"), message: text(fields, "message") });
      else if (fields.type === "summary") summary = summaryRecord(fields);
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

/** A value in a message: short, and on one line. */
function say(value: unknown): string {
  const json = JSON.stringify(value) ?? "missing";
  return json.length > 60 ? `${json.slice(0, 59)}…` : json;
}

/** Without the keys whose value is undefined. */
export function defined<T extends object>(value: OrUndefined<T>): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
}
type OrUndefined<T> = { [K in keyof T]: Record<string, never> extends Pick<T, K> ? T[K] | undefined : T[K] };
