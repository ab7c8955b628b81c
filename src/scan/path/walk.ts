/**
 * The loop of a walk, sans-I/O: sends the SYNs of one batch after the other at no more than a rate, matches what comes back, and
 * asks for the next batch when every SYN of one has been answered or waited for long enough.
 *
 * What counts as an answer has our sequence number: in the acknowledgement of a segment, or in the quote of an ICMP error. A
 * forged one decides nothing. Which SYNs are sent, and what the answers mean: survey.ts, verdicts.ts.
 */

import { seqDiff } from "../../socket/sequence.ts";
import { ADDRESS_WORDS, loadAddress, storeAddress } from "../../socket/table.ts";
import { type Address, sameAddress } from "../../wire/address.ts";
import { u16 } from "../../wire/bytes.ts";
import { mplsLabels, quoteEnd } from "../../wire/icmp-extensions.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import * as tcp from "../../wire/tcp.ts";
import { createPacer } from "../congestion/pacer.ts";
import { isProof, segmentKind } from "../probe/classify.ts";
import { createReplyDecoder } from "../probe/reply-decoder.ts";
import type { Reason } from "../probe/result.ts";
import { createSynTemplate, WINDOW } from "../probe/syn-template.ts";
import { type Answer, type Flow, markOf, type Probe, seenAt } from "./flow.ts";
import { createRefusals, type Refused } from "./refusals.ts";

export interface WalkOptions {
  readonly target: Address;
  readonly local: Address;
  /** SYNs per second. */
  readonly rate: number;
  /** Others of the same rate have left just before it (Pacer.follow). */
  readonly follows?: boolean;
  /** Source ports of its flows, both included. */
  readonly sourcePorts: { readonly first: number; readonly last: number };
  /** Uniform integers below a number; they are the proof, so nobody else may know them. */
  readonly random: (below: number) => number;
}

/** What a survey may do with a walk. */
export interface Surveyed {
  readonly target: Address;
  /** A new flow to a port. @returns undefined when there are no source ports left */
  flow(port: number): Flow | undefined;
  probe(
    flow: Flow,
    ttl: number,
    more?: { readonly afterUs?: number; readonly wanted?: () => boolean },
  ): Probe;
  readonly flows: readonly Flow[];
  /** SYNs sent to a port. */
  sentTo(port: number): number;
}

export interface Walk extends Surveyed {
  /** Begins: `survey` yields batches of probes, and goes on when each of a batch is settled. */
  start(survey: Generator<readonly Probe[], void>, nowUs: number): void;
  /** A received IP packet, that came at `nowUs`. */
  handlePacket(b: Uint8Array, at: number, end: number, nowUs: number): void;
  /** Writes the next SYN that may leave now at `out[at]`. @returns its length; 0 when there is none */
  pollTransmit(out: Uint8Array, at: number, nowUs: number): number;
  /** The SYN that was polled last could not be sent, and will be polled again. */
  unsend(): void;
  /** The kernel has refused the SYN that was polled last, with `errno`: it is polled again, unless none to its port is ever sent. */
  refuse(errno: string): void;
  handleTimeout(nowUs: number): void;
  /** When `pollTransmit` or `handleTimeout` next has something to do. */
  pollTimeout(): number;
  /** Whether the survey is over. */
  readonly done: boolean;
  readonly sent: number;
  /** SYNs to a port that the kernel has refused to send; undefined for none. */
  refusedTo(port: number): Refused | undefined;
}

/** Before anything as of the host has come, the round trip to it is unknown: the wait for an answer, at least. */
const FIRST_WAIT_US = 500_000;
/** Waited beyond the longest round trip that was seen, in all and as its share. */
const MARGIN_US = 50_000;
const MARGIN = 1.25;
/** No round trip is taken for longer than this where it is not known which SYN was answered. */
const MOST_BOUND_US = 3_000_000;

