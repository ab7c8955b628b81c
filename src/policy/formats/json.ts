/** A check's report as one JSON object on one line, for programs: check.schema.json says the same as JSON Schema. */
import { jsonLine } from "../../report/formats/ndjson.ts";
import type { CheckReport, Finding } from "../check.ts";
import type { Group } from "../policy.ts";

/** The version of the format, raised whenever a program that reads it might have to change. */
const SCHEMA = 1;

export function* checkJson(report: CheckReport): Generator<string> {
  const { policy, counts, ofRules, findings, faults, unfinished, excluded, startedMs, elapsedMs } = report;
  yield jsonLine({
    type: "check",
    schema: SCHEMA,
    policy: policy.file,
    ...countsOf(counts),
    not_probed: unfinished,
    excluded: excluded === 0 ? undefined : excluded,
    rules: policy.rules.map((rule) => ({
      group: rule.group.name,
      line: rule.line,
      column: rule.column,
      ports: rule.portsText,
      expected: rule.states,
      ...countsOf(ofRules[rule.number]),
    })),
    findings: findings.map(findingObject),
    faults: faults.map(({ target, code, message }) => ({ target, code, message })),
    expired: policy.expired.map(({ name, line, until }) => ({ group: name, line, until })),
    started_at: new Date(startedMs).toISOString(),
    elapsed_ms: Math.round(elapsedMs * 1000) / 1000,
  });
}

const countsOf = (counts: CheckReport["counts"]) => ({
  as_written: counts["as-written"],
  differs: counts.differs,
  untold: counts.untold,
});

/** A finding as programs get it. */
function findingObject({ outcome, rule, result, where }: Finding): object {
  const { host, ip, port, service, state, reason, doubt, responder, from } = result;
  return {
    outcome,
    host,
    ip,
    port,
    service,
    expected: rule.states,
    found: state,
    reason,
    doubt: doubt === undefined ? undefined : Number(doubt.toPrecision(3)),
    responder,
    where,
    from: from?.map(({ place }) => place),
    line: rule.line,
    column: rule.column,
    ...groupObject(rule.group),
  };
}

const groupObject = ({ name, owner, labels, why, until }: Group): object => ({
  group: name,
  owner,
  labels: Object.keys(labels).length === 0 ? undefined : labels,
  why,
  until,
});
