/**
 * Findings about the way out: this machine's interfaces; and for a target the interface, source address and next hop of a
 * probe, or why there is no way.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { Interface, Route } from "../../link/route.ts";
import type { TargetSpec } from "../../scan/targets/grammar.ts";
import { type Address, formatAddress, isLinkLocal, isLoopback } from "../../wire/address.ts";
import { judgeInterface, judgeRoute, notConnected, ownerOf, unprobeable } from "../plan/reachability.ts";
import type { RawTrials } from "./access.ts";
import { asRoot, type Finding, fail, info, ok, warn } from "./finding.ts";
import type { System } from "./system.ts";

/** Interfaces with an address that other machines can answer to. */
export function interfaceFinding(system: System): Finding {
  const topic = "interfaces";
  const families = new Map<number, string[]>();
  for (const family of [4, 6] as const) {
    for (const { address, interfaceIndex } of system.addresses(family)) {
      if (isLoopback(address)) continue;
      const names = families.get(interfaceIndex) ?? [];
      const name = family === 4 ? "IPv4" : isLinkLocal(address) ? "IPv6 link-local" : "IPv6";
      if (!names.includes(name)) names.push(name);
      families.set(interfaceIndex, names);
    }
  }
  const described = [...families].map(([index, names]) => {
    // Every interface has a link-local address: mention it only when there is no other.
    const worthwhile = names.includes("IPv6") ? names.filter((name) => name !== "IPv6 link-local") : names;
    return `${system.interface(index)?.name ?? `interface ${index}`} (${worthwhile.join(", ")})`;
  });
  const loopback = system.interface("lo");
  const raiseLoopback =
    loopback?.up === false
      ? [
          "lo is down, so this machine's own addresses do not answer. Bring it up:",
          `    ${asRoot(system)}ip link set lo up`,
        ]
      : [];
  if (described.length === 0) {
    return warn(
      topic,
      `no address but ${raiseLoopback.length > 0 ? "those of lo, which is down" : "loopback's"}`,
      "No other machine can be probed. Give this one a network; what there is:",
      "    ip link",
      "    ip addr",
      ...raiseLoopback,
    );
  }
  const [first, ...others] = raiseLoopback;
  if (first !== undefined) return warn(topic, `${described.join(", ")}; lo is down`, first, ...others);
  return ok(topic, described.join(", "));
}

/** One finding for each address of the target, in the order in which a run takes them. */
export async function targetFindings(
  system: System,
  trials: RawTrials,
  { text, host }: TargetSpec,
): Promise<Finding[]> {
  if (host.kind === "address") {
    const label = formatAddress(host.address);
    if (host.zone === undefined) return pathFindings(system, trials, label, host.address);
    const zone = judgeInterface(
      host.zone,
      system.interface(/^\d+$/.test(host.zone) ? Number(host.zone) : host.zone),
    );
    return zone instanceof SynprobeError
      ? [unreachable(`${label}%${host.zone}`, zone)]
      : pathFindings(system, trials, `${label}%${zone.name}`, host.address, zone);
  }
  const addresses = await system.resolve(host.name);
  if (addresses instanceof SynprobeError) return [unresolved(host.name, addresses)];
  const distinct = new Map(addresses.map((address) => [formatAddress(address), address]));
  const perAddress = [...distinct].map(([label, address]) => ({
    address,
    findings: pathFindings(system, trials, `${host.name} (${label})`, address),
  }));
  const [first, ...others] = perAddress;
  // A run probes only the first address, so only that one's failure counts.
  const alternative = others.find(({ findings }) => findings.every(({ status }) => status !== "fail"));
  return [
    ...first.findings.map((finding) =>
      finding.status === "fail" && alternative !== undefined
        ? { ...finding, advice: [...finding.advice, ...tryInstead(first.address, alternative.address, text)] }
        : finding,
    ),
    ...others.flatMap(({ findings }) => findings.map(demote)),
  ];
}

function tryInstead(first: Address, alternative: Address, text: string): string[] {
  return [
    "Another of its addresses can be probed:",
    first.length === alternative.length
      ? `    synprobe --all-addresses ${text}`
      : `    synprobe -${alternative.length === 4 ? 4 : 6} ${text}`,
  ];
}

function demote({ failure, ...finding }: Finding): Finding {
  return failure === undefined ? finding : { ...finding, status: "warn" };
}

