/**
 * nmap's grepable format (`-oG`), one host a line, for `grep`, `cut` and `awk`.
 *
 *   # synprobe 0.1.0 scan initiated Fri Nov 20 23:09:54 2026 as: synprobe -oG - 192.0.2.10:22,80
 *   Host: 192.0.2.10 (name)⇥Status: Up
 *   Host: 192.0.2.10 (name)⇥Ports: 22/open/tcp//ssh///, 80/closed/tcp//http///
 *   # synprobe done at Fri Nov 20 23:09:55 2026 -- 1 IP address (1 host up) scanned in 0.12 seconds
 *
 * As nmap's under -Pn, where every host that was probed is up: of ports that are not listed `Ignored State` has the most
 * frequent state. An interrupted run ends in `# synprobe interrupted at`. The format has no room for reasons, round trips or ICMP senders; nmap XML and NDJSON have.
 */
import { PORT_STATES } from "../../scan/probe/result.ts";
import { escapeText, escapeWord } from "../escape.ts";
import type { Reporter, Sink } from "../reporter.ts";
import type { Spill } from "./host-order.ts";
import {
  closingRemark,
  commandLine,
  groupByHost,
  type HostGroups,
  type HostResults,
  type ListedPorts,
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
  const [ignored] = host.extra;
  const rest = ignored === undefined ? "" : `\tIgnored State: ${ignored.state} (${ignored.count})`;
  return `${head}\tStatus: Up\n${head}\tPorts: ${listed}${rest}\n`;
}

/** A reporter for nmap's grepable format; the file is complete when the run has finished or was cut short. */
export function createGrepableReporter(
  sink: Sink,
  createSpill?: () => Spill,
  listed?: ListedPorts,
): Reporter {
  let groups: HostGroups | undefined;
  return {
    wants: () => PORT_STATES,
    start(run) {
      groups = groupByHost(run.pairs, (host) => sink(hostLines(host)), createSpill, listed);
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
    *rest() {
      if (groups !== undefined) yield* groups.writing;
    },
    finish(summary) {
      if (groups !== undefined) for (const _ of groups.writing);
      sink(`# ${closingRemark(summary, groups?.hosts() ?? 0)}\n`);
    },
  };
}
