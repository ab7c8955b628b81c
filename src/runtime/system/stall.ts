/**
 * When sending is given up: the kernel has had no room for a packet for so long that it will have none, and what is most often why.
 * Of scans (runtime/run) and walks (runtime/path).
 * Tested by test/runtime/system/stall.test.ts.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";

/** Sending is given up after it has been impossible for this long, in microseconds. */
export const LONGEST_STALL_US = 30e6;

const NO_ROOM =
  "on this machine's own networks that is most often its full table of neighbours: raise net.ipv4.neigh.default.gc_thresh3 " +
  '(IPv6: net.ipv6…), see "synprobe doctor"; else "tc -s qdisc" shows a full queue, and "nft list ruleset" a chain at egress that drops';
const STALL_ADVICE: Readonly<Record<string, string>> = {
  ENOBUFS: NO_ROOM,
  EINVAL: NO_ROOM,
  ENETUNREACH: 'its route is gone: "ip route" and "ip link" show what is left',
};

/** @param errno what the kernel has said all that time */
export const stalled = (errno: string): SynprobeError =>
  new SynprobeError(
    ERROR_CODES.interfaceDown,
    `nothing can be sent any more: for 30 s the kernel has said ${errno}; ${STALL_ADVICE[errno] ?? '"ip link" shows whether the interface is up'}`,
  );
