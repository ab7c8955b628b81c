/**
 * `synprobe path host:port[,port…]`: where on the way to a host the SYNs of its ports stop; as a table of hops by ports with a
 * sentence for each port, or as data with --json.
 */
import { createColors } from "picocolors";
import { SynprobeError } from "../../errors.ts";
import { displayLength, escapeWord } from "../../report/escape.ts";
import { count } from "../../report/figures.ts";
import { jsonLine } from "../../report/formats/ndjson.ts";
import { namesOf } from "../../runtime/path/names.ts";
import { openPath } from "../../runtime/path/path.ts";
import { pathReport } from "../../runtime/path/report.ts";
import { makePlan } from "../../runtime/plan/plan.ts";
import { dropPrivileges } from "../../runtime/system/privilege.ts";
import { readServices } from "../../runtime/system/system.ts";
import type { HopAnswer, PathResult, PortPath } from "../../scan/path/result.ts";
import { isCutShort, noteSentence, portSentences } from "../../scan/path/sentences.ts";
import { parseTarget } from "../../scan/targets/grammar.ts";
import { formatAddress } from "../../wire/address.ts";
import { withAdvice } from "../advice.ts";
import { afterSending, EXIT, type ExitStatus } from "../exit.ts";
import { type ProbeOptions, usage } from "../options/table.ts";
import { watchSignals } from "../run/interruption.ts";
import { nothingSent } from "../run/status.ts";
import { excludeOptions, ratePerHost, refuseEmpty, wayOptions } from "../run/targets.ts";
import { type Messages, printResult } from "../run/terminal.ts";

/** Parsed options, by commander's names. */
export interface PathCommandOptions
  extends Pick<ProbeOptions, "interface" | "sourceIp" | "ipv4" | "ipv6" | "config" | "drop">,
    Pick<ProbeOptions, "exclude" | "excludeFile" | "excludePorts" | "maxRatePerHost" | "maxRatePerPrefix"> {
  readonly json?: boolean;
  readonly names?: boolean;
  readonly link: "raw" | "packet";
  readonly reference?: number;
  readonly flows: number;
  readonly maxHops: number;
  readonly tries: number;
  readonly maxRate: number;
}

/** Ports of one walk: a column each. */
const MOST_PORTS = 16;
/** Flows of all ports together. */
const MOST_FLOWS = 64;

/** @throws {SynprobeError} for anything that keeps the walk from being made */
export async function path(
  word: string,
  options: PathCommandOptions,
  messages: Messages,
  argv: readonly string[],
): Promise<ExitStatus> {
  const services = readServices();
  const spec = parseTarget(word, services);
  const ports = spec.ports?.length ?? 0;
  if (ports === 0) throw usage("path takes a host with its ports: host:PORT[,PORT…] or [v6]:PORT[,PORT…]");
  if (ports > MOST_PORTS) throw usage(`path takes at most ${MOST_PORTS} ports, not ${ports}`);
  if (ports * options.flows > MOST_FLOWS)
    throw usage(`--flows ${options.flows} of ${ports} ports: at most ${MOST_FLOWS} flows in all`);
  const plan = await makePlan([spec], {
    ...wayOptions({ ...options, ttl: options.maxHops }),
    ...(await excludeOptions(options, services)),
    allAddresses: false,
  });
  const [fault] = plan.faults;
  if (fault !== undefined) throw new SynprobeError(fault.code as SynprobeError["code"], fault.message);
  refuseEmpty(plan);
  if (options.reference !== undefined && plan.excluded.ports.includes(options.reference))
    throw usage(`--reference ${options.reference} is excluded: name another port`);
  const interruption = watchSignals();
  try {
    const { reference, flows, maxHops, tries, link } = options;
    const rate = ratePerHost(options);
    const walking = { flows, maxHops, tries, rate, link, ...(reference === undefined ? {} : { reference }) };
    const opened = await withAdvice(argv, false, async () => openPath(plan, walking));
    try {
      if (options.drop) dropPrivileges([]);
      const running = opened.run();
      interruption.onSignal(running.stop);
      const result = await running.finished;
      const addresses = [
        result.target,
        ...result.hops.flatMap(({ answers }) => answers.map(({ address }) => address)),
      ];
      const over = new Promise<void>((resolve) => interruption.onSignal(resolve));
      const names =
        options.names === true && !interruption.signalled
          ? await namesOf(
              addresses.map((address) => formatAddress(address)),
              undefined,
              over,
            )
          : new Map<string, string>();
      printResult(
        options.json === true
          ? jsonLine({ type: "path", ...(snakeCase(pathReport(result, names)) as object) })
          : formatPath(result, names, messages.stdoutColour),
      );
      const failure = running.failure();
      if (failure !== undefined) throw afterSending(failure, result.sent);
      if (!result.interrupted && result.sent === 0) return nothingSent(refusalsOf(result), messages);
      return interruption.status ?? EXIT.complete;
    } finally {
      opened.close();
    }
  } finally {
    interruption.ignore();
  }
}

