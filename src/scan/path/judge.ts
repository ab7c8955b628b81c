/**
 * What stops a port's SYNs, and how sure that is: by its own answers where it has some, otherwise by comparison with a port whose
 * SYNs go further.
 *
 * The rule: a hop is named only where a router or the host answers for another port what it does not answer for this one, again
 * and again; and not more narrowly than between the last hop that has seen this port's SYNs and the first that should have.
 * Tested by test/sim/path.test.ts and test/sim/path-limits.test.ts.
 */
import { type Address, formatAddress, sameAddress } from "../../wire/address.ts";
import { compare, SURE } from "./compare.ts";
import { chanceOfSilence } from "./doubt.ts";
import { type Finding, flowsTo, isAnswered, isClosed, mostSyns, type SurveyOptions } from "./finding.ts";
import { type Answer, answersOf, isFinal, type Probe, seenAt } from "./flow.ts";
import type { Where } from "./result.ts";
import type { Surveyed } from "./walk.ts";

/** Whether an answer stands for one of the host. */
const isOfHost = (answer: Answer): boolean => isFinal(answer) || answer.kind === "reject";

type Judging = Generator<readonly Probe[], void>;

/** Hops at which two ports are compared, before it is left at that. */
const MOST_COMPARED = 4;
/** SYNs by which it is asked whether a flow is dead, and new flows to compare it with. */
const ASKED_AGAIN = 8;
const PAUSE_US = 60_000;

export function* judge(
  walk: Surveyed,
  finding: Finding,
  findings: readonly Finding[],
  options: SurveyOptions,
): Judging {
  const flows = flowsTo(walk, finding.port);
  if (finding.main.some((flow) => flow.finals.length > 0)) {
    if (!judgeFlows(finding)) yield* judgeAnswer(walk, finding, findings, options);
  } else if (answersOf(flows, "reject").length > 0) {
    judgeReject(walk, finding);
    yield* judgeOwnReject(walk, finding, findings, options);
  } else yield* judgeSilence(walk, finding, findings, options);
}

/** Whether some flows were answered, and others not once. */
function judgeFlows(finding: Finding): boolean {
  const { main, counted } = finding;
  if (counted === undefined) return false;
  const dead = main.filter((flow, i) => flow.finals.length === 0 && counted[i].answered === 0);
  if (dead.length === 0) return false;
  const alive = counted.filter((_, i) => !dead.includes(main[i]));
  const sum = (of: "sent" | "answered"): number => alive.reduce((total, each) => total + each[of], 0);
  finding.where = {
    kind: "some-flows",
    from: Math.min(...dead.map((flow) => seenAt([flow]))),
    passed: main.length - dead.length,
    asked: main.length,
  };
  const [{ sent = 0 } = {}] = counted;
  finding.doubt = chanceOfSilence(sum("answered"), sum("sent"), sent);
  return true;
}

const same = (a: Address, b: Address): boolean => a.length === b.length && sameAddress(a, 0, b, 0, a.length);

/** The hop at which the host's own address answers as a router, if it does: what is answered from there on is its own answer. */
export function ownHop(walk: Surveyed): number {
  const own = answersOf(walk.flows, "router").filter(({ answer }) => same(answer.from, walk.target));
  return Math.min(...own.map(({ ttl }) => ttl));
}

/** An answer as of the host: is it the host's, or that of a box which another port's SYNs pass? */
function* judgeAnswer(
  walk: Surveyed,
  finding: Finding,
  findings: readonly Finding[],
  options: SurveyOptions,
): Judging {
  const { reach } = finding;
  if (reach === undefined) return;
  finding.where = { kind: "host", hop: reach };
  yield* judgeBox(walk, finding, reach, findings, options);
}

/** An ICMP error in the host's name is, as its segments are, the host's own or that of a box (a firewall that bridges, or at ingress). */
function* judgeOwnReject(
  walk: Surveyed,
  finding: Finding,
  findings: readonly Finding[],
  options: SurveyOptions,
): Judging {
  const { where } = finding;
  if (where?.kind !== "rejected" || !where.self) return;
  const first = Math.min(...answersOf(flowsTo(walk, finding.port), "reject").map(({ ttl }) => ttl));
  yield* judgeBox(walk, finding, first, findings, options);
  // Behind a translator routers answer with the host's address too.
  if (finding.where === where && first >= ownHop(walk)) finding.where = { ...where, self: false };
}

