/**
 * `--packet-trace`: each packet sent and received, decoded, one line on standard error.
 */
import { writeSync } from "node:fs";
import type { PacketEvent, PacketObserver } from "../link/tracer.ts";
import { describePacket } from "../wire/describe.ts";

const LABELS: Readonly<Record<PacketEvent, string>> = {
  sent: "SENT",
  refused: "FAIL",
  received: "RCVD",
};

/** Times are seconds since the tracer was made, to the microsecond. */
export function packetTracer(): PacketObserver {
  const start = performance.now();
  return (event, bytes, at, end, ageUs) => {
    const seconds = (performance.now() - start - ageUs / 1000) / 1000;
    try {
      writeSync(2, `${LABELS[event]} (${seconds.toFixed(6)}s) ${describePacket(bytes, at, end)}\n`);
    } catch {
      // Nobody listens.
    }
  };
}
