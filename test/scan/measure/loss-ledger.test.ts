/**
 * The ledger of losses by hand: loss, doubt and limited hosts from single fates. Whole scans are in test/sim/path-knowledge.test.ts.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { createHostCache, type HostCache, MARKS } from "../../../src/scan/measure/host-cache.ts";
import { createLossLedger, type LossLedger } from "../../../src/scan/measure/loss-ledger.ts";
import { createProbeTimeouts } from "../../../src/scan/measure/probe-timeout.ts";
import { ANSWER, createSendIntervals, type SendIntervals } from "../../../src/scan/measure/send-intervals.ts";

const MS = 1000;
const INTERVAL_US = 10 * MS;
/** By then an interval is settled, with timeouts of a second. */
const SETTLED_US = 4000 * MS;

let hosts: HostCache;
let intervals: SendIntervals;
let ledger: LossLedger;
let outcomes: { interval: number; answered: number; lost: number }[];
const times = new Float64Array(2);

function create(tries = 11): void {
  hosts = createHostCache(100, 1);
  const prefixes = createHostCache(100, 1);
  intervals = createSendIntervals();
  outcomes = [];
  const limits = { initialUs: 1000 * MS, minUs: 100 * MS, maxUs: 1000 * MS };
  ledger = createLossLedger({
    hosts,
    prefixes,
    intervals,
    timeouts: createProbeTimeouts(limits, hosts, prefixes),
    startUs: 0,
    tries,
    acceptedDoubt: 1e-5,
    onOutcomeWithoutPilots: (_, interval, answered, lost) => outcomes.push({ interval, answered, lost }),
  });
  for (let i = 0; i < 200; i++) intervals.begin(i * INTERVAL_US, 1000);
}
beforeEach(() => create());

const host = (n: number): number => hosts.entryOf(Uint32Array.of(0, 0, 0xffff, n), 0, 0);
const at = (us: number): Float64Array => {
  times[0] = us;
  return times;
};
const doubtOf = (entry: number, us: number, mayBeLimited = false): number => {
  ledger.reckonDoubt(entry, at(us), 0, 1, 1, mayBeLimited);
  return ledger.doubt[0];
};

/** Pilots in each of the first 100 intervals, of which one in `every` is lost. */
function sendPilots(every: number): void {
  for (let i = 0; i < 1000; i++) {
    at((i / 10) * INTERVAL_US);
    ledger.pilotDeparted(times, 0);
    if (i % every === 0) ledger.pilotLost(times, 0);
    else ledger.pilotAnswered(times, 0);
  }
}

describe("loss", () => {
  it("is a guess at first, and then what pilots show", () => {
    expect(ledger.loss()).toBe(0.02);
    sendPilots(5);
    ledger.settle(SETTLED_US);
    expect(ledger.loss()).toBeGreaterThan(0.17);
    expect(ledger.loss()).toBeLessThan(0.23);
    expect([ledger.lostSoFar(), ledger.answeredSoFar()]).toEqual([200, 800]);
  });

  it("is proven by a later answer of the same pair, and taken back when the lost one arrives late", () => {
    const one = host(1);
    for (let i = 0; i < 50; i++) {
      ledger.lost(one, at(i * INTERVAL_US), 0, true);
      ledger.answered(one, at(i * INTERVAL_US), 0, ANSWER.ofPath);
    }
    for (let i = 0; i < 50; i++) ledger.regained(one, at(i * INTERVAL_US), 0, true);
    ledger.settle(SETTLED_US);
    expect([ledger.lostSoFar(), ledger.answeredSoFar(), hosts.lost[one]]).toEqual([0, 50, 0]);
  });

  it("shows what is lost now, before the next tries of most have been answered", () => {
    for (let i = 0; i < 100; i++) ledger.answered(host(1), at(i * INTERVAL_US), 0, ANSWER.ofPath);
    ledger.settle(SETTLED_US);
    const calm = ledger.loss();
    for (let i = 0; i < 90; i++) ledger.lost(host(1), at(199 * INTERVAL_US), 0, true);
    for (let i = 0; i < 10; i++) ledger.answered(host(1), at(199 * INTERVAL_US), 0, ANSWER.ofPath);
    ledger.settle(SETTLED_US);
    expect(ledger.lostSoFar()).toBe(0);
    // 90 of 200, and what was guessed at first.
    expect(calm).toBeLessThan(0.02);
    expect(ledger.loss()).toBeGreaterThan(0.35);
    expect(ledger.loss()).toBeLessThan(0.5);
  });

  it("counts no pair where only one try is allowed: its losses could not show", () => {
    create(1);
    for (let i = 0; i < 50; i++) ledger.answered(host(1), at(i * INTERVAL_US), 0, ANSWER.ofPath);
    ledger.finish();
    expect(ledger.answeredSoFar()).toBe(0);
  });

  it("of all fates is reported where no pilot's fate was known for a second", () => {
    ledger.answered(host(1), at(150 * INTERVAL_US), 0, 0);
    ledger.lost(host(1), at(150 * INTERVAL_US), 0, false);
    ledger.settle(10 * SETTLED_US);
    expect(outcomes.map(({ interval }) => interval)).toEqual(Array.from({ length: 99 }, (_, i) => 100 + i));
    expect(outcomes.find(({ interval }) => interval === 150)).toEqual({
      interval: 150,
      answered: 1,
      lost: 1,
    });
  });
});

