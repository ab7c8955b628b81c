/**
 * The grammar of ports: `22`, `22,80,8000-8010`, `https`, `-` (all), `-1023`, `60000-`, in any mixture.
 *
 * Pure text to numbers; where the services database comes from is runtime/'s business.
 */
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import type { Services } from "./services.ts";

export const MIN_PORT = 1;
export const MAX_PORT = 65_535;

/**
 * @returns the ports, ascending, each once
 * @throws {SynprobeError} `ERR_PORT`, saying which part is wrong
 */
export function parsePorts(text: string, services: Services): Uint16Array {
  const wanted = new Uint8Array(MAX_PORT + 1);
  let count = 0;
  for (const part of text.split(",")) {
    const [first, last] = parsePart(part.trim(), text, services);
    for (let port = first; port <= last; port++) {
      if (wanted[port] === 0) count++;
      wanted[port] = 1;
    }
  }
  const ports = new Uint16Array(count);
  let at = 0;
  for (let port = MIN_PORT; port <= MAX_PORT; port++) if (wanted[port] === 1) ports[at++] = port;
  return ports;
}

function parsePart(part: string, whole: string, services: Services): [first: number, last: number] {
  if (part === "") throw portError(whole === "" ? "no port given" : `"${whole}" has an empty port`);
  if (/^\d+$/.test(part)) {
    const port = parseNumber(part);
    return [port, port];
  }
  const range = /^(\d*)-(\d*)$/.exec(part);
  if (range !== null) {
    const first = range[1] === "" ? MIN_PORT : parseNumber(range[1]);
    const last = range[2] === "" ? MAX_PORT : parseNumber(range[2]);
    if (first > last) throw portError(`the range ${part} is reversed: write ${last}-${first}`);
    return [first, last];
  }
  const port = services.portOf(part);
  if (port === undefined) {
    throw portError(`no TCP service named "${part}" in this system's services database: give its number`);
  }
  return [port, port];
}

function parseNumber(text: string): number {
  const port = Number(text);
  if (port < MIN_PORT || port > MAX_PORT) {
    throw portError(`port ${text} is out of range: ports are ${MIN_PORT} to ${MAX_PORT}`);
  }
  return port;
}

const portError = (message: string): SynprobeError => new SynprobeError(ERROR_CODES.port, message);
