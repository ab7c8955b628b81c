/**
 * `synprobe trace host:port`: one connection attempt in ten steps, for learning and debugging; as data with --json, as
 * a capture with --pcap.
 */
import { openSync, writeFileSync } from "node:fs";
import { createColors } from "picocolors";
import { SynprobeError } from "../../errors.ts";
import { CAPABILITIES } from "../../link/sys/capabilities.ts";
import { escapeText } from "../../report/escape.ts";
import { jsonLine } from "../../report/formats/ndjson.ts";
import type { OpenPath } from "../../runtime/path/path.ts";
import { makePlan, type Plan } from "../../runtime/plan/plan.ts";
import { dropPrivileges } from "../../runtime/system/privilege.ts";
import { readServices } from "../../runtime/system/system.ts";
import { openTrace, type Trace } from "../../runtime/trace/trace.ts";
import { milliseconds, type Step, stepsOf, type TraceRecord } from "../../scan/probe/steps.ts";
import { parseTarget } from "../../scan/targets/grammar.ts";
import { formatAddress } from "../../wire/address.ts";
import { describePacket } from "../../wire/describe.ts";
import { pcapngPacket, pcapngStart } from "../../wire/pcapng.ts";
import { withAdvice } from "../advice.ts";
import { afterSending, EXIT, type ExitStatus } from "../exit.ts";
import { type ProbeOptions, usage } from "../options/table.ts";
import { type Interruption, watchSignals } from "../run/interruption.ts";
import { excludeOptions, ratePerHost, refuseEmpty, wayOptions } from "../run/targets.ts";
import { type Messages, printResult, VERSION } from "../run/terminal.ts";
import { writing } from "../run/writer.ts";

/** Parsed options, by commander's names. */
export interface TraceCommandOptions
  extends Pick<ProbeOptions, "exclude" | "excludeFile" | "excludePorts">,
    Pick<ProbeOptions, "maxRate" | "maxRatePerHost" | "maxRatePerPrefix"> {
  readonly json?: boolean;
  readonly pcap?: string;
  readonly halfOpen?: boolean;
  readonly brief?: boolean;
  readonly retries: number;
  readonly timeout: number;
  readonly ttl: number;
  readonly why?: boolean;
  readonly interface?: string;
  readonly sourceIp?: string;
  readonly ipv4?: boolean;
  readonly ipv6?: boolean;
  readonly config?: string;
  readonly drop: boolean;
}

/** @throws {SynprobeError} for anything that keeps the attempt from being made */
export async function trace(
  word: string,
  options: TraceCommandOptions,
  messages: Messages,
  argv: readonly string[],
): Promise<ExitStatus> {
  const services = readServices();
  const spec = parseTarget(word, services);
  if (spec.ports?.length !== 1)
    throw usage("trace follows one connection: name one port, host:PORT or [v6]:PORT");
  if (options.pcap === "-") throw usage("--pcap takes a file; standard output has the story");
  const plan = await makePlan([spec], {
    ...wayOptions(options),
    ...(await excludeOptions(options, services)),
    allAddresses: false,
  });
  const [fault] = plan.faults;
  if (fault !== undefined) throw new SynprobeError(fault.code as SynprobeError["code"], fault.message);
  refuseEmpty(plan);
  const rate = ratePerHost(options);
  const interruption = watchSignals();
  try {
    const opened = await withAdvice(argv, options.halfOpen !== true, () =>
      openTrace(plan, {
        retries: options.retries,
        // Each try waits longer than the one before.
        timeoutMs: Math.max(options.timeout, 1000 / rate),
        halfOpen: options.halfOpen === true,
      }),
    );
    let walk: OpenPath | undefined;
    try {
      if (options.why === true) walk = await openWalk(plan, rate);
      if (options.drop) dropPrivileges(options.halfOpen === true ? [] : [CAPABILITIES.netAdmin]);
      // An unwritable file is said before the first packet; its name may stand for another file by the end.
      const write = options.pcap === undefined ? undefined : openFile(options.pcap);
      write?.(pcapngStart(`synprobe ${VERSION}`));
      const running = opened.run();
      interruption.onSignal(running.stop);
      const result = await running.finished;
      write?.(capture(result));
      const isWalked = result.record.state === "filtered" && !interruption.signalled;
      // The rule that holds the kernel's RST back is gone.
      if (isWalked && walk !== undefined && options.drop) dropPrivileges([]);
      const { where, failure } =
        isWalked && walk !== undefined ? await walkOn(walk, interruption, result.record.reason) : {};
      printResult(
        options.json === true
          ? jsonLine({ ...toJson(result), ...(where === undefined ? {} : { where }) })
          : options.brief === true
            ? formatDiagram(result.record, messages.stdoutColour)
            : formatStory(result.record, messages.stdoutColour),
      );
      if (where !== undefined && options.json !== true) printResult(`\n${where.text}\n`);
      const fatal = result.failure ?? failure;
      if (fatal !== undefined) throw afterSending(fatal, sentBy(result.record));
      return interruption.status ?? statusOf(result.record, messages);
    } finally {
      walk?.close();
      opened.close();
    }
  } finally {
    interruption.ignore();
  }
}

