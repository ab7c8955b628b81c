/**
 * The totals of a run in sentences, for people: what was found, what was sent, and what makes the result less than sure.
 *
 * Text only: the table (formats/table.ts) paints it and decides where it goes.
 */
import type { IgnoredCounts, ScanSummary } from "../scan/probe/result.ts";
import { escapeWord } from "./escape.ts";
import { chance, count, digits, duration, percent } from "./figures.ts";

/** Silent ports that are less sure than the run was asked to be. */
export interface Doubtful {
  readonly ports: number;
  /** The largest of their doubts, 0 to 1. */
  readonly most: number;
  readonly confidence: number;
}

export interface TotalsLine {
  readonly kind: "not-shown" | "note" | "warning" | "total";
  readonly text: string;
}

/** What each ignored packet was, in the words of someone who reads packet captures. */
const IGNORED_BECAUSE: { readonly [Cause in keyof IgnoredCounts]: string } = {
  malformed: "cut short, or lengths that contradict each other",
  badChecksum: "wrong IP, TCP or ICMP checksum",
  wrongAck: "acknowledges a sequence number that was not sent",
  oddFlags: "TCP control bits that answer no SYN",
  foreign: "answers no probe of this run",
  fragment: "IP fragment, no evidence",
  icmpNoVerdict: "ICMP that decides nothing, such as fragmentation needed",
  duplicate: "repeats the answer of a port already decided",
};
const CAUSES = Object.keys(IGNORED_BECAUSE) as (keyof IgnoredCounts)[];

function notes(summary: ScanSummary): TotalsLine[] {
  const lines = CAUSES.filter((cause) => summary.ignored[cause] > 0).map(
    (cause) => `${count(summary.ignored[cause], "packet")} ignored: ${IGNORED_BECAUSE[cause]}`,
  );
  if (summary.late > 0) lines.unshift(`${count(summary.late, "answer")} counted that came after the timeout`);
  return lines.map((text) => ({ kind: "note", text }));
}

function warnings(summary: ScanSummary): TotalsLine[] {
  const lines: string[] = [];
  if (summary.receiveDrops > 0) {
    const dropped = count(summary.receiveDrops, "packet");
    lines.push(
      `${dropped} dropped by the kernel, receive buffer full: answers may be missing, a lower rate helps`,
    );
  }
  const errors = Object.entries(summary.sendErrors).filter(([, times]) => times > 0);
  if (errors.length > 0) {
    const refused = errors.reduce((sum, [, times]) => sum + times, 0);
    const byName = errors.map(([name, times]) => `${escapeWord(name)} ${digits(times)}`).join(", ");
    lines.push(`${count(refused, "send")} refused by the kernel: ${byName}`);
  }
  if (summary.interrupted) {
    lines.push(`interrupted, ${count(summary.unfinished, "port")} unfinished`);
  } else if (summary.unfinished > 0) {
    lines.push(`${count(summary.unfinished, "port")} unfinished`);
  }
  return lines.map((text) => ({ kind: "warning", text: `warning: ${text}` }));
}

/** What the run learnt of its path, for people. */
function path({ path, received, receiveDrops, open, closed, controls }: ScanSummary): TotalsLine[] {
  if (path === undefined) return [];
  const { round, out, back } = path.loss;
  const each = out === undefined || back === undefined ? "" : ` (${percent(out)} out, ${percent(back)} back)`;
  const loss =
    received === 0 || open + closed === 0
      ? "loss of the path unknown, nothing answered"
      : round === 0
        ? "no loss measured on the path"
        : `loss of the path ${percent(round)} of round trips${each}`;
  const drops = receiveDrops === 0 ? "none" : digits(receiveDrops);
  const rate = `${digits(Math.round(path.rate))} SYNs/s at the end`;
  const asked =
    controls === undefined
      ? "no control SYNs: hosts that answer on every port, or limit their RSTs, were not looked for"
      : `${count(controls, "control SYN")} sent`;
  return [
    { kind: "note", text: asked },
    { kind: "note", text: `${loss}; rate ${rate}; dropped by the receive buffer: ${drops}` },
  ];
}

/** How far silence can be trusted: always told where something was probably missed. */
function missed(
  { path, reasons }: ScanSummary,
  verbose: boolean,
  doubtful: Doubtful | undefined,
): TotalsLine[] {
  const lines: TotalsLine[] = [];
  if (doubtful !== undefined && doubtful.ports > 0) {
    const { ports, most, confidence } = doubtful;
    const are = ports === 1 ? "is" : "are";
    lines.push({
      kind: "warning",
      text:
        `${count(ports, "silent port")} ${are} less sure than --confidence ${confidence}: --retries allowed no more SYNs ` +
        `(doubt up to ${chance(most)})`,
    });
  }
  const silent = reasons.filtered["no-response"] ?? 0;
  if (path !== undefined && ((verbose && silent > 0) || path.missedOpen.high > 0)) {
    const { expected, low, high } = path.missedOpen;
    lines.push({
      kind: high > 0 ? "warning" : "note",
      text: `open ports probably missed: ${about(expected)} (95 % interval ${about(low)} to ${about(high)})`,
    });
  }
  return lines;
}

/** An expected number: `0`, `0.3`, `2.5`, `1,234`. */
const about = (n: number): string => (n < 9.95 ? String(Number(n.toFixed(1))) : digits(Math.round(n)));

function total(summary: ScanSummary, isShard: boolean): TotalsLine {
  const { open, closed, filtered, sent, retransmitted, received, elapsedMs, faults } = summary;
  const ports = count(open + closed + filtered, "port");
  const hosts = count(summary.hosts, "host");
  // Nobody has counted the hosts that a shard, or a run that was cut short, did come to.
  const found = isShard || summary.unfinished > 0 ? `${ports} (${hosts} planned)` : `${ports} on ${hosts}`;
  const states = `${digits(open)} open, ${digits(closed)} closed, ${digits(filtered)} filtered`;
  const again = retransmitted > 0 ? ` (${digits(retransmitted)} retransmitted)` : "";
  const traffic = `${count(sent, "SYN")} sent${again}, ${count(received, "packet")} received`;
  const unprobed = faults.length > 0 ? `; ${count(faults.length, "target")} could not be probed` : "";
  const text = `${found}: ${states}; ${traffic} in ${duration(elapsedMs)}${unprobed}`;
  return { kind: "total", text };
}

/**
 * The lines that end a report: what was not shown, notes (only with `verbose`), warnings (always), what was probably missed,
 * and the totals as the last one.
 *
 * @param verbose also tell what was received and not counted, cause by cause, how many answers were late, and what the path
 *   was like
 * @param notShown sentences about the results that were left out (formats/not-shown.ts)
 * @param isShard the run has a part only of what was planned
 * @param doubtful where it has been counted
 */
export function totalsLines(
  summary: ScanSummary,
  verbose: boolean,
  notShown: readonly string[],
  isShard = false,
  doubtful?: Doubtful,
): TotalsLine[] {
  return [
    ...notShown.map((text): TotalsLine => ({ kind: "not-shown", text })),
    ...(verbose ? [...notes(summary), ...path(summary)] : []),
    ...warnings(summary),
    ...missed(summary, verbose, doubtful),
    total(summary, isShard),
  ];
}
