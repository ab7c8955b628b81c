/** A check's report for people: a line for each port that is not as written, where that is written behind each or all of them, and totals. */
import { createColors } from "picocolors";
import { displayLength, escapeText, escapeWord, pad } from "../../report/escape.ts";
import type { CheckReport } from "../check.ts";
import { reasonOf, remarksOf, targetOf, totalsOf } from "../words.ts";

const HEAD = ["TARGET", "EXPECTED", "FOUND", "REASON"] as const;

export function* checkText(report: CheckReport, colour: boolean): Generator<string> {
  const colors = createColors(colour);
  const { findings, faults, counts, policy, unfinished } = report;
  const rows = findings.map(({ rule, result }) => [
    escapeText(targetOf(result)),
    escapeText(rule.expected),
    result.state,
    escapeText(reasonOf(result)),
  ]);
  const widths = HEAD.map((title, i) =>
    rows.reduce((most, row) => Math.max(most, displayLength(row[i])), title.length),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => pad(cell, widths[i]))
      .join("  ")
      .trimEnd();
  if (rows.length > 0) yield `${colors.bold(`  ${line(HEAD)}`)}\n`;
  const places = findings.map(({ rule }) =>
    [`${rule.group.name} (${policy.file}:${rule.line})`, ...remarksOf(rule)]
      .map((text) => escapeText(text))
      .join(", "),
  );
  for (const [i, { outcome, where }] of findings.entries()) {
    const shown = line(rows[i]);
    yield `${outcome === "differs" ? colors.red(`! ${shown}`) : colors.yellow(`? ${shown}`)}\n`;
    // Once for all in a row: a host that is down may have thousands.
    if (places[i] !== places[i + 1] || where !== undefined) yield `    ${places[i]}\n`;
    if (where !== undefined) yield `    ${escapeText(where)}\n`;
  }
  for (const { target, message } of faults)
    yield `${colors.yellow(`? ${escapeWord(target)}: ${escapeText(message)}`)}\n`;
  if (rows.length + faults.length > 0) yield "\n";
  const isGood = counts.differs + counts.untold + faults.length + unfinished === 0;
  yield `${(isGood ? colors.green : colors.bold)(totalsOf(report))}\n`;
}