const sentBy = ({ packets }: Pick<TraceRecord, "packets">): number =>
  packets.filter(({ direction }) => direction === "sent").length;

/** As a scan's: where the kernel does not send, there is no word on the port. */
function statusOf({ reason, packets }: TraceRecord, messages: Messages): ExitStatus {
  if (reason?.startsWith("send-") !== true) return EXIT.complete;
  const hasBegun = sentBy({ packets }) > 0;
  const error = packets.findLast(({ direction }) => direction === "refused")?.error;
  messages.error(
    `${hasBegun ? "no more" : "nothing"} could be sent: the kernel says ${error}; "synprobe doctor TARGET" shows the way`,
  );
  return hasBegun ? EXIT.partial : EXIT.network;
}

/** Its sockets are opened while that is still allowed; its code is loaded only when it is asked for. */
async function openWalk(plan: Plan, most: number): Promise<OpenPath> {
  const [{ openPath }, { PATH_DEFAULTS }] = await Promise.all([
    import("../../runtime/path/path.ts"),
    import("../../scan/path/finding.ts"),
  ]);
  const [{ ttl }] = plan.paths;
  return openPath(plan, {
    ...PATH_DEFAULTS,
    maxHops: Math.min(ttl, PATH_DEFAULTS.maxHops),
    rate: Math.min(most, PATH_DEFAULTS.maxRate),
    follows: true,
    search: false,
  });
}

interface Walked {
  readonly where?: Readonly<Record<string, unknown>> & { readonly text: string };
  readonly failure?: unknown;
}

/** Where the SYNs to a filtered port stop: to no other port one is sent. */
async function walkOn(
  walk: OpenPath,
  interruption: Interruption,
  before: string | undefined,
): Promise<Walked> {
  const [{ pathReport }, { filteredSentence }] = await Promise.all([
    import("../../runtime/path/report.ts"),
    import("../../scan/path/sentences.ts"),
  ]);
  const running = walk.run();
  interruption.onSignal(running.stop);
  const found = await running.finished;
  const failure = running.failure();
  if (failure !== undefined) return { failure };
  const { interrupted } = found;
  const [path] = pathReport(found, new Map()).ports;
  const { where, seenAt, doubt } = path;
  const text = filteredSentence(path, undefined, before);
  return {
    where: {
      ...where,
      seen_at: seenAt,
      ...(doubt === undefined ? {} : { doubt }),
      text: interrupted ? `${text} Interrupted, so not all is known.` : text,
      interrupted,
    },
  };
}

/** The packets of a capture file; each one's comment names its step. */
function capture({ record, startedMs }: Trace): Uint8Array {
  const titles = new Map(stepsOf(record).map(({ number, title }) => [number, title]));
  const startNs = BigInt(Math.round(startedMs * 1000)) * 1000n;
  // What was refused has never been a packet.
  const left = record.packets.filter(({ direction }) => direction !== "refused");
  const blocks = left.map(({ bytes, atUs, step }) =>
    pcapngPacket(bytes, startNs + BigInt(Math.round(atUs * 1000)), `step ${step}: ${titles.get(step)}`),
  );
  return Buffer.concat(blocks);
}

/** Microseconds as milliseconds with three decimals. */
const roundMs = (us: number): number => Math.round(us) / 1000;