export function createWalk({ target, local, rate, follows, sourcePorts, random }: WalkOptions): Walk {
  const family = target.length === 4 ? 4 : 6;
  const peer = new Uint32Array(ADDRESS_WORDS);
  loadAddress(peer, 0, target, 0, target.length);
  const decoder = createReplyDecoder();
  const { reply } = decoder;
  const flows: Flow[] = [];
  const bySourcePort = new Map<number, Flow>();
  const size = sourcePorts.last - sourcePorts.first + 1;
  let pacer = createPacer(rate, 0);
  let survey: Generator<readonly Probe[], void> | undefined;
  let batch: readonly Probe[] = [];
  let batchStartUs = 0;
  /** Those of the batch that are still to be sent, in order. */
  let unsent: Probe[] = [];
  let done = false;
  let sent = 0;
  let isAnswered = false;
  let longestRttUs: number | undefined;
  /** The longest that the host's may have been, until an answer to a flow's only SYN has told it. */
  let boundUs = 0;
  let isHostMeasured = false;
  let lastPolled: Probe | undefined;
  let isNoted = false;
  const refusals = createRefusals();
  let clockUs = 0;

  function flow(port: number): Flow | undefined {
    if (flows.length === size) return undefined;
    // Neighbouring ports: what is told by a flow's port is told by its order anyway.
    const sourcePort = sourcePorts.first + flows.length;
    const made: Flow = {
      port,
      sourcePort,
      iss: random(2 ** 32),
      probes: new Map(),
      finals: [],
      cap: Number.POSITIVE_INFINITY,
      lastFinalUs: Number.NEGATIVE_INFINITY,
    };
    flows.push(made);
    bySourcePort.set(sourcePort, made);
    return made;
  }

  function probe(of: Flow, ttl: number, more: { afterUs?: number; wanted?: () => boolean } = {}): Probe {
    let attempt = 0;
    while (of.probes.has(markOf(ttl, attempt))) attempt++;
    const made: Probe = {
      flow: of,
      ttl,
      attempt,
      afterUs: more.afterUs ?? 0,
      wanted: more.wanted ?? (() => true),
      sentUs: undefined,
      skipped: false,
      answer: undefined,
    };
    of.probes.set(markOf(ttl, attempt), made);
    return made;
  }

  function waitUs(): number {
    const longest = Math.max(longestRttUs ?? 0, boundUs);
    return isAnswered ? longest * MARGIN + MARGIN_US : Math.max(FIRST_WAIT_US, 2 * longest);
  }

  /** Until when an answer to a SYN is waited for. One that its flow's answer has overtaken is soon given up. */
  function deadline({ sentUs = 0, flow: { finals, lastFinalUs, probes } }: Probe): number {
    const until = sentUs + waitUs();
    if (finals.length === 0 || lastFinalUs < sentUs) return until;
    return probes.size === 1 ? lastFinalUs : Math.min(until, lastFinalUs + MARGIN_US);
  }

  const isSettled = (each: Probe, nowUs: number): boolean =>
    each.skipped || each.answer !== undefined || (each.sentUs !== undefined && deadline(each) <= nowUs);

  function advance(nowUs: number): void {
    clockUs = Math.max(clockUs, nowUs);
    while (!done && unsent.length === 0 && batch.every((each) => isSettled(each, nowUs))) {
      const next = survey?.next();
      if (next === undefined || next.done === true) {
        done = true;
        return;
      }
      batch = next.value;
      batchStartUs = nowUs;
      unsent = batch.slice().sort((a, b) => a.afterUs - b.afterUs);
    }
  }

  /** Takes away what has become needless, from the front, and anywhere where the front is held back. */
  function skipUnwanted(): void {
    const isHeld = unsent.length > 0 && refusals.of(unsent[0].flow.port) !== undefined;
    for (let i = 0; i < unsent.length; ) {
      if (unsent[i].wanted()) {
        if (!isHeld) return;
        i++;
        continue;
      }
      unsent[i].skipped = true;
      unsent.splice(i, 1);
    }
  }

  /** When a SYN may be tried; a port that the kernel refuses waits, and others go on. */
  const dueAt = ({ afterUs, flow: { port } }: Probe): number =>
    Math.max(batchStartUs + afterUs, refusals.heldUntil(port));

  const nextSendAt = (): number => Math.max(Math.min(...unsent.map(dueAt)), pacer.nextAt(clockUs));

  /** The SYN that was polled last has left, as nobody has said otherwise. */
  function noteLeft(): void {
    if (lastPolled?.sentUs === undefined || isNoted) return;
    const { port } = lastPolled.flow;
    isNoted = true;
    if (!refusals.left(port)) return;
    // It was not for good: what was said to be refused was not asked.
    for (const each of flows.flatMap((flow) => (flow.port === port ? [...flow.probes.values()] : []))) {
      if (each.answer?.reason.startsWith("send-") !== true) continue;
      each.answer = undefined;
      each.skipped = true;
    }
  }

  function pollTransmit(out: Uint8Array, at: number, nowUs: number): number {
    noteLeft();
    advance(nowUs);
    skipUnwanted();
    if (unsent.length === 0) advance(nowUs);
    skipUnwanted();
    if (done || pacer.allowance(nowUs) < 1) return 0;
    const due = unsent.findIndex((each) => dueAt(each) <= nowUs);
    if (due < 0) return 0;
    const [next] = unsent.splice(due, 1);
    pacer.spend();
    sent++;
    next.sentUs = nowUs;
    lastPolled = next;
    isNoted = false;
    const mark = markOf(next.ttl, next.attempt);
    const template = createSynTemplate(local, next.ttl, { window: WINDOW + mark });
    template.write(out, at, peer, 0, next.flow.sourcePort, next.flow.port, next.flow.iss, mark);
    return template.length;
  }

  function handlePacket(b: Uint8Array, at: number, end: number, nowUs: number): void {
    const decoded = decoder.decode(b, at, end);
    if (decoded !== "segment" && decoded !== "icmp-error") return;
    const found = bySourcePort.get(reply.localPort);
    if (found === undefined) return;
    if (decoded === "segment") handleSegment(found, nowUs);
    else handleError(found, b, nowUs);
  }

  const isPeer = (port: number): boolean =>
    reply.peerPort === port &&
    sameAddress(storeAddress(reply.peer, 0, target.length), 0, target, 0, target.length);

  function handleSegment(found: Flow, nowUs: number): void {
    const kind = segmentKind(reply.flags);
    if ((kind !== "syn-ack" && kind !== "reset") || !isPeer(found.port)) return;
    if (!isProof(kind, seqDiff(reply.acknowledgement, found.iss))) return;
    const sentTo = [...found.probes.values()].filter(({ sentUs }) => sentUs !== undefined);
    if (sentTo.length === 0) return;
    const answer: Answer = {
      kind,
      from: target,
      atUs: nowUs,
      ttl: reply.ttl,
      reason: kind,
      labels: [],
      translated: false,
    };
    const isFirst = found.finals.length === 0;
    found.lastFinalUs = nowUs;
    if (!found.finals.some((each) => each.kind === kind)) found.finals.push(answer);
    if (isFirst) found.cap = Math.max(...sentTo.map(({ ttl }) => ttl));
    isAnswered = true;
    const [only] = sentTo;
    if (sentTo.length === 1 && only.answer === undefined) {
      only.answer = answer;
      measure(only, nowUs);
      isHostMeasured = true;
      boundUs = 0;
    } else if (isFirst && !isHostMeasured) {
      // It may answer any SYN beyond the last hop that was seen, the first of which tells the longest round trip it can have had.
      const beyond = seenAt([found]) + 1;
      const first = sentTo.find(({ attempt, ttl }) => attempt === 0 && ttl === beyond);
      // Where the host limits its RSTs it is a later one, each time after a longer wait.
      if (first !== undefined)
        boundUs = Math.max(boundUs, Math.min(nowUs - (first.sentUs ?? nowUs), MOST_BOUND_US));
    }
  }

  function measure({ sentUs = 0 }: Probe, nowUs: number): void {
    longestRttUs = Math.max(longestRttUs ?? 0, nowUs - sentUs);
  }

  function handleError(found: Flow, b: Uint8Array, nowUs: number): void {
    if (reply.reason === undefined || reply.sequence !== found.iss) return;
    const asked = found.probes.get(markIn(b));
    if (asked?.sentUs === undefined || asked.answer !== undefined) return;
    measure(asked, nowUs);
    const { responderAt, responderLength } = reply;
    asked.answer = {
      kind: reply.reason === "time-exceeded" ? "router" : "reject",
      from: b.slice(responderAt, responderAt + responderLength),
      atUs: nowUs,
      ttl: reply.ttl,
      reason: reply.reason,
      labels: mplsLabels(b, reply.messageAt, reply.messageEnd, family),
      translated:
        !isPeer(found.port) ||
        !sameAddress(storeAddress(reply.local, 0, local.length), 0, local, 0, local.length),
    };
  }

  /** The mark of the quoted SYN; -1 when the quote is too short to have it. */
  function markIn(b: Uint8Array): number {
    if (family === 4) return u16(b, reply.quoteAt + ipv4.IDENTIFICATION);
    const windowAt = reply.quotedSegmentAt + tcp.WINDOW;
    if (windowAt + 2 > quoteEnd(b, reply.messageAt, reply.messageEnd, 6)) return -1;
    return u16(b, windowAt) - WINDOW;
  }

  return {
    target,
    flow,
    probe,
    flows,
    sentTo: (port) =>
      flows.reduce(
        (sum, each) =>
          each.port !== port
            ? sum
            : sum + [...each.probes.values()].filter(({ sentUs }) => sentUs !== undefined).length,
        0,
      ),
    start: (given, nowUs) => {
      survey = given;
      pacer = createPacer(rate, nowUs);
      if (follows === true) pacer.follow(nowUs);
      advance(nowUs);
    },
    handlePacket,
    pollTransmit,
    unsend: () => {
      if (lastPolled === undefined) return;
      lastPolled.sentUs = undefined;
      unsent.unshift(lastPolled);
      sent--;
    },
    refuse: (errno) => {
      if (lastPolled === undefined) return;
      const refused = lastPolled;
      lastPolled = undefined;
      refused.sentUs = undefined;
      sent--;
      const reason: Reason = `send-${errno.toLowerCase()}`;
      const becomes = refusals.refused(refused.flow.port, reason, clockUs);
      if (becomes === "again") unsent.unshift(refused);
      else if (becomes === "lost") refused.skipped = true;
      else {
        refused.answer = {
          kind: "reject",
          from: local,
          atUs: clockUs,
          ttl: 0,
          reason,
          labels: [],
          translated: false,
        };
      }
    },
    refusedTo: refusals.of,
    handleTimeout: advance,
    pollTimeout: () => {
      if (done) return Number.POSITIVE_INFINITY;
      if (unsent.length > 0) return nextSendAt();
      // It goes on when the last of them is settled, or waited for.
      return Math.max(clockUs, ...batch.map((each) => (isSettled(each, clockUs) ? clockUs : deadline(each))));
    },
    get done() {
      return done;
    },
    get sent() {
      return sent;
    },
  };
}
