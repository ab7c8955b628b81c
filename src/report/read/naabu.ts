/**
 * Reads the JSON lines of naabu (`-json`), which names open ports and nothing else: one a line, with the host, its address and the
 * time; a host without an open port has a line with port 0. Its older versions have an object for the port.
 */
import { createFields, type Fields, isObject, parseJson } from "./fields.ts";
import { type LineReader, PROTOCOLS, type ReadFault, type RecordedSink } from "./recorded.ts";

/** Whether a line is naabu's and not ours: a result of ours has a state. */
export function isNaabu(fields: Fields): boolean {
  return fields.type === undefined && fields.state === undefined && "ip" in fields && "timestamp" in fields;
}

/** Numbers of protocols in older versions. */
const NUMBERED = { 0: "tcp", 1: "udp" } as const;

/** @param fault makes the error to throw */
export function createNaabuReader(sink: RecordedSink, fault: ReadFault): LineReader {
  const { oneOf, number, optionalText, part, time, wholePort, address } = createFields(fault);
  let startedMs = Number.MAX_VALUE;

  function portOf(fields: Fields): Pick<Parameters<RecordedSink["port"]>[0], "port" | "proto"> {
    if (typeof fields.port !== "object") {
      const port = wholePort(fields);
      return { port, proto: port === 0 ? "tcp" : oneOf(PROTOCOLS, fields, "protocol") };
    }
    const { Port: port, Protocol: protocol } = part(fields, "port") ?? {};
    return {
      port: wholePort({ port }),
      proto: NUMBERED[number({ protocol }, "protocol", 0, 1) as keyof typeof NUMBERED],
    };
  }

  return {
    line(line) {
      if (line.trim() === "") return;
      const fields = parseJson(line);
      if (!isObject(fields)) throw fault("no JSON object; naabu -json writes one a line");
      if ("rec_type" in fields) throw fault("masscan's -oD is not read: give its -oX, -oL or -oG");
      if (!isNaabu(fields)) throw fault("is no result of naabu's, as those before it are");
      const ip = address(fields, "ip");
      const timeMs = time(fields, "timestamp");
      startedMs = Math.min(startedMs, timeMs ?? Number.MAX_VALUE);
      const { port, proto } = portOf(fields);
      if (port === 0) return;
      sink.port({
        ip,
        port,
        proto,
        state: "open",
        reason: "",
        host: optionalText(fields, "host"),
        service: optionalText(fields, "name"),
        timeMs,
      });
    },
    isWhole: (line) => parseJson(line) !== undefined,
    end: () => ({
      format: "naabu",
      ending: "unknown",
      ...(startedMs === Number.MAX_VALUE ? {} : { startedMs }),
    }),
  };
}
