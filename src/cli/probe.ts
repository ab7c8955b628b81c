/**
 * The main command: `synprobe host:port …`. Puts the steps in order: everything that can be wrong is found before the
 * first packet; privileges are needed once and dropped at once; what was found is printed whatever happens.
 */
import { readFileSync } from "node:fs";
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import { CAPABILITIES } from "../link/sys/capabilities.ts";
import { displayLength } from "../report/escape.ts";
import { targetLabel } from "../report/table.ts";
import { makePlan, type Plan } from "../runtime/plan.ts";
import { asInvoker, dropPrivileges, privilegeAdvice } from "../runtime/privilege.ts";
import { type OpenScan, openScan } from "../runtime/scan.ts";
import { probePorts, readServices } from "../runtime/system.ts";
import { MAX_PORT, parsePorts } from "../scan/port-list.ts";
import type { TargetFault } from "../scan/result.ts";
import type { Services } from "../scan/services.ts";
import { parseTarget, parseTargetList, type TargetSpec } from "../scan/target.ts";
import { formatAddress } from "../wire/address.ts";
import { EXIT, type ExitStatus, exitStatus } from "./exit.ts";
import { type Interruption, watchSignals } from "./interruption.ts";
import { type ProbeOptions, usage } from "./options.ts";
import { openOutputs } from "./outputs.ts";
import { packetTracer } from "./packet-trace.ts";
import { type Messages, VERSION } from "./terminal.ts";
import { errorCode } from "./writer.ts";

/** @returns the exit status. @throws {SynprobeError} for faults of the run as a whole */
export async function probe(
  words: readonly string[],
  options: ProbeOptions,
  messages: Messages,
  argv: readonly string[],
): Promise<ExitStatus> {
  const services = readServices();
  const faults: TargetFault[] = [];
  const specs = readTargets(words, options, services, faults);
  if (options.ipv4 === true && options.ipv6 === true) throw usage("-4 and -6 exclude each other");
  const plan = await makePlan(specs, {
    ...(options.ports === undefined ? {} : { ports: parsePortsOption(options.ports, services) }),
    ...(options.ipv4 === true ? { family: 4 } : options.ipv6 === true ? { family: 6 } : {}),
    ...(options.interface === undefined ? {} : { interfaceName: options.interface }),
    ...(options.sourceIp === undefined ? {} : { sourceIp: options.sourceIp }),
    allAddresses: options.allAddresses === true,
    ttl: options.ttl,
  });
  const complete = { ...plan, faults: [...faults, ...plan.faults] };
  for (const fault of complete.faults) messages.error(fault.message);
  if (plan.targets.length === 0) return statusOfFaults(complete.faults);

  if (completes(options) && plan.isLocal.includes(true)) {
    messages.note(
      "handshakes with this machine's own addresses are not completed: there the kernel's RST cannot be held back",
    );
  }
  const interruption = watchSignals();
  try {
    const scan = await open(complete, options, services, argv);
    try {
      if (options.drop) {
        const { user } = dropPrivileges(completes(options) ? [CAPABILITIES.netAdmin] : []);
        if (options.verbose === true)
          messages.note(`privileges dropped${user === undefined ? "" : `: now user ${user}`}`);
      }
      describeLink(scan, options, messages);
      return await run(scan, complete, options, messages, argv, interruption);
    } finally {
      scan.close();
    }
  } finally {
    interruption.ignore();
  }
}

async function open(
  plan: Plan,
  options: ProbeOptions,
  services: Services,
  argv: readonly string[],
): Promise<OpenScan> {
  try {
    return await openScan(plan, {
      retries: options.retries,
      timeoutMs: options.timeout,
      rate: options.maxRate,
      services,
      ...(options.sourcePort === undefined ? {} : { sourcePort: options.sourcePort }),
      ...(completes(options) ? { complete: { bannerMs: bannerTime(options) } } : {}),
      ...(options.packetTrace === true ? { onPacket: packetTracer() } : {}),
    });
  } catch (error) {
    if (error instanceof SynprobeError && error.code === ERROR_CODES.privilege) {
      throw new SynprobeError(
        ERROR_CODES.privilege,
        privilegeAdvice([...process.argv.slice(0, 2), ...argv]),
        {
          cause: error,
        },
      );
    }
    throw error;
  }
}

const completes = ({ complete, banner }: ProbeOptions): boolean => complete === true || banner !== undefined;

const bannerTime = ({ banner }: ProbeOptions): number => banner ?? 0;

