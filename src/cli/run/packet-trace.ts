/**
 * `--packet-trace`: each packet sent and received, decoded, one line on standard error.
 */
import type { PacketEvent, PacketObserver } from "../../link/tracer.ts";
import { nowMs } from "../../runtime/system/clock.ts";
import { describePacket } from "../../wire/describe.ts";
import { writeError } from "./terminal.ts";

const LABELS: Readonly<Record<PacketEvent, string>> = { sent: "SENT", refused: "FAIL", received: "RCVD" };

/**
 * Times are seconds since the tracer was made, to the microsecond. Packets are described after the current turn of the
 * event loop, so that describing them does not lengthen their round trips.
 */
export function packetTracer(): PacketObserver {
  const start = nowMs();
  const pending: { event: PacketEvent; packet: Uint8Array; seconds: number }[] = [];
  const flush = (): void => {
    const lines = pending.splice(0).map(({ event, packet, seconds }) => {
      return `${LABELS[event]} (${seconds.toFixed(6)}s) ${describePacket(packet, 0, packet.length)}\n`;
    });
    writeError(lines.join(""));
  };
  return (event, bytes, at, end, ageUs) => {
    const seconds = (nowMs() - start - ageUs / 1000) / 1000;
    if (pending.push({ event, packet: bytes.slice(at, end), seconds }) === 1) queueMicrotask(flush);
  };
}
