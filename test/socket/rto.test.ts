/** RFC 6298 by hand: the estimate on arrays, and the timeout of one connection. */
import { describe, expect, it } from "vitest";
import {
  createRetransmissionTimeout,
  RTO_DEFAULTS,
  RTO_OF_LINUX,
  sampleRtt,
  timeoutOf,
} from "../../src/socket/rto.ts";

describe("the estimate of RFC 6298", () => {
  const estimate = (samples: readonly number[], gain?: number) => {
    const srtt = new Float32Array(3);
    const rttvar = new Float32Array(3);
    for (const sample of samples) sampleRtt(srtt, rttvar, 1, sample, gain);
    expect([srtt[0], srtt[2], rttvar[0], rttvar[2]]).toEqual([0, 0, 0, 0]);
    return { srtt: srtt[1], rttvar: rttvar[1], rto: timeoutOf(srtt, rttvar, 1) };
  };

  it("begins with the first sample, half of it for the variation (§2.2)", () => {
    expect(estimate([100_000])).toEqual({ srtt: 100_000, rttvar: 50_000, rto: 300_000 });
  });

  it("takes a quarter of the deviation and an eighth of the difference, the variation first (§2.3)", () => {
    // RTTVAR = 3/4 * 50,000 + 1/4 * |100,000 - 180,000|; SRTT = 7/8 * 100,000 + 1/8 * 180,000
    expect(estimate([100_000, 180_000])).toEqual({ srtt: 110_000, rttvar: 57_500, rto: 340_000 });
    // RTTVAR = 3/4 * 57,500 + 1/4 * |110,000 - 70,000|; SRTT = 7/8 * 110,000 + 1/8 * 70,000
    expect(estimate([100_000, 180_000, 70_000])).toEqual({ srtt: 105_000, rttvar: 53_125, rto: 317_500 });
  });

  it("moves by half as much for half the gain", () => {
    expect(estimate([100_000, 180_000], 1 / 16)).toEqual({ srtt: 105_000, rttvar: 53_750, rto: 320_000 });
  });

  it("comes down to the round trip itself where that never changes", () => {
    const { srtt, rto } = estimate(Array(100).fill(2000));
    expect(srtt).toBe(2000);
    expect(rto).toBeLessThan(2001);
  });
});

describe("the timeout of one connection", () => {
  it("is a second before the first sample (§2.1), and doubles up to its maximum (§5.5)", () => {
    const rto = createRetransmissionTimeout();
    expect(rto.rtoUs).toBe(1_000_000);
    rto.backOff();
    expect(rto.rtoUs).toBe(2_000_000);
    for (let i = 0; i < 20; i++) rto.backOff();
    expect(rto.rtoUs).toBe(RTO_DEFAULTS.maxUs);
  });

  it("follows samples within its bounds, and a sample ends the back-off", () => {
    const rto = createRetransmissionTimeout(RTO_OF_LINUX);
    rto.backOff();
    rto.sample(100_000);
    expect([rto.srttUs, rto.rtoUs]).toEqual([100_000, 300_000]);
    rto.sample(180_000);
    expect([rto.srttUs, rto.rtoUs]).toEqual([110_000, 340_000]);
    for (let i = 0; i < 100; i++) rto.sample(1000);
    expect(rto.rtoUs).toBe(RTO_OF_LINUX.minUs);
  });

  it("is at least a second by default (§2.4)", () => {
    const rto = createRetransmissionTimeout();
    rto.sample(100_000);
    expect(rto.rtoUs).toBe(1_000_000);
  });

  it("adds at least the clock's granularity (§2.3)", () => {
    const rto = createRetransmissionTimeout({ ...RTO_DEFAULTS, minUs: 1 });
    for (let i = 0; i < 200; i++) rto.sample(5000);
    expect(rto.rtoUs).toBeCloseTo(6000, 0);
  });

  it("is at least three seconds after a handshake that took a second SYN (§5.7)", () => {
    const rto = createRetransmissionTimeout();
    rto.backOff();
    rto.afterSlowHandshake();
    expect(rto.rtoUs).toBe(3_000_000);
  });

  it("stays above that where it began above it", () => {
    const rto = createRetransmissionTimeout({ ...RTO_DEFAULTS, initialUs: 5_000_000 });
    rto.backOff();
    rto.afterSlowHandshake();
    expect(rto.rtoUs).toBe(5_000_000);
  });
});
