/**
 * A run over a fleet, opened as runtime/run/scan.ts opens one over this machine's links: Redis found and judged, the run claimed as
 * this process's.
 */
import { createHash, randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import type { Redis } from "ioredis";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { portRanges } from "../../report/figures.ts";
import { MOST_RATE } from "../../scan/engine/timing-templates.ts";
import { recordPosition } from "../../scan/probe/result-record.ts";
import { createPositionSet } from "../../scan/targets/positions.ts";
import { cutByPrefix } from "../../scan/targets/prefixes.ts";
import { outsideOf } from "../plan/exclusions.ts";
import type { Plan } from "../plan/plan.ts";
import { noTotals } from "../results/totals.ts";
import type { EngineRunHooks } from "../run/engine-run.ts";
import type { Means } from "../run/means.ts";
import { type PastRun, startScan } from "../run/running-scan.ts";
import type { OpenScan } from "../run/scan.ts";
import type { ScanOptions } from "../run/scan-options.ts";
import { nowUs } from "../system/clock.ts";
import { secret } from "../system/random.ts";
import { startCoordinator } from "./coordinator.ts";
import { ALONE, type Among, type Coordination } from "./feed.ts";
import { createJoin } from "./join.ts";
import { createLedger } from "./ledger.ts";
import { startPlaces } from "./places.ts";
import { asFleetError, openRedis, whereOf } from "./redis.ts";
import { claimRun, lastSeenMs, listRuns, type Run, signRun } from "./registry.ts";

export interface FleetOptions {
  readonly url: string;
  /** What coordinator and workers share; empty for none, which only a Redis on this machine may do without. */
  readonly key: string;
  /** The vantages whose workers probe, each everything; any, together, when absent. */
  readonly from?: readonly string[];
  /** How long a worker may be silent before its cell is another's, in milliseconds. */
  readonly leaseMs: number;
  readonly ttl: number;
  /** Settles when nobody waits for it to be open any more. */
  readonly ended: Promise<void>;
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

/** What an earlier coordinator has left to do. Positions are the numbers of the pairs, those of each place after the other's. */
function restOf(plan: Plan, { above }: PastRun, places: number) {
  const { total } = plan.space;
  const done = createPositionSet(above.words);
  const isOutside = outsideOf(plan);
  const outside = plan.within === undefined ? 0 : total - plan.within.total;
  const every = Array.from({ length: places }, (_, place) => place);
  /** By place. What is outside is not probed, as what is decided. */
  const decided = every.map(() => outside);
  /** Outside, and not decided from every place. */
  let excluded = outside;
  done.forEach((position) => {
    const place = Math.floor(position / total);
    const index = position - place * total;
    if (!isOutside(index)) decided[place]++;
    else if (place === 0 && every.every((each) => done.has(each * total + index))) excluded--;
  });
  return {
    decided,
    excluded,
    isDone: (place: number, index: number): boolean => done.has(place * total + index) || isOutside(index),
  };
}

/** @throws {SynprobeError} `ERR_FLEET`, `ERR_USAGE` */
export async function openFleet(plan: Plan, options: ScanOptions, fleet: FleetOptions): Promise<OpenScan> {
  const { url, key, from, leaseMs, ended, note } = fleet;
  checkKey(url, key);
  const positions = plan.space.total * (from?.length ?? 1);
  if (positions > Number.MAX_SAFE_INTEGER)
    throw new SynprobeError(
      ERROR_CODES.usage,
      `${positions.toPrecision(2)} pairs of host and port, those of each place counted, are more than the 9.0e+15 that a run takes: name smaller networks, fewer ports or fewer places`,
    );
  const redis = await openRedis(url, note, { ended });
  let isClosed = false;
  const close = (): void => {
    // A second time would keep the process for two seconds, in which ioredis waits for an end that has been.
    if (!isClosed) redis.disconnect();
    isClosed = true;
  };
  const { space } = plan;
  const isWhole = options.ratePerPrefix !== undefined;
  const runOf = (vantage: string | undefined): Run => {
    const together = from !== undefined && from.length > 1 ? [from] : [];
    const terms = [
      space.fingerprint(),
      String(options.order.seed),
      vantage ?? "",
      String(isWhole),
      ...together,
    ];
    const id = createHash("sha256").update(JSON.stringify(terms)).digest("hex").slice(0, 12);
    const named = vantage === undefined ? {} : { from: vantage };
    return {
      id,
      token: randomUUID(),
      by: `${hostname()} ${process.pid}`,
      ...named,
      pairs: space.total,
      decided: 0,
      leaseMs,
      signature: signRun(key, { id, leaseMs, ...named }),
    };
  };
  const places = from ?? [];
  const runs = from?.map(runOf) ?? [runOf(undefined)];
  try {
    for (const run of runs) await claim(redis, run, fleet);
  } catch (error) {
    close();
    throw asFleetError(url, error);
  }
  const isOutside = outsideOf(plan);
  const join = runs.length > 1 ? createJoin(places, space.total) : undefined;

  /** @param share the part of each rate that a place may send: hosts and networks are probed from all */
  function settingsOf(share: number): Coordination["settings"] {
    const { retries, confidence, verify, waitMs, ratePerHost, ratePerPrefix, hostTimeoutMs } = options;
    const { syn, complete } = options;
    return {
      retries,
      waitMs,
      controls: options.controls !== false,
      ttl: fleet.ttl,
      ...(plan.excluded.ports.length === 0 ? {} : { excludePorts: portRanges(plan.excluded.ports) }),
      ...(confidence === undefined ? {} : { confidence }),
      ...(verify === undefined ? {} : { verify }),
      ...(syn === undefined ? {} : { syn }),
      ...(ratePerHost === undefined ? {} : { ratePerHost: ratePerHost * share }),
      ...(ratePerPrefix === undefined ? {} : { ratePerPrefix: ratePerPrefix * share }),
      ...(hostTimeoutMs === undefined ? {} : { hostTimeoutMs }),
      ...(complete === undefined ? {} : { bannerMs: complete.bannerMs }),
    };
  }

  return {
    means: MEANS,
    receiveBuffer: 0,
    close,
    ...(join === undefined
      ? {}
      : {
          recall: (bytes, at, established, isComplete, tell) => {
            if (!join.take(bytes, at, established)) return false;
            const place = Math.floor(recordPosition(bytes, at) / space.total);
            // What is excluded now is not looked at again.
            const isLast = isComplete || isOutside(recordPosition(bytes, at) % space.total);
            join.settle(place, isLast ? undefined : nowUs() / 1000, tell);
            return true;
          },
        }),
    run: (hooks, past) => {
      const rest = past === undefined ? undefined : restOf(plan, past, runs.length);
      const prefixes = cutByPrefix(space, {
        seed: options.order.seed,
        most: isWhole ? Number.POSITIVE_INFINITY : MOST_PAIRS,
      });
      const ledgers = runs.map((_, place) =>
        createLedger({
          space,
          prefixes,
          firstLook: 2 ** 50 + Buffer.from(secret(6)).readUIntBE(0, 6),
          ...(rest === undefined
            ? {}
            : { isDone: (pair) => rest.isDone(place, pair), decided: rest.decided[place] }),
        }),
      );
      const { minimum, maximum } = options.rate;
      const share = 1 / runs.length;
      const start = (place: number, among: Among, engineHooks: EngineRunHooks) =>
        startCoordinator(
          {
            redis,
            run: runs[place],
            key,
            ledger: ledgers[place],
            space,
            rate: { minimum: minimum * share, maximum: maximum < MOST_RATE ? maximum * share : maximum },
            isResumed: past !== undefined,
            among,
            settings: settingsOf(share),
            note: join === undefined ? note : (line) => note(`${places[place]}: ${line}`),
          },
          engineHooks,
        );
      return startScan(
        {
          plan,
          options,
          means: MEANS,
          hooks,
          past: join === undefined || past === undefined ? past : ofAllPlaces(past, rest?.excluded ?? 0),
        },
        (engineHooks) =>
          join === undefined
            ? start(0, ALONE, engineHooks)
            : startPlaces(
                {
                  join,
                  ledgers,
                  pairs: space.total,
                  nowMs: () => nowUs() / 1000,
                  start,
                },
                engineHooks,
              ),
        close,
      );
    },
  };
}

/** Makes the run this process's. @throws {SynprobeError} `ERR_FLEET` when another coordinator has it, still when nobody waits */
async function claim(redis: Redis, run: Run, { ended, note }: FleetOptions): Promise<void> {
  const { id } = run;
  const untilUs = nowUs() + CLAIM_MS * 1000;
  let isEnded = false;
  void ended.then(() => {
    isEnded = true;
  });
  for (let isTold = false; !(await claimRun(redis, run)); await Promise.race([pause(LOOK_MS), ended])) {
    const other = (await listRuns(redis)).find((each) => each.id === id);
    if (isEnded || nowUs() > untilUs) {
      const ago = Math.round((await lastSeenMs(redis, "run", id)) / 1000);
      throw new SynprobeError(
        ERROR_CODES.fleet,
        `run ${id} has a coordinator already, ${other?.by ?? "which is ending"}, last seen ${ago} s ago: wait until it has ended`,
      );
    }
    if (!isTold && other !== undefined)
      note(`run ${id} has a coordinator, ${other.by}: waiting whether it has died`);
    isTold = true;
  }
}

/** Of several places pairs are counted when they are told, those of before too. */
function ofAllPlaces({ excluded: _, ...past }: PastRun, excluded: number): PastRun {
  const { decided, states, reasons } = noTotals();
  return {
    ...past,
    totals: { ...past.totals, decided, states, reasons },
    ...(excluded === 0 ? {} : { excluded }),
  };
}
