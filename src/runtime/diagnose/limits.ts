/**
 * Findings about the kernel's limits: receive buffer, source ports, room in the connection tracking table.
 */
import { WANTED_RECEIVE_BUFFER } from "../../link/sys/socket.ts";
import { sharePorts } from "../../socket/ports.ts";
import { hasNetAdmin, type RawTrials } from "./access.ts";
import { asRoot, type Finding, info, ok, warn } from "./finding.ts";
import type { System } from "./system.ts";

export function limitFindings(system: System, trials: RawTrials): Finding[] {
  return [
    receiveBufferFinding(system, trials),
    sourcePortFinding(system),
    conntrackFinding(system),
    neighbourFinding(system),
  ];
}

/** In bytes. With less, a pause of the event loop loses replies at the default rate. */
const SMALL_RECEIVE_BUFFER = 1 << 20;

function receiveBufferFinding(system: System, trials: RawTrials): Finding {
  const topic = "receive buffer";
  const limit = readNumbers(system, "/proc/sys/net/core/rmem_max")?.[0];
  const granted = [trials[4], trials[6]].flatMap((trial) => (trial.ok ? [trial.receiveBuffer / 2] : []));
  const expected = hasNetAdmin(system) ? WANTED_RECEIVE_BUFFER : Math.min(limit ?? 0, WANTED_RECEIVE_BUFFER);
  const bytes = granted.length > 0 ? Math.min(...granted) : expected;
  if (bytes >= WANTED_RECEIVE_BUFFER) return ok(topic, formatBytes(bytes));
  if (bytes === 0)
    return info(topic, "unknown: no socket could be opened, and net.core.rmem_max cannot be read");
  const found = `${formatBytes(bytes)} of the ${formatBytes(WANTED_RECEIVE_BUFFER)} wanted${
    limit === undefined ? "" : ` (net.core.rmem_max is ${limit})`
  }`;
  const advice = [
    "Replies that arrive while it is full are lost. For fast runs, raise the limit (on the host, for a container):",
    `    ${asRoot(system)}sysctl -w net.core.rmem_max=${WANTED_RECEIVE_BUFFER}`,
  ] as const;
  return bytes < SMALL_RECEIVE_BUFFER ? warn(topic, found, ...advice) : info(topic, found, ...advice);
}

function sourcePortFinding(system: System): Finding {
  const topic = "source ports";
  const { first, last, shared } = system.sourcePorts();
  const range = `${first}-${last}`;
  const kernel = readNumbers(system, "/proc/sys/net/ipv4/ip_local_port_range");
  const kernels = kernel === undefined ? "" : ` (${kernel[0]}-${kernel[1]})`;
  if (!shared) {
    const { raw, packet } = sharePorts({ first, last, shared });
    return ok(
      topic,
      `${raw.first}-${raw.last} of raw links, ${packet.first}-${packet.last} of packet links, apart from the kernel's own${kernels}`,
    );
  }
  if (isReserved(system, first, last)) {
    return ok(topic, `${range}, reserved in net.ipv4.ip_local_reserved_ports`);
  }
  return warn(
    topic,
    `${range} are among the kernel's own${kernels}`,
    "A connection of this machine may use the same port as a probe. Keep the kernel away from them:",
    `    ${asRoot(system)}sysctl -w net.ipv4.ip_local_reserved_ports=${range}`,
  );
}

/** Whether all ports of the range are reserved (format: `8080,61000-65534`), so that the kernel never picks one. */
function isReserved(system: System, first: number, last: number): boolean {
  const text = system.readFile("/proc/sys/net/ipv4/ip_local_reserved_ports")?.trim() ?? "";
  return text.split(",").some((part) => {
    const [low, high = low] = part.split("-").map(Number);
    return low <= first && high >= last;
  });
}

/** The table is nearly full when less than this share of it is free. */
const SCARCE = 0.2;
/** The default of net.netfilter.nf_conntrack_tcp_timeout_syn_sent, in seconds. */
const SYN_SENT_SECONDS = 120;

/**
 * Connection tracking of this network namespace: entries, the limit (0: none), and how long a silent port keeps an entry.
 * Undefined where there is none.
 */
