/**
 * A worker of a fleet: probes cells as they come, each as a run of its own over this machine's links. When one ends the next has begun:
 * it goes on at the rate that was found, and sends what the one before it leaves of that. It probes nothing that its owner has not
 * allowed, whoever asks.
 *
 * Redis, locks and fences are the courier thread's business (courier.ts).
 */
import { Worker as Thread } from "node:worker_threads";
import { isSynprobeError } from "../../errors.ts";
import { paceMemory } from "../../scan/congestion/shared-pace.ts";
import { MOST_RATE } from "../../scan/engine/timing-templates.ts";
import type { Established, ScanProgress } from "../../scan/probe/result.ts";
import { RECORD_LENGTH } from "../../scan/probe/result-record.ts";
import { type AddressSpan, formatSpan, intersection } from "../../scan/targets/address-range.ts";
import type { AnyTargetSpec } from "../../scan/targets/grammar.ts";
import { parseServices } from "../../scan/targets/services.ts";
import { createSpaceBuilder } from "../../scan/targets/space-builder.ts";
import { createPlanner, type Plan, type PlanOptions } from "../plan/plan.ts";
import type { RunningScan } from "../run/running-scan.ts";
import { type OpenScan, openScan } from "../run/scan.ts";
import type { Beside, ScanOptions } from "../run/scan-options.ts";
import { nowUs } from "../system/clock.ts";
import { fenceMemory } from "../system/fence.ts";
import { randomSeed, secret } from "../system/random.ts";
import { type Cell, excludedBy, jobOf, spansOf } from "./cell.ts";
import { type Chunk, MOST_RECORDS } from "./chunk.ts";
import type { CourierTask, FromCourier, OfCell, ToCourier } from "./courier.ts";

export interface WorkOptions {
  readonly url: string;
  readonly key: string;
  readonly vantage: string;
  readonly version: string;
  /** What may be probed. */
  readonly allow: readonly AnyTargetSpec[];
  readonly way: Omit<PlanOptions, "ttl" | "allAddresses" | "ports">;
  /** Most probes a second, whatever a run asks for. */
  readonly maxRate: number;
  readonly link: NonNullable<ScanOptions["link"]>;
  readonly threads?: number;
  /** The file with courier.ts in it. */
  readonly courier: URL;
  note(line: string): void;
}

export interface Work {
  /** Settles when it has left; rejects when it cannot go on. */
  readonly finished: Promise<void>;
  /** Takes no further cell; with `now` it hands back what it has. */
  leave(now: boolean): void;
}

const PROGRESS_MS = 1000;
/** How long handing back may take, in milliseconds. */
const LEAVE_MS = 3000;
/** Pieces of results that Redis has not taken yet; with more no SYN is sent. */
const MOST_WAITING = 16;
/** Cells that are there at a time: one that is sent, and others whose last tries are awaited. */
const SLOTS = 3;
/** How long a path is taken to hold the rate that it held, in microseconds. */
const FOUND_LASTS_US = 10_000_000;
/** The next cell is taken when what has not been sent of one is so much work, in seconds: about what a worker takes to be ready. */
const AHEAD_S = 0.5;
/** A fault of this machine, in microseconds, that is taken for one that stays. */
const FAULT_LASTS_US = 60_000_000;

/** A cell is not for this worker; or cannot be probed now. */
interface NoScan {
  readonly kind: "refused" | "unable";
  readonly reason: string;
}

/** What is allowed. Of names nothing is: they may come to mean anything. */
function allowedSpans(specs: readonly AnyTargetSpec[]): readonly AddressSpan[] {
  const builder = createSpaceBuilder();
  for (const { host } of specs) {
    if (host.kind === "address") builder.add(host.address, host.address, ANY_PORT);
    else if (host.kind === "range")
      for (const { first, last } of host.spans) builder.add(first, last, ANY_PORT);
  }
  return builder.spans();
}
const ANY_PORT = Uint16Array.of(1);

