/**
 * Where the kernel's routing decisions may change from one address to the next: the bounds of every prefix in its routing
 * tables and policy rules. Between two neighbouring bounds one look-up (route.ts) speaks for all addresses.
 *
 * Not here: the decisions themselves. Rules that look at anything but the destination do not matter: they say the same for
 * every address.
 */
import { type Address, formatAddress } from "../wire/address.ts";
import { familyNumber } from "./sys/linux.ts";
import { netlinkRequest } from "./sys/netlink.ts";
import { HEADER_LENGTH, RTM } from "./sys/rtnetlink.ts";

const DESTINATION = 1;

/**
 * The first address of every stretch over which routing is the same, ascending; the first is the unspecified address.
 * @throws {SynprobeError} `ERR_SYSTEM`
 */
export function routingBounds(family: 4 | 6): Address[] {
  const length = family === 4 ? 4 : 16;
  const bounds = new Map<string, Address>();
  const add = (bound: Address): void => {
    bounds.set(formatAddress(bound), bound);
  };
  add(new Uint8Array(length));
  for (const [type, headerLength] of [
    [RTM.getRoute, HEADER_LENGTH.route],
    [RTM.getRule, HEADER_LENGTH.rule],
  ] as const) {
    const header = new Uint8Array(headerLength);
    header[0] = familyNumber(family);
    const answer = netlinkRequest(type, header, [], "dump");
    if (!answer.ok) continue;
    for (const message of answer.messages) {
      const destination = message.attributes(headerLength).get(DESTINATION);
      if (message.body[0] !== header[0] || destination === undefined) continue;
      const first = new Uint8Array(length);
      first.set(destination.subarray(0, length));
      add(first);
      const after = afterPrefix(first, message.body[1]);
      if (after !== undefined) add(after);
    }
  }
  return [...bounds.values()].sort(compare);
}

/** The address after the last one of a prefix; undefined when there is none. */
function afterPrefix(first: Address, prefixLength: number): Address | undefined {
  if (prefixLength === 0) return undefined;
  const after = first.slice();
  let carry = 1 << (7 - ((prefixLength - 1) & 7));
  for (let i = (prefixLength - 1) >> 3; i >= 0 && carry > 0; i--) {
    const sum = after[i] + carry;
    after[i] = sum;
    carry = sum >> 8;
  }
  return carry > 0 ? undefined : after;
}

function compare(a: Address, b: Address): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}
