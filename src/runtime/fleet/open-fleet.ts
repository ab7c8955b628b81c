/**
 * A run over a fleet, opened as runtime/run/scan.ts opens one over this machine's links: Redis found and judged, the run claimed as
 * this process's.
 */
import { createHash, randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { createPositionSet } from "../../scan/targets/positions.ts";
import { cutByPrefix } from "../../scan/targets/prefixes.ts";
import { ADDRESS_WORDS } from "../../socket/table.ts";
import type { Plan } from "../plan/plan.ts";
import type { Means } from "../run/means.ts";
import { type PastRun, startScan } from "../run/running-scan.ts";
import type { OpenScan } from "../run/scan.ts";
import type { ScanOptions } from "../run/scan-options.ts";
import { nowUs } from "../system/clock.ts";
import { startCoordinator } from "./coordinator.ts";
import { createLedger } from "./ledger.ts";
import { openRedis, whereOf } from "./redis.ts";
import { claimRun, lastSeenMs, listRuns, type Run, signRun } from "./registry.ts";

export interface FleetOptions {
  readonly url: string;
  /** What coordinator and workers share; empty for none, which only a Redis on this machine may do without. */
  readonly key: string;
  /** The vantage whose workers probe; any when absent. */
  readonly from?: string;
  /** How long a worker may be silent before its cell is another's, in milliseconds. */
  readonly leaseMs: number;
  readonly ttl: number;
  note(line: string): void;
}

/** No link of this machine is used. */
const MEANS: Means = {
  link: "fleet",
  threads: 0,
  workers: 1,
  senders: false,
  ports: { first: 0, last: 0 },
  capacity: 0,
  passedBy: [],
};

/** Pairs of a prefix that is not divided. */
const MOST_PAIRS = 1e6;
/** How long another coordinator of the same run is waited for, in milliseconds: the keys of one that has died are gone by then. */
const CLAIM_MS = 20_000;
const LOOK_MS = 500;

/** @throws {SynprobeError} `ERR_USAGE` without a key where one is needed */
export function checkKey(url: string, key: string): void {
  const { text, isLocal } = whereOf(url);
  if (key !== "" || isLocal) return;
  throw new SynprobeError(
    ERROR_CODES.usage,
    `whoever can write to Redis at ${text} could make workers probe: give coordinator and workers the same --fleet-key FILE (openssl rand -hex 32 makes one)`,
  );
}

/** Whether a pair is decided, or not to be probed any more. Positions are the numbers of the pairs. */
function doneOrOutside({ space, within }: Plan, { above }: PastRun): (index: number) => boolean {
  const done = createPositionSet(above.words);
  if (within === undefined) return done.has;
  const pair = { words: new Uint32Array(ADDRESS_WORDS), port: 0 };
  return (index) => {
    if (done.has(index)) return true;
    space.pairAt(index, pair);
    return within.indexOf(pair.words, 0, pair.port) < 0;
  };
}

/** @throws {SynprobeError} `ERR_FLEET`, `ERR_USAGE` */
export async function openFleet(plan: Plan, options: ScanOptions, fleet: FleetOptions): Promise<OpenScan> {
  const { url, key, from, leaseMs, note } = fleet;
  checkKey(url, key);
  const redis = await openRedis(url, note);
  const { space } = plan;
  const isWhole = options.ratePerPrefix !== undefined;
  const terms = [space.fingerprint(), String(options.order.seed), from ?? "", String(isWhole)];
  const id = createHash("sha256").update(JSON.stringify(terms)).digest("hex").slice(0, 12);
  const run: Run = {
    id,
    token: randomUUID(),
    by: `${hostname()} ${process.pid}`,
    ...(from === undefined ? {} : { from }),
    pairs: space.total,
    decided: 0,
    leaseMs,
    signature: signRun(key, { id, leaseMs, ...(from === undefined ? {} : { from }) }),
  };
  let isClosed = false;
  const close = (): void => {
    // A second time would keep the process for two seconds, in which ioredis waits for an end that has been.
    if (!isClosed) redis.disconnect();
    isClosed = true;
  };
  const untilUs = nowUs() + CLAIM_MS * 1000;
  for (let isTold = false; !(await claimRun(redis, run)); await pause(LOOK_MS)) {
    const other = (await listRuns(redis)).find((each) => each.id === id);
    if (nowUs() > untilUs) {
      const ago = Math.round((await lastSeenMs(redis, "run", id)) / 1000);
      close();
      throw new SynprobeError(
        ERROR_CODES.fleet,
        `run ${id} has a coordinator already, ${other?.by ?? "which is ending"}, last seen ${ago} s ago: wait until it has ended`,
      );
    }
    if (!isTold && other !== undefined)
      note(`run ${id} has a coordinator, ${other.by}: waiting whether it has died`);
    isTold = true;
  }
  return {
    means: MEANS,
    receiveBuffer: 0,
    close,
    run: (hooks, past) => {
      const isDone = past === undefined ? undefined : doneOrOutside(plan, past);
      const prefixes = cutByPrefix(space, {
        seed: options.order.seed,
        most: isWhole ? Number.POSITIVE_INFINITY : MOST_PAIRS,
      });
      const ledger = createLedger({
        space,
        prefixes,
        ...(isDone === undefined ? {} : { isDone, decided: (past?.decided ?? 0) + (past?.excluded ?? 0) }),
      });
      const { retries, confidence, verify, waitMs, rate, ratePerHost, ratePerPrefix, hostTimeoutMs } =
        options;
      const { syn, complete } = options;
      return startScan(
        { plan, options, means: MEANS, hooks, past },
        (engineHooks) =>
          startCoordinator(
            {
              redis,
              run,
              key,
              ledger,
              space,
              rate,
              isResumed: past !== undefined,
              settings: {
                retries,
                waitMs,
                controls: options.controls !== false,
                ttl: fleet.ttl,
                ...(confidence === undefined ? {} : { confidence }),
                ...(verify === undefined ? {} : { verify }),
                ...(syn === undefined ? {} : { syn }),
                ...(ratePerHost === undefined ? {} : { ratePerHost }),
                ...(ratePerPrefix === undefined ? {} : { ratePerPrefix }),
                ...(hostTimeoutMs === undefined ? {} : { hostTimeoutMs }),
                ...(complete === undefined ? {} : { bannerMs: complete.bannerMs }),
              },
              note,
            },
            engineHooks,
          ),
        close,
      );
    },
  };
}
