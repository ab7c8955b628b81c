/**
 * `synprobe worker [URL] --allow NETWORKS`: probes cells of a fleet's runs until it is told to leave. The first signal makes it leave
 * when it has handed back what it has; so does `synprobe fleet drain`, when its cell is done.
 *
 * It is in the main program, beside the files of the threads that large cells need; its courier is in the fleet's bundle.
 */

import { hostname } from "node:os";
import { CAPABILITIES } from "../../link/sys/capabilities.ts";
import { mayOpenRawSockets } from "../../link/sys/raw-socket.ts";
import { startWork } from "../../runtime/fleet/work.ts";
import { dropPrivileges, notPrivileged } from "../../runtime/system/privilege.ts";
import { readServices } from "../../runtime/system/system.ts";
import { MOST_RATE } from "../../scan/engine/timing-templates.ts";
import { type AnyTargetSpec, parseTargets } from "../../scan/targets/grammar.ts";
import { apartUrl, loadApart } from "../apart.ts";
import { EXIT, type ExitStatus } from "../exit.ts";
import { type ProbeOptions, usage } from "../options/table.ts";
import { watchSignals } from "../run/interruption.ts";
import { type ExcludingOptions, excludeOptions, wayOptions } from "../run/targets.ts";
import { type Messages, VERSION } from "../run/terminal.ts";
import { shownArgs } from "../shown-args.ts";

/** Parsed options, by commander's names. */
export interface WorkerCommandOptions
  extends Pick<
    ProbeOptions,
    "interface" | "sourceIp" | "fleetKey" | "maxRate" | "link" | "workers" | "config" | keyof ExcludingOptions
  > {
  readonly allow?: readonly string[];
  readonly vantage?: string;
}

/** @throws {SynprobeError} for anything that keeps it from working */
export async function worker(
  url: string | undefined,
  options: WorkerCommandOptions,
  messages: Messages,
  argv: readonly string[],
): Promise<ExitStatus> {
  const { fleetUrl, readKey, checkKey } = loadApart<typeof import("../run/fleet-run.ts")>("fleet-run");
  const at = fleetUrl(url);
  const key = readKey(options.fleetKey, options.drop);
  checkKey(at, key);
  const services = readServices();
  const allow = (options.allow ?? [])
    .flatMap((text) => text.split(","))
    .map((word): AnyTargetSpec => {
      const spec = parseTargets(word, services, "--allow");
      if (spec.ports !== undefined || spec.host.kind === "name")
        throw usage(`--allow takes addresses and networks, not "${word}"`);
      if (spec.host.kind === "address" && spec.host.zone !== undefined)
        throw usage(
          `--allow takes addresses without a zone, not "${word}": -e says through which interface they are probed`,
        );
      return spec;
    });
  if (allow.length === 0)
    throw usage(
      "a worker probes only what its owner names: give --allow with networks, such as 198.18.0.0/15",
    );
  const excluded = await excludeOptions(options, services);
  for (const { host, text, origin = "--exclude" } of excluded.exclude ?? [])
    if (host.kind === "name") throw usage(`${origin} takes addresses and networks, not "${text}"`);
  if (options.link !== "connect" && !mayOpenRawSockets())
    throw notPrivileged([...process.argv.slice(0, 2), ...shownArgs(argv)], undefined);
  // Sockets are opened for every cell, so what they need is kept.
  if (options.drop) dropPrivileges([CAPABILITIES.netRaw, CAPABILITIES.netAdmin]);
  const interruption = watchSignals();
  try {
    const work = startWork({
      url: at,
      key,
      vantage: options.vantage ?? vantageOf(hostname()),
      version: VERSION,
      allow,
      way: { ...wayOptions({ ...options, ttl: 0 }), ...excluded },
      maxRate: options.maxRate ?? MOST_RATE,
      link: options.link,
      ...(options.workers === undefined ? {} : { threads: options.workers }),
      courier: apartUrl("fleet-run"),
      note: messages.note,
    });
    interruption.onSignal(() => work.leave(true));
    await work.finished;
    return interruption.status ?? EXIT.complete;
  } finally {
    interruption.ignore();
  }
}

/** A host's name as --vantage would take it. */
const vantageOf = (name: string): string =>
  name
    .replace(/\..*/, "")
    .replace(/[^A-Za-z0-9-]/g, "-")
    .replace(/^-+/, "")
    .slice(0, 31) || "worker";
