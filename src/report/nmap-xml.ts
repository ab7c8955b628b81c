/**
 * nmap's XML (`-oX`), valid against nmap.dtd, so that what reads nmap's files reads synprobe's.
 *
 * The DTD allows no `scanner` but "nmap"; the comment, `args` and `version` say who really wrote the file. Hosts are
 * written when the run finishes, in a large run group by group (nmap.ts), targets that could not be probed as they come
 * (`target status="skipped"`). What is not known is left out (`times`, `starttime`), every port is listed (no
 * `extraports`), and a host that sent no answer is "up" by `user-set`, nmap's word for `-Pn`. Round trips and tries have
 * no place in the format; NDJSON has them.
 */
import XmlBuilder from "fast-xml-builder";
import { PORT_STATES, type PortResult, type ScanSummary, type TargetFault } from "../scan/result.ts";
import { escapeText } from "./escape.ts";
import { portRanges } from "./figures.ts";
import {
  closingRemark,
  commandLine,
  counted,
  groupByHost,
  type HostGroups,
  type HostResults,
  nmapTime,
} from "./nmap.ts";
import type { Reporter, RunInfo, Sink } from "./reporter.ts";

const XML_OUTPUT_VERSION = "1.05";
const PROLOGUE = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE nmaprun>\n';
const END = "</nmaprun>\n";

/** An element: `@name` is an attribute, any other key a child; what is undefined is left out. */
interface Element {
  readonly [name: string]: string | number | undefined | Element | readonly Element[];
}

const builder = new XmlBuilder({
  attributeNamePrefix: "@",
  ignoreAttributes: false,
  commentPropName: "#comment",
  suppressEmptyNode: true,
  suppressBooleanAttributes: false,
  format: true,
  indentBy: "",
});

/** Text for an attribute: XML 1.0 §2.2 forbids most control characters, even as references, so they are spelled out. */
function attribute(text: string): string {
  return escapeText(text, Number.POSITIVE_INFINITY);
}

const seconds = (ms: number): number => Math.floor(ms / 1000);

function opening(run: RunInfo): string {
  const command = commandLine(run);
  const started = nmapTime(run.startedMs);
  const whole = builder.build({
    "#comment": ` synprobe ${run.version} scan initiated ${started} as: ${command} `,
    nmaprun: {
      "@scanner": "nmap",
      "@args": command,
      "@start": seconds(run.startedMs),
      "@startstr": started,
      "@version": run.version,
      "@xmloutputversion": XML_OUTPUT_VERSION,
      scaninfo: {
        "@type": "syn",
        "@protocol": "tcp",
        "@numservices": run.ports.length,
        "@services": portRanges(run.ports),
      },
      verbose: { "@level": 0 },
      debugging: { "@level": 0 },
    },
  } satisfies Element);
  return PROLOGUE + whole.slice(0, -END.length);
}

function skippedTarget(fault: TargetFault): Element {
  return { target: { "@specification": attribute(fault.target), "@status": "skipped" } };
}

function port(result: PortResult): Element {
  const { service } = result;
  return {
    "@protocol": "tcp",
    "@portid": result.port,
    state: {
      "@state": result.state,
      "@reason": attribute(result.reason),
      "@reason_ttl": result.ttl ?? 0,
      "@reason_ip": result.responder,
    },
    service:
      service === undefined ? undefined : { "@name": attribute(service), "@method": "table", "@conf": 3 },
  };
}

function host(found: HostResults): Element {
  const ended = found.ports.reduce((latest, { timeMs }) => Math.max(latest, timeMs), 0);
  return {
    host: {
      "@endtime": seconds(ended),
      status: {
        "@state": "up",
        "@reason": found.answer?.reason ?? "user-set",
        "@reason_ttl": found.answer?.ttl ?? 0,
      },
      address: { "@addr": found.ip, "@addrtype": found.ip.includes(":") ? "ipv6" : "ipv4" },
      hostnames: { hostname: found.names.map((name) => ({ "@name": attribute(name), "@type": "user" })) },
      ports: { port: found.ports.map(port) },
    },
  };
}

function runStats(summary: ScanSummary, up: number): Element {
  const ended = summary.startedMs + summary.elapsedMs;
  return {
    runstats: {
      finished: {
        "@time": seconds(ended),
        "@timestr": nmapTime(ended),
        "@summary": closingRemark(summary, up),
        "@elapsed": (summary.elapsedMs / 1000).toFixed(2),
        "@exit": summary.interrupted ? "error" : "success",
        "@errormsg": summary.interrupted
          ? `interrupted: ${counted(summary.unfinished, "port")} unfinished`
          : undefined,
      },
      hosts: { "@up": up, "@down": 0, "@total": summary.hosts },
    },
  };
}

/** A reporter for nmap's XML; the document is complete when the run has finished or was cut short. */
export function createNmapXmlReporter(sink: Sink): Reporter {
  let groups: HostGroups | undefined;
  let entries = 0;
  return {
    wants: () => PORT_STATES,
    start(run) {
      sink(opening(run));
      groups = groupByHost(run.pairs, (found) => {
        entries++;
        sink(builder.build(host(found)));
      });
    },
    result(result) {
      groups?.add(result);
    },
    fault(fault) {
      sink(builder.build(skippedTarget(fault)));
    },
    finish(summary) {
      groups?.flush();
      sink(builder.build(runStats(summary, groups?.whole === true ? entries : summary.hosts)) + END);
    },
  };
}
