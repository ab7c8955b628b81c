/** What a lab description may say, and what is said of one that is wrong. */
import { describe, expect, it } from "vitest";
import { ERROR_CODES, SynprobeError } from "../../src/errors.ts";
import { DEFAULT_DESCRIPTION, parseDescription, parsePorts, parseRange } from "../../src/lab/description.ts";
import { createNetwork } from "../../src/lab/network.ts";
import { formatAddress } from "../../src/wire/address.ts";

const parse = (value: unknown) =>
  parseDescription(typeof value === "string" ? value : JSON.stringify(value), "lab.json");

function messageOf(value: unknown): string {
  try {
    parse(value);
  } catch (error) {
    expect(error).toBeInstanceOf(SynprobeError);
    expect((error as SynprobeError).code).toBe(ERROR_CODES.lab);
    expect((error as SynprobeError).message).not.toContain("\n");
    return (error as SynprobeError).message;
  }
  return "accepted";
}

const host = (more: object) => ({ hosts: [{ range: "198.18.0.0/16", ...more }] });

describe("a description", () => {
  it("may say everything there is", () => {
    const all = {
      seed: 7,
      path: {
        latencyMs: 40,
        jitterMs: 5,
        loss: 0.03,
        duplication: 0.05,
        reordering: 0.01,
        reorderingMs: 3,
        in: { ratePps: 20_000, queuePackets: 2000, rateChanges: [{ atMs: 1000, ratePps: 10_000 }] },
        out: { loss: 0 },
      },
      noise: { synAckPps: 2000, rstPps: 10, icmpPps: 0 },
      hosts: [
        {
          range: "198.18.0.0/16",
          ports: [
            { share: 0.03, is: "open", service: "echo" },
            { ports: "22,8000-8010", is: "open", banner: "hello" },
          ],
          rest: "closed",
          mix: [{ share: 0.5, rest: "silent", ports: [] }],
          ttl: 57,
          rejectFrom: "198.18.0.254",
          rstLimit: { ratePps: 10, burst: 5 },
          icmpLimit: { ratePps: 6 },
          backlog: 128,
          synAckRetries: 2,
          synAckTimeoutMs: 500,
          path: { latencyMs: 1 },
          tarpit: false,
        },
      ],
    };
    expect(parse(all)).toEqual(all);
    expect(createNetwork(parse(all), { startUs: 0 }).counts.in).toBe(0);
  });

  it("is what the lab without a file is", () => {
    expect(parse(DEFAULT_DESCRIPTION)).toEqual(DEFAULT_DESCRIPTION);
    createNetwork(DEFAULT_DESCRIPTION, { startUs: 0 });
  });

  it.each([
    ["{", /^lab\.json: not JSON: /],
    [[], "lab.json: [] is not an object"],
    [{}, "lab.json: hosts: is missing"],
    [{ hosts: {} }, "lab.json: hosts: {} is not a list"],
    [{ hosts: [], sed: 1 }, 'lab.json: sed: no such key; did you mean "seed"?'],
    [{ hosts: [], colour: 1 }, "lab.json: colour: no such key"],
    [{ hosts: [], seed: 1.5 }, "lab.json: seed: 1.5 is not a whole number from 0 to 4294967295"],
    [{ hosts: [], path: { loss: "3 %" } }, 'lab.json: path.loss: "3 %" is not a number from 0 to 1'],
    [{ hosts: [], path: { in: { lose: 0 } } }, 'lab.json: path.in.lose: no such key; did you mean "loss"?'],
    [
      {
        hosts: [],
        path: {
          ratePps: 5,
          rateChanges: [
            { atMs: 5, ratePps: 1 },
            { atMs: 5, ratePps: 2 },
          ],
        },
      },
      "lab.json: path.rateChanges[1].atMs: is not after the one before it",
    ],
    [{ hosts: [{}] }, "lab.json: hosts[0].range: is missing"],
    [
      { hosts: [{ range: "198.18.0.1/16" }] },
      "lab.json: hosts[0].range: the address has bits beyond its prefix length",
    ],
    [
      { hosts: [{ range: "198.18.0.9-198.18.0.1" }] },
      'lab.json: hosts[0].range: the range is reversed: write "198.18.0.1-198.18.0.9"',
    ],
    [{ hosts: [{ range: "host" }] }, 'lab.json: hosts[0].range: "host" is not an IP address'],
    [host({ rest: "opne" }), /hosts\[0\]\.rest: "opne" is none of open, closed, .*; did you mean "open"\?$/],
    [host({ rest: "no-route" }), 'lab.json: hosts[0].rest: there is no "no-route" in IPv4'],
    [
      host({ mix: [{ share: 0.1, rest: "no-route" }] }),
      'lab.json: hosts[0].mix[0].rest: there is no "no-route" in IPv4',
    ],
    [host({ ports: [{}] }), "lab.json: hosts[0].ports[0].is: is missing"],
    [
      host({ ports: [{ ports: "80,", is: "open" }] }),
      'lab.json: hosts[0].ports[0].ports: "" is neither a port nor a range of ports',
    ],
    [
      host({ ports: [{ ports: "0-5", is: "open" }] }),
      'lab.json: hosts[0].ports[0].ports: "0-5": ports are 1 to 65535',
    ],
    [
      host({ ports: [{ is: "closed", banner: "x" }] }),
      "lab.json: hosts[0].ports[0].banner: only an open port has one",
    ],
    [
      host({ ports: [{ is: "open", service: "echo", banner: "x" }] }),
      'lab.json: hosts[0].ports[0].banner: the service is "echo"',
    ],
    [host({ ports: [{ is: "open", service: "htpp" }] }), /did you mean "http"\?$/],
    [
      host({
        ports: [
          { is: "open", share: 0.6 },
          { is: "silent", share: 0.6 },
        ],
      }),
      "lab.json: hosts[0].ports: the shares come to 1.2; they are 1 at most",
    ],
    [
      host({ mix: [{ share: 0.6 }, { share: 0.5 }] }),
      "lab.json: hosts[0].mix: the shares come to 1.1; they are 1 at most",
    ],
    [host({ rejectFrom: "2001:db8::1" }), "lab.json: hosts[0].rejectFrom: is not of the range's IP version"],
    [host({ __proto__: null, constructor: 1 }), "lab.json: hosts[0].constructor: no such key"],
  ])("%j is refused", (value, expected) => {
    if (typeof expected === "string") expect(messageOf(value)).toBe(expected);
    else expect(messageOf(value)).toMatch(expected);
  });
});

