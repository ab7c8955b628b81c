/**
 * What engine.ts starts, a process of its own for each measurement: `engine-run.ts WHO HOW FAMILY` takes pairs through the engine,
 * or through its yardstick, and prints the processor time for each in nanoseconds.
 */
import { cpuUsage } from "node:process";
import { raiseInliningLimits } from "../../src/runtime/system/inlining.ts";
import {
  createAnswers,
  createEngineInMemory,
  type Family,
  HOSTS,
  isAnswered,
  PORTS,
  type Share,
  SLOT_LENGTH,
  SLOTS,
} from "./in-memory.ts";
import { createPlainLoops } from "./plain-loops.ts";

/** Pairs until V8 has compiled what runs often, and pairs that are measured. */
const WARM_UP = 500_000;
const MEASURED = 1_000_000;
/** How often the place in the run's order is asked for up to which all is decided, in microseconds of the engine's time. */
const MARK_US = 1e6;

/** @returns what takes the engine on until so many pairs are decided */
function createRun(family: Family, share: Share): (decided: number) => void {
  const engine = createEngineInMemory(family);
  const { pollTransmit, handleDeparture, handlePacket, handleTimeout, pollVerdict, counts } = engine;
  const packets = new Uint8Array(SLOTS * SLOT_LENGTH);
  const { answer, answerTo } = createAnswers(family);
  // With a fraction, as a real clock's.
  let nowUs = 0.5;
  let markUs = MARK_US;
  return (decided) => {
    while (counts.decided < decided) {
      let count = 0;
      while (count < SLOTS && pollTransmit(nowUs, packets, count * SLOT_LENGTH, count) > 0) count++;
      if (count > 0) handleDeparture(0, count, nowUs, nowUs + 100.25);
      nowUs += 300.125;
      for (let slot = 0; slot < count; slot++) {
        if (!isAnswered(packets, slot * SLOT_LENGTH, family, share)) continue;
        answerTo(packets, slot * SLOT_LENGTH);
        handlePacket(answer, 0, answer.length, nowUs, slot);
      }
      handleTimeout(nowUs);
      while (pollVerdict() !== undefined);
      if (nowUs < markUs) continue;
      markUs += MARK_US;
      engine.lowestUndecided();
    }
  };
}

raiseInliningLimits(HOSTS * PORTS);
const [who, how, version] = process.argv.slice(2);
const family = version === "6" ? 6 : 4;
const run = (who === "engine" ? createRun : createPlainLoops)(
  family,
  how === "answered" || how === "half" ? how : "silent",
);
run(WARM_UP);
const before = cpuUsage();
run(WARM_UP + MEASURED);
const { user, system } = cpuUsage(before);
console.log(Math.round((1000 * (user + system)) / MEASURED));