/** What the kernel said to SYNs that it did not send. */
const refusalsOf = ({ ports }: PathResult): string[] => [
  ...new Set(ports.flatMap(({ reason }) => /^send-(.*)$/.exec(reason)?.[1]?.toUpperCase() ?? [])),
];

/** A value with the names of its properties as JSON outputs have them: `rttMs` is `rtt_ms`. */
function snakeCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeCase);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      snakeCase(each),
    ]),
  );
}

const NOTHING = "nothing from here on";

/** Hops by ports, and a sentence for each port. */
export function formatPath(result: PathResult, names: ReadonlyMap<string, string>, colour: boolean): string {
  const colors = createColors(colour);
  const { ports, notes, sent, elapsedUs } = result;
  const columns = [
    [
      "HOP",
      "ADDRESS",
      "RTT",
      ...ports.map(({ port, reference }) => `${port}${reference ? " (reference)" : ""}`),
    ],
    ...rowsOf(result, names),
  ];
  const widths = columns[0].map((_, i) => Math.max(...columns.map((row) => displayLength(row[i]))));
  const pad = (text: string, i: number): string => {
    const gap = " ".repeat(widths[i] - displayLength(text));
    return i === 0 || i === 2 ? gap + text : text + gap;
  };
  const paint = (text: string, cell: string): string =>
    cell === "open"
      ? colors.green(text)
      : cell === "passes" || cell === "closed"
        ? text
        : cell === NOTHING || / by a box$|^rejects/.test(cell)
          ? colors.red(text)
          : text;
  const table = columns.map((row, n) =>
    row
      .map((cell, i) => (n === 0 ? colors.bold(pad(cell, i)) : paint(pad(cell, i), cell)))
      .join("  ")
      .trimEnd(),
  );
  return [
    ...table,
    "",
    ...portSentences(result),
    ...notes.map(noteSentence),
    ...flowLines(result),
    `${count(sent, "SYN")} sent in ${(elapsedUs / 1e6).toFixed(2)} s${result.interrupted ? "; interrupted, so not all is known" : ""}`,
    "",
  ].join("\n");
}

function rowsOf(result: PathResult, names: ReadonlyMap<string, string>): string[][] {
  const { hops, ports, target } = result;
  const last = Math.max(
    hops.length,
    ...ports.map(({ where, reach = 0, seenAt }) =>
      Math.max(reach, seenAt, "to" in where ? where.to : where.kind === "unknown" ? where.from + 1 : 0),
    ),
  );
  return Array.from({ length: last }, (_, i) => i + 1).flatMap((hop) => {
    const answers = hops[hop - 1]?.answers ?? [];
    const cells = ports.map((path) => cellOf(path, hop, isCutShort(result, path)));
    const host = ports.find(({ where }) => where.kind === "host" && where.hop === hop);
    if (answers.length === 0) {
      const rtt = host?.rttUs === undefined ? "" : formatRtt(host.rttUs);
      return [[String(hop), host === undefined ? "*" : nameOf(target, names), rtt, ...cells]];
    }
    /** In which line of the hop a port stands: with the first router that has answered it. */
    const lineOf = ({ port }: PortPath): number =>
      Math.max(
        0,
        answers.findIndex((answer) => answer.ports.includes(port)),
      );
    return answers.map((answer, n) => [
      n === 0 ? String(hop) : "",
      routerName(answer, names),
      formatRtt(answer.rttUs),
      ...cells.map((cell, i) => (lineOf(ports[i]) === n ? cell : "")),
    ]);
  });
}

