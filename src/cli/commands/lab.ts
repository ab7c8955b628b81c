/**
 * `synprobe lab [file] [-- command …]`: a simulated network as real packets, and a command or a shell in it. Without
 * packets, --check reads a description and --truth prints what a perfect prober would find. --report writes what the lab
 * saw, and how well it kept its own times.
 */
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { DEFAULT_DESCRIPTION } from "../../lab/default-description.ts";
import type { HostDescription, LabDescription } from "../../lab/description.ts";
import { createNetwork } from "../../lab/network.ts";
import { parseDescription } from "../../lab/parse-description.ts";
import { LAB, serveLab } from "../../runtime/lab/lab.ts";
import {
  findNamespaces,
  HANDED_ON,
  openLifeline,
  prepareForShell,
  runCommand,
  runInNamespaces,
} from "../../runtime/lab/namespace.ts";
import { whyUnreadable } from "../../runtime/plan/list-file.ts";
import { asInvoker } from "../../runtime/system/invoker.ts";
import { readServices } from "../../runtime/system/system.ts";
import { parseTargets } from "../../scan/targets/grammar.ts";
import { type Address, formatAddress, sameAddress } from "../../wire/address.ts";
import { EXIT } from "../exit.ts";
import { LAB_INSIDE, usage } from "../options/table.ts";
import { type Messages, printResult } from "../run/terminal.ts";
import { writing } from "../run/writer.ts";

/** Parsed options, by commander's names. */
export interface LabOptions {
  readonly check?: boolean;
  readonly truth?: readonly string[];
  /** A file. */
  readonly report?: string;
}

/** The order that the process inside is given. */
interface LabRequest {
  readonly description: LabDescription;
  /** A shell when it is empty. */
  readonly command: readonly string[];
  /** Whether to print the hosts before the command starts. */
  readonly banner: boolean;
  /** Where the report goes, for messages; the file itself is open as descriptor `HANDED_ON`. */
  readonly report?: string;
}

/**
 * @param words the file, if any, and the command
 * @returns the command's exit status
 * @throws {SynprobeError} `ERR_LAB` for the description, `ERR_PRIVILEGE` when namespaces cannot be made
 */
export async function lab(
  words: readonly string[],
  options: LabOptions,
  argv: readonly string[],
): Promise<number> {
  const dashes = argv.indexOf("--");
  const command = dashes < 0 ? [] : argv.slice(dashes + 1);
  const files = words.slice(0, words.length - command.length);
  if (files.length > 1)
    throw usage(`lab takes one file; a command comes after --: synprobe lab -- ${words.join(" ")}`);
  const [file] = files;
  const description = file === undefined ? DEFAULT_DESCRIPTION : readDescription(file);
  if (options.check === true || options.truth !== undefined) {
    if (command.length > 0 || options.report !== undefined) throw usage("--check and --truth run no command");
    if (options.truth === undefined) printResult(`${summary(description).join("\n")}\n`);
    else printTruth(description, options.truth);
    return EXIT.complete;
  }
  const isShell = command.length === 0;
  const request = { description, command, banner: isShell || process.stderr.isTTY === true };
  if (options.report === undefined) return runInLab(request);
  const { report } = options;
  const fd = openReport(report);
  return runInLab({ ...request, report }, fd).finally(() => closeSync(fd));
}

/**
 * Runs a command in a lab.
 * @param report the open file of the report, where one is wanted
 * @returns its exit status
 * @throws {SynprobeError} `ERR_PRIVILEGE`
 */
export async function runInLab(request: LabRequest, report?: number): Promise<number> {
  return runInNamespaces(findNamespaces(), [process.argv[1], LAB_INSIDE], request, report);
}

/** What `runInLab` starts in the namespaces: serves the lab until the command ends. @returns the command's exit status */
export async function labInside(messages: Messages): Promise<number> {
  const lifeline = openLifeline(() => process.exit(EXIT.interrupted));
  const request = (await lifeline.message) as LabRequest;
  const { description, command } = request;
  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const service = await serveLab(description, fail);
  try {
    const { SHELL } = process.env;
    const [program = SHELL || "/bin/sh", ...args] = command;
    if (request.banner) messages.note(banner(description, command.length === 0));
    if (command.length === 0) prepareForShell();
    const startedS = service.elapsedS();
    const cpu = process.cpuUsage();
    const environment = { SYNPROBE_LAB: "1", PATH: pathWithSynprobe() };
    const running = runCommand([program, ...args], environment, lifeline);
    // A measurement needs the network on time, at the cost of other processes (masscan receives less then).
    if (request.report !== undefined) service.takePrecedence();
    const { status, problem } = await Promise.race([running, failed]);
    if (problem !== undefined) messages.error(problem);
    if (request.report !== undefined) {
      const { user, system } = process.cpuUsage(cpu);
      const seconds = service.elapsedS() - startedS;
      const ran = { argv: [program, ...args], status, started_s: startedS, elapsed_s: seconds };
      const report = { command: ran, cpu_s: (user + system) / 1e6, ...service.report() };
      writing(request.report, () => writeFileSync(HANDED_ON, `${JSON.stringify(report)}\n`));
    }
    return status;
  } finally {
    service.stop();
    lifeline.close();
  }
}