export function startWork(options: WorkOptions): Work {
  const { url, key, vantage, version, note } = options;
  // The worker's name.
  const id = `${vantage}-${Buffer.from(secret(3)).toString("hex")}`;
  const fences = Array.from({ length: SLOTS }, fenceMemory);
  const allowed = allowedSpans(options.allow);
  const task: CourierTask = { kind: "fleet-courier", url, key, worker: { id, vantage, version }, fences };
  const courier = new Thread(options.courier, { workerData: task });
  const post = (message: ToCourier): void => courier.postMessage(message);
  const slots = fences.map(createSlot);
  /** Where what is sent of each cell under way is counted. */
  const underWay = new Set<SharedArrayBuffer>();
  const rates = createFoundRates();
  const faults = createFaults();

  /** Why a cell is not for this worker; undefined when it is. */
  function refusal(cell: Cell, plan: Plan | undefined): NoScan | undefined {
    const refused = (reason: string): NoScan => ({ kind: "refused", reason });
    for (const span of spansOf(cell.targets)) {
      const isAllowed = allowed.some((one) => {
        const common = intersection(one, span);
        return common !== undefined && formatSpan(common) === formatSpan(span);
      });
      if (!isAllowed) return refused(`${formatSpan(span)} is not in its --allow`);
    }
    if (plan === undefined || plan.space.total === cell.pairs) return undefined;
    const [fault] = plan.faults;
    // A route may come back.
    if (fault !== undefined) return { kind: "unable", reason: fault.message };
    const [leftOut] = plan.leftOut;
    return refused(
      leftOut === undefined
        ? "its excludes leave out some of it"
        : `${formatSpan(leftOut.span)} is left out there: ${leftOut.why}`,
    );
  }

  /** A cell at a time. */
  function createSlot(fence: SharedArrayBuffer, slot: number) {
    let running: RunningScan | undefined;
    let isAborted = false;
    let chunks: ReturnType<typeof createChunks> | undefined;
    const say = (message: OfCell): void => post({ ...message, slot });

    async function open(cell: Cell, beside: Beside): Promise<OpenScan | NoScan> {
      const outright = refusal(cell, undefined);
      if (outright !== undefined) return outright;
      const planner = createPlanner({
        ...options.way,
        excludePorts: Uint16Array.from([...(options.way.excludePorts ?? []), ...excludedBy(cell.settings)]),
        ttl: cell.settings.ttl,
        allAddresses: false,
      });
      for (const { first, last, ports } of spansOf(cell.targets))
        planner.add({
          text: formatSpan({ first, last }),
          host: { kind: "range", spans: [{ first, last }] },
          ports,
        });
      const plan = await planner.finish();
      return refusal(cell, plan) ?? (await openScan(plan, scanOptions(cell, fence, beside)));
    }

    async function probe(cell: Cell): Promise<void> {
      isAborted = false;
      const beside = {
        ports: { index: slot, count: SLOTS },
        sent: paceMemory(),
        sentBefore: [...underWay],
      };
      const scan = await open(cell, beside);
      if ("kind" in scan) return scan.kind === "refused" ? say(scan) : tellFault(cell, scan.reason);
      try {
        if (isAborted) return say({ kind: "aborted" });
        const results = createChunks((chunk) =>
          courier.postMessage({ kind: "chunk", slot, chunk } satisfies ToCourier, [chunk.records.buffer]),
        );
        chunks = results;
        let isEndingSaid = false;
        const tell = (): void => {
          if (running !== undefined) say({ kind: "progress", totals: running.totals() });
        };
        underWay.add(beside.sent);
        running = scan.run({
          wants: [],
          onResult: () => {},
          onRecords: results.add,
          onCheckpoint: () => {
            if (isEndingSaid || running === undefined) return;
            const progress = running.progress();
            if (!isEnding(progress)) return;
            isEndingSaid = true;
            rates.keep(cell.run, foundRate(progress, mostPerSecond(cell)), nowUs());
            // How large the next one is to be follows from this.
            tell();
            say({ kind: "ending" });
          },
          room: results.room,
        });
        const telling = setInterval(tell, PROGRESS_MS);
        const summary = await running.finished.finally(() => clearInterval(telling));
        if (isAborted || summary.unfinished > 0) return say({ kind: "aborted" });
        results.flush();
        faults.end(cell);
        say({ kind: "done", pairs: cell.pairs, elapsedMs: summary.elapsedMs, totals: running.totals() });
      } finally {
        running = undefined;
        chunks = undefined;
        underWay.delete(beside.sent);
        scan.close();
      }
    }

    /** Hands a cell back; for good when the fault lasts. */
    function tellFault(cell: Cell, reason: string): void {
      note(`a cell is handed back: ${reason}`);
      say({ kind: faults.isLasting(cell, nowUs()) ? "refused" : "unable", reason });
    }

    return {
      probe,
      tellFault,
      carried: () => chunks?.carried(),
      abort: () => {
        isAborted = true;
        // Nothing waits for room any more.
        chunks?.release();
        running?.kill();
      },
    };
  }

  const mostPerSecond = ({ settings }: Cell): number =>
    Math.min(options.maxRate, settings.maxRate ?? MOST_RATE);

  function scanOptions(cell: Cell, fence: SharedArrayBuffer, beside: Beside): ScanOptions {
    const { run, settings } = cell;
    const maximum = mostPerSecond(cell);
    const found = rates.of(run, nowUs());
    const { retries, confidence, verify, waitMs, minRate, ratePerHost, ratePerPrefix, hostTimeoutMs } =
      settings;
    const { syn, bannerMs } = settings;
    return {
      retries,
      waitMs,
      rate: {
        minimum: Math.min(minRate, maximum),
        maximum,
        ...(found === undefined ? {} : { found }),
      },
      services: parseServices(""),
      controls: settings.controls,
      link: options.link,
      order: { seed: randomSeed() },
      fence,
      beside,
      ...(options.threads === undefined ? {} : { workers: options.threads }),
      ...(confidence === undefined ? {} : { confidence }),
      ...(verify === undefined ? {} : { verify }),
      ...(syn === undefined ? {} : { syn }),
      ...(ratePerHost === undefined ? {} : { ratePerHost }),
      ...(ratePerPrefix === undefined ? {} : { ratePerPrefix }),
      ...(hostTimeoutMs === undefined ? {} : { hostTimeoutMs }),
      ...(bannerMs === undefined ? {} : { complete: { bannerMs } }),
    };
  }

  const finished = new Promise<void>((resolve, reject) => {
    courier.on("message", (message: FromCourier) => {
      if (message.kind === "cell") {
        const { probe, tellFault } = slots[message.slot];
        probe(message.cell).catch((error: unknown) => {
          if (!isSynprobeError(error)) return reject(error);
          tellFault(message.cell, error.message);
        });
      } else if (message.kind === "abort") slots[message.slot].abort();
      else if (message.kind === "carried") slots[message.slot].carried();
      else if (message.kind === "note") note(message.line);
      else if (message.kind === "there")
        note(`worker ${id} takes cells; ctrl-c hands back what it has, and ends`);
      else void courier.terminate();
    });
    courier.once("error", reject);
    courier.once("exit", () => resolve());
  });
  return {
    finished: finished.finally(() => {
      for (const { abort } of slots) abort();
      // It would keep the lock of a cell that nobody probes.
      void courier.terminate();
    }),
    leave: (now) => {
      post({ kind: "leave", now });
      // Redis may be away: the lock of what it has runs out by itself.
      if (now) setTimeout(() => void courier.terminate(), LEAVE_MS).unref();
    },
  };
}

