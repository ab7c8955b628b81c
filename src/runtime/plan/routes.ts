/**
 * Which way every address of a space goes. The kernel is asked for each of a few addresses, and for more once per stretch over
 * which its answer is provably the same.
 *
 * Judging one answer is reachability.ts; where answers may change is link/fib.ts.
 */
import { SynprobeError } from "../../errors.ts";
import { routingBounds } from "../../link/fib.ts";
import type { Route } from "../../link/route.ts";
import type { AddressSpan } from "../../scan/targets/address-range.ts";
import { compareAddresses, countAddresses } from "../../scan/targets/address-range.ts";
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
/**
 * Where a way ends whatever the kernel's tables say: there, at fe80::/10, in which it depends on the interface the user named,
 * and where the scope of an address changes, which its source follows: fec0::/10, ff00::/8 (RFC 4007).
 */
const OWN_BOUNDS: readonly Address[] = [MAPPED, AFTER_MAPPED, v6(0xfe, 0x80), v6(0xfe, 0xc0), v6(0xff)];

/** Up to so many addresses each is asked for by itself: that takes milliseconds, however large the routing tables are. */
const MOST_ASKED = 1024;
/** Addresses asked for by themselves behind routes with several next hops, in a run of more than those. */
const MOST_ASKED_OF_SEVERAL = 1 << 16;

/**
 * @param eachSpan the wanted addresses, ascending, in spans apart from each other; what it shows is copied before it is kept
 * @param judge the way to one address
 */
export function routeSpans(
  eachSpan: (visit: (span: AddressSpan) => void) => void,
  judge: (address: Address) => Route | SynprobeError,
): RoutedSpan[] {
  const routed: RoutedSpan[] = [];
  const take = (first: Address, last: Address, way: Route | SynprobeError): void => {
    const previous = routed.at(-1);
    if (previous !== undefined && sameSide(previous.first, first) && sameWay(previous, first, way)) {
      routed[routed.length - 1] = { ...previous, last };
    } else routed.push({ first, last, way });
  };
  const askEach = (first: Address, last: Address): void => {
    for (let each: Address = first.slice(); ; each = after(each)) {
      take(each, each, judge(each));
      if (compareAddresses(each, last) === 0) return;
    }
  };
  const { count, reach } = survey(eachSpan);
  if (count <= MOST_ASKED) eachSpan(({ first, last }) => askEach(first, last));
  else routeStretches(eachSpan, reach, judge, take, askEach, routed);
  return routed;
}

/** How many addresses there are, and from which to which, by length of address. */
function survey(eachSpan: (visit: (span: AddressSpan) => void) => void) {
  let count = 0;
  const reach = new Map<number, { readonly first: Address; readonly last: Address }>();
  eachSpan(({ first, last }) => {
    count += countAddresses({ first, last });
    const known = reach.get(first.length);
    if (known === undefined) reach.set(first.length, { first: first.slice(), last: last.slice() });
    else known.last.set(last);
  });
  return { count, reach };
}

function routeStretches(
  eachSpan: (visit: (span: AddressSpan) => void) => void,
  reach: ReadonlyMap<number, AddressSpan>,
  judge: (address: Address) => Route | SynprobeError,
  take: (first: Address, last: Address, way: Route | SynprobeError) => void,
  askEach: (first: Address, last: Address) => void,
  routed: readonly RoutedSpan[],
): void {
  let bounds: readonly Address[] = [];
  let at = 0;
  let askedOfSeveral = 0;
  eachSpan(({ first, last }) => {
    const all = reach.get(first.length) ?? { first, last };
    if (bounds[0]?.length !== first.length) {
      bounds = boundsFor(all);
      at = 0;
    }
    while (at + 1 < bounds.length && compareAddresses(bounds[at + 1], first) <= 0) at++;
    for (let from = first; ; from = bounds[++at]) {
      const next = bounds[at + 1];
      const previous = routed.at(-1);
      // Within a stretch that has been judged there is nothing to ask.
      const judged = previous?.first.length === from.length && compareAddresses(from, previous.last) <= 0;
      if (!judged) {
        const start = from.slice();
        const end = next === undefined ? all.last : before(next);
        const way = judge(start);
        const wantedEnd = compareAddresses(end, last) < 0 ? end : last;
        const size = countAddresses({ first: start, last: wantedEnd });
        const several = !(way instanceof SynprobeError) && way.multipath === true;
        if (several && askedOfSeveral + size <= MOST_ASKED_OF_SEVERAL) {
          askedOfSeveral += size;
          askEach(start, wantedEnd);
          // Beyond that, the stretch keeps to the next hop of its first address: a link binds it to that (Hop.pinned).
        } else take(start, end.slice(), way);
      }
      if (next === undefined || compareAddresses(next, last) > 0) return;
    }
  });
}

const boundsFor = ({ first, last }: AddressSpan): Address[] => {
  const own = first.length === 4 ? [] : OWN_BOUNDS;
  const within = own.filter(
    (bound) => compareAddresses(first, bound) < 0 && compareAddresses(bound, last) <= 0,
  );
  return [...routingBounds(first, last), ...within]
    .sort(compareAddresses)
    .filter((bound, i, all) => i === 0 || compareAddresses(all[i - 1], bound) !== 0);
};

/** Whether a span may begin with one and go on to the other: of one IP version, and without the mapped addresses between. */
const sameSide = (a: Address, b: Address): boolean =>
  a.length === b.length &&
  (a.length === 4 || compareAddresses(a, MAPPED) < 0 === compareAddresses(b, MAPPED) < 0);

function before(address: Address): Address {
  const result = address.slice();
  for (let i = result.length - 1; i >= 0; i--) {
    result[i]--;
    if (result[i] !== 0xff) break;
  }
  return result;
}

function after(address: Address): Address {
  const result = address.slice();
  for (let i = result.length - 1; i >= 0; i--) {
    result[i]++;
    if (result[i] !== 0) break;
  }
  return result;
}

/** Whether a span goes on to `first`: by the same route, or, of neighbours, for the same reason nowhere. */
function sameWay({ last, way: a }: RoutedSpan, first: Address, b: Route | SynprobeError): boolean {
  if (a instanceof SynprobeError || b instanceof SynprobeError) {
    if (!(a instanceof SynprobeError && b instanceof SynprobeError) || a.code !== b.code) return false;
    // A message that names its address names the errno too, which is the cause.
    const isSame = a.message === b.message || (a.cause !== undefined && a.cause === b.cause);
    return isSame && compareAddresses(after(last), first) === 0;
  }
  return (
    a.type === b.type &&
    a.interfaceIndex === b.interfaceIndex &&
    a.multipath === b.multipath &&
    sameAddress(a.source, b.source) &&
    sameAddress(a.gateway, b.gateway)
  );
}

const sameAddress = (a: Address | undefined, b: Address | undefined): boolean =>
  a === undefined || b === undefined ? a === b : a.length === b.length && compareAddresses(a, b) === 0;
