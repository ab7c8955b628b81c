/**
 * Why a run had no answer at all, as far as this machine can tell: the judgement and its wording. A cause is one line: what was
 * seen, and after a colon what to do.
 *
 * Pure: no-answers-facts.ts gathers the facts, only after such a run. doctor examines the route to a target beforehand.
 */

import { count, digits } from "../../report/figures.ts";
import type { NoAnswerCause } from "../../report/reporter.ts";
import { isUnanswered, type ScanSummary } from "../../scan/probe/result.ts";
import {
  askedBy,
  interfaceDown,
  notConnected,
  silentNeighbour,
  silentNextHop,
} from "../plan/reachability.ts";

/** One way out that probes took, as it is after the run. */
export interface Way {
  readonly interfaceName: string;
  readonly state: "gone" | "down" | "not-connected" | "working";
  /** It is point-to-point: a VPN, a PPP line. */
  readonly tunnel: boolean;
  readonly family: 4 | 6;
  /** One of the addresses that were probed this way, canonical text. */
  readonly target: string;
  /** Next hop, when the targets are not on the link. */
  readonly gateway?: { readonly address: string; readonly resolved: boolean | undefined };
  /** Without a next hop: targets on the link that the kernel has resolved, or could not. */
  readonly neighbours?: { readonly resolved: number; readonly unresolved: readonly string[] };
  /** What the route is now, if it is no longer the one that the probes took. */
  readonly changed?: string;
  /** With -e: the interface that the kernel would choose, if it is another one. */
  readonly usual?: string;
  /** The target is in a private network and leaves by the default route. */
  readonly privateByDefault: boolean;
  readonly source: string;
  /** Interface that has the source address; undefined when none has. */
  readonly sourceOwner: string | undefined;
}

export interface NoAnswerFacts {
  readonly link: "raw-ip" | "packet" | "connect";
  readonly ways: readonly Way[];
  /** The user chose the source address. */
  readonly sourceChosen: boolean;
  /** The one source port of all probes (-g). */
  readonly onlyPort?: number;
  /** Packets that the interfaces sent and dropped during the run. */
  readonly left?: { readonly packets: number; readonly dropped: number };
  /** At least this many unicast IP packets came in during the run and reached neither a program nor another host. */
  readonly undelivered: number;
  /** Packets that reverse path filtering dropped during the run. */
  readonly reversePathDrops: number;
  readonly conntrack?: { readonly count: number; readonly max: number; readonly seconds: number };
}

/** What a run reports about its silence. */
export type UnansweredRun = Pick<
  ScanSummary,
  "hosts" | "open" | "closed" | "filtered" | "reasons" | "sent" | "sendErrors" | "ignored" | "receiveDrops"
>;

/** The ICMP error of the own kernel when it cannot find a neighbour; other machines send it too. */
const NEIGHBOUR_REASONS: readonly string[] = ["host-unreach", "addr-unreach"];

/**
 * Whether nothing answered: no open port, no closed port, and no ICMP error from another machine.
 * @param unresolved a neighbour could not be found
 */
export function nobodyAnswered(run: UnansweredRun, unresolved: boolean): boolean {
  if (run.open + run.closed > 0 || run.filtered === 0) return false;
  return Object.entries(run.reasons.filtered).every(
    ([reason, times]) =>
      times === 0 || isUnanswered(reason) || (unresolved && NEIGHBOUR_REASONS.includes(reason)),
  );
}

/** A table this full has no room for probes. */
const FULL = 0.95;
/** A fault is reported when less than this share of the SYNs left, or more than that share of packets was lost here. */
const FEW_LEFT = 0.5;
const MANY_LOST = 0.25;

interface Judged extends NoAnswerCause {
  /** It explains the silence of all targets: no other cause is looked for. */
  readonly whole: boolean;
}

/** The causes, most likely first: observed ones before suspected ones. Empty when something answered. */
export function judgeNoAnswers(run: UnansweredRun, facts: NoAnswerFacts): NoAnswerCause[] {
  if (!nobodyAnswered(run, facts.ways.some(isUnresolved))) return [];
  const causes: Judged[] = [];
  for (const look of [otherInterface, wayFaults, refusals, notLeft, lostInside, suspicions, allSilent]) {
    causes.push(...look(run, facts));
    // The rest would only be consequences of it.
    if (causes.some(({ whole }) => whole)) break;
  }
  return causes.map(({ code, text }) => ({ code, text }));
}

