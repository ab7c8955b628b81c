/** What simulated hosts answer, packet by packet, and that it is what the lab's truth says. */
import { expect, describe as group, it } from "vitest";
import { type Fate, ICMP_REASONS } from "../../src/lab/description.ts";
import { createNetwork } from "../../src/lab/network.ts";
import type { PortState, Reason } from "../../src/scan/probe/result.ts";
import { seqAdd } from "../../src/socket/sequence.ts";
import { putU16 } from "../../src/wire/bytes.ts";
import { checksum } from "../../src/wire/checksum.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { ALL } from "../everyday.ts";
import { describe, labOf, lineOf, receive, SECOND, segmentFrom, segmentIn, send, synTo } from "./lab.ts";
import { address } from "./run.ts";

const { SYN, ACK, RST, FIN } = tcp.FLAGS;

/** The answers to one packet within 100 ms. */
function answers(network: ReturnType<typeof labOf>, packet: Uint8Array, nowUs = 0): Uint8Array[] {
  send(network, packet, nowUs);
  return receive(network, nowUs + SECOND / 10).map((arrival) => arrival.packet);
}

group("a SYN is answered", () => {
  const network = createNetwork(
    {
      hosts: [
        { range: "198.18.0.1", ports: [{ ports: "80", is: "open" }], ttl: 57 },
        { range: "2001:db8::1", ports: [{ ports: "80", is: "open" }], ttl: 57 },
        { range: "198.18.0.2", rest: "silent" },
        { range: "198.18.0.3", rest: "admin-prohibited" },
        { range: "198.18.0.4", rest: "host-unreach", rejectFrom: "198.18.0.254" },
        { range: "2001:db8::4", rest: "addr-unreach", rejectFrom: "2001:db8::fe" },
      ],
    },
    { startUs: 0 },
  );
  it.each([
    [
      "198.18.0.1",
      80,
      /^198\.18\.0\.1:80 > 192\.0\.2\.1:61000 TCP SYN,ACK seq=\d+ ack=1001 win=8192 <mss 1460> ttl=57 len=44$/,
    ],
    [
      "198.18.0.1",
      81,
      /^198\.18\.0\.1:81 > 192\.0\.2\.1:61000 TCP RST,ACK seq=0 ack=1001 win=0 ttl=57 len=40$/,
    ],
    [
      "2001:db8::1",
      80,
      /^\[2001:db8::1\]:80 > \[2001:db8:ffff::1\]:61000 TCP SYN,ACK seq=\d+ ack=1001 win=8192 <mss 1440> hlim=57 len=64$/,
    ],
    ["2001:db8::1", 81, /TCP RST,ACK seq=0 ack=1001 win=0 hlim=57 len=60$/],
    [
      "198.18.0.3",
      80,
      /^198\.18\.0\.3 > 192\.0\.2\.1 ICMP admin-prohibited for 192\.0\.2\.1:61000 > 198\.18\.0\.3:80 TCP seq=1000 ttl=64 len=72$/,
    ],
    [
      "198.18.0.4",
      80,
      /^198\.18\.0\.254 > 192\.0\.2\.1 ICMP host-unreach for 192\.0\.2\.1:61000 > 198\.18\.0\.4:80 TCP seq=1000/,
    ],
    [
      "2001:db8::4",
      80,
      /^2001:db8::fe > 2001:db8:ffff::1 ICMPv6 addr-unreach for \[2001:db8:ffff::1\]:61000 > \[2001:db8::4\]:80 TCP seq=1000/,
    ],
  ])("%s:%i", (host, port, expected) => {
    const lines = answers(network, synTo(host, port)).map(lineOf);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(expected);
  });

  it("with silence where it is silent, and where nothing is simulated", () => {
    expect(answers(network, synTo("198.18.0.2", 80))).toEqual([]);
    expect(answers(network, synTo("198.18.0.9", 80))).toEqual([]);
    expect(network.serves(address("198.18.0.2"))).toBe(true);
    expect(network.serves(address("198.18.0.9"))).toBe(false);
    expect(network.serves(address("2001:db8::1"))).toBe(true);
    expect(network.counts.unserved).toBe(1);
  });
});

/** What a prober would say of the answers to its SYN. */
function verdictOf(packets: Uint8Array[]): [PortState, Reason] {
  if (packets.length === 0) return ["filtered", "no-response"];
  const line = lineOf(packets[0]);
  if (line.includes("TCP SYN,ACK")) return ["open", "syn-ack"];
  if (line.includes("TCP RST")) return ["closed", "reset"];
  return ["filtered", (/ICMP(?:v6)? (\S+) for/.exec(line)?.[1] ?? "") as Reason];
}

