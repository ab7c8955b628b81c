/**
 * Findings of doctor, and the verdict that follows from them. Plain data; cli/commands/doctor.ts prints it.
 */
import { ERROR_CODES, type ErrorCode } from "../../errors.ts";

/**
 * `ok`: as it should be. `info`: worth knowing, nothing is wrong. `warn`: probing works, but not as well as it could.
 * `fail`: probing, or reaching the target, cannot work.
 */
export type Status = "ok" | "info" | "warn" | "fail";

export interface Finding {
  readonly status: Status;
  /** What was examined, in a word or two. */
  readonly topic: string;
  /** What was found, on one line. */
  readonly found: string;
  /** What to do, line by line, commands indented; never empty for `warn` and `fail`. */
  readonly advice: readonly string[];
  /** With `fail`, and only then. */
  readonly failure?: Failure;
}

export interface Failure {
  /** The error that a probe would end with. */
  readonly code: ErrorCode;
  /** For the verdict: completes "probing cannot work from here: …", or "…, but not to this target: …". */
  readonly reason: string;
}

export interface Diagnosis {
  readonly findings: readonly Finding[];
  /** One line. */
  readonly verdict: string;
  /** The gravest failure's code; undefined when probing works. */
  readonly code?: ErrorCode;
}

/** The prefix of a command that root must run. */
export const asRoot = ({ uid }: { readonly uid: number }): string => (uid === 0 ? "" : "sudo ");

export function ok(topic: string, found: string): Finding {
  return { status: "ok", topic, found, advice: [] };
}

export function info(topic: string, found: string, ...advice: string[]): Finding {
  return { status: "info", topic, found, advice };
}

export function warn(topic: string, found: string, ...advice: [string, ...string[]]): Finding {
  return { status: "warn", topic, found, advice };
}

export function fail(
  topic: string,
  found: string,
  failure: Failure,
  ...advice: [string, ...string[]]
): Finding {
  return { status: "fail", topic, found, advice, failure };
}

/** Codes of failures that concern every target: nothing can be probed. */
const EVERYWHERE: readonly ErrorCode[] = [ERROR_CODES.platform, ERROR_CODES.privilege, ERROR_CODES.system];

/** What needs no privilege. */
const CONNECTS = "; what works is the kernel's own handshake: --link connect, which auto takes then";

/** Sums findings up. The verdict names the first failure that concerns every target, else the first of this target. */
export function conclude(findings: readonly Finding[]): Diagnosis {
  const failures = findings.flatMap(({ failure }) => failure ?? []);
  const general = failures.find(({ code }) => EVERYWHERE.includes(code));
  const [particular] = failures;
  if (general !== undefined) {
    const connects = general.code === ERROR_CODES.privilege ? CONNECTS : "";
    return {
      findings,
      verdict: `probing cannot work from here: ${general.reason}${connects}`,
      code: general.code,
    };
  }
  if (particular !== undefined) {
    return {
      findings,
      verdict: `probing works from here, but not to this target: ${particular.reason}`,
      code: particular.code,
    };
  }
  const warnings = findings.filter(({ status }) => status === "warn").length;
  const but = warnings === 0 ? "" : `, with ${warnings} warning${warnings === 1 ? "" : "s"}`;
  return { findings, verdict: `probing works from here${but}` };
}
