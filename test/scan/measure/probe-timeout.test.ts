/** Timeouts of probes, by what is known of the host, its prefix or the run. */
import { beforeEach, describe, expect, it } from "vitest";
import { createHostCache, type HostCache, loadPrefix } from "../../../src/scan/measure/host-cache.ts";
import { createProbeTimeouts, type ProbeTimeouts } from "../../../src/scan/measure/probe-timeout.ts";
import { ADDRESS_WORDS, loadAddress } from "../../../src/socket/table.ts";

const MS = 1000;
const LIMITS = { initialUs: 1000 * MS, minUs: 100 * MS, maxUs: 5000 * MS };

let hosts: HostCache;
let prefixes: HostCache;
let timeouts: ProbeTimeouts;
beforeEach(() => {
  hosts = createHostCache(10_000, 1);
  prefixes = createHostCache(10_000, 1);
  timeouts = createProbeTimeouts(LIMITS, hosts, prefixes);
});

/** The entry of 198.18.`c`.`d`. */
function host(c: number, d: number): number {
  const words = new Uint32Array(ADDRESS_WORDS);
  loadAddress(words, 0, Uint8Array.of(198, 18, c, d), 0, 4);
  const entry = hosts.entryOf(words, 0, 0);
  loadPrefix(words, words, 0);
  hosts.prefix[entry] = prefixes.entryOf(words, 0, 0);
  return entry;
}

function hear(entry: number, ms: number): void {
  hosts.answered[entry]++;
  prefixes.answered[hosts.prefix[entry]]++;
  timeouts.sample(entry, ms * MS);
}

describe("a timeout", () => {
  it("learns nothing of an answer that comes after any round trip", () => {
    const one = host(0, 1);
    hear(one, 8001);
    expect([timeouts.hasSamples(), timeouts.waitUs(one)]).toEqual([false, LIMITS.initialUs]);
  });

  it("is the initial one while nothing is known, and is looked at again soon", () => {
    const one = host(0, 1);
    expect([timeouts.waitUs(one), timeouts.wholeWaitUs(one)]).toEqual([LIMITS.initialUs, LIMITS.initialUs]);
    expect(timeouts.lookAgainUs(one)).toBe(LIMITS.minUs);
    expect(timeouts.hasSamples()).toBe(false);
  });

  it("follows the host's own round trips, within its bounds", () => {
    const near = host(0, 1);
    const far = host(1, 1);
    for (let i = 0; i < 20; i++) {
      hear(near, 2);
      hear(far, 700);
    }
    expect(timeouts.waitUs(near)).toBe(LIMITS.minUs);
    expect(timeouts.waitUs(far)).toBeGreaterThan(700 * MS);
    expect(timeouts.waitUs(far)).toBeLessThan(1000 * MS);
    expect([timeouts.wholeWaitUs(near), timeouts.wholeWaitUs(far)]).toEqual([0, 0]);
  });

  it("is the prefix's for an unknown host, once some of the prefix have answered", () => {
    for (let d = 1; d <= 3; d++) hear(host(0, d), 300);
    expect(timeouts.waitUs(host(0, 9))).toBe(LIMITS.initialUs);
    hear(host(0, 4), 300);
    expect(timeouts.waitUs(host(0, 9))).toBeGreaterThan(300 * MS);
    expect(timeouts.waitUs(host(0, 9))).toBeLessThan(LIMITS.initialUs);
    expect(timeouts.waitUs(host(1, 9))).toBe(LIMITS.initialUs);
  });

  it("of a host that never answered is the initial one until many others in known prefixes, or many prefixes, have", () => {
    const stranger = host(255, 1);
    const neighbour = host(0, 255);
    const waits = () => [neighbour, stranger].map(timeouts.wholeWaitUs);
    for (let d = 1; d <= 127; d++) hear(host(0, d), 20);
    timeouts.learn();
    expect(timeouts.waitUs(neighbour)).toBe(LIMITS.minUs);
    expect(waits()).toEqual([LIMITS.initialUs, LIMITS.initialUs]);
    hear(host(0, 128), 20);
    timeouts.learn();
    expect(waits()).toEqual([2.5 * LIMITS.minUs, LIMITS.initialUs]);
    for (let c = 1; c <= 127; c++) hear(host(c, 1), 20);
    timeouts.learn();
    expect(waits()).toEqual([2.5 * LIMITS.minUs, 2.5 * LIMITS.minUs]);
    // Distant hosts make it longer again.
    for (let d = 1; d <= 8; d++) hear(host(200, d), 400);
    timeouts.learn();
    expect(timeouts.wholeWaitUs(stranger)).toBeGreaterThan(790 * MS);
  });

  it("is longer by the queue that delays all answers", () => {
    const one = host(0, 1);
    for (let i = 0; i < 20; i++) hear(one, 200);
    const before = timeouts.waitUs(one);
    timeouts.setQueue(50 * MS);
    expect(timeouts.waitUs(one)).toBe(before + 50 * MS);
    timeouts.setQueue(0);
    expect(timeouts.waitUs(one)).toBe(before);
  });

  it("of a pilot is longer for a while after the rate was cut", () => {
    const one = host(0, 1);
    for (let i = 0; i < 80; i++) hear(one, 40);
    timeouts.learn();
    const before = timeouts.pilotWaitUs(one);
    timeouts.expectQueue(3);
    const then = timeouts.pilotWaitUs(one);
    expect(then).toBeGreaterThan(before + 100 * MS);
    for (let i = 0; i < 200; i++) timeouts.expectQueue(1);
    expect(timeouts.pilotWaitUs(one)).toBeLessThan(before + MS);
  });

  it("is shorter when nothing else is to be sent, but not for hosts that send RSTs", () => {
    const silent = host(0, 1);
    const resetting = host(0, 2);
    for (let i = 0; i < 80; i++) {
      hear(silent, 400);
      hear(resetting, 400);
    }
    timeouts.learn();
    hosts.closed[resetting] = 3;
    expect(timeouts.soonUs(silent, 1)).toBe(timeouts.soonUs(resetting, 1));
    // Half of 1.25 round trips + 10 ms, against the whole timeout.
    expect(timeouts.soonUs(silent, 2)).toBe(255 * MS);
    expect(timeouts.soonUs(resetting, 2)).toBe(timeouts.waitUs(resetting));
  });

  it("never changes when the user fixed it", () => {
    const fixed = { initialUs: 300 * MS, minUs: 300 * MS, maxUs: 300 * MS };
    timeouts = createProbeTimeouts(fixed, hosts, prefixes);
    const one = host(0, 1);
    for (let i = 0; i < 20; i++) hear(one, 700);
    timeouts.learn();
    timeouts.setQueue(500 * MS);
    expect([timeouts.waitUs(one), timeouts.soonUs(one, 2), timeouts.lastWaitUs(one)]).toEqual([
      300 * MS,
      300 * MS,
      0,
    ]);
  });
});