const REASON_OF: Record<string, Reason> = { open: "syn-ack", closed: "reset", silent: "no-response" };

group("the truth", () => {
  it("is what the packets say, for every fate in both IP versions", () => {
    for (const [range, length] of [
      ["198.18.0.0/24", 4],
      ["2001:db8::/120", 16],
    ] as const) {
      const family = length === 4 ? "v4" : "v6";
      const icmp = Object.entries(ICMP_REASONS).filter(([, codes]) => codes[family] !== undefined);
      const fates = ["open", "closed", "silent", ...icmp.map(([reason]) => reason)] as Fate[];
      const ports = fates.map((is, i) => ({ ports: String(i + 1), is }));
      const network = createNetwork({ hosts: [{ range, ports, synAckRetries: 0 }] }, { startUs: 0 });
      const host = length === 4 ? "198.18.0.77" : "2001:db8::77";
      fates.forEach((fate, i) => {
        const [state, reason] = verdictOf(answers(network, synTo(host, i + 1), i * SECOND));
        expect(network.truth(address(host), i + 1)).toMatchObject({ state, reasons: [reason] });
        expect(reason).toBe(REASON_OF[fate] ?? fate);
      });
    }
  });

  it("is what the packets say for a crowd, and the crowd is mixed as asked", () => {
    const network = labOf({
      ports: [
        { share: 0.03, is: "open" },
        { share: 0.02, is: "silent" },
        { ports: "100-109", is: "port-unreach" },
      ],
      mix: [
        { share: 0.5, ports: [], rest: "silent" },
        { share: 0.1, ports: [], rest: "admin-prohibited" },
        { share: 0.02, tarpit: true },
      ],
    });
    const found: Record<string, number> = {};
    let pairs = 0;
    for (let host = 0; host < 4096; host++) {
      for (const port of [1, 22, 80, 105, 443]) {
        const name = `198.18.${host >> 8}.${host & 255}`;
        const now = pairs * 20;
        send(network, synTo(name, port), now);
        const packets = receive(network, now).map(({ packet }) => packet);
        const [state, reason] = verdictOf(packets);
        // In the words of results.
        const truth: { state: PortState; reasons: readonly Reason[]; tarpit: boolean } = network.truth(
          address(name),
          port,
        );
        expect([truth.state, truth.reasons[0]], `${name}:${port}`).toEqual([state, reason]);
        const key = truth.tarpit ? "tarpit" : reason;
        found[key] = (found[key] ?? 0) + 1;
        pairs++;
      }
    }
    const hosts = pairs / 5;
    // Hosts' shares vary by hosts, five pairs each: 4 standard deviations of the binomial.
    const near = (key: string, expected: number, spread: number): void =>
      expect(Math.abs(found[key] / pairs - expected), key).toBeLessThan(4 * spread);
    const ofHosts = (p: number): number => Math.sqrt((p * (1 - p)) / hosts);
    near("admin-prohibited", 0.1, ofHosts(0.1));
    near("tarpit", 0.02, ofHosts(0.02));
    near("syn-ack", 0.38 * 0.8 * 0.03, ofHosts(0.03));
    near("port-unreach", 0.38 * 0.2, ofHosts(0.38));
    near("no-response", 0.5 + 0.38 * 0.8 * 0.02, ofHosts(0.5));
  });

  it("does not change, and follows the seed", () => {
    const host = { ports: [{ share: 0.5, is: "open" as const }] };
    const states = (seed: number): string => {
      const network = labOf(host, { seed });
      return Array.from({ length: 200 }, (_, i) => network.truth(address("198.19.3.4"), i + 1).state[0]).join(
        "",
      );
    };
    expect(states(1)).toBe(states(1));
    expect(states(1)).not.toBe(states(2));
  });

  it("lets later entries go before earlier ones, wherever they overlap", () => {
    const network = createNetwork(
      {
        hosts: [
          { range: "198.18.0.0/15", rest: "silent" },
          { range: "198.18.0.10-198.18.0.20", rest: "open" },
          { range: "198.18.0.15", rest: "closed" },
          { range: "198.18.0.18-198.18.0.30", rest: "closed" },
          { range: "198.18.0.20", rest: "silent" },
        ],
      },
      { startUs: 0 },
    );
    const letters = Array.from(
      { length: 36 },
      (_, i) => network.truth(address(`198.18.0.${i}`), 80).state[0],
    );
    expect(letters.join("")).toBe("ffffffffffooooocooccfccccccccccfffff");
    expect(network.serves(address("198.17.255.255"))).toBe(false);
    expect(network.serves(address("198.20.0.0"))).toBe(false);
  });

  it("says of an ICMP error that may be held back that silence would be right too", () => {
    const network = labOf({ rest: "host-unreach", icmpLimit: { ratePps: 6 } });
    expect(network.truth(address("198.18.0.1"), 80).reasons).toEqual(["host-unreach", "no-response"]);
  });
});

