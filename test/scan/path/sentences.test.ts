/** What a walk found, in sentences: one for each kind of place, and of note. */
import { expect, it } from "vitest";
import type { PathResult, PortPath } from "../../../src/scan/path/result.ts";
import {
  filteredSentence,
  formatDoubt,
  noteSentence,
  portSentence,
  portSentences,
} from "../../../src/scan/path/sentences.ts";
import { address } from "../../sim/run.ts";

const path: PortPath = {
  port: 445,
  state: "filtered",
  reason: "no-response",
  seenAt: 1,
  reference: false,
  where: { kind: "unknown", from: 0 },
};
const result: PathResult = {
  target: address("198.18.0.1"),
  local: address("192.0.2.1"),
  hops: [{ hop: 1, answers: [{ address: address("203.0.113.1"), rttUs: 1, labels: [], ports: [445] }] }],
  ports: [path, { ...path, port: 80, state: "open", where: { kind: "host", hop: 2 } }],
  notes: [],
  flows: [],
  sent: 1,
  elapsedUs: 1,
  interrupted: false,
};

it.each<[more: Partial<PortPath>, says: string]>([
  [{ where: { kind: "host", hop: 1 }, state: "open", reason: "syn-ack" }, "445 is open (syn-ack)."],
  [{ where: { kind: "host", hop: 1 } }, "445 is filtered."],
  [
    { where: { kind: "dropped", from: 1, to: 2, other: 80 }, doubt: 0.05 },
    "445 is filtered, between hop 1 (203.0.113.1) and the host (198.18.0.1): 80 goes on from there, 445 does not (doubt 0.05).",
  ],
  [
    { where: { kind: "at-host", from: 1, to: 2, other: 80 } },
    "445 is filtered, at the host or just before it: its SYNs come as far as hop 1 (203.0.113.1), the last before the host that can be seen, and get no answer, while 80 does. If that hop drops them in place of passing them on, or the answers are dropped on their way back, it looks the same.",
  ],
  [
    { where: { kind: "at-host", from: 1, to: 2, other: 80, rstLimit: true }, doubt: 0.3 },
    "445 is filtered or closed, at the host or just before it: its SYNs come as far as hop 1 (203.0.113.1), the last before the host that can be seen, and get no answer, while 80 does (doubt 0.3). The host closes other ports, and where it limits its RSTs, a closed port looks the same.",
  ],
  [
    { where: { kind: "box", from: 0, to: 1, beyond: 5, other: 80 }, state: "closed", doubt: 0.06 },
    "445 is closed with a RST by a box probably between this machine and hop 1 (203.0.113.1), not by the host: the SYNs of 80 go on to hop 5 (doubt 0.06).",
  ],
  [
    { where: { kind: "unknown", from: 0 } },
    "445 is filtered: no hop has told of its SYNs, and no port is answered from beyond. Whether a filter, silent routers or no host at all is there cannot be known; synprobe path --reference PORT compares with a port that is known to answer.",
  ],
  [
    { where: { kind: "dropped", from: 0, to: 1, other: 80 }, doubt: 0.2 },
    "445 is filtered, probably between this machine and hop 1 (203.0.113.1): 80 goes on from there, 445 does not (doubt 0.2).",
  ],
  [
    { where: { kind: "dropped", from: 1, to: 4, other: 80 }, doubt: 0.00001 },
    "445 is filtered, between hop 1 (203.0.113.1) and hop 4: 80 goes on from there, 445 does not (doubt < 0.0001); what is between them does not answer.",
  ],
  [
    { where: { kind: "at-host", from: 0, to: 1, other: 80 }, doubt: 0.002 },
    "445 is filtered, at the host or just before it: its SYNs get no answer, while 80 does (doubt 0.002). If the answers are dropped on their way back, it looks the same.",
  ],
  [
    {
      where: { kind: "rejected", by: address("203.0.113.9"), self: false, from: 1, to: 3 },
      reason: "host-unreach",
    },
    "445 is filtered by 203.0.113.9, between hop 1 (203.0.113.1) and hop 3: host-unreach.",
  ],
  [
    {
      where: { kind: "rejected", by: address("203.0.113.9"), self: false, from: 0, to: 1 },
      reason: "host-unreach",
    },
    "445 is filtered by hop 1 (203.0.113.9): host-unreach.",
  ],
  [
    {
      where: { kind: "rejected", by: address("203.0.113.1"), self: false, from: 1, to: 1 },
      reason: "admin-prohibited",
    },
    "445 is filtered by hop 1 (203.0.113.1): admin-prohibited.",
  ],
  [
    {
      where: { kind: "rejected", by: address("198.18.0.1"), self: true, from: 1, to: 2 },
      reason: "port-unreach",
    },
    "445 is filtered by the host itself: port-unreach.",
  ],
  [
    {
      where: { kind: "rejected", by: address("192.0.2.1"), self: false, from: 0, to: 1 },
      reason: "host-unreach",
    },
    "445 is filtered by this machine, which gives up the next hop: host-unreach.",
  ],
  [
    {
      where: { kind: "rejected", by: address("192.0.2.1"), self: false, from: 0, to: 0 },
      reason: "send-eperm",
    },
    "445 is filtered by this machine, which refuses to send its SYNs: send-eperm.",
  ],
  [
    { where: { kind: "box", from: 1, to: 2, beyond: 5, other: 80 }, state: "open", doubt: 0.001 },
    "445 is answered with a SYN-ACK by a box between hop 1 (203.0.113.1) and the host (198.18.0.1), not by the host: the SYNs of 80 go on to hop 5 (doubt 0.001).",
  ],
  [
    { where: { kind: "some-flows", from: 1, passed: 13, asked: 16 }, state: "open", doubt: 0.003 },
    "445 is open, but 3 of 16 flows lose every SYN after hop 1 (203.0.113.1) (doubt 0.003): one of several ways from there loses them, or drops them.",
  ],
  [
    { where: { kind: "unknown", from: 1 } },
    "445 is filtered: its SYNs come as far as hop 1 (203.0.113.1), and no port is answered from beyond. Whether a filter, silent routers or no host at all is there cannot be known; synprobe path --reference PORT compares with a port that is known to answer.",
  ],
])("of %j", (more, says) => {
  expect(portSentence(result, { ...path, ...more })).toBe(says);
});

