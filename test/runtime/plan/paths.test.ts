/** What packets of a way hold, by its route's MTU and its link's; the rest of paths is in test/cli/paths.test.ts. */
import { expect, it } from "vitest";
import { lookUpInterface, type Route } from "../../../src/link/route.ts";
import { layPaths } from "../../../src/runtime/plan/paths.ts";
import { parseAddress } from "../../../src/wire/address.ts";

/** Its link takes more than any packet here. */
const LOOPBACK = lookUpInterface("lo");

it.each([
  ["127.0.0.1", undefined, 1460],
  ["::1", undefined, 1440],
  ["127.0.0.1", 9000, 1460],
  ["127.0.0.1", 1000, 960],
  ["::1", 1280, 1220],
  ["127.0.0.1", 100, 256],
])("an MSS is what a packet of the way holds: %s, MTU %s", (text, mtu, mss) => {
  const address = parseAddress(text) ?? new Uint8Array(4);
  const way: Route = {
    type: "local",
    interfaceIndex: LOOPBACK?.index ?? 0,
    source: address,
    ...(mtu === undefined ? {} : { mtu }),
  };
  expect(LOOPBACK?.mtu).toBeGreaterThan(9000);
  expect(layPaths([{ first: address, last: address, way }], 64, undefined).paths).toMatchObject([{ mss }]);
});