group("what is no SYN", () => {
  const network = labOf({
    ports: [
      { ports: "80", is: "open" },
      { ports: "81", is: "silent" },
    ],
  });
  const host = address("198.18.0.1");
  const ask = (port: number, flags: number, text = new Uint8Array(0)): string[] =>
    answers(network, segmentFrom(host, port, { flags, sequence: 500, acknowledgement: 777, text })).map(
      (packet) => {
        const { flags: f, sequence, acknowledgement } = segmentIn(packet);
        return `${tcp.flagNames(f)} seq=${sequence} ack=${acknowledgement}`;
      },
    );
  // RFC 9293 §3.10.7.1 and §3.10.7.2.
  it.each([
    [80, "ACK", ACK, ["RST seq=777 ack=0"]],
    [81, "ACK", ACK, []],
    [82, "ACK", ACK, ["RST seq=777 ack=0"]],
    [80, "RST", RST, []],
    [82, "RST", RST, []],
    [80, "FIN", FIN, []],
    [82, "FIN", FIN, ["RST,ACK seq=0 ack=501"]],
    [80, "no bits", 0, []],
    [80, "SYN,ACK", SYN | ACK, ["RST seq=777 ack=0"]],
  ])("to port %i: %s", (port, _name, flags, expected) => {
    expect(ask(port, flags)).toEqual(expected);
  });
  it("has SYN in it, besides FIN: the SYN is answered, the FIN comes again (§3.10.7.2)", () => {
    const open = labOf({ ports: [{ ports: "80", is: "open" }] });
    const from = (flags: number, sequence: number, acknowledgement: number): string[] =>
      answers(open, segmentFrom(host, 80, { flags, sequence, acknowledgement })).map((packet) => {
        const { flags: f, acknowledgement: acknowledged } = segmentIn(packet);
        return `${tcp.flagNames(f)} ack=${acknowledged}`;
      });
    expect(from(SYN | FIN, 500, 0)).toEqual(["SYN,ACK ack=501"]);
    // The same again, as the sender has not heard.
    expect(from(SYN | FIN, 500, 0)).toEqual(["SYN,ACK ack=501"]);
    const [first] = answers(open, segmentFrom(host, 80, { flags: SYN | FIN, sequence: 500 }));
    expect(from(FIN | ACK, 501, seqAdd(segmentIn(first).sequence, 1))).toEqual(["FIN,ACK ack=502"]);
  });
  it("counts text, where nothing listens", () => {
    expect(ask(82, FIN, Uint8Array.of(1, 2, 3))).toEqual(["RST,ACK seq=0 ack=504"]);
  });

  it("is ignored when it is broken, and counted", () => {
    const bad = synTo("198.18.0.1", 80);
    bad[25] ^= 1;
    const before = network.counts.unreadable;
    expect(answers(network, bad)).toEqual([]);
    for (let length = 0; length < bad.length; length++) {
      network.handlePacket(synTo("198.18.0.1", 80), 0, length, SECOND);
    }
    expect(receive(network, 2 * SECOND)).toEqual([]);
    expect(network.counts.unreadable).toBe(before + 1 + bad.length);
  });

  it.each(["198.18.0.1", "2001:db8::1"])("pings %s", (host) => {
    const net = createNetwork({ hosts: [{ range: "198.18.0.1" }, { range: "2001:db8::1" }] }, { startUs: 0 });
    const template = segmentFrom(address(host), 80);
    const v4 = template[0] >> 4 === 4;
    const at = v4 ? 20 : 40;
    const packet = template.slice(0, at + 12);
    packet.set([v4 ? 8 : 128, 0, 0, 0, 0x12, 0x34, 0, 1, 1, 2, 3, 4], at);
    if (v4) {
      packet[9] = 1;
      putU16(packet, 2, packet.length);
      putU16(packet, 10, 0);
      putU16(packet, 10, checksum(packet, 0, 20));
      putU16(packet, at + 2, checksum(packet, at, packet.length));
    } else {
      packet[6] = 58;
      putU16(packet, 4, 12);
      const pseudo =
        12 +
        58 +
        Array.from({ length: 16 }, (_, i) => (packet[8 + 2 * i] << 8) | packet[9 + 2 * i]).reduce(
          (a, b) => a + b,
        );
      putU16(packet, at + 2, checksum(packet, at, packet.length, pseudo));
    }
    const lines = answers(net, packet).map(lineOf);
    expect(lines).toEqual([expect.stringContaining("echo-reply")]);
    expect(lines[0]).not.toContain("bad");
  });
});

