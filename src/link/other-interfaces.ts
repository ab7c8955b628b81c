/**
 * The other interfaces by which answers may come while probes leave as frames of one (packet.ts): on `lo` what this machine tells
 * itself, and answers that come another way than probes leave.
 *
 * Not here: reading what comes.
 * Tested by test/lab/passed-by.test.ts and test/lab/packet.test.ts.
 */
import { readFileSync } from "node:fs";
import { type PortRange, packetFilter } from "./filter.ts";
import { localAddresses, lookUpInterface } from "./route.ts";
import { libc } from "./sys/libc.ts";
import { bindPacketSocket, ignoreOutgoing, openPacketSocket } from "./sys/packet-socket.ts";
import { attachFilter, raiseReceiveBuffer } from "./sys/socket.ts";

/** The most that one filter can name, with room to spare; what comes by further ones is not heard. */
const MOST_INTERFACES = 64;
const ANY_INTERFACE = 0;

/**
 * Those besides the run's own by which answers may come: all that have an address. The parts of a bridge or bond have none, so
 * that nothing is heard twice. Where reverse path filtering is strict the kernel drops them, as it would for raw sockets.
 */
export function otherInterfaces(own: number, versions: readonly (4 | 6)[]): number[] {
  const others = versions.flatMap((version) =>
    localAddresses(version).flatMap(({ interfaceIndex }) =>
      interfaceIndex === own || (version === 4 && filtersStrictly(interfaceIndex)) ? [] : [interfaceIndex],
    ),
  );
  const loopback = lookUpInterface("lo");
  return [...new Set([...(loopback === undefined ? [] : [loopback.index]), ...others])].slice(
    0,
    MOST_INTERFACES,
  );
}

/** The larger of the two settings counts; 1 is strict (RFC 3704). */
function filtersStrictly(interfaceIndex: number): boolean {
  const setting = (name: string): number => {
    try {
      return Number(readFileSync(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, "utf8"));
    } catch {
      return 0;
    }
  };
  return Math.max(setting("all"), setting(lookUpInterface(interfaceIndex)?.name ?? "")) === 1;
}

/**
 * A socket that hears these interfaces. @param ports packets to these are heard
 * @throws {SynprobeError} `ERR_PRIVILEGE`, `ERR_SYSTEM`
 */
export function openOthers(ports: PortRange, others: readonly number[]): number {
  const socket = openPacketSocket("without");
  try {
    attachFilter(socket, packetFilter(ports, others));
    raiseReceiveBuffer(socket);
    ignoreOutgoing(socket);
    // Bound to one, it is not shown what comes by the run's own interface.
    bindPacketSocket(socket, others.length === 1 ? others[0] : ANY_INTERFACE, "hear");
    return socket;
  } catch (error) {
    libc.close(socket);
    throw error;
  }
}
