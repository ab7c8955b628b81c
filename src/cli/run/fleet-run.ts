/**
 * A run over a fleet, as options ask for it, and all that needs Redis: in a bundle of its own, which a plain probe does not load. The
 * same file is, in a thread, the courier of `synprobe worker`.
 *
 * Tested by test/lab/fleet.test.ts.
 */
import { readFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { type CourierTask, runCourier } from "../../runtime/fleet/courier.ts";
import { openFleet } from "../../runtime/fleet/open-fleet.ts";
import type { Plan } from "../../runtime/plan/plan.ts";
import type { OpenScan } from "../../runtime/run/scan.ts";
import type { ScanOptions } from "../../runtime/run/scan-options.ts";
import { errorCode } from "../../runtime/system/file-errors.ts";
import { asInvoker } from "../../runtime/system/invoker.ts";
import { DEFAULTS } from "../options/probe-options.ts";
import { type ProbeOptions, usage } from "../options/table.ts";

export { checkKey } from "../../runtime/fleet/open-fleet.ts";
export { asFleetError, openRedis } from "../../runtime/fleet/redis.ts";
export { askToEnd, lastSeenMs, listRuns, listWorkers } from "../../runtime/fleet/registry.ts";

const ENV = "SYNPROBE_FLEET";

/** The URL that was given, or the environment's. @throws {SynprobeError} `ERR_USAGE` for neither */
export function fleetUrl(given: string | undefined): string {
  const url = given === undefined || given === "env" ? process.env[ENV] : given;
  if (url !== undefined && url !== "") return url;
  throw usage(`no fleet is named: give its URL, such as redis://127.0.0.1:6379, or set ${ENV}`);
}

/** What a key file holds, without space around it; empty for no file. @throws {SynprobeError} `ERR_USAGE` */
export function readKey(file: string | undefined, drop: boolean): string {
  if (file === undefined) return "";
  let text: string;
  try {
    text = asInvoker(drop, () => readFileSync(file, "utf8")).trim();
  } catch (error) {
    throw usage(`cannot read the key ${file}: ${errorCode(error)}`);
  }
  if (text.length >= SHORTEST_KEY) return text;
  throw usage(
    `the key in ${file} is too short: ${SHORTEST_KEY} characters or more ("openssl rand -hex 32" makes one)`,
  );
}
const SHORTEST_KEY = 16;

export type FleetRunOptions = Pick<ProbeOptions, "from" | "fleetKey" | "fleetLease" | "ttl" | "drop"> & {
  readonly fleet: string;
  /** Settles when nobody waits for it to be open any more. */
  readonly ended: Promise<void>;
  note(line: string): void;
};

/** Opens a run of the main command over a fleet. @throws {SynprobeError} as openFleet does */
export function openFleetRun(
  plan: Plan,
  scanOptions: ScanOptions,
  { fleet, from, fleetKey, fleetLease, ttl, drop, ended, note }: FleetRunOptions,
): Promise<OpenScan> {
  return openFleet(plan, scanOptions, {
    url: fleetUrl(fleet),
    key: readKey(fleetKey, drop),
    leaseMs: fleetLease ?? DEFAULTS.fleetLeaseMs,
    ttl,
    ended,
    note,
    ...(from === undefined ? {} : { from }),
  });
}

const task = workerData as Partial<CourierTask> | null;
if (parentPort !== null && task?.kind === "fleet-courier") void runCourier(task as CourierTask, parentPort);
