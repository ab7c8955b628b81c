/**
 * The grammar of targets: `host:port`, `host:22,80,8000-8010`, `[v6]:port`, `[fe80::1%eth0]:port`, `host`, a bare IPv6
 * address; a URL for its host and port; and, where more than one address is allowed, networks (`198.18.0.0/15:80`, `[2001:db8::/120]:443`), nmap's octet
 * ranges (`198.18.1-3.*`, `198.18.0-1.1,5,9-12:22`) and dashed ranges (`198.18.0.1-198.18.0.40`).
 *
 * Text to values, nothing else. Resolving names: runtime/system/resolve.ts. Judging addresses: runtime/plan/. List files:
 * runtime/plan/list-file.ts.
 */
import { domainToASCII } from "node:url";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { type Address, formatAddress, parseAddress } from "../../wire/address.ts";
import { type AddressSpan, compareAddresses, networkOf } from "./address-range.ts";
import { parsePorts, shorten } from "./port-list.ts";
import type { Services } from "./services.ts";

/** One word of the user's: a host or hosts, and perhaps ports. */
interface Spec<Host> {
  /** As the user wrote it; for messages. */
  readonly text: string;
  /** `file:line` for a target from a list. */
  readonly origin?: string;
  readonly host: Host;
  /** Ascending, each once; undefined when the target names none. */
  readonly ports?: Uint16Array;
  /** It was a URL, of which only host and port count. */
  readonly isUrl?: true;
}
/** One host: a literal address, or a name to resolve. */
export type TargetSpec = Spec<LiteralHost | NamedHost>;
/** One host or many. */
export type AnyTargetSpec = Spec<LiteralHost | NamedHost | RangeHost>;

export interface LiteralHost {
  readonly kind: "address";
  readonly address: Address;
  /** Interface of a link-local address (RFC 4007 §11). */
  readonly zone?: string;
}
export interface NamedHost {
  readonly kind: "name";
  readonly name: string;
}
export interface RangeHost {
  readonly kind: "range";
  /**
   * Disjoint and ascending, at most 2^20. An octet range generates them anew at each iteration.
   */
  readonly spans: Iterable<AddressSpan>;
}

/**
 * Reads a target that may be a range.
 * @throws {SynprobeError} `ERR_TARGET_SYNTAX` or `ERR_PORT`, with the origin and the target in its message; a PortsApart for ports
 *   without a host
 */
export function parseTargets(text: string, services: Services, origin?: string): AnyTargetSpec {
  return parseSpec(text, services, origin, parseHost);
}

/**
 * Reads a target that is one host.
 * @throws {SynprobeError} as parseTargets does, and `ERR_TARGET_SYNTAX` for a range
 */
export function parseTarget(text: string, services: Services, origin?: string): TargetSpec {
  return parseSpec(text, services, origin, (hostText) => {
    const host = parseHost(hostText);
    if (host.kind === "range") throw syntaxError("a single host is wanted here, not a range of addresses");
    return host;
  });
}

/** Ports, or a range's dash, without a host: then what stands before them is not meant as it is read either. */
export class PortsApart extends SynprobeError {
  constructor(where: string, text: string, apart: string) {
    const what =
      apart === "-"
        ? "it stands alone; a range is written without blanks: address-address"
        : `the host is missing: ports are written behind it, host:${shorten(apart)}`;
    super(ERROR_CODES.targetSyntax, `${where}target "${shorten(text)}": ${what}`);
  }
}

