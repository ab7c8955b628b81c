/** What -T and the options beside it come to: the template where nothing was said, what was said where it was. */
import { describe, expect, it } from "vitest";
import { LEAST_RATE, MOST_RATE, settleTiming, TIMING } from "../../../src/scan/engine/timing-templates.ts";

const NOTHING = {
  timing: undefined,
  timeoutMs: undefined,
  minRate: undefined,
  maxRate: undefined,
  hostTimeoutMs: undefined,
  retries: undefined,
};

describe("timing", () => {
  it("is -T3 when nothing is asked for, at any rate that the path holds", () => {
    expect(settleTiming(NOTHING)).toEqual(settleTiming({ ...NOTHING, timing: 3 }));
    expect(settleTiming(NOTHING)).toMatchObject({
      waitMs: TIMING[3].waitMs,
      retries: 10,
      rate: { minimum: LEAST_RATE, maximum: MOST_RATE },
      hostTimeoutMs: undefined,
    });
  });

  it("grows more patient from -T5 to -T0, as nmap's does", () => {
    for (let i = 1; i < TIMING.length; i++) {
      expect(TIMING[i].waitMs.initial).toBeLessThanOrEqual(TIMING[i - 1].waitMs.initial);
      expect(TIMING[i].waitMs.most).toBeLessThanOrEqual(TIMING[i - 1].waitMs.most);
    }
    for (const { waitMs } of TIMING) {
      expect(waitMs.least).toBeLessThanOrEqual(waitMs.initial);
      expect(waitMs.initial).toBeLessThanOrEqual(waitMs.most);
    }
    // One SYN in five minutes, one in fifteen seconds, five in two.
    expect(TIMING.slice(0, 3).map(({ rate }) => Math.round(300 * (rate ?? 0)))).toEqual([1, 20, 750]);
    expect(settleTiming({ ...NOTHING, timing: 5 }).hostTimeoutMs).toBe(900_000);
  });

  // Its manual: "-T4 does the equivalent of --max-rtt-timeout 1250ms --min-rtt-timeout 100ms --initial-rtt-timeout 500ms --max-retries 6 …"
  it.each([
    [4, { initial: 500, least: 100, most: 1250 }, 6],
    [5, { initial: 250, least: 50, most: 300 }, 2],
  ])("of -T%d is nmap's", (timing, waitMs, retries) => {
    expect(settleTiming({ ...NOTHING, timing })).toMatchObject({ waitMs, retries });
  });

  it("is what was asked for, one by one, and the template's otherwise", () => {
    const { waitMs, retries, rate, hostTimeoutMs } = settleTiming({
      timing: 5,
      timeoutMs: 77,
      minRate: 500,
      maxRate: 900,
      hostTimeoutMs: 1234,
      retries: 0,
    });
    expect(waitMs).toEqual({ initial: 77, least: 77, most: 77 });
    expect({ retries, hostTimeoutMs }).toEqual({ retries: 0, hostTimeoutMs: 1234 });
    expect(rate).toEqual({ minimum: 500, maximum: 900 });
    expect(settleTiming({ ...NOTHING, timing: 5, retries: 9 })).toMatchObject({
      waitMs: TIMING[5].waitMs,
      retries: 9,
    });
  });

  it("never falls below the least rate, nor below what was asked for, nor rises above the most", () => {
    expect(settleTiming({ ...NOTHING, maxRate: 3 }).rate).toEqual({ minimum: 3, maximum: 3 });
    expect(settleTiming({ ...NOTHING, minRate: 3 }).rate).toEqual({
      minimum: LEAST_RATE,
      maximum: MOST_RATE,
    });
    // A slow template gives way to a --min-rate above it.
    expect(settleTiming({ ...NOTHING, timing: 2, minRate: 40 }).rate).toEqual({ minimum: 40, maximum: 40 });
    expect(settleTiming({ ...NOTHING, timing: 0 }).rate).toEqual({ minimum: 1 / 300, maximum: 1 / 300 });
  });
});
