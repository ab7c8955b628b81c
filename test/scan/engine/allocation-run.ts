/**
 * What allocation.test.ts starts: an engine whose every probe is answered in memory, under V8's sampling heap profiler, which
 * here also counts what has been collected again. A process of its own, so that the code runs as users run it, and nothing
 * else allocates beside it; but with V8's own limits of inlining, as with raised ones it compiles anew for longer. Prints one Profile
 * as JSON.
 */
import { type HeapProfiler, Session } from "node:inspector/promises";
import { createAnswers, createEngineInMemory, SLOT_LENGTH, SLOTS } from "../../bench/in-memory.ts";

export interface Profile {
  readonly inFlight: number;
  readonly open: number;
  readonly closed: number;
  readonly filtered: number;
  /** Bytes allocated in the JavaScript heap, by the function that did, most first. */
  readonly sites: readonly (readonly [site: string, bytes: number])[];
}

/** Probes before the profile starts: by then V8 has compiled what runs often. */
const WARM_UP = 1_000_000;
const PROFILED = 500_000;

const engine = createEngineInMemory(4);
const packets = new Uint8Array(SLOTS * SLOT_LENGTH);
const { answer, answerTo } = createAnswers(4);

/** Engine time in microseconds, with a fraction, as a real clock's. */
let nowUs = 0.5;

/** Probes until `decided` pairs have their verdicts: every third try is lost, the others are answered. */
function probe(decided: number): void {
  const { pollTransmit, handleDeparture, handlePacket, handleTimeout, pollVerdict, counts } = engine;
  while (counts.decided < decided) {
    let count = 0;
    while (count < SLOTS && pollTransmit(nowUs, packets, count * SLOT_LENGTH, count) > 0) count++;
    if (count > 0) handleDeparture(0, count, nowUs, nowUs + 100.25);
    nowUs += 300.125;
    for (let slot = 0; slot < count; slot++) {
      if (slot % 3 === 0) continue;
      answerTo(packets, slot * SLOT_LENGTH);
      handlePacket(answer, 0, answer.length, nowUs, slot);
    }
    handleTimeout(nowUs);
    while (pollVerdict() !== undefined);
  }
}

const session = new Session();
session.connect();
probe(WARM_UP);
await session.post("HeapProfiler.startSampling", {
  samplingInterval: 1024,
  includeObjectsCollectedByMajorGC: true,
  includeObjectsCollectedByMinorGC: true,
});
const before = { ...engine.counts.states };
probe(WARM_UP + PROFILED);
const after = engine.counts.states;
const { profile } = await session.post("HeapProfiler.stopSampling");

const bytes = new Map<string, number>();
function add({ callFrame, selfSize, children }: HeapProfiler.SamplingHeapProfileNode): void {
  const site = `${callFrame.functionName} (${callFrame.url.split("/").at(-1)}:${callFrame.lineNumber + 1})`;
  bytes.set(site, (bytes.get(site) ?? 0) + selfSize);
  for (const child of children) add(child);
}
add(profile.head);
const sites = [...bytes].sort(([, a], [, b]) => b - a);
console.log(
  JSON.stringify({
    inFlight: PROFILED,
    open: after.open - before.open,
    closed: after.closed - before.closed,
    filtered: after.filtered - before.filtered,
    sites,
  } satisfies Profile),
);
