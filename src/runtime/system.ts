/**
 * What the running system says about itself in files: services, the kernel's own port range. Missing files have sensible
 * answers; nothing here needs a privilege.
 */
import { readFileSync } from "node:fs";
import { parseServices, type Services } from "../scan/services.ts";
import { choosePortRange, type PortShares, sharePorts } from "../socket/ports.ts";

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

/** A file's text, trimmed of nothing; undefined when it cannot be read. */
export function readFile(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
