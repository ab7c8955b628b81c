/** Why nothing answered: the judgement, over facts made up. Looking is tested in test/lab/silence.test.ts. */
import { describe, expect, test } from "vitest";
import {
  judgeNoAnswers,
  type NoAnswerFacts,
  noAnswerLines,
  nobodyAnswered,
  type UnansweredRun,
  type Way,
} from "../../../src/runtime/diagnose/no-answers.ts";
import { newCounters } from "../../../src/scan/engine/counters.ts";
import { summary } from "../../report/samples.ts";

const none = newCounters().ignored;

/** 20 silent ports of 4 hosts, each probed twice. */
const run: UnansweredRun = {
  ...summary,
  hosts: 4,
  open: 0,
  closed: 0,
  filtered: 20,
  reasons: { open: {}, closed: {}, filtered: { "no-response": 20 } },
  sent: 40,
  ignored: none,
};

const way: Way = {
  interfaceName: "eth0",
  state: "working",
  tunnel: false,
  family: 4,
  target: "198.18.0.1",
  gateway: { address: "192.0.2.254", resolved: true },
  privateByDefault: false,
  source: "192.0.2.1",
  sourceOwner: "eth0",
};
const { gateway: _, ...onLink } = way;

const facts: NoAnswerFacts = {
  link: "raw-ip",
  ways: [way],
  sourceChosen: false,
  left: { packets: 43, dropped: 0 },
  undelivered: 0,
  reversePathDrops: 0,
  conntrack: { count: 40, max: 1000, seconds: 120 },
};

const codes = (changes: Partial<NoAnswerFacts>, of: Partial<UnansweredRun> = {}): string[] =>
  judgeNoAnswers({ ...run, ...of }, { ...facts, ...changes }).map(({ code }) => code);
const only = (changes: Partial<NoAnswerFacts>, of: Partial<UnansweredRun> = {}): string => {
  const causes = judgeNoAnswers({ ...run, ...of }, { ...facts, ...changes });
  expect(causes).toHaveLength(1);
  return `${causes[0]?.code}: ${causes[0]?.text}`;
};
const because = (filtered: Readonly<Record<string, number>>): Partial<UnansweredRun> => ({
  reasons: { open: {}, closed: {}, filtered },
});

describe("nobody answered", () => {
  test.each([
    ["an open port", { open: 1 }],
    ["a closed port", { closed: 1 }],
    ["a firewall that says so", because({ "no-response": 19, "admin-prohibited": 1 })],
    ["a router that knows no way", because({ "no-response": 19, "net-unreach": 1 })],
    ["a router that finds no neighbour, while ours are found", because({ "host-unreach": 20 })],
    ["nothing decided", { filtered: 0 }],
  ])("not with %s", (_, change) => {
    expect(nobodyAnswered({ ...run, ...change }, false)).toBe(false);
    expect(codes({}, change)).toEqual([]);
  });

  test("this machine's own words are no answer", () => {
    const own = because({ "no-response": 1, "host-timeout": 2, "send-eperm": 3, "admin-prohibited": 0 });
    expect(nobodyAnswered({ ...run, ...own }, false)).toBe(true);
    expect(nobodyAnswered({ ...run, ...because({ "host-unreach": 20 }) }, true)).toBe(true);
    expect(nobodyAnswered({ ...run, ...because({ "addr-unreach": 20 }) }, true)).toBe(true);
  });
});

