/**
 * nmap's grepable format (`-oG`), one host a line, for `grep`, `cut` and `awk`.
 *
 *   # synprobe 0.1.0 scan initiated Fri Nov 20 23:09:54 2026 UTC as: synprobe -oG - 192.0.2.10:22,80
 *   Host: 192.0.2.10 (name)⇥Status: Up
 *   Host: 192.0.2.10 (name)⇥Ports: 22/open/tcp//ssh///, 80/closed/tcp//http///
 *   # synprobe done at Fri Nov 20 23:09:55 2026 UTC -- 1 IP address (1 host up) scanned in 0.12 seconds
 *
 * As nmap writes it under -Pn, where every probed host is up, with two exceptions: every port is listed (there is no
 * `Ignored State`), and an interrupted run ends in `# synprobe interrupted at`. In a large run a host may have several lines, one
 * for each group of results (nmap.ts). The format has no room for reasons, round trips or ICMP senders; use nmap XML or NDJSON.
 */
import { PORT_STATES } from "../../scan/probe/result.ts";
import { escapeText, escapeWord } from "../escape.ts";
import type { Reporter, Sink } from "../reporter.ts";
import {
  closingRemark,
  commandLine,
  groupByHost,
  type HostGroups,
  type HostResults,
  NO_HOSTS,
  nmapTime,
} from "./nmap.ts";

/** A service name without field separators; nmap replaces `/` in the same way. */
function serviceField(service: string): string {
  return escapeWord(service).replaceAll("/", "|").replaceAll(",", ";");
}

function hostLines(host: HostResults): string {
  const head = `Host: ${host.ip} (${escapeWord(host.names[0] ?? "")})`;
  let listed = "";
  for (const { port, state, service } of host.ports) {
    const name = service === undefined ? "" : serviceField(service);
    listed += `${listed === "" ? "" : ", "}${port}/${state}/tcp//${name}///`;
  }
  return `${head}\tStatus: Up\n${head}\tPorts: ${listed}\n`;
}

/** A reporter for nmap's grepable format. An interrupted run leaves a complete file too. */
export function createGrepableReporter(sink: Sink): Reporter {
  let groups: HostGroups | undefined;
  return {
    wants: () => PORT_STATES,
    start(run) {
      groups = groupByHost(run.pairs, (host) => sink(hostLines(host)));
      const started = nmapTime(run.startedMs);
      sink(`# synprobe ${run.version} scan initiated ${started} as: ${commandLine(run)}\n`);
    },
    result(result) {
      groups?.add(result);
    },
    fault(fault) {
      const text = `${fault.target} could not be probed: ${fault.code} ${fault.message}`;
      sink(`# ${escapeText(text, Number.POSITIVE_INFINITY)}\n`);
    },
    finish(summary) {
      groups?.flush();
      sink(`# ${closingRemark(summary, groups?.hosts() ?? NO_HOSTS)}\n`);
    },
  };
}
