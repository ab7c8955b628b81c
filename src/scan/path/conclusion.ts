/**
 * A walk's result, at any time: hops with their routers, what each port's SYNs met, and what was noticed beside.
 * Tested by test/sim/path.test.ts.
 */
import { type Address, formatAddress } from "../../wire/address.ts";
import type { PortState, Reason } from "../probe/result.ts";
import { type Finding, flowsTo } from "./finding.ts";
import { type Answer, answersOf, type Flow, isFinal, seenAt } from "./flow.ts";
import { ownHop } from "./judge.ts";
import type { FlowPath, HopAnswer, PathHop, PathNote, PathResult, PortPath, Where } from "./result.ts";
import type { Walk } from "./walk.ts";

/** @param endedUs and `startedUs` on the walk's clock */
export function conclude(
  walk: Walk,
  findings: readonly Finding[],
  local: Address,
  startedUs: number,
  endedUs: number,
): PathResult {
  const circles = loops(findings);
  const ports = findings.map((finding) => portPath(walk, finding, circles.length > 0));
  return {
    target: walk.target,
    local,
    hops: hopsOf(walk.flows),
    ports,
    notes: [...circles, ...translation(walk.flows), ...behindHost(walk, ports)],
    flows: findings.flatMap(flowPaths),
    sent: walk.sent,
    elapsedUs: endedUs - startedUs,
    interrupted: !walk.done,
  };
}

function portPath(
  walk: Walk,
  { port, reference, reach, where, doubt }: Finding,
  isLooped: boolean,
): PortPath {
  const flows = flowsTo(walk, port);
  const finals = flows.flatMap((flow) => flow.finals);
  const final = finals.find(({ kind }) => kind === "syn-ack") ?? finals[0];
  const [rejected] = answersOf(flows, "reject");
  const rtts = flows.flatMap(({ probes }) =>
    [...probes.values()].flatMap(({ answer, sentUs = 0 }) =>
      answer !== undefined && isFinal(answer) ? [answer.atUs - sentUs] : [],
    ),
  );
  const found: Where =
    where ?? (reach === undefined ? { kind: "unknown", from: seenAt(flows) } : { kind: "host", hop: reach });
  return {
    port,
    reference,
    ...verdictOf(final, rejected?.answer),
    seenAt: seenAt(flows),
    ...(reach === undefined ? {} : { reach }),
    ...(rtts.length === 0 ? {} : { rttUs: Math.min(...rtts) }),
    ...(final === undefined ? {} : { ttl: final.ttl }),
    where: isLooped ? found : withUsedUp(found, flows),
    ...(doubt === undefined ? {} : { doubt }),
    ...refusedOf(walk, port),
  };
}

function refusedOf(walk: Walk, port: number): Pick<PortPath, "refused"> {
  const refused = walk.refusedTo(port);
  if (refused === undefined) return {};
  const { syns, reason } = refused;
  return { refused: { syns, of: syns + walk.sentTo(port), reason } };
}

/** Whether the last hop that is seen has used up the largest TTL that was sent: then nothing is known of what is beyond, nor asked. A loop uses up any. */
function withUsedUp(where: Where, flows: readonly Flow[]): Where {
  if (where.kind !== "unknown" || where.from === 0) return where;
  const sent = flows.flatMap(({ probes }) =>
    [...probes.values()].flatMap(({ ttl, sentUs }) => (sentUs === undefined ? [] : [ttl])),
  );
  return Math.max(...sent) > where.from ? where : { ...where, usedUp: true };
}

function verdictOf(
  final: Answer | undefined,
  rejected: Answer | undefined,
): { readonly state: PortState; readonly reason: Reason } {
  if (final?.kind === "syn-ack") return { state: "open", reason: final.reason };
  if (final !== undefined) return { state: "closed", reason: final.reason };
  return { state: "filtered", reason: rejected?.reason ?? "no-response" };
}

function hopsOf(flows: readonly Flow[]): PathHop[] {
  const hops = new Map<number, Map<string, HopAnswer>>();
  for (const { port, probes } of flows) {
    for (const { answer, ttl, sentUs = 0 } of probes.values()) {
      if (answer?.kind !== "router") continue;
      const { from, labels, atUs } = answer;
      const answers = hops.get(ttl) ?? new Map<string, HopAnswer>();
      hops.set(ttl, answers);
      const before = answers.get(formatAddress(from));
      answers.set(formatAddress(from), {
        address: from,
        rttUs: Math.min(before?.rttUs ?? Number.POSITIVE_INFINITY, atUs - sentUs),
        labels: before?.labels ?? labels,
        ports: [...new Set([...(before?.ports ?? []), port])],
      });
    }
  }
  const last = Math.max(0, ...hops.keys());
  return Array.from({ length: last }, (_, i) => ({
    hop: i + 1,
    answers: [...(hops.get(i + 1)?.values() ?? [])],
  }));
}

/** The router of each hop of one flow, as text; "" where none answered. */
function routersOf(flow: Flow): string[] {
  const routers = new Map(answersOf([flow], "router").map(({ ttl, answer }) => [ttl, answer.from]));
  return Array.from({ length: seenAt([flow]) }, (_, i) => {
    const from = routers.get(i + 1);
    return from === undefined ? "" : formatAddress(from);
  });
}

const flowPaths = ({ port, main, counted = [] }: Finding): FlowPath[] =>
  main.map((flow, i) => ({
    port,
    sourcePort: flow.sourcePort,
    hops: routersOf(flow),
    sent: counted[i]?.sent ?? 0,
    answered: counted[i]?.answered ?? 0,
    seenAt: seenAt([flow]),
  }));

/** So many times one router answers the same flow, with others between, before it is called a loop. */
const LOOPED = 3;

function loops(findings: readonly Finding[]): PathNote[] {
  const found = new Map<string, PathNote>();
  for (const flow of findings.flatMap(({ main }) => main)) {
    const hops = new Map<string, { readonly address: Address; readonly at: number[] }>();
    for (const { ttl, answer } of answersOf([flow], "router")) {
      const key = formatAddress(answer.from);
      const seen = hops.get(key) ?? { address: answer.from, at: [] };
      hops.set(key, seen);
      if (!seen.at.includes(ttl)) seen.at.push(ttl);
    }
    for (const [key, { address, at }] of hops) {
      const apart = at.sort((a, b) => a - b).filter((hop, i) => i === 0 || hop > at[i - 1] + 1);
      if (apart.length >= LOOPED) found.set(key, { kind: "loop", address, hops: at });
    }
  }
  return [...found.values()];
}

function translation(flows: readonly Flow[]): PathNote[] {
  const hops = (["router", "reject"] as const)
    .flatMap((kind) => answersOf(flows, kind))
    .flatMap(({ ttl, answer }) => (answer.translated ? [ttl] : []));
  return hops.length === 0 ? [] : [{ kind: "nat", hop: Math.min(...hops) }];
}

function behindHost(walk: Walk, ports: readonly PortPath[]): PathNote[] {
  const hop = ownHop(walk);
  return ports.some(({ reach = 0 }) => reach > hop) ? [{ kind: "behind-host", hop }] : [];
}
