/** Base round trips and delays, host by host: with a queue, with one that was there from the beginning, and without. */
import { beforeEach, describe, expect, it } from "vitest";
import { type BaseRtt, createBaseRtt } from "../../../src/scan/congestion/base-rtt.ts";
import { createHostCache, type HostCache, loadPrefix } from "../../../src/scan/measure/host-cache.ts";
import { createProbeTimeouts, type ProbeTimeouts } from "../../../src/scan/measure/probe-timeout.ts";
import { createSendIntervals, type SendIntervals } from "../../../src/scan/measure/send-intervals.ts";
import { ADDRESS_WORDS, loadAddress } from "../../../src/socket/table.ts";
import { createSeededRandom } from "../../sim/random.ts";

const MS = 1000;
const HOSTS = 64;
const ROUND = 40 * MS;

let hosts: HostCache;
let intervals: SendIntervals;
let timeouts: ProbeTimeouts;
let baseRtt: BaseRtt;
let nowUs: number;
const times = new Float64Array(1);
beforeEach(() => {
  hosts = createHostCache(HOSTS, 1);
  const prefixes = createHostCache(HOSTS, 1);
  intervals = createSendIntervals();
  intervals.begin(0, 1000);
  timeouts = createProbeTimeouts(
    { initialUs: 1000 * MS, minUs: 100 * MS, maxUs: 5000 * MS },
    hosts,
    prefixes,
  );
  baseRtt = createBaseRtt(hosts, intervals, timeouts);
  nowUs = 0;
  const words = new Uint32Array(ADDRESS_WORDS);
  for (let i = 0; i < HOSTS; i++) {
    loadAddress(words, 0, Uint8Array.of(198, 18, 0, i), 0, 4);
    const host = hosts.entryOf(words, 0, 0);
    hosts.firstMs[host] = 0;
    loadPrefix(words, words, 0);
    hosts.prefix[host] = prefixes.entryOf(words, 0, 0);
  }
});

/** During the last `answer`: looks, and looks that saw a queue. */
let looks = 0;
let looksQueued = 0;
/** The first `among` hosts answer `rounds` times each, one answer per millisecond, with a look after every eighth. */
function answer(rounds: number, rttOf: () => number, among = HOSTS): { answers: number; meanUs: number } {
  let answers = 0;
  let sum = 0;
  looks = 0;
  looksQueued = 0;
  for (let i = 0; i < rounds * among; i++) {
    const host = (i % among) * 16;
    nowUs += MS;
    times[0] = nowUs;
    const rtt = Math.max(1, rttOf() | 0);
    baseRtt.sample(host, intervals.at(times, 0), times, 0, rtt);
    timeouts.sample(host, rtt);
    hosts.answered[host]++;
    if (i % 8 < 7) continue;
    timeouts.learn();
    const delay = baseRtt.take();
    looks++;
    if (timeouts.queueUs() > 0) looksQueued++;
    answers += delay?.answers ?? 0;
    sum += (delay?.answers ?? 0) * (delay?.delayUs ?? 0);
  }
  return { answers, meanUs: answers === 0 ? 0 : sum / answers };
}

describe("answers without a queue", () => {
  it("have no delay, and a host's first answer has nothing to be compared with", () => {
    expect(answer(1, () => ROUND)).toEqual({ answers: 0, meanUs: 0 });
    expect(baseRtt.take()).toBeUndefined();
    const { answers, meanUs } = answer(10, () => ROUND);
    expect(answers).toBeGreaterThan(5 * HOSTS);
    expect(Math.abs(meanUs)).toBeLessThan(1);
  });

  it("hardly ever look like a queue, though they scatter by half a round trip or take one of two routes", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const random = createSeededRandom(seed);
      const scattered = (): number => ROUND * (0.5 + random(1001) / 1000);
      answer(8, scattered);
      // Below the standard deviation, which a queue has to exceed.
      expect(Math.abs(answer(20, scattered).meanUs), `seed ${seed}`).toBeLessThan(0.2 * ROUND);
      expect(looksQueued, `seed ${seed}`).toBeLessThan(0.15 * looks);
      const eitherWay = (): number => (random(2) === 0 ? ROUND : 1.5 * ROUND);
      answer(8, eitherWay);
      expect(Math.abs(answer(20, eitherWay).meanUs), `seed ${seed}`).toBeLessThan(0.2 * ROUND);
    }
  });
});

