/**
 * The message for an unknown option: what to use instead if nmap, masscan or zmap have it, or the option that was probably
 * meant.
 */

import type { Command } from "commander";
import { didYouMean } from "../../suggest.ts";
import { COMMANDS, IMPLIED, PROBE_OPTIONS, SHORTHANDS } from "./table.ts";

const VERSIONS = "synprobe does not detect services; --banner shows what a server says first";
const SYSTEMS = "synprobe does not detect operating systems";
const SCRIPTS = "synprobe runs no scripts";
const EVASION = "synprobe hides nothing: no decoys, spoofed addresses or fragments";
const DISCOVERY = "synprobe pings no hosts: every target is probed, as after nmap's -Pn";
const PACING = "for its pace use --max-rate, --max-rate-per-host, --timeout, --retries or -T0 to -T5";
const TCP_ALONE = "synprobe probes TCP alone";
const FORMATS = "-oC writes CSV, -oJ NDJSON, -oL and -oT lists of open ports";
const OTHER_SCANS = "synprobe probes with SYN segments alone";

/** nmap's scan types: `-sV`, and `-sSCV` for several at once. */
const SCANS: Readonly<Record<string, string>> = {
  V: VERSIONS,
  C: SCRIPTS,
  T: "SYN probing stands for it; --complete finishes the handshake with each open port",
  U: TCP_ALONE,
  Y: TCP_ALONE,
  Z: TCP_ALONE,
  O: TCP_ALONE,
  n: DISCOVERY,
  P: DISCOVERY,
  L: "--dry-run says what would be probed",
  I: EVASION,
};

const HINTS: readonly (readonly [option: RegExp, hint: string])[] = [
  [/^-A$/, `${SYSTEMS}, services or scripts; --banner shows what a server says first`],
  [/^-O$/, `${SYSTEMS}; for zmap's output, ${FORMATS}`],
  [/^--osscan|^--max-os-tries$/, SYSTEMS],
  [/^-f$/, `${EVASION}; for zmap's fields, ${FORMATS}`],
  [/^-b$/, `${EVASION}; zmap's list of what is left out is --exclude-file FILE`],
  [/^-o$|^-m$|^--output-(file|fields|filter|module|format|filename)$|^--metadata-file$|^-o[BDMSU]$/, FORMATS],
  [/^-[wI]$|^--list-of-ips-file$/, "-iL FILE reads targets from a file"],
  [/^-[Nt]$|^--max-(targets|results|runtime)$/, "--shard 1/100 --seed 1 probes a random hundredth"],
  [/^-P$|^--probes$/, "--retries is the most further SYNs to a silent port"],
  [/^-i$/, "-e NAME is the interface"],
  [/^-s$/, "-g PORT is the source port"],
  [/^--sender-threads$/, "--workers is the number of threads"],
  [/^-M$|^--probe-module$|^--scanflags$/, OTHER_SCANS],
  [
    /^--(http-.*|hello.*|(no)?capture|connection-timeout)$/,
    "--banner hears what a server says first, and says nothing",
  ],
  [/^--(rotate.*|infinite)$/, "synprobe watch repeats a scan; names of files may have %F and %T"],
  [/^--port-ratio$/, "--top-ports takes their number"],
  [/^--version-(intensity|light|all|trace)$/, VERSIONS],
  [/^--script/, SCRIPTS],
  [/^--traceroute$/, "synprobe path HOST:PORT walks the way there; --why does so after a scan"],
  [
    /^-D|^-ff+$|^--(mtu|spoof-mac|data|data-string|data-length|ip-options|proxies|proxy|badsum|spoof-ip)$/,
    EVASION,
  ],
  [/^-P[ESAUYPMORN]|^-P[0-9]|^--disable-arp-ping$|^--discovery-ignore-rst$|^--ping$/, DISCOVERY],
  [
    /^--(scan-delay|max-scan-delay|bandwidth|(min|max|initial)-rtt-timeout|(min|max)-(parallelism|hostgroup)|defeat-rst-ratelimit)$|^-B$/,
    PACING,
  ],
  [
    /^--(wait|cooldown-time)$/,
    "each SYN waits as long as the round trips ask, or for --timeout; the run ends when every port is decided",
  ],
  [
    /^-G$|^--(router-mac|gateway-mac|adapter-mac|router-ip)$/,
    "the kernel's routes and neighbours are used: leave it out",
  ],
  [
    /^-c$|^--conf$/i,
    "synprobe help config says how a configuration is written, and --config FILE reads it; zmap's cooldown is found out",
  ],
  [/^--echo$/, "--print-config prints the effective options"],
  [/^--offline$/, "--dry-run sends nothing, and says what would be done"],
  [/^--iflist$/, "synprobe doctor says which interfaces can probe, and which way a target takes"],
  [/^--readscan$/, "synprobe diff and synprobe report read results, in any format of -oJ, -oX, -oG and -oL"],
  [/^--open-only$/, "it is --open"],
  [/^--(un)?privileged$/, "what is permitted is found out; --link connect does without any privilege"],
  [/^--send-(eth|ip)$/, "--link packet sends Ethernet frames, --link raw IP packets"],
  [/^--range$/, "write targets without it"],
  [/^--append-output$/, "a file has one run; --store FILE gathers runs, --resume goes on with one"],
  [/^--(no-)?stylesheet$|^--webxml$/, "synprobe report makes a page; -oX names no stylesheet"],
  [
    /^--(system-dns|dns-servers)$|^-R$/,
    "names are looked up by the system's resolver, addresses never backwards",
  ],
];