group("a half-open connection", () => {
  const host = address("198.18.0.1");
  const ack = (iss: number, fields: object = {}) =>
    segmentFrom(host, 80, { flags: ACK, sequence: 1001, acknowledgement: (iss + 1) >>> 0, ...fields });
  const open = (more: object = {}) => {
    const network = labOf({ ports: [{ ports: "80", is: "open", service: "discard" }], ...more });
    const [synAck] = answers(network, synTo("198.18.0.1", 80));
    return { network, iss: segmentIn(synAck).sequence };
  };

  it("repeats its SYN-ACK as Linux does, and is given up after a minute", () => {
    const { network } = open();
    const times = receive(network, 300 * SECOND).map(({ atUs, packet }) => [atUs / SECOND, describe(packet)]);
    expect(times).toEqual([1, 3, 7, 15, 31].map((at) => [at, "198.18.0.1:80 SYN,ACK"]));
    expect(network.held.halfOpen).toBe(0);
    expect(network.counts).toMatchObject({ synAckRepeats: 5, abandoned: 1, accepted: 0 });
    expect(network.pollTimeout()).toBe(Number.POSITIVE_INFINITY);
  });

  it("repeats it as often and as fast as asked, or never", () => {
    const twice = open({ synAckRetries: 2, synAckTimeoutMs: 300 }).network;
    expect(receive(twice, 60 * SECOND).map(({ atUs }) => atUs / SECOND)).toEqual([0.3, 0.9]);
    const never = open({ synAckRetries: 0 }).network;
    expect(receive(never, 60 * SECOND)).toEqual([]);
    expect(never.held.halfOpen).toBe(0);
  });

  it("answers a repeated SYN with the same SYN-ACK", () => {
    const { network, iss } = open();
    const again = answers(network, synTo("198.18.0.1", 80), SECOND / 2).map(segmentIn);
    expect(again).toEqual([
      expect.objectContaining({ sequence: iss, flags: SYN | ACK, acknowledgement: 1001 }),
    ]);
    expect(network.held.halfOpen).toBe(1);
  });

  it("is ended by the RST of the prober's kernel, and by no other", () => {
    const { network } = open();
    const reset = (sequence: number) =>
      answers(network, segmentFrom(host, 80, { flags: RST, sequence }), SECOND / 4);
    expect(reset(1000)).toEqual([]);
    expect(reset(1001 + 8192)).toEqual([]);
    // RFC 5961 §3.2: in the window, but not exact.
    expect(reset(1002).map((packet) => tcp.flagNames(segmentIn(packet).flags))).toEqual(["ACK"]);
    expect(network.held.halfOpen).toBe(1);
    expect(reset(1001)).toEqual([]);
    expect(network.held.halfOpen).toBe(0);
    expect(receive(network, 60 * SECOND)).toEqual([]);
  });

  it("resets a wrong acknowledgement and stays (§3.10.7.4)", () => {
    const { network, iss } = open();
    const wrong = answers(network, ack(iss + 5), SECOND / 4).map(segmentIn);
    expect(wrong).toEqual([expect.objectContaining({ flags: RST, sequence: (iss + 6) >>> 0 })]);
    expect(network.held).toMatchObject({ halfOpen: 1, connected: 0 });
    answers(network, ack(iss), SECOND / 2);
    expect(network.held).toMatchObject({ halfOpen: 0, connected: 1 });
    expect(network.counts.accepted).toBe(1);
  });

  it("recovers from an old duplicate SYN (§3.5, figure 9)", () => {
    const { network, iss } = open();
    // The SYN above was the old duplicate; here comes the real one.
    const [challenge] = answers(
      network,
      segmentFrom(host, 80, { sequence: 400_000, mss: 1460 }),
      SECOND / 4,
    ).map(segmentIn);
    expect(challenge).toMatchObject({ flags: ACK, sequence: (iss + 1) >>> 0, acknowledgement: 1001 });
    // The client does not know of 1001, and says so.
    answers(network, segmentFrom(host, 80, { flags: RST, sequence: 1001 }), SECOND / 2);
    expect(network.held.halfOpen).toBe(0);
    const [synAck] = answers(network, segmentFrom(host, 80, { sequence: 400_000, mss: 1460 }), SECOND).map(
      segmentIn,
    );
    expect(synAck).toMatchObject({ flags: SYN | ACK, acknowledgement: 400_001 });
  });

  it("is one of at most as many as its socket's queue holds", () => {
    const network = labOf({ rest: "open", backlog: 3, synAckRetries: 0 });
    const from = (localPort: number, name = "198.18.0.1", port = 80) =>
      answers(network, synTo(name, port, localPort)).length;
    expect([1, 2, 3, 4, 5].map((port) => from(port))).toEqual([1, 1, 1, 0, 0]);
    expect(network.counts.backlogDrops).toBe(2);
    // Another socket has a queue of its own; a place that is free is taken again.
    expect([from(9, "198.18.0.1", 81), from(9, "198.18.0.2")]).toEqual([1, 1]);
    send(network, segmentFrom(host, 80, { flags: RST, sequence: 1001, localPort: 2 }), 0);
    expect([from(6), from(7)]).toEqual([1, 0]);
    // One that is completed, or given up, is no longer in it.
    const [synAck] = answers(network, synTo("198.18.0.1", 80, 6)).map(segmentIn);
    answers(network, ack(synAck.sequence, { localPort: 6 }));
    expect([from(7), from(8)]).toEqual([1, 0]);
    receive(network, 60 * SECOND);
    send(network, synTo("198.18.0.1", 80, 1), 60 * SECOND);
    expect(receive(network, 60 * SECOND)).toHaveLength(1);
  });

  it.runIf(ALL)("gives way to new ones when a quarter of a million stand open", () => {
    const network = labOf({ rest: "open", synAckRetries: 0, synAckTimeoutMs: 60_000 });
    const most = 1 << 18;
    const out = new Uint8Array(1600);
    let answered = 0;
    for (let i = 0; i < most + 10; i++) {
      const host = Uint8Array.of(198, 18, (i >> 8) & 255, i & 255);
      send(network, segmentFrom(host, 80, { localPort: 61_000 + (i >> 16) }), i);
      while (network.pollTransmit(i, out, 0) > 0) answered++;
    }
    expect(answered).toBe(most + 10);
    expect(network.held.halfOpen).toBe(most);
  });
});

