/**
 * A large run goes by frames of our own only where these hear what raw sockets hear: a few of its pairs are probed through both links
 * first, and what is heard is compared. means.ts has looked before for all that is known to matter; this finds what nobody has
 * thought of, be it a program on the interface or a switch that knows the machine by another address.
 *
 * Where nothing is heard either way nothing is known, and the run goes by frames.
 * Tested by test/lab/passed-by.test.ts too.
 */
import type { PortRange } from "../../link/filter.ts";
import type { Link, PacketHandler } from "../../link/link.ts";
import { isProof, segmentKind, sendErrorVerdict } from "../../scan/probe/classify.ts";
import { createReplyDecoder } from "../../scan/probe/reply-decoder.ts";
import { createSynTemplate, identificationOf } from "../../scan/probe/syn-template.ts";
import { createOrder, type OrderOptions } from "../../scan/targets/permutation.ts";
import type { Path, Probe } from "../../scan/targets/probe-source.ts";
import { createSource } from "../../scan/targets/source.ts";
import { seqDiff } from "../../socket/sequence.ts";
import { ADDRESS_WORDS, sameWords } from "../../socket/table.ts";
import type { Plan } from "../plan/plan.ts";
import { nowMs } from "../system/clock.ts";
import { createRandom } from "../system/random.ts";
import { type Comparison, WHOLE } from "./means.ts";

/** Most pairs that are probed both ways. */
export const COMPARED_PAIRS = 16;
/** How long anything is waited for, and how long the slower link, in milliseconds. */
const SILENCE_MS = 300;
const LONGEST_MS = 500;
const LOOK_MS = 5;
/** For so long, and twice the first answer's time, nothing new is heard where both have heard all they will. */
const QUIET_MS = 50;
/** So many more must one link hear, and twice as many as the other: less can be loss. */
const DIFFERENCE = 4;

/** One of the two: a link, and ports that the run itself uses for control SYNs alone. */
export interface Side {
  readonly link: Link;
  readonly ports: PortRange;
}

/** What is probed through both. */
export interface Compared {
  readonly pairs: readonly Probe[];
  readonly paths: readonly Path[];
  /** What the run's SYNs offer (createSynTemplate). */
  readonly timestamp: number | undefined;
  /** SYNs a second that may leave, of both links together. */
  readonly maxRate: number;
}

/** The same shard of the same order, thinned out to a few pairs. */
export function thinned(order: Omit<OrderOptions, "worker">, total: number): Omit<OrderOptions, "worker"> {
  const { index, count } = order.shard ?? { index: 0, count: 1 };
  return {
    ...order,
    shard: { index, count: count * Math.max(1, Math.ceil(total / count / COMPARED_PAIRS)) },
  };
}

/** A few of the pairs that a run probes. */
export function drawPairs({ space, within, pathRanges }: Plan, order: Omit<OrderOptions, "worker">): Probe[] {
  const source = createSource({
    space,
    ...(within === undefined ? {} : { within }),
    order: createOrder(space.total, thinned(order, space.total)),
    worker: WHOLE,
    paths: pathRanges,
  });
  const pairs: Probe[] = [];
  for (;;) {
    const pair = { words: new Uint32Array(ADDRESS_WORDS), port: 0, path: 0, position: 0 };
    if (!source.next(pair)) return pairs;
    pairs.push(pair);
  }
}

/**
 * Compares twice where the links differ: a target that limits its answers has them for whoever asks first. Both links stay open.
 * @param sidesOf the sides of the first and of the second time
 */
export async function compareLinks(
  compared: Compared,
  sidesOf: (time: 0 | 1) => { readonly raw: Side; readonly packet: Side },
): Promise<Comparison> {
  const first = await probeBoth(compared, sidesOf(0), "raw");
  if (!first.differs) return first;
  const second = await probeBoth(compared, sidesOf(1), "packet");
  const isSameLink = second.raw > second.packet === first.raw > first.packet;
  return { ...second, sent: first.sent + second.sent, differs: second.differs && isSameLink };
}