function isUnresolved({ gateway, neighbours }: Way): boolean {
  return gateway?.resolved === false || (neighbours?.unresolved.length ?? 0) > 0;
}

/** -e names another interface than the kernel would choose. */
function otherInterface(_run: UnansweredRun, { ways }: NoAnswerFacts): Judged[] {
  const [way] = ways.filter(({ usual }) => usual !== undefined);
  if (way === undefined) return [];
  const { interfaceName: name, target, usual } = way;
  const text = `-e ${name} is not the way to ${target} that the kernel would take, which is ${usual}: drop -e, or look what is behind ${name}`;
  return [{ code: "route", text, whole: false }];
}

/** Faults of the ways out; ways with the same fault share a line. */
function wayFaults(_run: UnansweredRun, { ways, sourceChosen }: NoAnswerFacts): Judged[] {
  const faults = new Map<string, { cause: Judged; ways: number }>();
  for (const way of ways) {
    const cause = wayFault(way, sourceChosen);
    if (cause === undefined) continue;
    const known = faults.get(cause.text);
    if (known === undefined) faults.set(cause.text, { cause, ways: 1 });
    else known.ways++;
  }
  const broken = [...faults.values()];
  const all = broken.reduce((sum, each) => sum + (each.cause.whole ? each.ways : 0), 0) === ways.length;
  return broken.map(({ cause }) => ({ ...cause, whole: cause.whole && all }));
}

function wayFault(way: Way, sourceChosen: boolean): Judged | undefined {
  const { interfaceName: name, state, gateway, neighbours, family } = way;
  if (state === "gone") {
    return fault(
      "interface",
      `interface ${name}, through which probes left, is gone: "ip link" lists what there is`,
    );
  }
  if (state === "down") return fault("interface", interfaceDown(name));
  if (state === "not-connected") {
    return fault("interface", `${notConnected(name)}: "ip -d link show ${name}" shows what it is`);
  }
  // The kernel has no route from such an address.
  if (way.sourceOwner === undefined) {
    const todo = sourceChosen ? "give -S another one" : "start the run again";
    return fault(
      "source",
      `source address ${way.source} is not this machine's any more: ${todo}; "ip addr" lists them`,
    );
  }
  if (way.changed !== undefined) {
    return fault("route", `the way to ${way.target} has changed during the run: ${way.changed}`);
  }
  const asked = askedBy(family);
  if (gateway?.resolved === false) {
    const askedFor = gateway.address.includes(":") ? askedBy(6) : asked;
    return fault("neighbour", silentNextHop(gateway.address, name, askedFor, way.target).join(": "));
  }
  if (neighbours !== undefined && neighbours.unresolved.length > 0) {
    const { unresolved, resolved } = neighbours;
    const [first] = unresolved;
    const some =
      unresolved.length === 1 ? `${first} does` : `${first} and ${digits(unresolved.length - 1)} more do`;
    const cause = fault("neighbour", silentNeighbour(some, name, asked).join(": "));
    return { ...cause, whole: resolved === 0 };
  }
  return undefined;
}

const fault = (code: NoAnswerCause["code"], text: string): Judged => ({ code, text, whole: true });

/** Sends that the kernel refused. */
function refusals({ sent, sendErrors }: UnansweredRun, { conntrack, link }: NoAnswerFacts): Judged[] {
  const refused = Object.values(sendErrors).reduce((sum, times) => sum + times, 0);
  const whole = refused > sent;
  const { EPERM: forbidden = 0, ...others } = sendErrors;
  const causes: Judged[] = [];
  const full = conntrack !== undefined && conntrack.max > 0 && conntrack.count >= conntrack.max * FULL;
  if (full && link !== "packet") {
    causes.push({
      code: "conntrack",
      text:
        `connection tracking is full (${digits(conntrack.count)} of ${digits(conntrack.max)} entries), so the kernel drops new connections or ` +
        `forgets their answers: raise net.netfilter.nf_conntrack_max, or wait ${conntrack.seconds} s; "synprobe doctor" has the commands`,
      whole: true,
    });
  }
  if (forbidden > 0) {
    causes.push({
      code: "firewall-out",
      text: `this machine's own firewall refused ${count(forbidden, "send")} (EPERM): "nft list ruleset" or "iptables -S OUTPUT" shows the rule`,
      whole,
    });
  }
  const names = Object.entries(others).filter(([, times]) => times > 0);
  if (names.length > 0 && whole) {
    const list = names.map(([name, times]) => `${name} ${digits(times)}`).join(", ");
    causes.push({
      code: "refused",
      text: `the kernel refused to send (${list}): "synprobe doctor TARGET" shows the way that probes take`,
      whole,
    });
  }
  return causes;
}