function toJson({ record, startedMs }: Trace): object {
  const { packets, state, reason, responder, establishedUs, interrupted, totalUs, rows } = record;
  return {
    type: "trace",
    local: { ip: formatAddress(record.local), port: record.localPort },
    peer: { ip: formatAddress(record.peer), port: record.peerPort },
    state,
    reason,
    responder: responder === undefined ? undefined : formatAddress(responder),
    interrupted,
    established_ms: establishedUs === undefined ? undefined : roundMs(establishedUs),
    total_ms: roundMs(totalUs),
    started_at: new Date(startedMs).toISOString(),
    packets: packets.map(({ direction, error, atUs, bytes, step }) => ({
      direction,
      error,
      at_ms: roundMs(atUs),
      step,
      text: describePacket(bytes, 0, bytes.length),
      hex: Buffer.from(bytes).toString("hex"),
    })),
    rows,
    steps: stepsOf(record),
  };
}

const NAME_WIDTH = 28;
const HEX_WIDTH = 24;

/** For people: the steps, each header in hex and in words, and a diagram of the segments with times at the end. */
export function formatStory(record: TraceRecord, colour: boolean): string {
  const colors = createColors(colour);
  const lines = stepsOf(record).flatMap((step: Step) => [
    colors.bold(`${String(step.number).padStart(2)}  ${escapeText(step.title, 200)}`),
    ...step.text.map((line) => `    ${escapeText(line, 400)}`),
    ...(step.fields ?? []).flatMap(({ name, hex, meaning }) => {
      const [first, ...more] = chunk(hex, 8);
      return [
        `    ${name.padEnd(NAME_WIDTH)}${colors.cyan(first.padEnd(HEX_WIDTH))}  ${escapeText(meaning, 200)}`,
        ...more.map((rest) => `    ${" ".repeat(NAME_WIDTH)}${colors.cyan(rest)}`),
      ];
    }),
    ...(step.row ?? []).map(([name, before, after]) =>
      before === undefined
        ? `    ${name.padEnd(NAME_WIDTH)}${after}`
        : `    ${name.padEnd(NAME_WIDTH)}${colors.dim(before)} ${colors.dim("->")} ${colors.green(after)}`,
    ),
    "",
  ]);
  return [...lines, ...diagram(record, colors), ""].join("\n");
}

/** A hex dump, `size` bytes a line. */
function chunk(hex: string, size: number): string[] {
  const bytes = hex.split(" ");
  const lines: string[] = [];
  for (let i = 0; i < bytes.length; i += size) lines.push(bytes.slice(i, i + size).join(" "));
  return lines;
}

/** The diagram alone, and the result. */
export function formatDiagram(record: TraceRecord, colour: boolean): string {
  const { state, reason, totalUs } = record;
  return [
    ...diagram(record, createColors(colour)),
    `${state === undefined ? "not decided: interrupted" : `${state} (${reason})`} after ${milliseconds(totalUs)}`,
    "",
  ].join("\n");
}

/** The longest label, FIN,PSH,ACK with two numbers of ten digits, keeps two dashes. */
const ARROW_WIDTH = 47;

function diagram(record: TraceRecord, colors: ReturnType<typeof createColors>): string[] {
  const names = `${formatAddress(record.local)} ${record.localPort}`.padEnd(ARROW_WIDTH - 4);
  return [
    `${" ".repeat(14)}${names}${formatAddress(record.peer)} ${record.peerPort}`,
    ...record.packets.map(({ direction, error, atUs, bytes }) => {
      const label = shortLabel(bytes);
      const dashes = "-".repeat(Math.max(2, ARROW_WIDTH - label.length - 4));
      const [arrow, paint] = {
        sent: [`|-- ${label} ${dashes}>|`, colors.green] as const,
        received: [`|<-- ${label} ${dashes}|`, colors.yellow] as const,
        refused: [`|-- ${label} ${dashes}x| ${error}`, colors.red] as const,
      }[direction];
      return `${milliseconds(atUs).padStart(13)} ${paint(arrow)}`;
    }),
  ];
}

/** "SYN seq=1", from the packet's description. */
function shortLabel(bytes: Uint8Array): string {
  const text = describePacket(bytes, 0, bytes.length);
  const segment = / TCP (\S+ seq=\d+(?: ack=\d+)?)/.exec(text);
  if (segment !== null && !/ICMP/.test(text)) return segment[1];
  return / (ICMP(?:v6)? \S+)/.exec(text)?.[1] ?? "packet";
}

/** @returns what writes to it, until the process ends */
function openFile(path: string): (bytes: Uint8Array) => void {
  const fd = writing(path, () => openSync(path, "w"));
  return (bytes) => writing(path, () => writeFileSync(fd, bytes));
}
