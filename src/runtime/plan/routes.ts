/**
 * Which way every address of a space goes: asked of the kernel once per stretch over which its answer is the same.
 *
 * Judging one answer is reachability.ts; where answers may change is link/fib.ts.
 */
import { SynprobeError } from "../../errors.ts";
import { routingBounds } from "../../link/fib.ts";
import type { Route } from "../../link/route.ts";
import type { AddressSpan } from "../../scan/targets/address-range.ts";
import { compareAddresses } from "../../scan/targets/address-range.ts";
import type { Address } from "../../wire/address.ts";

/** A stretch of addresses, ascending and apart from the others, and the way there or why there is none. */
export interface RoutedSpan extends AddressSpan {
  readonly way: Route | SynprobeError;
}

/** An IPv6 address that begins like this and goes on with zeros. */
function v6(...bytes: readonly number[]): Address {
  const address = new Uint8Array(16);
  address.set(bytes);
  return address;
}

/** ::ffff:0:0/96, and what comes after it: as words, these are the addresses of IPv4. */
const MAPPED = v6(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);
const AFTER_MAPPED = v6(0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
/** Where a way ends whatever the kernel says: there, and at fe80::/10, in which it depends on the interface the user named. */
const OWN_BOUNDS: readonly Address[] = [MAPPED, AFTER_MAPPED, v6(0xfe, 0x80), v6(0xfe, 0xc0)];

/**
 * @param eachSpan the wanted addresses, ascending, in spans apart from each other; what it shows is copied before it is kept
 * @param judge the way to one address
 */
export function routeSpans(
  eachSpan: (visit: (span: AddressSpan) => void) => void,
  judge: (address: Address) => Route | SynprobeError,
): RoutedSpan[] {
  const routed: RoutedSpan[] = [];
  let bounds: readonly Address[] = [];
  let at = 0;
  eachSpan(({ first, last }) => {
    if (bounds[0]?.length !== first.length) {
      bounds = boundsFor(first.length === 4 ? 4 : 6);
      at = 0;
    }
    while (at + 1 < bounds.length && compareAddresses(bounds[at + 1], first) <= 0) at++;
    for (let from = first; ; from = bounds[++at]) {
      const previous = routed.at(-1);
      // Within a stretch that has been judged there is nothing to ask.
      const judged = previous?.first.length === from.length && compareAddresses(from, previous.last) <= 0;
      if (!judged) {
        const end = at + 1 < bounds.length ? before(bounds[at + 1]) : topOf(from);
        const start = from.slice();
        take(start, end, judge(start));
      }
      if (at + 1 >= bounds.length || compareAddresses(bounds[at + 1], last) > 0) return;
    }
  });

  function take(first: Address, last: Address, way: Route | SynprobeError): void {
    const previous = routed.at(-1);
    if (previous !== undefined && sameSide(previous.first, first) && sameWay(previous.way, way)) {
      routed[routed.length - 1] = { ...previous, last };
    } else routed.push({ first, last, way });
  }

  return routed;
}

const boundsFor = (family: 4 | 6): Address[] =>
  [...routingBounds(family), ...(family === 6 ? OWN_BOUNDS : [])].sort(compareAddresses);

/** Whether a span may begin with one and go on to the other: of one IP version, and without the mapped addresses between. */
const sameSide = (a: Address, b: Address): boolean =>
  a.length === b.length &&
  (a.length === 4 || compareAddresses(a, MAPPED) < 0 === compareAddresses(b, MAPPED) < 0);

const topOf = (address: Address): Address => new Uint8Array(address.length).fill(0xff);

function before(address: Address): Address {
  const result = address.slice();
  for (let i = result.length - 1; i >= 0; i--) {
    result[i]--;
    if (result[i] !== 0xff) break;
  }
  return result;
}

function sameWay(a: Route | SynprobeError, b: Route | SynprobeError): boolean {
  if (a instanceof SynprobeError || b instanceof SynprobeError) return false;
  return (
    a.type === b.type &&
    a.interfaceIndex === b.interfaceIndex &&
    sameAddress(a.source, b.source) &&
    sameAddress(a.gateway, b.gateway)
  );
}

const sameAddress = (a: Address | undefined, b: Address | undefined): boolean =>
  a === undefined || b === undefined ? a === b : a.length === b.length && compareAddresses(a, b) === 0;