export function readConntrack(
  system: Pick<System, "readFile">,
): { readonly count: number; readonly max: number; readonly seconds: number } | undefined {
  const directory = "/proc/sys/net/netfilter";
  const count = readNumbers(system, `${directory}/nf_conntrack_count`)?.[0];
  const max = readNumbers(system, `${directory}/nf_conntrack_max`)?.[0];
  if (count === undefined || max === undefined) return undefined;
  const seconds =
    readNumbers(system, `${directory}/nf_conntrack_tcp_timeout_syn_sent`)?.[0] ?? SYN_SENT_SECONDS;
  return { count, max, seconds };
}

function conntrackFinding(system: System): Finding {
  const topic = "conntrack";
  const conntrack = readConntrack(system);
  if (conntrack === undefined) return ok(topic, "not in this network namespace");
  const { count, max, seconds } = conntrack;
  if (max === 0) return ok(topic, `${count} entries, no limit`);
  // Whether any rule turns tracking on cannot be seen. A reset removes the entry of its probe at once.
  if (count === 0) return ok(topic, `no entries now, room for ${max}`);
  const free = Math.max(0, max - count);
  const found = `${count} of ${max} entries; a probe takes one, and a silent port keeps it ${seconds} s`;
  const advice = [
    `Room for ${free} more. When the table is full, the kernel forgets unanswered probes, so that a firewall stops their`,
    "answers, and then refuses all new connections. Enlarge it (on the host, for a container):",
    `    ${asRoot(system)}sysctl -w net.netfilter.nf_conntrack_max=${4 * max}`,
    "or leave probes untracked (a firewall that admits only known connections must then admit TCP to these ports):",
    ...notrackCommands(system),
  ] as const;
  return free < max * SCARCE ? warn(topic, found, ...advice) : info(topic, found, ...advice);
}

/** Fewer neighbours than this are soon too few on a network of its own. */
const MANY_NEIGHBOURS = 4096;

/** How many hosts of its own networks the kernel can talk to at once. */
function neighbourFinding(system: System): Finding {
  const topic = "neighbours";
  const limits = ["ipv4", "ipv6"].flatMap(
    (version) => readNumbers(system, `/proc/sys/net/${version}/neigh/default/gc_thresh3`) ?? [],
  );
  // Only the first network namespace shows it.
  if (limits.length === 0)
    return info(topic, "cannot be read here; room for 1024 unless gc_thresh3 has been raised");
  const limit = Math.min(...limits);
  const found = `room for ${limit} (gc_thresh3), of all network namespaces together`;
  if (limit >= MANY_NEIGHBOURS) return ok(topic, found);
  return info(
    topic,
    found,
    "Enough but for runs over raw sockets to more hosts than half of that on this machine's own networks. For those, raise it:",
    `    ${asRoot(system)}sysctl -w net.ipv4.neigh.default.gc_thresh3=${4 * MANY_NEIGHBOURS}   # IPv6: net.ipv6…`,
  );
}

function notrackCommands(system: System): string[] {
  const { first, last } = system.sourcePorts();
  const ports = `${first}-${last}`;
  const sudo = asRoot(system);
  const chain = (name: string, hook: string, match: string): string =>
    `chain ${name} { type filter hook ${hook} priority raw; tcp ${match} ${ports} notrack; };`;
  return [
    `    ${sudo}nft 'table inet synprobe { ${chain("out", "output", "sport")} ${chain("in", "prerouting", "dport")} }'`,
    `    ${sudo}nft delete table inet synprobe   # afterwards`,
  ];
}

/** The numbers of a one-line file; undefined when it cannot be read or holds something else. */
function readNumbers(system: Pick<System, "readFile">, path: string): number[] | undefined {
  const words = system.readFile(path)?.trim().split(/\s+/).map(Number);
  return words === undefined || words.some((word) => !Number.isFinite(word)) ? undefined : words;
}

function formatBytes(bytes: number): string {
  const [value, unit] = bytes >= 1 << 20 ? [bytes / (1 << 20), "MiB"] : [bytes / 1024, "KiB"];
  return `${Number(value.toFixed(1))} ${unit}`;
}
