/**
 * Reads nmap's grepable output (-oG of nmap, masscan and synprobe) and masscan's list (-oL): formats with a line a host or a port.
 *
 * They have no reasons, and no totals but for a last line that says whether the run ended.
 */
import { isIP } from "node:net";
import { canonicalAddress } from "../addresses.ts";
import {
  type LineReader,
  PROTOCOLS,
  RECORDED_STATES,
  type ReadFault,
  type RecordedSink,
  wholeNumber,
} from "./recorded.ts";

/** How files in these formats begin. */
export const LIST_BEGINS = /^(?:#|Host:|Timestamp:|open |closed |banner )/;

/** `open tcp 22 198.18.0.1 1795277947` */
const LIST_LINE = /^(\w+) (\w+) (\d+) (\S+) (\d+)$/;
/** `Host: 198.18.0.1 (name)`, behind a time in masscan's. */
const HOST_LINE = /^(?:Timestamp: (\d+)\t)?Host: (\S+) \(([^\t]*)\)\t(.*)$/;
/** When a run began, in the local time of its machine, which is taken to be this one's, and by which command. */
const BEGAN_LINE =
  /^# (?:Nmap|synprobe|Masscan) .*? scan initiated (\w{3} \w{3} [ \d]\d [\d:]{8} \d{4})\b(?: as: (.+))?/;

/** @param fault makes the error to throw */
export function createListReader(sink: RecordedSink, fault: ReadFault): LineReader {
  let ending: "complete" | "interrupted" | "cut-off" = "cut-off";
  let begunMs: number | undefined;
  let command: string | undefined;
  let earliestMs: number | undefined;

  function port(
    ip: string,
    number: string,
    stateText: string,
    protocol: string,
    seconds: string | undefined,
    host?: string,
  ): void {
    const state = RECORDED_STATES.find((each) => each === stateText);
    const proto = PROTOCOLS.find((each) => each === protocol);
    if (isIP(ip) === 0) throw fault(`"${ip.slice(0, 60)}" is not an address`);
    if (state === undefined || proto === undefined || !(Number(number) <= 65_535))
      throw fault(`"${number.slice(0, 9)}/${stateText.slice(0, 20)}/${protocol.slice(0, 20)}" is no port`);
    const sinceEpoch = wholeNumber(seconds);
    const timeMs = sinceEpoch === undefined ? undefined : sinceEpoch * 1000;
    if (timeMs !== undefined) earliestMs = Math.min(earliestMs ?? timeMs, timeMs);
    sink.port({
      ip: canonicalAddress(ip),
      port: Number(number),
      proto,
      state,
      reason: "",
      host: host === "" ? undefined : host,
      ...(timeMs === undefined ? {} : { timeMs }),
    });
  }

  return {
    line(line) {
      if (/^# end$|^# (?:Nmap|synprobe|Masscan) done /.test(line)) ending = "complete";
      else if (/^# synprobe interrupted /.test(line)) ending = "interrupted";
      const [, began, as] = BEGAN_LINE.exec(line) ?? [];
      if (began !== undefined) begunMs ??= Date.parse(began) || undefined;
      command ??= as;
      if (line.trim() === "" || line.startsWith("#") || line.startsWith("banner ")) return;
      const [, state, proto, number, address, at] = LIST_LINE.exec(line) ?? [];
      if (address !== undefined) {
        port(address, number, state, proto, at);
        return;
      }
      const [, hostAt, ip, name, fields = ""] = HOST_LINE.exec(line) ?? [];
      if (/^Nmap scan report for /.test(line))
        throw fault("nmap's table for people (-oN): give -oX or -oG of that run");
      if (ip === undefined) throw fault("neither a line of -oG nor one of masscan's list");
      const [, ports] = /(?:^|\t)Ports: ([^\t]*)/.exec(fields) ?? [];
      for (const each of (ports ?? "").split(", ")) {
        if (each.trim() === "") continue;
        const [portText = "", stateText = "", protoText = ""] = each.split("/");
        port(ip, portText.trim(), stateText, protoText, hostAt, name);
      }
    },
    isWhole: (line) => /^# end$| done at .*seconds|\/$/.test(line),
    end: () => {
      const startedMs = earliestMs ?? begunMs;
      return {
        format: "list",
        ending,
        ...(startedMs === undefined ? {} : { startedMs }),
        ...(command === undefined ? {} : { command }),
      };
    },
  };
}