group("a tarpit", () => {
  it("answers every SYN, holds nothing and says nothing more", () => {
    const network = labOf({ tarpit: true });
    for (let port = 1; port < 100; port++)
      expect(answers(network, synTo("198.18.0.1", port)).map(describe)).toEqual([
        `198.18.0.1:${port} SYN,ACK`,
      ]);
    const [first] = answers(network, synTo("198.18.0.1", 80)).map(segmentIn);
    const [second] = answers(network, synTo("198.18.0.1", 80)).map(segmentIn);
    expect(second.sequence).toBe(first.sequence);
    const text = new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n");
    for (const flags of [ACK, ACK | FIN]) {
      const packet = segmentFrom(address("198.18.0.1"), 80, {
        flags,
        sequence: 1001,
        acknowledgement: first.sequence + 1,
        text,
      });
      expect(answers(network, packet)).toEqual([]);
    }
    expect(receive(network, 300 * SECOND)).toEqual([]);
    expect(network.held).toEqual({ halfOpen: 0, connected: 0, reserved: 0 });
    expect(network.truth(address("198.18.0.1"), 5)).toEqual({
      state: "open",
      reasons: ["syn-ack"],
      service: "tarpit",
      tarpit: true,
    });
  });
});

it.each([
  [undefined, 536],
  [0, 536],
  [1, 48],
  [1000, 1000],
])("a peer whose MSS is %s gets its text in segments of %i bytes", (mss, expected) => {
  const network = labOf({ ports: [{ is: "open", banner: "x".repeat(1024) }] });
  const peer = address("198.18.0.1");
  const [synAck] = answers(network, segmentFrom(peer, 22, mss === undefined ? {} : { mss }));
  const acknowledgement = segmentIn(synAck).sequence + 1;
  const [first] = answers(
    network,
    segmentFrom(peer, 22, { flags: ACK, sequence: 1001, acknowledgement, window: 4096 }),
    SECOND / 10,
  );
  expect(segmentIn(first).text).toHaveLength(expected);
});
