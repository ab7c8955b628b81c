/**
 * A check's report as JUnit's XML, as Jenkins and GitLab read it: a suite for each group, a case for each rule, an error for what could
 * not be told, and a suite for targets that could not be probed.
 */
import { escapeXml } from "../../report/escape.ts";
import type { CheckReport, Finding } from "../check.ts";
import type { Rule } from "../policy.ts";
import { byRule, complaintOf, portsOf, ruleTitle, sentenceOf } from "../words.ts";

export function* checkJunit(report: CheckReport): Generator<string> {
  const { policy, ofRules, faults, startedMs, elapsedMs, unfinished } = report;
  const findings = byRule(report);
  const kindOf = ({ number }: Rule): "failure" | "error" | "skipped" | undefined => {
    const counts = ofRules[number];
    if (counts.differs > 0) return "failure";
    if (counts.untold > 0) return "error";
    return portsOf(counts) === 0 ? "skipped" : undefined;
  };
  const countsOf = (rules: readonly Rule[], faulty = 0) => {
    const kinds = rules.map(kindOf);
    const of = (kind: string): number => kinds.filter((each) => each === kind).length;
    const all = `tests="${rules.length + faulty}" failures="${of("failure")}" errors="${of("error") + faulty}"`;
    return { all, skipped: `skipped="${of("skipped")}"` };
  };
  const time = `time="${(elapsedMs / 1000).toFixed(3)}"`;
  const suite = (name: string, rules: readonly Rule[], faulty = 0): string => {
    const { all, skipped } = countsOf(rules, faulty);
    return `  <testsuite name="${escapeXml(name)}" ${all} ${skipped} ${time} ${timestamp}>\n`;
  };
  const timestamp = `timestamp="${new Date(startedMs).toISOString().slice(0, 19)}"`;
  const file = escapeXml(policy.file);
  yield '<?xml version="1.0" encoding="UTF-8"?>\n';
  const missing = faults.length + (unfinished > 0 ? 1 : 0);
  yield `<testsuites name="synprobe check ${file}" ${countsOf(policy.rules, missing).all} ${time}>\n`;
  for (const group of policy.groups) {
    const { name, owner, labels, why, until, rules } = group;
    yield suite(name, rules);
    const properties = Object.entries({ ...labels, owner, why, until }).filter(
      ([, value]) => value !== undefined,
    );
    if (properties.length > 0) {
      yield "    <properties>\n";
      for (const [key, value] of properties)
        yield `      <property name="${escapeXml(key)}" value="${escapeXml(String(value))}"/>\n`;
      yield "    </properties>\n";
    }
    for (const rule of rules) yield caseOf(rule, findings.get(rule.number) ?? []);
    yield "  </testsuite>\n";
  }
  if (missing > 0) {
    yield suite("not probed", [], missing);
    const error = (name: string, message: string): string =>
      `    <testcase classname="${file}" name="${escapeXml(name)}" time="0">\n` +
      `      <error type="not-probed" message="${escapeXml(message)}"/>\n    </testcase>\n`;
    for (const { target, message } of faults) yield error(target, message);
    if (unfinished > 0) yield error("the whole run", `interrupted: ${unfinished} ports not probed`);
    yield "  </testsuite>\n";
  }
  yield "</testsuites>\n";

  function caseOf(rule: Rule, list: readonly Finding[]): string {
    const name = escapeXml(`line ${rule.line}: ${ruleTitle(rule)}`);
    const start = `    <testcase classname="${file}" name="${name}" time="0"`;
    const kind = kindOf(rule);
    if (kind === undefined) return `${start}/>\n`;
    if (kind === "skipped")
      return `${start}>\n      <skipped message="no port was probed for it"/>\n    </testcase>\n`;
    const type = kind === "failure" ? "differs" : "untold";
    const message = escapeXml(complaintOf(ofRules[rule.number]) ?? "");
    const lines = list.map((finding) => `${escapeXml(sentenceOf(finding))}\n`).join("");
    return `${start}>\n      <${kind} type="${type}" message="${message}">\n${lines}</${kind}>\n    </testcase>\n`;
  }
}
