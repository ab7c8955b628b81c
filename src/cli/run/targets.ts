/**
 * The targets of the command line and the list, read, parsed and planned. A bad target becomes a fault and the others are
 * still probed, unless --strict is given.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { count } from "../../report/figures.ts";
import { openList, readList } from "../../runtime/plan/list-file.ts";
import { createPlanner, type Plan, type Planner, type PlanOptions } from "../../runtime/plan/plan.ts";
import { asInvoker } from "../../runtime/system/invoker.ts";
import { widenLookups } from "../../runtime/system/system.ts";
import type { TargetFault } from "../../scan/probe/result.ts";
import { type AnyTargetSpec, PortsApart, parseTargets } from "../../scan/targets/grammar.ts";
import type { Services } from "../../scan/targets/services.ts";
import { topPorts } from "../../scan/targets/top-ports.ts";
import { formatAddress } from "../../wire/address.ts";
import { loadApart } from "../apart.ts";
import { portsOf } from "../options/arguments.ts";
import { type ProbeOptions, usage } from "../options/table.ts";
import type { Purpose } from "./context.ts";

/** Ports of targets that name none, where no option does: as many as nmap's. */
export const DEFAULT_TOP_PORTS = 1000;

/** Names that are looked up for longer than this do not keep the other targets waiting, in milliseconds. */
const PATIENCE_MS = 300;
/** Time after which it is told that names are looked up, in milliseconds. */
const LOOKING_UP_MS = 1000;

/** A plan, and the number of bad targets without a fault of their own. */
export interface PlannedTargets {
  readonly plan: Plan;
  readonly untold: number;
}

/**
 * @param note tells that names are looked up; without it all of them are waited for
 * @param resumed of a journal's run: what has been excluded of it
 * @throws {SynprobeError} `ERR_NO_TARGETS`, `ERR_LIST_FILE`, `ERR_USAGE`, and what the planner throws; under --strict the first
 *   bad target's error
 */
export async function planTargets(
  words: readonly string[],
  options: ProbeOptions,
  services: Services,
  purpose?: Pick<Purpose, "addTargets">,
  note?: (message: string) => void,
  resumed?: PlanOptions["resumed"],
): Promise<PlannedTargets> {
  const { inputList, inputResults, excludeFile } = options;
  const hasOwn = purpose?.addTargets !== undefined;
  if (words.length === 0 && inputList === undefined && inputResults === undefined && !hasOwn) {
    throw new SynprobeError(ERROR_CODES.noTargets, "no target given: write host:port, or -iL FILE");
  }
  if ([inputList, inputResults, ...(excludeFile ?? [])].filter((file) => file === "-").length > 1)
    throw usage("standard input (-) can be read only once");
  // One or two names do without.
  if (words.length > 2 || inputList !== undefined || hasOwn) widenLookups();
  const planner = createPlanner({
    ...(await planOptions(options, services)),
    ...(resumed === undefined ? {} : { resumed }),
    ...(purpose === undefined && note !== undefined && mayFollow(options) ? { patienceMs: PATIENCE_MS } : {}),
  });
  const faults: TargetFault[] = [];
  const fault = (target: string, error: SynprobeError): void => {
    // "host 22" is no wish for the usual thousand ports, nor zmap's "-r 100" one for any rate.
    if (options.strict === true || error instanceof PortsApart) throw error;
    faults.push({ target, code: error.code, message: error.message });
  };
  for (const word of words) {
    try {
      planner.add(parseTargets(word, services));
    } catch (error) {
      if (!(error instanceof SynprobeError)) throw error;
      fault(word, error);
    }
  }
  const untold = inputList === undefined ? 0 : await addList(inputList, planner, options, services, fault);
  if (inputResults !== undefined)
    await loadApart<typeof import("./earlier-results.ts")>("earlier-results").addResults(
      inputResults,
      planner,
      options,
    );
  purpose?.addTargets?.(planner);
  const tell = (): void => {
    if (planner.unresolved() > 0) note?.(`looking up ${count(planner.unresolved(), "name")}`);
  };
  setTimeout(tell, LOOKING_UP_MS).unref();
  const first = await planner.finish();
  const plan = await withHints(words, { ...first, faults: [...faults, ...first.faults] });
  const { faults: all } = plan;
  if (options.strict === true && all.length > 0) {
    throw new SynprobeError(all[0].code as SynprobeError["code"], all[0].message);
  }
  return { plan, untold };
}

