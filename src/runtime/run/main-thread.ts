/**
 * The main thread's engine: built over its link, run by the event loop, with what it finds handed to the scan's hooks. Results
 * go out as they are decided, a report every 200 ms.
 *
 * The loop itself: event-loop.ts. Engines in threads of their own: worker-pool.ts.
 */
import type { Link } from "../../link/link.ts";
import type { Engine } from "../../scan/engine/engine.ts";
import { createHandshakes } from "../../scan/engine/handshakes.ts";
import type { Established } from "../../scan/probe/result.ts";
import { createBatchWriter } from "../results/record-batch.ts";
import { toEstablished } from "../results/to-result.ts";
import { wallUs } from "../system/clock.ts";
import { openFence } from "../system/fence.ts";
import { buildEngine, type EngineTask } from "./engine-builder.ts";
import { type EngineRun, type EngineRunHooks, isWanted } from "./engine-run.ts";
import { runEventLoop } from "./event-loop.ts";
import { countsByConnect, limitUndecided } from "./undecided.ts";

const REPORT_MS = 200;
/** How long answers are waited for after `stop`, in milliseconds. */
const GRACE_MS = 500;

/** How connections are completed: how long to wait for a banner, and for the other side to close, in microseconds. */
export interface HandshakeTimes {
  readonly bannerUs: number;
  readonly closeUs: number;
}

function isControlOf({ controlPorts }: EngineTask): (localPort: number) => boolean {
  return (port) => controlPorts !== undefined && port >= controlPorts.first && port <= controlPorts.last;
}

/** Handshakes that the kernel does are completed with this machine's own addresses too. */
const pathsOf = (
  { settings: { paths } }: EngineTask,
  { undecided }: Link,
): EngineTask["settings"]["paths"] =>
  undecided === undefined ? paths : paths.map(({ local, ttl }) => ({ local, ttl }));

/** @param handshakes given when the handshakes of open ports are to be completed */
export function runInMainThread(
  wire: Link,
  task: EngineTask,
  hooks: EngineRunHooks,
  handshakes?: HandshakeTimes,
): EngineRun {
  const { engine, link, report, takeDecisions, noticeDrops, flushCapture } = buildEngine(task, wire, {
    onCapture: hooks.onCapture,
    wrap: (prober) => {
      const fence = task.fence === undefined ? undefined : openFence(task.fence);
      const room = holdWhile(prober, () => hooks.room() !== undefined || fence?.isPast() === true);
      const held =
        wire.undecided === undefined ? room : limitUndecided(room, wire.undecided, isControlOf(task));
      return handshakes === undefined
        ? held
        : createHandshakes(held, { paths: pathsOf(task, wire), isControl: isControlOf(task), ...handshakes });
    },
  });
  let established: Established | undefined;
  const batch = createBatchWriter((bytes, count) => hooks.onRecords(bytes, count, established), "reuse");
  const loop = runEventLoop(engine, link, {
    onVerdict: (verdict) => {
      established = verdict.completion === undefined ? undefined : toEstablished(verdict.completion);
      if (hooks.keepsRecords) {
        // A record with a completion is a batch of its own: `established` belongs to that record alone.
        if (established !== undefined) batch.flush();
        batch.write(verdict);
        if (established !== undefined) batch.flush();
      }
      if (isWanted(hooks.wants, verdict.state, verdict.was)) {
        hooks.onResult(verdict, Math.floor(wallUs(verdict.atUs)), established);
      }
    },
  });
  const flush = (): void => {
    established = undefined;
    batch.flush();
    flushCapture();
  };
  const reportNow = (isLast = false): void => {
    noticeDrops();
    flush();
    const decisions = takeDecisions(isLast);
    if (decisions.length > 0) hooks.onRateChanges(decisions);
    hooks.onReport();
  };
  let failure: unknown;
  const reporting = setInterval(() => {
    try {
      reportNow();
    } catch (error) {
      // An error thrown by a hook ends the run.
      failure = error;
      loop.stop();
    }
  }, REPORT_MS);
  const finished = async (): Promise<void> => {
    try {
      await loop.finished;
    } catch (error) {
      failure ??= error;
    }
    clearInterval(reporting);
    if (failure === undefined) return reportNow(true);
    // What has been decided is handed over all the same.
    flush();
    throw failure;
  };
  return {
    finished: finished(),
    reports: (isLast = false) => {
      const own = report(isLast);
      return [wire.undecided === undefined ? own : { ...own, counts: countsByConnect(own.counts) }];
    },
    stop: () => loop.stop(GRACE_MS),
    kill: () => loop.stop(),
  };
}

/** While an engine is held, look again after this long, in microseconds. */
const HELD_US = 10_000;

/** An engine that sends no probe while it is held: there is no room for results, or its deadline is past. Handshakes, which are above it, go on. */
function holdWhile(engine: Engine, isHeld: () => boolean): Engine {
  const { pollTransmit, pollTimeout, stalledUs } = engine;
  const held: Pick<Engine, "pollTransmit" | "pollTimeout" | "stalledUs"> = {
    pollTransmit: (now, out, at, token) => (isHeld() ? 0 : pollTransmit(now, out, at, token)),
    pollTimeout: (now) => Math.max(pollTimeout(now), isHeld() ? now + HELD_US : 0),
    stalledUs: (now) => (isHeld() ? 0 : stalledUs(now)),
  };
  return Object.setPrototypeOf(held, engine);
}
