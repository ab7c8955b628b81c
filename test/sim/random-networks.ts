/**
 * Random networks, and what a prober would need in them that knows everything about the path: for networks.test.ts and
 * bench:calibration.
 */
import type { LabDescription } from "../../src/lab/description.ts";
import { createRandom } from "../../src/lab/random.ts";
import { CONFIDENCE } from "../../src/scan/measure/loss.ts";
import { type Score, scanTruth } from "./truth.ts";

export const HOSTS = 1024;
export const PORTS = 10;
const STREAM = 77;

export interface RandomNetwork {
  readonly seed: number;
  /** Of the round trip. */
  readonly loss: number;
  readonly rttMs: number;
  readonly jitterMs: number;
  readonly ratePps: number;
  readonly queuePackets: number;
  /** Share of hosts that say nothing. */
  readonly silent: number;
  readonly description: LabDescription;
}

export function randomNetwork(seed: number): RandomNetwork {
  const random = createRandom(seed, STREAM);
  const between = (low: number, high: number): number => low * (high / low) ** random();
  const loss = random() < 0.2 ? 0 : 0.2 * random();
  const rttMs = between(1, 800);
  const ratePps = Math.round(between(500, 1e6));
  const queuePackets = Math.max(20, Math.round((ratePps * between(5, 200)) / 1000));
  const silent = 0.99 * random();
  const open = 0.02 + 0.08 * random();
  const jitterMs = random() < 0.5 ? 0 : 0.15 * rttMs * random();
  const path = {
    latencyMs: rttMs / 2,
    jitterMs,
    loss: 1 - Math.sqrt(1 - loss),
    in: { ratePps, queuePackets },
  };
  const hosts = [
    {
      range: "198.18.0.0/20",
      synAckRetries: 0,
      ports: [{ share: open, is: "open" as const }],
      mix: [{ share: silent, rest: "silent" as const, ports: [] }],
    },
  ];
  return {
    seed,
    loss,
    rttMs,
    jitterMs,
    ratePps,
    queuePackets,
    silent,
    description: { seed, path, hosts },
  };
}

/** The shortest that a try waits, for a prober that does not know round trips beforehand (nmap's --min-rtt-timeout). */
const SHORTEST_WAIT_MS = 100;

/**
 * Time that an oracle needs, in seconds: it knows rate and loss, sends at that rate from the first packet on, no SYN too many,
 * and gives each silent port the tries that the confidence asks for, one after the other.
 */
export function oracleSeconds(network: RandomNetwork, { pairs, filtered }: Score): number {
  const { loss, rttMs, jitterMs, ratePps } = network;
  const tries = Math.max(2, Math.ceil(Math.log(1 - CONFIDENCE) / Math.log(Math.max(loss, 1e-9))));
  const syns = (pairs - filtered) / (1 - loss) + filtered * tries;
  return syns / ratePps + (tries * Math.max(SHORTEST_WAIT_MS, rttMs + 2 * jitterMs)) / 1000;
}

export interface Tally {
  readonly networks: number;
  /** Ports that answer, and those of them that were called filtered; the same of open ports alone. */
  readonly answering: number;
  readonly missed: number;
  readonly open: number;
  readonly missedOpen: number;
  readonly falseOpen: number;
  readonly twice: number;
  /** Networks in which the stated 95 % interval held the true number of missed open ports. */
  readonly within: number;
  /** The same of all ports that answer. */
  readonly withinAnswering: number;
  /** Times of the oracle's, ascending. */
  readonly ratios: readonly number[];
}

/** Scans the networks of these seeds. @param retries a bound, to leave doubt on purpose */
export function scanNetworks(
  first: number,
  end: number,
  retries = 10,
  onEach?: (line: string) => void,
): Tally {
  const tally = { answering: 0, missed: 0, open: 0, missedOpen: 0, falseOpen: 0, twice: 0 };
  let [within, withinAnswering] = [0, 0];
  const ratios: number[] = [];
  for (let seed = first; seed < end; seed++) {
    const network = randomNetwork(seed);
    const [score] = scanTruth(network.description, { hosts: HOSTS, ports: PORTS, seed }, { retries });
    const ratio = score.us / 1e6 / oracleSeconds(network, score);
    const missed = score.open + score.closed - score.openFound - score.closedRight;
    tally.answering += score.open + score.closed;
    tally.missed += missed;
    tally.open += score.open;
    tally.missedOpen += score.missed;
    tally.falseOpen += score.falseOpen;
    tally.twice += score.twice;
    const { low, high } = score.stated;
    if (score.missed >= low && score.missed <= high) within++;
    const all = score.statedAnswering;
    if (missed >= all.low && missed <= all.high) withinAnswering++;
    ratios.push(ratio);
    onEach?.(
      `${seed}: loss ${network.loss.toFixed(3)}, ${network.rttMs.toFixed(0)} ms, ${network.ratePps}/s, queue ${network.queuePackets}, silent ${network.silent.toFixed(2)}: ` +
        `${ratio.toFixed(2)} x the oracle's time, ${(score.sent / score.pairs).toFixed(2)} SYNs a pair, missed ${missed} in ${all.low}-${all.high}, open ${score.missed} in ${low}-${high}`,
    );
  }
  ratios.sort((a, b) => a - b);
  return { networks: end - first, ...tally, within, withinAnswering, ratios };
}
