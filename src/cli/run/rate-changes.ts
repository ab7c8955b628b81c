/**
 * Changes of the send rate in words, for `-vv`: "rate fell from 12,000 to 8,400 SYNs/s: the queue grew to 23 ms".
 *
 * Not here: why the rate changes (scan/congestion/controller.ts), and the same as data (report/formats/ndjson.ts).
 */
import { digits, percent } from "../../report/figures.ts";
import type { RateChangeReason, RateDecision } from "../../scan/probe/result.ts";

const WORDS: Readonly<Record<RateChangeReason, string>> = {
  "queue-grew": "the queue on the path grew",
  "queue-stayed": "a queue that others fill stayed",
  "fewer-answered": "fewer SYNs were answered",
  "buffer-overrun": "this machine's receive buffer overflowed",
  "trial-over": "the answers to a faster trial are not here yet",
  "answered-well": "the share of answers holds",
  "no-queue": "no queue showed",
  "loss-unrelated": "slowing down did not help, so the rate is not what loses them",
  "nothing-answers": "nothing answers, so there is nothing to go by",
};

const rate = (perSecond: number): string => digits(Math.round(perSecond));

/** @param workers of the run; with more than one, the line names the worker */
export function rateChangeLine(decision: RateDecision, workers: number): string {
  const { fromRate, toRate, reason, queueUs, answeredShare, usualShare, worker } = decision;
  const queue = queueUs === undefined ? "" : ` to ${Math.max(1, Math.round(queueUs / 1000))} ms`;
  const share =
    answeredShare === undefined || usualShare === undefined
      ? ""
      : `: ${percent(answeredShare)} instead of ${percent(usualShare)}`;
  const name = workers > 1 ? `worker ${worker}: ` : "";
  const verb = toRate < fromRate ? "fell" : "rose";
  const evidence = reason === "queue-stayed" ? queue.replace(" to", " at") : queue + share;
  return `${name}rate ${verb} from ${rate(fromRate)} to ${rate(toRate)} SYNs/s: ${WORDS[reason]}${evidence}`;
}
