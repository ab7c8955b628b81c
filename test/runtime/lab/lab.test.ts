/** What the lab's namespace is given of a description. */
import { describe, expect, it } from "vitest";
import { routesTo } from "../../../src/runtime/lab/lab.ts";
import { formatAddress } from "../../../src/wire/address.ts";

const routes = (...ranges: string[]): string[] =>
  routesTo({ hosts: ranges.map((range) => ({ range })) }).map(
    ({ first, prefixLength }) => `${formatAddress(first)}/${prefixLength}`,
  );

describe("routes", () => {
  it.each([
    ["a prefix", ["198.18.0.0/15"], ["198.18.0.0/15"]],
    ["one host", ["198.18.0.7"], ["198.18.0.7/32"]],
    ["the smallest prefix around a range", ["198.18.4.1-198.18.4.40"], ["198.18.4.0/26"]],
    ["a range over the middle of everything", ["127.255.255.255-128.0.0.0"], ["0.0.0.0/0"]],
    [
      "IPv6",
      ["2001:db8:18::/64", "2001:db8:19::8-2001:db8:19::9"],
      ["2001:db8:18::/64", "2001:db8:19::8/127"],
    ],
    ["what others hold only once", ["198.18.0.7", "198.18.0.0/16", "198.18.0.0/16"], ["198.18.0.0/16"]],
    ["neighbours apart", ["198.18.0.0/16", "198.19.0.0/16"], ["198.18.0.0/16", "198.19.0.0/16"]],
    ["nothing on the prober's own link", ["192.0.2.0/24", "192.0.2.9", "2001:db8::7"], []],
    ["what is wider than the prober's own link", ["192.0.0.0/16"], ["192.0.0.0/16"]],
  ])("reach %s", (_what, ranges, expected) => {
    expect(routes(...ranges)).toEqual(expected);
  });
});