describe("what is seen explains it alone", () => {
  test.each<[string, Partial<Way>, RegExp]>([
    ["no interface", { state: "gone" }, /^interface: interface eth0, .*is gone/],
    [
      "an interface that is down",
      { state: "down" },
      /^interface: interface eth0 is down: .*ip link set eth0 up/,
    ],
    ["no carrier", { state: "not-connected" }, /^interface: eth0 is up, but nothing is connected/],
    [
      "a route that changed",
      { changed: "it leads through tun0 now" },
      /^route: the way to 198\.18\.0\.1 has changed.*tun0/,
    ],
    [
      "a source address that went away",
      { sourceOwner: undefined },
      /^source: .*192\.0\.2\.1 is not this machine's any more/,
    ],
    [
      "a next hop that is not there",
      { gateway: { address: "192.0.2.254", resolved: false } },
      /^neighbour: the next hop 192\.0\.2\.254 on eth0 does not answer ARP/,
    ],
    [
      "the same over IPv6",
      { family: 6, gateway: { address: "fe80::1", resolved: false } },
      /^neighbour: the next hop fe80::1 on eth0 does not answer neighbour discovery/,
    ],
    [
      "an IPv6 next hop of an IPv4 route",
      { gateway: { address: "2001:db8::1", resolved: false } },
      /^neighbour: the next hop 2001:db8::1 on eth0 does not answer neighbour discovery/,
    ],
  ])("%s", (_, change, expected) => {
    expect(only({ ways: [{ ...way, ...change }] })).toMatch(expected);
  });

  test("hosts on the link that are not there", () => {
    const neighbours = { resolved: 0, unresolved: ["192.0.2.50", "192.0.2.51", "192.0.2.52"] };
    // Neither did much leave then, which follows from it.
    expect(only({ ways: [{ ...onLink, neighbours }], left: { packets: 3, dropped: 0 } })).toMatch(
      /^neighbour: 192\.0\.2\.50 and 2 more do not answer ARP on eth0/,
    );
    expect(only({ ways: [{ ...onLink, neighbours: { resolved: 0, unresolved: ["192.0.2.50"] } }] })).toMatch(
      /^neighbour: 192\.0\.2\.50 does not answer/,
    );
    // Some are there, and silent all the same.
    const [, rest, ...more] = judgeNoAnswers(run, {
      ...facts,
      ways: [{ ...onLink, neighbours: { ...neighbours, resolved: 1 } }],
    });
    expect(more).toEqual([]);
    expect(rest).toEqual({
      code: "all-silent",
      text: expect.stringMatching(
        /^the other SYNs left through eth0, and nothing came back: those hosts are down/,
      ),
    });
  });

  test("one of two ways explains its own part only; a fault that both share is one line", () => {
    const broken: Way = { ...way, gateway: { address: "192.0.2.253", resolved: false } };
    expect(codes({ ways: [way, broken] })).toEqual(["neighbour", "all-silent"]);
    expect(codes({ ways: [broken, { ...broken, source: "192.0.2.2" }] })).toEqual(["neighbour"]);
  });

  test("the firewall of this machine, going out", () => {
    expect(only({}, { sent: 0, sendErrors: { EPERM: 20 }, ...because({ "send-eperm": 20 }) })).toMatch(
      /^firewall-out: .*refused 20 sends \(EPERM\)/,
    );
    expect(codes({}, { sendErrors: { EPERM: 3 } })).toEqual(["firewall-out", "all-silent"]);
  });

  test("any other refusal, if it is of nearly everything", () => {
    expect(only({}, { sent: 1, sendErrors: { ENETUNREACH: 39 } })).toMatch(/^refused: .*ENETUNREACH 39/);
    expect(codes({}, { sendErrors: { ENOBUFS: 3 } })).toEqual(["all-silent"]);
  });

  test("connection tracking that is full, for raw sockets only", () => {
    const conntrack = { count: 990, max: 1000, seconds: 30 };
    expect(only({ conntrack })).toMatch(/^conntrack: .*990 of 1,000 entries.*wait 30 s/);
    expect(codes({ conntrack, link: "packet" })).toEqual(["all-silent"]);
    expect(codes({ conntrack: { ...conntrack, count: 900 } })).toEqual(["all-silent"]);
    expect(codes({ conntrack: { ...conntrack, max: 0 } })).toEqual(["all-silent"]);
    // The kernel says EPERM then; the firewall is the second thought.
    const [first] = codes({ conntrack }, { sendErrors: { EPERM: 3 } });
    expect(first).toBe("conntrack");
  });

  test("SYNs that no interface sent", () => {
    expect(only({ left: { packets: 19, dropped: 12 } })).toMatch(
      /^not-sent: the kernel took 40 SYNs, but eth0 sent 19 at most, 12 of them dropped/,
    );
    expect(only({ left: { packets: 0, dropped: 0 } })).toMatch(/eth0 sent none: /);
    expect(codes({ left: { packets: 20, dropped: 0 } })).toEqual(["all-silent"]);
  });

  test("SYNs of a connect that no interface sent: the firewall's drops are not told to it, as they are to raw sockets", () => {
    const left = { packets: 0, dropped: 0 };
    expect(only({ link: "connect", left })).toMatch(
      /^not-sent: .*own firewall, a queueing.*"nft list ruleset", "tc/,
    );
    for (const link of ["raw-ip", "packet"] as const)
      expect(only({ link, left })).not.toMatch(/firewall|nft/);
  });

  test("answers that a firewall dropped inside this machine, unless a packet socket would have heard them", () => {
    for (const link of ["raw-ip", "connect"] as const) {
      expect(only({ link, undelivered: 10 })).toMatch(/^firewall-in: 10 packets came in and were dropped/);
      expect(codes({ link, undelivered: 9 })).toEqual(["all-silent"]);
    }
    expect(codes({ link: "packet", undelivered: 10 })).toEqual(["all-silent"]);
  });

  test.each(["raw-ip", "packet", "connect"] as const)(
    "answers that strict reverse path filtering dropped, with %s",
    (link) => {
      expect(only({ link, reversePathDrops: 10 })).toMatch(
        /^rp-filter: 10 packets came in through another interface .*dropped them, most likely answers/,
      );
      expect(codes({ link, reversePathDrops: 9 })).toEqual(["all-silent"]);
    },
  );
});

