/**
 * Reads NDJSON as formats/ndjson.ts writes it, line by line. Lines of unknown type are skipped, so that files of newer versions can
 * be read. Anything else unexpected is an error with its line number.
 */
import { COLUMN_LIST, type Column } from "../../scan/probe/result-columns.ts";
import { createFields, type Fields, isObject, parseJson, say } from "./fields.ts";
import {
  type LineReader,
  PROTOCOLS,
  RECORDED_STATES,
  type ReadFault,
  type RecordedPath,
  type RecordedPlace,
  type RecordedPlaceState,
  type RecordedPort,
  type RecordedProgress,
  type RecordedSink,
  type RecordedSummary,
  type RecordedWay,
  type RunEnding,
} from "./recorded.ts";

/** Hops of a way; what has more is no way of ours. */
const MOST_HOPS = 64;

const READ = COLUMN_LIST.flatMap(({ name, key, read }) => (read === undefined ? [] : { name, key, read }));
/** Spread into each port, so that all are objects of one shape. */
const NOTHING_KNOWN = { ...Object.fromEntries(READ.map(({ name }) => [name, undefined])), from: undefined };

/** @param fault makes the error to throw */
export function createNdjsonReader(sink: RecordedSink, fault: ReadFault): LineReader {
  let summary: RecordedSummary | undefined;
  let startedMs: number | undefined;

  const { number, optional, text, optionalText, part, list, texts, time, oneOf, wholePort, address } =
    createFields(fault);

  function readPort(fields: Fields): RecordedPort {
    const port: Record<string, unknown> & { from?: unknown } = {
      ip: address(fields, "ip"),
      port: wholePort(fields),
      proto: fields.proto === undefined ? "tcp" : oneOf(PROTOCOLS, fields, "proto"),
      state: oneOf(RECORDED_STATES, fields, "state"),
      reason: optionalText(fields, "reason") ?? "",
      ...NOTHING_KNOWN,
    };
    for (const { name, key, read } of READ) {
      if (fields[key] !== undefined) port[name] = column(fields, key, read);
    }
    if (fields.from !== undefined)
      port.from = list(fields, "from")?.map(
        (each): RecordedPlaceState => ({
          place: text(each, "place"),
          state: oneOf(RECORDED_STATES, each, "state"),
          reason: optionalText(each, "reason"),
        }),
      );
    return port as RecordedPort;
  }

  function column(fields: Fields, key: string, read: NonNullable<Column["read"]>): unknown {
    if (read === "text") return text(fields, key);
    if (read === "texts") return texts(fields, key);
    if (read === "flag") return fields[key] === true ? true : undefined;
    if (read === "time") return time(fields, key);
    return optional(fields, key, read[0], read[1]);
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

  const readMissed = (fields: Fields | undefined): RecordedPath["missed"] =>
    fields === undefined
      ? undefined
      : { expected: number(fields, "expected"), low: number(fields, "low"), high: number(fields, "high") };

  function readPath(fields: Fields): RecordedPath {
    const loss = part(fields, "loss");
    const verified = part(fields, "verified");
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
      missedOpen: readMissed(part(fields, "missed_open")),
      missed: readMissed(part(fields, "missed")),
      unseen: optional(fields, "unseen"),
      verified:
        verified === undefined
          ? undefined
          : {
              asked: number(verified, "asked"),
              open: number(verified, "open"),
              closed: number(verified, "closed"),
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
    const bursts = part(fields, "bursts");
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
      bursts:
        bursts === undefined
          ? undefined
          : { share: number(bursts, "share"), meanMs: number(bursts, "mean_ms") },
      where: list(fields, "where")?.map(readPlace),
      ways: list(fields, "ways")?.map(readWay),
      silence: Array.isArray(fields.silence)
        ? fields.silence.flatMap((cause: unknown) => (isObject(cause) ? [text(cause, "text")] : []))
        : undefined,
    });
  }

  const readPlace = (fields: Fields): RecordedPlace =>
    defined<RecordedPlace>({
      ip: text(fields, "ip"),
      port: wholePort(fields),
      kind: text(fields, "kind"),
      from: optional(fields, "from", 0, MOST_HOPS),
      to: optional(fields, "to", 0, MOST_HOPS),
      text: text(fields, "text"),
    });

  function readWay(fields: Fields): RecordedWay {
    const { hops } = fields;
    const isHop = (hop: unknown): boolean => hop === null || typeof hop === "string";
    if (!Array.isArray(hops) || hops.length > MOST_HOPS || !hops.every(isHop))
      throw fault(`"hops" is ${say(hops)}, not a list of addresses`);
    return { ip: text(fields, "ip"), hops };
  }

  return {
    line(line) {
      if (line.trim() === "") return;
      const fields = parseJson(line);
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
    isWhole: (line) => parseJson(line) !== undefined,
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

/** A copy without the keys whose value is undefined. */
export function defined<T extends object>(value: OrUndefined<T>): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
}
type OrUndefined<T> = { [K in keyof T]: Record<string, never> extends Pick<T, K> ? T[K] | undefined : T[K] };
