/** What a walk may not claim: another's answer for the host's, another port's way for this one's, silence for what was never asked. */
import { describe, expect, it } from "vitest";
import type { HopDescription, LabDescription } from "../../src/lab/description.ts";
import type { PortPath } from "../../src/scan/path/result.ts";
import { portSentence } from "../../src/scan/path/sentences.ts";
import { PROTOCOL } from "../../src/wire/protocol.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { type Walked, type Walking, walkTo } from "./path-walk.ts";

const HOST = "198.18.9.9";
const through = (hops: HopDescription[]): LabDescription => ({
  path: { latencyMs: 2, hops },
  hosts: [{ range: HOST, rest: "silent", ports: [{ ports: "443,445", is: "open" }] }],
});
const plain = (count: number): HopDescription[] => Array.from({ length: count }, () => ({ latencyMs: 1 }));
const named = (...last: number[]): HopDescription[] =>
  last.map((n) => ({ latencyMs: 1, ipv4: `203.0.113.${n}` }));
const walk = (hops: HopDescription[], more: Walking = {}): Walked => walkTo(through(hops), HOST, more);
const portOf = ({ result }: Walked, port: number): PortPath => {
  const found = result.ports.find((each) => each.port === port);
  if (found === undefined) throw new Error(`no port ${port}`);
  return found;
};
const sentenceOf = (walked: Walked, port: number): string =>
  portSentence(walked.result, portOf(walked, port));
/** Answers with the host's address, as a firewall that bridges does. */
const inItsName: HopDescription = {
  ipv4: HOST,
  silent: true,
  rules: [{ ports: "445", does: "admin-prohibited", at: "in" }],
};

describe("an ICMP error in the host's name", () => {
  it("is a box's where another port's SYNs go on from there", () => {
    const walked = walk([...plain(1), inItsName, ...plain(2)]);
    const { state, where, doubt } = portOf(walked, 445);
    expect({ state, where }).toEqual({
      state: "filtered",
      where: { kind: "box", from: 1, to: 2, beyond: 5, other: 443 },
    });
    expect(doubt).toBeLessThan(0.01);
    expect(sentenceOf(walked, 445)).toMatch(
      /^445 is filtered \(admin-prohibited\), in the host's name, by a box between hop 1 \(.*not by the host/,
    );
  });

  it("may be a router's behind a translator, which has them all answer with one address", () => {
    const behind: HopDescription = { ipv4: HOST, latencyMs: 1 };
    const rejecting: HopDescription = { ...behind, rules: [{ ports: "445", does: "admin-prohibited" }] };
    const walked = walk([...plain(1), behind, rejecting]);
    expect(portOf(walked, 445).where).toMatchObject({ kind: "rejected", self: false });
    expect(sentenceOf(walked, 445)).toMatch(
      /^445 is filtered in the host's name, 3 hops away: .* may be the host, or one of them/,
    );
  });
});

describe("two ports that are routed two ways", () => {
  const hops = named(1, 2, 3, 4);

  it("tell nothing of a box, although one is answered nearer", () => {
    const elsewhere = { port: 445, description: through(named(1, 9)) };
    const walked = walk(hops, { elsewhere });
    expect(portOf(walked, 445).where).toEqual({ kind: "host", hop: 3 });
    expect(portOf(walked, 443).where).toEqual({ kind: "host", hop: 5 });
  });

  it("have routers of their own named", () => {
    const dropping = named(1, 9, 3, 4);
    dropping[1] = { ...dropping[1], rules: [{ does: "drop" }] };
    const walked = walk(hops, { elsewhere: { port: 445, description: through(dropping) } });
    expect(portOf(walked, 445).where).toMatchObject({ kind: "dropped", from: 2, to: 3 });
    expect(sentenceOf(walked, 445)).toMatch(
      /between hop 2 \(203\.0\.113\.9\) and hop 3 \(203\.0\.113\.3\): 443, which comes by hop 2 \(203\.0\.113\.2\), goes on/,
    );
  });

  it("a box among equal ways is one all the same", () => {
    const box: HopDescription = { rules: [{ ports: "445", does: "reset", at: "in" }] };
    const description: LabDescription = {
      ...through([]),
      path: { latencyMs: 2, hops: [{ branches: [[{}], [{}]] }, ...plain(1), box, ...plain(2)] },
    };
    for (let seed = 1; seed <= 8; seed++) {
      const walked = walkTo(description, HOST, { seed, firstPort: 61_000 + 40 * seed });
      expect(portOf(walked, 445).where).toMatchObject({ kind: "box", to: 3 });
    }
  });
});

it("a port that has answered once, and no more, is not called filtered", () => {
  let answers = 0;
  const meddle = (packet: Uint8Array): readonly Uint8Array[] => {
    const isAnswer = packet[9] === PROTOCOL.TCP && tcp.sourcePort(packet, 20) === 445;
    return isAnswer && ++answers > 1 ? [] : [packet];
  };
  const walked = walk(plain(3), { meddle });
  expect(portOf(walked, 445)).toMatchObject({ state: "open", where: { kind: "unknown", from: 3 } });
  expect(sentenceOf(walked, 445)).toMatch(/^445 is open \(syn-ack\), but not each time: /);
});

it("what is beyond the largest TTL was not asked, and is not called filtered", () => {
  const walked = walk(plain(4), { maxHops: 2, search: false });
  for (const port of [443, 445]) {
    expect(portOf(walked, port).where).toEqual({ kind: "unknown", from: 2, usedUp: true });
    expect(sentenceOf(walked, port)).toMatch(
      new RegExp(
        `^Whether ${port} answers is not known: its SYNs come as far as hop 2 .* is used up\\. --max-hops`,
      ),
    );
  }
  const { usedUp } = portOf(walk([...plain(2), { rules: [{ does: "drop" }] }]), 445).where as {
    usedUp?: true;
  };
  expect(usedUp).toBeUndefined();
});
