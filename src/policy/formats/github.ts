/**
 * A check's report as workflow commands of GitHub Actions, which shows them beside the policy's lines: an error for a port that is not
 * as written, a warning for one that could not be told.
 */
import { escapeText } from "../../report/escape.ts";
import type { CheckReport } from "../check.ts";
import { remarksOf, sentenceOf, targetOf, totalsOf } from "../words.ts";

/** What a command would end at (actions/toolkit, command.ts). What else has no glyph is spelled out. */
const data = (text: string): string => escapeText(text, 4000).replaceAll("%", "%25");
const property = (text: string): string => data(text).replaceAll(":", "%3A").replaceAll(",", "%2C");

export function* checkGithub(report: CheckReport): Generator<string> {
  const { policy, findings, faults, unfinished } = report;
  const command = (kind: "error" | "warning", at: string, title: string, text: string): string =>
    `::${kind} file=${property(policy.file)}${at},title=${property(title)}::${data(text)}\n`;
  for (const finding of findings) {
    const { outcome, rule, result } = finding;
    const at = `,line=${rule.line},col=${rule.column}`;
    const text = [sentenceOf(finding), `group ${rule.group.name}`, ...remarksOf(rule)].join("; ");
    if (outcome === "differs") yield command("error", at, `${targetOf(result)} is not as written`, text);
    else yield command("warning", at, `${targetOf(result)} could not be told`, text);
  }
  for (const { target, message } of faults)
    yield command("warning", "", `${target} could not be probed`, message);
  if (unfinished > 0) yield command("warning", "", "interrupted", `${unfinished} ports were not probed`);
  // It begins with a number: no command.
  yield `${totalsOf(report)}\n`;
}
