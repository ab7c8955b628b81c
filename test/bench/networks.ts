/**
 * The networks of `npm run bench:truth`, and what is asked of synprobe in each: issue 5's table. What a network does is in
 * networks/NAME.json, a lab's description that `synprobe lab` takes as it is.
 *
 * Times of a path in the table are round trips; half of each is in the file, each way. Loss is each way in all of them, and
 * bottlenecks are on the way to the hosts. Forged SYN-ACKs come from the host and port and to the port of a probe that was just
 * sent, as the worst of them do; nmap believes them, and is done early with thousands of false open ports. What it takes to a
 * right answer is measured where the same number of them miss its port (hostile-blind.json). 198.18.255.1 is no part of what is scanned: masscan is kept awake with it.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { LabDescription } from "../../src/lab/description.ts";
import type { Score } from "./score.ts";

export const TARGETS = "198.18.0.0/20";
export const HOSTS = 4096;
export const PORTS = [21, 22, 23, 25, 80, 110, 143, 443, 3389, 8080] as const;
export const PAIRS = HOSTS * PORTS.length;

/** What a run of synprobe is judged by. */
export interface Measured {
  readonly score: Score;
  readonly seconds: number;
  readonly synsPerPair: number;
  /** SYNs that reached the lab in each tenth of a second since its start. */
  readonly synsPerTenth: readonly number[];
  /** nmap's time in the same network: measured, or known to be more than that; undefined when it was not run. */
  readonly nmap: { readonly seconds: number; readonly done: boolean } | undefined;
}

/** `met` is undefined when what was measured does not decide it. */
export interface Verdict {
  readonly measured: string;
  readonly met: boolean | undefined;
}

export interface Goal {
  readonly what: string;
  judge(run: Measured): Verdict;
}

export interface BenchNetwork {
  readonly name: string;
  readonly title: string;
  readonly goals: readonly Goal[];
  /** Packets per second that a peer is told, having no way to find out. */
  readonly rates: { readonly zmap: number; readonly masscan: number };
  /** Where nmap runs once more, and where its time is taken for the goals, with a word for what is different there. */
  readonly nmapAlsoIn?: { readonly name: string; readonly word: string };
}

export const fileOf = (name: string): string =>
  fileURLToPath(new URL(`./networks/${name}.json`, import.meta.url));

const descriptionOf = (name: string): LabDescription => JSON.parse(readFileSync(fileOf(name), "utf8"));

// --- goals -------------------------------------------------------------------------------------------------------------

const percent = (part: number, whole: number): string => {
  const share = whole === 0 ? 1 : part / whole;
  // Rounded down: 99.99 % is said only of what is.
  return `${(Math.floor(share * 1e5) / 1e3).toFixed(3)} %`;
};

const allRight: Goal = {
  what: "all right",
  judge: ({ score }) => ({
    measured: score.allRight ? "yes" : `${score.wrong} pairs not`,
    met: score.allRight,
  }),
};

const everyOpenFound: Goal = {
  what: "every open found",
  judge: ({ score: { open } }) => ({ measured: `${open.right} of ${open.of}`, met: open.right === open.of }),
};

const openFound = (least: number): Goal => ({
  what: `>= ${least * 100} % of open found`,
  judge: ({ score: { open } }) => ({
    measured: percent(open.right, open.of),
    met: open.right >= least * open.of,
  }),
});

const noFalseOpen: Goal = {
  what: "no false open",
  judge: ({ score }) => ({ measured: String(score.falseOpen), met: score.falseOpen === 0 }),
};

const nothingTwice: Goal = {
  what: "nothing twice",
  judge: ({ score }) => ({ measured: String(score.twice), met: score.twice === 0 }),
};

const right = (state: "closed" | "filtered", least: number): Goal => ({
  what: `>= ${Number((least * 100).toFixed(2))} % of ${state} right`,
  judge: ({ score: { [state]: told } }) => ({
    measured: percent(told.right, told.of),
    met: told.right >= least * told.of,
  }),
});

const synsPerPair = (most: number): Goal => ({
  what: `<= ${most} SYN per pair`,
  judge: (run) => ({ measured: run.synsPerPair.toFixed(3), met: run.synsPerPair <= most }),
});

/** A part of nmap's time. An nmap that was stopped bounds the ratio from above. */
const ofNmap = (share: number, text: string): Goal => ({
  what: `<= ${text} x nmap's time`,
  judge: ({ seconds, nmap }) => {
    if (nmap === undefined) return { measured: "no nmap", met: undefined };
    const ratio = seconds / nmap.seconds;
    const within = ratio <= share;
    const shown = ratio >= 0.1 ? ratio.toFixed(2) : `1/${(1 / ratio).toFixed(1)}`;
    if (nmap.done) return { measured: shown, met: within };
    return { measured: `< ${shown}`, met: within ? true : undefined };
  },
});

