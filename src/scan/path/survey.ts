/**
 * What a walk asks, in which order: every port's SYNs with every TTL at once, then again what was not answered; a port to compare
 * with where none of those asked for answers; how far the host is; and for each port what stops its SYNs (judge.ts).
 *
 * Written as generators: each yields a batch of SYNs and goes on when the walk has settled it.
 * Tested by test/sim/path.test.ts and test/sim/path-limits.test.ts.
 */
import { compare, SURE, together } from "./compare.ts";
import { type Finding, flowsTo, isAnswered, isClosed, mostSyns, type SurveyOptions } from "./finding.ts";
import { answersOf, type Flow, isFinal, type Probe, seenAt } from "./flow.ts";
import { judge } from "./judge.ts";
import type { Surveyed } from "./walk.ts";

export interface Survey {
  readonly findings: Finding[];
  readonly run: Generator<readonly Probe[], void>;
}

/** Ports that most hosts open, or close with a RST, if any. */
export const COMMON_PORTS = [443, 80, 22, 25, 53, 3389, 8080, 21, 445, 8443] as const;
/** SYNs to a silent port go so far beyond the last hop that answered anybody, when they are asked again. */
const BEYOND = 5;
/** A router looks for a neighbour for three seconds (RFC 4861 §10, and Linux's ARP), in microseconds after the first SYN to it. */
const ROUTER_US = 3_500_000;
/** SYNs of each flow to the host, where flows are counted. */
const COUNTED = 5;
/** Pauses before a closed port is asked again that has not answered, at first and at most. */
const PAUSE_US = 200_000;
const LONGEST_PAUSE_US = 1_000_000;

export function createSurvey(walk: Surveyed, options: SurveyOptions): Survey {
  const findings: Finding[] = [];
  const add = (port: number, reference: boolean, flows: number): Finding => {
    const main = Array.from({ length: flows }, () => walk.flow(port)).filter((flow) => flow !== undefined);
    const finding = { port, reference, main };
    findings.push(finding);
    return finding;
  };
  return { findings, run: run(walk, options, findings, add) };
}

function* run(
  walk: Surveyed,
  options: SurveyOptions,
  findings: Finding[],
  add: (port: number, reference: boolean, flows: number) => Finding,
): Generator<readonly Probe[], void> {
  const { ports, reference, search = true, awaitsRouter = search, flows, tries } = options;
  for (const port of ports) add(port, false, flows);
  if (reference !== undefined && !ports.includes(reference)) add(reference, true, 1);
  yield firstTries(walk, findings, options);
  const isSilent = findings.some(({ main }) => !main.some(isStopped));
  if (search && reference === undefined && isSilent && !findings.some(({ port }) => isAnswered(walk, port))) {
    const found = yield* findReference(walk, options);
    if (found !== undefined) yield firstTries(walk, [add(found, true, 1)], options);
  }
  for (let again = 1; again < tries; again++) {
    const batch = unanswered(walk, findings, options);
    if (batch.length === 0) break;
    yield batch;
  }
  if (awaitsRouter && !walk.flows.some(isStopped)) yield awaitRouter(walk, options);
  const answered = findings.filter(({ port }) => isAnswered(walk, port));
  yield* together(answered.map((finding) => findReach(walk, finding, options)));
  yield* together(answered.map((finding) => checkReach(walk, finding, answered, options)));
  if (flows > 1) yield* countFlows(walk, answered, options.maxHops);
  const closedBefore = closedPorts(walk, findings);
  yield* together(findings.map((finding) => judge(walk, finding, findings, options)));
  // One that only a comparison has found closed says of others, compared meanwhile, that they may be closed too.
  const closed = closedPorts(walk, findings).filter((port) => !closedBefore.includes(port));
  const isDoubtful = ({ where }: Finding): boolean =>
    where?.kind === "at-host" && where.rstLimit !== true && !isClosed(walk, where.other);
  const again = closed.length === 0 ? [] : findings.filter(isDoubtful);
  yield* together(again.map((finding) => judge(walk, finding, findings, options)));
}

const closedPorts = (walk: Surveyed, findings: readonly Finding[]): number[] =>
  findings.flatMap(({ port }) => (isClosed(walk, port) ? [port] : []));