async function run(
  scan: OpenScan,
  plan: Plan,
  options: ProbeOptions,
  messages: Messages,
  argv: readonly string[],
  interruption: Interruption,
): Promise<ExitStatus> {
  const outputs = await openOutputs(options, messages.stdoutColour);
  const { reporter } = outputs;
  reporter.start({
    args: argv,
    version: VERSION,
    startedMs: Date.now(),
    pairs: plan.targets.reduce((sum, { ports }) => sum + ports.length, 0),
    ports: distinctPorts(plan),
    targetWidth: widestLabel(plan),
  });
  for (const fault of plan.faults) reporter.fault(fault);

  const running = scan.run((result) => reporter.result(result));
  outputs.onBroken(() => running.stop());
  interruption.onSignal(() => running.stop());
  const summary = await running.finished;
  reporter.finish(summary);
  await outputs.drained();
  const failure = outputs.failure();
  if (failure !== undefined) throw failure;
  // Cut short by a signal, or because the reader of the results went away.
  if (interruption.signalled || summary.unfinished > 0) return EXIT.interrupted;
  const refusals = Object.keys(summary.sendErrors);
  if (summary.sent === 0 && refusals.length > 0) {
    messages.error(
      `nothing could be sent: the kernel says ${refusals.join(", ")}; "synprobe doctor TARGET" shows the way`,
    );
    return EXIT.network;
  }
  const faulty = statusOfFaults(summary.faults);
  if (faulty !== EXIT.complete) return faulty;
  const allOpen = summary.closed + summary.filtered + summary.unfinished === 0;
  return options.requireOpen === true && !allOpen ? EXIT.notOpen : EXIT.complete;
}

/** Reads targets from the command line and the list; bad ones become faults, and the others are still probed. */
function readTargets(
  words: readonly string[],
  options: ProbeOptions,
  services: Services,
  faults: TargetFault[],
): TargetSpec[] {
  const fault = (target: string, { code, message }: SynprobeError): void => {
    faults.push({ target, code, message });
  };
  const specs: TargetSpec[] = [];
  for (const word of words) {
    try {
      specs.push(parseTarget(word, services));
    } catch (error) {
      if (!(error instanceof SynprobeError)) throw error;
      fault(word, error);
    }
  }
  if (options.inputList !== undefined) {
    const file = options.inputList;
    const before = faults.length;
    const list = parseTargetList(
      readList(file, options),
      file === "-" ? "<stdin>" : file,
      services,
      (error) => fault(error.message.split(": ", 1)[0], error),
    );
    if (list.length === 0 && faults.length === before) {
      throw new SynprobeError(
        ERROR_CODES.noTargets,
        `the list ${file} names no target: one host:port a line`,
      );
    }
    return specs.concat(list);
  } else if (words.length === 0) {
    throw new SynprobeError(ERROR_CODES.noTargets, "no target given: write host:port, or -iL FILE");
  }
  return specs;
}

function readList(file: string, options: ProbeOptions): string {
  try {
    return asInvoker(options.drop, () => readFileSync(file === "-" ? 0 : file, "utf8"));
  } catch (error) {
    const code = errorCode(error);
    const why =
      code === "ENOENT"
        ? "there is no such file"
        : code === "EACCES"
          ? "permission denied"
          : code === "EISDIR"
            ? "it is a directory"
            : code;
    throw new SynprobeError(ERROR_CODES.listFile, `cannot read the list ${file}: ${why}`);
  }
}

function parsePortsOption(text: string, services: Services): Uint16Array {
  try {
    return parsePorts(text, services);
  } catch (error) {
    if (error instanceof SynprobeError) throw new SynprobeError(error.code, `-p ${text}: ${error.message}`);
    throw error;
  }
}

/** The status of the gravest fault: usage before network. */
function statusOfFaults(faults: readonly TargetFault[]): ExitStatus {
  let gravest: ExitStatus | undefined;
  for (const { code } of faults) {
    const status = exitStatus(code as Parameters<typeof exitStatus>[0]);
    if (gravest === undefined || status < gravest) gravest = status;
  }
  return gravest ?? EXIT.complete;
}

/** Every port of the plan once, ascending. */
function distinctPorts({ targets }: Plan): number[] {
  const wanted = new Uint8Array(MAX_PORT + 1);
  for (const { ports } of targets) for (const port of ports) wanted[port] = 1;
  const ports: number[] = [];
  for (let port = 0; port <= MAX_PORT; port++) if (wanted[port] === 1) ports.push(port);
  return ports;
}

function widestLabel(plan: Plan): number {
  let widest = 0;
  for (const { name, address, ports } of plan.targets) {
    const label = targetLabel({
      ...(name === undefined ? {} : { host: name }),
      ip: formatAddress(address),
      port: ports[ports.length - 1],
    });
    widest = Math.max(widest, displayLength(label));
  }
  return widest;
}

function describeLink({ link }: OpenScan, options: ProbeOptions, messages: Messages): void {
  const { first, last, shared } = probePorts();
  if (shared && options.sourcePort === undefined) {
    messages.note(
      `source ports ${first}-${last} are also the kernel's (net.ipv4.ip_local_port_range): its own connections may collide`,
    );
  }
  if (options.verbose !== true) return;
  messages.note(
    `link ${link.name}, receive buffer ${link.receiveBuffer} bytes, source ports ${options.sourcePort ?? `${first}-${last}`}`,
  );
}