/** Whether what answers in the host's name `reach` hops away is a box: another port's SYNs go further, on the same way. */
function* judgeBox(
  walk: Surveyed,
  finding: Finding,
  reach: number,
  findings: readonly Finding[],
  options: SurveyOptions,
): Judging {
  const { port } = finding;
  const [farther] = findings
    .filter((other) => other !== finding)
    .map((other) => ({ other, hop: Math.max(other.reach ?? 0, seenAt(flowsTo(walk, other.port)) + 1) }))
    .filter(({ hop }) => hop > reach)
    .sort((a, b) => b.hop - a.hop);
  if (farther === undefined || reach >= ownHop(walk)) return;
  const { other, hop } = farther;
  if (yield* isApart(walk, port, other.port, reach)) return;
  // Where the host answers both, a SYN of either shows how far it is; otherwise routers that answer the other port must.
  const [mine, theirs] = [port, other.port].map((each) => ({ port: each, ttl: reach }));
  const { doubt } = isAnswered(walk, other.port)
    ? yield* compare(walk, mine, theirs, isOfHost, mostSyns(options))
    : yield* compare(walk, theirs, mine, ({ kind }) => kind === "router", mostSyns(options));
  if (doubt > SURE) return;
  const from = Math.min(reach - 1, seenAt(flowsTo(walk, port)));
  finding.where = { kind: "box", from, to: reach, beyond: hop, other: other.port };
  finding.doubt = doubt;
}

/**
 * Whether two ports' SYNs take different ways before a hop, as where routes go by the port: then their distances say nothing of each
 * other. Of equal ways each flow draws one, so that new flows are asked before it is taken for that.
 */
function* isApart(
  walk: Surveyed,
  port: number,
  other: number,
  reach: number,
): Generator<readonly Probe[], boolean> {
  const parted = (): number | undefined => {
    const [mine, theirs] = [port, other].map((each) => routersTo(walk, each));
    for (let hop = 1; hop < reach; hop++) {
      const [a, b] = [mine.get(hop), theirs.get(hop)];
      if (a !== undefined && b !== undefined && ![...a].some((each) => b.has(each))) return hop;
    }
    return undefined;
  };
  const hop = parted();
  if (hop === undefined) return false;
  yield Array.from({ length: ASKED_AGAIN }, (_, i) => i).flatMap((i) =>
    [port, other].flatMap((each) => {
      const flow = walk.flow(each);
      return flow === undefined ? [] : [walk.probe(flow, hop, { afterUs: i * PAUSE_US })];
    }),
  );
  return parted() !== undefined;
}

/** The routers that have answered a port, by hop. */
function routersTo(walk: Surveyed, port: number): Map<number, Set<string>> {
  const routers = new Map<number, Set<string>>();
  for (const { ttl, answer } of answersOf(flowsTo(walk, port), "router")) {
    const at = routers.get(ttl) ?? new Set<string>();
    routers.set(ttl, at.add(formatAddress(answer.from)));
  }
  return routers;
}

/**
 * An ICMP error names its sender. Where that is not a hop that was seen, it is between the last one and the error's TTL. What this
 * machine refuses to send, it stops itself.
 */
function judgeReject(walk: Surveyed, finding: Finding): void {
  const flows = flowsTo(walk, finding.port);
  const rejects = answersOf(flows, "reject").sort((a, b) => a.ttl - b.ttl);
  const [{ ttl, answer }] = rejects;
  const by = answer.from;
  finding.doubt = 0;
  if (answer.reason.startsWith("send-")) {
    finding.where = { kind: "rejected", by, self: false, from: 0, to: 0 };
    return;
  }
  const from = Math.min(seenAt(flows), ttl - 1);
  const at = answersOf(walk.flows, "router").find(
    (each) => same(each.answer.from, by) && each.ttl >= from && each.ttl <= ttl,
  );
  const self = same(by, walk.target);
  finding.where = { kind: "rejected", by, self, from: at?.ttl ?? from, to: at?.ttl ?? ttl };
}

