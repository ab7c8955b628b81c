/**
 * Holds the kernel's own RST back for a range of local ports: one rtnetlink policy rule per IP version that makes packets
 * which the kernel itself sends from those ports unroutable, while raw and packet sockets are untouched.
 *
 *     ip rule add iif lo ipproto tcp sport FIRST-LAST blackhole protocol 83
 *
 * The rule carries a protocol number of our own, by which it is found again. Who owns a range, and whether the owner still
 * lives, is the caller's business (runtime/system/port-lease.ts). Needs CAP_NET_ADMIN. It cannot help where the rule for local
 * addresses comes first: loopback and this machine's own addresses (native-notes/kernel-rst.md).
 */
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import type { PortRange } from "./filter.ts";
import { LITTLE_ENDIAN } from "./sys/libc.ts";
import { familyNumber, IPPROTO_TCP } from "./sys/linux.ts";
import { type Attribute, fromU32, hostU16, netlinkRequest } from "./sys/netlink.ts";
import { FRA, HEADER_LENGTH, RTM } from "./sys/rtnetlink.ts";

const FR_ACT_BLACKHOLE = 6;

/** Where the header has the action. */
const ACTION = 7;
/** Our mark in `rtm_protocol`'s number space (linux/rtnetlink.h: those above 4 are the administrator's to give). */
export const RST_RULE_PROTOCOL = 83;
/** Before the main table's rule, which stands at 32766. */
const PRIORITY = 5300;

/**
 * @returns false when there is one already
 * @throws {SynprobeError} `ERR_PRIVILEGE_ADMIN` without CAP_NET_ADMIN, `ERR_SYSTEM` otherwise
 */
export function addRstRule(family: 4 | 6, ports: PortRange): boolean {
  const answer = netlinkRequest(RTM.newRule, ruleHeader(family), ruleAttributes(ports), "create");
  if (answer.ok) return true;
  if (answer.errno === "EEXIST") return false;
  if (answer.errno === "EPERM") {
    throw new SynprobeError(
      ERROR_CODES.privilegeAdmin,
      "completing handshakes needs CAP_NET_ADMIN, to hold back the kernel's own RST: run as root, or add +net_admin beside +net_raw",
    );
  }
  throw new SynprobeError(
    ERROR_CODES.system,
    `cannot add the rule that holds back the kernel's RST: ${answer.errno}`,
  );
}

/** Removes the rule; one that is gone already is fine. @throws {SynprobeError} `ERR_SYSTEM` */
export function removeRstRule(family: 4 | 6, ports: PortRange): void {
  const answer = netlinkRequest(RTM.deleteRule, ruleHeader(family), ruleAttributes(ports), "delete");
  if (answer.ok || answer.errno === "ENOENT" || answer.errno === "EAFNOSUPPORT") return;
  throw new SynprobeError(
    ERROR_CODES.system,
    `cannot remove the rule that holds back the kernel's RST: ${answer.errno}`,
  );
}

/** What the kernel adds to a rule by itself: the tables' suppressors, and the table. */
const ADDED_BY_KERNEL: readonly number[] = [13, 14, 15];

/**
 * The ranges that rules of ours hold, whichever run added them. A rule with our protocol number that differs from ours in
 * anything is somebody else's: `removeRstRule` would not find it.
 */
export function listRstRules(family: 4 | 6): PortRange[] {
  const header = new Uint8Array(HEADER_LENGTH.rule);
  header[0] = familyNumber(family);
  const answer = netlinkRequest(RTM.getRule, header, [], "dump");
  if (!answer.ok) return [];
  return answer.messages.flatMap(({ body, attributes }) => {
    const found = attributes(HEADER_LENGTH.rule);
    const range = found.get(FRA.sourcePorts);
    if (range === undefined || body[ACTION] !== FR_ACT_BLACKHOLE) return [];
    const ports = { first: hostU16(range), last: hostU16(range, 2) };
    const wanted = new Map(ruleAttributes(ports).map(({ type, value }) => [type, value]));
    const isOurs =
      [...wanted].every(([type, value]) => Buffer.from(value).equals(found.get(type) ?? new Uint8Array())) &&
      [...found.keys()].every((type) => wanted.has(type) || ADDED_BY_KERNEL.includes(type));
    return isOurs ? [ports] : [];
  });
}

function ruleHeader(family: 4 | 6): Uint8Array {
  const header = new Uint8Array(HEADER_LENGTH.rule);
  header[0] = familyNumber(family);
  header[ACTION] = FR_ACT_BLACKHOLE;
  return header;
}

function ruleAttributes({ first, last }: PortRange): Attribute[] {
  const range = new Uint8Array(4);
  const view = new DataView(range.buffer);
  view.setUint16(0, first, LITTLE_ENDIAN);
  view.setUint16(2, last, LITTLE_ENDIAN);
  return [
    { type: FRA.priority, value: fromU32(PRIORITY) },
    { type: FRA.inputInterface, value: new TextEncoder().encode("lo\0") },
    { type: FRA.ipProtocol, value: Uint8Array.of(IPPROTO_TCP) },
    { type: FRA.protocol, value: Uint8Array.of(RST_RULE_PROTOCOL) },
    { type: FRA.sourcePorts, value: range },
  ];
}