describe("ranges and ports", () => {
  const range = (text: string): string => {
    const found = parseRange(text);
    return typeof found === "string" ? found : `${formatAddress(found.first)} ${formatAddress(found.last)}`;
  };
  it.each([
    ["198.18.0.0/15", "198.18.0.0 198.19.255.255"],
    ["0.0.0.0/0", "0.0.0.0 255.255.255.255"],
    ["198.18.0.7/32", "198.18.0.7 198.18.0.7"],
    ["198.18.0.7", "198.18.0.7 198.18.0.7"],
    ["198.18.4.1-198.18.4.40", "198.18.4.1 198.18.4.40"],
    ["2001:db8:18::/64", "2001:db8:18:: 2001:db8:18:0:ffff:ffff:ffff:ffff"],
    ["2001:db8::/33", "2001:db8:: 2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"],
    ["198.18.0.1-2001:db8::1", "the ends are of two IP versions"],
    ["198.18.0.0/33", "the prefix length is 0 to 32"],
    ["198.18.0.0/", "the prefix length is 0 to 32"],
    ["", '"" is not an IP address'],
  ])("%s", (text, expected) => {
    expect(range(text)).toBe(expected);
  });

  it("flag the ports that are named", () => {
    const flags = parsePorts("22, 80-82,65535") as Uint8Array;
    expect([...flags.entries()].filter(([, flag]) => flag === 1).map(([port]) => port)).toEqual([
      22, 80, 81, 82, 65_535,
    ]);
  });
});
