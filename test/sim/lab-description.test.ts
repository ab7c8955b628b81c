/** What a lab description may say, and what is said of one that is wrong. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ERROR_CODES, SynprobeError } from "../../src/errors.ts";
import { DEFAULT_DESCRIPTION } from "../../src/lab/default-description.ts";
import { createNetwork } from "../../src/lab/network.ts";
import { parseDescription } from "../../src/lab/parse-description.ts";
import { hasPort, parsePorts, parseRange } from "../../src/lab/ranges.ts";
import { formatAddress, parseAddress } from "../../src/wire/address.ts";

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
        bursts: [
          { per: "host", share: 0.05, meanMs: 500 },
          { per: "source-port", share: 0.05 },
        ],
        outages: [
          { fromMs: 2000, toMs: 4000, share: 0.25 },
          { fromMs: 0, toMs: 1, range: "198.18.4.0/24" },
        ],
        in: { ratePps: 20_000, queuePackets: 2000, rateChanges: [{ atMs: 1000, ratePps: 10_000 }] },
        out: { loss: 0 },
      },
      noise: { synAckPps: 2000, rstPps: 10, icmpPps: 0, aimed: 0.5 },
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

  it.each([
    { in: { ratePps: 5 }, queuePackets: 9 },
    { ratePps: 5, out: { queuePackets: 9 } },
    { in: { ratePps: 5, rateChanges: [{ atMs: 1, ratePps: 1 }] } },
  ])("may say of a bottleneck, where there is one, %j", (path) => {
    expect(parse({ hosts: [], path }).path).toEqual(path);
  });

  it.each(["192.0.2.2-192.0.2.254", "240.0.0.0/5", "2001:db8::2", "fec0::/10"])(
    "may have hosts at %s",
    (range) => {
      expect(messageOf({ hosts: [{ range }] })).toBe("accepted");
    },
  );

  it("keeps little of forty thousand lists of ports, and one of equal ones", () => {
    const hosts = Array.from({ length: 1000 }, (_, i) => ({
      range: `198.18.${i >> 8}.${i & 255}`,
      ports: Array.from({ length: 40 }, (_, j) => ({ ports: `${40 * i + j + 1}`, is: "open" })),
    }));
    const { arrayBuffers } = process.memoryUsage();
    const network = createNetwork(parse({ hosts }), { startUs: 0 });
    expect(process.memoryUsage().arrayBuffers - arrayBuffers).toBeLessThan(100 << 20);
    const state = (ip: string, port: number) =>
      network.truth(parseAddress(ip) ?? new Uint8Array(4), port).state;
    expect([state("198.18.1.0", 256 * 40 + 1), state("198.18.1.0", 256 * 40)]).toEqual(["open", "closed"]);
  });

  it("is what the lab without a file is", () => {
    expect(parse(DEFAULT_DESCRIPTION)).toEqual(DEFAULT_DESCRIPTION);
    createNetwork(DEFAULT_DESCRIPTION, { startUs: 0 });
  });

  it.each([
    ["{", /^lab\.json:1: not JSON: /],
    ['{\n "hosts": [\n {"range": "x",,}\n]}', /^lab\.json:3: not JSON: property name expected$/],
    ["[".repeat(200_000), /^lab\.json:.* nested too deeply|^lab\.json:1: not JSON: /],
    [[], "lab.json: [] is not an object"],
    [{}, "lab.json: hosts: is missing"],
    [{ hots: [] }, 'lab.json: hosts: is missing, and there is no such key as "hots"'],
    [{ hosts: {} }, "lab.json: hosts: {} is not a list"],
    [`{"hosts":${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}}`, "lab.json: hosts: {…} is not a list"],
    [{ hosts: [], path: [] }, "lab.json: path: [] is not an object"],
    [{ hosts: [[]] }, "lab.json: hosts[0]: [] is not an object"],
    [{ hosts: [], noise: null }, "lab.json: noise: null is not an object"],
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
    [
      { hosts: [], path: { out: { outages: [{ fromMs: 5, toMs: 5 }] } } },
      "lab.json: path.out.outages[0].toMs: is not after fromMs",
    ],
    [
      host({ path: { outages: [{ fromMs: 5, toMs: 6, range: "198.18.0.1/16" }] } }),
      "lab.json: hosts[0].path.outages[0].range: the address has bits beyond its prefix length",
    ],
    [
      { hosts: [], path: { bursts: [{ per: "hosts", share: 0.5 }] } },
      /path\.bursts\[0\]\.per: "hosts" is none of path, .*; did you mean "host"\?$/,
    ],
    [
      { hosts: [], path: { bursts: [{ per: "host", share: 0.5, meanMs: 0 }] } },
      "lab.json: path.bursts[0].meanMs: 0 is not a number from 1 to 3600000",
    ],
    [
      { hosts: [], path: { queuePackets: 5 } },
      "lab.json: path.queuePackets: needs a ratePps beside it: there is no bottleneck",
    ],
    [
      { hosts: [], path: { in: { ratePps: 5 }, out: { rateChanges: [{ atMs: 5, ratePps: 1 }] } } },
      "lab.json: path.out.rateChanges: needs a ratePps beside it: there is no bottleneck",
    ],
    [
      { ...host({ path: { queuePackets: 5 } }), path: { ratePps: 5 } },
      "lab.json: hosts[0].path.queuePackets: needs a ratePps beside it: there is no bottleneck",
    ],
    [{ hosts: [{}] }, "lab.json: hosts[0].range: is missing"],
    [
      { hosts: [{ adress: "198.18.0.1" }] },
      'lab.json: hosts[0].range: is missing, and there is no such key as "adress"',
    ],
    ...[
      ["0.0.0.0/0", "0.0.0.0/8, which is no destination"],
      ["0.255.255.255", "0.0.0.0/8, which is no destination"],
      ["126.0.0.0-128.0.0.0", "127.0.0.0/8, which is loopback"],
      ["192.0.2.1", "192.0.2.1, the prober's own address"],
      ["192.0.2.128/25", "192.0.2.255, the broadcast address of the prober's network"],
      ["239.255.255.255", "224.0.0.0/4, which is multicast"],
      ["255.255.255.255", "255.255.255.255, which is broadcast"],
      ["::/0", "::, which is no destination"],
      ["::1", "::1, which is loopback"],
      ["::ffff:198.18.0.0/120", "::ffff:0:0/96, which is IPv4-mapped"],
      ["::2-2001:db8::", "::ffff:0:0/96, which is IPv4-mapped"],
      ["2001:db8::/64", "2001:db8::1, the prober's own address"],
      ["fe80::1", "fe80::/10, which is link-local"],
      ["ff02::1", "ff00::/8, which is multicast"],
    ].map(([range, what]) => [
      { hosts: [{ range }] },
      `lab.json: hosts[0].range: no simulated host can be at ${what}`,
    ]),
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
      "lab.json: hosts[0].ports: the shares add up to 1.2, more than 1",
    ],
    [
      host({ mix: [{ share: 0.6 }, { share: 0.5 }] }),
      "lab.json: hosts[0].mix: the shares add up to 1.1, more than 1",
    ],
    [host({ rejectFrom: "2001:db8::1" }), "lab.json: hosts[0].rejectFrom: is not of the range's IP version"],
    [host({ __proto__: null, constructor: 1 }), "lab.json: hosts[0].constructor: no such key"],
  ] as [unknown, string | RegExp][])("%.80j is refused", (value, expected) => {
    if (typeof expected === "string") expect(messageOf(value)).toBe(expected);
    else expect(messageOf(value)).toMatch(expected);
  });
});

it("port rules are bounded, those that mixes inherit included", () => {
  const ports = Array.from({ length: 1000 }, () => ({ is: "open" }));
  const mix = Array.from({ length: 100 }, () => ({ share: 0 }));
  expect(messageOf(host({ ports, mix: mix.slice(1) }))).toBe("accepted");
  expect(messageOf(host({ ports, mix }))).toBe(
    "lab.json: hosts: 101000 port rules in all, those that mixes inherit included; at most 100000 are allowed",
  );
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

  it("are the ports that are named, and no others", () => {
    const span = fc.integer({ min: 1, max: 65_535 }).chain((first) =>
      fc.tuple(
        fc.constant(first),
        fc.integer({ min: 0, max: 3000 }).map((n) => Math.min(65_535, first + n)),
      ),
    );
    fc.assert(
      fc.property(
        fc.array(fc.oneof(span, fc.constantFrom([1, 1], [65_535, 65_535], [1, 65_535])), { minLength: 1 }),
        (spans) => {
          const flags = new Uint8Array(65_536);
          for (const [first, last] of spans) flags.fill(1, first, last + 1);
          const ports = parsePorts(spans.map(([first, last]) => `${first}-${last}`).join(", "));
          if (typeof ports === "string") throw new Error(ports);
          flags.forEach((flag, port) => {
            if (hasPort(ports, port) !== (flag === 1)) throw new Error(`port ${port}`);
          });
        },
      ),
      { numRuns: 30 },
    );
    const ports = parsePorts("22, 80-82,83,65535");
    expect([...ports]).toEqual([22, 22, 80, 83, 65_535, 65_535]);
  });
});