/**
 * SYNs that the kernel took and no interface sent. Raw sockets hear of a firewall's drop (EPERM), and frames pass by it; a connect does
 * not hear of it.
 */
function notLeft({ sent }: UnansweredRun, { link, left, ways }: NoAnswerFacts): Judged[] {
  // Packets that wait for a neighbour have not left either.
  if (left === undefined || left.packets >= sent * FEW_LEFT || ways.some(isUnresolved)) return [];
  const name = namesOf(ways);
  const dropped =
    left.dropped > 0 ? `, ${digits(left.dropped)} of them dropped by the driver or its queue` : "";
  const [who, where] =
    link === "connect" ? ["this machine's own firewall, ", '"nft list ruleset", '] : ["", ""];
  return [
    {
      code: "not-sent",
      text:
        `the kernel took ${count(sent, "SYN")}, but ${name} sent ${left.packets === 0 ? "none" : `${digits(left.packets)} at most`}${dropped}: ` +
        `${who}a queueing discipline, an egress filter or the driver has them; ${where}"tc -s qdisc", "tc filter show dev NAME egress", "ip -s link" tell`,
      whole: true,
    },
  ];
}

/** Packets that came back and prove nothing: a bare SYN is counted once a port. */
const unprovedPackets = ({ ignored, reasons }: UnansweredRun): number =>
  ignored.malformed +
  ignored.badChecksum +
  ignored.wrongAck +
  ignored.oddFlags +
  (reasons.filtered["unproved-syn"] ?? 0);

/** All packets that came, except those of a verdict. */
const packetsInVain = ({ ignored, reasons }: UnansweredRun): number =>
  Object.values(ignored).reduce((sum, packets) => sum + packets, reasons.filtered["unproved-syn"] ?? 0);

/** Packets that came back without leading to a verdict. */
function lostInside(run: UnansweredRun, facts: NoAnswerFacts): Judged[] {
  const { link, undelivered, reversePathDrops, onlyPort } = facts;
  const causes: Judged[] = [];
  // A packet socket is before the filter, but is not opened where that is strict (link/other-interfaces.ts).
  if (reversePathDrops >= run.sent * MANY_LOST && reversePathDrops > 0) {
    causes.push({
      code: "rp-filter",
      text:
        `${count(reversePathDrops, "packet")} came in through another interface than the way to ${reversePathDrops === 1 ? "its sender leads through, and strict reverse path filtering dropped it" : "their senders leads through, and strict reverse path filtering dropped them"}, ` +
        'most likely answers: "sysctl -w net.ipv4.conf.all.rp_filter=2", or mend the routes',
      whole: true,
    });
  }
  // A packet socket receives before a firewall can drop.
  if (link !== "packet" && undelivered >= run.sent * MANY_LOST && undelivered > 0) {
    causes.push({
      code: "firewall-in",
      text:
        `${count(undelivered, "packet")} came in and ${undelivered === 1 ? "was" : "were"} dropped inside this machine, most likely by its own firewall: ` +
        `"nft list ruleset" or "iptables -S INPUT" shows the rule`,
      whole: true,
    });
  }
  if (run.receiveDrops > 0) {
    causes.push({
      code: "receive-buffer",
      text: `${count(run.receiveDrops, "packet")} dropped because the receive buffer was full: a lower --max-rate, or a higher net.core.rmem_max`,
      whole: false,
    });
  }
  const unproved = unprovedPackets(run);
  const unclosed = run.ignored.wrongAck + run.ignored.oddFlags;
  if (onlyPort !== undefined && unclosed > 0 && unclosed === unproved) {
    // A SYN for a connection in SYN-RECEIVED is answered by a challenge ACK, or the old SYN-ACK again (RFC 9293 3.10.7.4).
    causes.push({
      code: "unproved",
      text:
        `${count(unclosed, "packet")} came back that ${unclosed === 1 ? "belongs" : "belong"} to an earlier SYN from port ${onlyPort}: the host still waits for the ` +
        'end of that handshake, most likely because a rule of this machine drops the kernel\'s RST ("nft list ruleset"): give another -g, ' +
        "none, or wait a minute",
      whole: false,
    });
  } else if (unproved > 0) {
    causes.push({
      code: "unproved",
      text:
        `${count(unproved, "packet")} came back that no probe can have asked for (wrong checksum, acknowledgement or flags): ` +
        "a middlebox, or forged; --packet-trace shows each, -v counts them",
      whole: false,
    });
  }
  const { foreign } = run.ignored;
  // Frames bring some of a network's own, with extension headers: multicast reports.
  if (foreign >= run.sent * MANY_LOST && foreign > 0) {
    causes.push({
      code: "unproved",
      text:
        `${count(foreign, "packet")} came that ${foreign === 1 ? "answers" : "answer"} no probe of this run: a target's by another of its addresses or through address translation, ` +
        "an earlier run's, or somebody else's; --packet-trace shows each and its sender",
      whole: false,
    });
  }
  return causes;
}