it("of ports of which the same is to be said, one", () => {
  const rejected: PortPath["where"] = {
    kind: "rejected",
    by: address("203.0.113.1"),
    self: false,
    from: 1,
    to: 1,
  };
  const open: PortPath["where"] = { kind: "host", hop: 2 };
  const dropped: PortPath["where"] = { kind: "dropped", from: 1, to: 2, other: 80 };
  const ports: PortPath[] = [
    { ...path, port: 22 },
    { ...path, port: 80, state: "open", reason: "syn-ack", where: open },
    { ...path, port: 81, state: "closed", reason: "reset", where: open },
    { ...path, port: 135, reason: "admin-prohibited", where: rejected },
    { ...path, port: 136, reason: "admin-prohibited", where: rejected },
    { ...path, port: 137, reason: "admin-prohibited", where: rejected },
    { ...path, port: 139, reason: "admin-prohibited", where: rejected },
    { ...path, port: 140, reason: "port-unreach", where: rejected },
    { ...path, port: 445, where: dropped },
    { ...path, port: 446, where: dropped },
    { ...path, port: 443, state: "open", reason: "syn-ack", where: open },
    { ...path, port: 444, state: "open", reason: "syn-ack", where: open },
    { ...path, port: 23 },
  ];
  expect(portSentences({ ...result, ports })).toEqual([
    "22 and 23 are filtered: no hop has told of their SYNs, and no port is answered from beyond. Whether a filter, silent routers or no host at all is there cannot be known; synprobe path --reference PORT compares with a port that is known to answer.",
    "80, 443 and 444 are open (syn-ack).",
    "81 is closed (reset).",
    "135-137 and 139 are filtered by hop 1 (203.0.113.1): admin-prohibited.",
    "140 is filtered by hop 1 (203.0.113.1): port-unreach.",
    ...[445, 446].map((port) => portSentence({ ...result, ports }, { ...path, port, where: dropped })),
  ]);
  const stuck = { ...result, ports: ports.slice(3, 4), stuck: "192.0.2.7 does not answer ARP on eth0" };
  expect(portSentences({ ...stuck, ports: [ports[0], ports[12]] })).toEqual([
    "22 and 23 are filtered: 192.0.2.7 does not answer ARP on eth0.",
  ]);
  expect(portSentences({ ...result, ports: [ports[0], ports[12]], interrupted: true })).toEqual([
    "Whether 22 and 23 answer is not known: the walk was interrupted. So far their SYNs come as far as hop 1 (203.0.113.1).",
  ]);
});

it("of what was noticed", () => {
  expect(noteSentence({ kind: "nat", hop: 3 })).toBe(
    "Routers from hop 3 on see other addresses or ports than were sent: addresses are translated (NAT) before it.",
  );
  expect(noteSentence({ kind: "behind-host", hop: 3 })).toBe(
    "The address itself is hop 3; ports that are answered later are passed on to a host behind it.",
  );
  expect(noteSentence({ kind: "loop", address: address("203.0.113.1"), hops: [3, 5, 7, 9, 11] })).toBe(
    "The way goes in a circle: 203.0.113.1 is hop 3, 5, 7, 9 ….",
  );
});

