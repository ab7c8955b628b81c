/**
 * `connect`, the library's active open: from what the caller wrote to an established connection.
 *
 * Importing this file loads no native code; calling `connect` does. Not here: the stack that all connections of the process
 * share (user-space-tcp.ts, process-stack.ts).
 */
import { ERROR_CODES, type ErrorCode, SynprobeError } from "../../errors.ts";
import { MSS } from "../../scan/probe/syn-template.ts";
import type { TargetSpec } from "../../scan/targets/grammar.ts";
import { formatAddress, formatEndpoint } from "../../wire/address.ts";
import type { OnlyPair, Plan } from "../plan/plan.ts";
import { checkShared, oneTarget, orAborted, SHARED_OPTIONS, wholeNumber } from "../system/arguments.ts";
import { checkPlatform } from "../system/platform.ts";
import type { Connection } from "./connection.ts";
import type { Binding } from "./shared-links.ts";

export interface ConnectOptions {
  /** A name, or an IP address as text, with a zone where a link-local one needs it: `fe80::1%eth0`. */
  readonly host: string;
  /** 1 to 65,535. */
  readonly port: number;
  /** How long the handshake may take, from the first SYN, in milliseconds; 10,000 by default. */
  readonly timeoutMs?: number;
  /** Only addresses of this IP version. */
  readonly family?: 4 | 6;
  /** Source address, one of this machine's. */
  readonly sourceIp?: string;
  /** Interface to send and receive through. */
  readonly interface?: string;
  /** TTL or hop limit of what is sent, 1 to 255; 64 by default. */
  readonly ttl?: number;
  /** Bytes of the send and of the receive buffer, 1,024 to 65,535, the default. */
  readonly bufferLength?: number;
  /** Ends the attempt; a connection that is open no longer heeds it. */
  readonly signal?: AbortSignal;
}

const NAMES: readonly string[] = [...SHARED_OPTIONS, "host", "port", "timeoutMs", "ttl", "bufferLength"];
const DEFAULTS = { timeoutMs: 10_000, ttl: 64, bufferLength: 65_535 } as const;
/** setTimeout's limit. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Opens a TCP connection in user space: SYN, SYN-ACK, ACK over raw sockets. Needs CAP_NET_RAW, and CAP_NET_ADMIN as long as a
 * connection is open: the kernel's own RST must be held back by a routing rule for 512 source ports. All connections of the
 * process share that rule, the ports and the sockets; they go when the last connection has gone, or the process ends.
 *
 * Of a name's addresses only the first is tried, or the first of `family`: whoever wants the next one names it.
 *
 * While a connection is open the process stays alive. It also watches SIGINT, SIGTERM and SIGHUP, to take the rule away before
 * they end the process; a program that has listeners of its own decides itself, as without this library.
 *
 * @throws {SynprobeError} whose `cause` says more of the first three: `ERR_REFUSED` (RST), `ERR_TIMED_OUT` (no answer),
 *   `ERR_UNREACHABLE` (ICMP); and `ERR_OWN_ADDRESS`, `ERR_USAGE`, `ERR_PORT`, `ERR_TARGET_SYNTAX`, `ERR_UNKNOWN_HOST`,
 *   `ERR_NO_ADDRESS`, `ERR_NOT_UNICAST`, `ERR_NO_ROUTE`, `ERR_NO_INTERFACE`, `ERR_INTERFACE_DOWN`, `ERR_NO_SOURCE`,
 *   `ERR_PRIVILEGE`, `ERR_PRIVILEGE_ADMIN`, `ERR_PLATFORM`, `ERR_SYSTEM`. The signal's reason, when that ends the attempt.
 */
export async function connect(options: ConnectOptions): Promise<Connection> {
  checkPlatform();
  if (typeof options !== "object" || options === null) {
    throw new SynprobeError(ERROR_CODES.usage, "connect takes an object: { host, port, … }");
  }
  checkShared(options, NAMES);
  const { signal } = options;
  const timeoutMs = wholeNumber("timeoutMs", options.timeoutMs ?? DEFAULTS.timeoutMs, 1, LONGEST_TIMEOUT_MS);
  const bufferLength = wholeNumber(
    "bufferLength",
    options.bufferLength ?? DEFAULTS.bufferLength,
    1024,
    65_535,
  );
  const ttl = wholeNumber("ttl", options.ttl ?? DEFAULTS.ttl, 1, 255);
  const spec = oneTarget(options.host, options.port);
  signal?.throwIfAborted();
  const plan = await orAborted(makePlan(spec, options, ttl), signal);
  const { address: peer, path } = plan.pair;
  const ip = formatAddress(peer);
  const [name] = plan.namesOf(ip, options.port);
  const where = formatEndpoint(ip, options.port);
  const label = name === undefined ? where : `${name} (${where})`;
  if (path.toSelf === true) {
    throw new SynprobeError(
      ERROR_CODES.ownAddress,
      `${label} is this machine itself, where the kernel's own RST cannot be held back and would end the connection: use node:net`,
    );
  }
  const { openConnection } = await import("./process-stack.ts");
  const family = peer.length === 4 ? 4 : 6;
  const opening = openConnection(bindingOf(plan, family), {
    label,
    local: path.local,
    peer,
    peerPort: options.port,
    ttl,
    mss: path.mss ?? MSS[family],
    bufferLength,
    timeoutMs,
    ...(signal === undefined ? {} : { signal }),
  });
  return opening.catch((error: unknown) => {
    if (!(error instanceof SynprobeError) || error.code !== ERROR_CODES.privilege) throw error;
    const advice = "connect needs root, or the capabilities CAP_NET_RAW and CAP_NET_ADMIN";
    throw new SynprobeError(error.code, `${error.message}: ${advice}`, { cause: error });
  });
}

/** The plan for one pair. */
type PairPlan = Plan & { readonly pair: OnlyPair };

async function makePlan(spec: TargetSpec, options: ConnectOptions, ttl: number): Promise<PairPlan> {
  const planning = await import("../plan/plan.ts");
  const plan = await planning.makePlan([spec], {
    ...(options.family === undefined ? {} : { family: options.family }),
    ...(options.interface === undefined ? {} : { interfaceName: options.interface }),
    ...(options.sourceIp === undefined ? {} : { sourceIp: options.sourceIp }),
    allAddresses: false,
    ttl,
  });
  const [fault] = plan.faults;
  if (fault !== undefined) throw new SynprobeError(fault.code as ErrorCode, fault.message);
  const pair = planning.onlyPair(plan);
  if (pair === undefined) throw new RangeError("a plan without a pair");
  return { ...plan, pair };
}

/** A stretch of one address has one hop. */
function bindingOf({ hops, interfaceName, scope, source }: Plan, family: 4 | 6): Binding {
  const [{ pinned, interfaceIndex }] = hops;
  return {
    family,
    ...(pinned === undefined ? {} : { through: interfaceIndex }),
    ...(interfaceName === undefined ? {} : { interfaceName }),
    ...(scope === undefined ? {} : { scope }),
    ...(source === undefined ? {} : { source }),
  };
}
