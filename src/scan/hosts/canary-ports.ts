/**
 * Which ports canaries may go to: high ports that are seldom served, never one that the user excluded, and one that the user
 * named only where every port is named. Not here: which host gets a canary, and when (control-schedule.ts).
 */
import { MAX_PORT } from "../targets/port-list.ts";

/** Above the ports of most services, below the ephemeral ports of clients. */
const FIRST = 20_000;
const LAST = 32_767;
const FIRST_UNPRIVILEGED = 1024;

/** @returns ports, ascending; none when everything is excluded */
export function canaryPorts(named: Iterable<number>, excluded: Iterable<number> = []): Uint16Array {
  const forbidden = new Set(excluded);
  const avoided = new Set([...named, ...forbidden]);
  for (const [first, last, without] of [
    [FIRST, LAST, avoided],
    [FIRST_UNPRIVILEGED, MAX_PORT, avoided],
    [FIRST, LAST, forbidden],
    [1, MAX_PORT, forbidden],
  ] as const) {
    const ports = Uint16Array.from({ length: last - first + 1 }, (_, i) => first + i).filter(
      (port) => !without.has(port),
    );
    if (ports.length > 0) return ports;
  }
  return new Uint16Array(0);
}
