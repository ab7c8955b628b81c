/**
 * The totals of a run in sentences, for people: what was found, what was sent, and what makes the result less than sure.
 *
 * Text only: the table (table.ts) paints it and decides where it goes.
 */
import type { IgnoredCounts, ScanSummary } from "../scan/result.ts";
import { escapeWord } from "./escape.ts";
import { count, digits, duration } from "./figures.ts";

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
 * The lines that end a report: what was not shown, notes (only with `verbose`), warnings (always), and the totals as the
 * last one.
 *
 * @param verbose also tell what was received and not counted, cause by cause, and how many answers were late
 * @param notShown sentences about the results that were left out (not-shown.ts)
 * @param isShard the run has a part only of what was planned
 */
export function totalsLines(
  summary: ScanSummary,
  verbose: boolean,
  notShown: readonly string[],
  isShard = false,
): TotalsLine[] {
  return [
    ...notShown.map((text): TotalsLine => ({ kind: "not-shown", text })),
    ...(verbose ? notes(summary) : []),
    ...warnings(summary),
    total(summary, isShard),
  ];
}
