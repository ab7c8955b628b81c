/** What the rule that finds the rate is told of a process that sends steadily, and of one that is held up. */
import { expect, it } from "vitest";
import type { Answers, Growing, RateController } from "../../../src/scan/congestion/controller.ts";
import { createRateMonitor } from "../../../src/scan/congestion/monitor.ts";
import { createHostCache } from "../../../src/scan/measure/host-cache.ts";
import { createProbeTimeouts } from "../../../src/scan/measure/probe-timeout.ts";
import { FATES } from "../../../src/scan/measure/send-intervals.ts";

const MS = 1000;
const ROUND = 40 * MS;
const RATE = 20_000;

/**
 * A start that goes to 20,000 SYNs a second at 100 ms, of which a host at a distance answers each; told each millisecond how many
 * leave; back at 1000 when it was only tried. @returns what the rule is told of those that left at that rate
 */
function told(
  leaving: (ms: number) => number,
  roundOf: (ms: number) => number = () => ROUND,
  backAtMs = Number.POSITIVE_INFINITY,
) {
  const hosts = createHostCache(16);
  const timeouts = createProbeTimeouts(
    { initialUs: 1000 * MS, minUs: 100 * MS, maxUs: 5000 * MS },
    hosts,
    createHostCache(16),
  );
  const answers: Answers[] = [];
  const growing: Growing[] = [];
  let rate = 1000;
  const nothing = (): void => {};
  const congestion: RateController = {
    rate: () => rate,
    isStarting: () => true,
    handleDelays: nothing,
    handleGrowth: (e) => growing.push(e),
    handleTime: nothing,
    handleAnswers: (e) => answers.push(e),
    handleOutcome: nothing,
    handleOverrun: nothing,
    handleSilence: nothing,
  };
  const pathState = createRateMonitor({
    rate: { minimum: 10, maximum: 1e6 },
    startUs: 0,
    patienceUs: 1000 * MS,
    hosts,
    timeouts,
    congestion: () => congestion,
  });
  const words = Uint32Array.of(0, 0, 0xffff, 1);
  const host = hosts.entryOf(words, 0, 0);
  hosts.firstMs[host] = 0;
  const times = new Float64Array(1);
  const underWay: { sentUs: number; backUs: number }[] = [];
  for (let ms = 1; ms < 250; ms++) {
    const nowUs = ms * MS;
    if (ms === 100) rate = RATE;
    if (ms === backAtMs) rate = 1000;
    while (underWay[0]?.backUs <= nowUs) {
      const { sentUs, backUs } = underWay.shift() as { sentUs: number; backUs: number };
      times[0] = sentUs;
      const interval = pathState.intervals.at(times, 0);
      pathState.intervals.add(interval, FATES.heard);
      pathState.sample(host, interval, times, 0, backUs - sentUs);
      timeouts.sample(host, backUs - sentUs);
    }
    if (nowUs >= pathState.lookAt()) {
      timeouts.learn();
      pathState.hear(nowUs);
      pathState.follow(nowUs, true);
    }
    const count = leaving(ms);
    for (let i = 0; i < count; i++) {
      times[0] = nowUs + i * 10;
      pathState.sent(nowUs);
      pathState.departed(times, 0);
      pathState.intervals.add(pathState.intervals.at(times, 0), FATES.sent);
      underWay.push({ sentUs: times[0], backUs: times[0] + roundOf(times[0] / MS) });
    }
  }
  const isFast = ({ allowed }: { allowed: number }): boolean => allowed === RATE;
  return { answers: answers.filter(isFast), growing: growing.filter(isFast) };
}

it("who sends steadily is told to", () => {
  const { answers, growing } = told((ms) => (ms < 100 ? 1 : RATE / 1000));
  expect(answers.length).toBeGreaterThan(5);
  for (const { sent } of answers) expect(sent).toBeGreaterThan(0.9 * RATE);
  for (const { queueUs } of growing) expect(queueUs).toBeLessThan(1);
});

it("who is held up is not told that a burst is its rate: it is not multiplied", () => {
  // 100 SYNs within 5 ms, and then nothing for 45.
  const { answers } = told((ms) => (ms < 100 ? 1 : ms % 50 < 5 ? RATE / 1000 : 0));
  expect(answers.length).toBeGreaterThan(0);
  for (const { sent } of answers) expect(sent).toBeLessThan(0.35 * RATE);
});

it("what was tried for a while is told as it was, though less leaves after it", () => {
  const { answers } = told((ms) => (ms < 100 || ms >= 125 ? 1 : RATE / 1000), undefined, 125);
  expect(answers.length).toBeGreaterThan(0);
  for (const { sent } of answers) expect(sent).toBeGreaterThan(0.75 * RATE);
});

it("a queue that grows is told with all that left while it grew, and not before it has for a while", () => {
  // Half as much again as is allowed, as after a pause.
  const fast = (ms: number): number => (ms < 100 ? 1 : (1.5 * RATE) / 1000);
  const { growing } = told(fast, (ms) => ROUND + Math.max(0, ms - 100) * MS);
  expect(growing.length).toBeGreaterThan(0);
  for (const { slope, sent, fromUs, toUs } of growing) {
    expect(slope).toBeGreaterThan(0.8);
    expect(slope).toBeLessThan(1.2);
    expect(toUs - fromUs).toBeGreaterThanOrEqual(5 * MS);
    expect(sent).toBeGreaterThan(1.4 * RATE);
    expect(sent).toBeLessThan(1.6 * RATE);
  }
});
