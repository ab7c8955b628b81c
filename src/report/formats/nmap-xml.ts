/**
 * nmap's XML (`-oX`), valid against nmap.dtd, so that programs for nmap's files can read synprobe's.
 *
 * The DTD allows no `scanner` but "nmap"; the comment, `args` and `version` say who really wrote the file. Hosts are
 * written when the run finishes, targets that could not be probed as they come (`target status="skipped"`). What is not known is
 * left out (`times`, `starttime`), `extraports` have the numbers of their ports, and a host that sent no answer is "up" by `user-set`, nmap's word for `-Pn`. A host that answers on any port
 * has that as its `comment`. What a service said first (`--banner`) stands where nmap's script of that
 * name puts it. Round trips and tries have no place in the format; NDJSON has them.
 *
 * Written by hand: there are only attributes, no text between tags, and every value that is not a number or one of our own words
 * goes through `attribute`. An XML builder takes ten times as long (npm run bench:formats) and gains nothing.
 */
import { PORT_STATES, type ScanSummary, type TargetFault } from "../../scan/probe/result.ts";
import { escapeXml as attribute } from "../escape.ts";
import { portRanges } from "../figures.ts";
import type { Reporter, RunInfo, Sink } from "../reporter.ts";
import type { OrderedResult, Spill } from "./host-order.ts";
import {
  closingRemark,
  commandLine,
  counted,
  type ExtraPorts,
  groupByHost,
  type HostGroups,
  type HostResults,
  type ListedPorts,
  nmapTime,
} from "./nmap.ts";

const XML_OUTPUT_VERSION = "1.05";

/** A comment must not have two hyphens side by side (§2.5); nmap spells them the same way. */
const comment = (text: string): string => `<!-- ${attribute(text).replaceAll("--", "-&#45;")} -->\n`;

const seconds = (ms: number): number => Math.floor(ms / 1000);

function opening(run: RunInfo): string {
  const command = commandLine(run);
  const started = nmapTime(run.startedMs);
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE nmaprun>\n' +
    comment(`synprobe ${run.version} scan initiated ${started} as: ${command}`) +
    `<nmaprun scanner="nmap" args="${attribute(command)}" start="${seconds(run.startedMs)}" startstr="${started}" ` +
    `version="${attribute(run.version)}" xmloutputversion="${XML_OUTPUT_VERSION}">\n` +
    `<scaninfo type="${run.scanType ?? "syn"}" protocol="tcp" numservices="${run.ports.length}" services="${portRanges(run.ports)}"/>\n` +
    '<verbose level="0"/>\n<debugging level="0"/>\n'
  );
}

const skippedTarget = ({ target }: TargetFault): string =>
  `<target specification="${attribute(target)}" status="skipped"/>\n`;

function portElement(result: OrderedResult): string {
  const { port, state, reason, ttl, responder, service, banner, places } = result;
  const from = responder === undefined ? "" : ` reason_ip="${attribute(responder)}"`;
  const named =
    service === undefined ? "" : `<service name="${attribute(service)}" method="table" conf="3"/>`;
  const scripts = Object.entries({ banner, from: places }).flatMap(([id, output]) =>
    output === undefined ? [] : `<script id="${id}" output="${attribute(output)}"/>`,
  );
  return (
    `<port protocol="tcp" portid="${port}">` +
    `<state state="${state}" reason="${attribute(reason)}" reason_ttl="${ttl ?? 0}"${from}/>${named}${scripts.join("")}</port>\n`
  );
}

const ANSWERS_ALL = ' comment="answers SYN-ACK on every port: a tarpit or a middlebox"';

function extraPorts({ state, count, reasons }: ExtraPorts): string {
  const listed = reasons.map(
    ({ reason, ports }) =>
      `<extrareasons reason="${attribute(reason)}" count="${ports.length}" proto="tcp" ports="${portRanges(ports)}"/>\n`,
  );
  return `<extraports state="${state}" count="${count}">\n${listed.join("")}</extraports>\n`;
}

function hostElement({ ip, names, ports, extra, endedMs, answer }: HostResults): string {
  let listed = extra.map(extraPorts).join("");
  let answersAll = false;
  for (const result of ports) {
    if (result.answersAll) answersAll = true;
    listed += portElement(result);
  }
  const status = `reason="${attribute(answer?.reason ?? "user-set")}" reason_ttl="${answer?.ttl ?? 0}"`;
  const hostnames = names.map((name) => `<hostname name="${attribute(name)}" type="user"/>\n`);
  return (
    `<host endtime="${seconds(endedMs)}"${answersAll ? ANSWERS_ALL : ""}><status state="up" ${status}/>\n` +
    `<address addr="${attribute(ip)}" addrtype="${ip.includes(":") ? "ipv6" : "ipv4"}"/>\n` +
    `<hostnames>\n${hostnames.join("")}</hostnames>\n<ports>\n${listed}</ports>\n</host>\n`
  );
}

function ending(summary: ScanSummary, hosts: number): string {
  const ended = summary.startedMs + summary.elapsedMs;
  const unfinished = `exit="error" errormsg="interrupted: ${counted(summary.unfinished, "port")} unfinished"`;
  return (
    `<runstats><finished time="${seconds(ended)}" timestr="${nmapTime(ended)}" ` +
    `summary="${closingRemark(summary, hosts)}" elapsed="${(summary.elapsedMs / 1000).toFixed(2)}" ` +
    `${summary.interrupted ? unfinished : 'exit="success"'}/>\n` +
    `<hosts up="${hosts}" down="0" total="${hosts}"/>\n</runstats>\n</nmaprun>\n`
  );
}

/** A reporter for nmap's XML; the document is complete when the run has finished or was cut short. */
export function createNmapXmlReporter(sink: Sink, createSpill?: () => Spill, listed?: ListedPorts): Reporter {
  let groups: HostGroups | undefined;
  return {
    wants: () => PORT_STATES,
    start(run) {
      sink(opening(run));
      groups = groupByHost(run.pairs, (found) => sink(hostElement(found)), createSpill, listed);
    },
    result(result) {
      groups?.add(result);
    },
    fault(fault) {
      sink(skippedTarget(fault));
    },
    *rest() {
      if (groups !== undefined) yield* groups.writing;
    },
    finish(summary) {
      if (groups !== undefined) for (const _ of groups.writing);
      sink(ending(summary, groups?.hosts() ?? 0));
    },
  };
}
