/**
 * `synprobe doctor` without its printing: examines where this process runs. Findings that need no native code come first,
 * so that there is an answer on systems where none of it loads.
 */
import { arch, release } from "node:os";
import { ERROR_CODES, isSynprobeError, SynprobeError } from "../../errors.ts";
import type { TargetSpec } from "../../scan/targets/grammar.ts";
import { checkPlatform, nativeLoadError } from "../system/platform.ts";
import { conclude, type Diagnosis, type Finding, fail, ok } from "./finding.ts";
import type { WalkHooks } from "./walk.ts";

/** What Node says about itself and the system. */
export interface Host {
  readonly platform: NodeJS.Platform;
  readonly release: string;
  readonly architecture: string;
  /** "20.20.2" */
  readonly nodeVersion: string;
}

/** package.json's "engines"; a test holds it against that. */
export const OLDEST_NODE = 20;

/**
 * @param target also examines the way to this host, and sends SYNs to its ports (walk.ts)
 * @param fix also removes what killed runs have left behind
 * @param command what starts synprobe, for commands to copy
 * @param hooks of the walk to the target's ports, without which nothing is sent
 */
export async function diagnose(
  target?: TargetSpec,
  fix = false,
  command: readonly string[] = ["synprobe"],
  hooks: WalkHooks = { opened: () => {} },
): Promise<Diagnosis> {
  const findings = hostFindings({
    platform: process.platform,
    release: release(),
    architecture: arch(),
    nodeVersion: process.versions.node,
  });
  if (!findings.some(({ status }) => status === "fail"))
    findings.push(...(await linuxFindings(target, fix, command, hooks)));
  return conclude(findings);
}

export function hostFindings({ platform, release, architecture, nodeVersion }: Host): Finding[] {
  return [
    platformFinding(platform, `${release}, ${architecture}`),
    Number.parseInt(nodeVersion, 10) >= OLDEST_NODE
      ? ok("Node.js", nodeVersion)
      : fail(
          "Node.js",
          `${nodeVersion} is too old`,
          { code: ERROR_CODES.platform, reason: `Node.js ${nodeVersion} is too old` },
          `Install Node.js ${OLDEST_NODE} or later.`,
        ),
  ];
}

function platformFinding(platform: NodeJS.Platform, details: string): Finding {
  try {
    checkPlatform(platform);
    return ok("platform", `Linux ${details}`);
  } catch (error) {
    if (!(error instanceof SynprobeError)) throw error;
    const [why, todo] = error.message.split(/\. (?=Use )/);
    return fail(
      "platform",
      `${platform} ${details}`,
      { code: error.code, reason: why },
      todo ?? error.message,
    );
  }
}

async function linuxFindings(
  target: TargetSpec | undefined,
  fix: boolean,
  command: readonly string[],
  hooks: WalkHooks,
): Promise<Finding[]> {
  let native: typeof import("./linux.ts");
  try {
    native = await import("./linux.ts");
  } catch (error) {
    return [nativeFinding(error)];
  }
  const { examine } = await import("./examine.ts");
  try {
    const findings = await examine(native.linuxSystem(), target, { fix, command });
    if (target === undefined || findings.some(({ status }) => status === "fail")) return findings;
    const { walkFindings } = await import("./walk.ts");
    return [...findings, ...(await walkFindings(target, hooks))];
  } catch (error) {
    // Without a way to ask the kernel there is nothing to examine.
    if (!isSynprobeError(error) || error.code !== ERROR_CODES.platform) throw error;
    return [platformFailure("kernel", error.message)];
  }
}

/** koffi comes as a binary package for each platform, which an installation made elsewhere lacks. @throws any other error */
export function nativeFinding(error: unknown): Finding {
  const known = nativeLoadError(error);
  if (known === undefined) throw error;
  return platformFailure("native code", known.message);
}

/** Of a message that says "what is wrong (why): what to do". */
function platformFailure(topic: string, message: string): Finding {
  const [, reason = message, todo = "Install synprobe anew."] = /^(.*?\)): (.*)$/s.exec(message) ?? [];
  const advice = todo[0].toUpperCase() + todo.slice(1);
  return fail(topic, reason, { code: ERROR_CODES.platform, reason }, advice);
}