/** No answer of its own: compared, hop by hop, with the port whose SYNs go furthest. */
function* judgeSilence(
  walk: Surveyed,
  finding: Finding,
  findings: readonly Finding[],
  options: SurveyOptions,
): Judging {
  const { port } = finding;
  const seen = (): number => seenAt(flowsTo(walk, port));
  const [farthest] = findings
    .filter((other) => other !== finding && (other.reach !== undefined || farthestOf(walk, other) > seen()))
    .sort((a, b) => (b.reach ?? 0) - (a.reach ?? 0) || farthestOf(walk, b) - farthestOf(walk, a));
  let best: { readonly where: Where; readonly doubt: number } | undefined;
  const compared = new Set<number>();
  while (farthest !== undefined && compared.size < MOST_COMPARED) {
    // Where branches differ in length, this port has been seen as far out as the other was answered.
    const host = farthest.reach === undefined ? undefined : Math.max(farthest.reach, seen() + 1);
    const hops = [...hopsOf(walk, farthest), ...(host === undefined ? [] : [host])];
    const next = hops.find((hop) => hop > seen() && !compared.has(hop));
    if (next === undefined) break;
    compared.add(next);
    const most = mostSyns(options);
    const closed = next === host ? closedOf(walk, finding, farthest, findings, options) : undefined;
    const like = closed ?? farthest.port;
    const [theirs, mine] = [like, port].map((each) => ({ port: each, ttl: next }));
    const { answered, doubt } = yield* compare(walk, theirs, mine, () => true, most, seen() === 0);
    const flows = flowsTo(walk, port);
    if (isAnswered(walk, port)) {
      yield* judgeMainFlow(walk, finding, next);
      return;
    }
    if (answersOf(flows, "reject").length > 0) {
      judgeReject(walk, finding);
      yield* judgeOwnReject(walk, finding, findings, options);
      return;
    }
    if (doubt === 1) continue;
    const place = { from: seen(), to: next, other: answered > 0 ? like : farthest.port };
    const where: Where =
      next !== host
        ? { kind: "dropped", ...place }
        : { kind: "at-host", ...place, ...(closed !== undefined && doubt > SURE ? { rstLimit: true } : {}) };
    if (best === undefined || doubt < best.doubt) best = { where, doubt };
    if (doubt <= SURE) break;
  }
  finding.where = { kind: "unknown", from: seen() };
  if (best === undefined || ("to" in best.where && best.where.to <= seen())) return;
  finding.where = best.where;
  finding.doubt = best.doubt;
}

/**
 * A port that the host has answered with RSTs, if there is one: what is silent may be closed too. Beside an open port that says nothing
 * where the host limits its RSTs, as many do, and not its SYN-ACKs; a closed one is limited alike, and shows it.
 */
function closedOf(
  walk: Surveyed,
  finding: Finding,
  farthest: Finding,
  findings: readonly Finding[],
  { closed }: SurveyOptions,
): number | undefined {
  const beyond = farthestOf(walk, farthest);
  // One that is answered before a router which another port passes has its RSTs from a box, unless its own SYNs come by there too.
  const isByBox = (other: Finding): boolean =>
    other.reach !== undefined && other.reach <= beyond && farthestOf(walk, other) < other.reach;
  const all = findings.filter((other) => other !== finding && isClosed(walk, other.port));
  const [found] = all.filter((other) => !isByBox(other)).sort((a, b) => (b.reach ?? 0) - (a.reach ?? 0));
  return found?.port ?? closed;
}

const farthestOf = (walk: Surveyed, { port }: Finding): number => seenAt(flowsTo(walk, port));

/** Where routers answer a port's SYNs. */
const hopsOf = (walk: Surveyed, { port }: Finding): number[] =>
  [...new Set(answersOf(flowsTo(walk, port), "router").map(({ ttl }) => ttl))].sort((a, b) => a - b);

/** New flows are answered, the one that was walked was not: by chance, or because it goes another way. */
function* judgeMainFlow(walk: Surveyed, finding: Finding, reach: number): Judging {
  const { port, main } = finding;
  const [flow] = main;
  const asked = Array.from({ length: ASKED_AGAIN }, (_, i) => {
    const fresh = walk.flow(port);
    const more = { afterUs: i * PAUSE_US, wanted: () => flow.finals.length === 0 };
    return [flow, ...(fresh === undefined ? [] : [fresh])].map((each) => walk.probe(each, reach, more));
  });
  yield asked.flat();
  finding.reach = reach;
  finding.where = { kind: "host", hop: reach };
  if (flow.finals.length > 0) return;
  const others = flowsTo(walk, port).filter(({ probes, ...each }) => {
    const [probe] = probes.values();
    return (
      !main.some(({ sourcePort }) => sourcePort === each.sourcePort) && !probe.skipped && probe.ttl >= reach
    );
  });
  const passed = others.filter(({ finals }) => finals.length > 0).length;
  const doubt = chanceOfSilence(passed, others.length, ASKED_AGAIN);
  // RSTs that the host limits come to any flow, or to none.
  if (isClosed(walk, port) && doubt > SURE) return;
  finding.where = { kind: "some-flows", from: seenAt([flow]), passed, asked: others.length + 1 };
  finding.doubt = doubt;
}
