/**
 * What a run would do, for `--dry-run`: a page for people, and one line of JSON for programs.
 */
import type { LeftOut, PlannedLink, PlanView } from "../../scan/probe/result.ts";
import { escapeText, escapeWord } from "../escape.ts";
import { count, digits, duration, portRanges, size } from "../figures.ts";
import { jsonLine } from "./ndjson.ts";
import { targetLabel } from "./table.ts";

const LABEL_WIDTH = 10;
/** Longer lists of ports, addresses and outputs end in an ellipsis. */
const LONGEST_LINE = 1000;

/** A line of the page: label and text. A continuation has no label. */
function row(label: string, text: string): string {
  return `${label.padEnd(LABEL_WIDTH)}${escapeText(text, LONGEST_LINE)}\n`;
}

/** Several lines of one kind, with the label on the first. */
const rows = (label: string, texts: readonly string[]): string =>
  texts.map((text, i) => row(i === 0 ? label : "", text)).join("");

function order({ seed, sample }: PlanView["order"]): string {
  const kind = seed === undefined ? "ascending" : `random, --seed ${escapeWord(seed)} repeats it`;
  return row("Order", kind) + rows("First", sample.map(targetLabel));
}

function link({ link, interfaceName, sources, sourcePorts: { first, last } }: PlannedLink): string {
  const ports = first === last ? `port ${first}` : `ports ${first}-${last}`;
  return `${link} on ${escapeWord(interfaceName)}, from ${sources.join(" and ")}, ${ports}`;
}

const comparison = ({ comparisonSyns }: PlanView): string[] =>
  comparisonSyns === 0
    ? []
    : [`compared with raw-ip first, by ${count(comparisonSyns, "SYN")} more at most, to some of the pairs`];

function time({ least, most }: PlanView["expectedMs"]): string {
  const [shortest, longest] = [duration(least), duration(most)];
  return shortest === longest
    ? `about ${shortest}`
    : `${shortest} if everything answers, ${longest} if nothing does`;
}

function rate(maxRate: number | undefined): string {
  if (maxRate === undefined) return "as the path allows";
  return maxRate < 1
    ? `at most a SYN every ${duration(1000 / maxRate)}`
    : `at most ${digits(maxRate)} SYNs/s`;
}

const controls = (plan: PlanView["controls"]): string =>
  "none" in plan
    ? `none: ${plan.none}`
    : `ports that answered are asked again, and ${count(plan.portsPerHost, "unnamed port")} at most of a host that may answer on any`;

function leftOut({ why, count: n, unit }: LeftOut): string {
  return `${count(n, unit, unit === "address" ? "addresses" : `${unit}s`)}: ${why}`;
}

/** The plan as a page of labelled lines. */
export function formatPlan(plan: PlanView): string {
  const { hosts, shard, maxRate } = plan;
  const onHosts = hosts === undefined ? "" : ` on ${count(hosts, "host")}`;
  const ofShard = shard === undefined ? "" : `, shard ${shard.index} of ${shard.count}`;
  return [
    row("Pairs", `${digits(plan.pairs)}${onHosts}${ofShard}`),
    row("Ports", `${digits(plan.ports.length)}: ${portRanges(plan.ports)}`),
    rows("Left out", plan.leftOut.map(leftOut)),
    order(plan.order),
    rows("Link", [...plan.links.map(link), ...comparison(plan)]),
    row("Workers", String(plan.workers)),
    row("Memory", `about ${size(plan.memoryBytes)}`),
    row("Rate", rate(maxRate)),
    row("Time", time(plan.expectedMs)),
    row("Controls", controls(plan.controls)),
    rows(
      "Output",
      plan.outputs.map(({ format, path }) => `${format} to ${path === "-" ? "standard output" : path}`),
    ),
    "\nNothing was sent: this is a dry run.\n",
  ].join("");
}

/**
 * The plan as one line of JSON, in this order, those marked ? only when known:
 *   type "plan", pairs, hosts?, ports (ranges in one string), seed?, first [{ip, port, host?}], shard? {index, count},
 *   links [{link, interface, sources, source_ports [first, last]}], comparison_syns, workers, memory_bytes, max_rate?,
 *   expected_ms [least, most], left_out [{why, count, unit}],
 *   unnamed_ports_per_host (for control SYNs; 0 when there are none), outputs [{format, path}]
 */
export function planJson(plan: PlanView): string {
  return jsonLine({
    type: "plan",
    pairs: plan.pairs,
    hosts: plan.hosts,
    ports: portRanges(plan.ports),
    seed: plan.order.seed,
    first: plan.order.sample.map(({ ip, port, host }) => ({ ip, port, host })),
    shard: plan.shard && { index: plan.shard.index, count: plan.shard.count },
    links: plan.links.map(({ link, interfaceName, sources, sourcePorts: { first, last } }) => ({
      link,
      interface: interfaceName,
      sources,
      source_ports: [first, last],
    })),
    comparison_syns: plan.comparisonSyns,
    workers: plan.workers,
    memory_bytes: plan.memoryBytes,
    max_rate: plan.maxRate,
    expected_ms: [Math.round(plan.expectedMs.least), Math.round(plan.expectedMs.most)],
    left_out: plan.leftOut.map(({ why, count, unit }) => ({ why, count, unit })),
    unnamed_ports_per_host: "none" in plan.controls ? 0 : plan.controls.portsPerHost,
    outputs: plan.outputs.map(({ format, path }) => ({ format, path })),
  });
}
