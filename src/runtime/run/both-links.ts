/**
 * Both links of a large run whose choice is this program's: opened for the few pairs that are probed through each before it
 * (compare-links.ts), by ports that the run over raw would have for control SYNs.
 *
 * Not here: when links are compared, and what follows (scan.ts).
 * Tested by test/lab/passed-by.test.ts.
 */
import type { PortRange } from "../../link/filter.ts";
import type { Link } from "../../link/link.ts";
import { attachPacket, closePacket, openPacketSockets } from "../../link/packet.ts";
import { openRawIp } from "../../link/raw-ip.ts";
import { partControlPorts } from "../../socket/ports.ts";
import { waysOf } from "../plan/paths.ts";
import { compareLinks, drawPairs } from "./compare-links.ts";
import { type Comparison, chooseMeans, type Means, portsOf } from "./means.ts";
import type { ScanContext } from "./running-scan.ts";
import { timestampOf } from "./scan-options.ts";
import { warmThread } from "./thread-pool.ts";

/** Bytes of their ring, for a few answers. */
const COMPARED_RING = 1 << 20;

export interface BothLinks {
  readonly rawMeans: Means;
  readonly rawLink: Link;
  /** Probes the pairs. When it has, the raw link is the caller's to close. */
  compare(): Promise<Comparison>;
  /** Unless it has. */
  close(): void;
}

/** Needs CAP_NET_RAW. @throws {SynprobeError} as openRawIp and openPacketSockets do */
export async function openBothLinks({ plan, options, means }: ScanContext): Promise<BothLinks> {
  const rawMeans = chooseMeans(plan, { ...options, link: "raw" });
  // The run's own packet sockets are not to hear of it.
  const quarters = portQuarters(rawMeans.ports);
  const rawLink = openRawIp({ ...waysOf(plan), ports: rawMeans.ports });
  const opens = [rawLink.close];
  const close = (): void => {
    for (const each of opens.splice(0)) each();
  };
  try {
    const handles = await openPacketSockets({
      interfaceName: means.interfaceName ?? "",
      ports: { ...quarters[2], last: quarters[3].last },
      routes: plan.hops,
      ringSize: COMPARED_RING,
    });
    opens.push(() => closePacket(handles));
    return {
      rawMeans,
      rawLink,
      compare: async () => {
        // It starts while answers are waited for.
        if (means.senders) warmThread("sender");
        const packetLink = attachPacket(handles);
        opens.splice(1, 1, packetLink.close);
        const compared = {
          pairs: drawPairs(plan, options.order),
          paths: plan.paths,
          timestamp: timestampOf(options),
          maxRate: options.rate.maximum,
        };
        const found = await compareLinks(compared, (time) => ({
          raw: { link: rawLink, ports: quarters[time] },
          packet: { link: packetLink, ports: quarters[2 + time] },
        }));
        packetLink.close();
        opens.length = 0;
        return found;
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Of the ports that a run over raw has for control SYNs: for each comparison and link a quarter. */
function portQuarters(ports: PortRange): PortRange[] {
  const { controlPorts = ports } = partControlPorts(ports);
  return [0, 1, 2, 3].map((i) => portsOf(controlPorts, { index: i, count: 4 }));
}
