/**
 * What frames of our own (packet.ts) pass by: all that the kernel would do to an outgoing packet beyond routing it. IPsec
 * policies, firewall and address translation rules at its output, queueing disciplines somebody has set, and policy rules that
 * look at more than addresses, of which a look-up (route.ts) tells only half.
 *
 * It looks at whether there is any such thing, hardly at what it says: in doubt there is. Reading most of it needs
 * CAP_NET_ADMIN; what cannot be read counts as something. Not here: what follows from it (runtime/run/means.ts, doctor).
 */
import { readFileSync } from "node:fs";
import { isSynprobeError } from "../errors.ts";
import type { Address } from "../wire/address.ts";
import { RST_RULE_PROTOCOL } from "./rst-rule.ts";
import { closeSoon, errno, libc } from "./sys/libc.ts";
import {
  AF_INET,
  AF_INET6,
  AF_PACKET,
  familyNumber,
  IPPROTO_TCP,
  SOCK_CLOEXEC,
  SOCK_RAW,
} from "./sys/linux.ts";
import {
  hostU16,
  hostU32,
  NETLINK,
  type NetlinkMessage,
  type NetlinkProtocol,
  openNetlink,
  readAttributes,
} from "./sys/netlink.ts";
import { FRA, HEADER_LENGTH, RTM } from "./sys/rtnetlink.ts";

/** Destinations of one IP version, from one address to another. */
export interface Destinations {
  readonly first: Address;
  readonly last: Address;
}

/**
 * What frames sent to these destinations through this interface would pass by, each as a phrase that goes on from "there is" or
 * "there are"; empty when there is nothing.
 */
export function findPassedBy(interfaceIndex: number, destinations: readonly Destinations[]): string[] {
  const families = ([4, 6] as const).filter((family) =>
    destinations.some(({ first }) => (first.length === 4) === (family === 4)),
  );
  return [
    ...policiesPassed(destinations),
    ...chainsPassed(families),
    ...legacyTablesPassed(families),
    ...rulesPassed(families),
    ...disciplinesPassed(interfaceIndex),
  ];
}

/** Why this process can open no packet sockets: the errno's name; undefined when it can. */
export function packetSocketRefusal(): string | undefined {
  const fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno();
  closeSoon([fd]);
  return undefined;
}

/** @returns whether all could be seen: "unreadable" when this process may not, true also where the kernel has no such part */
function visitAll(
  protocol: NetlinkProtocol,
  type: number,
  header: Uint8Array,
  visit: (message: NetlinkMessage) => void,
): true | "unreadable" {
  try {
    const netlink = openNetlink(protocol);
    try {
      const refused = netlink.visit(type, header, [], visit);
      return refused === "EPERM" || refused === "EACCES" ? "unreadable" : true;
    } finally {
      netlink.close();
    }
  } catch (error) {
    // A kernel without IPsec or nf_tables has no such protocol.
    if (isSynprobeError(error)) return true;
    throw error;
  }
}

const unreadable = (what: string): string[] => [`perhaps ${what}: it takes CAP_NET_ADMIN to see them`];

const XFRM_MSG_GETPOLICY = 0x15;
/** struct xfrm_userpolicy_info, which begins with struct xfrm_selector (linux/xfrm.h). */
const POLICY = { family: 40, prefixLength: 42, protocol: 44, direction: 160 } as const;
const XFRM_POLICY_OUT = 1;

function policiesPassed(destinations: readonly Destinations[]): string[] {
  let found = 0;
  const seen = visitAll(NETLINK.xfrm, XFRM_MSG_GETPOLICY, new Uint8Array(4), ({ body }) => {
    if (body[POLICY.direction] !== XFRM_POLICY_OUT) return;
    if (body[POLICY.protocol] !== 0 && body[POLICY.protocol] !== IPPROTO_TCP) return;
    const family = hostU16(body, POLICY.family);
    const prefix = body.subarray(0, 16);
    const length = body[POLICY.prefixLength];
    const concerned = ({ first, last }: Destinations): boolean =>
      (family === 0 || family === (first.length === 4 ? AF_INET : AF_INET6)) &&
      meets(prefix, length, first, last);
    if (destinations.some(concerned)) found++;
  });
  if (seen === "unreadable") return unreadable("IPsec policies");
  return found === 0
    ? []
    : [`${found === 1 ? "an IPsec policy" : `${found} IPsec policies`} for the targets`];
}

/** Whether a prefix has addresses from `first` to `last`. */
function meets(prefix: Uint8Array, length: number, first: Address, last: Address): boolean {
  const compare = (address: Address): number => {
    for (let i = 0; i < address.length && 8 * i < length; i++) {
      const mask = (0xff00 >> Math.min(8, length - 8 * i)) & 0xff;
      if ((prefix[i] & mask) !== (address[i] & mask)) return (prefix[i] & mask) - (address[i] & mask);
    }
    return 0;
  };
  return compare(first) >= 0 && compare(last) <= 0;
}

