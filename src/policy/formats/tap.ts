/** A check's report as TAP 14 (testanything.org): a test for each rule, and for each target that could not be probed. */
import { escapeText, printableJson } from "../../report/escape.ts";
import { count } from "../../report/figures.ts";
import type { CheckReport } from "../check.ts";
import { byRule, complaintOf, placeOf, portsOf, reasonOf, remarksOf, ruleTitle, targetOf } from "../words.ts";

/** A description: TAP 14 has # for what is no part of it, and \ before what stands for itself. */
const description = (text: string): string => escapeText(text, 1000).replace(/[\\#]/g, "\\$&");

/** A value in a YAML block: JSON is YAML too. */
const yaml = printableJson;

export function* checkTap(report: CheckReport): Generator<string> {
  const { policy, ofRules, faults, unfinished } = report;
  const findings = byRule(report);
  yield `TAP version 14\n1..${policy.rules.length + faults.length}\n`;
  for (const rule of policy.rules) {
    const counts = ofRules[rule.number];
    const complaint = complaintOf(counts);
    const ports = portsOf(counts);
    const title = `${rule.number + 1} - ${description(`${rule.group.name}: ${ruleTitle(rule)}`)}`;
    if (complaint === undefined) {
      yield `ok ${title}${ports === 0 ? " # SKIP no port was probed for it" : ` (${count(ports, "port")})`}\n`;
      continue;
    }
    yield `not ok ${title} (${count(ports, "port")})\n`;
    yield `  ---\n  message: ${yaml(complaint)}\n  at: ${yaml(placeOf(report, rule))}\n`;
    const remarks = remarksOf(rule);
    if (remarks.length > 0) yield `  remarks: ${yaml(remarks)}\n`;
    yield "  ports:\n";
    for (const { outcome, result, where } of findings.get(rule.number) ?? [])
      yield `    - ${yaml({ target: targetOf(result), outcome, found: result.state, reason: reasonOf(result), where })}\n`;
    yield "  ...\n";
  }
  for (const [i, { target, message }] of faults.entries()) {
    yield `not ok ${policy.rules.length + i + 1} - ${description(`${target} can be probed`)}\n`;
    yield `  ---\n  message: ${yaml(message)}\n  ...\n`;
  }
  if (unfinished > 0) yield `Bail out! The run was interrupted: ${count(unfinished, "port")} not probed\n`;
}
