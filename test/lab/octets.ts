/** What has left a namespace, by the kernel's count. */
import { command, inNamespace } from "./netns.ts";
import { until } from "./until.ts";

/** What has left over IPv4, in bytes: what IPv6 and ARP send by themselves is not counted here. */
export function octetsOut(namespace: string): number {
  const [names = "", values = ""] = command(inNamespace(namespace, ["cat", "/proc/net/netstat"]))
    .split("\n")
    .filter((line) => line.startsWith("IpExt:"));
  return Number(values.split(" ")[names.split(" ").indexOf("OutOctets")]);
}

/** Waits for so many SYNs from now on, of 44 bytes or more. */
export function untilLeft(namespace: string, count: number): void {
  const before = octetsOut(namespace);
  until(() => octetsOut(namespace) >= before + 44 * count, "its first SYNs to leave");
}
