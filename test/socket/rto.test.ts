/** The retransmission timeout of RFC 6298: its numbers worked out by hand, its bounds, its back-off. */
import { describe, expect, it } from "vitest";
import { createRetransmissionTimeout, RTO_DEFAULTS } from "../../src/socket/rto.ts";

const MS = 1000;

describe("the retransmission timeout", () => {
  it("is a second before anything is known (§2.1)", () => {
    expect(createRetransmissionTimeout().rtoUs).toBe(1_000_000);
  });

  it("follows §2.2 and §2.3", () => {
    const rto = createRetransmissionTimeout();
    rto.sample(400 * MS);
    // SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 RTTVAR.
    expect([rto.srttUs, rto.rtoUs]).toEqual([400 * MS, 1200 * MS]);
    rto.sample(200 * MS);
    // RTTVAR = 3/4 * 200 + 1/4 * |400 - 200| = 200; SRTT = 7/8 * 400 + 1/8 * 200 = 375.
    expect([rto.srttUs, rto.rtoUs]).toEqual([375 * MS, 1175 * MS]);
    rto.sample(375 * MS);
    expect([rto.srttUs, rto.rtoUs]).toEqual([375 * MS, 975 * MS]);
  });

  it("keeps to its bounds, and to a clock's granularity", () => {
    const rto = createRetransmissionTimeout();
    for (let i = 0; i < 100; i++) rto.sample(10);
    expect(rto.rtoUs).toBe(RTO_DEFAULTS.minUs);
    const free = createRetransmissionTimeout({ ...RTO_DEFAULTS, minUs: 0 });
    for (let i = 0; i < 100; i++) free.sample(10 * MS);
    // Nothing varies: G, a millisecond, takes its place.
    expect(free.rtoUs).toBe(11 * MS);
    for (let i = 0; i < 100; i++) rto.sample(1e9);
    expect(rto.rtoUs).toBe(RTO_DEFAULTS.maxUs);
  });

  it("doubles each time that it runs out, up to the most, until a round trip is measured (§5.5)", () => {
    const rto = createRetransmissionTimeout();
    const seen = Array.from({ length: 8 }, () => {
      const { rtoUs } = rto;
      rto.backOff();
      return rtoUs / 1e6;
    });
    expect(seen).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    rto.sample(100 * MS);
    expect(rto.rtoUs).toBe(300 * MS);
  });

  it("begins with three seconds after a handshake that took more than one SYN (§5.7)", () => {
    const rto = createRetransmissionTimeout();
    rto.backOff();
    rto.afterSlowHandshake();
    expect(rto.rtoUs).toBe(3_000_000);
  });
});
