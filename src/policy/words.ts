/** What several formats say of a finding, in the same words; not escaped: each format does that in its own way. */
import { chance, count, digits } from "../report/figures.ts";
import type { PortResult } from "../scan/probe/result.ts";
import { formatEndpoint } from "../wire/address.ts";
import type { CheckReport, Counts, Finding } from "./check.ts";
import type { Rule } from "./policy.ts";

/** "198.18.0.1:80", "www.example.net:80 (198.18.0.1)". */
export const targetOf = ({ host, ip, port }: PortResult): string =>
  host === undefined ? formatEndpoint(ip, port) : `${formatEndpoint(host, port)} (${ip})`;

/** The evidence: "reset", "no-response, doubt 0.3", "admin-prohibited from 198.18.0.254", "reset, seen from fra". */
export function reasonOf({ reason, responder, doubt, answersAll, from: seen = [] }: PortResult): string {
  const from = responder === undefined ? "" : ` from ${responder}`;
  const sure = doubt === undefined ? "" : `, doubt ${chance(doubt)}`;
  const places = seen.length === 0 ? "" : `, seen from ${seen.map(({ place }) => place).join(" and ")}`;
  return `${reason}${from}${sure}${answersAll === true ? ", answers on every port" : ""}${places}`;
}

/** "policy.yaml:12:5" */
export const placeOf = (
  { policy }: CheckReport,
  { line, column }: { readonly line: number; readonly column: number },
) => `${policy.file}:${line}:${column}`;

/** Whom to ask, and what else the policy says of it: "owner net@example.net", "env=prod", "until 2027-01-31", "why: …". */
export function remarksOf({ group: { owner, labels, until, why, from } }: Rule): string[] {
  return [
    ...(from === undefined ? [] : [`from ${from.join(" and ")}`]),
    ...(owner === undefined ? [] : [`owner ${owner}`]),
    ...Object.entries(labels).map(([key, value]) => `${key}=${value}`),
    ...(until === undefined ? [] : [`until ${until}`]),
    ...(why === undefined ? [] : [`why: ${why}`]),
  ];
}

/** "198.18.0.1:80: expected open, found closed (reset)"; of a failed look "could not be told". */
export function sentenceOf({ outcome, rule, result, where }: Finding): string {
  const found =
    outcome === "differs"
      ? `found ${result.state} (${reasonOf(result)})`
      : `could not be told (${result.state}: ${reasonOf(result)})`;
  return `${targetOf(result)}: expected ${rule.expected}, ${found}${where === undefined ? "" : `; ${where}`}`;
}

/** "80,443 open" */
export const ruleTitle = ({ portsText, expected }: Rule): string => `${portsText} ${expected}`;

export const portsOf = (counts: Counts): number => counts["as-written"] + counts.differs + counts.untold;

/** "12 ports as written, 2 not, 1 could not be told" */
export function totalsOf({ counts, faults, unfinished, excluded }: CheckReport): string {
  const parts = [
    `${count(counts["as-written"], "port")} as written`,
    `${counts.differs} not`,
    ...(counts.untold > 0 ? [`${counts.untold} could not be told`] : []),
    ...(faults.length > 0 ? [`${count(faults.length, "target")} could not be probed`] : []),
    ...(unfinished > 0 ? [`${unfinished} not probed, as the run was interrupted`] : []),
    ...(excluded > 0 ? [`${digits(excluded)} excluded and not checked`] : []),
  ];
  return parts.join(", ");
}

/** What is wrong with a rule, in one line; undefined when nothing is. */
export function complaintOf(counts: Counts): string | undefined {
  const { differs, untold } = counts;
  if (differs + untold === 0) return undefined;
  const of = `of ${count(portsOf(counts), "port")}`;
  const wrong = `${differs} ${of} ${differs === 1 ? "is" : "are"} not so`;
  if (differs === 0) return `${untold} ${of} could not be told`;
  return untold === 0 ? wrong : `${wrong}, ${untold} could not be told`;
}

/** Findings by the number of their rule. */
export function byRule({ findings }: CheckReport): ReadonlyMap<number, readonly Finding[]> {
  const lists = new Map<number, Finding[]>();
  for (const finding of findings) {
    const list = lists.get(finding.rule.number);
    if (list === undefined) lists.set(finding.rule.number, [finding]);
    else list.push(finding);
  }
  return lists;
}