/**
 * Whether targets may be probed while names are looked up. Not where all of them have to be known: for a number of each pair that
 * another run shares, or because something depends on every one.
 */
const mayFollow = ({ dryRun, fleet, journal, resume, shard, strict, why }: ProbeOptions): boolean =>
  [dryRun, fleet, journal, resume, shard, strict, why].every((each) => each === undefined || each === false);

/** The plan, and those that follow it. */
async function withHints(words: readonly string[], plan: Plan): Promise<Plan> {
  const { pending } = plan;
  const next = async (): Promise<Plan> => withHints(words, (await pending?.next()) ?? plan);
  return {
    ...plan,
    faults: await hintAtCommand(words, plan.faults),
    ...(pending === undefined ? {} : { pending: { ...pending, next } }),
  };
}

/** A first word that is not a host may be a misspelt command: its fault says so. */
async function hintAtCommand(
  [first]: readonly string[],
  faults: readonly TargetFault[],
): Promise<readonly TargetFault[]> {
  if (faults.length === 0 || first === undefined) return faults;
  const hint = (await import("../options/unknown-option.ts")).commandMeantBy(first);
  return faults.map((fault) =>
    fault.target === first ? { ...fault, message: `${fault.message}${hint}` } : fault,
  );
}

/** @returns the number of bad targets that were not reported one by one */
async function addList(
  file: string,
  planner: Planner,
  options: ProbeOptions,
  services: Services,
  fault: (target: string, error: SynprobeError) => void,
): Promise<number> {
  const source = asInvoker(options.drop, () => openList(file));
  let told = 0;
  const { targets, faults } = await readList(source, services, {
    ipv4: (address, port, line) => planner.addIpv4(address, port, source.name, line),
    target: (spec) => planner.add(spec),
    fault: (error) => {
      told++;
      fault(error.message.split(": ", 1)[0], error);
    },
  });
  if (targets + faults === 0) {
    throw new SynprobeError(
      ERROR_CODES.noTargets,
      file === "-"
        ? "no target given: write host:port, or -iL FILE; standard input names none"
        : `the list ${file} names no target: one host:port a line`,
    );
  }
  return faults - told;
}

/** Which way the packets go. @throws {SynprobeError} `ERR_USAGE` */
export function wayOptions(
  options: Pick<ProbeOptions, "ipv4" | "ipv6" | "interface" | "sourceIp" | "ttl">,
): Pick<PlanOptions, "family" | "interfaceName" | "sourceIp" | "ttl"> {
  const { ipv4, ipv6, interface: interfaceName, sourceIp, ttl } = options;
  if (ipv4 === true && ipv6 === true) throw usage("-4 and -6 exclude each other");
  return {
    ...(ipv4 === true ? { family: 4 } : ipv6 === true ? { family: 6 } : {}),
    ...(interfaceName === undefined ? {} : { interfaceName }),
    ...(sourceIp === undefined ? {} : { sourceIp }),
    ttl,
  };
}

/** Of SYNs to one host: most a second. */
export const ratePerHost = ({
  maxRate = Number.POSITIVE_INFINITY,
  maxRatePerHost = Number.POSITIVE_INFINITY,
  maxRatePerPrefix = Number.POSITIVE_INFINITY,
}: Pick<ProbeOptions, "maxRate" | "maxRatePerHost" | "maxRatePerPrefix">): number =>
  Math.min(maxRate, maxRatePerHost, maxRatePerPrefix);

