/**
 * What a user allows each host and each network a second is kept in every second, whatever else holds SYNs back: the rate of all
 * together, a slow start, the other limit, a prober that is stopped for a while; and the run takes no longer for it.
 */
import { describe, expect, it } from "vitest";
import type { LabDescription } from "../../src/lab/description.ts";
import type { Overrides } from "./run.ts";
import { scanTruth } from "./truth.ts";

const SECOND = 1e6;
const NETWORK: LabDescription = {
  seed: 1,
  path: { latencyMs: 20, loss: 0.02 },
  hosts: [
    {
      range: "198.18.0.0/20",
      ports: [{ share: 0.1, is: "open" }],
      mix: [{ share: 0.3, rest: "silent", ports: [] }],
    },
  ],
};

/** The most of these times, ascending, in any one second. */
function mostInASecond(times: readonly number[]): number {
  let most = 0;
  for (let from = 0, i = 0; i < times.length; i++) {
    while (times[i] - times[from] >= SECOND) from++;
    most = Math.max(most, i - from + 1);
  }
  return most;
}

/** The most SYNs in a second to one host and to one /24, and how long the run took. */
function scan(hosts: number, ports: number, overrides: Overrides) {
  const perHost = new Map<number, number[]>();
  const perPrefix = new Map<number, number[]>();
  const note = (times: Map<number, number[]>, key: number, us: number): void => {
    const of = times.get(key);
    if (of === undefined) times.set(key, [us]);
    else of.push(us);
  };
  const [score] = scanTruth(NETWORK, { hosts, ports, seed: 3 }, overrides, 1, {
    isLost: (packet, nowUs) => {
      const host = new DataView(packet.buffer, packet.byteOffset).getUint32(16);
      note(perHost, host, nowUs);
      note(perPrefix, host >>> 8, nowUs);
      return false;
    },
  });
  const mostOf = (times: Map<number, number[]>): number =>
    Math.max(...[...times.values()].map(mostInASecond));
  return { host: mostOf(perHost), prefix: mostOf(perPrefix), score };
}

describe("SYNs in any second", () => {
  it.each([
    { hosts: 512, ports: 4, limits: { ratePerPrefix: 60 } },
    { hosts: 16, ports: 100, limits: { ratePerHost: 50 } },
    { hosts: 256, ports: 8, limits: { ratePerHost: 20, ratePerPrefix: 60 } },
    { hosts: 8, ports: 100, limits: { ratePerHost: 50, rate: { minimum: 10, maximum: 200 } } },
  ])("are no more than $limits allows", ({ hosts, ports, limits }) => {
    const { host, prefix, score } = scan(hosts, ports, limits);
    // Timers are late: one may come before its time.
    const { ratePerHost = Number.POSITIVE_INFINITY, ratePerPrefix = Number.POSITIVE_INFINITY } = limits;
    expect(host).toBeLessThanOrEqual(ratePerHost + 1);
    expect(prefix).toBeLessThanOrEqual(ratePerPrefix + 1);
    expect(score.missed).toBe(0);
    const allowed = Math.min(
      hosts * ratePerHost,
      Math.ceil(hosts / 256) * ratePerPrefix,
      limits.rate?.maximum ?? 1e6,
    );
    expect(score.us / SECOND).toBeLessThan((1.05 * score.sent) / allowed + 6);
  });
});
