/**
 * The totals of a run in sentences: what was found, what was sent, and what makes the result uncertain.
 *
 * Not here: colours, and where the sentences go (formats/table.ts).
 */
import type { IgnoredCounts, PathFindings, ScanSummary } from "../scan/probe/result.ts";
import { escapeWord } from "./escape.ts";
import { chance, count, digits, duration, percent } from "./figures.ts";

/** Silent ports that are less certain than `--confidence` asked for. */
export interface Doubtful {
  readonly ports: number;
  /** The largest doubt among them, 0 to 1. */
  readonly most: number;
  readonly confidence: number;
}

export interface TotalsLine {
  readonly kind: "not-shown" | "note" | "warning" | "total";
  readonly text: string;
}

/** Why packets were ignored, in words familiar from packet captures. */
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

/** What the run learnt about its path. */
function path(summary: ScanSummary): TotalsLine[] {
  const { path, receiveDrops, controls } = summary;
  const isKnown = isAnswered(summary);
  if (path === undefined && isKnown) return [];
  const { round = 0, out, back } = path?.loss ?? {};
  const each =
    out === undefined || back === undefined ? "" : ` (about ${percent(out)} out, ${percent(back)} back)`;
  const loss = !isKnown
    ? "loss and rate of the path unknown: nothing answered"
    : round === 0
      ? "no loss measured on the path"
      : `loss of the path ${percent(round)} of round trips${each}`;
  const rate =
    path === undefined || !isKnown ? "" : `; rate ${digits(Math.round(path.rate))} SYNs/s at the end`;
  const drops = receiveDrops === 0 ? "none" : digits(receiveDrops);
  const asked =
    controls === undefined
      ? ["no control SYNs: hosts that answer on every port, or limit their RSTs, were not looked for"]
      : controls > 0
        ? [`${count(controls, "control SYN")} sent`]
        : [];
  return [
    ...asked.map((text): TotalsLine => ({ kind: "note", text })),
    { kind: "note", text: `${loss}${rate}; dropped by the receive buffer: ${drops}` },
  ];
}

/** Hosts and times that are named one by one. */
const MOST_NAMED = 3;

/** @param rest says of how many more it holds */
function few<Item>(
  items: readonly Item[],
  sentence: (item: Item) => string,
  rest: (more: number) => string,
): string[] {
  const lines = items.slice(0, MOST_NAMED).map(sentence);
  const more = items.length - lines.length;
  return more > 0 ? [...lines, `and ${rest(more)}`] : lines;
}

/** Hosts that hold up the run, and times in which nothing could be found out. */
function hindrances({ rstLimited = [], outages = [], bursts, startedMs }: ScanSummary): TotalsLine[] {
  const slowest = [...rstLimited].sort((a, b) => a.perSecond - b.perSecond);
  const since = (ms: number): string => duration(Math.max(0, ms - startedMs));
  return [
    ...few(
      slowest,
      ({ ip, perSecond }) =>
        `${ip} answers with about ${perSecond < 10 ? perSecond.toPrecision(2) : Math.round(perSecond)} RSTs a second at most: it limits them, or a firewall limits what reaches it`,
      (more) => count(more, "more host answers with few", "more hosts answer with few"),
    ).map((text): TotalsLine => ({ kind: "note", text })),
    ...few(
      outages,
      ({ ip, fromMs, toMs }) => {
        const who = ip === undefined ? "an outage of the path: no host" : ip;
        const until = toMs === undefined ? "on" : `to ${since(toMs)}, for ${duration(toMs - fromMs)}`;
        return `${who} answered${ip === undefined ? "" : " nothing"} from ${since(fromMs)} ${until}`;
      },
      (more) => count(more, "more outage"),
    ).map((text): TotalsLine => ({ kind: "warning", text: `warning: ${text}` })),
    ...(bursts === undefined
      ? []
      : [
          {
            kind: "note" as const,
            text:
              `losses come in bursts of about ${duration(bursts.meanMs)}, ${percent(bursts.share)} of the time: ` +
              "silent ports were asked again as much later",
          },
        ]),
  ];
}

/** Whether any host answered for itself. Where none did, nothing is known of the path, nor of what was missed. */
export const isAnswered = ({ open, closed }: Pick<ScanSummary, "open" | "closed">): boolean =>
  open + closed > 0;

/**
 * Fewer are not expected to be missed: the interval may be wide nevertheless, by bursts of loss that a short run cannot see, which is
 * nothing to warn of.
 */
const ANY_EXPECTED = 0.05;