/** Probes the same pairs through both links, and through one of them first. */
async function probeBoth(
  compared: Compared,
  { raw, packet }: { readonly raw: Side; readonly packet: Side },
  first: "raw" | "packet",
): Promise<Comparison> {
  const begun = nowMs();
  let wake = (): void => {};
  // A near network has answered all within a millisecond.
  const noteHeard = (): void => {
    if (sides.every(({ isOver }) => isOver())) wake();
  };
  const byRaw = createOneProbe(raw, compared, noteHeard);
  const byPacket = createOneProbe(packet, compared, noteHeard);
  const sides = first === "raw" ? [byRaw, byPacket] : [byPacket, byRaw];
  let firstMs = Number.POSITIVE_INFINITY;
  let known = 0;
  let newMs = 0;
  for (;;) {
    // What had come by then is read now: a process that had no turn for long would judge what it has not read.
    const ms = nowMs() - begun;
    for (const { look } of sides) look();
    const heard = byRaw.heard() + byPacket.heard();
    if (heard > 0) firstMs = Math.min(firstMs, ms);
    if (heard !== known || sides.some(({ isSending }) => isSending())) newMs = ms;
    known = heard;
    const isSame = byRaw.heard() === byPacket.heard() && ms - newMs > 2 * firstMs + QUIET_MS;
    if (isSame || ms > (firstMs < ms ? LONGEST_MS : SILENCE_MS) || sides.every(({ isOver }) => isOver()))
      break;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LOOK_MS);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
  const [rawHeard, packetHeard] = [byRaw.heard(), byPacket.heard()];
  const [most, least] = [Math.max(rawHeard, packetHeard), Math.min(rawHeard, packetHeard)];
  return {
    pairs: compared.pairs.length,
    raw: rawHeard,
    packet: packetHeard,
    sent: byRaw.sent() + byPacket.sent(),
    differs: most - least >= DIFFERENCE && most >= 2 * least,
  };
}

interface OneProbe {
  /** Sends the next few SYNs, and takes what has come. */
  look(): void;
  /** Pairs of which anything has been heard that answers their SYN; SYNs that were sent. */
  heard(): number;
  sent(): number;
  /** Not all of them have left. */
  isSending(): boolean;
  /** Nothing more will be heard: all pairs have been, or the link has failed. */
  isOver(): boolean;
}

/**
 * One SYN to each pair, without an engine: an engine would be made for a few packets, and V8's code for the run's own would be the
 * slower for it (test/bench/README.md).
 */
function createOneProbe(
  { link, ports }: Side,
  { pairs, paths, timestamp, maxRate }: Compared,
  onHeard: () => void,
): OneProbe {
  const { batch } = link;
  // A run begins with more (congestion/pacer.ts).
  const atOnce = Math.floor((maxRate * LOOK_MS) / 1000 / 2);
  const templates = paths.map(({ local, ttl, mss }) => createSynTemplate(local, ttl, { timestamp, mss }));
  const random = createRandom();
  const sequences = pairs.map(() => random(2 ** 32) | 0);
  const localPorts = pairs.map((_, i) => ports.first + (i % (ports.last - ports.first + 1)));
  const { decode, reply } = createReplyDecoder();
  const heard = new Set<number>();
  let next = 0;
  let sent = 0;
  let hasFailed = false;
  pairs.forEach(({ words, port, path }, i) => {
    const at = i * batch.slotLength + batch.offset;
    const identification = identificationOf(sequences[i], random(2 ** 31));
    templates[path].write(batch.data, at, words, 0, localPorts[i], port, sequences[i], identification);
    batch.lengths[i] = templates[path].length;
  });

  const isAbout = (i: number): boolean =>
    reply.localPort === localPorts[i] &&
    reply.peerPort === pairs[i].port &&
    sameWords(reply.peer, 0, pairs[i].words, 0);

  const hear: PacketHandler = (bytes, at, end) => {
    const decoded = decode(bytes, at, end);
    if (decoded !== "segment" && decoded !== "icmp-error") return;
    const i = pairs.findIndex((_, pair) => isAbout(pair));
    if (i < 0) return;
    const kind = segmentKind(reply.flags);
    const answers =
      decoded === "segment"
        ? (kind === "syn-ack" || kind === "reset") &&
          isProof(kind, seqDiff(reply.acknowledgement, sequences[i]))
        : reply.reason !== undefined && reply.sequence === sequences[i] >>> 0;
    if (!answers) return;
    heard.add(i);
    onHeard();
  };
  const fail = (): void => {
    hasFailed = true;
  };
  /** A link that fails hears nothing. */
  const attempt = (work: () => void): void => {
    if (hasFailed) return;
    try {
      work();
    } catch {
      fail();
    }
  };
  link.listen(hear, () => attempt(link.drain), fail);

  function send(): void {
    for (const end = Math.min(pairs.length, next + atOnce); next < end; ) {
      const taken = link.send(next, end - next);
      sent += taken;
      next += taken;
      if (taken > 0) continue;
      const { local } = paths[pairs[next].path];
      const verdict = sendErrorVerdict(link.sendError, local.length === 4 ? 4 : 6);
      if (verdict === "again" || verdict === "asking") return;
      next++;
    }
  }

  return {
    look: () =>
      attempt(() => {
        // First what has filled a ring since it was opened, whatever it is: there has to be room for answers.
        link.drain();
        send();
        link.drain();
      }),
    heard: () => heard.size,
    sent: () => sent,
    isSending: () => !hasFailed && next < pairs.length,
    isOver: () => hasFailed || heard.size === pairs.length,
  };
}