describe("what is suspected comes after what was seen, and before the silence itself", () => {
  test.each<[string, Partial<NoAnswerFacts>, Partial<Way>, string, RegExp]>([
    [
      "-e against the kernel's choice",
      {},
      { usual: "through eth1" },
      "route",
      /-e eth0 is not the way .*which is through eth1/,
    ],
    [
      "a private address on the default route",
      {},
      { privateByDefault: true },
      "route",
      /private address.*\(eth0, next hop 192\.0\.2\.254\)/,
    ],
    [
      "-S of another interface",
      { sourceChosen: true },
      { sourceOwner: "eth1" },
      "source",
      /192\.0\.2\.1 is eth1's, .*through eth0/,
    ],
    ["a tunnel", {}, { tunnel: true }, "route", /a tunnel or VPN/],
  ])("%s", (_, more, change, code, expected) => {
    const [first, last] = judgeNoAnswers(run, { ...facts, ...more, ways: [{ ...way, ...change }] });
    expect(first).toMatchObject({ code, text: expect.stringMatching(expected) });
    expect(last?.code).toBe("all-silent");
  });

  test("-e comes first even when nobody is there", () => {
    const ways = [
      { ...onLink, usual: "through eth1", neighbours: { resolved: 0, unresolved: ["10.0.0.1"] } },
    ];
    expect(codes({ ways })).toEqual(["route", "neighbour"]);
  });

  test("a source that the kernel chose itself is not suspected", () => {
    expect(codes({ ways: [{ ...way, sourceOwner: "lo" }] })).toEqual(["all-silent"]);
  });

  test("answers to an earlier SYN from the one port of -g are no middlebox's", () => {
    const ignored = { ...none, wrongAck: 2, oddFlags: 1 };
    const [cause] = judgeNoAnswers({ ...run, ignored }, { ...facts, onlyPort: 40_000 });
    expect(cause).toMatchObject({ code: "unproved" });
    expect(cause?.text).toMatch(/3 packets .* an earlier SYN from port 40000.*give another -g/);
    const [other] = judgeNoAnswers(
      { ...run, ignored: { ...ignored, badChecksum: 1 } },
      { ...facts, onlyPort: 40_000 },
    );
    expect(other?.text).toMatch(/middlebox/);
  });

  test("packets that were lost or proved nothing", () => {
    expect(codes({}, { receiveDrops: 5, ignored: { ...none, wrongAck: 2, duplicate: 1 } })).toEqual([
      "receive-buffer",
      "unproved",
      "all-silent",
    ]);
    expect(codes({}, { ignored: { ...none, duplicate: 1, icmpNoVerdict: 1 } })).toEqual(["all-silent"]);
  });

  test("packets that answer no probe of the run may be a target's", () => {
    const causes = judgeNoAnswers({ ...run, ignored: { ...none, foreign: 10 } }, facts);
    expect(causes.map(({ code }) => code)).toEqual(["unproved", "all-silent"]);
    expect(causes[0]?.text).toMatch(
      /^10 packets came that answer no probe of this run: .*another of its addresses/,
    );
    // A few are a network's own.
    expect(codes({}, { ignored: { ...none, foreign: 9 } })).toEqual(["all-silent"]);
  });
});

