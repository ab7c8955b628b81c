/**
 * The examination: all findings, in the order of the report. They come from access.ts, limits.ts, leftovers.ts and paths.ts.
 */
import type { TargetSpec } from "../../scan/targets/grammar.ts";
import { accessFindings } from "./access.ts";
import type { Finding } from "./finding.ts";
import { leftoverFindings } from "./leftovers.ts";
import { limitFindings } from "./limits.ts";
import { interfaceFinding, targetFindings } from "./paths.ts";
import type { System } from "./system.ts";

/**
 * Examines a Linux system, and the way to a target when there is one.
 * @param options.command what starts synprobe, for commands to copy: sudo may not find it by its name
 */
export async function examine(
  system: System,
  target?: TargetSpec,
  options: { readonly fix?: boolean; readonly command?: readonly string[] } = {},
): Promise<Finding[]> {
  const { command = ["synprobe"] } = options;
  const trials = { 4: system.openRaw(4), 6: system.openRaw(6) };
  return [
    ...accessFindings(system, trials, [...command, target?.text ?? "HOST:PORT"]),
    ...limitFindings(system, trials),
    ...leftoverFindings(system, options.fix === true, command),
    interfaceFinding(system),
    ...(target === undefined ? [] : await targetFindings(system, trials, target)),
  ];
}
