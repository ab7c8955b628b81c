/**
 * `synprobe doctor [target]`: prints what runtime/diagnose/doctor.ts finds, and turns it into an exit status.
 */
import { createColors } from "picocolors";
import { escapeText } from "../../report/escape.ts";
import { diagnose } from "../../runtime/diagnose/doctor.ts";
import type { Diagnosis, Finding, Status } from "../../runtime/diagnose/finding.ts";
import { readServices } from "../../runtime/system/system.ts";
import { parseTarget } from "../../scan/targets/grammar.ts";
import { EXIT, type ExitStatus, exitStatus } from "../exit.ts";
import type { ProbeOptions } from "../options/table.ts";
import type { Interruption } from "../run/interruption.ts";
import { type Messages, printResult } from "../run/terminal.ts";

/** Parsed options, by commander's names. */
export interface DoctorOptions
  extends Pick<ProbeOptions, "exclude" | "excludeFile" | "excludePorts" | "config" | "drop">,
    Pick<ProbeOptions, "maxRate" | "maxRatePerHost" | "maxRatePerPrefix"> {
  readonly fix?: boolean;
}

/** @throws {SynprobeError} for a malformed target */
export async function doctor(
  target: string | undefined,
  options: DoctorOptions,
  messages: Messages,
): Promise<ExitStatus> {
  const services = readServices();
  const spec = target === undefined ? undefined : parseTarget(target, services);
  let interruption: Interruption | undefined;
  const diagnosis = await diagnose(spec, options.fix === true, process.argv.slice(0, 2), {
    limits: async () => {
      const { excludeOptions, ratePerHost } = await import("../run/targets.ts");
      return { ...(await excludeOptions(options, services)), rate: ratePerHost(options) };
    },
    opened: async (stop) => {
      // They load native code, which may be what doctor finds missing.
      const [{ dropPrivileges }, { watchSignals }] = await Promise.all([
        import("../../runtime/system/privilege.ts"),
        import("../run/interruption.ts"),
      ]);
      interruption = watchSignals();
      interruption.onSignal(stop);
      dropPrivileges([]);
    },
  });
  interruption?.ignore();
  printResult(formatDiagnosis(diagnosis, messages.stdoutColour));
  return interruption?.status ?? (diagnosis.code === undefined ? EXIT.complete : exitStatus(diagnosis.code));
}

const STATUS_WIDTH = 4;
const LONGEST_LINE = 1000;

/** Three columns: status, topic, what was found with the advice below it; the verdict last. */
export function formatDiagnosis({ findings, verdict, code }: Diagnosis, colour: boolean): string {
  const colors = createColors(colour);
  const paint: Readonly<Record<Status, (text: string) => string>> = {
    ok: colors.green,
    info: colors.cyan,
    warn: colors.yellow,
    fail: colors.red,
  };
  const topicWidth = Math.max(...findings.map(({ topic }) => topic.length));
  const margin = " ".repeat(STATUS_WIDTH + topicWidth + 4);
  const lines = findings.flatMap(({ status, topic, found, advice }: Finding) => [
    `${paint[status](status.padEnd(STATUS_WIDTH))}  ${topic.padEnd(topicWidth)}  ${escapeText(found, LONGEST_LINE)}`,
    ...advice.map((line) => (line === "" ? "" : `${margin}${escapeText(line, LONGEST_LINE)}`)),
  ]);
  const conclusion = escapeText(verdict, LONGEST_LINE);
  return [
    ...lines,
    "",
    colors.bold(code === undefined ? colors.green(conclusion) : colors.red(conclusion)),
    "",
  ].join("\n");
}
