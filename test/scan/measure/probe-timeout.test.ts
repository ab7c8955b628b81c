/** How long is waited, by what is known: host, prefix, run. */
import { beforeEach, describe, expect, it } from "vitest";
import { createHosts, type Hosts, loadPrefix } from "../../../src/scan/measure/host-cache.ts";
import { createWaits, type Waits } from "../../../src/scan/measure/probe-timeout.ts";
import { ADDRESS_WORDS, loadAddress } from "../../../src/socket/table.ts";

const MS = 1000;
const WAIT = { initialUs: 1000 * MS, minUs: 100 * MS, maxUs: 5000 * MS };

let hosts: Hosts;
let prefixes: Hosts;
let waits: Waits;
beforeEach(() => {
  hosts = createHosts(10_000);
  prefixes = createHosts(10_000);
  waits = createWaits(WAIT, hosts, prefixes);
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
  waits.sample(entry, ms * MS);
}

describe("a wait", () => {
  it("is the initial one while nothing is known, and looked at again soon", () => {
    const one = host(0, 1);
    expect([waits.waitUs(one), waits.wholeWaitUs(one)]).toEqual([WAIT.initialUs, WAIT.initialUs]);
    expect(waits.lookAgainUs(one)).toBe(WAIT.minUs);
    expect(waits.isHeard()).toBe(false);
  });

  it("follows the host's own round trips, within its bounds", () => {
    const near = host(0, 1);
    const far = host(1, 1);
    for (let i = 0; i < 20; i++) {
      hear(near, 2);
      hear(far, 700);
    }
    expect(waits.waitUs(near)).toBe(WAIT.minUs);
    expect(waits.waitUs(far)).toBeGreaterThan(700 * MS);
    expect(waits.waitUs(far)).toBeLessThan(1000 * MS);
    expect([waits.wholeWaitUs(near), waits.wholeWaitUs(far)]).toEqual([0, 0]);
  });

  it("is the prefix's for a host not heard of, once some of it have answered", () => {
    for (let d = 1; d <= 3; d++) hear(host(0, d), 300);
    expect(waits.waitUs(host(0, 9))).toBe(WAIT.initialUs);
    hear(host(0, 4), 300);
    expect(waits.waitUs(host(0, 9))).toBeGreaterThan(300 * MS);
    expect(waits.waitUs(host(0, 9))).toBeLessThan(WAIT.initialUs);
    expect(waits.waitUs(host(1, 9))).toBe(WAIT.initialUs);
  });

  it("for those never heard of is the shorter, the more were heard and the nearer they are", () => {
    const stranger = host(255, 1);
    const wholes: number[] = [];
    for (let c = 0; c < 200; c++) {
      hear(host(c, 1), 20);
      hear(host(c, 1), 20);
      waits.learn();
      wholes.push(waits.wholeWaitUs(stranger));
    }
    expect(wholes[0]).toBe(WAIT.initialUs);
    expect(wholes.every((us, i) => i === 0 || us <= wholes[i - 1])).toBe(true);
    expect(wholes.at(-1)).toBe(2.5 * WAIT.minUs);
    // One that is far makes it longer again.
    for (let i = 0; i < 40; i++) hear(host(100, 1), 650);
    waits.learn();
    expect(waits.wholeWaitUs(stranger)).toBeGreaterThan(2.5 * WAIT.minUs);
  });

  it("is longer by the queue that all are held up by", () => {
    const one = host(0, 1);
    for (let i = 0; i < 20; i++) hear(one, 200);
    const before = waits.waitUs(one);
    waits.setQueue(50 * MS);
    expect(waits.waitUs(one)).toBe(before + 50 * MS);
    waits.setQueue(0);
    expect(waits.waitUs(one)).toBe(before);
  });

  it("of a pilot is longer for a while after the rate has fallen", () => {
    const one = host(0, 1);
    for (let i = 0; i < 80; i++) hear(one, 40);
    waits.learn();
    const before = waits.pilotWaitUs(one);
    waits.expectQueue(3);
    const then = waits.pilotWaitUs(one);
    expect(then).toBeGreaterThan(before + 100 * MS);
    for (let i = 0; i < 200; i++) waits.expectQueue(1);
    expect(waits.pilotWaitUs(one)).toBeLessThan(before + MS);
  });

  it("is cut short when nothing else is to be sent, but not for hosts that answer with resets", () => {
    const silent = host(0, 1);
    const resetting = host(0, 2);
    for (let i = 0; i < 80; i++) {
      hear(silent, 400);
      hear(resetting, 400);
    }
    waits.learn();
    hosts.closed[resetting] = 3;
    expect(waits.soonUs(silent, 1)).toBe(waits.soonUs(resetting, 1));
    // Half of a round trip with some room (1.25 of it, and 10 ms), against the whole wait.
    expect(waits.soonUs(silent, 2)).toBe(255 * MS);
    expect(waits.soonUs(resetting, 2)).toBe(waits.waitUs(resetting));
  });

  it("never changes where the user has fixed it", () => {
    const fixed = { initialUs: 300 * MS, minUs: 300 * MS, maxUs: 300 * MS };
    waits = createWaits(fixed, hosts, prefixes);
    const one = host(0, 1);
    for (let i = 0; i < 20; i++) hear(one, 700);
    waits.learn();
    waits.setQueue(500 * MS);
    expect([waits.waitUs(one), waits.soonUs(one, 2), waits.lastWaitUs(one)]).toEqual([300 * MS, 300 * MS, 0]);
  });
});