/** Whether what has not been sent of a cell is little work. */
function isEnding({ total, decided, inFlight, elapsedMs }: ScanProgress): boolean {
  const begun = decided + inFlight;
  return total - begun <= (AHEAD_S * 1000 * begun) / elapsedMs;
}

/** The rate that a cell's engines have found; undefined while they look for it. */
function foundRate({ rates = [] }: ScanProgress, maximum: number): number | undefined {
  const rate = rates.reduce((sum, each) => sum + each.rate, 0);
  const isFound = rates.every(({ phase }) => phase !== "startup") || rate >= maximum;
  return isFound && rate > 0 ? rate : undefined;
}

/**
 * The rate that the last cells of a run have found, with which the next one begins: of short ones each would end before it had found it
 * again.
 */
export function createFoundRates() {
  let found: { readonly run: string; readonly rate: number; readonly atUs: number } | undefined;
  return {
    /** @param rate undefined when this cell has found none: then that of those before it holds on */
    keep: (run: string, rate: number | undefined, atUs: number): void => {
      if (rate !== undefined) found = { run, rate, atUs };
    },
    of: (run: string, atUs: number): number | undefined =>
      found?.run === run && atUs - found.atUs <= FOUND_LASTS_US ? found.rate : undefined,
  };
}

/** Since when faults of this machine have kept it from probing each cell. */
export function createFaults() {
  const sinceUs = new Map<string, number>();
  const nameOf = (cell: Pick<Cell, "run" | "from" | "to">): string => `${cell.run} ${jobOf(cell)}`;
  return {
    isLasting: (cell: Pick<Cell, "run" | "from" | "to">, atUs: number): boolean => {
      const since = sinceUs.get(nameOf(cell)) ?? atUs;
      sinceUs.set(nameOf(cell), since);
      return atUs - since >= FAULT_LASTS_US;
    },
    end: (cell: Pick<Cell, "run" | "from" | "to">): void => void sinceUs.delete(nameOf(cell)),
  };
}

/** Gathers a cell's records into pieces, and counts those that Redis has not taken yet. */
function createChunks(give: (chunk: Chunk & { readonly records: Uint8Array<ArrayBuffer> }) => void) {
  const records = new Uint8Array(MOST_RECORDS * RECORD_LENGTH);
  let extras = new Map<number, Established>();
  let count = 0;
  let waiting = 0;
  let roomAgain = (): void => {};
  let room: Promise<void> | undefined;

  function flush(): void {
    if (count === 0) return;
    waiting++;
    if (waiting >= MOST_WAITING) {
      room ??= new Promise((resolve) => {
        roomAgain = resolve;
      });
    }
    give({ records: records.slice(0, count * RECORD_LENGTH), count, extras });
    count = 0;
    extras = new Map();
  }

  function add(bytes: Uint8Array, added: number, established?: Established): void {
    for (let from = 0; from < added; ) {
      const some = Math.min(added - from, MOST_RECORDS - count);
      records.set(bytes.subarray(from * RECORD_LENGTH, (from + some) * RECORD_LENGTH), count * RECORD_LENGTH);
      if (established !== undefined) extras.set(count, established);
      count += some;
      from += some;
      if (count === MOST_RECORDS) flush();
    }
  }

  function release(): void {
    waiting = 0;
    room = undefined;
    roomAgain();
  }

  const carried = (): void => {
    waiting--;
    if (waiting <= 0) release();
  };

  return { add, flush, carried, release, room: () => room };
}