/** @param boundTo the interface that the target's zone names */
function pathFindings(
  system: System,
  trials: RawTrials,
  label: string,
  address: Address,
  boundTo?: Interface,
): Finding[] {
  const complaint = unprobeable(address);
  if (complaint !== undefined) {
    return [unreachable(label, new SynprobeError(ERROR_CODES.notUnicast, complaint))];
  }
  const trial = trials[address.length === 4 ? 4 : 6];
  if (!trial.ok && trial.code === ERROR_CODES.noSource) {
    return [unreachable(label, new SynprobeError(trial.code, `${trial.message}: see raw sockets`))];
  }
  const route = judgeRoute(address, boundTo, system.route, (own) => ownerOf(own, system.addresses));
  if (route instanceof SynprobeError) return [unreachable(label, route)];
  const out = system.interface(route.interfaceIndex);
  const name = out?.name ?? `interface ${route.interfaceIndex}`;
  const found = `${label}: ${describeRoute(route, out, name)}`;
  const judged = judgeInterface(name, out);
  if (judged instanceof SynprobeError) return [unreachable(label, judged)];
  if (!judged.running) {
    return [warn("target", found, `${notConnected(name)}.`, `    ip -d link show ${name}`)];
  }
  return [
    ok("target", found),
    ...packetLinkFindings(system, address, judged),
    ...reversePathFindings(system, address, judged),
  ];
}

/** Which link a large run there would take, and why not the faster one. */
function packetLinkFindings(system: System, address: Address, out: Interface): Finding[] {
  const topic = "packet link";
  if (out.mac === undefined || system.packetSocketRefusal() !== undefined) return [];
  const passedBy = system.passedBy(out.index, address);
  if (passedBy.length === 0) return [ok(topic, `large runs take it on ${out.name}`)];
  return [
    info(
      topic,
      `large runs take raw instead on ${out.name}, as packet would pass by ${passedBy.join("; ")}`,
      "Nothing is wrong. --link packet is faster, and does without what the kernel does to packets there.",
    ),
  ];
}

function describeRoute(route: Route, out: Interface | undefined, name: string): string {
  const state = out === undefined ? "" : `, ${out.up ? "up" : "down"}, mtu ${route.mtu ?? out.mtu}`;
  const where =
    route.type === "local"
      ? "this machine itself"
      : route.gateway !== undefined
        ? `next hop ${formatAddress(route.gateway)}`
        : out?.pointToPoint === true
          ? "at the other end of it"
          : "on its link";
  const kind = route.type === "unicast" || route.type === "local" ? "" : ` (${route.type})`;
  return `through ${name}${state}; source ${formatAddress(route.source)}; ${where}${kind}`;
}

/**
 * Strict reverse path filtering (net.ipv4.conf.*.rp_filter = 1, RFC 3704) drops answers that come through another interface than the
 * probes leave by: the setting of the interface where they come in counts.
 */
function reversePathFindings(system: System, address: Address, out: Interface): Finding[] {
  if (address.length !== 4 || out.loopback) return [];
  const setting = (name: string): number =>
    Number(system.readFile(`/proc/sys/net/ipv4/conf/${name}/rp_filter`) ?? 0);
  const others = new Set(system.addresses(4).map(({ interfaceIndex }) => interfaceIndex));
  const names = [...others].flatMap((index) => {
    const other = system.interface(index);
    const mayAnswer = index !== out.index && other?.running === true && !other.loopback;
    // The kernel takes the larger of the two.
    return mayAnswer && Math.max(setting("all"), setting(other.name)) === 1 ? [other.name] : [];
  });
  const [first, ...more] = names;
  if (first === undefined) return [];
  return [
    info(
      "rp_filter",
      `strict on ${first}${more.length === 0 ? "" : ` and ${more.length} more`}`,
      `Nothing is wrong while answers come back through ${out.name}; one that comes in there is dropped. If probes stay unanswered, try loose mode:`,
      `    ${asRoot(system)}sysctl -w net.ipv4.conf.all.rp_filter=2`,
    ),
  ];
}

function unresolved(name: string, { code, message }: SynprobeError): Finding {
  const failure = { code, reason: message };
  return fail("target", message, failure, "What the resolver says:", `    getent ahosts ${name}`);
}

/** A shared message reads "what is wrong: what to do", without the target's name. */
function unreachable(label: string, { code, message }: SynprobeError): Finding {
  const [what, ...rest] = message.split(": ");
  const reason = `${label}: ${what}`;
  const todo = rest.join(": ").replace(/^[a-z]+ /, (word) => word[0].toUpperCase() + word.slice(1));
  return fail("target", reason, { code, reason }, todo || "Name another target.");
}