/** Options that leave something out, whoever names it. */
export type ExcludingOptions = Pick<ProbeOptions, "exclude" | "excludeFile" | "excludePorts" | "drop">;

/** What must not be probed. @throws {SynprobeError} `ERR_USAGE`, `ERR_LIST_FILE`, `ERR_PORT`: a mistake here is always an error */
export async function excludeOptions(
  options: ExcludingOptions,
  services: Services,
): Promise<Pick<PlanOptions, "exclude" | "excludePorts">> {
  const exclude = await readExcludes(options, services);
  return {
    ...(exclude.length === 0 ? {} : { exclude }),
    ...(options.excludePorts === undefined
      ? {}
      : { excludePorts: portsOf("--exclude-ports", options.excludePorts, services) }),
  };
}

/** @throws {SynprobeError} `ERR_NO_TARGETS` */
export function refuseEmpty({ space, faults }: Plan): void {
  if (space.total > 0 || faults.length > 0) return;
  throw new SynprobeError(
    ERROR_CODES.noTargets,
    "nothing is left to probe: every target or port is excluded",
  );
}

async function planOptions(options: ProbeOptions, services: Services): Promise<PlanOptions> {
  if (options.ports !== undefined && options.topPorts !== undefined) {
    throw usage("-p and --top-ports exclude each other");
  }
  const given = options.ports === undefined ? undefined : portsOf("-p", options.ports, services);
  return {
    ports: () => given ?? topPorts(options.topPorts ?? DEFAULT_TOP_PORTS),
    ...wayOptions(options),
    allAddresses: options.allAddresses === true,
    ...(options.fleet === undefined ? {} : { isElsewhere: true }),
    ...(await excludeOptions(options, services)),
  };
}

async function readExcludes(options: ExcludingOptions, services: Services): Promise<AnyTargetSpec[]> {
  const specs: AnyTargetSpec[] = [];
  const add = (spec: AnyTargetSpec): void => {
    if (spec.ports !== undefined) {
      throw usage(`"${spec.text}" cannot be excluded: hosts go to --exclude, ports to --exclude-ports`);
    }
    specs.push(spec);
  };
  for (const text of options.exclude ?? []) {
    if (/^\d+$/.test(text)) throw usage(`"${text}" is no host: ports are left out with --exclude-ports`);
    add(parseTargets(text, services, "--exclude"));
  }
  for (const file of options.excludeFile ?? []) {
    const source = asInvoker(options.drop, () => openList(file));
    const lines = createLineCheck();
    await readList(source, services, {
      ipv4: (address, port, line) => {
        const spec: AnyTargetSpec = {
          text: `${source.name}:${line}`,
          origin: `${source.name}:${line}`,
          host: {
            kind: "address",
            address: Uint8Array.of(address >>> 24, address >>> 16, address >>> 8, address),
          },
          ...(port === 0 ? {} : { ports: Uint16Array.of(port) }),
        };
        add(spec);
        lines.take(spec);
      },
      target: (spec) => {
        add(spec);
        lines.take(spec);
      },
      fault: (error) => {
        throw error;
      },
    });
    lines.end();
  }
  return specs;
}

/**
 * Refuses a line that is two addresses and nothing else. Some lists write a range like that, and read as two hosts it would leave
 * everything between them to be probed.
 */
function createLineCheck(): { take(spec: AnyTargetSpec): void; end(): void } {
  let line: AnyTargetSpec[] = [];
  const end = (): void => {
    const addresses = line.flatMap(({ host }) =>
      host.kind === "address" ? [formatAddress(host.address)] : [],
    );
    if (line.length === 2 && addresses.length === 2) {
      const [first, last] = addresses;
      throw usage(
        `${line[0].origin}: two addresses on a line are not a range: write ${first}-${last}, or each on a line of its own`,
      );
    }
    line = [];
  };
  return {
    take: (spec) => {
      if (line.length > 0 && line[0].origin !== spec.origin) end();
      line.push(spec);
    },
    end,
  };
}