/** An nmap option for something synprobe does not do, with what to use instead. */
function foreign(option: string): string | undefined {
  const [name] = option.split("=", 1);
  // nmap takes long options with one dash, too.
  const hint = HINTS.find(([pattern]) => pattern.test(name) || pattern.test(`-${name}`))?.[1];
  if (hint !== undefined) return hint;
  const scans = /^-s([A-Za-z]+)$/.exec(name)?.[1] ?? "";
  const hints = [...scans].filter((letter) => letter !== "S").map((letter) => SCANS[letter] ?? OTHER_SCANS);
  return hints.length > 0 ? [...new Set(hints)].join("; ") : undefined;
}

/** @param option as it was written. @param known every option that the command has */
function unknownOption(option: string, known: readonly string[]): string {
  const [name] = option.split("=", 1);
  const hint = foreign(option);
  if (hint !== undefined) return `no option ${name}: ${hint}`;
  const spellings = PROBE_OPTIONS.flatMap(({ aliases = [] }) => aliases);
  const all = [...known, ...spellings, ...Object.keys(IMPLIED), ...Object.keys(SHORTHANDS)];
  return `unknown option '${option}'${didYouMean(name, candidates(name, all))}`;
}

/** In a short option one wrong letter makes another option: only its case can be wrong. */
function candidates(name: string, all: readonly string[]): readonly string[] {
  if (name.length > 4 && name.startsWith("--")) return all.filter((option) => option.startsWith("--"));
  return all.filter((option) => option.toLowerCase() === name.toLowerCase());
}

/** `; did you mean the command doctor?`, of a word that looks like one; else nothing. */
export const commandMeantBy = (word: string): string =>
  /^[a-z]+$/i.test(word) ? didYouMean(word, COMMANDS, (command) => `the command ${command}`) : "";

/** commander's message; for an unknown option, what to use instead. */
export function improve(message: string, { options }: Command): string {
  const [, option] = /^unknown option '(.*)'$/s.exec(message) ?? [];
  if (option === undefined) return message;
  const [name, argument] = option.split("=", 2);
  if (argument !== undefined && options.some(({ long }) => long === name))
    return `${name} takes no argument, and is given "${argument}"`;
  const known = options.flatMap(({ long, short }) => [long, short].filter((name) => name != null));
  return unknownOption(option, known);
}
