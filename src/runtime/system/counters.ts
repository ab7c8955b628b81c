/**
 * The kernel's counters of packets, and what is lost between two looks at them. Not here: what that may mean (runtime/diagnose).
 * Tested by test/runtime/system/counters.test.ts.
 */
import { readFile } from "./system.ts";

/** The kernel's counters: texts of files below /proc/net, cheap to read, parsed only when needed. */
export interface KernelCounters {
  /** dev. */
  readonly devices: string;
  /** snmp and netstat. */
  readonly ip: string;
  /** snmp6. */
  readonly ip6: string;
}

export const readCounters = (): KernelCounters => ({
  devices: readFile("/proc/net/dev") ?? "",
  ip: `${readFile("/proc/net/snmp") ?? ""}${readFile("/proc/net/netstat") ?? ""}`,
  ip6: readFile("/proc/net/snmp6") ?? "",
});

/** IP packets that came in since and reached nobody, on this machine as a whole: at least so many. */
export function packetsLost(
  before: KernelCounters,
  after: KernelCounters,
): { readonly undelivered: number; readonly reversePathDrops: number } {
  const since = (read: (counters: KernelCounters) => number): number => read(after) - read(before);
  const v4 = (group: string, name: string): number => since(({ ip }) => columnOf(ip, group, name));
  const v6 = (name: string): number =>
    since(({ ip6 }) => Number(new RegExp(`^${name}\\s+(\\d+)`, "m").exec(ip6)?.[1] ?? 0));
  const reversePathDrops = v4("TcpExt", "IPReversePathFilter");
  // Unwanted multicast and broadcast is not a loss. Wanted ones are subtracted twice, so this is a lower bound.
  const lost4 =
    v4("Ip", "InReceives") -
    v4("Ip", "InDelivers") -
    v4("Ip", "ForwDatagrams") -
    v4("IpExt", "InMcastPkts") -
    v4("IpExt", "InBcastPkts") -
    reversePathDrops;
  const lost6 = v6("Ip6InReceives") - v6("Ip6InDelivers") - v6("Ip6OutForwDatagrams") - v6("Ip6InMcastPkts");
  // Of fragments all are received, and what they make is delivered.
  const parts4 = v4("Ip", "ReasmReqds") - v4("Ip", "ReasmOKs");
  const parts6 = v6("Ip6ReasmReqds") - v6("Ip6ReasmOKs");
  return {
    undelivered: Math.max(0, lost4 - parts4) + Math.max(0, lost6 - parts6),
    reversePathDrops: Math.max(0, reversePathDrops),
  };
}

/** A counter of /proc/net/snmp or netstat: a line of names, and one of values. */
function columnOf(text: string, group: string, name: string): number {
  const [names, values] = text
    .split("\n")
    .filter((line) => line.startsWith(`${group}: `))
    .map((line) => line.split(" "));
  const at = names?.indexOf(name) ?? -1;
  return at < 0 ? 0 : Number(values?.[at] ?? 0);
}