describe("a queue", () => {
  it("is measured for as long as it stays, and becomes no host's base", () => {
    answer(10, () => ROUND);
    for (let i = 0; i < 5; i++) {
      const { answers, meanUs } = answer(10, () => ROUND + 30 * MS);
      expect(answers).toBe(10 * HOSTS);
      expect(Math.abs(meanUs - 30 * MS)).toBeLessThan(3 * MS);
      expect(timeouts.queueUs()).toBeGreaterThan(25 * MS);
    }
    answer(2, () => ROUND);
    expect(timeouts.queueUs()).toBe(0);
  });

  it("that was there from the beginning leaves the bases when it is gone, with one answer per host", () => {
    answer(3, () => ROUND + 80 * MS);
    answer(1, () => ROUND);
    // The next queue is measured in full.
    expect(answer(2, () => ROUND + 30 * MS).meanUs).toBeGreaterThan(29 * MS);
  });

  it("that was there from the beginning leaves all bases once a few hosts have shown that it is gone", () => {
    for (const goneUs of [15 * MS, 80 * MS]) {
      answer(3, () => ROUND + goneUs);
      answer(3, () => ROUND, HOSTS / 4);
      const { meanUs } = answer(1, () => ROUND + 30 * MS);
      expect(Math.abs(meanUs - 30 * MS), `${goneUs} us`).toBeLessThan(2 * MS);
      answer(9, () => ROUND);
    }
  });

  it("is not gone when only some hosts are faster: the others do not look late", () => {
    answer(6, () => ROUND + 50 * MS);
    const oneInEight = (): number => ((nowUs / MS) % 8 === 0 ? ROUND + 50 * MS : ROUND);
    const { meanUs } = answer(4, oneInEight);
    expect(meanUs).toBeLessThan(1 * MS);
    expect(looksQueued).toBe(0);
  });

  it("whose clear round trip is known shows for hosts first met in it, until it is gone", () => {
    answer(1, () => ROUND + 80 * MS);
    expect(answer(2, () => ROUND + 80 * MS).meanUs).toBeLessThan(1 * MS);
    baseRtt.expectQueue(ROUND);
    expect(answer(2, () => ROUND + 80 * MS).meanUs).toBeGreaterThan(79 * MS);
    expect(timeouts.queueUs()).toBeGreaterThan(79 * MS);
    answer(1, () => ROUND);
    expect(timeouts.queueUs()).toBe(0);
    // Afterwards a host that is farther away may have a longer base.
    for (let i = HOSTS / 2; i < HOSTS; i++) hosts.baseRtt[i * 16] = 0;
    const rttOf = (): number => ((nowUs / MS - 1) % HOSTS < HOSTS / 2 ? ROUND : 2 * ROUND);
    answer(1, rttOf);
    for (let i = 0; i < HOSTS; i++) expect(hosts.baseRtt[i * 16]).toBe(i < HOSTS / 2 ? ROUND : 2 * ROUND);
  });

  it("is subtracted from the first answer of a host that is met in it", () => {
    const known = HOSTS / 2;
    for (let i = known; i < HOSTS; i++) hosts.baseRtt[i * 16] = 0;
    answer(10, () => ROUND);
    for (let i = known; i < HOSTS; i++) hosts.baseRtt[i * 16] = 0;
    answer(2, () => ROUND + 40 * MS);
    for (let i = known; i < HOSTS; i++) expect(Math.abs(hosts.baseRtt[i * 16] - ROUND)).toBeLessThan(8 * MS);
  });
});