/** Whether a flow has been answered as by the host, or rejected: what has a higher TTL tells nothing new. */
const isStopped = (flow: Flow): boolean => flow.finals.length > 0 || answersOf([flow], "reject").length > 0;

/** A SYN of each flow with each TTL, hop by hop, until it is stopped. */
function firstTries(walk: Surveyed, findings: readonly Finding[], { maxHops }: SurveyOptions): Probe[] {
  const flows = findings.flatMap(({ main }) => main);
  return Array.from({ length: maxHops }, (_, i) => i + 1).flatMap((ttl) =>
    flows.map((flow) => walk.probe(flow, ttl, { wanted: () => !isStopped(flow) })),
  );
}

/** Once more whatever was not answered, as far as the host, or a little beyond the last hop that anybody has seen. */
function unanswered(walk: Surveyed, findings: readonly Finding[], { maxHops }: SurveyOptions): Probe[] {
  const answered = walk.flows.filter(({ finals }) => finals.length > 0);
  const host = Math.max(0, ...answered.map(({ cap }) => cap));
  const farthest = Math.max(host, seenAt(walk.flows) + BEYOND);
  const probes = findings.flatMap(({ main }) =>
    main.flatMap((flow) => {
      const seen = seenAt([flow]);
      const rejected = Math.min(...answersOf([flow], "reject").map(({ ttl }) => ttl));
      const last = flow.finals.length > 0 ? seen - 1 : Math.min(maxHops, farthest, rejected - 1);
      const known = new Set([...flow.probes.values()].flatMap(({ answer, ttl }) => (answer ? [ttl] : [])));
      return Array.from({ length: Math.max(0, last) }, (_, i) => i + 1)
        .filter((ttl) => !known.has(ttl))
        .map((ttl) => walk.probe(flow, ttl));
    }),
  );
  return probes.sort((a, b) => a.ttl - b.ttl);
}

/**
 * Where nobody answers, the host may not be there: its router says so when it has given up looking for it. One more SYN, if it does not,
 * leaves when that has been waited for.
 */
function awaitRouter(walk: Surveyed, { maxHops }: SurveyOptions): Probe[] {
  const [flow] = walk.flows;
  if (flow === undefined) return [];
  const sent = walk.flows.flatMap(({ probes }) => [...probes.values()].flatMap(({ sentUs }) => sentUs ?? []));
  const passedUs = sent.length === 0 ? 0 : Math.max(...sent) - Math.min(...sent);
  const afterUs = Math.max(0, ROUTER_US - passedUs);
  return [walk.probe(flow, maxHops, { afterUs, wanted: () => !walk.flows.some(isStopped) })];
}