describe("the doubt of a missing answer", () => {
  it("is the loss when its SYN left, so it differs between intervals", () => {
    for (let i = 0; i < 100; i++) {
      for (let n = 0; n < 20; n++) {
        at(i * INTERVAL_US);
        ledger.pilotDeparted(times, 0);
        if (i >= 50 && n < 10) ledger.pilotLost(times, 0);
        else ledger.pilotAnswered(times, 0);
      }
    }
    ledger.finish();
    expect(doubtOf(host(1), 20 * INTERVAL_US)).toBeLessThan(0.05);
    expect(doubtOf(host(1), 80 * INTERVAL_US)).toBeGreaterThan(0.4);
  });

  it("is the product over all tries", () => {
    sendPilots(5);
    ledger.finish();
    const one = doubtOf(host(1), 20 * INTERVAL_US) - ledger.doubt[1];
    times.fill(20 * INTERVAL_US);
    ledger.reckonDoubt(host(1), times, 0, 1, 2, false);
    expect(ledger.doubt[0] - ledger.doubt[1]).toBeCloseTo(one ** 2, 12);
    // And beside it the small chance of a burst, which both tries would have met.
    expect(ledger.doubt[1]).toBeGreaterThan(0);
    expect(ledger.doubt[1]).toBeLessThan(1e-3);
  });

  it("is greater for a host that loses more, if its answers may be limited", () => {
    sendPilots(20);
    const [limited, other] = [host(1), host(2)];
    for (let i = 0; i < 20; i++) ledger.lost(limited, at(i * INTERVAL_US), 0, false);
    ledger.finish();
    expect(doubtOf(limited, 20 * INTERVAL_US, true)).toBeGreaterThan(
      3 * doubtOf(other, 20 * INTERVAL_US, true),
    );
    expect(doubtOf(limited, 20 * INTERVAL_US)).toBe(doubtOf(other, 20 * INTERVAL_US));
  });
});

describe("a host", () => {
  it("is marked as limited when it loses more than chance explains", () => {
    sendPilots(50);
    ledger.settle(SETTLED_US);
    const one = host(1);
    for (let i = 0; i < 100; i++) ledger.answered(one, at(i * INTERVAL_US), 0, 0);
    let losses = 0;
    for (; (hosts.marks[one] & MARKS.limited) === 0 && losses < 100; losses++) {
      ledger.lost(one, at(losses * INTERVAL_US), 0, false);
    }
    expect(losses).toBeGreaterThan(5);
    expect(losses).toBeLessThan(30);
  });

  it("is not blamed for losses while most of everything is lost", () => {
    sendPilots(2);
    ledger.settle(SETTLED_US);
    for (let i = 0; i < 50; i++) ledger.lost(host(1), at(i * INTERVAL_US), 0, true);
    expect([hosts.lost[host(1)], hosts.marks[host(1)]]).toEqual([0, 0]);
    // Nor is one taken back that was not held against it.
    ledger.regained(host(1), at(0), 0, true);
    expect(hosts.lost[host(1)]).toBe(0);
  });
});
