/** Random networks for whole scans: what congestion control and confidence are held against. The same seed gives the same network. */
import type { LabDescription } from "../../src/lab/description.ts";
import { createSeededRandom } from "./random.ts";

export interface RandomNetwork {
  readonly description: LabDescription;
  /** Loss of a round trip, 0 to 1; round trip in milliseconds; the bottleneck's packets per second; share of silent hosts. */
  readonly loss: number;
  readonly roundMs: number;
  readonly ratePps: number;
  readonly silent: number;
}

/**
 * Round trips of 1 to 800 ms, with jitter in half of them; loss of up to 20 %, none in one of five; a bottleneck of 500 to
 * 1,000,000 packets a second with a queue of 5 to 200 ms; any share of silent hosts up to 99 %, and 5 % open ports.
 */
export function randomNetwork(seed: number): RandomNetwork {
  const random = createSeededRandom(seed);
  const chance = (): number => random(2 ** 30) / 2 ** 30;
  const between = (low: number, high: number): number => low * (high / low) ** chance();
  const loss = random(5) === 0 ? 0 : 0.2 * chance();
  const roundMs = between(1, 800);
  const ratePps = Math.round(between(500, 1e6));
  const queuePackets = Math.max(20, Math.round((ratePps * between(5, 200)) / 1000));
  const silent = 0.99 * chance();
  const jitterMs = random(2) === 0 ? 0 : (roundMs / 2) * 0.15 * chance();
  const description: LabDescription = {
    seed,
    path: {
      latencyMs: roundMs / 2,
      jitterMs,
      loss: 1 - Math.sqrt(1 - loss),
      in: { ratePps, queuePackets },
    },
    hosts: [
      {
        range: "198.18.0.0/15",
        ports: [{ share: 0.05, is: "open" }],
        mix: [{ share: silent, rest: "silent", ports: [] }],
      },
    ],
  };
  return { description, loss, roundMs, ratePps, silent };
}