/** A port that is answered as by the host, among the common ones. */
function* findReference(
  walk: Surveyed,
  { ports, maxHops, excluded }: SurveyOptions,
): Generator<readonly Probe[], number | undefined> {
  const candidates = COMMON_PORTS.filter(
    (port) => !ports.includes(port) && excluded?.includes(port) !== true,
  );
  for (let round = 0; round < 2; round++) {
    yield candidates.flatMap((port) => {
      const flow = walk.flow(port);
      return flow === undefined ? [] : [walk.probe(flow, maxHops)];
    });
    const found = candidates.find((port) => isAnswered(walk, port));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Finds the least TTL with which a port is answered as by the host, by SYNs that have a flow, and so an answer, of their own. */
function* findReach(
  walk: Surveyed,
  finding: Finding,
  options: SurveyOptions,
): Generator<readonly Probe[], void> {
  const { maxHops, tries } = options;
  const { port, main } = finding;
  // A search for a reference sent its SYNs with the highest TTL, which says nothing of how far the host is.
  const searched = new Set(flowsTo(walk, port).filter((flow) => !main.includes(flow)));
  const single = (): Probe[] =>
    flowsTo(walk, port)
      .filter((flow) => flow.probes.size === 1 && !searched.has(flow))
      .flatMap(({ probes }) => [...probes.values()]);
  const caps = main.map(({ cap }) => cap).filter(Number.isFinite);
  const last = caps.length === 0 ? maxHops : Math.min(maxHops, Math.max(...caps));
  /** Of SYNs that nobody has answered, how many there were with this TTL. */
  const silentAt = (ttl: number): number =>
    single().filter((probe) => probe.ttl === ttl && !probe.skipped && probe.answer === undefined).length;
  /** Whether RSTs seem to be withheld: from SYNs that went as far as one that was answered, or from more than one hop. */
  const isLimited = (reach: number): boolean =>
    isClosed(walk, port) &&
    (reach > seenAt(flowsTo(walk, port)) + 2 ||
      single().some(
        ({ ttl, answer, sentUs }) => ttl >= reach && answer === undefined && sentUs !== undefined,
      ));
  /** Of these, how often the hop before was silent while a SYN that goes far enough was answered. */
  let silences = 0;
  let pauseUs = 0;
  for (let round = 0; round < tries + 3; round++) {
    const seen = seenAt(flowsTo(walk, port));
    const reached = single().flatMap(({ answer, ttl }) => (answer && isFinal(answer) ? [ttl] : []));
    if (reached.length > 0) finding.reach = Math.min(...reached);
    const { reach } = finding;
    const isControlled = reach !== undefined && isLimited(reach);
    if (
      reach !== undefined &&
      (reach <= seen + 1 || (isControlled ? silences : silentAt(reach - 1)) >= tries)
    )
      return;
    if (round > 1 && walk.sentTo(port) >= mostSyns(options)) return;
    const wanted =
      reach === undefined
        ? range(Math.min(seen + 1, last), round === 0 ? Math.min(seen + 3, last) : last)
        : range(Math.max(seen + 1, reach - 3), reach - 1);
    const batch = (isControlled ? [...wanted, reach] : wanted).flatMap((ttl) => {
      const flow = walk.flow(port);
      return flow === undefined ? [] : [walk.probe(flow, ttl, { afterUs: pauseUs })];
    });
    yield batch;
    if (!isControlled) continue;
    // The control goes last: what the host has a RST for then, it had one for before.
    const isHeard = batch.some(({ ttl, answer }) => ttl === reach && answer !== undefined);
    const isNearer = batch.some(({ ttl, answer }) => ttl < reach && answer !== undefined && isFinal(answer));
    silences = isNearer ? 0 : silences + (isHeard ? 1 : 0);
    if (!isHeard) pauseUs = Math.min(LONGEST_PAUSE_US, pauseUs * 2 + PAUSE_US);
  }
}

/**
 * A closed port that seems to be farther than another, with no router to show for it: a host that limits its RSTs may have withheld
 * the nearer ones. The nearer hop is taken, unless the port goes on to be answered at the farther one alone, both asked in turn.
 */
function* checkReach(
  walk: Surveyed,
  finding: Finding,
  answered: readonly Finding[],
  options: SurveyOptions,
): Generator<readonly Probe[], void> {
  const { port } = finding;
  if (!isClosed(walk, port)) return;
  for (;;) {
    const { reach = 0 } = finding;
    const nearer = answered.map((other) => other.reach ?? 0).filter((hop) => hop > 0 && hop < reach);
    const ttl = Math.max(0, ...nearer);
    if (ttl === 0 || seenAt(flowsTo(walk, port)) >= ttl) return;
    const [far, near] = [reach, ttl].map((each) => ({ port, ttl: each }));
    const { doubt } = yield* compare(walk, far, near, isFinal, mostSyns(options));
    if (doubt <= SURE) return;
    finding.reach = ttl;
  }
}

const range = (first: number, last: number): number[] =>
  Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);

/** How many of its SYNs each flow gets answered by the host. */
function* countFlows(
  walk: Surveyed,
  findings: readonly Finding[],
  maxHops: number,
): Generator<readonly Probe[], void> {
  for (const finding of findings) finding.counted = finding.main.map(() => ({ sent: 0, answered: 0 }));
  for (let round = 0; round < COUNTED; round++) {
    const batch = findings.flatMap(({ main, reach = maxHops }) =>
      main.map((flow) => walk.probe(flow, reach)),
    );
    yield batch;
    for (const { main, counted } of findings) {
      main.forEach((flow, i) => {
        const sentUs = batch.find((probe) => probe.flow === flow)?.sentUs;
        if (counted === undefined || sentUs === undefined) return;
        counted[i].sent++;
        if (flow.lastFinalUs >= sentUs) counted[i].answered++;
      });
    }
  }
}
