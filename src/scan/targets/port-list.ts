/**
 * The grammar of ports: `22`, `22,80,8000-8010`, `https`, `-` (all), `-1023`, `60000-`, in any mixture; each may have nmap's
 * `T:` for TCP before it.
 *
 * Text to numbers, nothing else. runtime/ reads the services database.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { Services } from "./services.ts";

export const MIN_PORT = 1;
export const MAX_PORT = 65_535;

/**
 * @returns the ports, ascending, each once
 * @throws {SynprobeError} `ERR_PORT`, saying which part is wrong
 */
export function parsePorts(text: string, services: Services): Uint16Array {
  const ranges = text.split(",").map((part) => parsePart(withoutProtocol(part.trim()), text, services));
  ranges.sort(([a], [b]) => a - b);
  let count = 0;
  let reached = MIN_PORT - 1;
  for (const range of ranges) {
    // Skip the part that earlier ranges have named already.
    range[0] = Math.max(range[0], reached + 1);
    count += Math.max(range[1] - range[0] + 1, 0);
    reached = Math.max(reached, range[1]);
  }
  const ports = new Uint16Array(count);
  let at = 0;
  for (const [first, last] of ranges) for (let port = first; port <= last; port++) ports[at++] = port;
  return ports;
}

/** Removes nmap's `T:`; its other letters (UDP, SCTP, IP protocols) are errors. */
function withoutProtocol(part: string): string {
  const letter = /^([TUSP]):/.exec(part)?.[1];
  if (letter === undefined) return part;
  if (letter !== "T") throw portError(`"${part}" is not for TCP, which is all that is probed: drop it`);
  return part.slice(2);
}

function parsePart(part: string, whole: string, services: Services): [first: number, last: number] {
  if (part === "") throw portError(whole === "" ? "no port given" : `"${shorten(whole)}" has an empty port`);
  if (/^\d+$/.test(part)) {
    const port = parseNumber(part);
    return [port, port];
  }
  const range = /^(\d*)-(\d*)$/.exec(part);
  if (range !== null) {
    if (Number(range[1] || MIN_PORT) === 0 && Number(range[2] || MAX_PORT) > 0)
      throw portError(`the range ${shorten(part)} begins with port 0, which is none: write 1-${range[2]}`);
    const first = range[1] === "" ? MIN_PORT : parseNumber(range[1]);
    const last = range[2] === "" ? MAX_PORT : parseNumber(range[2]);
    if (first > last) throw portError(`the range ${shorten(part)} is reversed: write ${last}-${first}`);
    return [first, last];
  }
  const port = services.portOf(part);
  if (port === undefined) {
    if (/[*?[\]]/.test(part))
      throw portError(
        `"${shorten(part)}" is one of nmap's patterns: name the ports, or take the most often open with --top-ports N`,
      );
    throw portError(
      `no TCP service named "${shorten(part)}" in this system's services database: give its number`,
    );
  }
  return [port, port];
}

function parseNumber(text: string): number {
  const port = Number(text);
  if (port < MIN_PORT || port > MAX_PORT) {
    throw portError(`port ${shorten(text)} is out of range: ports are ${MIN_PORT} to ${MAX_PORT}`);
  }
  return port;
}

/** A text for a message; a very long one is cut. */
export const shorten = (text: string): string => (text.length > 300 ? `${text.slice(0, 60)}…` : text);

const portError = (message: string): SynprobeError => new SynprobeError(ERROR_CODES.port, message);