it("of a loop of few hops without an ellipsis; a doubt in one digit", () => {
  expect(noteSentence({ kind: "loop", address: address("203.0.113.1"), hops: [3, 5, 7, 9] })).toBe(
    "The way goes in a circle: 203.0.113.1 is hop 3, 5, 7, 9.",
  );
  expect([0, 0.00009, 0.0001, 0.0123].map(formatDoubt)).toEqual(["0", "< 0.0001", "0.0001", "0.01"]);
});

it("of a port whose SYNs cannot have left: why, and no more", () => {
  const stuck = { ...result, stuck: "192.0.2.7 does not answer ARP on eth0" };
  const says = "445 is filtered: 192.0.2.7 does not answer ARP on eth0.";
  expect(portSentence(stuck, path)).toBe(says);
  // The kernel's own word for it, and one that is another's.
  const rejected = (by: string, to: number): PortPath["where"] => ({
    kind: "rejected",
    by: address(by),
    self: false,
    from: 0,
    to,
  });
  expect(portSentence(stuck, { ...path, where: rejected("192.0.2.1", 1) })).toBe(says);
  expect(portSentence(stuck, { ...path, where: rejected("203.0.113.9", 1) })).not.toBe(says);
  expect(portSentence(stuck, { ...path, where: rejected("192.0.2.1", 0) })).not.toBe(says);
});

it("of a walk that was interrupted: what has answered, and nothing of what is silent so far", () => {
  const cut = { ...result, interrupted: true };
  const silent: PortPath = { ...path, state: "filtered", where: { kind: "unknown", from: 0 }, seenAt: 0 };
  expect(portSentence(cut, silent)).toBe(
    "Whether 445 answers is not known: the walk was interrupted. So far no hop has told of its SYNs.",
  );
  const dropped: PortPath["where"] = { kind: "dropped", from: 1, to: 3, other: 80 };
  expect(portSentence(cut, { ...silent, seenAt: 1, where: dropped })).toBe(
    "Whether 445 answers is not known: the walk was interrupted. So far its SYNs come as far as hop 1 (203.0.113.1).",
  );
  for (const told of [
    { state: "open", where: { kind: "host", hop: 3 } },
    {
      state: "filtered",
      where: { kind: "rejected", by: address("203.0.113.1"), self: false, from: 1, to: 1 },
    },
  ] as const)
    expect(portSentence(cut, { ...path, ...told })).toBe(portSentence(result, { ...path, ...told }));
});

it.each([
  [{ state: "filtered", kind: "unknown" }, "--syn minimal", "445 …"],
  [
    { state: "open", kind: "host" },
    "--syn minimal",
    "445 answers the walk's SYNs (open, syn-ack), where those before were filtered. The walk's offer less, MSS alone: either SYNs that offer more are dropped, or it answers now and did not then. --syn minimal tells which.",
  ],
  [
    { state: "closed", kind: "box" },
    undefined,
    "445 answers the walk's SYNs (closed, syn-ack), where those before were filtered. Both offer MSS alone: it answers now and did not then. 445 …",
  ],
  [
    { state: "open", kind: "some-flows" },
    "--syn minimal",
    "445 answers the walk's SYNs (open, syn-ack), where those before were filtered. 445 …",
  ],
] as const)(
  "of a port that was filtered before, %j: why it answers now (%s)",
  ({ state, kind }, minimal, says) => {
    const walked = { port: 445, state, reason: "syn-ack", where: { kind }, text: "445 …" } as const;
    expect(filteredSentence(walked, minimal)).toBe(says);
  },
);

it("of a port whose SYN this machine refused before: not that it answers now and did not then", () => {
  const text = "445 is open (syn-ack).";
  const walked = { ...path, state: "open" as const, where: { kind: "host" as const }, text };
  expect(filteredSentence(walked, "--syn minimal", "send-eperm")).toBe(
    `This machine refused to send the SYN before to 445 (send-eperm), and let the walk's go: ${text}`,
  );
});

it("of SYNs some of which this machine refused, with their count", () => {
  const refused = { syns: 2, of: 9, reason: "send-eperm" as const };
  expect(portSentence(result, { ...path, where: { kind: "host", hop: 1 }, refused })).toBe(
    "445 is filtered. This machine refused 2 of 9 SYNs (send-eperm), as where its firewall limits new connections or its table of them is full.",
  );
});
