/**
 * What there is to know beside the options: one short text a topic, laid out by help.ts for terminals and by man.ts for the
 * man page. Where a table of the code says it, the text is made from that.
 */
import { EXIT } from "../exit.ts";
import { type Group, IMPLIED, PROBE_OPTIONS, SHORTHANDS, TIMING, whyOneRun } from "../options/table.ts";

/** A paragraph, a list of terms, commands as they are typed, or the options of some groups. */
export type Block =
  | string
  | { readonly terms: readonly (readonly [term: string, meaning: string])[] }
  | { readonly code: readonly string[] }
  | { readonly options: readonly Group[] };

export interface Topic {
  /** In half a line. */
  readonly summary: string;
  readonly blocks: readonly Block[];
}

const EXIT_MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  complete: "run complete, whatever it found",
  notOpen: "complete, but with --require-open some port was not open; of diff: the runs differ",
  usage:
    "usage: an option, a target, a list, a configuration, an output file, a journal, a file of results or a lab's description",
  privilege: "raw sockets are not allowed here, or this system cannot probe",
  network: "no route, no such interface, no source address",
  internal: "a fault of synprobe itself",
  interrupted: "interrupted, or the reader of the results went away; what was found is printed first",
};

/** Milliseconds as a person writes them. */
const time = (ms: number): string => (ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`);

function rate(perSecond: number): string {
  return perSecond < 1
    ? `1 SYN in ${Math.round(1 / perSecond)} s`
    : `${perSecond.toLocaleString("en")} SYNs/s`;
}

const NAMES = ["paranoid", "sneaky", "polite", "normal, without -T", "aggressive", "insane"];

export const TOPICS = {
  targets: {
    summary: "how hosts and ports are written, lists, exclusions",
    blocks: [
      {
        terms: [
          ["192.0.2.1:22,80,8000-8010", "an address and its ports"],
          ["[2001:db8::10]:443", "IPv6 in brackets"],
          ["[fe80::1%eth0]:22", "a link-local address with its interface"],
          ["example.test:https", "a name, and a service of /etc/services"],
          ["192.0.2.1 -p 22,80", "-p serves every target that names no port; so do --top-ports 100, -F, -p-"],
          ["198.18.0.0/15:80", "a network; [2001:db8::/120]:443"],
          ["198.18.1-3.*:22", "octet ranges, as nmap has them; 198.18.0.1,5,9-12"],
          ["198.18.0.1-198.18.0.40", "from one address to another"],
          ["host:-", "all ports; host:-1023 up to, host:60000- from"],
          ["-iL FILE", "more, separated by white space; # starts a comment; - is standard input"],
        ],
      },
      "A pair is probed once, however often it is named. A target that cannot be probed gets one line on standard error; the others are still probed, unless --strict says otherwise. What is excluded is never probed, whoever names it.",
      { options: ["Targets"] },
    ],
  },
  outputs: {
    summary: "formats, files, what the table shows",
    blocks: [
      "The table goes to standard output, unless a format for programs does (FILE is -). Several formats may be written in one run, each to its own file. The formats for programs have every result; of more than 50 pairs the table has the open ports and counts of the rest, unless --show says otherwise. Messages, progress and --packet-trace go to standard error.",
      { options: ["Output"] },
    ],
  },
  results: {
    summary: "states, and the reasons they are given for",
    blocks: [
      {
        terms: [
          [
            "open",
            "syn-ack: a SYN+ACK that acknowledges our sequence number. split-handshake-syn: a SYN alone.",
          ],
          ["closed", "reset: a RST that acknowledges our sequence number."],
          [
            "filtered",
            "no-response: nothing came, after the last try. An ICMP error that quotes our probe: net-unreach, host-unreach, port-unreach, admin-prohibited, no-route, time-exceeded and others, with the router that sent it. host-timeout: nothing within --host-timeout. send-eperm, send-enetunreach and others: this machine refused to send.",
          ],
        ],
      },
      "Everything else (wrong acknowledgement, bad checksum, foreign quotes) decides nothing; -v counts it. An answer after its try's deadline is marked late, and still corrects filtered: the result then comes again, with was filtered, and the last one counts.",
    ],
  },
  timing: {
    summary: "rate, retries, timeouts, order, resuming",
    blocks: [
      { options: ["Timing"] },
      "A run finds the fastest rate at which its path does not lose, and follows it; --max-rate and --min-rate are bounds. A silent port gets more SYNs until, by the loss measured on its path, the chance that all were lost is below what --confidence leaves; --retries is the most. How long a SYN waits follows the round trips; --timeout makes it fixed.",
      "Times are milliseconds unless a unit follows: 500, 800ms, 2s, 15m. What -T stands for, where no other option says otherwise:",
      {
        terms: TIMING.map(
          ({ waitMs: { initial, least, most }, retries, rate: perSecond, hostTimeoutMs }, i) => [
            `-T${i}`,
            [
              `${NAMES[i]}: ${time(initial)} a try at first, then ${time(least)} to ${time(most)}`,
              `${retries} retries`,
              ...(perSecond === undefined ? [] : [rate(perSecond)]),
              ...(hostTimeoutMs === undefined ? [] : [`${time(hostTimeoutMs)} a host`]),
            ].join(", "),
          ],
        ),
      },
      "Pairs are probed in a random order over the whole space, so that no host is hit in a burst.",
      { options: ["Order"] },
    ],
  },
  privileges: {
    summary: "what a raw socket needs, and the ways to have it",
    blocks: [
      "A raw socket needs root or the capability CAP_NET_RAW, once, when it is opened. Then synprobe drops what it has: under sudo the process becomes the user who called it, elsewhere it gives up its capabilities. --complete keeps CAP_NET_ADMIN until its routing rule is removed.",
      {
        code: [
          'sudo "$(command -v node)" "$(command -v synprobe)" host:port',
          'sudo setpriv --reuid "$(id -u)" --regid "$(id -g)" --init-groups \\',
          "  --inh-caps +net_raw --ambient-caps +net_raw \\",
          '  "$(command -v node)" "$(command -v synprobe)" host:port',
        ],
      },
      {
        terms: [
          ["systemd unit", "AmbientCapabilities=CAP_NET_RAW with User="],
          ["container", "--cap-add NET_RAW"],
        ],
      },
      "Do not setcap the node binary: it would give the power to every script that node runs. synprobe doctor says what this process has and lacks, and what to do.",
      "Under sudo, lists, configurations and journals are read, and output files opened, with the rights of the user who called it. --no-drop keeps everything.",
    ],
  },
  config: {
    summary: "defaults from a file and from the environment",
    blocks: [
      "What the command line does not say, the environment says; what neither says, the file of --config or SYNPROBE_CONFIG. No file is read that is not named so. --print-config prints what would count and where it comes from, in the file's own format, and probes nothing.",
      "A file is JSON with comments. Its keys are the long options, its values what the options take:",
      {
        code: [
          "{",
          "  // no faster than the office line holds",
          '  "max-rate": 2000,',
          '  "exclude": ["198.18.0.0/28", "printer.example.test"],',
          '  "verbose": true,',
          "}",
        ],
      },
      "A variable is SYNPROBE_ and the option in capitals: SYNPROBE_MAX_RATE=5000, SYNPROBE_EXCLUDE=a,b, SYNPROBE_VERBOSE=1. For an option without argument, 0 takes back what a file says.",
      "Exclusions add up: the command line, the environment and the file exclude together. A -T that stands higher in this order than a --timeout or --retries counts more than it; of two rates the lower one does. Relative file names in a file are meant from where the file is. synprobe trace takes those options that it has.",
      `These belong to one run, and cannot be set so: ${PROBE_OPTIONS.filter(
        (spec) => whyOneRun(spec) !== undefined,
      )
        .map(({ flags }) => /--[\w-]+/.exec(flags)?.[0] ?? flags)
        .join(", ")}, and targets.`,
    ],
  },
  exit: {
    summary: "exit statuses",
    blocks: [
      {
        terms: Object.entries(EXIT_MEANINGS).map(([name, meaning]) => [
          String(EXIT[name as keyof typeof EXIT]),
          meaning,
        ]),
      },
      "A fault of one target sets 2 or 4, after the others have been probed.",
    ],
  },
  examples: {
    summary: "commands to begin with",
    blocks: [
      {
        terms: [
          ["synprobe demo", "a tour of it all on simulated hosts, without root or a target"],
          ["synprobe lab", "a shell in that network, where all of these work as written"],
          ["synprobe 198.18.0.1:22,80,443", "three ports of one host"],
          ["synprobe -F 198.18.0.1", "the hundred ports most worth a look"],
          [
            "synprobe 198.18.0.0/28:22,80 --open -oJ all.json",
            "open ports of a network; everything as NDJSON",
          ],
          ["synprobe -iL hosts -p 443 --journal scan.journal", "a list, kept safe against crashes"],
          ["synprobe -iL hosts -p 443 --resume scan.journal", "goes on with it"],
          ["synprobe 198.18.0.1:22 --banner 500ms", "finishes the handshake, and hears what the server says"],
          ["synprobe trace 198.18.0.1:22", "one connection in ten steps, with every byte"],
          ["synprobe 198.18.0.0/15:- --dry-run", "what it would do, and how long it would take"],
          ["synprobe doctor 198.18.0.1", "whether probing works from here, and the way there"],
        ],
      },
    ],
  },
  options: {
    summary: "all of them, grouped",
    blocks: [
      { options: ["Targets", "Timing", "Probing", "Order", "Output", "Other"] },
      `nmap's ${Object.keys(IMPLIED).join(", ")} are accepted: they ask for what synprobe does anyway. ${Object.entries(
        SHORTHANDS,
      )
        .map(([short, long]) => `${short} is ${long.join(" ")}`)
        .join(", ")}.`,
    ],
  },
} as const satisfies Readonly<Record<string, Topic>>;

export type TopicName = keyof typeof TOPICS;

export const TOPIC_NAMES = Object.keys(TOPICS) as readonly TopicName[];

/** Files that are read without being named. */
export const FILES = [
  ["/etc/services", "names of services"],
  ["/proc/sys/net/ipv4/ip_local_port_range", "the kernel's own source ports, above which a run's lie"],
] as const;