/** What may be intended, but is worth checking when nothing answers. */
function suspicions(_run: UnansweredRun, { ways, sourceChosen }: NoAnswerFacts): Judged[] {
  const causes = new Map<string, Judged>();
  const suspect = (code: NoAnswerCause["code"], text: string): void => {
    if (!causes.has(text)) causes.set(text, { code, text, whole: false });
  };
  for (const { interfaceName: name, target, gateway, source, sourceOwner, ...way } of ways) {
    if (way.privateByDefault) {
      const hop = gateway === undefined ? "" : `, next hop ${gateway.address}`;
      suspect(
        "route",
        `${target} is a private address, and goes where everything goes that has no route of its own (${name}${hop}): ` +
          `if it is behind a VPN or another router, that route is missing; "ip route get ${target}"`,
      );
    }
    if (sourceChosen && sourceOwner !== undefined && sourceOwner !== name) {
      suspect(
        "source",
        `source address ${source} is ${sourceOwner}'s, and probes leave through ${name}: answers may find no way back; drop -S, or give an address of ${name}`,
      );
    }
    if (way.tunnel) {
      suspect(
        "route",
        `probes to ${target} went into ${name}, a tunnel or VPN: if the targets are not behind it, -e names another interface`,
      );
    }
  }
  return [...causes.values()];
}

function allSilent(run: UnansweredRun, { link, ways, left }: NoAnswerFacts): Judged[] {
  const { hosts, sent } = run;
  // Packets that waited for a neighbour are reported already; they are not counted anywhere.
  const partly = ways.some(isUnresolved);
  const which = partly ? "the other SYNs" : sent === 1 ? "the SYN" : `all ${digits(sent)} SYNs`;
  const counted = partly || ways.length > 1 ? undefined : left?.packets;
  const names = namesOf(ways);
  const proof =
    link === "connect" ? ", unless this machine's own firewall dropped them" : ", as its counters confirm";
  const departure =
    counted !== undefined && counted < sent
      ? `the kernel took ${which}, of which ${names} sent ${digits(counted)} at most`
      : `${which} left through ${names}${link === "connect" || counted !== undefined ? proof : ""}`;
  // Of what came besides, a connect is not told.
  const none = link === "connect" ? "no answer" : "nothing";
  const nothing = packetsInVain(run) > 0 ? "no answer that proves to be one" : none;
  const sentence = `${departure}, and ${nothing} came back`;
  const those = partly ? "those hosts" : `the ${digits(hosts)} hosts`;
  const meaning =
    hosts === 1
      ? "the host is down, or a firewall, its own or one on the way, drops SYNs to these ports"
      : `${those} are down or do not exist, or a firewall on the way drops SYNs to every one of them`;
  return [
    {
      code: "all-silent",
      text: `${sentence}: ${meaning}; probe a port on the same way that is known to answer`,
      whole: false,
    },
  ];
}

const namesOf = (ways: readonly Way[]): string =>
  [...new Set(ways.map(({ interfaceName }) => interfaceName))].join(" and ");

/** For a person: one line when there is one cause, else a list. */
export function noAnswerLines(causes: readonly NoAnswerCause[]): string {
  const [only, ...others] = causes;
  if (only === undefined) return "";
  if (others.length === 0) return `nothing answered: ${only.text}`;
  return [
    "nothing answered; what may be why, most likely first:",
    ...causes.map(({ text }) => `  - ${text}`),
  ].join("\n");
}