/** Two times what a prober needs that knows the bottleneck. */
const ofTheLimit = (name: string, factor: number): Goal => {
  const { in: way = {}, latencyMs = 0 } = descriptionOf(name).path ?? {};
  const limit = PAIRS / (way.ratePps ?? Number.POSITIVE_INFINITY) + (2 * latencyMs) / 1000;
  return {
    what: `<= ${factor} x the limit of ${limit.toFixed(2)} s`,
    judge: ({ seconds }) => ({
      measured: `${(seconds / limit).toFixed(2)} x`,
      met: seconds <= factor * limit,
    }),
  };
};

/** How far a settled prober may be from the path's rate: above it for the retransmissions that overflow, below it for care. */
const FOLLOWS = { least: 0.6, most: 1.3 } as const;

/**
 * Whether SYNs came at the path's rate in the later half of each phase: a prober may take as long as half of a phase to see
 * that the rate has changed. The last phase ends when 95 % of the SYNs have come; what is left then are retransmissions.
 */
const follows = (name: string): Goal => {
  const { ratePps = 0, rateChanges = [] } = descriptionOf(name).path?.in ?? {};
  const phases = [{ atMs: 0, ratePps }, ...rateChanges];
  return {
    what: `the rate follows ${phases.map((phase) => phase.ratePps / 1000).join(", ")} k/s`,
    judge: ({ synsPerTenth }) => {
      const total = synsPerTenth.reduce((sum, count) => sum + count, 0);
      let came = 0;
      const end = synsPerTenth.findIndex((count) => {
        came += count;
        return came >= 0.95 * total;
      });
      const first = synsPerTenth.findIndex((count) => count > 0);
      const rates = phases.map(({ atMs }, i) => {
        const from = Math.max(first, atMs / 100);
        const to = i + 1 < phases.length ? (phases[i + 1]?.atMs ?? 0) / 100 : end;
        const settled = synsPerTenth.slice(Math.ceil((from + to) / 2), to);
        return settled.length === 0
          ? Number.NaN
          : (10 * settled.reduce((sum, count) => sum + count, 0)) / settled.length;
      });
      return {
        measured: `${rates.map((rate) => (Number.isNaN(rate) ? "-" : (rate / 1000).toFixed(1))).join(", ")} k/s`,
        met: rates.every((rate, i) => {
          const path = phases[i]?.ratePps ?? 0;
          return rate >= FOLLOWS.least * path && rate <= FOLLOWS.most * path;
        }),
      };
    },
  };
};

// --- the table ---------------------------------------------------------------------------------------------------------

export const NETWORKS: readonly BenchNetwork[] = [
  {
    name: "clean",
    title: "1 ms, no loss",
    goals: [allRight, ofNmap(0.5, "0.5")],
    rates: { zmap: 10_000, masscan: 100_000 },
  },
  {
    name: "lossy",
    title: "80 ms ± 10, 3 % loss each way",
    goals: [everyOpenFound, right("closed", 0.9999), ofNmap(1 / 25, "1/25"), synsPerPair(1.3)],
    rates: { zmap: 10_000, masscan: 100_000 },
  },
  {
    name: "bottleneck",
    title: "40 ms, bottleneck 20,000 pps with a 2,000-packet queue, 0.5 % loss",
    goals: [allRight, ofTheLimit("bottleneck", 2), synsPerPair(1.2)],
    rates: { zmap: 10_000, masscan: 100_000 },
  },
  {
    name: "hostile",
    title:
      "60 ms ± 20, half of the hosts silent, 10 % ICMP-rejecting, RST limits, 2,000 forged SYN-ACK/s, 5 % duplicates, 1 % loss",
    goals: [
      everyOpenFound,
      noFalseOpen,
      nothingTwice,
      right("closed", 0.999),
      right("filtered", 0.999),
      ofNmap(1 / 50, "1/50"),
    ],
    rates: { zmap: 4000, masscan: 100_000 },
    nmapAlsoIn: { name: "hostile-blind", word: "forgeries miss" },
  },
  {
    name: "far",
    title: "150 ms ± 80, 10 % loss each way, 5,000 pps bottleneck, 500-packet queue, 30 % silent",
    goals: [openFound(0.999), noFalseOpen],
    rates: { zmap: 4000, masscan: 10_000 },
  },
  {
    name: "changing",
    title: "40 ms, a path of 10,000 pps that halves after 1.5 s and doubles after 4 s",
    goals: [allRight, follows("changing")],
    rates: { zmap: 10_000, masscan: 100_000 },
  },
];