/** How far silence can be trusted. Always reported if an open port was probably missed. */
function missed(summary: ScanSummary, verbose: boolean, doubtful: Doubtful | undefined): TotalsLine[] {
  if (!isAnswered(summary)) return [];
  const { path, reasons, bursts } = summary;
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
  if (path?.verified !== undefined) lines.push(...verification(path.verified, verbose));
  const silent = reasons.filtered["no-response"] ?? 0;
  if (path === undefined) return lines;
  const { missedOpen, missed, unseen } = path;
  const isShown = unseen === undefined || bursts !== undefined;
  const mayBe = missedOpen.high > 0 && (isShown || missedOpen.expected >= ANY_EXPECTED);
  if (mayBe || (verbose && silent > 0)) {
    const all = verbose ? `; open or closed ones: ${interval(missed, "")}` : "";
    lines.push({
      kind: mayBe ? "warning" : "note",
      text: `open ports probably missed: ${interval(missedOpen, "95 % interval ")}${all}`,
    });
  }
  if (verbose && unseen !== undefined) {
    lines.push({
      kind: "note",
      text: `both intervals allow for ${count(unseen, "port")} hidden by bursts of loss that ${isShown ? "outlast all their tries" : "a run this short cannot see"}`,
    });
  }
  return lines;
}

/** What silent ports said when they were asked once more: reported if any answered. */
function verification(
  { asked, open, closed }: NonNullable<PathFindings["verified"]>,
  verbose: boolean,
): TotalsLine[] {
  if (open + closed === 0 && !verbose) return [];
  const answered =
    open + closed === 0 ? "none answered" : `${digits(open)} were open and ${digits(closed)} closed`;
  return [{ kind: "note", text: `${count(asked, "silent port")} asked once more at the end: ${answered}` }];
}

const interval = ({ expected, low, high }: PathFindings["missed"], what: string): string =>
  `${about(expected)} (${what}${about(low)} to ${about(high)})`;

/** An expected number: `0`, `0.3`, `2.5`, `1,234`. */
const about = (n: number): string => (n < 9.95 ? String(Number(n.toFixed(1))) : digits(Math.round(n)));

function total(summary: ScanSummary, { isShard = false, answered }: TotalsOptions): TotalsLine {
  const { open, closed, filtered, sent, retransmitted, received, elapsedMs, faults } = summary;
  const ports = count(open + closed + filtered, "port");
  // Those that were never handed over cannot be counted.
  const isCounted = answered !== undefined && (answered > 0 || !isAnswered(summary));
  const some = isCounted && answered < summary.hosts ? `, ${digits(answered)} answered` : "";
  const hosts = count(summary.hosts, "host");
  // How many of the hosts a shard has reached, or a run that left out some, is not counted.
  const found =
    isShard || summary.unfinished > 0 || summary.excluded !== undefined
      ? `${ports} (${hosts} planned${some})`
      : `${ports} on ${hosts}${some}`;
  const states = `${digits(open)} open, ${digits(closed)} closed, ${digits(filtered)} filtered`;
  const again = retransmitted > 0 ? ` (${digits(retransmitted)} retransmitted)` : "";
  const traffic = `${count(sent, "SYN")} sent${again}, ${count(received, "packet")} received`;
  const unprobed = faults.length > 0 ? `; ${count(faults.length, "target")} could not be probed` : "";
  const left =
    summary.excluded === undefined ? "" : `; ${digits(summary.excluded)} excluded since the run began`;
  const text = `${found}: ${states}; ${traffic} in ${duration(elapsedMs)}${left}${unprobed}`;
  return { kind: "total", text };
}

export interface TotalsOptions {
  /** Also report ignored packets by cause, late answers, and what was learnt about the path. */
  readonly verbose: boolean;
  /** Sentences about results that were not printed (formats/not-shown.ts). */
  readonly notShown: readonly string[];
  /** The run probes only a part of what was planned. */
  readonly isShard?: boolean;
  /** Silent ports that remain uncertain, if they were counted. */
  readonly doubtful?: Doubtful | undefined;
  /** Hosts that sent an answer themselves, if they were counted. */
  readonly answered?: number | undefined;
}

/**
 * The lines at the end of a report: what was not shown, notes (only with `verbose`), warnings, what was probably missed, and last
 * the totals.
 */
export function totalsLines(summary: ScanSummary, options: TotalsOptions): TotalsLine[] {
  const { verbose, notShown, doubtful } = options;
  return [
    ...notShown.map((text): TotalsLine => ({ kind: "not-shown", text })),
    ...(verbose ? [...notes(summary), ...path(summary)] : []),
    ...hindrances(summary),
    ...warnings(summary),
    ...missed(summary, verbose, doubtful),
    total(summary, options),
  ];
}
