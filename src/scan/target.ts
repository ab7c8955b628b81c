/**
 * The grammar of targets: `host:port`, `host:22,80,8000-8010`, `[v6]:port`, `[fe80::1%eth0]:port`, `host`, a bare IPv6
 * address; and of list files, one or more targets a line.
 *
 * Pure text to values. Names are not resolved here (runtime/resolve.ts), addresses not judged (runtime/plan.ts).
 */
import { domainToASCII } from "node:url";
import { ERROR_CODES, type ErrorCode, SynprobeError } from "../errors.ts";
import { type Address, parseAddress } from "../wire/address.ts";
import { parsePorts } from "./port-list.ts";
import type { Services } from "./services.ts";

export interface TargetSpec {
  /** As the user wrote it; for messages. */
  readonly text: string;
  /** `file:line` for a target from a list. */
  readonly origin?: string;
  /** A literal address, or a name to resolve. */
  readonly host: LiteralHost | NamedHost;
  /** Ascending, each once; undefined when the target names none. */
  readonly ports?: Uint16Array;
}
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

/**
 * Reads one target.
 * @throws {SynprobeError} `ERR_TARGET_SYNTAX` or `ERR_PORT`, with the origin and the target in its message
 */
export function parseTarget(text: string, services: Services, origin?: string): TargetSpec {
  try {
    const { host, ports } = split(text);
    return {
      text,
      ...(origin === undefined ? {} : { origin }),
      host: parseHost(host),
      ...(ports === undefined ? {} : { ports: parsePorts(ports, services) }),
    };
  } catch (error) {
    if (!(error instanceof SynprobeError)) throw error;
    const where = origin === undefined ? "" : `${origin}: `;
    throw new SynprobeError(error.code, `${where}target "${text}": ${error.message}`);
  }
}

function split(text: string): { host: string; ports?: string } {
  if (text === "") throw syntaxError("it is empty");
  if (text.includes("://")) throw syntaxError("URLs are not targets: write host:port");
  if (text.startsWith("[")) {
    const close = text.indexOf("]");
    if (close < 0) throw syntaxError('the "[" is never closed: write [address]:port');
    const rest = text.slice(close + 1);
    if (rest !== "" && !rest.startsWith(":")) throw syntaxError('after "]" only :port may follow');
    const host = text.slice(1, close);
    if (!host.includes(":")) throw syntaxError("brackets are for IPv6 addresses");
    return rest === "" ? { host } : { host, ports: rest.slice(1) };
  }
  const colon = text.indexOf(":");
  if (colon < 0) return { host: text };
  if (text.indexOf(":", colon + 1) < 0) return { host: text.slice(0, colon), ports: text.slice(colon + 1) };
  return { host: text };
}

function parseHost(text: string): LiteralHost | NamedHost {
  if (text === "") throw syntaxError("the host is missing: write host:port");
  if (text.includes("/")) throw syntaxError("networks are not supported yet: name each host");
  const percent = text.indexOf("%");
  const literal = percent < 0 ? text : text.slice(0, percent);
  const address = parseAddress(literal);
  if (address !== undefined) {
    if (percent < 0) return { kind: "address", address };
    const zone = text.slice(percent + 1);
    if (address.length === 4 || zone === "") throw syntaxError(`"${text}" is not an address with a zone`);
    return { kind: "address", address, zone };
  }
  if (text.includes(":")) {
    throw syntaxError("not an IPv6 address; with a port, write the address in brackets: [address]:port");
  }
  if (/^[0-9]+$/.test(text))
    throw syntaxError(`"${text}" is not an IPv4 address; a port is written behind its host: host:${text}`);
  if (/^[0-9.*-]+-[0-9.*-]*$|^[0-9.]*\*/.test(text))
    throw syntaxError("address ranges are not supported yet: name each host");
  if (/^[0-9.]+$/.test(text)) throw syntaxError(`"${text}" is not an IPv4 address`);
  return { kind: "name", name: parseName(text) };
}

const MAX_NAME_LENGTH = 253;

/** Internationalized names become their ASCII form (RFC 5891); the rest follows RFC 1123 §2.1, and `_` as resolvers do. */
function parseName(text: string): string {
  // The URL rules of domainToASCII would decode or drop these, and read numbers as addresses.
  if (/[\s%\p{C}]/u.test(text)) throw syntaxError(`"${text}" is neither an address nor a host name`);
  const name = domainToASCII(text).replace(/\.$/, "");
  const labels = name.split(".");
  const good = labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
  if (parseAddress(name) !== undefined) throw syntaxError(`"${text}" is not an address: write ${name}`);
  if (!good || name.length > MAX_NAME_LENGTH)
    throw syntaxError(`"${text}" is neither an address nor a host name`);
  return name;
}

/**
 * Reads the targets of a list: separated by white space or line ends, `#` starts a comment. A byte order mark and CRLF are
 * tolerated. Every bad target is reported through `onError` and left out.
 * @param file the list's name, for origins
 */
export function parseTargetList(
  text: string,
  file: string,
  services: Services,
  onError: (error: SynprobeError) => void,
): TargetSpec[] {
  const targets: TargetSpec[] = [];
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/);
  lines.forEach((line, i) => {
    for (const word of line.replace(/#.*$/, "").split(/\s+/)) {
      if (word === "") continue;
      try {
        targets.push(parseTarget(word, services, `${file}:${i + 1}`));
      } catch (error) {
        if (!(error instanceof SynprobeError)) throw error;
        onError(error);
      }
    }
  });
  return targets;
}

const syntaxError = (message: string, code: ErrorCode = ERROR_CODES.targetSyntax): SynprobeError =>
  new SynprobeError(code, message);
