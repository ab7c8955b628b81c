/** What the monitor tells the rate controller: of a process that sends steadily, and of one that is delayed and sends in bursts. */
import { expect, it } from "vitest";
import type { RateController } from "../../../src/scan/congestion/controller.ts";
import { createRateMonitor } from "../../../src/scan/congestion/monitor.ts";
import type { AnswersObservation, RttGrowthObservation } from "../../../src/scan/congestion/observations.ts";
import { createHostCache } from "../../../src/scan/measure/host-cache.ts";
import { createProbeTimeouts } from "../../../src/scan/measure/probe-timeout.ts";
import { createSendIntervals, FATES } from "../../../src/scan/measure/send-intervals.ts";

const MS = 1000;
const ROUND = 40 * MS;
const RATE = 20_000;

/**
 * A startup that goes to 20,000 SYNs/s at 100 ms, each answered by one host.
 * @param leaving SYNs that leave in each millisecond
 * @param backAtMs the rate goes back to 1000 SYNs/s then
 * @returns the observations of SYNs that left at 20,000 SYNs/s
 */
function told(
  leaving: (ms: number) => number,
  roundOf: (ms: number) => number = () => ROUND,
  backAtMs = Number.POSITIVE_INFINITY,
) {
  const hosts = createHostCache(16, 1);
  const timeouts = createProbeTimeouts(
    { initialUs: 1000 * MS, minUs: 100 * MS, maxUs: 5000 * MS },
    hosts,
    createHostCache(16, 1),
  );
  const answers: AnswersObservation[] = [];
  const growing: RttGrowthObservation[] = [];
  let rate = 1000;
  const nothing = (): void => {};
  const congestion: RateController = {
    rate: () => rate,
    inStartup: () => true,
    handleDelays: nothing,
    handleRttGrowth: (e) => growing.push(e),
    handleTime: nothing,
    handleAnswers: (e) => answers.push(e),
    handleOutcome: nothing,
    handleOverrun: nothing,
    handleNoAnswers: nothing,
    metrics: () => ({ phase: "startup", rate }),
  };
  const intervals = createSendIntervals();
  const monitor = createRateMonitor({
    rate: { minimum: 10, maximum: 1e6 },
    startUs: 0,
    patienceUs: 1000 * MS,
    hosts,
    intervals,
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
      const interval = intervals.at(times, 0);
      intervals.add(interval, FATES.anyAnswered);
      monitor.sample(host, interval, times, 0, backUs - sentUs);
      timeouts.sample(host, backUs - sentUs);
    }
    if (nowUs >= monitor.lookAt()) {
      timeouts.learn();
      monitor.observe(nowUs);
      monitor.follow(nowUs, true);
    }
    const count = leaving(ms);
    for (let i = 0; i < count; i++) {
      times[0] = nowUs + i * 10;
      monitor.sent(nowUs);
      monitor.departed(times, 0);
      intervals.add(intervals.at(times, 0), FATES.sent);
      underWay.push({ sentUs: times[0], backUs: times[0] + roundOf(times[0] / MS) });
    }
  }
  const isFast = ({ allowedRate }: { allowedRate: number }): boolean => allowedRate === RATE;
  return { answers: answers.filter(isFast), growing: growing.filter(isFast) };
}

it("a steady sender's rate is the allowed one", () => {
  const { answers, growing } = told((ms) => (ms < 100 ? 1 : RATE / 1000));
  expect(answers.length).toBeGreaterThan(5);
  for (const { sentRate } of answers) expect(sentRate).toBeGreaterThan(0.9 * RATE);
  for (const { queueUs } of growing) expect(queueUs).toBeLessThan(1);
});

it("a delayed process's bursts are not taken for its rate, which startup would multiply", () => {
  // 100 SYNs within 5 ms, then none for 45 ms.
  const { answers } = told((ms) => (ms < 100 ? 1 : ms % 50 < 5 ? RATE / 1000 : 0));
  expect(answers.length).toBeGreaterThan(0);
  for (const { sentRate } of answers) expect(sentRate).toBeLessThan(0.35 * RATE);
});

it("a trial is observed at its own rate, though less leaves after it", () => {
  const { answers } = told((ms) => (ms < 100 || ms >= 125 ? 1 : RATE / 1000), undefined, 125);
  expect(answers.length).toBeGreaterThan(0);
  for (const { sentRate } of answers) expect(sentRate).toBeGreaterThan(0.75 * RATE);
});

it("a growing queue is observed with everything that left meanwhile, and only after it has grown for 5 ms", () => {
  // 1.5 times the allowed rate, as after a pause.
  const fast = (ms: number): number => (ms < 100 ? 1 : (1.5 * RATE) / 1000);
  const { growing } = told(fast, (ms) => ROUND + Math.max(0, ms - 100) * MS);
  expect(growing.length).toBeGreaterThan(0);
  for (const { slope, sentRate, fromUs, toUs } of growing) {
    expect(slope).toBeGreaterThan(0.8);
    expect(slope).toBeLessThan(1.2);
    expect(toUs - fromUs).toBeGreaterThanOrEqual(5 * MS);
    expect(sentRate).toBeGreaterThan(1.4 * RATE);
    expect(sentRate).toBeLessThan(1.6 * RATE);
  }
});
