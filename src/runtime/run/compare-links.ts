/**
 * A large run goes by frames of our own only where these hear what raw sockets hear: a few of its pairs are probed through both links
 * first, and what is heard is compared. means.ts has looked before for all that is known to matter; this finds what nobody has
 * thought of, be it a program on the interface or a switch that knows the machine by another address.
 *
 * Where nothing is heard either way nothing is known, and the run goes by frames. Not here: the engines (main-thread.ts).
 * Tested by test/lab/passed-by.test.ts too.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Link } from "../../link/link.ts";
import { PORT_STATES } from "../../scan/probe/result.ts";
import type { OrderOptions } from "../../scan/targets/permutation.ts";
import { nowMs } from "../system/clock.ts";
import type { EngineTask } from "./engine-builder.ts";
import { runInMainThread } from "./main-thread.ts";
import type { Comparison } from "./means.ts";

/** Most pairs that are probed both ways. */
export const COMPARED_PAIRS = 16;
/** How long anything is waited for, and how long the slower link, in milliseconds. */
const SILENCE_MS = 300;
const LONGEST_MS = 500;
const LOOK_MS = 5;
/** So many more must one link hear, and twice as many as the other: less can be loss. */
const DIFFERENCE = 4;

/** One of the two: a link, and ports that the run itself uses for control SYNs alone. */
export interface Side {
  readonly link: Link;
  readonly task: EngineTask;
}

/** The same shard of the same order, thinned out to a few pairs. */
export function thinned(order: Omit<OrderOptions, "worker">, total: number): Omit<OrderOptions, "worker"> {
  const { index, count } = order.shard ?? { index: 0, count: 1 };
  return {
    ...order,
    shard: { index, count: count * Math.max(1, Math.ceil(total / count / COMPARED_PAIRS)) },
  };
}

/**
 * Compares twice where the links differ: a target that limits its answers has them for whoever asks first. Both links stay open.
 * @param pairs how many each side's task has
 * @param sidesOf the sides of the first and of the second time
 */
export async function compareLinks(
  pairs: number,
  sidesOf: (time: 0 | 1) => { readonly raw: Side; readonly packet: Side },
): Promise<Comparison> {
  const first = await probeBoth(pairs, sidesOf(0), "raw");
  if (!first.differs) return first;
  const second = await probeBoth(pairs, sidesOf(1), "packet");
  const isSameLink = second.raw > second.packet === first.raw > first.packet;
  return { ...second, sent: first.sent + second.sent, differs: second.differs && isSameLink };
}

/** Probes the same pairs through both links, and through one of them first. */
async function probeBoth(
  pairs: number,
  { raw, packet }: { readonly raw: Side; readonly packet: Side },
  first: "raw" | "packet",
): Promise<Comparison> {
  const begun = nowMs();
  const sides = (first === "raw" ? [raw, packet] : [packet, raw]).map(probeOnce);
  const [one, other] = sides.map(({ heard }) => heard);
  const [byRaw, byPacket] = first === "raw" ? [one, other] : [other, one];
  let firstMs = Number.POSITIVE_INFINITY;
  for (;;) {
    await sleep(LOOK_MS);
    const ms = nowMs() - begun;
    if (byRaw.size + byPacket.size > 0) firstMs = Math.min(firstMs, ms);
    const isSame = byRaw.size === byPacket.size && ms > 2 * firstMs + 2 * LOOK_MS;
    if (isSame || ms > (firstMs < ms ? LONGEST_MS : SILENCE_MS) || sides.every(({ over }) => over())) break;
  }
  const sent = sides.reduce((all, { stop }) => all + stop(), 0);
  const [most, least] = [Math.max(byRaw.size, byPacket.size), Math.min(byRaw.size, byPacket.size)];
  const differs = most - least >= DIFFERENCE && most >= 2 * least;
  return { pairs, raw: byRaw.size, packet: byPacket.size, sent, differs };
}

function probeOnce({ link, task }: Side) {
  const heard = new Set<number>();
  let isOver = false;
  const run = runInMainThread(link, task, {
    keepsRecords: false,
    wants: PORT_STATES,
    onResult: ({ position, ttl, rttUs }) => {
      // What this machine itself decided has neither.
      if (ttl > 0 || rttUs >= 0) heard.add(position);
    },
    onRecords: () => {},
    onCapture: () => {},
    onRateChanges: () => {},
    onReport: () => {},
    room: () => undefined,
  });
  // A link that fails hears nothing.
  const end = (): void => {
    isOver = true;
  };
  run.finished.then(end, end);
  return {
    heard,
    over: () => isOver,
    /** @returns how many SYNs it has sent */
    stop: (): number => {
      run.kill();
      return run.reports().reduce((all, { counts }) => all + counts.sent, 0);
    },
  };
}