const unproved = (reason: string) => ({ open: {}, closed: {}, filtered: { [reason]: 40 } });

describe("all silent", () => {
  test.each([
    ["wrong acknowledgements", { ignored: { ...none, wrongAck: 12 } }, 12],
    [
      "resets that prove nothing",
      { ignored: { ...none, wrongAck: 40 }, reasons: unproved("unproved-reset") },
      40,
    ],
    ["bare SYNs", { reasons: unproved("unproved-syn") }, 40],
  ])("%s came back, and it does not say that nothing did", (_name, change, packets) => {
    const [first, last] = judgeNoAnswers({ ...run, ...change }, facts);
    expect(first?.text).toContain(`${packets} packets came back that no probe can have asked for`);
    expect(last?.text).toContain("no answer that proves to be one came back");
    expect(last?.text).not.toContain("nothing came back");
  });

  test.each(Object.keys(none))("packets ignored as %s came: not nothing", (cause) => {
    const last = judgeNoAnswers({ ...run, ignored: { ...none, [cause]: 1 } }, facts).at(-1);
    expect(last?.text).toContain("no answer that proves to be one came back");
  });

  test("a connect does not know what else came", () => {
    expect(only({ link: "connect" })).toMatch(/and no answer came back/);
  });

  test("says what it means for many hosts, and for one", () => {
    expect(only({})).toMatch(
      /^all-silent: all 40 SYNs left through eth0, as its counters confirm, .*the 4 hosts are down/,
    );
    expect(only({}, { hosts: 1, sent: 1 })).toMatch(
      /^all-silent: the SYN left .*the host is down, or a firewall/,
    );
  });

  test("says what the counters say: of fewer packets than SYNs, that not all left; of a connect's, that they may not have", () => {
    expect(only({ left: { packets: 25, dropped: 0 } })).toMatch(
      /^all-silent: the kernel took all 40 SYNs, of which eth0 sent 25 at most, and nothing came back/,
    );
    expect(only({ link: "connect" })).toMatch(
      /all 40 SYNs left through eth0, unless this machine's own firewall dropped/,
    );
  });

  test("claims no counters that could not be read", () => {
    const { left: _left, ...blind } = facts;
    expect(judgeNoAnswers(run, blind)[0]?.text).not.toContain("counters");
  });

  test("one cause is one line, several are a list", () => {
    expect(noAnswerLines([{ code: "source", text: "a: b" }])).toBe("nothing answered: a: b");
    expect(
      noAnswerLines([
        { code: "route", text: "a" },
        { code: "all-silent", text: "b" },
      ]).split("\n"),
    ).toEqual(["nothing answered; what may be why, most likely first:", "  - a", "  - b"]);
  });
});
