/** Routes asked for whole spans at once. The kernel's bounds are this machine's; what they are does not matter here. */
import { describe, expect, it } from "vitest";
import { ERROR_CODES, SynprobeError } from "../../../src/errors.ts";
import type { Route } from "../../../src/link/route.ts";
import { routeSpans } from "../../../src/runtime/plan/routes.ts";
import { type AddressSpan, compareAddresses, formatSpan } from "../../../src/scan/targets/address-range.ts";
import { address } from "../../sim/run.ts";

const span = (first: string, last = first): AddressSpan => ({ first: address(first), last: address(last) });
const way: Route = { type: "unicast", interfaceIndex: 2, source: address("2001:db8::1") };

describe.skipIf(process.platform !== "linux")("routeSpans", () => {
  it("makes one span of neighbours that go the same way, and none that holds IPv4's addresses, mapped", () => {
    const wanted = [span("::5"), span("2001:db8::5", "2001:db8::9"), span("2001:db8:1::")];
    const routed = routeSpans(
      (visit) => wanted.forEach(visit),
      () => way,
    );
    expect(routed).toHaveLength(2);
    const holds = (text: string): number =>
      routed.findIndex(
        ({ first, last }) =>
          compareAddresses(first, address(text)) <= 0 && compareAddresses(address(text), last) <= 0,
      );
    expect(["::5", "::ffff:198.18.0.1", "2001:db8::7", "2001:db8:1::"].map(holds)).toEqual([0, -1, 1, 1]);
  });

  it("asks for each of up to 1,024 addresses, and of neighbours that go the same way makes one span", () => {
    const asked: string[] = [];
    const routed = routeSpans(
      (visit) => visit(span("198.18.4.0", "198.18.7.255")),
      (to) => {
        asked.push(to.join("."));
        return to[2] < 6 ? way : new SynprobeError(ERROR_CODES.noRoute, `no way to ${to}`, { cause: "E" });
      },
    );
    expect(asked).toHaveLength(1024);
    expect(routed.map(({ first, last }) => formatSpan({ first, last }))).toEqual([
      "198.18.4.0/23",
      "198.18.6.0/23",
    ]);
  });

  it("asks for each address behind a route with several next hops, as long as there are not too many", () => {
    let asked = 0;
    const several: Route = { ...way, multipath: true };
    const judge = (): Route => {
      asked++;
      return several;
    };
    routeSpans((visit) => visit(span("198.18.0.0", "198.18.31.255")), judge);
    expect(asked).toBeGreaterThanOrEqual(8192);
    asked = 0;
    routeSpans((visit) => visit(span("198.18.0.0", "198.19.255.255")), judge);
    expect(asked).toBeLessThan(70_000);
  });

  it("asks once for a stretch over which nothing changes", () => {
    const asked: string[] = [];
    const wanted = Array.from({ length: 1500 }, (_, i) => span(`198.18.${i >> 7}.${2 * (i & 127)}`));
    const routed = routeSpans(
      (visit) => wanted.forEach(visit),
      (to) => {
        asked.push(to.join("."));
        return way;
      },
    );
    expect(routed).toHaveLength(1);
    expect(asked[0]).toBe("198.18.0.0");
    expect(asked.length).toBeLessThan(50);
  });
});