/** NFNL_SUBSYS_NFTABLES and NFT_MSG_GETCHAIN (linux/netfilter/nf_tables.h). */
const NFT_GETCHAIN = (10 << 8) | 4;
const NFGENMSG_LENGTH = 4;
const CHAIN = { table: 1, name: 3, hook: 4, policy: 5, rules: 6 } as const;
const HOOK = { number: 1 } as const;
const NF_ACCEPT = 1;
const NFPROTO = { inet: 1, ipv4: 2, arp: 3, netdev: 5, ipv6: 10 } as const;
/** Where packets of this machine pass: by number, of the IP families, of ARP, and of netdev. */
const IP_HOOKS: Readonly<Record<number, string>> = { 3: "output", 4: "postrouting" };
const ARP_HOOKS: Readonly<Record<number, string>> = { 1: "ARP output" };
const DEVICE_HOOKS: Readonly<Record<number, string>> = { 1: "egress" };

function chainsPassed(families: readonly (4 | 6)[]): string[] {
  const hooked = new Set<string>();
  const wanted = new Set<number>([
    NFPROTO.inet,
    NFPROTO.netdev,
    ...families.flatMap((family) => (family === 4 ? [NFPROTO.ipv4, NFPROTO.arp] : [NFPROTO.ipv6])),
  ]);
  const seen = visitAll(NETLINK.netfilter, NFT_GETCHAIN, new Uint8Array(NFGENMSG_LENGTH), (message) => {
    const family = message.body[0];
    const found = message.attributes(NFGENMSG_LENGTH);
    const hook = found.get(CHAIN.hook);
    if (hook === undefined || !wanted.has(family)) return;
    const number = networkU32(readAttributes(hook).get(HOOK.number));
    const hooks = family === NFPROTO.netdev ? DEVICE_HOOKS : family === NFPROTO.arp ? ARP_HOOKS : IP_HOOKS;
    const name = hooks[number];
    const idle =
      networkU32(found.get(CHAIN.rules)) === 0 && networkU32(found.get(CHAIN.policy), 1) === NF_ACCEPT;
    if (name !== undefined && !idle) hooked.add(name);
  });
  if (seen === "unreadable") return unreadable("firewall rules for what leaves");
  return hooked.size === 0
    ? []
    : [`firewall rules at ${[...hooked].sort().join(" and ")} (nft list ruleset)`];
}

const networkU32 = (bytes: Uint8Array | undefined, otherwise = 0): number =>
  bytes === undefined || bytes.length < 4
    ? otherwise
    : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, false);

/** What iptables-legacy has loaded. A table without a rule cannot be told from one with some. */
function legacyTablesPassed(families: readonly (4 | 6)[]): string[] {
  return families.flatMap((family) => {
    const [file, tool] = family === 4 ? ["ip_tables_names", "iptables"] : ["ip6_tables_names", "ip6tables"];
    const tables = readText(`/proc/net/${file}`).trim().split(/\s+/).filter(Boolean);

    return tables.length === 0 ? [] : [`${tool} tables: ${tables.join(", ")} (${tool}-legacy-save)`];
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function rulesPassed(families: readonly (4 | 6)[]): string[] {
  const looked = new Set<string>();
  const at: readonly (readonly [number, string])[] = [
    [FRA.mark, "marks"],
    [FRA.ipProtocol, "protocols"],
    [FRA.sourcePorts, "ports"],
    [FRA.destinationPorts, "ports"],
  ];
  for (const family of families) {
    const header = new Uint8Array(HEADER_LENGTH.rule);
    header[0] = familyNumber(family);
    visitAll(NETLINK.route, RTM.getRule, header, (message) => {
      const found = message.attributes(HEADER_LENGTH.rule);
      if (found.get(FRA.protocol)?.[0] === RST_RULE_PROTOCOL) return;
      for (const [type, what] of at) if (found.has(type)) looked.add(what);
    });
  }
  return looked.size === 0 ? [] : [`policy rules that look at ${[...looked].sort().join(" and ")} (ip rule)`];
}

const TCA_KIND = 1;
/** struct tcmsg: the interface's index is at 4. */
const TCM_INTERFACE = 4;
/** Those that the kernel or a distribution sets by itself, and that only put packets in order. */
const USUAL_DISCIPLINES = new Set(["noqueue", "pfifo_fast", "pfifo", "fq_codel", "fq", "mq", "sfq"]);

function disciplinesPassed(interfaceIndex: number): string[] {
  const kinds = new Set<string>();
  visitAll(
    NETLINK.route,
    RTM.getQueueingDiscipline,
    new Uint8Array(HEADER_LENGTH.queueingDiscipline),
    (message) => {
      if (hostU32(message.body, TCM_INTERFACE) !== interfaceIndex) return;
      const kind = new TextDecoder().decode(message.attribute(HEADER_LENGTH.queueingDiscipline, TCA_KIND));
      const name = kind.replace(/\0.*$/s, "");
      if (!USUAL_DISCIPLINES.has(name) && name !== "ingress") kinds.add(name);
    },
  );
  return kinds.size === 0 ? [] : [`traffic control of its own: ${[...kinds].sort().join(", ")} (tc qdisc)`];
}
