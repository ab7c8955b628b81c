/**
 * Which ports canaries may go to: high ports that are seldom served, never one that the user excluded, and one that the user
 * named only where every port is named. Not here: which host gets a canary, and when (control-schedule.ts).
 */
import { MAX_PORT } from "../targets/port-list.ts";

/** Above the ports of most services, below the ephemeral ports of clients. */
const FIRST = 20_000;
const LAST = 32_767;
const FIRST_UNPRIVILEGED = 1024;

/**
 * @param markNamed writes 1 for each further port that is named: a list of all ports took 7 ms
 * @returns ports, ascending; none when everything is excluded
 */
export function canaryPorts(
  named: Iterable<number>,
  excluded: Iterable<number> = [],
  markNamed?: (marks: Uint8Array) => void,
): Uint16Array {
  const forbidden = marksOf(excluded);
  const avoided = marksOf(named, forbidden);
  markNamed?.(avoided);
  for (const [first, last, without] of [
    [FIRST, LAST, avoided],
    [FIRST_UNPRIVILEGED, MAX_PORT, avoided],
    [FIRST, LAST, forbidden],
    [1, MAX_PORT, forbidden],
  ] as const) {
    const ports = new Uint16Array(last - first + 1);
    let count = 0;
    for (let port = first; port <= last; port++) if (without[port] === 0) ports[count++] = port;
    if (count > 0) return ports.slice(0, count);
  }
  return new Uint16Array(0);
}

/** 1 at each of the ports, and where `others` has it. Every start passes here: a set and closures took 2 ms of it. */
function marksOf(ports: Iterable<number>, others?: Uint8Array): Uint8Array {
  const marks = new Uint8Array(MAX_PORT + 1);
  if (others !== undefined) marks.set(others);
  for (const port of ports) marks[port] = 1;
  return marks;
}
