/** nf_tables inside a lab's namespaces, and every answer that it can reject a connection with. */
import { command, createLab, inNamespace, labProblem } from "./netns.ts";

/** What nft(8) calls the answer, and the reason that it is for synprobe. */
export const REJECTS = {
  ipv4: [
    ["icmp type net-unreachable", "net-unreach"],
    ["icmp type host-unreachable", "host-unreach"],
    ["icmp type prot-unreachable", "proto-unreach"],
    ["icmp type port-unreachable", "port-unreach"],
    ["icmp type net-prohibited", "net-prohibited"],
    ["icmp type host-prohibited", "host-prohibited"],
    ["icmp type admin-prohibited", "admin-prohibited"],
  ],
  ipv6: [
    ["icmpv6 type no-route", "no-route"],
    ["icmpv6 type admin-prohibited", "admin-prohibited"],
    ["icmpv6 type addr-unreachable", "addr-unreach"],
    ["icmpv6 type port-unreachable", "port-unreach"],
    ["icmpv6 type policy-fail", "policy-fail"],
    ["icmpv6 type reject-route", "reject-route"],
  ],
} as const;

/** One port for each of REJECTS. */
export const REJECTING = (["ipv4", "ipv6"] as const).flatMap((family) =>
  REJECTS[family].map(([reject, reason], i) => ({
    family,
    reject,
    reason,
    port: (family === "ipv4" ? 7100 : 7200) + i,
    rule: `tcp dport ${(family === "ipv4" ? 7100 : 7200) + i} reject with ${reject}`,
  })),
);

/** Puts rules before what a namespace receives or sends. */
export function firewall(namespace: string, hook: "input" | "output", rules: readonly string[]): void {
  const chain = [`type filter hook ${hook} priority 0`, ...rules].map((rule) => `  ${rule}\n`);
  const script = `table inet lab {\n chain ${hook} {\n${chain.join("")} }\n}\n`;
  command(inNamespace(namespace, ["nft", "-f", "-"]), script);
}

/** Why there can be no firewall here; undefined when there can. */
export function firewallProblem(): string | undefined {
  const problem = labProblem();
  if (problem !== undefined) return problem;
  const lab = createLab();
  try {
    firewall(lab.far, "input", [REJECTING[0]?.rule ?? ""]);
    return undefined;
  } catch (error) {
    return `no nft, or a kernel without nf_tables: ${String(error).trim().replace(/\s+/g, " ")}`;
  } finally {
    lab.remove();
  }
}