const formatRtt = (us: number): string => `${(us / 1000).toFixed(1)} ms`;

function nameOf(address: Uint8Array, names: ReadonlyMap<string, string>): string {
  const text = formatAddress(address);
  const name = names.get(text);
  return name === undefined ? text : `${escapeWord(name)} (${text})`;
}

const routerName = ({ address, labels }: HopAnswer, names: ReadonlyMap<string, string>): string =>
  [
    nameOf(address, names),
    ...(labels.length === 0 ? [] : [`[MPLS ${labels.map(({ label }) => label).join(" ")}]`]),
  ].join(" ");

/** What became of a port's SYNs at a hop. */
function cellOf({ where, seenAt, state, reason }: PortPath, hop: number, isCutShort: boolean): string {
  if (isCutShort) return hop <= seenAt ? "passes" : "";
  switch (where.kind) {
    case "host":
      return hop < where.hop ? "passes" : hop === where.hop ? state : "";
    case "box": {
      const does =
        state === "filtered" ? `${reason} by a box` : state === "open" ? "SYN-ACK by a box" : "RST by a box";
      return hop < where.to ? (hop <= where.from ? "passes" : "") : hop === where.to ? does : "";
    }
    case "rejected":
      return hop === where.to ? `rejects: ${reason}` : hop <= where.from ? "passes" : "";
    case "some-flows":
      return hop <= where.from ? "passes" : hop === where.from + 1 ? "some flows" : "";
    case "unknown":
      if (hop <= seenAt || hop > seenAt + 1) return hop <= seenAt ? "passes" : "";
      return state !== "filtered" ? `${state}, here or beyond` : where.usedUp ? "not asked" : NOTHING;
    default:
      return hop <= seenAt ? "passes" : hop === seenAt + 1 ? NOTHING : "";
  }
}

/** Of several flows to a port: the ways that were found, and how many flows took each and lost their SYNs there. */
function flowLines({ flows }: PathResult): string[] {
  const counted = flows.filter(({ sent }) => sent > 0);
  const ways = new Map<
    string,
    { readonly port: number; readonly hops: readonly string[]; count: number; sent: number; answered: number }
  >();
  for (const { port, hops, sent, answered } of counted) {
    const key = `${port} ${hops.join(" ")}`;
    const way = ways.get(key) ?? { port, hops, count: 0, sent: 0, answered: 0 };
    way.count++;
    way.sent += sent;
    way.answered += answered;
    ways.set(key, way);
  }
  if (ways.size === 0) return [];
  const all = counted.map(({ hops }) => hops);
  const longest = Math.max(...all.map(({ length }) => length));
  const differing = Array.from({ length: longest }, (_, i) => i).filter(
    (i) => new Set(all.flatMap((hops) => hops.slice(i, i + 1)).filter((hop) => hop !== "")).size > 1,
  );
  return [
    `Ways of ${count(counted.length, "flow")}, by the hops that differ${differing.length === 0 ? ": none does" : ""}`,
    ...[...ways.values()]
      .sort((a, b) => a.port - b.port || b.count - a.count)
      .map(({ port, hops, count, sent, answered }) => {
        const where = differing.map((i) => `${i + 1} ${hops[i] || "*"}`).join(", ");
        const lost = ((100 * (sent - answered)) / sent).toFixed(0);
        return `  ${port}: ${count} ${count === 1 ? "flow" : "flows"}${where === "" ? "" : ` by ${where}`}, ${lost} % of ${sent} SYNs without answer`;
      }),
  ];
}
