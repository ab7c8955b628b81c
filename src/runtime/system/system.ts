/**
 * What the running system says about itself in files: services, the kernel's own port range. Missing files have sensible
 * answers; nothing here needs a privilege.
 */
import { readFileSync } from "node:fs";
import { parseServices, type Services } from "../../scan/targets/services.ts";
import { choosePortRange, type PortShares, sharePorts } from "../../socket/ports.ts";

/** The system's services database; empty when the system has none. */
export const readServices = (): Services => parseServices(readFile("/etc/services") ?? "");

/** Linux's default ip_local_port_range. */
const KERNEL_PORTS = "32768 60999";

/** The source ports of a run; `shared` when the kernel uses the same ones for its own connections. */
export function probePorts(): { first: number; last: number; shared: boolean } {
  const [first, last] = (readFile("/proc/sys/net/ipv4/ip_local_port_range") ?? KERNEL_PORTS)
    .trim()
    .split(/\s+/)
    .map(Number);
  return choosePortRange(first, last);
}

/** The same by kind of link. */
export const portShares = (): PortShares => sharePorts(probePorts());

/** How many neighbours the kernel remembers, of one IP version; Infinity where it does not say. */
export function neighbourLimit(): number {
  const limits = ["ipv4", "ipv6"].map((version) =>
    Number(readFile(`/proc/sys/net/${version}/neigh/default/gc_thresh3`) ?? Number.POSITIVE_INFINITY),
  );
  return Math.min(...limits);
}

/** Whether packets of others pass through this machine, as on routers and hosts of containers. */
export const forwards = (): boolean =>
  ["ipv4/ip_forward", "ipv6/conf/all/forwarding"].some(
    (path) => (readFile(`/proc/sys/net/${path}`) ?? "0").trim() !== "0",
  );

/** What the kernel has counted: texts of files below /proc/net, cheap to read, to be made sense of only when it is asked for. */
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

/** A file's text, trimmed of nothing; undefined when it cannot be read. */
export function readFile(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