/** `scheme://user@host:port/path?query#fragment` (RFC 3986 §3): the scheme, and host with port. Without a port the scheme's counts. */
const URL_FORM = /^([a-z][a-z0-9+.-]*):\/\/(?:[^/?#]*@)?([^/?#]*)/i;

function parseSpec<Host>(
  text: string,
  services: Services,
  origin: string | undefined,
  parse: (text: string) => Host,
): Spec<Host> {
  const where = origin === undefined ? "" : `${origin}: `;
  const [, apart = text === "-" ? text : undefined] =
    /^:?([,-]*\d{1,5}(?:[,-]+\d{1,5})*[,-]*)$/.exec(text) ?? [];
  if (apart !== undefined) throw new PortsApart(where, text, apart);
  try {
    const [, scheme, authority = text] = URL_FORM.exec(text) ?? [];
    const { host, ports = scheme?.toLowerCase() } = split(authority);
    return {
      text,
      ...(origin === undefined ? {} : { origin }),
      // A URL writes the % of a zone as %25 (RFC 6874 §2).
      host: parse(scheme === undefined ? host : host.replace(/%25(?=.)/, "%")),
      ...(ports === undefined ? {} : { ports: parsePorts(ports, services) }),
      ...(scheme === undefined ? {} : { isUrl: true }),
    };
  } catch (error) {
    if (!(error instanceof SynprobeError)) throw error;
    throw new SynprobeError(error.code, `${where}target "${shorten(text)}": ${error.message}`);
  }
}

function split(text: string): { host: string; ports?: string } {
  if (text === "") throw syntaxError("it is empty");
  if (text.startsWith("[")) {
    const close = text.indexOf("]");
    if (close < 0) throw syntaxError('the "[" is never closed: write [address]:port');
    const host = text.slice(1, close);
    const rest = text.slice(close + 1);
    if (rest.startsWith("/"))
      throw syntaxError("the prefix length belongs inside the brackets: [address/length]:port");
    if (rest !== "" && !rest.startsWith(":")) throw syntaxError('after "]" only :port may follow');
    if (!host.includes(":")) throw syntaxError("brackets are for IPv6 addresses");
    return rest === "" ? { host } : { host, ports: rest.slice(1) };
  }
  const colon = text.indexOf(":");
  if (colon < 0) return { host: text };
  // One colon stands before ports; with more it is an IPv6 address, unless nmap's T: begins the ports.
  if (text.indexOf(":", colon + 1) < 0 || /^:[TUSP]:/.test(text.slice(colon, colon + 3)))
    return { host: text.slice(0, colon), ports: text.slice(colon + 1) };
  return { host: text };
}

function parseHost(text: string): LiteralHost | NamedHost | RangeHost {
  if (text === "") throw syntaxError("the host is missing: write host:port");
  if (text.includes("/")) return parseNetwork(text);
  const percent = text.indexOf("%");
  const literal = percent < 0 ? text : text.slice(0, percent);
  const address = parseAddress(literal);
  if (address !== undefined) {
    if (percent < 0) return { kind: "address", address };
    const zone = text.slice(percent + 1);
    if (/^[^:]+:[^:]*$/.test(zone)) throw bracketsError();
    if (zone.includes(":")) throw zoneError();
    if (address.length === 4 || zone === "")
      throw syntaxError(`${quote(text)} is not an address with a zone`);
    return { kind: "address", address, zone };
  }
  const range = parseDashed(text);
  if (range !== undefined) return range;
  if (text.includes(":")) throw bracketsError();
  if (/^[0-9.]+$/.test(text)) throw syntaxError(`${quote(text)} is not an IPv4 address`);
  if (/^[0-9.,*-]+$/.test(text)) return parseOctets(text);
  return { kind: "name", name: parseName(text) };
}

/** `address/length`; host bits of the address are ignored. */
function parseNetwork(text: string): RangeHost {
  const slash = text.indexOf("/");
  const literal = text.slice(0, slash);
  const length = text.slice(slash + 1);
  if (literal === "") throw syntaxError(`the address before "/" is missing: write address/length`);
  if (text.includes("%")) throw zoneError();
  const address = parseAddress(literal);
  if (address === undefined)
    throw syntaxError(`${quote(literal)} is not an address: a network is written address/length`);
  if (address.length === 16 && length.includes(":"))
    throw syntaxError("with a port, write the network in brackets: [address/length]:port");
  const longest = 8 * address.length;
  if (!/^\d{1,3}$/.test(length) || Number(length) > longest)
    throw syntaxError(
      `the prefix length after "/" is a number from 0 to ${longest}, not ${quote(length)}: write ${literal}/${longest - 8}`,
    );
  return { kind: "range", spans: [networkOf(address, Number(length))] };
}

/** `address-address`; undefined when the text is something else. */
function parseDashed(text: string): RangeHost | undefined {
  const dash = text.indexOf("-");
  if (dash < 0) return undefined;
  const left = text.slice(0, dash);
  const right = text.slice(dash + 1);
  const first = parseAddress(left);
  const last = parseAddress(right);
  if (text.includes("%") && text.includes(":")) throw zoneError();
  if (first === undefined) return undefined;
  if (last === undefined) {
    // 198.18.0.1-40 is an octet range, and 198.18.0.1-a.example may be a name.
    if (first.length === 4 && !/^[0-9]+\.[0-9.]*$/.test(right)) return undefined;
    throw syntaxError(`${quote(right)} is not an address: a range is written address-address`);
  }
  if (first.length !== last.length)
    throw syntaxError("both ends of a range are of the same IP version: write two ranges");
  if (compareAddresses(first, last) > 0)
    throw syntaxError(`the range is reversed: write ${formatAddress(last)}-${formatAddress(first)}`);
  return { kind: "range", spans: [{ first, last }] };
}

/** Most spans of one octet range: beyond that it is a mistake, or better written as networks. */
const MAX_SPANS = 2 ** 20;

/** nmap's ranges: each of the four numbers may be a list of numbers and ranges, or `*`. */
function parseOctets(text: string): RangeHost {
  const [, address, port] = /^(\d+\.\d+\.\d+\.\d+),(\d+)$/.exec(text) ?? [];
  if (Number(port) > 255)
    throw syntaxError(`${port} is not a number from 0 to 255: write ${address}:${port} if it is the port`);
  const fields = text.split(".");
  if (fields.length !== 4) {
    throw syntaxError(
      text.includes(",")
        ? `${quote(text)} is not an IPv4 address or range; separate targets by spaces`
        : `${quote(text)} is not an IPv4 address or range: write four numbers, such as 198.18.1-3.*`,
    );
  }
  const octets = fields.map(parseOctet);
  // A span covers all trailing octets that are whole (0-255), and a run of the one before them.
  let split = 3;
  while (split > 0 && octets[split].length === 256) split--;
  const runs = runsOf(octets[split]);
  const count = octets.slice(0, split).reduce((product, { length }) => product * length, runs.length);
  if (count > MAX_SPANS) {
    throw syntaxError(
      `it makes ${count.toLocaleString("en")} separate ranges, and ${MAX_SPANS.toLocaleString("en")} is the most: name networks, or leave out with --exclude`,
    );
  }
  return {
    kind: "range",
    spans: { [Symbol.iterator]: () => octetSpans(octets.slice(0, split), runs) },
  };
}

function* octetSpans(
  leading: readonly (readonly number[])[],
  runs: readonly (readonly [first: number, last: number])[],
  prefix: readonly number[] = [],
): Generator<AddressSpan> {
  if (prefix.length < leading.length) {
    for (const octet of leading[prefix.length]) yield* octetSpans(leading, runs, [...prefix, octet]);
    return;
  }
  for (const [low, high] of runs) {
    const first = Uint8Array.from({ length: 4 }, (_, i) => prefix[i] ?? 0);
    const last = Uint8Array.from({ length: 4 }, (_, i) => prefix[i] ?? 255);
    first[prefix.length] = low;
    last[prefix.length] = high;
    yield { first, last };
  }
}

/** The numbers of `1,5,9-12` or `*`, ascending, each once. */
function parseOctet(field: string): number[] {
  const wanted = new Set<number>();
  for (const part of field.split(",")) {
    const [first, last] = parseOctetRange(part);
    for (let octet = first; octet <= last; octet++) wanted.add(octet);
  }
  return [...wanted].sort((a, b) => a - b);
}

function parseOctetRange(part: string): [first: number, last: number] {
  if (part === "*") return [0, 255];
  const [low, high = low, ...rest] = part.split("-");
  if (rest.length > 0 || part === "")
    throw syntaxError(`${quote(part)} is not a range of numbers: write 1-40`);
  if (low === "" || high === "")
    throw syntaxError(
      `the range ${part} lacks an end: write ${low === "" ? 0 : low}-${high === "" ? 255 : high}`,
    );
  const [first, last] = [low, high].map((text) => {
    if (!/^(0|[1-9]\d{0,2})$/.test(text) || Number(text) > 255)
      throw syntaxError(`${quote(text)} is not a number from 0 to 255`);
    return Number(text);
  });
  if (first > last) throw syntaxError(`the range ${part} is reversed: write ${last}-${first}`);
  return [first, last];
}

/** Ascending numbers as runs of neighbours. */
function runsOf(numbers: readonly number[]): [first: number, last: number][] {
  const runs: [first: number, last: number][] = [];
  for (const number of numbers) {
    const run = runs[runs.length - 1];
    if (run !== undefined && run[1] === number - 1) run[1] = number;
    else runs.push([number, number]);
  }
  return runs;
}

const MAX_NAME_LENGTH = 253;

/** Internationalized names become their ASCII form (RFC 5891); the rest follows RFC 1123 §2.1, and `_` as resolvers do. */
function parseName(text: string): string {
  // The URL rules of domainToASCII would decode or drop these, and read numbers as addresses.
  if (/[\s%\p{C}]/u.test(text)) throw syntaxError(`${quote(text)} is neither an address nor a host name`);
  const name = domainToASCII(text).replace(/\.$/, "");
  const labels = name.split(".");
  const good = labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
  if (parseAddress(name) !== undefined) throw syntaxError(`${quote(text)} is not an address: write ${name}`);
  if (!good || name.length > MAX_NAME_LENGTH)
    throw syntaxError(`${quote(text)} is neither an address nor a host name`);
  return name;
}

const quote = (text: string): string => `"${shorten(text)}"`;

const zoneError = (): SynprobeError =>
  syntaxError("a range has no zone: leave out what follows the %, and give -e INTERFACE");

const bracketsError = (): SynprobeError =>
  syntaxError("not an IPv6 address; with a port, write the address in brackets: [address]:port");

const syntaxError = (message: string): SynprobeError => new SynprobeError(ERROR_CODES.targetSyntax, message);
