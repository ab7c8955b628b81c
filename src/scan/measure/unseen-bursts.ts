/**
 * Bursts of loss that a run was too short to see: how many of the ports that answer they can have hidden, at most.
 *
 * A pair, a host or a prefix that is away for a share of the time, for two seconds at a stretch, shows where one begins or ends
 * while it is being asked. The shorter that is, the more of them can be away throughout without one that shows: the rule of three,
 * over the bursts' lengths that all were asked for together. With x of them away at any time, the chance that none shows is
 * exp(-x t / 2 s) where each is asked for the time t, and the number away is Poisson distributed. Stated is the smallest number
 * that is exceeded without a trace by a chance of at most 2.5 %, whatever x is.
 *
 * It assumes that bursts take at most a twentieth of the time, come one by one, and last for two seconds on the mean. Of longer ones
 * more can stay unseen; a host that is away all day never shows. Where silent ports were asked once more, three seconds
 * later, that tells more, and this nothing (recapture.ts).
 *
 * Of 200 networks with bursts of 2 s by host, 1 % of the time, 49 showed no loss in a run of one second; in 60 of 60 the stated intervals
 * held, for open ports and for all that answer. Nothing lost, they are 4 % and 1.7 % of the ports found wide (test/bench/README.md).
 *
 * Pure: times in microseconds.
 */
import { ENTRY_WORDS, type HostCache } from "./host-cache.ts";
import { poissonQuantile } from "./loss.ts";

/** What was seen of things that are away as a whole: pairs, hosts or prefixes. */
export interface Asked {
  /** How many answered; and how many had silent ports, which alone can be away. */
  readonly answering: number;
  readonly silent: number;
  /** For how long each was asked, on the mean, in microseconds. */
  readonly us: number;
}

const BURST_US = 2_000_000;
const MOST_SHARE = 0.05;
const TAIL = 0.025;
/** Fewer than this are none. */
const FEWEST_AWAY = 0.05;
/** Numbers that may be away are tried in steps of this factor. */
const STEP = 1.2;
/** Above this mean the normal distribution stands in for Poisson's. */
const MANY = 300;
const Z_975 = 1.96;

/** The smallest number that a Poisson count of this mean exceeds with a probability of at most `tail`. */
const quantile = (mean: number, tail: number): number =>
  tail < 1 && mean > MANY ? Math.ceil(mean + Z_975 * Math.sqrt(mean)) : poissonQuantile(mean, tail);

/** How many can have been away without a trace. */
export function mostUnseen({ answering, silent, us }: Asked): number {
  let most = 0;
  const shown = us / BURST_US;
  // From the most that are away at any time down: of few hardly any is hidden, of many hardly ever all.
  for (let away = MOST_SHARE * answering; away > FEWEST_AWAY && most < silent; away /= STEP) {
    most = Math.max(most, quantile(away, TAIL * Math.exp(away * shown)));
  }
  return Math.min(most, silent);
}

/** Those that are hidden have more ports than the mean, or fewer. */
const spread = (ports: number): number => ports + Z_975 * Math.sqrt(ports);

/** What was seen of a run. */
export interface Seen {
  readonly hosts: HostCache;
  /** Pairs that answered, and those that stayed silent. */
  readonly answering: number;
  readonly silent: number;
  /** From a silent pair's first try to its last, on the mean; and how long all pilots together show their ports to have been there. */
  readonly spanUs: number;
  readonly pilotUs: number;
}

interface Prefix {
  answered: boolean;
  firstMs: number;
  lastMs: number;
}

/** How many ports that answer can have been hidden, at most. Slow: it visits every host. */
export function unseenPorts({ hosts, answering, silent, spanUs, pilotUs }: Seen): number {
  if (answering === 0 || silent === 0) return 0;
  const prefixes = new Map<number, Prefix>();
  let answeringHosts = 0;
  let silentHosts = 0;
  let silentMs = 0;
  for (let host = 0; host < hosts.used(); host += ENTRY_WORDS) {
    const answered = hosts.open[host] + hosts.closed[host] > 0;
    const [firstMs, lastMs] = [hosts.firstMs[host], hosts.sentMs[host]];
    if (answered) answeringHosts++;
    else {
      silentHosts++;
      silentMs += lastMs - firstMs;
    }
    const prefix = prefixes.get(hosts.prefix[host]);
    if (prefix === undefined) prefixes.set(hosts.prefix[host], { answered, firstMs, lastMs });
    else {
      prefix.answered ||= answered;
      prefix.firstMs = Math.min(prefix.firstMs, firstMs);
      prefix.lastMs = Math.max(prefix.lastMs, lastMs);
    }
  }
  const empty = [...prefixes.values()].filter((prefix) => !prefix.answered);
  const emptyMs = empty.reduce((sum, { firstMs, lastMs }) => sum + lastMs - firstMs, 0);
  const answeringPrefixes = prefixes.size - empty.length;
  const scales: readonly Asked[] = [
    { answering, silent, us: spanUs + pilotUs / answering },
    { answering: answeringHosts, silent: silentHosts, us: (1000 * silentMs) / Math.max(1, silentHosts) },
    {
      answering: answeringPrefixes,
      silent: empty.length,
      us: (1000 * emptyMs) / Math.max(1, empty.length),
    },
  ];
  return Math.min(
    silent,
    Math.max(
      ...scales.map((asked) => spread((mostUnseen(asked) * answering) / Math.max(1, asked.answering))),
    ),
  );
}
