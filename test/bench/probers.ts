/**
 * The probers that `npm run bench:truth` runs in a lab: how each is started, as its users start it, and how its answers are
 * read. Files go to a folder of the run.
 *
 * - zmap of Debian takes one port a run: ten runs, one after the other (it never sleeps, and ten at once would leave no
 *   processor time for the network), whose times are added.
 * - masscan's receiver waits for ever for a packet before it looks whether it is over: something has to come, and does, from
 *   a host that is not scanned.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { synprobe } from "../cli/process.ts";
import { type BenchNetwork, PORTS, TARGETS } from "./networks.ts";
import type { Answer, State } from "./score.ts";

export interface Prober {
  readonly name: string;
  argv(network: BenchNetwork, folder: string): readonly string[];
  /** What its files have: all that it said, or, when it was stopped, what it had said by then. */
  answers(folder: string): Answer[];
  /** Whether it tells states apart that are not open. */
  readonly tells: readonly State[];
  /** The lab that it runs in, when it is not the network's own. */
  readonly lab?: string;
}

const ROUTER_MAC = "02:00:00:00:00:fe";
const SOURCE = "192.0.2.1";
const DEVICE = "lab0";
const AWAKE = "198.18.255.1";
/** Seconds that zmap and masscan wait for stragglers: more than the longest round trip. */
const WAIT_S = 1;

const textOf = (folder: string, file: string): string => {
  const path = join(folder, file);
  return existsSync(path) ? readFileSync(path, "utf8") : "";
};

/** A command line for sh(1): `"$0"` is the first word, `"$@"` the others. */
const shell = (script: string, ...words: string[]): string[] => ["sh", "-c", script, ...words];

/** A program for node that has packets come. */
const KEEP_AWAKE = `setInterval(() => require("net").connect(99, "${AWAKE}").on("error", () => {}), 200)`;

/** What `-oJ` ends with, as far as it is printed; later versions have a `path`. */
export interface Summary {
  readonly sent: number;
  readonly retransmitted: number;
  readonly elapsed_ms: number;
  readonly receive_drops: number;
  readonly path?: {
    readonly rate?: number;
    readonly loss?: { readonly round?: number; readonly out?: number; readonly back?: number };
    readonly missed_open?: { readonly expected: number; readonly low: number; readonly high: number };
  };
}

const jsonLines = (folder: string): Record<string, unknown>[] =>
  textOf(folder, "synprobe.ndjson")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

/** The last line of synprobe's own account; undefined when the run did not come to its end. */
export const summaryOf = (folder: string): Summary | undefined =>
  jsonLines(folder).find(({ type }) => type === "summary") as Summary | undefined;

export const SYNPROBE: Prober = {
  name: "synprobe",
  tells: ["open", "closed", "filtered"],
  argv: (_network, folder) =>
    synprobe(TARGETS, "-p", PORTS.join(","), "-oJ", join(folder, "synprobe.ndjson")),
  answers: (folder) =>
    jsonLines(folder).flatMap(({ type, ip, port, state, was }) =>
      type === "result" ? { pair: `${ip}:${port}`, state: state as State, corrects: was !== undefined } : [],
    ),
};

const nmap: Prober = {
  name: "nmap",
  tells: ["open", "closed", "filtered"],
  argv: (_network, folder) => [
    ...["nmap", "-T4", "-n", "-Pn", "-sS", "-p", PORTS.join(","), "-oG", join(folder, "nmap.gnmap"), TARGETS],
  ],
  answers: (folder) =>
    textOf(folder, "nmap.gnmap")
      .split("\n")
      .flatMap((line): Answer[] => {
        const [, ip, fields = ""] = /^Host: (\S+) .*?\t((?:Ports|Ignored State): .*)/.exec(line) ?? [];
        if (ip === undefined) return [];
        const told = new Map(
          [...fields.matchAll(/(\d+)\/(open|closed|filtered)\//g)].map(([, port, state]) => [
            Number(port),
            state as State,
          ]),
        );
        // Ports in the state that most of a host's are in are left out, and only counted.
        const [, rest] = /Ignored State: (open|closed|filtered) /.exec(fields) ?? [];
        return PORTS.flatMap((port) => {
          const state = told.get(port) ?? (rest as State | undefined);
          return state === undefined ? [] : { pair: `${ip}:${port}`, state };
        });
      }),
};

const zmap: Prober = {
  name: "zmap",
  tells: ["open", "closed"],
  argv: ({ rates }, folder) =>
    shell(
      `for port in ${PORTS.join(" ")}; do "$@" -p $port -o "${folder}/zmap.$port.csv" || exit; done`,
      "sh",
      ...["zmap", TARGETS, "-P", "2", "-r", String(rates.zmap), "-i", DEVICE, "-G", ROUTER_MAC, "-S", SOURCE],
      ...["-b", "/dev/null", "-c", String(WAIT_S), "-q", "-O", "csv", "-f", "saddr,sport,classification"],
      "--output-filter=repeat = 0",
    ),
  answers: (folder) =>
    PORTS.flatMap((port) =>
      [...textOf(folder, `zmap.${port}.csv`).matchAll(/^(\S+),(\d+),(synack|rst)$/gm)].map(
        ([, ip, from, said]): Answer => ({
          pair: `${ip}:${from}`,
          state: said === "synack" ? "open" : "closed",
        }),
      ),
    ),
};

const masscan: Prober = {
  name: "masscan",
  tells: ["open", "closed"],
  argv: ({ rates }, folder) =>
    shell(
      `"${process.execPath}" -e "$0" & exec "$@"`,
      KEEP_AWAKE,
      ...["masscan", TARGETS, `-p${PORTS.join(",")}`, "--rate", String(rates.masscan), "--interface", DEVICE],
      ...["--adapter-ip", SOURCE, "--router-mac", ROUTER_MAC.replaceAll(":", "-"), "--wait", String(WAIT_S)],
      ...["--show", "open,closed", "-oL", join(folder, "masscan.list")],
    ),
  answers: (folder) =>
    [...textOf(folder, "masscan.list").matchAll(/^(open|closed) tcp (\d+) (\S+) /gm)]
      .map(([, state, port, ip]): Answer => ({ pair: `${ip}:${port}`, state: state as State }))
      .filter(({ pair }) => !pair.startsWith(`${AWAKE}:`)),
};

/** nmap as it is to be run in a network: once more where its time is taken elsewhere. */
export const withReference = (prober: Prober, { nmapAlsoIn: other }: BenchNetwork): Prober[] =>
  prober !== nmap || other === undefined
    ? [prober]
    : [prober, { ...prober, name: referenceName(other.word), lab: other.name }];

const referenceName = (word: string): string => `nmap, ${word}`;

/** Whose time is nmap's in a network's goals. */
export const timedNmap = ({ nmapAlsoIn: other }: BenchNetwork): string =>
  other === undefined ? nmap.name : referenceName(other.word);

export const PEERS: readonly Prober[] = [nmap, zmap, masscan];