/** PATH with `synprobe`, which the build puts beside this command, and the Node that runs it. */
function pathWithSynprobe(): string {
  const { PATH = "" } = process.env;
  const bin = fileURLToPath(new URL("../bin", import.meta.url));
  return [bin, PATH, dirname(process.execPath)].filter((part) => part !== "").join(delimiter);
}

function readDescription(file: string): LabDescription {
  let text: string;
  try {
    text = asInvoker(true, () => readFileSync(file === "-" ? 0 : file, "utf8"));
  } catch (error) {
    if (error instanceof SynprobeError) throw error;
    throw new SynprobeError(
      ERROR_CODES.lab,
      `cannot read the lab description ${file}: ${whyUnreadable(error)}${/[./]/.test(file) ? "" : `; to run it as a command: synprobe lab -- ${file}`}`,
    );
  }
  return parseDescription(text, file);
}

/**
 * Opens the file before anything runs, so that a mistake is told at once; and once only, with the invoking user's rights: by the
 * end its name may stand for another file.
 */
function openReport(file: string): number {
  return writing(file, () => asInvoker(true, () => openSync(file, "w")));
}

/** Of bursts and outages, this much of the lab's time is told. */
const TOLD_MS = 60_000;

/** One NDJSON line a pair, with the names that -oJ gives the same things. */
function printTruth(description: LabDescription, targets: readonly string[]): void {
  const network = createNetwork(description, { startUs: 0 });
  const services = readServices();
  /** When no packet of the pair arrives, in milliseconds since the start of the lab; nothing where that is never. */
  const awayTimes = (address: Address, port: number): object => {
    const times = network.awayTimes(address, port, TOLD_MS * 1000);
    const away_ms = times.map((ends) => ends.map((us) => Math.round(us) / 1000));
    return away_ms.length === 0 ? {} : { away_ms };
  };
  for (const target of targets) {
    const { host, ports } = parseTargets(target, services);
    if (host.kind === "name" || ports === undefined)
      throw usage(`--truth takes addresses and ports, such as 198.18.0.0/24:22,80, not "${target}"`);
    const spans = host.kind === "range" ? host.spans : [{ first: host.address, last: host.address }];
    for (const { first, last } of spans) {
      for (let address: Address | undefined = first; address; address = nextAddress(address, last)) {
        const ip = formatAddress(address);
        const lines = Array.from(ports, (port) => {
          const { state, router } = network.truth(address, port);
          return JSON.stringify({ type: "result", ip, port, state, ...router, ...awayTimes(address, port) });
        });
        printResult(`${lines.join("\n")}\n`);
      }
    }
  }
}

/** The address after this one; undefined after the last. */
function nextAddress(address: Address, last: Address): Address | undefined {
  if (sameAddress(address, 0, last, 0, last.length)) return undefined;
  const next = address.slice();
  let at = next.length - 1;
  while (at > 0 && next[at] === 255) next[at--] = 0;
  next[at]++;
  return next;
}

/** Ranges of hosts that a shell's greeting names; --check prints all. */
const GREETED = 10;

function banner(description: LabDescription, isShell: boolean): string {
  const lines = summary(description);
  const more = lines.length - GREETED;
  return [
    `a network of its own, from which no packet can leave; you are ${LAB.ipv4} and ${LAB.ipv6}`,
    ...(isShell ? lines.slice(0, GREETED) : []),
    ...(isShell && more > 0 ? [`and ${more} more: synprobe lab --check`] : []),
    ...(isShell ? ['"exit" ends it, and leaves nothing behind'] : []),
  ].join("\n  ");
}

/** One line per range of hosts. */
function summary({ hosts }: LabDescription): string[] {
  const width = Math.max(0, ...hosts.map(({ range }) => range.length));
  return hosts.map((entry) => `${entry.range.padEnd(width)}  ${describeHost(entry, entry.mix?.length ?? 0)}`);
}

function describeHost({ ports = [], rest = "closed", tarpit }: HostDescription, kinds: number): string {
  if (tarpit === true) return "a tarpit: every port answers, and then nothing";
  const rules = ports.map(({ ports: which, share, is, service, banner }) => {
    const part = share === undefined ? "" : ` (${share * 100} %)`;
    const does = banner === undefined ? service : "banner";
    return `${which ?? "any"} ${is}${does === undefined ? "" : ` ${does}`}${part}`;
  });
  const mixed =
    kinds === 0 ? "" : `; some hosts are of ${kinds === 1 ? "another kind" : `${kinds} other kinds`}`;
  return `${[...rules, `the rest ${rest}`].join(", ")}${mixed}`;
}
