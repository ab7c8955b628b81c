/**
 * `path` of the library: where on the way to a host the SYNs of its ports stop. The same rules as for `scan` hold (library.ts):
 * importing loads no native code, a call drops no privileges and prints nothing.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { PathReport } from "../path/report.ts";
import { checkShared, oneTarget, orAborted, SHARED_OPTIONS, wholeNumber } from "../system/arguments.ts";
import { checkPlatform } from "../system/platform.ts";
import { atThreadEnd } from "../system/thread-end.ts";
import { BOUNDS, PATH_DEFAULTS } from "./option-bounds.ts";

/** All may be left out. */
export interface PathOptions {
  /** A port that is known to answer, to compare with; by default common ports are tried where none of those asked for answers. */
  readonly reference?: number;
  /** Source ports walked of each port, 1 to 64, 64 over all ports; 1 by default. With more, what each flow loses is counted. */
  readonly flows?: number;
  /** Highest TTL sent, 1 to 63; 30 by default. */
  readonly maxHops?: number;
  /** SYNs of each flow and TTL while none is answered, 1 to 10; 3 by default. */
  readonly tries?: number;
  /** Most SYNs per second, 1 to 10,000,000; 200 by default. */
  readonly maxRate?: number;
  /** Raw IP sockets (default), or Ethernet frames, which pass by this machine's firewall. */
  readonly link?: "raw" | "packet";
  /** Which of a name's addresses to use: of IPv4 or of IPv6. */
  readonly family?: 4 | 6;
  /** Send and receive through this interface only. */
  readonly interface?: string;
  /** Source address, one of this machine's. */
  readonly sourceIp?: string;
  /** Look up the names of routers, as the system does. */
  readonly names?: boolean;
  /** Ends the walk; the promise rejects with its reason. */
  readonly signal?: AbortSignal;
}

const NUMBERS = ["flows", "maxHops", "tries", "maxRate"] as const;
const NAMES: readonly string[] = [...NUMBERS, ...SHARED_OPTIONS, "reference", "link", "names"];
const MOST_PORTS = 16;
const MOST_FLOWS = 64;

/**
 * Finds where on the way to a host the SYNs of its ports stop, by SYNs with rising TTL: at which hop they are dropped, which
 * router rejects them, whether a box answers in the host's name, and how sure that is. It needs CAP_NET_RAW.
 *
 * @param host a name, whose first address counts, or an IP address as text, with a zone where a link-local one needs it
 * @param ports 1 to 16 of them
 * @throws {SynprobeError} `ERR_USAGE`, `ERR_PORT`, `ERR_TARGET_SYNTAX`, `ERR_UNKNOWN_HOST`, `ERR_NO_ADDRESS`, `ERR_NOT_UNICAST`,
 *   `ERR_NO_ROUTE`, `ERR_NO_INTERFACE`, `ERR_INTERFACE_DOWN`, `ERR_NO_SOURCE`, `ERR_PRIVILEGE`, `ERR_PLATFORM`, `ERR_SYSTEM`; the
 *   signal's reason, after an abort. A port that is closed, filtered or silent is a result
 */
export async function path(
  host: string,
  ports: number | readonly number[],
  options: PathOptions = {},
): Promise<PathReport> {
  checkPlatform();
  checkOptions(options);
  const list = [ports].flat();
  if (list.length === 0 || list.length > MOST_PORTS)
    throw usage(`ports are 1 to ${MOST_PORTS}, not ${list.length}`);
  const {
    reference,
    link = "raw",
    names,
    family,
    interface: interfaceName,
    sourceIp,
    signal,
    flows = PATH_DEFAULTS.flows,
    maxHops = PATH_DEFAULTS.maxHops,
    tries = PATH_DEFAULTS.tries,
    maxRate: rate = PATH_DEFAULTS.maxRate,
  } = options;
  if (list.length * flows > MOST_FLOWS) throw usage(`flows of all ports are at most ${MOST_FLOWS}`);
  signal?.throwIfAborted();
  const [spec] = list.map((port) => oneTarget(host, port));
  // What loads native code is loaded now.
  const { makePlan } = await import("../plan/plan.ts");
  const { openPath } = await import("../path/path.ts");
  const { pathReport } = await import("../path/report.ts");
  const planned = makePlan([{ ...spec, ports: Uint16Array.from(new Set(list)).sort() }], {
    allAddresses: false,
    ttl: maxHops,
    ...(family === undefined ? {} : { family }),
    ...(interfaceName === undefined ? {} : { interfaceName }),
    ...(sourceIp === undefined ? {} : { sourceIp }),
  });
  const plan = await orAborted(planned, signal);
  const [fault] = plan.faults;
  if (fault !== undefined) throw new SynprobeError(fault.code as SynprobeError["code"], fault.message);
  const opened = await open(() =>
    openPath(plan, { flows, maxHops, tries, rate, link, ...(reference === undefined ? {} : { reference }) }),
  );
  const running = opened.run();
  const forget = atThreadEnd(() => opened.close());
  try {
    const result = await orAborted(running.finished, signal);
    const failure = running.failure();
    if (failure !== undefined) throw failure;
    const report = pathReport(result, new Map());
    if (names !== true) return report;
    const { namesOf } = await import("../path/names.ts");
    const addresses = report.hops.flatMap(({ routers }) => routers.map(({ ip }) => ip));
    return pathReport(result, await orAborted(namesOf(addresses), signal));
  } finally {
    forget();
    running.stop();
    opened.close();
  }
}

async function open<T>(openSockets: () => Promise<T>): Promise<T> {
  try {
    return await openSockets();
  } catch (error) {
    if (!(error instanceof SynprobeError) || error.code !== ERROR_CODES.privilege) throw error;
    throw new SynprobeError(error.code, `${error.message}: path needs root, or the capability CAP_NET_RAW`, {
      cause: error,
    });
  }
}

const usage = (message: string): SynprobeError => new SynprobeError(ERROR_CODES.usage, message);

function checkOptions(options: PathOptions): void {
  if (typeof options !== "object" || options === null) throw usage("options are an object");
  checkShared(options, NAMES);
  const { reference, link, names } = options;
  for (const name of NUMBERS) {
    const value = options[name];
    if (value !== undefined) wholeNumber(name, value, BOUNDS[name][0], BOUNDS[name][1]);
  }
  if (reference !== undefined) wholeNumber("reference", reference, 1, 65_535);
  if (link !== undefined && link !== "raw" && link !== "packet") throw usage('link is "raw" or "packet"');
  if (names !== undefined && typeof names !== "boolean") throw usage("names is true or false");
}
