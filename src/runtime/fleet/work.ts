/**
 * A worker of a fleet: probes cells as they come, one after the other, each as a run of its own over this machine's links. It probes
 * nothing that its owner has not allowed, whoever asks.
 *
 * Redis, locks and the fence are the courier thread's business (courier.ts).
 */
import { Worker as Thread } from "node:worker_threads";
import { isSynprobeError } from "../../errors.ts";
import type { Established } from "../../scan/probe/result.ts";
import { RECORD_LENGTH } from "../../scan/probe/result-record.ts";
import { type AddressSpan, formatSpan, intersection } from "../../scan/targets/address-range.ts";
import type { AnyTargetSpec } from "../../scan/targets/grammar.ts";
import { parseServices } from "../../scan/targets/services.ts";
import { createSpaceBuilder } from "../../scan/targets/space-builder.ts";
import { createPlanner, type Plan, type PlanOptions } from "../plan/plan.ts";
import type { RunningScan } from "../run/running-scan.ts";
import { openScan } from "../run/scan.ts";
import type { ScanOptions } from "../run/scan-options.ts";
import { fenceMemory } from "../system/fence.ts";
import { randomSeed, secret } from "../system/random.ts";
import { type Cell, spansOf } from "./cell.ts";
import { MOST_RECORDS } from "./chunk.ts";
import type { CourierTask, FromCourier, ToCourier } from "./courier.ts";

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
  /** Takes no further cell; with `now` it hands back the one that it has. */
  leave(now: boolean): void;
}

const PROGRESS_MS = 1000;
/** How long handing back may take, in milliseconds. */
const LEAVE_MS = 3000;
/** Pieces of results that Redis has not taken yet; with more no SYN is sent. */
const MOST_WAITING = 16;

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
  const fence = fenceMemory();
  const allowed = allowedSpans(options.allow);
  const task: CourierTask = { kind: "fleet-courier", url, key, worker: { id, vantage, version }, fence };
  const courier = new Thread(options.courier, { workerData: task });
  const post = (message: ToCourier): void => courier.postMessage(message);
  let running: RunningScan | undefined;
  let isAborted = false;
  let waiting = 0;
  let roomAgain: (() => void) | undefined;
  let room: Promise<void> | undefined;

  /** Why a cell is not for this worker; undefined when it is. */
  function refusal(cell: Cell, plan: Plan | undefined): string | undefined {
    for (const span of spansOf(cell.targets)) {
      const isAllowed = allowed.some((one) => {
        const common = intersection(one, span);
        return common !== undefined && formatSpan(common) === formatSpan(span);
      });
      if (!isAllowed) return `${formatSpan(span)} is not in its --allow`;
    }
    if (plan === undefined || plan.space.total === cell.pairs) return undefined;
    const [fault] = plan.faults;
    if (fault !== undefined) return fault.message;
    const [leftOut] = plan.leftOut;
    return leftOut === undefined
      ? "its excludes leave out some of it"
      : `${formatSpan(leftOut.span)} is left out there: ${leftOut.why}`;
  }

  async function probe(cell: Cell): Promise<void> {
    const outright = refusal(cell, undefined);
    if (outright !== undefined) return post({ kind: "refused", reason: outright });
    const { settings } = cell;
    const planner = createPlanner({ ...options.way, ttl: settings.ttl, allAddresses: false });
    for (const { first, last, ports } of spansOf(cell.targets))
      planner.add({
        text: formatSpan({ first, last }),
        host: { kind: "range", spans: [{ first, last }] },
        ports,
      });
    const plan = await planner.finish();
    const reason = refusal(cell, plan);
    if (reason !== undefined) return post({ kind: "refused", reason });
    const scan = await openScan(plan, scanOptions(settings));
    try {
      if (isAborted) return post({ kind: "aborted" });
      const results = collect();
      running = scan.run({
        wants: [],
        onResult: () => {},
        onRecords: results.add,
        room: () => room,
      });
      const telling = setInterval(() => {
        if (running !== undefined) post({ kind: "progress", totals: running.totals() });
      }, PROGRESS_MS);
      const summary = await running.finished.finally(() => clearInterval(telling));
      if (isAborted || summary.unfinished > 0) return post({ kind: "aborted" });
      results.flush();
      post({ kind: "done", pairs: cell.pairs, elapsedMs: summary.elapsedMs, totals: running.totals() });
    } finally {
      running = undefined;
      scan.close();
    }
  }

  function scanOptions(settings: Cell["settings"]): ScanOptions {
    const maximum = Math.min(options.maxRate, settings.maxRate ?? Number.POSITIVE_INFINITY);
    const { retries, confidence, verify, waitMs, minRate, ratePerHost, ratePerPrefix, hostTimeoutMs } =
      settings;
    const { syn, bannerMs } = settings;
    return {
      retries,
      waitMs,
      rate: { minimum: Math.min(minRate, maximum), maximum },
      services: parseServices(""),
      controls: settings.controls,
      link: options.link,
      order: { seed: randomSeed() },
      fence,
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

  /** Gathers records into pieces for the courier. */
  function collect() {
    const records = new Uint8Array(MOST_RECORDS * RECORD_LENGTH);
    let extras = new Map<number, Established>();
    let count = 0;
    const flush = (): void => {
      if (count === 0) return;
      waiting++;
      if (waiting >= MOST_WAITING) {
        room ??= new Promise((resolve) => {
          roomAgain = resolve;
        });
      }
      const bytes = records.slice(0, count * RECORD_LENGTH);
      courier.postMessage({ kind: "chunk", chunk: { records: bytes, count, extras } } satisfies ToCourier, [
        bytes.buffer,
      ]);
      count = 0;
      extras = new Map();
    };
    const add = (bytes: Uint8Array, added: number, established?: Established): void => {
      for (let from = 0; from < added; ) {
        const some = Math.min(added - from, MOST_RECORDS - count);
        records.set(
          bytes.subarray(from * RECORD_LENGTH, (from + some) * RECORD_LENGTH),
          count * RECORD_LENGTH,
        );
        if (established !== undefined) extras.set(count, established);
        count += some;
        from += some;
        if (count === MOST_RECORDS) flush();
      }
    };
    return { add, flush };
  }

  function carried(): void {
    waiting--;
    if (waiting > 0) return;
    roomAgain?.();
    room = undefined;
    roomAgain = undefined;
  }

  const finished = new Promise<void>((resolve, reject) => {
    courier.on("message", (message: FromCourier) => {
      if (message.kind === "cell") {
        isAborted = false;
        probe(message.cell).catch((error: unknown) => {
          if (!isSynprobeError(error)) return reject(error);
          note(`a cell is handed back: ${error.message}`);
          post({ kind: "refused", reason: error.message });
        });
      } else if (message.kind === "abort") {
        isAborted = true;
        // Nothing waits for room any more.
        waiting = 1;
        carried();
        running?.kill();
      } else if (message.kind === "carried") carried();
      else if (message.kind === "note") note(message.line);
      else if (message.kind === "there")
        note(`worker ${id} takes cells; ctrl-c hands back the one it has, and ends`);
      else void courier.terminate();
    });
    courier.once("error", reject);
    courier.once("exit", () => resolve());
  });
  return {
    finished: finished.finally(() => {
      running?.kill();
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
