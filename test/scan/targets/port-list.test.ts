/** Lists of ports: what each way to write them names, ascending and once; and what is refused, in words that help. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parsePorts, shorten } from "../../../src/scan/targets/port-list.ts";
import { parseServices } from "../../../src/scan/targets/services.ts";

const services = parseServices("ssh 22/tcp\nhttp 80/tcp www\n");

describe("ports", () => {
  it.each([
    ["-", 65_535, 1, 65_535],
    ["1-65535", 65_535, 1, 65_535],
    ["-1023", 1023, 1, 1023],
    ["60000-", 5536, 60_000, 65_535],
    ["1,2,3-5,4-6", 6, 1, 6],
    ["1-9,3-4,5", 9, 1, 9],
    ["T:22,80", 2, 22, 80],
    ["T:-,T:ssh", 65_535, 1, 65_535],
  ])("%s", (text, count, first, last) => {
    const ports = parsePorts(text, services);
    expect([ports.length, ports[0], ports[ports.length - 1]]).toEqual([count, first, last]);
  });

  it.each(["U:53", "T:22,U:53", "S:1"])("%s is refused: only TCP is probed", (text) => {
    expect(() => parsePorts(text, services)).toThrow(/is not for TCP, which is all that is probed/);
  });

  it("of any list are those it names, ascending, each once", () => {
    const part = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.nat(9));
    fc.assert(
      fc.property(fc.array(part, { minLength: 1 }), (parts) => {
        const named = new Set<number>();
        for (const [first, more] of parts) for (let i = 0; i <= more; i++) named.add(first + i);
        const text = parts.map(([first, more]) => (more === 0 ? `${first}` : `${first}-${first + more}`));
        expect([...parsePorts(text.join(), services)]).toEqual([...named].sort((a, b) => a - b));
      }),
    );
  });
});

describe("a list of ports is refused", () => {
  it.each([
    ["", /^no port given$/],
    ["22,,80", /"22,,80" has an empty port/],
    ["22,", /has an empty port/],
    ["0", /port 0 is out of range: ports are 1 to 65535/],
    ["0-65535", /the range 0-65535 begins with port 0, which is none: write 1-65535$/],
    ["0-", /the range 0- begins with port 0, which is none: write 1-$/],
    ["0-0", /port 0 is out of range/],
    ["65536", /port 65536 is out of range/],
    ["1-65536", /port 65536 is out of range/],
    ["http*", /"http\*" is one of nmap's patterns: name the ports/],
    ["[1-100]", /"\[1-100\]" is one of nmap's patterns/],
    ["90-80", /the range 90-80 is reversed: write 80-90/],
    ["telnet", /no TCP service named "telnet"/],
    ["22 80", /no TCP service named "22 80"/],
    ["0x50", /no TCP service named "0x50"/],
    ["-1-5", /no TCP service named/],
  ])("%j", (text, says) => {
    expect(() => parsePorts(text, services)).toThrow(says);
  });
});

it("a text for a message is cut when it is very long", () => {
  expect(shorten("x".repeat(300))).toHaveLength(300);
  expect(shorten("x".repeat(301))).toBe(`${"x".repeat(60)}…`);
});
